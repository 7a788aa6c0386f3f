"""One file per command."""

from soundmark.cli.app import app
from soundmark.cli.commands import (
    classify,
    compare,
    curve,
    demo,
    download,
    evaluate,
    explain,
    export,
    inspect,
    listen,
    merge,
    show,
    spectrograms,
    summary,
    train,
)

__all__ = [
    "app", "classify", "compare", "curve", "demo", "download", "evaluate", "explain", "export", "inspect", "listen",
    "merge", "show", "spectrograms", "summary", "train",
]  # fmt: skip

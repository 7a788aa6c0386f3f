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
    index,
    inspect,
    listen,
    merge,
    push,
    review,
    search,
    serve,
    show,
    spectrograms,
    suggest,
    summary,
    train,
)

__all__ = [
    "app", "classify", "compare", "curve", "demo", "download", "evaluate", "explain", "export", "index", "inspect",
    "listen", "merge", "push", "review", "search", "serve", "show", "spectrograms", "suggest", "summary", "train",
]  # fmt: skip

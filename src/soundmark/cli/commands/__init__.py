"""One file per command; the order of the imports is that of ``soundmark --help``."""

# ruff: noqa: I001
from soundmark.cli.app import app
from soundmark.cli.commands import demo
from soundmark.cli.commands import inspect
from soundmark.cli.commands import spectrograms
from soundmark.cli.commands import compare
from soundmark.cli.commands import train
from soundmark.cli.commands import evaluate
from soundmark.cli.commands import classify
from soundmark.cli.commands import listen
from soundmark.cli.commands import summary
from soundmark.cli.commands import explain
from soundmark.cli.commands import show
from soundmark.cli.commands import export

__all__ = [
    "app", "classify", "compare", "demo", "evaluate", "explain", "export", "inspect", "listen", "show", "spectrograms",
    "summary", "train",
]  # fmt: skip

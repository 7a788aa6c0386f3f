"""The command-line application: what all commands share."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from soundmark.datasets import Dataset


app = typer.Typer(
    help="From labelled recordings to a sound classifier that can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from importlib.metadata import version as version_of

        sys.stdout.write(f"soundmark {version_of('soundmark')}\n")
        raise typer.Exit


def open_dataset(path: Path, subset: str | None) -> Dataset:
    """Open a data set; warnings of the library are shown from now on."""
    from soundmark.cli import console
    from soundmark.datasets import Dataset

    console.show_library_warnings()
    data = Dataset.open(path, subset=subset)
    if data.is_partial:
        console.say(f"{data.name}: {data.share} are here.")
    return data


def command_line() -> str:
    """The command as it was typed, for the record."""
    return shlex.join(["soundmark", *sys.argv[1:]])

"""The command-line application: what all commands share."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from soundmark.cli import help_page

if TYPE_CHECKING:
    from soundmark.datasets import Dataset
    from soundmark.detection.archive.index import Index


class _Commands(help_page.CommandGroups):
    groups = {  # noqa: RUF012 - of the class, as click instantiates it
        "Start": ("demo",),
        "Data": ("download", "inspect", "spectrograms"),
        "Train and evaluate": ("compare", "train", "evaluate", "curve"),
        "Use a model": ("classify", "merge", "listen", "serve", "summary", "explain", "show", "export", "push"),
        "Search an archive": ("index", "search", "suggest", "review"),
    }


class _App(typer.Typer):
    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:
        """Register a command whose help has the layout of ``help_page``."""
        return super().command(name, cls=help_page.Command, **settings)


app = _App(
    cls=_Commands,
    help="Train a sound classifier from labelled recordings, evaluate it without data leakage, and run it on sound "
    "files, long recordings and live audio.",
    epilog=help_page.page_end(
        [
            "soundmark demo",
            "soundmark compare UrbanSound8K -o run --preset notebook",
            "soundmark classify street.wav -m run/notebook-mel/random/model.onnx",
            "soundmark COMMAND --help",
        ]
    ),
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _without_command(
    ctx: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"soundmark {version_of('soundmark')}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


def open_dataset(path: Path, subset: str | None, *, complete: bool = False) -> Dataset:
    """Open a data set, and show the library's warnings from now on."""
    from soundmark.cli import console
    from soundmark.datasets import Dataset

    console.show_library_warnings()
    data = Dataset.open(path, subset=subset, complete=complete)
    if data.is_partial:
        console.say(f"{data.name}: {data.share} are present.")
    return data


def open_datasets(paths: Sequence[Path], subset: str | None, *, complete: bool = False) -> Dataset:
    """Open data sets, and join them; the options are those of the first."""
    from soundmark.datasets.layouts.joining import joined

    return joined(
        [open_dataset(paths[0], subset, complete=complete), *(open_dataset(path, None) for path in paths[1:])]
    )


def open_index(folder: Path, model: str | None, jobs: int | None) -> Index:
    """Open an index, or index the recordings of a results folder with ``model``, and name those that cannot be read."""
    from soundmark.cli import console, tables
    from soundmark.detection.archive.index import Index

    console.show_library_warnings()
    if model is None:
        return Index.open(folder)
    from soundmark.detection.archive.store import is_index
    from soundmark.models.pretrained import named_models

    loaded = named_models.load(model)
    if is_index(folder):
        index = Index.open(folder)
        index.check_model(loaded)
        return index
    index = Index.of_results(folder, loaded, jobs=jobs)
    tables.show_results_index(folder, index)
    return index


def command_line() -> str:
    """Return the command as it was typed, for the run's record."""
    return shlex.join(["soundmark", *sys.argv[1:]])

"""``soundmark spectrograms``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import options
from soundmark.cli.app import app, open_dataset


@app.command()
def spectrograms(
    dataset: options.DatasetPath,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Where the pictures go, a folder per class.", show_default=False, parser=options.place
        ),
    ],
    recipe: Annotated[str, typer.Option(help="Whose representation is drawn.")] = "notebook-image",
    colours: Annotated[
        str | None, typer.Option(help="For people: a colour map of matplotlib (magma, viridis, …).", show_default=False)
    ] = None,
    axes: Annotated[bool, typer.Option("--axes", help="For people: with axes in seconds and hertz.")] = False,
    subset: options.Subset = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """Every clip's spectrogram as a PNG, in a folder per class, as the notebook writes them."""
    from soundmark.cli import console, tables
    from soundmark.datasets import spectrogram_images
    from soundmark.training.named_recipes import recipe_named

    data = open_dataset(dataset, subset)
    with console.progress(quiet) as progress:
        written = spectrogram_images.save_images(
            data, recipe_named(recipe).representation, folder, colours=colours, axes=axes, jobs=jobs, progress=progress
        )
    console.say(f"{written.count:,} pictures are in {folder}.")
    for note in written.notes:
        console.warn(note)
    faults = data.faults((*data.skipped, *written.skipped))
    tables.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)

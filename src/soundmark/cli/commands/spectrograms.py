"""``soundmark spectrograms``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import choices, completion, help_page, options, requirements
from soundmark.cli.app import app, open_dataset


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark spectrograms UrbanSound8K images",
            "soundmark spectrograms ESC-50-master figures --recipe transfer --colours magma",
        ],
        Recipes=choices.RECIPES,
    )
)
def spectrograms(
    dataset: options.DatasetPath,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder for the images, with one folder per class.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Output",
        ),
    ],
    recipe: Annotated[
        str,
        options.recipe_option("Recipe, or a .toml file, that defines the spectrogram. See Recipes.", group="Output"),
    ] = "notebook-image",
    colours: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Colour map of Matplotlib: magma, viridis, …",
            show_default="the recipe's grey values",
            autocompletion=completion.names(choices.COLOUR_MAPS),
            rich_help_panel="Output",
        ),
    ] = None,
    axes: Annotated[
        bool, typer.Option("--axes", help="Draw axes in seconds and hertz.", rich_help_panel="Output")
    ] = False,
    subset: options.Subset = None,
    complete: options.Complete = False,
    jobs: options.Jobs = None,
    cluster: options.Cluster = None,
    quiet: options.Quiet = False,
) -> None:
    """Write the spectrogram of every clip as a PNG image.

    Without --colours and --axes, the images are the exact input of the recipe's network, as in the original notebook.
    Images from an earlier run with the same settings are kept.
    """
    if colours or axes:
        requirements.require("spectrograms with --colours or --axes", requirements.FIGURES)
    if cluster:
        requirements.require("--cluster", ("distributed",))
    from soundmark.cli import console, tables
    from soundmark.datasets import spectrogram_images
    from soundmark.runtime import parallel
    from soundmark.training.named_recipes import recipe_named

    data = open_dataset(dataset, subset, complete=complete)
    chosen = recipe_named(recipe).representation
    with parallel.workers(cluster, jobs) as workers, console.progress(quiet) as progress:
        written = spectrogram_images.save_images(
            data,
            chosen,
            folder,
            colours=colours,
            axes=axes,
            jobs=workers,
            progress=progress,
        )
    console.say(f"{written.count:,} images are in {folder}.")
    for note in written.notes:
        console.warn(note)
    faults = data.faults((*data.skipped, *written.skipped))
    tables.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)

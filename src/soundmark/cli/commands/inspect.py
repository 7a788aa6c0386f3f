"""``soundmark inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import options
from soundmark.cli.app import app, open_dataset


@app.command()
def inspect(
    dataset: options.DatasetPath,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PICTURE", help="Draw it too: a .png, .svg or .pdf file.", parser=options.place
        ),
    ] = None,
    subset: options.Subset = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """What is in a data set, and what is wrong with it."""
    from soundmark.cli import console, tables
    from soundmark.datasets import inspection
    from soundmark.runtime import plotting

    data = open_dataset(dataset, subset)
    if output:
        plotting.check_figure_path(output)
    with console.progress(quiet) as progress:
        found = inspection.inspect(data, jobs=jobs, progress=progress)
    tables.show_inspection(found)
    if output:
        found.save(output)
        console.say(f"The picture is {output}.")
    raise typer.Exit(1 if found.unreadable or data.faults(data.skipped) else 0)

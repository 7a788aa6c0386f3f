"""``soundmark inspect``."""

from __future__ import annotations

import typer

from soundmark.cli import help_page, options, requirements
from soundmark.cli.app import app, open_dataset


@app.command(
    epilog=help_page.page_end(["soundmark inspect UrbanSound8K", "soundmark inspect recordings.csv -o overview.png"])
)
def inspect(
    dataset: options.DatasetPath,
    output: options.Figure = None,
    overwrite: options.Overwrite = False,
    subset: options.Subset = None,
    complete: options.Complete = False,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """List the classes, formats and problems of a data set.

    Every clip is decoded. Reports clips per class and fold, durations, encodings, and clips that are unreadable,
    truncated, silent, clipped or duplicate, or whose recording occurs in several folds. Exit status 1: a clip cannot
    be read.
    """
    if output:
        requirements.require("a figure", requirements.FIGURES)
    from soundmark.cli import console, tables
    from soundmark.datasets import inspection
    from soundmark.runtime import atomic, plotting

    data = open_dataset(dataset, subset, complete=complete)
    if output:
        plotting.check_figure_path(output)
        atomic.check_new_file(output, overwrite=overwrite)
    with console.progress(quiet) as progress:
        found = inspection.inspect(data, jobs=jobs, progress=progress)
    tables.show_inspection(found)
    for text in found.warnings:
        console.warn(text)
    if output:
        found.save(output)
        console.say(f"Figure: {output}.")
    raise typer.Exit(1 if found.unreadable or data.faults(data.skipped) else 0)

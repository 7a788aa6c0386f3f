"""``soundmark export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import options
from soundmark.cli.app import app, open_dataset


@app.command()
def export(
    model: options.ModelArgument,
    front_end: Annotated[
        bool, typer.Option("--with-front-end", help="One file from waveform to probabilities, for other programs.")
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="A quarter of the size, for soundmark or to export on.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where it goes. Default: beside the model.",
            show_default=False,
            parser=options.place,
        ),
    ] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="With the front end: for sounds of any length.")] = False,
    check: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SOUNDS",
            help="With the front end: try it on these too, files, folders or a table; may be repeated.",
            show_default=False,
            parser=options.place,
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET", help="For --int8: real clips, as for train.", show_default=False, parser=options.place
        ),
    ] = None,
    subset: options.Subset = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """A model for other programs: with its front end, or in 8 bits. Nothing is written that says something else."""
    from soundmark.cli import console, tables
    from soundmark.evaluation import quantisation
    from soundmark.models.classifier import load
    from soundmark.models.export import waveform

    wish = waveform.ExportOptions(
        front_end=front_end, int8=int8, dynamic=dynamic, check=check or (), calibrate=calibrate
    )
    loaded = load(model)
    place = waveform.output_path(model, output, wish)
    with console.progress(quiet) as progress:
        if wish.calibrate:
            data = open_dataset(wish.calibrate, subset)
            done = quantisation.export_int8(loaded, place, data, jobs=jobs, progress=progress)
            faults = data.faults(done.skipped)
        else:
            done = waveform.export_waveform_model(loaded, place, dynamic=dynamic, check=wish.check, progress=progress)
            faults = done.skipped
    console.print_result(f"{place}: {done.sentence}")
    tables.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)

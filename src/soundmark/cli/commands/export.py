"""``soundmark export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import choices, completion, help_page, options
from soundmark.cli.app import app, open_dataset
from soundmark.errors import SettingsError


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark export model.onnx --with-front-end --check recordings",
            "soundmark export model.onnx --for birdnet-go",
            "soundmark export model.onnx --page site",
            "soundmark export model.onnx --int8 --calibrate UrbanSound8K -o small.onnx",
        ],
        Programs=choices.EXPORT_TARGETS,
    )
)
def export(
    model: options.ModelArgument,
    front_end: Annotated[
        bool,
        typer.Option(
            "--with-front-end",
            help="Export one ONNX graph from waveform to probabilities, for other programs.",
            rich_help_panel="Output",
        ),
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Export a quantised model of a quarter of the size, for soundmark or for --with-front-end.",
            rich_help_panel="Output",
        ),
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="PROGRAM",
            help="Export for another program; see Programs.",
            show_default=False,
            parser=options.one_of("program", choices.EXPORT_TARGETS),
            autocompletion=completion.names(choices.EXPORT_TARGETS),
            rich_help_panel="Output",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Export a web page that classifies files and the microphone in the browser.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Output",
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With --page: folder of the npm package onnxruntime-web.",
            show_default="download it once, 14 MB",
            parser=options.path,
            rich_help_panel="Output",
        ),
    ] = None,
    output: Annotated[
        Path | None, options.output_option("FILE", "File or folder to write.", show_default="beside the model")
    ] = None,
    overwrite: options.Overwrite = False,
    dynamic: Annotated[
        bool,
        typer.Option("--dynamic", help="With --with-front-end: accept sounds of any length.", rich_help_panel="Output"),
    ] = False,
    check: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="With --with-front-end: sound file, folder or table to compare the export on; may be repeated.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Input",
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            help="With --int8: data set of real clips, from which the value ranges are taken.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Input",
        ),
    ] = None,
    subset: options.Subset = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """Convert a model for other programs, or quantise it to int8.

    The export is tested before it is written: the probabilities must agree with those of the model, and int8 may lose
    at most one percentage point of accuracy.
    """
    from soundmark.cli import console, tables
    from soundmark.evaluation import quantisation
    from soundmark.models.export import targets, waveform
    from soundmark.models.pretrained import hub
    from soundmark.models.pretrained.named_models import load

    chosen = waveform.ExportOptions(
        front_end=front_end,
        int8=int8,
        target=target,
        page=page,
        runtime=runtime,
        dynamic=dynamic,
        check=check or (),
        calibrate=calibrate,
    )
    if page and output:
        raise SettingsError("--page names the folder that is written: remove -o.")
    loaded, file = load(model), hub.local_name(model)
    if chosen.target or chosen.page:
        with console.progress(quiet) as progress:
            program = targets.TARGETS[target] if target else targets.page_target(runtime, progress)
            path = targets.target_path(program, file, page or output, overwrite=overwrite)
            done = targets.export_for(loaded, program, path)
        console.print_result(f"{path}: {done.sentence}")
        return
    path = waveform.output_path(file, output, chosen, overwrite=overwrite)
    with console.progress(quiet) as progress:
        if chosen.calibrate:
            data = open_dataset(chosen.calibrate, subset)
            done = quantisation.export_int8(loaded, path, data, jobs=jobs, progress=progress)
            faults = data.faults(done.skipped)
        else:
            done = waveform.export_waveform_model(loaded, path, dynamic=dynamic, check=chosen.check, progress=progress)
            faults = done.skipped
    console.print_result(f"{path}: {done.sentence}")
    tables.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)

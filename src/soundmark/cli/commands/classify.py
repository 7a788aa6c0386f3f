"""``soundmark classify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundmark.cli import options, shell
from soundmark.cli.app import app
from soundmark.detection.settings import DEFAULT_TIMEZONE, DetectionSettings, read_thresholds

if TYPE_CHECKING:
    from soundmark.detection.file_analysis import FileAnalysis
    from soundmark.detection.results_folder import FolderResult


@app.command()
def classify(
    model: options.ModelPath,
    typed: options.Inputs = None,
    files_from: options.FilesFrom = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Write results there, for all files and for each; the same command again goes on where it was.",
            show_default=False,
            parser=options.place,
        ),
    ] = None,
    form: options.Form = None,
    top_k: options.TopK = DetectionSettings.top_k,
    unknown: options.Unknown = DetectionSettings.unknown,
    overlap: options.Overlap = DetectionSettings.overlap,
    min_confidence: options.MinConfidence = DetectionSettings.min_confidence,
    thresholds: options.Thresholds = None,
    merge_gap: options.MergeGap = DetectionSettings.merge_gap_s,
    timezone: options.Timezone = DEFAULT_TIMEZONE,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """What is heard in files, folders of them, or hours of recording: each as a whole, and what is heard when."""
    from soundmark.cli import console, tables
    from soundmark.detection import inputs
    from soundmark.detection.file_analysis import FileAnalysis
    from soundmark.models.classifier import load

    if output is None:
        shell.not_resumable()  # without a folder, nothing is kept
    inputs.check(typed or [], files_from)
    form = options.form(form, to_folder=output is not None)
    console.show_library_warnings()
    loaded = load(model)
    settings = DetectionSettings(
        top_k=top_k,
        unknown=unknown,
        overlap=overlap,
        min_confidence=min_confidence,
        thresholds=read_thresholds(thresholds) if thresholds else None,
        merge_gap_s=merge_gap,
    )
    files = list(inputs.files([*(typed or []), *(inputs.listed(files_from) if files_from else [])]))
    found: FolderResult | FileAnalysis
    with console.analysis_progress(quiet) as tell:
        if output:
            from soundmark.detection.results_folder import analyze_to_folder

            found = analyze_to_folder(
                loaded, files, settings, output, form=form, timezone=timezone, jobs=jobs, fresh=fresh, tell=tell
            )
        else:
            with FileAnalysis(loaded, files, settings, timezone=timezone, jobs=jobs, tell=tell) as found:
                tables.write_results(found, form, unknown=loaded.unknown if unknown else None)
    tables.show_failures(found)
    raise typer.Exit(1 if found.failures else 0)

"""``soundmark classify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from soundmark.cli import choices, help_page, options, requirements, shell
from soundmark.cli.app import app
from soundmark.detection.settings import DEFAULT_MODEL, DEFAULT_TIMEZONE, DetectionSettings, Shard, read_thresholds

if TYPE_CHECKING:
    from soundmark.detection.file_analysis import FileAnalysis
    from soundmark.detection.results_folder import FolderResult


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark classify street.wav",
            "soundmark classify street.wav -m model.onnx",
            "soundmark classify recordings -m model.onnx -o results --overlap 0.5",
            "soundmark classify recordings -m model.onnx -o results/part-3 --shard 3/8",
            "ls *.flac | soundmark classify --files-from - -m model.onnx --format csv",
        ],
        Formats=choices.RESULT_FORMATS,
    )
)
def classify(
    paths: options.Inputs = None,
    model: options.ModelOrDefault = DEFAULT_MODEL,
    files_from: options.FilesFrom = None,
    output: Annotated[
        str | None,
        options.output_option(
            "DIR|URL",
            "Folder for the results: of all files, and of each file. Resumes an earlier run.",
            show_default="print to the terminal",
            parser=options.path_or_url,
        ),
    ] = None,
    form: options.ResultFormat = None,
    classes: options.Classes = None,
    top_k: options.TopK = DetectionSettings.top_k,
    unknown: options.Unknown = DetectionSettings.unknown,
    overlap: options.Overlap = DetectionSettings.overlap,
    min_confidence: options.MinConfidence = DetectionSettings.min_confidence,
    thresholds: options.Thresholds = None,
    merge_gap: options.MergeGap = DetectionSettings.merge_gap_s,
    calibration: options.Calibration = DetectionSettings.calibration_db,
    timezone: options.Timezone = DEFAULT_TIMEZONE,
    jobs: options.Jobs = None,
    isolate: options.Isolate = False,
    shard: options.ShardOption = None,
    cluster: options.Cluster = None,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """Classify sound files; list detections with their times.

    Without -m, a pretrained model with AudioSet's 527 classes is used; its weights are downloaded once (4 MB).
    Prints the most probable classes of each file. A file longer than the model's window is split into windows, and
    each detection is listed with its start and stop time. A file that cannot be read is skipped (exit status 1).
    """
    if cluster:
        requirements.require("--cluster", ("distributed",))
    from soundmark.cli import console, tables
    from soundmark.detection import inputs
    from soundmark.detection.file_analysis import FileAnalysis
    from soundmark.models.pretrained import named_models
    from soundmark.runtime import parallel

    if output is None:
        shell.not_resumable()
    inputs.check(paths or [], files_from)
    part = Shard.parse(shard) if shard is not None else None
    inputs.check_shard(paths or [], part, output)
    form = options.result_format(form, to_folder=output is not None)
    if form == "parquet":
        requirements.require("--format parquet", ("pyarrow",))
    console.show_library_warnings()
    loaded = named_models.load(model, classes=classes)
    settings = DetectionSettings(
        top_k=top_k,
        unknown=unknown,
        overlap=overlap,
        min_confidence=min_confidence,
        thresholds=read_thresholds(thresholds) if thresholds else None,
        merge_gap_s=merge_gap,
        calibration_db=calibration,
    )
    names = [*(paths or []), *(inputs.read_file_list(files_from) if files_from else [])]
    files, repeats = inputs.without_repeats(inputs.files(names))
    if repeats:
        console.say(f"{repeats} repeated {'path' if repeats == 1 else 'paths'} of the same files: counted once.")
    found: FolderResult | FileAnalysis
    if output is None:
        with (
            parallel.workers(cluster, jobs) as workers,
            console.analysis_progress(quiet) as show,
            FileAnalysis(
                loaded, files, settings, timezone=timezone, jobs=workers, isolate=isolate, on_progress=show
            ) as found,
        ):
            tables.write_results(found, form, unknown=loaded.unknown if unknown else None)
    else:
        from soundmark.detection.results_folder import analyze_to_folder
        from soundmark.detection.results_folder.destination import destination

        with destination(output, fresh=fresh) as place:
            with parallel.workers(cluster, jobs) as workers, console.analysis_progress(quiet) as show:
                found = analyze_to_folder(
                    loaded,
                    files,
                    settings,
                    place.folder,
                    form=form,
                    timezone=timezone,
                    jobs=workers,
                    isolate=isolate,
                    fresh=fresh,
                    shard=part,
                    on_progress=show,
                )
            with console.progress(quiet) as show_copied:
                found = place.publish(found, show_copied)
    tables.show_failures(found)
    raise typer.Exit(1 if found.failures else 0)

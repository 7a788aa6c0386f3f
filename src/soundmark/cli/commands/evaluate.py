"""``soundmark evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundmark.cli import help_page, options, requirements
from soundmark.cli.app import app, open_dataset
from soundmark.detection.settings import DetectionSettings, EventRule, check_event_options

if TYPE_CHECKING:
    from soundmark.datasets import Skipped


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark evaluate UrbanSound8K -m final/model.onnx",
            "soundmark evaluate recordings.csv -m final/model.onnx -o scores",
            "soundmark evaluate annotations.csv -m model.onnx --events",
        ]
    )
)
def evaluate(
    dataset: options.DatasetPath,
    model: options.ModelName,
    output: Annotated[
        Path | None,
        options.output_option(
            "DIR", "Folder for predictions.csv and metrics.json, or events.json.", show_default="none written"
        ),
    ] = None,
    events: Annotated[
        bool,
        typer.Option(
            "--events",
            help="Score detections in long recordings: the clips of DATASET are annotations with start and end.",
            rich_help_panel="Detection",
        ),
    ] = False,
    min_overlap: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="With --events: share of a detection, and of an annotation, that must overlap.",
            parser=options.fraction,
            rich_help_panel="Detection",
        ),
    ] = EventRule.min_overlap,
    overlap: options.Overlap = DetectionSettings.overlap,
    min_confidence: options.MinConfidence = DetectionSettings.min_confidence,
    merge_gap: options.MergeGap = DetectionSettings.merge_gap_s,
    subset: options.Subset = None,
    complete: options.Complete = False,
    jobs: options.Jobs = None,
    cluster: options.Cluster = None,
    quiet: options.Quiet = False,
) -> None:
    """Score a model on a labelled data set.

    Clips that the model was trained on are excluded. Prints accuracy or mAP with a confidence interval, macro F1, log
    loss, calibration error, and precision and recall per class. With --events, detects events in the recordings that
    the clips belong to, and prints precision, recall and F1 per class, errors of onset and offset, and false detections
    per hour.
    """
    if cluster:
        requirements.require("--cluster", ("distributed",))
    from soundmark.cli import console, tables
    from soundmark.evaluation import event_evaluation, model_evaluation
    from soundmark.models.pretrained.named_models import load
    from soundmark.runtime import parallel

    rule = EventRule(min_overlap=min_overlap)
    settings = DetectionSettings(overlap=overlap, min_confidence=min_confidence, merge_gap_s=merge_gap)
    check_event_options(events, rule, settings)
    loaded = load(model)
    data = open_dataset(dataset, subset, complete=complete)
    skipped: Sequence[Skipped]
    with parallel.workers(cluster, jobs) as workers, console.progress(quiet) as progress:
        if events:
            found = event_evaluation.score_events(
                loaded, data, settings, rule=rule, folder=output, jobs=workers, progress=progress
            )
        else:
            tested = model_evaluation.evaluate_model(loaded, data, folder=output, jobs=workers, progress=progress)
    if events:
        tables.show_scored_events(found)
        skipped = found.skipped
    else:
        with console.progress(quiet) as progress:
            tested = model_evaluation.evaluate_model(loaded, data, folder=output, jobs=jobs, progress=progress)
        tables.show_scored(tested)
        skipped = tested.skipped
    faults = data.faults(skipped)
    tables.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)

"""``soundmark evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import help_page, options
from soundmark.cli.app import app, open_dataset


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark evaluate UrbanSound8K -m final/model.onnx",
            "soundmark evaluate recordings.csv -m final/model.onnx -o scores",
        ]
    )
)
def evaluate(
    dataset: options.DatasetPath,
    model: options.ModelName,
    output: Annotated[
        Path | None,
        options.output_option("DIR", "Folder for predictions.csv and metrics.json.", show_default="none written"),
    ] = None,
    subset: options.Subset = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """Score a model on a labelled data set.

    Clips that the model was trained on are excluded. Prints accuracy or mAP with a confidence interval, macro F1, log
    loss, calibration error, and precision and recall per class.
    """
    from soundmark.cli import console, tables
    from soundmark.evaluation import model_evaluation
    from soundmark.models.pretrained.named_models import load

    loaded = load(model)
    data = open_dataset(dataset, subset)
    with console.progress(quiet) as progress:
        tested = model_evaluation.evaluate_model(loaded, data, folder=output, jobs=jobs, progress=progress)
    tables.show_scored(tested)
    faults = data.faults(tested.skipped)
    tables.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)

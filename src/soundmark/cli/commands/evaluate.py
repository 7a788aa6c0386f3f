"""``soundmark evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import options
from soundmark.cli.app import app, open_dataset


@app.command()
def evaluate(
    dataset: options.DatasetPath,
    model: options.ModelPath,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="RUN", help="Write predictions.csv and metrics.json there.", parser=options.place
        ),
    ] = None,
    subset: options.Subset = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """How good a model is on a data set; clips that it was trained on are left out."""
    from soundmark.cli import console, tables
    from soundmark.evaluation import model_evaluation
    from soundmark.models.classifier import load

    loaded = load(model)
    data = open_dataset(dataset, subset)
    with console.progress(quiet) as progress:
        tested = model_evaluation.evaluate_model(loaded, data, folder=output, jobs=jobs, progress=progress)
    tables.show_scored(tested)
    faults = data.faults(tested.skipped)
    tables.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)

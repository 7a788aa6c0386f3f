"""``soundmark train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import options
from soundmark.cli.app import app, open_dataset
from soundmark.training import DEFAULT_DEVICE, DEFAULT_RECIPE


@app.command()
def train(
    dataset: options.DatasetPath,
    output: options.Output,
    recipe: Annotated[str, typer.Option(help="A recipe's name or .toml file.")] = DEFAULT_RECIPE,
    test_fold: Annotated[
        int | None,
        typer.Option(
            help="Keep this fold back and score it. Default: train on all clips.",
            show_default=False,
            metavar="NUMBER",
            parser=options.whole,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN2",
            help="Put this comparison's scores on the model's card.",
            show_default=False,
            parser=options.place,
        ),
    ] = None,
    subset: options.Subset = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    seed: options.Seed = None,
    jobs: options.Jobs = None,
    device: options.Device = DEFAULT_DEVICE,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """One model, from all clips or all but one fold: RUN/model.onnx."""
    from soundmark.cli import console, tables
    from soundmark.training import named_recipes
    from soundmark.training.single_model import train_model

    chosen = named_recipes.recipe(recipe, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    data = open_dataset(dataset, subset)
    with console.progress(quiet) as progress:
        made = train_model(
            data,
            chosen,
            output,
            test_fold=test_fold,
            scores=scores,
            jobs=jobs,
            device=device,
            fresh=fresh,
            progress=progress,
        )
    tables.show_card(str(made.model), made.card)
    faults = data.faults(made.skipped)
    tables.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)

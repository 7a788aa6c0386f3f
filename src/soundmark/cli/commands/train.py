"""``soundmark train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import choices, help_page, options, requirements
from soundmark.cli.app import app
from soundmark.training import DEFAULT_DEVICE, DEFAULT_RECIPE


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark train sounds -o final",
            "soundmark train sounds corrections -o better",
            "soundmark train UrbanSound8K -o fold10 --recipe scratch --test-fold 10",
        ],
        Recipes=choices.RECIPES,
    )
)
@options.with_groups
def train(
    dataset: options.DatasetPaths,
    output: options.Output,
    *,
    recipe: Annotated[str, options.recipe_option("Recipe, or a .toml file. See Recipes.")] = DEFAULT_RECIPE,
    test_fold: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Official fold to hold out and score.",
            show_default="train on all clips",
            parser=options.integer,
            rich_help_panel="Evaluation",
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder written by compare; its scores of this recipe are copied to the model card.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Evaluation",
        ),
    ] = None,
    training: options.TrainingOptions,
    jobs: options.Jobs = None,
    device: options.Device = DEFAULT_DEVICE,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """Train one model, on all clips or all but one fold.

    Writes DIR/model.onnx. Run the same command again to resume an interrupted training.
    """
    from soundmark.cli import console, tables
    from soundmark.models.bundle import read_bundle
    from soundmark.training.single_model import train_model

    (chosen,) = training.changed([recipe])
    requirements.require_for_recipes([chosen])
    data = training.open(dataset, [chosen])
    with console.progress(quiet) as progress:
        trained = train_model(
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
    tables.show_card(str(trained.model), read_bundle(trained.model))
    faults = data.faults(trained.skipped)
    tables.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)

"""``soundmark train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import choices, help_page, options, requirements
from soundmark.cli.app import app, open_datasets
from soundmark.training import DEFAULT_BACKGROUND, DEFAULT_DEVICE, DEFAULT_RECIPE


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
def train(
    dataset: options.DatasetPaths,
    output: options.Output,
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
    subset: options.Subset = None,
    complete: options.Complete = False,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    backbone: options.Backbone = None,
    backbone_output: options.BackboneOutput = None,
    backbone_rate: options.BackboneRate = None,
    seed: options.Seed = None,
    window: options.Window = None,
    background: options.Background = DEFAULT_BACKGROUND,
    time_expansion: options.TimeExpansion = None,
    band: options.Band = None,
    jobs: options.Jobs = None,
    device: options.Device = DEFAULT_DEVICE,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """Train one model, on all clips or all but one fold.

    Writes DIR/model.onnx. Run the same command again to resume an interrupted training.
    """
    from soundmark.cli import console, tables
    from soundmark.datasets.clip_windows import describe_window
    from soundmark.models.bundle import read_bundle
    from soundmark.training import named_recipes
    from soundmark.training.single_model import prepare, train_model

    fields = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "backbone": backbone}
    fields |= {"backbone_output": backbone_output, "backbone_rate_hz": backbone_rate, "window_s": window}
    hertz = options.frequency_band(band)
    (chosen,) = named_recipes.changed_recipes([recipe], **fields, seed=seed, time_expansion=time_expansion, band=hertz)
    requirements.require_for_recipes([chosen])
    data = prepare(open_datasets(dataset, subset, complete=complete), [chosen], window_s=window, background=background)
    console.say(describe_window(data))
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

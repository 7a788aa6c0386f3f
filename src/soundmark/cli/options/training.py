"""Options of the commands that train: which clips, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from soundmark.cli import choices, completion
from soundmark.cli.app import open_datasets
from soundmark.cli.options.parsers import Number, frequency_band, integer, number, positive_integer
from soundmark.training import DEFAULT_BACKGROUND

if TYPE_CHECKING:
    from soundmark.datasets import Dataset
    from soundmark.training.recipe import Recipe


def _recipe_field(metavar: str, help: str, parser: Callable[[str], Number]) -> Any:
    """An option that replaces a field of the recipe."""
    return typer.Option(
        metavar=metavar, help=help, show_default="the recipe's", parser=parser, rich_help_panel="Training"
    )


Subset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Use a subset of the data set; available: esc10, the ten classes of ESC-10 (in ESC-50).",
        autocompletion=completion.names(choices.SUBSETS),
        rich_help_panel="Input",
    ),
]


Complete = Annotated[
    bool,
    typer.Option(
        "--complete",
        help="Annotated recordings: everything of interest is annotated, so the rest is background.",
        rich_help_panel="Input",
    ),
]


Epochs = Annotated[int | None, _recipe_field("N", "Number of epochs.", integer)]


BatchSize = Annotated[int | None, _recipe_field("N", "Clips per batch.", integer)]


LearningRate = Annotated[float | None, _recipe_field("RATE", "Learning rate.", number)]


Seed = Annotated[int | None, _recipe_field("N", "Random seed of weights, batch order and dropout.", integer)]


Window = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Window of the model; longer clips are cut into windows.",
        show_default="from the durations of the clips",
        parser=number,
        rich_help_panel="Training",
    ),
]


Background = Annotated[
    str,
    typer.Option(
        metavar="LABEL",
        help='Label that means "none of these", never reported as an event; auto: background, noise, none or silence; '
        "none: no such label.",
        rich_help_panel="Training",
    ),
]


Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="Pretrained network of a recipe with a backbone: mn04, mn10 (ten times the arithmetic), or an .onnx file.",
        show_default="the recipe's",
        autocompletion=completion.names(choices.BACKBONES),
        rich_help_panel="Training",
    ),
]


BackboneOutput = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Output of the --backbone file that is the embedding.",
        show_default="from the file",
        rich_help_panel="Training",
    ),
]


BackboneRate = Annotated[
    int | None,
    typer.Option(
        metavar="HZ",
        help="Sample rate of the input of the --backbone file.",
        show_default="from the file",
        parser=positive_integer,
        rich_help_panel="Training",
    ),
]


TimeExpansion = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Analyse sounds as if played X times slower: above 1 for ultrasound, below 1 for infrasound.",
        show_default="the recipe's",
        parser=number,
        rich_help_panel="Training",
    ),
]


Band = Annotated[
    str | None,
    typer.Option(
        metavar="LOW-HIGH",
        help="Frequencies of the spectrograms in Hz, like 20000-120000.",
        show_default="the recipe's",
        rich_help_panel="Training",
    ),
]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The options of every command that trains; those that are not given are the recipe's, or follow from the clips."""

    subset: Subset = None
    complete: Complete = False
    epochs: Epochs = None
    batch_size: BatchSize = None
    learning_rate: LearningRate = None
    backbone: Backbone = None
    backbone_output: BackboneOutput = None
    backbone_rate: BackboneRate = None
    seed: Seed = None
    window: Window = None
    background: Background = DEFAULT_BACKGROUND
    time_expansion: TimeExpansion = None
    band: Band = None

    def changed(self, recipes: Sequence[str | Recipe]) -> list[Recipe]:
        """Return each recipe with the options that replace its fields.

        >>> TrainingOptions(epochs=5).changed(["notebook-mel"])[0].epochs
        5
        """
        from soundmark.training.named_recipes import changed_recipes

        return changed_recipes(
            recipes,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            backbone=self.backbone,
            backbone_output=self.backbone_output,
            backbone_rate_hz=self.backbone_rate,
            seed=self.seed,
            window_s=self.window,
            time_expansion=self.time_expansion,
            band=frequency_band(self.band),
        )

    def open(self, paths: Sequence[Path], recipes: Sequence[Recipe]) -> Dataset:
        """Open data sets as one, as ``recipes`` use it, and say what its windows are."""
        from soundmark.cli import console
        from soundmark.datasets.clip_windows import describe_window
        from soundmark.training.single_model import prepare

        opened = open_datasets(paths, self.subset, complete=self.complete)
        data = prepare(opened, recipes, window_s=self.window, background=self.background)
        console.say(describe_window(data))
        return data

"""What may be typed after a verb: the options that several share, and what their values are read as."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from soundmark.errors import SettingsError, unknown_name

if TYPE_CHECKING:
    from soundmark.recipes import Recipe

Number = TypeVar("Number", int, float)
Name = TypeVar("Name", bound=StrEnum)


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    csv = "csv"


class CardFormat(StrEnum):
    """How a model's card is printed."""

    table = "table"
    json = "json"
    markdown = "markdown"


def place(text: str) -> Path:
    """A path that was typed; the empty one would mean the current folder.

    >>> place("run").name
    'run'
    """
    if not text:
        raise typer.BadParameter('it is "": give a path. The current folder is ".".')
    return Path(text)


def whole(text: str) -> int:
    """A whole number.

    >>> whole("-12")
    -12
    """
    return _typed(int, text, "a whole number")


def natural(text: str) -> int:
    """A whole number of at least 1.

    >>> natural("3")
    3
    """
    number = _typed(int, text, "a whole number of at least 1")
    if number < 1:
        raise typer.BadParameter(f"it is {number}: give a whole number of at least 1.")
    return number


def decimal(text: str) -> float:
    """A number.

    >>> decimal("1e-3")
    0.001
    """
    return _typed(float, text, "a number")


def _typed(kind: Callable[[str], Number], text: str, what: str) -> Number:
    try:
        return kind(text)
    except ValueError as error:
        raise typer.BadParameter(f'it is "{text}": give {what}.') from error


def form(text: str) -> Format:
    """How results are to be printed.

    >>> form("json")
    <Format.json: 'json'>
    """
    return _one_of(Format, text)


def card_form(text: str) -> CardFormat:
    """How a card is to be printed.

    >>> card_form("markdown")
    <CardFormat.markdown: 'markdown'>
    """
    return _one_of(CardFormat, text)


def _one_of(kind: type[Name], text: str) -> Name:
    try:
        return kind(text)
    except ValueError as error:
        raise typer.BadParameter(str(unknown_name("format", text, list(kind)))) from error


# Options that mean the same everywhere.
DatasetPath = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET",
        help="UrbanSound8K, ESC-50, a CSV table, or a folder with a folder per class.",
        show_default=False,
        parser=place,
    ),
]
Subset = Annotated[str | None, typer.Option(help="A named part of the data set: esc10 of ESC-50.")]
Output = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="RUN", help="The folder that results go to.", show_default=False, parser=place
    ),
]
ModelPath = Annotated[
    Path,
    typer.Option("-m", "--model", metavar="MODEL", help="A trained model (.onnx).", show_default=False, parser=place),
]
ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A trained model (.onnx).", show_default=False, parser=place)
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Processes to compute features with. Default: the cores there are.",
        show_default=False,
        metavar="NUMBER",
        parser=natural,
    ),
]
Device = Annotated[str, typer.Option(help="Where to train: auto, cpu, cuda or mps.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over instead of going on with what is there.")]
Epochs = Annotated[
    int | None,
    typer.Option(help="Instead of the recipe's own.", show_default=False, metavar="NUMBER", parser=whole),
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Instead of the recipe's own.", show_default=False, metavar="NUMBER", parser=whole),
]
LearningRate = Annotated[
    float | None,
    typer.Option(help="Instead of the recipe's own.", show_default=False, metavar="NUMBER", parser=decimal),
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Of weights, order and dropout, instead of the recipe's own.",
        show_default=False,
        metavar="NUMBER",
        parser=whole,
    ),
]


def recipe_of(
    name: str, epochs: int | None, batch_size: int | None, learning_rate: float | None, seed: int | None
) -> Recipe:
    """The recipe of that name, with what was given instead of its own settings.

    >>> recipe_of("seed-mel", epochs=3, batch_size=None, learning_rate=None, seed=None).epochs
    3
    """
    from dataclasses import replace

    from soundmark import recipes

    given: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    return replace(recipes.named(name), **{key: value for key, value in given.items() if value is not None})


def numbers(text: str | None) -> list[int] | None:
    """The folds that were asked for; ``None`` where none were.

    >>> numbers("1,2,10")
    [1, 2, 10]
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SettingsError(f'--folds is "{text}": give fold numbers with commas between, as 1,2,10.') from error

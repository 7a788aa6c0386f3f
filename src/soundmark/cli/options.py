"""What may be typed after a verb: the options that several share, and what their values are read as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from soundmark.errors import SettingsError, unknown_name

Number = TypeVar("Number", int, float)


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


def one_of(kind: str, known: Sequence[str]) -> Callable[[str], str]:
    """What reads one of the ``known`` names; a misspelt one is refused with the nearest.

    >>> one_of("format", ["table", "json"])("json")
    'json'
    """

    def named(text: str) -> str:
        if text not in known:
            raise typer.BadParameter(str(unknown_name(kind, text, known)))
        return text

    return named


def share(text: str) -> float:
    """A number from 0 to 1.

    >>> share("0.5")
    0.5
    """
    number = decimal(text)
    if not 0 <= number <= 1:
        raise typer.BadParameter(f"it is {number:g}: give a number from 0 to 1.")
    return number


FORMATS = ("table", "csv", "jsonl", "json", "parquet", "audacity", "raven")


def form(text: str | None, *, to_folder: bool) -> str:
    """The format that was asked for, or else the usual one.

    Raises:
        SettingsError: it does not go where it should.

    >>> form(None, to_folder=True), form(None, to_folder=False)
    ('csv', 'table')
    """
    if to_folder and text == "table":
        raise SettingsError("the format table is for the screen: leave out -o, or choose another.")
    if not to_folder and text == "parquet":
        raise SettingsError("parquet is no text: say with -o which folder it goes to.")
    return text or ("csv" if to_folder else "table")


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


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT...]",
        help='Sound files, folders of them, or "-": a sound on standard input.',
        show_default=False,
    ),
]


FilesFrom = Annotated[
    str | None,
    typer.Option(metavar="FILE|-", help="Hear the files that this list names, a line each.", show_default=False),
]


Form = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="For a person: table; for programs: csv, jsonl, json, parquet, audacity, raven. Default: table, and csv "
        "with -o.",
        show_default=False,
        metavar=f"[{'|'.join(FORMATS)}]",
        parser=one_of("format", FORMATS),
    ),
]


TopK = Annotated[int, typer.Option(help="How many classes to name.", metavar="NUMBER", parser=natural)]


Unknown = Annotated[
    bool,
    typer.Option("--unknown/--no-unknown", help="Say so where a sound is none of the classes, if the model can tell."),
]


Overlap = Annotated[
    float,
    typer.Option(
        metavar="SHARE", help="Of a window, what the next one has too: 0.75 is four a window.", parser=decimal
    ),
]


MinConfidence = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        help="The probability that begins an event. Default: the model's own for each class, or 0.5.",
        show_default=False,
        parser=share,
    ),
]


Thresholds = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The same for each class: TOML with lines as siren = 0.7, or CSV with label,threshold.",
        show_default=False,
        parser=place,
    ),
]


MergeGap = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", help="Events of a class with no longer a gap between them are one.", parser=decimal
    ),
]


Timezone = Annotated[
    str,
    typer.Option(metavar="NAME", help="Of the clocks that named the files, as Europe/Berlin, where they do not say."),
]


LiveSource = Annotated[
    str,
    typer.Argument(
        metavar="[SOURCE]",
        help="microphone; - for raw PCM on standard input; or an address, rtsp:// or http://.",
        show_default=True,
    ),
]


Rate = Annotated[int, typer.Option(metavar="HZ", help="Of the PCM on standard input.", parser=natural)]


Channels = Annotated[int, typer.Option(metavar="NUMBER", help="Of the PCM, interleaved.", parser=natural)]


SampleFormat = Annotated[str, typer.Option(metavar="[u8|s16|s24|s32|f32]", help="Of the PCM, little-endian.")]


ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A trained model (.onnx).", show_default=False, parser=place)
]


Jobs = Annotated[
    int | None,
    typer.Option(
        help="How much to do at a time. Default: the cores there are.",
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

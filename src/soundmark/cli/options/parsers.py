"""Parse the values of options."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import typer

from soundmark.errors import SettingsError, unknown_name
from soundmark.runtime.checks import is_url
from soundmark.runtime.output_folder import NO_URL

Number = TypeVar("Number", int, float)


class InvalidValue(typer.BadParameter):
    """A value that cannot be parsed; the message names the option: "--jobs is 0: expected …"."""

    def format_message(self) -> str:
        """The message, without typer's "Invalid value for"."""
        option = getattr(self, "param", None)
        long_names = [name for name in getattr(option, "opts", ()) if name.startswith("--")]
        name = long_names[0] if long_names else str(getattr(option, "metavar", None) or "the value").strip("[].")
        return f"{name} is {self.message}"


class UnknownName(typer.BadParameter):
    """A name that is not among the known ones; the message says so without naming the option."""

    def format_message(self) -> str:
        """The message, without typer's "Invalid value for"."""
        return self.message


def path(text: str | Path) -> Path:
    """Parse a path; an empty one would be the current folder. A default is parsed too, and is a ``Path`` already.

    >>> path("run").name, path(Path("demo")).name
    ('run', 'demo')
    """
    if not text:
        raise InvalidValue('"": expected a path. The current folder is ".".')
    if is_url(str(text)):
        raise InvalidValue(f'"{text}": {NO_URL}')
    return Path(text)


def path_or_url(text: str) -> str:
    """Check a path, or the URL of a folder in an object store.

    >>> path_or_url("s3://sensors/june"), path_or_url("june")
    ('s3://sensors/june', 'june')
    """
    return text if is_url(text) else str(path(text))


def model_name(text: str) -> str:
    """Parse the name, the path or the address of a model on the Hugging Face Hub.

    >>> model_name("audioset"), model_name("./audioset"), model_name("hf://user/name")
    ('audioset', './audioset', 'hf://user/name')
    """
    if not text.startswith("hf://"):
        path(text)
    return text


def integer(text: str) -> int:
    """Parse a whole number.

    >>> integer("-12")
    -12
    """
    return _parsed(int, text, "a whole number")


def positive_integer(text: str) -> int:
    """Parse a whole number of at least 1.

    >>> positive_integer("3")
    3
    """
    value = _parsed(int, text, "a whole number of at least 1")
    if value < 1:
        raise InvalidValue(f"{value}: expected a whole number of at least 1.")
    return value


def finite(text: str) -> float:
    """Parse a finite number.

    >>> finite("0.5")
    0.5
    """
    value = number(text)
    if not math.isfinite(value):
        raise InvalidValue(f'"{text}": expected a finite number.')
    return value


def number(text: str) -> float:
    """Parse a number.

    >>> number("1e-3")
    0.001
    """
    return _parsed(float, text, "a number")


def _parsed(kind: Callable[[str], Number], text: str, expected: str) -> Number:
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidValue(f'"{text}": expected {expected}.') from error


def fraction(text: str) -> float:
    """Parse a number from 0 to 1.

    >>> fraction("0.5")
    0.5
    """
    value = number(text)
    if not 0 <= value <= 1:
        raise InvalidValue(f"{value:g}: expected a number from 0 to 1.")
    return value


def cluster_address(text: str) -> str:
    """Check the form of a cluster's address.

    >>> cluster_address("tcp://10.0.0.5:8786")
    'tcp://10.0.0.5:8786'
    """
    from soundmark.runtime.parallel.cluster import check_address

    try:
        check_address(text)
    except SettingsError as error:
        raise UnknownName(str(error)) from error
    return text


def one_of(kind: str, known: Iterable[str]) -> Callable[[str], str]:
    """Return a parser that accepts the ``known`` names; the error for any other suggests the nearest.

    >>> one_of("format", ["table", "json"])("json")
    'json'
    """
    names = tuple(known)

    def known_name(text: str) -> str:
        if text not in names:
            raise UnknownName(str(unknown_name(kind, text, names)))
        return text

    return known_name


def fold_numbers(text: str | None) -> list[int] | None:
    """Parse fold numbers separated by commas; None for None.

    Raises:
        SettingsError: a part is not a whole number.

    >>> fold_numbers("1,2,10")
    [1, 2, 10]
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SettingsError(f'--folds is "{text}": expected fold numbers separated by commas, like 1,2,10.') from error


def frequency_band(text: str | None) -> tuple[float, float] | None:
    """Parse a band like 50-8000, in Hz; None for None.

    Raises:
        SettingsError: it is not two numbers.

    >>> frequency_band("20000-120000")
    (20000.0, 120000.0)
    """
    if text is None:
        return None
    low, _, high = text.partition("-")
    try:
        return float(low), float(high)
    except ValueError as error:
        raise SettingsError(f'--band is "{text}": expected LOW-HIGH in Hz, like 50-8000.') from error


def result_format(name: str | None, *, to_folder: bool) -> str:
    """Return the format of the results: the given one, or the default for the terminal or for a folder.

    Raises:
        SettingsError: the format is only for the terminal, or only for a folder.

    >>> result_format(None, to_folder=True), result_format(None, to_folder=False)
    ('csv', 'table')
    """
    if to_folder and name == "table":
        raise SettingsError('--format table is for the terminal only: omit -o, or choose another format, like "csv".')
    if not to_folder and name == "parquet":
        raise SettingsError("--format parquet is a binary format: give the folder to write it to with -o.")
    return name or ("csv" if to_folder else "table")

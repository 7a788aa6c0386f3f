"""The parameters of a request: known names, each at most once, with valid values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import QueryParams

from soundmark.errors import SettingsError, unknown_name
from soundmark.runtime.text import shortened

Parser = Callable[[str], Any]


def whole(text: str) -> int:
    """Parse a whole number.

    >>> whole("-3")
    -3
    """
    return int(_ascii(text))


def number(text: str) -> float:
    """Parse a finite number.

    >>> number("0.5")
    0.5
    """
    value = float(_ascii(text))
    if value - value != 0:
        raise ValueError
    return value


def switch(text: str) -> bool:
    """Parse "true" or "false".

    >>> switch("true")
    True
    """
    return {"true": True, "false": False}[text]


def _ascii(text: str) -> str:
    if not text.isascii() or "_" in text or text != text.strip():
        raise ValueError
    return text


EXPECTED = {whole: "a whole number", number: "a number", switch: "true or false", str: "text"}
"""What each parser expects."""


def parsed(query: QueryParams, known: Mapping[str, Parser]) -> dict[str, Any]:
    """Parse the parameters of a request; those that are not given are missing in the result.

    Raises:
        SettingsError: a parameter is unknown, is given twice, or has an invalid value.

    >>> parsed(QueryParams("top_k=5"), {"top_k": whole, "overlap": number})
    {'top_k': 5}
    >>> parsed(QueryParams("topk=5"), {"top_k": whole, "overlap": number})
    Traceback (most recent call last):
    soundmark.errors.SettingsError: there is no query parameter "topk". Did you mean "top_k"? Known: top_k, overlap.
    """
    values = {}
    for name, text in query.multi_items():
        if name not in known:
            raise unknown_name("query parameter", shortened(name, 60), known)
        if name in values:
            raise SettingsError(f"the query parameter {name} is given twice: give it once.")
        try:
            values[name] = known[name](text)
        except (ValueError, KeyError, OverflowError) as error:
            expected = EXPECTED.get(known[name], "another value")
            raise SettingsError(f'{name} is "{shortened(text, 60)}": expected {expected}.') from error
    return values


def one_of(name: str, value: str, known: Mapping[str, Any]) -> str:
    """Return ``value`` if it is one of the ``known`` names.

    Raises:
        SettingsError: it is not.

    >>> one_of("format", "csv", {"csv": 1, "json": 2})
    'csv'
    """
    if value not in known:
        raise unknown_name(name, shortened(value, 60), known)
    return value

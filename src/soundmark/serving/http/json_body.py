"""The body of a request as a JSON object: known names, each with a value of its kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from starlette.requests import Request

from soundmark.errors import SettingsError, unknown_name
from soundmark.runtime.checks import is_finite
from soundmark.runtime.text import listed, shortened
from soundmark.serving.http.problems import Problem
from soundmark.serving.http.uploads import received_bytes

MOST_BYTES = 100_000


MOST_CHARS = 1000  # of a text


Kind = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    """Return whether a value is a text that can be written to a file, of bounded length.

    >>> is_text("dog"), is_text(1), is_text(chr(0xD800))
    (True, False, False)
    """
    if not isinstance(value, str) or len(value) > MOST_CHARS:
        return False
    return not any(0xD800 <= ord(char) < 0xE000 for char in value)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number.

    >>> is_whole(3), is_whole(3.5)
    (True, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)


def is_switch(value: Any) -> bool:
    """Return whether a value is true or false.

    >>> is_switch(False), is_switch(0)
    (True, False)
    """
    return isinstance(value, bool)


EXPECTED: dict[Kind, str] = {
    is_text: f"a text of at most {MOST_CHARS} characters",
    is_finite: "a number",
    is_whole: "a whole number",
    is_switch: "true or false",
}
"""What each kind of value is."""


async def received_object(request: Request) -> bytes:
    """Return the body of a request that is a JSON object.

    Raises:
        Problem: it is too large (413).
    """
    try:
        return await received_bytes(request, max_bytes=MOST_BYTES)
    except Problem as problem:
        problem.detail = f"the body is larger than {MOST_BYTES / 1e3:g} kB: expected a small JSON object."
        raise


def values_of(body: bytes, known: Mapping[str, Kind], *, required: Sequence[str] = ()) -> dict[str, Any]:
    """Read the values of a JSON object; those that are not given are missing in the result.

    Raises:
        Problem: the body is not a JSON object (400).
        SettingsError: a name is unknown or missing, or a value is of another kind.

    >>> values_of(b'{"class": "dog", "window": 3}', {"class": is_text, "window": is_whole})
    {'class': 'dog', 'window': 3}
    >>> values_of(b'{"class": 3}', {"class": is_text})
    Traceback (most recent call last):
    soundmark.errors.SettingsError: class is 3: expected a text of at most 1000 characters.
    """
    try:
        found = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Problem(400, f"the body is not a JSON object: expected one with {listed(list(known))}.")
    for name, value in found.items():
        if name not in known:
            raise unknown_name("name", shortened(name.encode(errors="replace").decode(), 60), known, owner="the body")
        if not known[name](value):
            shown = shortened(json.dumps(value), 60)
            raise SettingsError(f"{name} is {shown}: expected {EXPECTED.get(known[name], 'another value')}.")
    if missing := [name for name in required if name not in found]:
        raise SettingsError(f"the body has no {missing[0]}: expected a JSON object with {listed(list(required))}.")
    return found


def _refuse(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(constant)

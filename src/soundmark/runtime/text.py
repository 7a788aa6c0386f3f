"""Numbers formatted for people: durations, percentages, counts, lists."""

from __future__ import annotations

import re

from soundmark.runtime.checks import is_finite


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def percent(value: object, sign: str = "") -> str:
    """A share in percent; a question mark for what is no number, as an end of an interval over one recording.

    >>> percent(0.701), percent(-0.02, "+"), percent(None)
    ('70.1', '-2.0', '?')
    """
    return f"{100 * value:{sign}.1f}" if is_finite(value) else "?"  # type: ignore[operator]


# What data may not send to a terminal: control characters other than tab and newline, marks that change the direction
# of writing, and the halves of characters that stand for undecodable file names.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    r"""The text without what a terminal would obey, each such character replaced by U+FFFD.

    >>> printable("\x1b[31mred")
    '�[31mred'
    """
    return UNPRINTABLE.sub("\ufffd", text)

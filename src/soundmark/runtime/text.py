"""Numbers formatted for people: durations, percentages, counts, lists."""

from __future__ import annotations

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
    return f"{100 * float(value):{sign}.1f}" if is_finite(value) else "?"  # type: ignore[arg-type]

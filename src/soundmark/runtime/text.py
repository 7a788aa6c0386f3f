"""Numbers and names formatted for people: durations, percentages, counts, shortened names, HTML tables."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

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


def shortened(value: object, most_bytes: int = 120) -> str:
    r"""A value as one printable line of at most ``most_bytes`` bytes in UTF-8; control characters become spaces.

    >>> shortened("one\ntwo"), shortened("a" * 100, 8)
    ('one two', 'aaaaa…')
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    encoded = line.encode()  # (halves of characters are not printable)
    return line if len(encoded) <= most_bytes else encoded[: most_bytes - 3].decode(errors="ignore") + "…"


def html_table(rows: Iterable[Sequence[object]], *, header: Sequence[object] = (), caption: object = "") -> str:
    """A table as HTML, for Jupyter; every cell is escaped, and numbers stand to the right.

    >>> html_table([["siren", 0.5]], header=["class", "p"])[:44]
    '<table><thead><tr><th style="text-align:left'
    """

    def cell(tag: str, value: object) -> str:
        side = "right" if isinstance(value, int | float) else "left"
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        return f'<{tag} style="text-align:{side}">{html.escape(shown)}</{tag}>'

    head = "".join(cell("th", value) for value in header)
    body = "".join("<tr>" + "".join(cell("td", value) for value in row) + "</tr>" for row in rows)
    return (
        "<table>"
        + (f'<caption style="text-align:left">{html.escape(str(caption))}</caption>' if caption else "")
        + (f"<thead><tr>{head}</tr></thead>" if head else "")
        + f"<tbody>{body}</tbody></table>"
    )

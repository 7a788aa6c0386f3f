"""Format text for display: durations, percentages, counts, lists, shortened names, tables."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from soundmark.runtime.checks import is_finite

NO_NUMBER = "–"  # text for a missing number


NARROW = "\u202f"  # a narrow no-break space, between thousands


def reason_unreadable(error: OSError | ValueError) -> str:
    r"""Return the reason why a file could not be opened or decoded as text.

    >>> reason_unreadable(ValueError("embedded null byte"))
    'its path contains a NUL character'
    """
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if "embedded null" in str(error):
        return "its path contains a NUL character"
    return getattr(error, "strerror", None) or str(error)


def duration(seconds: float | None, *, units: int = 1) -> str:
    """Format a duration with one unit ("2.5 h") or two ("1 h 07 min"); a dash if it is missing or not finite.

    Use one unit for estimates and totals, two for measured times and remaining time.

    >>> duration(4.25), duration(42), duration(90), duration(600), duration(9000), duration(None)
    ('4.2 s', '42 s', '1.5 min', '10 min', '2.5 h', '–')
    >>> duration(4.25, units=2), duration(75, units=2), duration(720, units=2), duration(4000, units=2)
    ('4.2 s', '1 min 15 s', '12 min 00 s', '1 h 07 min')
    """
    if seconds is None or not is_finite(float(seconds)):
        return NO_NUMBER
    if seconds < (60 if units > 1 else 90):
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if units > 1:
        if round(seconds) < 3600:
            return "{} min {:02d} s".format(*divmod(round(seconds), 60))
        return "{} h {:02d} min".format(*divmod(round(seconds / 60), 60))
    value, unit = (seconds / 60, "min") if seconds < 5400 else (seconds / 3600, "h")
    return f"{value:.1f} {unit}" if value < 10 and round(value, 1) % 1 else f"{value:.0f} {unit}"


def estimate(seconds: float) -> str:
    """Format an estimated duration: "about 12 s", or "less than a second".

    >>> estimate(12.3), estimate(0.04)
    ('about 12 s', 'less than a second')
    """
    return "less than a second" if seconds < 1 else f"about {duration(seconds)}"


def percent(value: object, sign: str = "", *, digits: int = 1, unit: str = "", unknown: str = "?") -> str:
    """Format a fraction as a percentage. A value that is not a finite number gives ``unknown``.

    Args:
        value: the fraction, 0 to 1.
        sign: "+" to write the sign of positive values.
        digits: digits after the decimal point.
        unit: text after the number, such as " %".
        unknown: text for a missing or non-finite value.

    >>> percent(0.701), percent(-0.02, "+"), percent(None)
    ('70.1', '-2.0', '?')
    >>> percent(0.7123, unit=" %"), percent(1, digits=0, unit=" %"), percent(float("nan"), unknown="–")
    ('71.2 %', '100 %', '–')
    """
    return f"{100 * float(value):{sign}.{digits}f}{unit}" if is_finite(value) else unknown  # type: ignore[arg-type]


def count(value: int, separator: str = NARROW) -> str:
    r"""Format a whole number with narrow no-break spaces, or another separator, between thousands.

    >>> count(873), count(8732), count(8732, " ")
    ('873', '8\u202f732', '8 732')
    """
    return f"{value:,}".replace(",", separator)


def counted(n: int, noun: str, separator: str = ",") -> str:
    """Format a number with its noun, in the plural unless the number is 1; ``separator`` is that of thousands.

    >>> counted(1, "file"), counted(2097, "file"), counted(1, "class"), counted(2, "class")
    ('1 file', '2,097 files', '1 class', '2 classes')
    """
    plural = "es" if noun.endswith("s") else "s"
    return f"{count(n, separator)} {noun}{'' if n == 1 else plural}"


def spread(low: str, median: str, high: str) -> str:
    """Format a distribution of values; only one value if all look the same.

    >>> spread("0.6 s", "3.9 s", "4.0 s"), spread("4.0 s", "4.0 s", "4.0 s")
    ('0.6 s to 4.0 s, median 3.9 s', '4.0 s each')
    """
    return f"{low} each" if low == high else f"{low} to {high}, median {median}"


def listed(words: Sequence[str]) -> str:
    """Join words with commas and "and"; return a dash for an empty list.

    >>> listed([]), listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('–', 'a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) or NO_NUMBER


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Format rows of cells as lines with aligned columns; all but the first ``left`` columns are right-aligned.

    >>> aligned([["class", "clips"], ["siren", "9"]])
    ['class  clips', 'siren      9']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([*map(str.ljust, row[:left], widths[:left]), *map(str.rjust, row[left:], widths[left:])]).rstrip()
        for row in rows
    ]


def first_of(words: Sequence[str], *, most_chars: int = 200) -> str:
    """Join the words that fit into ``most_chars`` with commas; add the number of remaining words.

    >>> first_of(["dog", "cat", "siren"]), first_of(["dog", "cat", "siren"], most_chars=8)
    ('dog, cat, siren', 'dog, cat, … (1 more)')
    """
    shown: list[str] = []
    for word in words:
        if shown and len(", ".join([*shown, shortened(word)])) > most_chars:
            return f"{', '.join(shown)}, … ({len(words) - len(shown)} more)"
        shown.append(shortened(word))
    return ", ".join(shown)


def shortened(name: object, most_chars: int = 60) -> str:
    r"""Format a name on one line: replace unprintable characters, and shorten a long name in the middle.

    >>> shortened("a\x1b[31m\nb"), shortened("0123456789", 5)
    ('a�[31m�b', '01…89')
    """
    text = "".join(character if character.isprintable() else "\ufffd" for character in str(name))
    if len(text) <= most_chars:
        return text
    head = most_chars // 2
    return f"{text[:head]}…{text[head - most_chars + 1 :]}"


# Characters that must not reach a terminal: control characters other than tab and newline, marks that change the
# direction of writing, and lone surrogates, which represent undecodable bytes of file names.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    r"""Replace each control character that a terminal would interpret by U+FFFD.

    >>> printable("\x1b[31mred")
    '�[31mred'
    """
    return UNPRINTABLE.sub("\ufffd", text)


def one_line(value: object, most_bytes: int = 120) -> str:
    r"""Format a value as one printable line of at most ``most_bytes`` UTF-8 bytes; control characters become spaces.

    >>> one_line("one\ntwo"), one_line("a" * 100, 8)
    ('one two', 'aaaaa…')
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    encoded = line.encode()  # never fails: lone surrogates are not printable
    return line if len(encoded) <= most_bytes else encoded[: most_bytes - 3].decode(errors="ignore") + "…"


def html_table(rows: Iterable[Sequence[object]], *, header: Sequence[object] = (), caption: object = "") -> str:
    """Format a table as HTML for Jupyter. Cells are escaped; numbers are right-aligned.

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

"""Tables that fit the terminal: text is wrapped between words, a path after a slash, and a number never."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from soundmark.cli.console import line, out, plain

GAP = 2  # columns between two cells


BAR_WIDTH = 20


LEAST_BAR_WIDTH = 5  # narrower bars are omitted


PATH_PART = r"[^/ ]*[/ ]|[^/ ]+"  # a path may be wrapped after each part


@dataclass(frozen=True)
class Column:
    """A column of a table: "text", "path", "number", or "bar", whose cells are numbers from 0 to 1."""

    title: str
    kind: str = "text"


Cell = str | float | Text


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], title: str = "") -> None:
    """Print rows on standard output, no wider than the terminal if possible.

    Bars become shorter first, then paths are wrapped, then text.

    >>> print_table([Column("class"), Column("clips", "number")], [["dog", "4"], ["cat", "12"]])
    class  clips
    dog        4
    cat       12
    """
    cells = [[_text(row[i]) for row in rows] for i in range(len(columns))]
    bars = [i for i, column in enumerate(columns) if column.kind == "bar"]
    others = [i for i in range(len(columns)) if i not in bars]
    widths = dict(
        zip(others, _widths([columns[i] for i in others], [cells[i] for i in others], out.width), strict=True)
    )
    for i in others:
        if columns[i].kind == "path":
            cells[i] = [_wrapped_path(cell, widths[i]) for cell in cells[i]]
            widths[i] = _longest([columns[i].title, *(part for cell in cells[i] for part in str(cell).split("\n"))])
    room = out.width - sum(widths.values()) - GAP * len(others)
    for i in bars:
        if room >= LEAST_BAR_WIDTH:
            widths[i] = min(BAR_WIDTH, room)
            cells[i] = [_bar(row[i], widths[i]) for row in rows]
    _print_columns([(columns[i], widths[i], cells[i]) for i in sorted(widths)], title)


def _print_columns(columns: Sequence[tuple[Column, int, Sequence[Text]]], title: str) -> None:
    heading = plain(title, "italic") if title else None
    table = Table(title=heading, title_justify="left", box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    for column, width, _ in columns:
        justify: Literal["left", "right"] = "right" if column.kind == "number" else "left"
        table.add_column(line(column.title), justify=justify, width=width, overflow="fold")
    for row in zip(*(cells for _, _, cells in columns), strict=True):
        table.add_row(*row)
    out.print(table)


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else line(cell)  # without line breaks


def _bar(cell: Cell, width: int) -> Text:
    share = cell if isinstance(cell, float) else 0.0
    return Text("█" * round(width * share), "blue")


def _longest(parts: Iterable[str]) -> int:
    return max(map(cell_len, parts), default=0)


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[Text]], width: int) -> list[int]:
    """The widths of columns that fit ``width``: paths become narrower first, then text, then headings of numbers."""
    widths = [_longest([column.title, *map(str, texts)]) for column, texts in zip(columns, cells, strict=True)]
    least = [_least_width(column, texts) for column, texts in zip(columns, cells, strict=True)]
    excess = sum(widths) + GAP * (len(columns) - 1) - width
    for kind in ("path", "text", "number"):
        for i in sorted(range(len(columns)), key=lambda i: -widths[i]):
            if columns[i].kind == kind and excess > 0:
                less = min(excess, widths[i] - least[i])
                widths[i] -= less
                excess -= less
    return widths


def _least_width(column: Column, texts: Iterable[Text]) -> int:
    """The width of the longest part of a column that is not broken."""
    pattern = {"path": PATH_PART, "text": r"\S+"}.get(column.kind, ".+")
    return _longest([*column.title.split(), *(part for text in texts for part in re.findall(pattern, str(text)))])


def _wrapped_path(path: Text, width: int) -> Text:
    lines = [""]
    for part in re.findall(PATH_PART, str(path)):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return Text("\n".join(lines))

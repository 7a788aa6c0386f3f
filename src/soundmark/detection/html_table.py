"""A small table for Jupyter."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def html_table(rows: Iterable[Sequence[object]], *, header: Sequence[object], caption: object) -> str:
    """A table as HTML; all text is escaped.

    >>> html_table([["<dog>"]], header=["label"], caption="1 event")
    '<table><caption>1 event</caption><tr><th>label</th></tr><tr><td>&lt;dog&gt;</td></tr></table>'
    """
    lines = [_row("th", header), *(_row("td", row) for row in rows)]
    return f"<table><caption>{html.escape(str(caption))}</caption>{''.join(lines)}</table>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

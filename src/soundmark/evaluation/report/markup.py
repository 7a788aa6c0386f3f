"""HTML that data cannot break: whatever is not ``Html`` already is escaped when it becomes part of an element."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence

# What no page can hold: control characters, and the halves of characters that stand for undecodable file names.
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


VOID = ("img", "br", "source")


class Html(str):
    """A string that is HTML already."""


def text(value: object) -> Html:
    """The value as HTML text, escaped unless it is ``Html``.

    >>> text('<b> & "quotes"')
    '&lt;b&gt; &amp; &quot;quotes&quot;'
    """
    return value if isinstance(value, Html) else Html(html.escape(UNPRINTABLE.sub("\ufffd", str(value))))


def join(parts: Iterable[object], between: str = "") -> Html:
    """The parts one after the other, each escaped unless it is ``Html``.

    >>> join(["a < b", Html("<br>")])
    'a &lt; b<br>'
    """
    return Html(text(between).join(text(part) for part in parts))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """One element. ``class_`` means class, ``aria_label`` aria-label; True is a bare attribute, None and False none.

    >>> element("td", "R&D", class_="number", title='a "quote"', hidden=None)
    '<td class="number" title="a &quot;quote&quot;">R&amp;D</td>'
    """
    pairs = [(name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items()]
    words = [f" {name}" if value is True else f' {name}="{text(value)}"' for name, value in pairs if _is_given(value)]
    opening = f"<{tag}{''.join(words)}>"
    return Html(opening) if tag in VOID else Html(f"{opening}{join(children)}</{tag}>")


def _is_given(value: object) -> bool:
    return value is not None and value is not False


def table(
    head: Sequence[object], rows: Iterable[Sequence[object]], *, class_: str | None = None, label: str | None = None
) -> Html:
    """A table in a frame that scrolls sideways on a narrow screen; the first cell of every row is its heading.

    >>> table(["class", "clips"], [["dog", 3]])[-72:]
    '<tbody><tr><th scope="row">dog</th><td>3</td></tr></tbody></table></div>'
    """
    header = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    whole = element("table", element("thead", header), element("tbody", *body), class_=class_, aria_label=label)
    return element("div", whole, class_="scroll")


def data_uri(content: bytes, media_type: str) -> str:
    """Bytes as an address that holds them, so that the page loads nothing.

    >>> data_uri(b"hi", "text/plain")
    'data:text/plain;base64,aGk='
    """
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"

"""Build HTML elements; any value that is not ``Html`` is escaped."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence

# Characters that HTML cannot contain: control characters, and the lone surrogates of undecodable file names.
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


VOID = ("img", "br", "source")


class Html(str):
    """A string of HTML markup."""


def text(value: object) -> Html:
    """Convert a value to HTML text, escaped unless it is ``Html``.

    >>> text('<b> & "quotes"')
    '&lt;b&gt; &amp; &quot;quotes&quot;'
    """
    return value if isinstance(value, Html) else Html(html.escape(UNPRINTABLE.sub("\ufffd", str(value))))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Concatenate parts, each escaped unless it is ``Html``.

    >>> join(["a < b", Html("<br>")])
    'a &lt; b<br>'
    """
    return Html(text(between).join(text(part) for part in parts))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """Build an element; ``class_`` is the attribute class, ``aria_label`` is aria-label.

    The attribute value True gives an attribute without a value; None and False omit it.

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
    """Build a table that scrolls sideways on a narrow screen; the first cell of each row is its heading.

    >>> table(["class", "clips"], [["dog", 3]])[-72:]
    '<tbody><tr><th scope="row">dog</th><td>3</td></tr></tbody></table></div>'
    """
    header = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    content = element("table", element("thead", header), element("tbody", *body), class_=class_, aria_label=label)
    return element("div", content, class_="scroll")


def facts(values: Mapping[str, object]) -> Html:
    """Build a description list.

    >>> facts({"Clips": 3})
    '<dl class="facts"><dt>Clips</dt><dd>3</dd></dl>'
    """
    pairs = [part for name, value in values.items() for part in (element("dt", name), element("dd", value))]
    return element("dl", *pairs, class_="facts")


def data_uri(content: bytes, media_type: str) -> str:
    """Encode bytes as a data URI, so that the page loads no external files.

    >>> data_uri(b"hi", "text/plain")
    'data:text/plain;base64,aGk='
    """
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"

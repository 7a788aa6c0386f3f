"""Selection tables of Raven: text with tabs, and the columns Selection, View, Begin Time (s) and End Time (s).

A selection has a row for each view (waveform, spectrogram). Times are those of Begin File if the table has the column
File Offset (s), else of the sound that was open.
Source: Raven Pro User's Manual, "Selection Tables"; crowsetta's format "raven".
"""

from __future__ import annotations

from collections.abc import Iterator

from soundmark.datasets.layouts.annotations.annotation import Annotation, LabelFile
from soundmark.datasets.layouts.annotations.columns import LABELS, table_rows
from soundmark.runtime.text import first_of

BEGIN, END = "begin time (s)", "end time (s)"


FILES = ("begin path", "begin file")  # the first one that names an existing file counts


OFFSET = "file offset (s)"


# Columns of Raven that are no annotation.
MEASURED = {
    "selection",
    "view",
    "channel",
    BEGIN,
    END,
    *FILES,
    OFFSET,
    "begin sample",
    "end sample",
    "notes",
    "end path",
    "end file",
}


def matches(text: LabelFile) -> bool:
    r"""Return whether the header has Raven's times.

    >>> from pathlib import Path
    >>> matches(LabelFile(Path("dawn.txt"), "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tSpecies\n"))
    True
    """
    header = {cell.strip().lower() for cell in text.head.split("\t")}
    return {BEGIN, END} <= header


def read(text: LabelFile) -> Iterator[Annotation]:
    r"""Read the selections; each counts once, whatever its number of views.

    The annotation is the column of the usual names (``columns.LABELS``), else the only other column with text.

    Raises:
        DatasetError: there is no annotation column, or a time is invalid.

    >>> from pathlib import Path
    >>> table = "Selection\tView\tBegin Time (s)\tEnd Time (s)\tSpecies\n1\tWave\t1\t2.5\twren\n1\tSpec\t1\t2.5\twren\n"
    >>> [(one.start_s, one.stop_s, one.labels) for one in read(LabelFile(Path("dawn.txt"), table))]
    [(1.0, 2.5, ('wren',))]
    """
    label = _label_column(text)
    found: set[tuple[str, str | None, float, float]] = set()
    for number, row in table_rows(text, "\t"):
        start_s, stop_s = text.section(number, row.get(BEGIN, ""), row.get(END, ""))
        if row.get(OFFSET):
            offset_s = text.seconds(number, OFFSET, row[OFFSET])
            start_s, stop_s = offset_s, offset_s + stop_s - start_s
        labels = text.labels(number, [row.get(label, "")])
        file = next((row[name] for name in FILES if row.get(name)), None)
        key = (row.get("selection", str(number)), file, start_s, stop_s)
        if labels and stop_s > start_s and key not in found:
            found.add(key)
            yield Annotation(row=number, labels=labels, file=file, start_s=start_s, stop_s=stop_s)


def _label_column(text: LabelFile) -> str:
    names = list(next(table_rows(text, "\t"), (0, {}))[1])
    for name in LABELS:
        if name in names:
            return name
    others = [name for name in names if name not in MEASURED]
    with_text = {name for _, row in table_rows(text, "\t") for name in others if _is_text(row.get(name, ""))}
    others = [name for name in others if name in with_text]
    if len(others) != 1:
        what = "no column with the annotation" if not others else f"several columns of text: {first_of(others)}"
        raise text.error(1, f"the selection table has {what}; name the column of the labels Annotation")
    return others[0]


def _is_text(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return bool(cell)
    return False

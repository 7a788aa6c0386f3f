"""Label files of Audacity: start, stop and label, separated by tabs; a line with a backslash has frequencies.

Also the files of DCASE without header: onset, offset and event label.
Source: Audacity Manual, "Importing and Exporting Labels".
"""

from __future__ import annotations

from collections.abc import Iterator

from soundmark.datasets.layouts.annotations.annotation import Annotation, LabelFile

FREQUENCIES = "\\"  # begins a line with the frequencies of the label before it


def matches(text: LabelFile) -> bool:
    r"""Return whether the first line has two numbers and a label.

    >>> from pathlib import Path
    >>> matches(LabelFile(Path("dawn.txt"), "1.0\t2.5\twren\n\\t2000\t6000\n"))
    True
    """
    cells = text.head.split("\t")
    return len(cells) in (2, 3) and all(_is_number(cell) for cell in cells[:2])


def read(text: LabelFile) -> Iterator[Annotation]:
    r"""Read the labels; labels without text, and those of a moment, are no annotations.

    Raises:
        DatasetError: a line is not a label.

    >>> from pathlib import Path
    >>> [annotation.labels for annotation in read(LabelFile(Path("dawn.txt"), "1.0\t2.5\twren\n3\t3\tmark\n"))]
    [('wren',)]
    """
    for row, line in text.numbered_lines():
        if line.startswith(FREQUENCIES):
            continue
        cells = line.split("\t")
        if len(cells) < 2:
            raise text.error(row, "expected a start, an end and a label, separated by tabs")
        start_s, stop_s = text.section(row, cells[0], cells[1])
        labels = text.labels(row, cells[2:3])
        if labels and stop_s > start_s:
            yield Annotation(row=row, labels=labels, start_s=start_s, stop_s=stop_s)


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().replace(",", "."))
    except ValueError:
        return False
    return True

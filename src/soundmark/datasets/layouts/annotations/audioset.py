"""Segment lists of AudioSet: ``# YTID, start_seconds, end_seconds, positive_labels``, with one or more machine ids.

Names of classes are read from ``class_labels_indices.csv`` beside the list, if it is there. The sound files are named
by the id of the video, with or without more after an underscore (``abc.wav``, ``Yabc.wav``, ``abc_30000.wav``); a file
is the segment itself, as downloaders write it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice

from soundmark.datasets.layouts.annotations.annotation import Annotation, LabelFile, read_label_file

CLASS_NAMES = "class_labels_indices.csv"


def matches(text: LabelFile) -> bool:
    r"""Return whether one of the first lines is AudioSet's header.

    >>> from pathlib import Path
    >>> matches(LabelFile(Path("eval.csv"), "# Segments csv\n# YTID, start_seconds, end_seconds, positive_labels\n"))
    True
    """
    return any(line.startswith("# YTID") for line in islice(text.lines(), 5))


def read(text: LabelFile) -> Iterator[Annotation]:
    r"""Read the segments; the times are those of the video, so each file is one whole segment.

    Raises:
        DatasetError: a row has fewer than four cells.

    >>> from pathlib import Path
    >>> text = LabelFile(Path("eval.csv"), '# YTID, start_seconds\n-0p, 30.000, 40.000, "/m/09x0r,/t/dd00125"\n')
    >>> next(read(text)).labels
    ('/m/09x0r', '/t/dd00125')
    """
    names = _class_names(text)
    for row, line in text.numbered_lines():
        if line.startswith("#"):
            continue
        cells = next(csv.reader([line], skipinitialspace=True))
        if len(cells) < 4:
            raise text.error(row, "expected an id, a start, an end and labels")
        text.section(row, cells[1], cells[2])
        labels = text.labels(row, [names.get(mid.strip(), mid) for mid in ",".join(cells[3:]).split(",")])
        if labels:
            yield Annotation(row=row, labels=labels, file=cells[0].strip())


def _class_names(text: LabelFile) -> dict[str, str]:
    path = text.path.with_name(CLASS_NAMES)
    known = read_label_file(path) if path.is_file() else None
    if known is None:
        return {}
    rows = csv.DictReader(line for _, line in known.numbered_lines())
    return {row["mid"]: row["display_name"] for row in rows if row.get("mid") and row.get("display_name")}

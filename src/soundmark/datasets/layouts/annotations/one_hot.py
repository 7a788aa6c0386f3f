"""Tables with a column of 0 and 1 for each class, as OpenSoundscape writes: ``file,start_time,end_time,dog,siren``.

A row in which all classes are 0 is a section with none of them: a negative example. Columns without a name, which
pandas writes for its row numbers, are ignored.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from soundmark.datasets.layouts.annotations.annotation import Annotation, LabelFile
from soundmark.datasets.layouts.annotations.columns import annotation_of, delimiter_of, known_columns, table_rows
from soundmark.errors import DatasetError

PRESENT = {"1", "1.0", "true"}


ABSENT = {"0", "0.0", "false", ""}


UNNAMED = ("", "unnamed: 0")  # the row numbers of pandas


LOOKED_AT = 20  # rows by which the format is recognised


def matches(text: LabelFile) -> bool:
    r"""Return whether all columns but those of file, section, fold and source contain 0 and 1.

    >>> from pathlib import Path
    >>> matches(LabelFile(Path("labels.csv"), "file,start_time,end_time,wren\ndawn.wav,0,5,1\n"))
    True
    >>> matches(LabelFile(Path("scores.csv"), "file,start_time,end_time,wren\ndawn.wav,0,5,0.7\n"))
    False
    """
    classes = _classes(text)
    if not classes:
        return False
    try:
        rows = [row for _, row in islice(table_rows(text, delimiter_of(text.head)), LOOKED_AT)]
    except DatasetError:
        return False
    cells = [row.get(column, "").lower() for row in rows for column in classes]
    return any(cells) and all(cell in PRESENT or cell in ABSENT for cell in cells)


def _classes(text: LabelFile) -> dict[str, str]:
    """Return the columns of classes, in lower case, with the names of the classes; none if it is another table."""
    names = {name.lower(): name for name in _header(text)}
    known = known_columns(names)
    if known["file"] is None or known["label"] is not None:
        return {}
    return {column: name for column, name in names.items() if column not in (*known.values(), "fold", *UNNAMED)}


def _header(text: LabelFile) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([text.head], delimiter=delimiter_of(text.head)), [])]
    except csv.Error:
        return []


def read(text: LabelFile) -> Iterator[Annotation]:
    r"""Read the rows; the labels of a row are the classes with 1, which may be none.

    Raises:
        DatasetError: two columns differ only in case, or a cell or a time is invalid.

    >>> from pathlib import Path
    >>> table = "file,start_time,end_time,Wren,Robin\ndawn.wav,0,5,1,1\ndawn.wav,5,10,0,0\n"
    >>> [(found.start_s, found.labels) for found in read(LabelFile(Path("labels.csv"), table))]
    [(0.0, ('Wren', 'Robin')), (5.0, ())]
    """
    classes = _classes(text)
    _check_different(text)
    columns = known_columns(map(str.lower, _header(text)))
    for number, row in table_rows(text, delimiter_of(text.head)):
        labels = [name for column, name in classes.items() if _is_present(text, number, name, row.get(column, ""))]
        found = annotation_of(text, number, row, columns, text.labels(number, labels))
        if found is not None:
            yield found


def _check_different(text: LabelFile) -> None:
    """Raise an error if two columns have the same name but for case: a class would lose its labels."""
    counts = Counter(map(str.lower, _header(text)))
    if twice := next((name for name, count in counts.items() if count > 1 and name not in UNNAMED), None):
        raise text.error(1, f'two columns are called "{twice[:60]}", apart from upper and lower case: rename one')


def _is_present(text: LabelFile, number: int, name: str, cell: str) -> bool:
    if cell.lower() not in PRESENT | ABSENT:
        raise text.error(number, f'the column "{name}" contains "{cell[:60]}"; expected 0 or 1, as in the other rows')
    return cell.lower() in PRESENT

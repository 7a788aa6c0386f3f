"""Tables with the usual column names: CSV, TSV, and JSON lines.

Among others: DCASE (``filename onset offset event_label``), FSD50K (``fname,labels,mids,split``), BirdCLEF
(``primary_label,filename``), xeno-canto (``file-name``, ``en``), ``metadata.csv`` and ``metadata.jsonl`` of Hugging
Face's audiofolder (``file_name``), and ESC-50's columns (``filename,category``). Tables with the columns ``path`` and
``label`` are read by the layout ``table``.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping

from soundmark.datasets.layouts.annotations.annotation import Annotation, LabelFile
from soundmark.datasets.layouts.table_reader import MAX_FOLD, numbered_rows
from soundmark.runtime.checks import parse_json

# The first of these columns that a table has is used; all names in lower case.
FILES = (
    "file_name", "filename", "fname", "filepath", "file_path", "file", "path", "audio_file", "audio_filename",
    "audio_path", "audio", "file-name", "begin path", "begin file", "recording", "itemid", "wav",
)  # fmt: skip


LABELS = (
    "annotation", "event_label", "category", "class_name", "primary_label", "species_code", "ebird_code", "species",
    "common name", "common_name", "scientific_name", "labels", "label", "class", "tags", "tag", "sound_type", "en",
)  # fmt: skip


MORE_LABELS = ("secondary_labels",)


STARTS = (
    "onset",
    "start_time",
    "start_s",
    "start",
    "start (s)",
    "start_seconds",
    "begin time (s)",
    "begin_time",
    "begin",
)


STOPS = ("offset", "end_time", "stop_s", "end_s", "end", "stop", "end (s)", "end_seconds", "end time (s)", "stop_time")


SPLITS = ("split", "subset")


SOURCES = ("source", "recording_id", "source_recording")


FOLD_OF_SPLIT = {"train": 1, "training": 1, "dev": 1, "validation": 2, "val": 2, "valid": 2, "eval": 3, "test": 3}


HEADERLESS = ["filename", "onset", "offset", "event_label"]  # of DCASE


LISTS = ("labels", "tags", "mids")  # columns whose commas separate labels


def matches(text: LabelFile) -> bool:
    r"""Return whether the header names sound files and labels.

    >>> from pathlib import Path
    >>> matches(LabelFile(Path("events.csv"), "filename,onset,offset,event_label\n"))
    True
    >>> matches(LabelFile(Path("clips.csv"), "path,label\n"))  # the layout ``table``
    False
    """
    names = _names(text)
    if {"path", "label"} <= names:
        return False
    has_file = bool(names & set(FILES)) or bool(names & set(STARTS) and names & set(STOPS))
    return has_file and bool(names & set(LABELS)) and "confidence" not in names


def _names(text: LabelFile) -> set[str]:
    if _is_json(text):
        try:
            first = parse_json(text.head)
        except ValueError:
            return set()
        return {name.lower() for name in first} if isinstance(first, dict) else set()
    if _is_headerless(text.head):
        return set(HEADERLESS)
    return {cell.strip().strip('"').lower() for cell in text.head.split(delimiter_of(text.head))}


THOUSANDS = re.compile(r"\d{1,3},\d{3}")  # in a table separated by commas: 1,234 may be 1234 or 1.234


def read(text: LabelFile) -> Iterator[Annotation]:
    r"""Read the rows; a row without a label, or with an empty section, is no annotation.

    Raises:
        DatasetError: a row or a time is invalid.

    >>> from pathlib import Path
    >>> list(read(LabelFile(Path("events.csv"), "filename,onset,offset,event_label\ndawn.wav,1,2.5,wren\n")))
    [Annotation(row=2, labels=('wren',), file='dawn.wav', start_s=1.0, stop_s=2.5, source=None, fold=None)]
    """

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        return _json_rows(text) if _is_json(text) else table_rows(text, delimiter_of(text.head))

    columns = known_columns(dict.fromkeys(name for _, row in rows() for name in row))
    for number, row in rows():
        column = columns["label"]
        labels = _labels(row.get(column, ""), column) if column else []
        names = text.labels(number, [*labels, *_list(row.get(MORE_LABELS[0], ""))])
        found = annotation_of(text, number, row, columns, names) if names else None
        if found is not None:
            yield found


def known_columns(names: Iterable[str]) -> dict[str, str | None]:
    """Return which of the columns ``names`` contains the file, the label, start, stop, split and source; None if none.

    >>> found = known_columns(["fname", "onset", "species"])
    >>> found["file"], found["label"], found["start"], found["stop"]
    ('fname', 'species', 'onset', None)
    """
    present = set(names)
    parts = {"file": FILES, "label": LABELS, "start": STARTS, "stop": STOPS, "split": SPLITS, "source": SOURCES}
    return {part: next((name for name in known if name in present), None) for part, known in parts.items()}


def annotation_of(
    text: LabelFile, number: int, row: Mapping[str, str], columns: Mapping[str, str | None], labels: tuple[str, ...]
) -> Annotation | None:
    """Return the annotation in a row with ``columns`` as in ``known_columns``; None if its section has no length.

    Raises:
        DatasetError: a time is invalid.

    >>> from pathlib import Path
    >>> row = {"file": "dawn.wav", "onset": "1"}
    >>> annotation_of(LabelFile(Path("a.csv"), ""), 2, row, known_columns(row), ("wren",))
    Annotation(row=2, labels=('wren',), file='dawn.wav', start_s=1.0, stop_s=None, source=None, fold=None)
    """

    def cell(part: str) -> str:
        name = columns[part]
        return "" if name is None else row.get(name, "")

    start, stop = cell("start"), cell("stop")
    for time in (start, stop):
        if THOUSANDS.fullmatch(time.strip()) and not _is_json(text) and delimiter_of(text.head) == ",":
            raise text.error(
                number,
                f'the time "{time}" is ambiguous: write {time.replace(",", ".")} for a decimal comma, '
                f"or {time.replace(',', '')} without a separator of thousands",
            )
    start_s = text.seconds(number, "start", start) if start else 0.0
    stop_s = text.section(number, start or "0", stop)[1] if stop else None
    if stop_s is not None and stop_s <= start_s:
        return None
    return Annotation(
        row=number,
        labels=labels,
        file=cell("file") or None,
        start_s=start_s,
        stop_s=stop_s,
        source=cell("source") or None,
        fold=_fold(row.get("fold", ""), cell("split"), text),
    )


def _fold(fold: str, split: str, text: LabelFile) -> int | None:
    """Return the fold: its number, else that of the split, else that of the folder of the table."""
    if fold.isascii() and fold.isdigit() and 0 < int(fold[:6]) <= MAX_FOLD:
        return int(fold)
    name = split or (text.path.parent.name if text.path.stem == "metadata" else "")
    return FOLD_OF_SPLIT.get(name.lower())


def _labels(cell: str, column: str) -> list[str]:
    if column in LISTS and ";" not in cell:
        return _list(cell)
    return cell.split(";")


def _list(cell: str) -> list[str]:
    """Return the names in a cell such as "['wren', 'robin']", "wren,robin" or "wren".

    The text is not evaluated.
    """
    inside = cell.strip()
    if inside.startswith("[") and inside.endswith("]"):
        return [single or double for single, double in re.findall(r"'([^']*)'|\"([^\"]*)\"", inside)]
    return inside.split(",")


def table_rows(text: LabelFile, delimiter: str) -> Iterator[tuple[int, dict[str, str]]]:
    r"""Yield the rows of a delimited table with their numbers; cells by column, names in lower case.

    Raises:
        DatasetError: the quotes are not closed, a row has more cells than the header, or the table is too large.

    >>> from pathlib import Path
    >>> list(table_rows(LabelFile(Path("events.csv"), "File,Label\na.wav,dog\n"), ","))
    [(2, {'file': 'a.wav', 'label': 'dog'})]
    """
    text.check_rows()
    header = HEADERLESS if _is_headerless(text.head) else None
    try:
        for row, record in numbered_rows(text.path, text.lines(ends=True), delimiter):
            cells = [cell.strip() for cell in record]
            if header is None:
                header = [cell.lower() for cell in cells]
                continue
            if any(cells[len(header) :]):
                raise text.error(row, f"it has {len(cells)} cells, and the header has {len(header)} columns")
            yield row, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise text.error(1, f"it is not a valid table ({error})") from error


def _json_rows(text: LabelFile) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in text.numbered_lines():
        try:
            values = parse_json(line)
        except ValueError as error:
            raise text.error(number, f"it is not JSON ({error})") from error
        if not isinstance(values, dict):
            raise text.error(number, "expected a JSON object")
        yield number, {name.lower(): _cell(value) for name, value in values.items()}


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ";".join(str(each) for each in value)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _is_json(text: LabelFile) -> bool:
    return text.head.lstrip().startswith("{")


def delimiter_of(head: str) -> str:
    """Return the delimiter of a table with the first line ``head``.

    >>> delimiter_of("file;onset;offset")
    ';'
    """
    return max("\t,;", key=head.count)


def _is_headerless(head: str) -> bool:
    """Return whether a first line is a row of DCASE: file, onset, offset, label."""
    cells = head.split("\t")
    try:
        return len(cells) == 4 and float(cells[1]) <= float(cells[2])
    except ValueError:
        return False

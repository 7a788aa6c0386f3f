"""A CSV table of clips.

Required columns: ``path`` and ``label``. Optional: ``start`` and ``end`` (seconds), ``fold``, ``source`` (or
``recording``, ``recording_id``, ``source_recording``), ``salience`` and ``time``. Paths are relative to the table's
folder. With semicolons between the columns, as European spreadsheets write them, times may have a decimal comma: 1,5.
Row numbers in messages are those of a spreadsheet: the header is row 1.

Several labels in one cell are separated by semicolons, "dog;siren" (with quotes if the column delimiter is a
semicolon). One such cell makes the table multi-label: a clip then has any number of classes; an empty cell means none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from soundmark.audio.folders import SUFFIXES, files_in, in_class_folders, walk
from soundmark.datasets.dataset import SEPARATOR, Clip, Dataset, Skipped, relative, split_label, typical_length_s
from soundmark.datasets.layouts.table_reader import MAX_FOLD, Row, existing_clips, read_rows
from soundmark.errors import DatasetError
from soundmark.runtime.text import listed

KIND = "a CSV table"


OPTIONS = ("classes",)


SUFFIXES_OF_TABLES = (".csv", ".tsv", ".txt")


REQUIRED = ("path", "label")


SOURCES = ("source", "recording", "recording_id", "source_recording")  # of the recording; the first that is not empty


def find(path: Path) -> Path | None:
    """Return ``path`` if it is a file with the suffix of a table, or the table in the folder ``path``; else None.

    A folder with several folders of sound files is never read by its table: it has one folder per class.

    Raises:
        DatasetError: the folder has several tables.

    >>> find(Path(__file__).parent) is None
    True
    """
    if not path.is_dir():
        return path if path.is_file() and path.suffix.lower() in SUFFIXES_OF_TABLES else None
    names = sorted(name for name in files_in(str(path)) if Path(name).suffix.lower() in SUFFIXES_OF_TABLES)
    tables = [path / name for name in names if _is_table(path / name)]
    if not tables or _has_class_folders(path):
        return None
    if len(tables) > 1:
        found = listed([f'"{table.name}"' for table in tables])
        raise DatasetError(f'"{path}" has several tables of clips: {found}. Give the path of one of them.')
    return tables[0]


def _is_table(path: Path) -> bool:
    try:
        next(read_rows(path, REQUIRED))
    except DatasetError:
        return False
    return True


def _has_class_folders(folder: Path) -> bool:
    """Return whether a folder has one folder of sound files per class."""
    files = (entry.parts for entry in walk(str(folder)) if not entry.is_folder)
    return in_class_folders(parts for parts in files if Path(parts[-1]).suffix.lower() in SUFFIXES)


def load(path: Path, *, classes: Sequence[str] | None = None) -> Dataset:
    r"""Load the clips of a table, in its order; classes in order of first appearance unless ``classes`` is given.

    Rows without an existing file and duplicate rows are listed in ``skipped``.

    Raises:
        DatasetError: the table or a row is invalid, or none of the files exists.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = table.with_name("rex.wav").write_bytes(b"")
    >>> _ = table.write_text("path,label,start,end\nrex.wav,dog,0,1.5\nmia.wav,cat,0,2\n")
    >>> data = load(table)
    >>> data.classes, data.window_s, data.skipped
    (('dog', 'cat'), 1.5, (Skipped(path='mia.wav', reason='row 3: the file does not exist'),))
    >>> _ = table.write_text("path,label,end\nrex.wav,dog; siren,1\nrex.wav,,2\n")
    >>> data = load(table)
    >>> data.multi_label, data.classes, [clip.label for clip in data.clips]
    (True, ('dog', 'siren'), ['dog;siren', ''])
    """
    # A label with a semicolon is a single class name only if ``classes`` contains it.
    given = frozenset(classes or ())
    several = any(SEPARATOR in row.get("label") and row.get("label") not in given for row in read_rows(path, REQUIRED))
    if classes is None:
        found = (name for row in read_rows(path, REQUIRED) for name in _names(row, several))
        known = tuple(dict.fromkeys(found))
    else:
        known = tuple(classes)
    position = {name: number for number, name in enumerate(known)}
    rows = ((row, _clip(row, _label(row, _names(row, several), position))) for row in read_rows(path, REQUIRED))
    clips, skipped = existing_clips(path.parent, _without_duplicates(path.parent, rows))
    return Dataset(
        name=path.stem,
        root=path.parent,
        classes=known,
        clips=clips,
        multi_label=several,
        skipped=skipped,
        window_s=typical_length_s(clips),
    )


def _names(row: Row, several: bool) -> tuple[str, ...]:
    """Return the class names of a row: any number in multi-label data, else one."""
    return split_label(row.get("label")) if several else (row.label("label"),)


def _label(row: Row, names: Sequence[str], position: Mapping[str, int]) -> str:
    """Join the class names by their ``position`` in class order, so that equal sets of classes have equal labels."""
    for name in names:
        row.check_label("label", name)
        row.check("label", name, position)
    return SEPARATOR.join(sorted(set(names), key=position.__getitem__))


def _clip(row: Row, label: str) -> Clip:
    start_s, stop_s = row.seconds("start") or 0.0, row.seconds("end")
    if stop_s is not None and stop_s <= start_s:
        raise row.error("end", f"must be greater than start={start_s:g}")
    return Clip(
        path=_path(row.table.parent, row.text("path").replace("\\", "/")),
        label=sys.intern(label),
        start_s=start_s,
        stop_s=stop_s,
        fold=row.whole_number("fold", minimum=1, maximum=MAX_FOLD) if row.get("fold") else None,
        source=next(filter(None, map(row.get, SOURCES)), None),
        salience=row.salience(),
        time=row.get("time") or None,
    )


@lru_cache(maxsize=256)  # sections of one file have one path: it takes more memory than the rest of a clip
def _path(folder: Path, name: str) -> Path:
    return folder / name


def _without_duplicates(root: Path, rows: Iterable[tuple[Row, Clip]]) -> Iterable[tuple[Row, Clip | Skipped]]:
    """Yield each row with its clip, or with ``Skipped`` if an earlier row has the same section and label."""
    first: dict[tuple[Path, float, float | None, str], int] = {}
    for row, clip in rows:
        number = first.setdefault((clip.path, clip.start_s, clip.stop_s, clip.label), row.number)
        same = number != row.number
        yield row, Skipped(relative(clip.path, root), f"row {row.number}: duplicate of row {number}") if same else clip

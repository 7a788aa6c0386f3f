"""A CSV table of clips, and how any data set's table is read: row by row, each knowing where it stands.

Columns ``path`` and ``label``; optionally ``start``, ``end`` (seconds), ``fold``, ``source``, ``salience``, ``time``.
Paths are relative to the table's folder. Rows count as a spreadsheet shows them: the header is row 1.

Several labels in one cell stand with semicolons between them, "dog;siren" (in quotes, where semicolons also part the
columns). One such cell makes the table multi-label: a clip then has any number of classes, and an empty cell is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from soundmark.datasets.dataset import SEPARATOR, Clip, Dataset, Skipped, names_in, relative, typical_length_s
from soundmark.datasets.layouts.table_reader import MOST_FOLDS, Row, present, read_rows

KIND = "a CSV table"


OPTIONS = ("classes",)


SUFFIXES_OF_TABLES = (".csv", ".tsv", ".txt")


def find(path: Path) -> Path | None:
    """``path`` itself where it is a file whose name ends as a table's.

    >>> find(Path(__file__).parent) is None
    True
    """
    return path if path.is_file() and path.suffix.lower() in SUFFIXES_OF_TABLES else None


def load(path: Path, *, classes: Sequence[str] | None = None) -> Dataset:
    r"""The clips that the table names, in its order; classes in order of first appearance unless ``classes`` is given.

    A row whose file is not there, or that repeats another word for word, is named in ``skipped``.

    Raises:
        DatasetError: the table or a row of it cannot be meant (file and row are named), or none of its files is there.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = table.with_name("rex.wav").write_bytes(b"")
    >>> _ = table.write_text("path,label,start,end\nrex.wav,dog,0,1.5\nmia.wav,cat,0,2\n")
    >>> data = load(table)
    >>> data.classes, data.window_s, data.skipped
    (('dog', 'cat'), 1.5, (Skipped(path='mia.wav', reason='row 3: it is not there'),))
    >>> _ = table.write_text("path,label,end\nrex.wav,dog; siren,1\nrex.wav,,2\n")
    >>> data = load(table)
    >>> data.multi_label, data.classes, [clip.label for clip in data.clips]
    (True, ('dog', 'siren'), ['dog;siren', ''])
    """
    rows = read_rows(path, ("path", "label"))
    # A name with a semicolon in it is one name only where ``classes`` says so.
    several = any(SEPARATOR in row.get("label") and row.get("label") not in (classes or ()) for row in rows)
    names = [names_in(row.get("label")) if several else (row.text("label"),) for row in rows]
    known = tuple(classes) if classes is not None else tuple(dict.fromkeys(name for found in names for name in found))
    given = [(row, _clip(row, _label(row, found, known))) for row, found in zip(rows, names, strict=True)]
    clips, skipped = present(path.parent, _unrepeated(path.parent, given))
    return Dataset(
        name=path.stem,
        root=path.parent,
        classes=known,
        clips=clips,
        multi_label=several,
        skipped=skipped,
        window_s=typical_length_s(clips),
    )


def _label(row: Row, names: Sequence[str], classes: Sequence[str]) -> str:
    """The names in the order of the classes, so that the same set of them is the same label."""
    for name in names:
        row.check("label", name, classes)
    return SEPARATOR.join(name for name in classes if name in names)


def _clip(row: Row, label: str) -> Clip:
    start_s, stop_s = row.seconds("start") or 0.0, row.seconds("end")
    if stop_s is not None and stop_s <= start_s:
        raise row.error("end", f"must lie after start={start_s:g}")
    return Clip(
        path=row.table.parent / row.text("path").replace("\\", "/"),
        label=label,
        start_s=start_s,
        stop_s=stop_s,
        fold=row.whole("fold", least=1, most=MOST_FOLDS) if row.get("fold") else None,
        source=row.get("source") or None,
        salience=row.salience(),
        time=row.get("time") or None,
    )


def _unrepeated(root: Path, rows: Sequence[tuple[Row, Clip]]) -> Iterable[tuple[Row, Clip | Skipped]]:
    """Each row's clip, or why it is left out: the same stretch with the same label stood there before."""
    first: dict[tuple[Path, float, float | None, str], int] = {}
    for row, clip in rows:
        number = first.setdefault((clip.path, clip.start_s, clip.stop_s, clip.label), row.number)
        same = number != row.number
        yield row, Skipped(relative(clip.path, root), f"row {row.number}: repeats row {number}") if same else clip

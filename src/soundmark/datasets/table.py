"""A CSV table of clips, and how any data set's table is read: row by row, each knowing where it stands.

Columns ``path`` and ``label``; optionally ``start``, ``end`` (seconds), ``fold``, ``source``, ``salience``, ``time``.
Paths are relative to the table's folder. Rows count as a spreadsheet shows them: the header is row 1.

Several labels in one cell stand with semicolons between them, "dog;siren" (in quotes, where semicolons also part the
columns). One such cell makes the table multi-label: a clip then has any number of classes, and an empty cell is none.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundmark.datasets import SEPARATOR, Clip, Dataset, Listing, Skipped, names_in, relative, typical_length_s
from soundmark.errors import DatasetError, unknown_name

KIND = "a CSV table"
OPTIONS = ("classes",)

SUFFIXES_OF_TABLES = (".csv", ".tsv", ".txt")
MOST_FOLDS = 10_000  # a greater number is no fold but a slip, a date or an id

SALIENCE = {"1": "foreground", "2": "background", "foreground": "foreground", "background": "background", "": None}


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


def _not_there(path: Path) -> str:
    """Why there is no clip at a path that a table names."""
    try:
        return "it is a folder, not a sound file" if path.is_dir() else "it is not there"
    except (OSError, ValueError) as error:
        return f"it cannot be looked for: {getattr(error, 'strerror', None) or error}"


def present(root: Path, rows: Iterable[tuple[Row, Clip | Skipped]]) -> tuple[tuple[Clip, ...], tuple[Skipped, ...]]:
    """The clips whose file is on the disk, and the rows left out, by name and reason.

    Raises:
        DatasetError: no file that the rows name is there.

    >>> row = Row(Path("labels.csv"), 2, {})
    >>> present(Path("pets"), [(row, Clip(path=Path("pets/rex.wav"), label="dog"))])
    Traceback (most recent call last):
    soundmark.errors.DatasetError: "labels.csv" names 1 files, and none is there: row 2 asks for "pets/rex.wav"...
    """
    listing, clips, skipped, absent = Listing(), [], [], []
    for row, clip in rows:
        if isinstance(clip, Skipped):
            skipped.append(clip)
        elif listing.has(clip.path):
            clips.append(clip)
        else:
            skipped.append(Skipped(relative(clip.path, root), f"row {row.number}: {_not_there(clip.path)}"))
            absent.append((row, clip))
    if not clips:
        row, clip = absent[0]
        raise DatasetError(
            f'"{row.table}" names {len(absent)} files, and none is there: row {row.number} asks for "{clip.path}". '
            "Put the sound files there, or correct the paths: they begin at the table's folder."
        )
    return tuple(clips), tuple(skipped)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table; what it is asked for is checked, and an error says where it stands.

    >>> row = Row(Path("labels.csv"), 7, {"fold": "ten"})
    >>> row.whole("fold", least=1)
    Traceback (most recent call last):
    soundmark.errors.DatasetError: "labels.csv", row 7: fold="ten" must be a whole number, 1 or more.
    """

    table: Path
    number: int
    cells: dict[str, str]

    def get(self, column: str) -> str:
        """The cell without the blanks around it; "" where it is empty or there is no such column."""
        return self.cells.get(column.lower(), "")

    def text(self, column: str) -> str:
        """The cell, which must hold something."""
        value = self.get(column)
        if not value:
            raise self.error(column, "must not be empty")
        return value

    def one_of(self, column: str, known: Iterable[str]) -> str:
        """The cell, which must be one of the known values."""
        value = self.text(column)
        self.check(column, value, known)
        return value

    def check(self, column: str, value: str, known: Iterable[str]) -> None:
        """Refuse a value of the cell that is not one of the known ones."""
        if value not in known:
            raise DatasetError(f"{self._place}: {unknown_name(column, value, known)}")

    def whole(self, column: str, *, least: int, most: int | None = None) -> int:
        """The cell as a whole number from ``least`` to ``most``; 3.0, as spreadsheets write 3, is one."""
        digits, _, rest = self.get(column).partition(".")
        is_whole = digits.isascii() and digits.isdigit() and len(digits) <= 18 and not rest.strip("0")
        value = int(digits) if is_whole else None
        if value is None or value < least or (most is not None and value > most):
            span = f"{least} or more" if most is None else f"from {least} to {most}"
            raise self.error(column, f"must be a whole number, {span}")
        return value

    def seconds(self, column: str) -> float | None:
        """The cell as a time in seconds, 0 or more; None where it is empty."""
        value = self.get(column)
        if not value:
            return None
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise self.error(column, "must be a number of seconds, 0 or more, like 1.5")
        return seconds

    def salience(self) -> str | None:
        """Whether the sound stands in the foreground (1) or in the background (2); None where that is not told."""
        value = self.get("salience").lower()
        if value not in SALIENCE:
            raise self.error("salience", "must be 1 (foreground) or 2 (background)")
        return SALIENCE[value]

    def error(self, column: str, rule: str) -> DatasetError:
        """The error for a cell that breaks a rule."""
        return DatasetError(f'{self._place}: {column}="{self.get(column)}" {rule}.')

    @property
    def _place(self) -> str:
        return f'"{self.table}", row {self.number}'


def read_rows(path: Path, required: Sequence[str]) -> list[Row]:
    r"""The rows of a CSV file with commas, semicolons or tabs, whose header has the ``required`` columns in any case.

    Raises:
        DatasetError: it cannot be read as UTF-8 text, a required column is missing, or there are no rows.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = table.write_text('Path;Label\n"a;b.wav"; dog \n')
    >>> [(row.number, row.text("path"), row.text("label")) for row in read_rows(table, ("path", "label"))]
    [(2, 'a;b.wav', 'dog')]
    """
    records = _records(path)
    columns = _header(path, records[0][1] if records else [], required)
    rows = [_row(path, number, columns, record) for number, record in records[1:]]
    if not rows:
        raise DatasetError(f'"{path}" names no clips: it has a header and no rows.')
    return rows


def _records(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that hold something, each with its number."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
        first, second, *_ = [*re.split("\r\n|\r|\n", text.lstrip("\r\n"), maxsplit=2), ""]
        declared = re.fullmatch("sep=(.)", first)  # how spreadsheets are told the delimiter; it is a row to them
        header = second if declared else first
        delimiter = declared[1] if declared else max(",;\t", key=header.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        records = [(number, record) for number, record in enumerate(reader, 1) if any(map(str.strip, record))]
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f'"{path}" is not UTF-8 text (row {row} holds the byte 0x{data[error.start]:02X}): save it as "CSV UTF-8".'
        ) from error
    except csv.Error as error:
        raise DatasetError(f'"{path}" is not a CSV table ({error}): are all quotes closed?') from error
    except OSError as error:
        raise DatasetError(f'"{path}" cannot be read: {error.strerror}.') from error
    return records[1:] if declared else records


def _header(path: Path, names: Sequence[str], required: Sequence[str]) -> list[str]:
    header = [name.strip().lower() for name in names]
    missing = [name for name in required if name.lower() not in header]
    if missing:
        there = ", ".join(name.strip() for name in names) or "none, the file is empty"
        raise DatasetError(f'"{path}" has no column "{missing[0]}". Columns there: {there}.')
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise DatasetError(f'"{path}" has two columns "{twice[0]}": which one is meant? Rename the other.')
    return header


def _row(path: Path, number: int, header: Sequence[str], record: Sequence[str]) -> Row:
    cells = [cell.strip() for cell in record]
    if any(cells[len(header) :]):
        raise DatasetError(
            f'"{path}", row {number} has {len(cells)} cells under {len(header)} columns: '
            "put quotes around a value that holds the delimiter."
        )
    return Row(path, number, dict(zip(header, cells, strict=False)))

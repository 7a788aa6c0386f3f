"""How any data set's table is read: row by row; an error names the row and the column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundmark.audio.folders import FolderListing
from soundmark.datasets.dataset import Clip, Skipped, relative
from soundmark.errors import DatasetError, unknown_name


def root_of(path: Path, tables: Iterable[str], unpacked_as: Iterable[str]) -> Path | None:
    """The root above one of ``tables``, where ``path`` is the root, its parent, one of its folders, or the table.

    >>> root_of(Path("nowhere"), ["meta/esc50.csv"], ["ESC-50"]) is None
    True
    """
    for table in tables:
        depth = table.count("/")
        if f"/{path.as_posix()}".endswith(f"/{table}") and path.is_file():
            return path.parents[depth]
        inside = path.name in {"audio", table.split("/")[0]} and path.is_dir()
        candidates = [path.parent] if inside and depth else []
        for root in (*candidates, path, *(path / name for name in unpacked_as)):
            if (root / table).is_file():
                return root
    return None


MOST_FOLDS = 10_000  # a greater number is no fold but a slip, a date or an id


SALIENCE = {"1": "foreground", "2": "background", "foreground": "foreground", "background": "background", "": None}


def present(root: Path, rows: Iterable[tuple[Row, Clip | Skipped]]) -> tuple[tuple[Clip, ...], tuple[Skipped, ...]]:
    """The clips whose file is on the disk, and the rows left out, by name and reason.

    Raises:
        DatasetError: no file that the rows name is there.

    >>> row = Row(Path("labels.csv"), 2, {})
    >>> present(Path("pets"), [(row, Clip(path=Path("pets/rex.wav"), label="dog"))])
    Traceback (most recent call last):
    soundmark.errors.DatasetError: "labels.csv" names 1 files, and none is there: row 2 asks for "pets/rex.wav"...
    """
    listing, clips, skipped, absent = FolderListing(), [], [], []
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


def _not_there(path: Path) -> str:
    """Why there is no clip at a path that a table names."""
    try:
        return "it is a folder, not a sound file" if path.is_dir() else "it is not there"
    except (OSError, ValueError) as error:
        return f"it cannot be looked for: {getattr(error, 'strerror', None) or error}"


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

"""Read the CSV tables of data sets and validate their cells; errors name the row and the column.

Tables are read row by row, and only the cells that are needed are kept: a cell of one letter takes many times its size
in memory.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from soundmark.audio.folders import FolderListing
from soundmark.datasets.dataset import Clip, Skipped, relative
from soundmark.errors import DatasetError, unknown_name
from soundmark.runtime.text import reason_unreadable, shortened


def root_of(path: Path, tables: Iterable[str], unpacked_as: Iterable[str]) -> Path | None:
    """Return the data set's root; ``path`` may be the root, its parent, one of its folders, or one of ``tables``.

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


MAX_LISTED = 20  # columns named in a message


MAX_ROWS = 1 << 20  # of a table: as many as a spreadsheet can have


MAX_ROW_CHARS = 1 << 20  # of one row


DIVIDE = "Divide it into several tables."


MAX_FOLD = 10_000  # a larger number is a typing error, a date or an id


MAX_TIME_S = 1e9  # 31 years: no recording is longer


MAX_LABEL_CHARS = 1000  # a longer label is a damaged table: it would be the name of folders, and text in figures


SALIENCE = {"1": "foreground", "2": "background", "foreground": "foreground", "background": "background", "": None}


def existing_clips(
    root: Path, rows: Iterable[tuple[Row, Clip | Skipped]]
) -> tuple[tuple[Clip, ...], tuple[Skipped, ...]]:
    """Return the clips whose files exist, and the skipped rows with the reason.

    Raises:
        DatasetError: none of the files exists, or there are no rows.

    >>> row = Row(Path("labels.csv"), 2, {})
    >>> existing_clips(Path("pets"), [(row, Clip(path=Path("pets/rex.wav"), label="dog"))])
    Traceback (most recent call last):
    soundmark.errors.DatasetError: none of the files listed in "labels.csv" exists; row 2: "pets/rex.wav". ...
    """
    listing, clips, skipped, first_missing = FolderListing(), [], [], None
    for row, clip in rows:
        if isinstance(clip, Skipped):
            skipped.append(clip)
        elif listing.has(clip.path):
            clips.append(clip)
        else:
            skipped.append(Skipped(relative(clip.path, root), f"row {row.number}: {_reason_missing(clip.path)}"))
            first_missing = first_missing or (row, clip)
    if not clips and first_missing is None:
        problem = f'"{skipped[0].path}": {skipped[0].reason}' if skipped else "it has no rows of clips"
        raise DatasetError(f'the table of "{root}" lists no usable clip: {problem}. Correct the table.')
    if not clips and first_missing is not None:
        row, clip = first_missing
        raise DatasetError(
            f'none of the files listed in "{row.table}" exists; row {row.number}: "{clip.path}". Add '
            "the sound files, or correct the paths: they are relative to the table's folder."
        )
    return tuple(clips), tuple(skipped)


def _reason_missing(path: Path) -> str:
    """Return the reason why no sound file was found at a path listed in a table."""
    if "\0" in str(path):
        return "its path contains a NUL character"
    try:
        return "it is a folder, not a sound file" if path.is_dir() else "the file does not exist"
    except (OSError, ValueError) as error:
        return f"the path cannot be read: {reason_unreadable(error)}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table; its methods validate cells, and their errors name table, row and column.

    >>> row = Row(Path("labels.csv"), 7, {"fold": "ten"})
    >>> row.whole_number("fold", minimum=1)
    Traceback (most recent call last):
    soundmark.errors.DatasetError: "labels.csv", row 7: fold="ten" must be a whole number, 1 or more.
    """

    table: Path
    number: int
    cells: dict[str, str]
    decimal_comma: bool = False  # whether 1,5 is a number, as in tables with semicolons between the columns

    def get(self, column: str) -> str:
        """Return the text of a cell; "" if it is empty or the column does not exist."""
        return self.cells.get(column.lower(), "")

    def text(self, column: str) -> str:
        """Return the text of a cell that must not be empty."""
        value = self.get(column)
        if not value:
            raise self.error(column, "must not be empty")
        return value

    def one_of(self, column: str, known: Iterable[str]) -> str:
        """Return the text of a cell that must be one of the known values."""
        value = self.text(column)
        self.check(column, value, known)
        return value

    def label(self, column: str) -> str:
        """Return the text of a cell that must be a label: not empty, and not longer than ``MAX_LABEL_CHARS``."""
        value = self.text(column)
        self.check_label(column, value)
        return value

    def check_label(self, column: str, label: str) -> None:
        """Raise an error if a label in a cell is too long."""
        if len(label) > MAX_LABEL_CHARS:
            raise self.error(column, f"has {len(label):,} characters: a label may have at most {MAX_LABEL_CHARS:,}")

    def check(self, column: str, value: str, known: Iterable[str]) -> None:
        """Raise an error if a value of a cell is not one of the known values."""
        if value not in known:
            raise DatasetError(f"{self._location}: {unknown_name(column, value, known)}")

    def whole_number(self, column: str, *, minimum: int, maximum: int | None = None) -> int:
        """Return a cell as a whole number in the given range; "3.0", as written by spreadsheets, is valid."""
        digits, _, rest = self.get(column).partition(".")
        is_whole = digits.isascii() and digits.isdigit() and len(digits) <= 18 and not rest.strip("0")
        value = int(digits) if is_whole else None
        if value is None or value < minimum or (maximum is not None and value > maximum):
            span = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
            raise self.error(column, f"must be a whole number, {span}")
        return value

    def seconds(self, column: str) -> float | None:
        """Return a cell as a time in seconds, 0 or more; None if it is empty."""
        value = self.get(column)
        if self.decimal_comma and value.count(",") == 1 and "." not in value:
            value = value.replace(",", ".")
        if not value:
            return None
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise self.error(column, "must be a number of seconds, 0 or more, for example 1.5")
        if seconds > MAX_TIME_S:
            raise self.error(column, f"must be at most {MAX_TIME_S:.0f} seconds")
        return seconds

    def salience(self) -> str | None:
        """Return the salience: "foreground" (1), "background" (2), or None if it is not given."""
        value = self.get("salience").lower()
        if value not in SALIENCE:
            raise self.error("salience", "must be 1 (foreground) or 2 (background)")
        return SALIENCE[value]

    def error(self, column: str, rule: str) -> DatasetError:
        """Return the error for a cell that violates a rule."""
        return DatasetError(f'{self._location}: {column}="{shortened(self.get(column), 100)}" {rule}.')

    @property
    def _location(self) -> str:
        return f'"{self.table}", row {self.number}'


def read_rows(path: Path, required: Sequence[str]) -> Iterator[Row]:
    r"""Read the rows of a CSV file delimited by commas, semicolons or tabs; column names are case-insensitive.

    With semicolons, times may have a decimal comma: spreadsheets write both together.

    Raises:
        DatasetError: the file is not UTF-8 text, a ``required`` column is missing, there are no rows, or the table has
            more than ``MAX_ROWS`` rows, or more than ``MAX_ROW_CHARS`` characters in a row.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = table.write_text('Path;Label\n"a;b.wav"; dog \n')
    >>> [(row.number, row.text("path"), row.text("label")) for row in read_rows(table, ("path", "label"))]
    [(2, 'a;b.wav', 'dog')]
    """
    records = _records(path)
    _, names, delimiter = next(records, (0, [], ","))
    columns = _header(path, names, required)
    number = 0
    for number, record, _ in records:
        yield Row(path, number, _cells(path, number, columns, record), decimal_comma=delimiter == ";")
    if not number:
        raise DatasetError(f'"{path}" lists no clips: it has a header but no rows.')


def numbered_rows(
    path: Path, lines: Iterable[str], delimiter: str, *, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    r"""Yield the rows of a delimited table that are not empty, with their numbers; ``lines`` keep their ends.

    Raises:
        csv.Error: the quotes are not closed.
        DatasetError: the table ``path`` has too many rows, or a row has too many characters.

    >>> list(numbered_rows(Path("labels.csv"), ["path,label\n", "\n", "rex.wav,dog\n"], ","))
    [(1, ['path', 'label']), (3, ['rex.wav', 'dog'])]
    """
    number = n_chars = 0

    def limited() -> Iterator[str]:
        nonlocal n_chars
        for line in lines:
            n_chars += len(line)
            if n_chars > MAX_ROW_CHARS:
                raise DatasetError(
                    f'"{path}", row {number + 1} has more than {MAX_ROW_CHARS:,} characters: it is not a table of '
                    "clips, or a quote is not closed."
                )
            yield line

    for number, record in enumerate(csv.reader(limited(), delimiter=delimiter, strict=strict), 1):
        if number > MAX_ROWS:
            raise DatasetError(f'"{path}" has more than {MAX_ROWS:,} rows, the most that a table may have. {DIVIDE}')
        n_chars = 0
        if any(map(str.strip, record)):
            yield number, record


def _records(path: Path) -> Iterator[tuple[int, list[str], str]]:
    """Yield the non-empty rows with their row numbers, and the delimiter of the table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter, declared = _delimiter(file)
            file.seek(0)
            rows = numbered_rows(path, _lines(file), delimiter, strict=True)
            if declared:
                next(rows)
            for number, record in rows:
                yield number, record, delimiter
    except UnicodeDecodeError as error:
        row, byte = _undecodable(path)
        raise DatasetError(
            f'"{path}" is not UTF-8 text (row {row} contains the byte 0x{byte:02X}): save it as "CSV UTF-8".'
        ) from error
    except csv.Error as error:
        raise DatasetError(f'"{path}" is not a valid CSV table ({error}): check that all quotes are closed.') from error
    except OSError as error:
        raise DatasetError(f'"{path}" cannot be read: {error.strerror}.') from error


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines with their ends; a line that is longer than a row may be is yielded in parts."""
    return iter(lambda: file.readline(MAX_ROW_CHARS + 1), "")


def _delimiter(file: TextIO) -> tuple[str, bool]:
    """Return the delimiter, and whether a first row, "sep=;", declares it for spreadsheets."""
    lines = (line.rstrip("\r\n") for line in _lines(file))
    first = next((line for line in islice(lines, MAX_ROWS) if line), "")
    declared = re.fullmatch("sep=(.)", first)
    header = next(lines, "") if declared else first
    return (declared[1], True) if declared else (max(",;\t", key=header.count), False)


def _undecodable(path: Path) -> tuple[int, int]:
    """Return the row and the value of the first byte that is not UTF-8."""
    decoder, row = codecs.getincrementaldecoder("utf-8")(), 1
    with path.open("rb") as file:
        while True:
            block = file.read(1 << 16)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return row + error.object.count(b"\n", 0, error.start), error.object[error.start]
            row += block.count(b"\n")


def _header(path: Path, names: Sequence[str], required: Sequence[str]) -> list[str]:
    header = [name.strip().lower() for name in names]
    missing = [name for name in required if name.lower() not in header]
    if missing:
        found = ", ".join(name.strip() for name in names[:MAX_LISTED]) or "none, the file is empty"
        found += f", … ({len(names):,} columns)" if len(names) > MAX_LISTED else ""
        raise DatasetError(f'"{path}" has no column "{missing[0]}". Columns found: {found}.')
    duplicates = [name for name, count in Counter(header).items() if name and count > 1]
    if duplicates:
        raise DatasetError(f'"{path}" has two columns named "{duplicates[0]}": rename or remove one of them.')
    return header


def _cells(path: Path, number: int, header: Sequence[str], record: Sequence[str]) -> dict[str, str]:
    cells = [cell.strip() for cell in record]
    if any(cells[len(header) :]):
        raise DatasetError(
            f'"{path}", row {number} has {len(cells)} cells but the header has {len(header)} columns: put quotes '
            "around values that contain the delimiter."
        )
    return dict(zip(header, cells, strict=False))

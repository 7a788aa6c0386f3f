"""``Annotation``, the labels of a section of a sound file; reading label files as text."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from soundmark.datasets.layouts.table_reader import DIVIDE, MAX_LABEL_CHARS, MAX_ROW_CHARS, MAX_ROWS, MAX_TIME_S
from soundmark.errors import DatasetError
from soundmark.runtime.text import shortened

MAX_BYTES = 1 << 26  # of a label file


HEAD_BYTES = 1 << 16  # of a larger file, to recognise its format


_TEXT, _END = re.compile(r"\S"), re.compile(r"[\r\n]")


_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """The labels of a section of a sound file; ``row`` is its row in the label file, for messages."""

    row: int
    labels: tuple[str, ...]
    file: str | None = None  # as named in the label file; None: the sound file beside it
    start_s: float = 0.0
    stop_s: float | None = None  # None: the end of the file
    source: str | None = None
    fold: int | None = None


@dataclass(frozen=True)
class LabelFile:
    """A text file with annotations."""

    path: Path
    text: str

    def lines(self, *, ends: bool = False) -> Iterator[str]:
        r"""Yield the lines, one by one: a list of short lines takes many times their size; ``ends`` keeps their ends.

        >>> list(LabelFile(Path("a.txt"), "one\r\ntwo").lines())
        ['one', 'two']
        """
        lines = (found[0] for found in _LINE.finditer(self.text))
        return lines if ends else (line.rstrip("\r\n") for line in lines)

    def check_rows(self) -> None:
        """Raise an error if there are more lines than a table may have rows.

        >>> LabelFile(Path("a.txt"), "one").check_rows()
        """
        if max(map(self.text.count, "\r\n")) > MAX_ROWS:
            raise too_large(self.path)

    def numbered_lines(self) -> Iterator[tuple[int, str]]:
        r"""Yield the lines that are not empty, with their numbers.

        Raises:
            DatasetError: there are too many lines, or a line is too long.

        >>> list(LabelFile(Path("a.txt"), "one\n\ntwo").numbered_lines())
        [(1, 'one'), (3, 'two')]
        """
        self.check_rows()
        for row, line in enumerate(self.lines(), 1):
            if len(line) > MAX_ROW_CHARS:
                raise self.error(row, f"it has more than {MAX_ROW_CHARS:,} characters")
            if line.strip():
                yield row, line

    @cached_property
    def head(self) -> str:
        r"""The first line that is not empty, at most ``MAX_ROW_CHARS`` of it.

        >>> LabelFile(Path("a.txt"), "\n\nSelection\tView\n").head
        'Selection\tView'
        """
        text = self.text
        first = _TEXT.search(text)
        if first is None:
            return ""
        start = 1 + max(text.rfind("\n", 0, first.start()), text.rfind("\r", 0, first.start()))
        end = _END.search(text, first.start())
        return text[start : min(end.start() if end else len(text), start + MAX_ROW_CHARS)]

    def error(self, row: int, problem: str) -> DatasetError:
        """Return the error for a row of the file.

        >>> print(LabelFile(Path("a.txt"), "").error(3, "the start is missing"))
        "a.txt", row 3: the start is missing.
        """
        return DatasetError(f'"{self.path}", row {row}: {problem}.')

    def seconds(self, row: int, name: str, value: str) -> float:
        """Return a time in seconds; a decimal comma is accepted.

        Raises:
            DatasetError: it is not a number, or negative, or too large.

        >>> LabelFile(Path("a.txt"), "").seconds(2, "onset", "1,5")
        1.5
        """
        try:
            seconds = float(value.replace(",", ".") if value.count(",") == 1 and "." not in value else value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= MAX_TIME_S:
            raise self.error(
                row, f'{name}="{shortened(value, 60)}" must be a number of seconds, 0 or more, such as 1.5'
            )
        return seconds

    def section(self, row: int, start: str, stop: str) -> tuple[float, float]:
        """Return start and stop of a section in seconds.

        Raises:
            DatasetError: one is not a time, or the section ends before it starts.

        >>> LabelFile(Path("a.txt"), "").section(2, "1", "2.5")
        (1.0, 2.5)
        """
        start_s, stop_s = self.seconds(row, "start", start), self.seconds(row, "end", stop)
        if stop_s < start_s:
            raise self.error(row, f"the section ends at {stop_s:g} s, before its start at {start_s:g} s")
        return start_s, stop_s

    def labels(self, row: int, names: Sequence[str]) -> tuple[str, ...]:
        """Return label names without empty ones and surrounding spaces.

        Raises:
            DatasetError: one is too long.

        >>> LabelFile(Path("a.txt"), "").labels(2, [" wren", ""])
        ('wren',)
        """
        found = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
        if any(len(name) > MAX_LABEL_CHARS for name in found):
            raise self.error(row, f"a label has more than {MAX_LABEL_CHARS:,} characters")
        return found


def too_large(path: Path) -> DatasetError:
    """Return the error for a label file with too many bytes or rows.

    >>> print(too_large(Path("a.csv")))
    "a.csv" is too large: a table of annotations may have at most 64 MiB and 1,048,576 rows. Divide it into several...
    """
    return DatasetError(
        f'"{path}" is too large: a table of annotations may have at most {MAX_BYTES >> 20} MiB and {MAX_ROWS:,} rows. '
        f"{DIVIDE}"
    )


def read_label_file(path: Path) -> LabelFile | None:
    r"""Read a text file in UTF-8, or in UTF-16 with a byte order mark; None if it is neither, or larger than 64 MiB.

    Raises:
        DatasetError: the file cannot be read.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "dawn.txt"
    >>> _ = path.write_bytes("1\t2\twren\n".encode("utf-16"))
    >>> read_label_file(path).head
    '1\t2\twren'
    """
    return _read(path, None)


def read_head(path: Path) -> LabelFile | None:
    """Read the complete lines at the start of a label file that is larger than 64 MiB; None if it is not larger.

    Raises:
        DatasetError: the file cannot be read.

    >>> read_head(Path(__file__)) is None
    True
    """
    return _read(path, HEAD_BYTES)


def _read(path: Path, head: int | None) -> LabelFile | None:
    try:
        state = path.stat()
        too_long = state.st_size > MAX_BYTES
        if too_long is (head is None):
            return None
        return _text_of(path, state.st_mtime_ns, state.st_size, head)
    except OSError as error:
        raise DatasetError(f'"{path}" cannot be read: {error.strerror}.') from error


@lru_cache(maxsize=2)
def _text_of(path: Path, changed_ns: int, size: int, head: int | None) -> LabelFile | None:
    """Read a file, or its ``head``; its format is determined, and then it is read. ``changed_ns`` makes it current."""
    with path.open("rb") as file:
        data = file.read(-1 if head is None else head)
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        decoder = codecs.getincrementaldecoder("utf-16" if is_utf16 else "utf-8-sig")()
        text = decoder.decode(data, final=head is None)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else LabelFile(path, text)

"""``Annotation``, the labels of a section of a sound file; reading label files as text."""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from soundmark.datasets.layouts.table_reader import MAX_LABEL_CHARS, MAX_TIME_S
from soundmark.errors import DatasetError
from soundmark.runtime.text import shortened

MAX_BYTES = 1 << 28  # of a label file


@dataclass(frozen=True, kw_only=True)
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

    @cached_property
    def lines(self) -> list[str]:
        r"""The lines without their ends.

        >>> LabelFile(Path("a.txt"), "one\r\ntwo").lines
        ['one', 'two']
        """
        return self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    @cached_property
    def head(self) -> str:
        r"""The first line that is not empty.

        >>> LabelFile(Path("a.txt"), "\n\nSelection\tView\n").head
        'Selection\tView'
        """
        return next((line for line in self.lines if line.strip()), "")

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


def read_label_file(path: Path) -> LabelFile | None:
    r"""Read a text file in UTF-8, or in UTF-16 with a byte order mark; None if it is neither, or larger than 256 MiB.

    Raises:
        DatasetError: the file cannot be read.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "dawn.txt"
    >>> _ = path.write_bytes("1\t2\twren\n".encode("utf-16"))
    >>> read_label_file(path).head
    '1\t2\twren'
    """
    try:
        state = path.stat()
        return _read(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise DatasetError(f'"{path}" cannot be read: {error.strerror}.') from error


@lru_cache(maxsize=8)
def _read(path: Path, changed_ns: int, size: int) -> LabelFile | None:
    """Read a file; its format is determined, and then it is read. ``changed_ns`` makes the cache current."""
    if size > MAX_BYTES:
        return None
    data = path.read_bytes()
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else LabelFile(path, text)

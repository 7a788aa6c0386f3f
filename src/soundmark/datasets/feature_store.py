"""A float32 array on the disk that several processes fill in chunks: what it was made from, which chunks are done.

    features.npy     float32 [rows, ...], zeros where nothing was written yet
    journal.jsonl    a line per finished chunk: its number, checksum, failures, notes and seconds, sealed
    key.json         what the array is made from, sealed; last: a store without its key is not one

Where the key no longer fits, the store is laid out anew; where a chunk's checksum no longer fits, that chunk is missing
again. Damage is named in a warning; a line that a kill cut short is nothing but a chunk that is not there yet.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.errors import OutputError, SettingsError
from soundmark.runtime import atomic, checksums

log = logging.getLogger("soundmark")


CHUNK = 32  # rows that are written, checked and noted together


REMEDY = "Free some room there, or set SOUNDMARK_CACHE to another folder."


SPARE = 50_000_000  # bytes that are left free on the disk


@dataclass(frozen=True)
class Chunk:
    """A finished chunk; a line of the journal."""

    number: int
    checksum: int  # CRC-32 of its rows' bytes
    failures: dict[int, str]  # row → why it could not be computed
    notes: list[str]  # what to say of others
    seconds: float

    @property
    def start(self) -> int:
        """Its first row."""
        return self.number * CHUNK


class Rows:
    """A float32 array ``[rows, ...]`` in a .npy file, of which only what is asked for comes into memory.

    Each look maps the file anew and lets go of it: a map that is kept counts every page it was ever asked for as this
    process's memory, which for a large data set is all of it.

    >>> np.save(folder / "squares.npy", np.arange(6, dtype=np.float32)[:, None] ** 2)
    >>> rows = Rows(folder / "squares.npy")
    >>> rows.shape, len(rows), rows[2:4].tolist(), rows[np.array([5, 0])].tolist()
    ((6, 1), 6, [[4.0], [9.0]], [[25.0], [0.0]])
    """

    def __init__(self, path: Path, hidden: np.ndarray | None = None) -> None:
        self._path, self._hidden = path, hidden
        mapped = np.load(path, mmap_mode="r")
        self.shape, self.dtype, self._offset = mapped.shape, mapped.dtype, mapped.offset
        self._file = path.open("rb")  # held open: another process may put a new file in its place
        weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        return int(self.shape[0])

    def hiding(self, which: np.ndarray) -> Rows:
        """The same, but whoever asks for a row of ``which``, int64 indices, is refused: for what must not be seen.

        What was hidden before stays so.

        Raises:
            SettingsError: when such a row is asked for.

        >>> np.save(folder / "squares.npy", np.arange(6, dtype=np.float32)[:, None] ** 2)
        >>> Rows(folder / "squares.npy").hiding(np.array([3]))[2:4]
        Traceback (most recent call last):
        soundmark.errors.SettingsError: 1 row that is hidden was asked for: nothing may be decided by a test clip.
        """
        hidden = np.zeros(len(self), bool) if self._hidden is None else self._hidden.copy()
        hidden[which] = True
        return Rows(self._path, hidden)

    def __getitem__(self, which: Any) -> np.ndarray:
        rows_of = which[0] if isinstance(which, tuple) and which else which
        rows_of = slice(None) if rows_of is Ellipsis or rows_of is None else rows_of  # (all of them, to be safe)
        if self._hidden is not None and (seen := int(np.count_nonzero(self._hidden[rows_of]))):
            rows = "1 row that is hidden was" if seen == 1 else f"{seen} rows that are hidden were"
            raise SettingsError(f"{rows} asked for: nothing may be decided by a test clip.")
        return np.array(np.memmap(self._file, self.dtype, "r", self._offset, self.shape)[which])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True)
class Store:
    """The array of ``shape`` in ``folder``, made from what ``key`` says."""

    folder: Path
    key: Mapping[str, Any]
    shape: tuple[int, ...]

    @property
    def _array(self) -> Path:
        return self.folder / "features.npy"

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def rows(self) -> Rows:
        """What is in it."""
        return Rows(self._array)

    def lay_out(self, *, fresh: bool = False) -> None:
        """Keep the store that is there, or clear away anything else and make an empty one.

        Raises:
            OutputError: the folder cannot be written, or has too little room.
        """
        if not fresh and self._is_there():
            return
        try:
            for old in self.folder.glob("*.*"):
                if old.name != ".lock":
                    old.unlink()
            _check_room(self.folder, 4 * int(np.prod(self.shape)))
            with self._array.open("wb") as file:
                file.write(_header(self.shape))
                file.truncate(file.tell() + 4 * int(np.prod(self.shape)))
            self._journal.touch()
        except OSError as error:
            raise atomic.cannot_write(self.folder, error, REMEDY) from error
        atomic.write_text(self.folder / "key.json", json.dumps(checksums.with_checksum(self.key)))

    def finished(self) -> dict[int, Chunk]:
        """By number, the chunks that the journal names, whose checksum fits, and in which nothing failed.

        A chunk with a failure is tried again: a file's permissions, or the network disk, may be as they should by now.
        """
        rows = self.rows()
        noted = [chunk for chunk in self._noted().values() if not chunk.failures]
        finished = {chunk.number: chunk for chunk in noted if _checksum(rows[_span(chunk.number)]) == chunk.checksum}
        if spoilt := len(noted) - len(finished):
            log.warning('"%s" is damaged in %d of its parts: they are computed again', self._array, spoilt)
        return finished

    def write(self, number: int, rows: np.ndarray) -> int:
        """Put float32 ``rows`` in their place, as chunk ``number``; their checksum. Any process may.

        Raises:
            OutputError: the disk is full.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        try:
            with self._array.open("r+b") as file:  # not through a map: on a full disk that ends the process
                file.seek(len(_header(self.shape)) + _span(number).start * 4 * int(np.prod(self.shape[1:])))
                file.write(rows.data)
        except OSError as error:
            raise atomic.cannot_write(self._array, error, REMEDY) from error
        return _checksum(rows)

    def note(self, chunk: Chunk) -> None:
        """Note a chunk as finished. Only the process that holds the store does.

        Raises:
            OutputError: the disk is full.
        """
        try:
            with self._journal.open("a", encoding="utf-8") as journal:
                journal.write(json.dumps(checksums.with_checksum(vars(chunk))) + "\n")
        except OSError as error:
            raise atomic.cannot_write(self._journal, error, REMEDY) from error

    def _is_there(self) -> bool:
        """Whether the folder holds this very store, and whole; what is damaged or lost is named."""
        path = self.folder / "key.json"
        if not path.exists():
            return False  # the first call, or a kill before the store was laid out
        try:
            if checksums.verified(json.loads(path.read_bytes().decode())) != self.key:
                return False  # of other files, or of an older soundmark
            path = self._array
            _check_frame(path, self.shape)
            path = self._journal
            path.stat()
        except (OSError, ValueError) as error:
            log.warning('"%s" is damaged or lost (%s): all the features are computed again', path, error)
            return False
        return True

    def _noted(self) -> dict[int, Chunk]:
        """What the journal says last of each chunk. Damaged lines, and one cut short by a kill, are taken out of it."""
        *lines, cut = self._journal.read_bytes().split(b"\n")
        kept, chunks = [], {}
        for line in lines:
            try:
                entry = checksums.verified(json.loads(line.decode()))
            except ValueError:
                continue
            failures = {int(row): reason for row, reason in entry["failures"].items()}
            chunks[entry["number"]] = Chunk(**{**entry, "failures": failures})
            kept.append(line + b"\n")
        if damaged := len(lines) - len(kept):
            log.warning(
                '"%s" is damaged in %d of its lines: what they stand for is computed again', self._journal, damaged
            )
        if damaged or cut:
            atomic.write_bytes(self._journal, b"".join(kept))
        return chunks


def _span(number: int) -> slice:
    return slice(number * CHUNK, (number + 1) * CHUNK)


def _checksum(rows: np.ndarray) -> int:
    return zlib.crc32(rows.data)


def _header(shape: tuple[int, ...]) -> bytes:
    """What NumPy writes at the head of a float32 array of ``shape``."""
    header = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, about)
    return header.getvalue()


def _check_frame(path: Path, shape: tuple[int, ...]) -> None:
    """Raise a ValueError where the file is not what NumPy writes for an array of ``shape``, its numbers aside."""
    header = _header(shape)
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            raise ValueError("its header is not the one that was written")
    if path.stat().st_size != len(header) + 4 * int(np.prod(shape)):
        raise ValueError(f"it has {path.stat().st_size} bytes")


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        raise OutputError(
            f'the features need {size / 1e6:.0f} MB and "{folder}" has {free / 1e6:.0f} MB free. Free some, or set '
            "SOUNDMARK_CACHE to a folder with more room."
        )

"""A float32 array on disk that several processes write in chunks, with a key, checksums and a journal.

    features.npy     float32 [rows, ...], zeros where nothing has been written
    journal.jsonl    one line per finished chunk: number, checksum, failures, notes and seconds, with a line checksum
    key.json         the inputs that the array is computed from, with a checksum; written last, when the store is ready
    durations.json   the durations of the clips, so that the headers of unchanged files are read once

If the key does not match, the store is created again. If a chunk's checksum does not match, that chunk is recomputed.
Damage is reported in a warning. A journal line that was cut off by a kill counts as an unfinished chunk, without a
warning.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
import weakref
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.errors import OutputError, SettingsError
from soundmark.runtime import atomic, checksums
from soundmark.runtime.checks import is_finite

log = logging.getLogger("soundmark")


CHUNK = 32  # rows per chunk: written, checked and recorded in the journal together


REMEDY = "Free disk space there, or set SOUNDMARK_CACHE to another folder."


DURATIONS = "durations.json"


MIN_FREE_BYTES = 50_000_000  # disk space to keep free


@dataclass(frozen=True)
class Chunk:
    """A finished chunk: one line of the journal."""

    number: int
    checksum: int  # CRC-32 of the bytes of its rows
    failures: dict[int, str]  # row → reason why it could not be computed
    notes: list[str]  # notes on files that were decoded only in part
    seconds: float
    sounds: list[list[Any]] = field(default_factory=list)  # digest and level in dBFS per row; absent in older stores

    @property
    def start(self) -> int:
        """The index of its first row."""
        return self.number * CHUNK


class Rows:
    """A float32 array ``[rows, ...]`` in a .npy file; indexing reads only the requested rows into memory.

    Each access maps the file and releases the map: with a permanent memory map, every page ever read would count as
    memory of this process, which for a large data set is the entire file.

    >>> np.save(folder / "squares.npy", np.arange(6, dtype=np.float32)[:, None] ** 2)
    >>> rows = Rows(folder / "squares.npy")
    >>> rows.shape, len(rows), rows[2:4].tolist(), rows[np.array([5, 0])].tolist()
    ((6, 1), 6, [[4.0], [9.0]], [[25.0], [0.0]])
    """

    def __init__(self, path: Path, hidden: np.ndarray | None = None) -> None:
        self._path, self._hidden = path, hidden
        mapped = np.load(path, mmap_mode="r")
        self.shape, self.dtype, self._offset = mapped.shape, mapped.dtype, mapped.offset
        self._file = path.open("rb")  # kept open: another process may replace the file
        weakref.finalize(self, self._file.close)

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self._path

    def __len__(self) -> int:
        return int(self.shape[0])

    def hide(self, indices: np.ndarray) -> Rows:
        """Return the same array with the rows at ``indices`` (int64) hidden: reading them raises an error.

        This keeps test clips away from code that trains or tunes a model. Rows hidden before remain hidden.

        Raises:
            SettingsError: a hidden row is read.

        >>> np.save(folder / "squares.npy", np.arange(6, dtype=np.float32)[:, None] ** 2)
        >>> Rows(folder / "squares.npy").hide(np.array([3]))[2:4]
        Traceback (most recent call last):
        soundmark.errors.SettingsError: 1 hidden row was requested: test clips must not influence the model.
        """
        hidden = np.zeros(len(self), bool) if self._hidden is None else self._hidden.copy()
        hidden[indices] = True
        return Rows(self._path, hidden)

    def __getitem__(self, index: Any) -> np.ndarray:
        row_index = index[0] if isinstance(index, tuple) and index else index
        row_index = slice(None) if row_index is Ellipsis or row_index is None else row_index  # all rows, to be safe
        if self._hidden is not None and (n_hidden := int(np.count_nonzero(self._hidden[row_index]))):
            rows = "1 hidden row was" if n_hidden == 1 else f"{n_hidden} hidden rows were"
            raise SettingsError(f"{rows} requested: test clips must not influence the model.")
        return np.array(np.memmap(self._file, self.dtype, "r", self._offset, self.shape)[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True)
class Store:
    """An array of ``shape`` stored in ``folder``; ``key`` describes the inputs that it is computed from."""

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
        """Return the stored array."""
        return Rows(self._array)

    def prepare(self, *, fresh: bool = False) -> None:
        """Keep an existing store with the same key; otherwise clear the folder and create an empty store.

        Raises:
            OutputError: the folder cannot be written, or the disk has too little space.
        """
        if not fresh and self._exists():
            return
        try:
            for old in self.folder.glob("*.*"):
                if old.name not in (".lock", DURATIONS):
                    old.unlink(missing_ok=True)
            _check_room(self.folder, 4 * int(np.prod(self.shape)))
            with self._array.open("wb") as file:
                file.write(_header(self.shape))
                file.truncate(file.tell() + 4 * int(np.prod(self.shape)))
            self._journal.touch()
        except OSError as error:
            raise atomic.cannot_write(self.folder, error, REMEDY) from error
        atomic.write_text(self.folder / "key.json", json.dumps(checksums.with_checksum(self.key)))

    def finished(self) -> dict[int, Chunk]:
        """Return the finished chunks by number: listed in the journal, with a matching checksum and no failures.

        A chunk with a failure is computed again, because the cause (file permissions, a network disk) may be fixed.
        """
        rows = self.rows()
        recorded = [chunk for chunk in self._read_journal().values() if not chunk.failures]
        finished = {
            chunk.number: chunk for chunk in recorded if _checksum(rows[_rows_of(chunk.number)]) == chunk.checksum
        }
        if damaged := len(recorded) - len(finished):
            log.warning('"%s" is damaged (%d chunks): recomputing them', self._array, damaged)
        return finished

    def write(self, number: int, rows: np.ndarray) -> int:
        """Write float32 ``rows`` as chunk ``number`` and return their checksum. Any process may call it.

        Raises:
            OutputError: the disk is full.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        try:
            with self._array.open("r+b") as file:  # no memory map: writing to one on a full disk kills the process
                file.seek(len(_header(self.shape)) + _rows_of(number).start * 4 * int(np.prod(self.shape[1:])))
                file.write(rows.data)
        except OSError as error:
            raise atomic.cannot_write(self._array, error, REMEDY) from error
        return _checksum(rows)

    def record(self, chunk: Chunk) -> None:
        """Record a finished chunk in the journal. Only the process that has locked the store may call it.

        Raises:
            OutputError: the disk is full.
        """
        try:
            with self._journal.open("a", encoding="utf-8") as journal:
                journal.write(json.dumps(checksums.with_checksum(vars(chunk))) + "\n")
        except OSError as error:
            raise atomic.cannot_write(self._journal, error, REMEDY) from error

    def _exists(self) -> bool:
        """Return whether the folder contains this store, complete; warn of damaged or missing files."""
        path = self.folder / "key.json"
        if not path.exists():
            return False  # the first call, or a previous one was killed before the store was ready
        try:
            if checksums.parse_verified(path.read_bytes().decode()) != self.key:
                return False  # computed from other files, or by an older soundmark
            path = self._array
            _check_layout(path, self.shape)
            path = self._journal
            path.stat()
        except (OSError, ValueError) as error:
            log.warning('"%s" is damaged or missing (%s): recomputing all features', path, error)
            return False
        return True

    def _read_journal(self) -> dict[int, Chunk]:
        """Return the last entry of each chunk; remove damaged lines and an incomplete last line from the journal."""
        *lines, incomplete = self._journal.read_bytes().split(b"\n")
        kept, chunks = [], {}
        for line in lines:
            try:
                entry = checksums.parse_verified(line.decode())
            except ValueError:
                continue
            failures = {int(row): reason for row, reason in entry["failures"].items()}
            chunks[entry["number"]] = Chunk(**{**entry, "failures": failures})
            kept.append(line + b"\n")
        if damaged := len(lines) - len(kept):
            log.warning('"%s" is damaged (%d lines): recomputing their chunks', self._journal, damaged)
        if damaged or incomplete:
            atomic.write_bytes(self._journal, b"".join(kept))
        return chunks


def read_durations(folder: Path, clips: str, n: int) -> list[float | None] | None:
    """Return the durations in seconds that ``write_durations`` stored for ``n`` ``clips``; None if there are none.

    >>> read_durations(folder, "a digest of clips", 3) is None
    True
    """
    try:
        found = checksums.parse_verified((folder / DURATIONS).read_bytes())
    except (OSError, ValueError):  # a new store, or a damaged file: the headers are read again
        return None
    durations = found.get("durations_s")
    if found.get("clips") != clips or not isinstance(durations, list) or len(durations) != n:
        return None
    return durations if all(each is None or (is_finite(each) and each >= 0) for each in durations) else None


def write_durations(folder: Path, clips: str, durations_s: Sequence[float | None]) -> None:
    """Store the durations of clips in seconds; None for one that could not be read. ``clips`` is their digest.

    Raises:
        OutputError: the file cannot be written.

    >>> write_durations(folder, "digest", [4.0, None])
    >>> read_durations(folder, "digest", 2), read_durations(folder, "another digest", 2)
    ([4.0, None], None)
    """
    values = {"clips": clips, "durations_s": list(durations_s)}
    atomic.write_text(folder / DURATIONS, json.dumps(checksums.with_checksum(values)))


def _rows_of(number: int) -> slice:
    return slice(number * CHUNK, (number + 1) * CHUNK)


def _checksum(rows: np.ndarray) -> int:
    return zlib.crc32(rows.data)


def _header(shape: tuple[int, ...]) -> bytes:
    """Return the .npy header of a float32 array of ``shape``."""
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()


def _check_layout(path: Path, shape: tuple[int, ...]) -> None:
    """Raise ValueError if the file does not have the header and size of a float32 .npy array of ``shape``."""
    header = _header(shape)
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            raise ValueError("its header has changed")
    if path.stat().st_size != len(header) + 4 * int(np.prod(shape)):
        raise ValueError(f"its size has changed to {path.stat().st_size} bytes")


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + MIN_FREE_BYTES:
        raise OutputError(
            f'the features need {size / 1e6:.0f} MB but "{folder}" has only {free / 1e6:.0f} MB free. Free disk space, '
            "or set SOUNDMARK_CACHE to a folder with more space."
        )

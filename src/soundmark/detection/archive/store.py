"""The files of an index: one record of fixed size per window, one journal line per recording.

    index.json         classes, window, overlap and digest of the model
    model.onnx         the model
    windows.bin        a header of 64 bytes, then a record per window: see ``record_type``
    recordings.jsonl   a line per recording: key, path, its records, duration; each with a checksum

Both growing files are only appended to, the records first. So after a kill, records without a line are cut off, and
their recording is indexed again. A recording that has changed gets new records; its earlier ones are no longer used.
"""

from __future__ import annotations

import json
import logging
import os
import time
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from soundmark.errors import SettingsError
from soundmark.runtime import atomic, checksums
from soundmark.runtime.checks import is_file, is_finite, is_whole, open_regular, parse_json, read_regular
from soundmark.runtime.text import counted, reason_unreadable

log = logging.getLogger("soundmark")

RECORDS, JOURNAL, PARAMETERS, MODEL = "windows.bin", "recordings.jsonl", "index.json", "model.onnx"

HEADER = b"soundmark index of windows, schema 1".ljust(64)

SCHEMA = 1

MAX_EMBEDDING = 1 << 20  # values

MAX_PARAMETERS_BYTES = 1 << 26  # of index.json

MAX_LINE_BYTES = 1 << 20  # of the journal

MAX_PATH_CHARS = 1 << 15  # the longest path that a system allows, or URL that a server accepts

MAX_RECORDS = 1 << 48

MAX_TIME_S = 1e10  # 300 years: what is longer cannot be displayed

HALF_EXPONENT = 0x7C00  # bits of a float16; all are set if it is infinite or NaN

BLOCK = 4096  # records that are checked at once

SYNC_INTERVAL_S = 2.0  # between calls of fsync: the most work that a power failure may lose


def is_index(folder: Path) -> bool:
    """Whether ``folder`` has the parameters of an index.

    >>> is_index(folder / "new")
    False
    """
    return is_file(folder / PARAMETERS)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording in an index, and its ``windows`` records from record ``first``."""

    key: str  # of file and settings: see ``journal_key``
    path: str
    first: int
    windows: int
    duration_s: float
    crc32: int  # of the bytes of its records
    note: str | None = None  # why only a part of it could be read

    def __post_init__(self) -> None:
        is_valid = (
            all(isinstance(text, str) for text in (self.key, self.path, self.note or ""))
            and 0 < len(self.path) <= MAX_PATH_CHARS
            and all(type(number) is int and 0 <= number < MAX_RECORDS for number in (self.first, self.windows))
            and type(self.crc32) is int
            and is_finite(self.duration_s)
            and 0 <= self.duration_s <= MAX_TIME_S
        )
        if not is_valid:
            raise ValueError("a value has another type, or is out of range")
        os.fsencode(self.path)  # fails if no file can have this path


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What all records of an index have in common."""

    model: str  # digest
    classes: tuple[str, ...]
    window_s: float
    overlap: float
    embedding_size: int

    def __post_init__(self) -> None:
        is_valid = (
            all(isinstance(text, str) for text in (self.model, *self.classes))
            and 0 < len(self.classes) == len(set(self.classes))
            and is_finite(self.window_s)
            and self.window_s > 0
            and is_finite(self.overlap)
            and 0 <= self.overlap < 1
            and is_whole(self.embedding_size)
            and 0 < self.embedding_size <= MAX_EMBEDDING
        )
        if not is_valid:
            raise ValueError("a value has another type, or is out of range")

    @property
    def record_type(self) -> np.dtype[np.void]:
        """The type of a record: 20 + 4·classes + 2·embedding_size bytes, little-endian.

        >>> Parameters(model="", classes=("a", "b"), window_s=4.0, overlap=0.0, embedding_size=3).record_type.itemsize
        34
        """
        fields = [
            ("start_s", "<f8"),
            ("stop_s", "<f8"),
            ("level_dbfs", "<f4"),
            ("scores", "<f4", (len(self.classes),)),
            ("embedding", "<f2", (self.embedding_size,)),
        ]
        return np.dtype(fields)

    def to_json(self) -> str:
        """Return the text of ``index.json``."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"


def read_parameters(folder: Path) -> Parameters:
    """Read what the records of the index in ``folder`` have in common.

    Raises:
        SettingsError: the folder is not an index, or one of a later version.

    >>> read_parameters(folder / "none")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "...none" is not an index: it has no file "index.json". Make one with ...
    """
    try:
        values = parse_json(read_regular(folder / PARAMETERS, MAX_PARAMETERS_BYTES).decode())
        is_later = values.pop("schema") > SCHEMA
        if not isinstance(values["classes"], list):
            raise ValueError("its classes are not a list")
        found = Parameters(**values | {"classes": tuple(values["classes"])})
    except FileNotFoundError as error:
        raise SettingsError(
            f'"{folder}" is not an index: it has no file "{PARAMETERS}". Make one with `soundmark index`.'
        ) from error
    except OSError as error:
        raise SettingsError(f'the index "{folder}" cannot be read: {reason_unreadable(error)}.') from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(
            f'the index "{folder}" is damaged, in "{PARAMETERS}": make it again with `soundmark index --fresh`.'
        ) from error
    if is_later:
        raise SettingsError(f'the index "{folder}" is one of a later version: update soundmark, or make a new index.')
    return found


def read_records(folder: Path, parameters: Parameters) -> NDArray[np.void]:
    """Return all records of the index in ``folder``, mapped from the file: only those that are used are read.

    Raises:
        SettingsError: the file cannot be mapped.

    >>> parameters = Parameters(model="", classes=("a",), window_s=4.0, overlap=0.0, embedding_size=2)
    >>> len(read_records(folder / "none", parameters))
    0
    """
    count = _complete_records(folder, parameters)
    if not count:
        return np.zeros(0, parameters.record_type)
    try:
        return np.memmap(folder / RECORDS, parameters.record_type, "r", offset=len(HEADER), shape=(count,))
    except (OSError, ValueError, OverflowError) as error:  # too large for the address space
        raise SettingsError(f'the index "{folder}" cannot be read: "{RECORDS}" cannot be mapped ({error}).') from error


def read_recordings(folder: Path, records: NDArray[np.void]) -> tuple[Recording, ...]:
    """Return the recordings of the index in ``folder`` with these ``records``; the last entry of each path counts.

    Recordings whose records are missing, damaged, or those of another one are left out, with a warning.

    >>> read_recordings(folder / "none", np.zeros(0))
    ()
    """
    latest: dict[str, Recording] = {}
    for recording, _ in _journal_lines(folder / JOURNAL):
        latest.pop(recording.path, None)
        latest[recording.path] = recording
    spans: list[tuple[int, int]] = []
    records = np.asarray(records)  # slices of a memory map are slow
    found = tuple(recording for recording in latest.values() if _is_intact(recording, records, spans))
    if damaged := len(latest) - len(found):
        log.warning(
            'the index "%s" is damaged: it lacks %s. `soundmark index` adds %s again.',
            folder,
            counted(damaged, "recording"),
            "it" if damaged == 1 else "them",
        )
    return found


def _is_intact(recording: Recording, records: NDArray[np.void], spans: list[tuple[int, int]]) -> bool:
    """Whether the recording's records are complete, unchanged, and none is in the sorted ``spans``; they are added."""
    first, stop = recording.first, recording.first + recording.windows
    if first == stop:
        return recording.crc32 == zlib.crc32(b"")
    at = bisect_left(spans, (first, stop))
    is_free = (at == 0 or spans[at - 1][1] <= first) and (at == len(spans) or stop <= spans[at][0])
    if stop > len(records) or not is_free:
        return False
    crc32 = 0
    for start in range(first, stop, BLOCK):
        data = records[start : min(start + BLOCK, stop)].tobytes()
        if not _has_numbers(np.frombuffer(data, records.dtype)):
            return False
        crc32 = zlib.crc32(data, crc32)
    if crc32 == recording.crc32:
        spans.insert(at, (first, stop))
    return crc32 == recording.crc32


def _has_numbers(records: NDArray[np.void]) -> bool:
    """Whether all values are finite, and times are in range: others would be displayed, and compare with nothing."""
    with np.errstate(all="ignore"):  # an infinity less an infinity
        times = np.maximum(np.abs(records["start_s"]), np.abs(records["stop_s"])).max()  # of a NaN: NaN
        sums = records["level_dbfs"].sum(dtype=np.float64) + records["scores"].sum(dtype=np.float64)
        embeddings = np.bitwise_and(records["embedding"].view("<u2"), HALF_EXPONENT).max()  # isfinite is slow
    return bool(times <= MAX_TIME_S and np.isfinite(sums) and embeddings < HALF_EXPONENT)


def _complete_records(folder: Path, parameters: Parameters) -> int:
    try:
        with open_regular(folder / RECORDS) as file:
            size = file.seek(0, os.SEEK_END)
    except OSError:
        return 0
    return max(0, size - len(HEADER)) // parameters.record_type.itemsize


def _journal_lines(path: Path) -> Iterator[tuple[Recording, int]]:
    """Yield each intact entry of the journal, and the byte after it."""
    try:
        file = open_regular(path)
    except OSError:
        return
    with file:
        stop = 0
        for line in iter(lambda: file.readline(MAX_LINE_BYTES), b""):
            stop += len(line)
            if not line.endswith(b"\n"):
                continue
            try:
                recording = Recording(**checksums.parse_verified(line) or {})
            except (ValueError, TypeError):
                continue
            yield recording, stop


class IndexWriter:
    """Append recordings to an index; see ``writer``."""

    def __init__(self, folder: Path, parameters: Parameters, records: BinaryIO, journal: BinaryIO) -> None:
        self._folder, self._type = folder, parameters.record_type
        self._records, self._journal = records, journal
        self._synced = time.monotonic()
        self._next = 0
        self.keys: set[str] = set()  # of the recordings that are indexed
        self._resume(parameters)

    def add(self, key: str, path: str, records: NDArray[np.void], duration_s: float, note: str | None = None) -> None:
        """Append the ``records`` of the recording at ``path``.

        Raises:
            OutputError: the index cannot be written.
        """
        data = records.astype(self._type, copy=False).tobytes()
        added = Recording(
            key=key,
            path=path,
            first=self._next,
            windows=len(records),
            duration_s=duration_s,
            crc32=zlib.crc32(data),
            note=note,
        )
        line = json.dumps(checksums.with_checksum(asdict(added))).encode() + b"\n"
        try:
            self._records.write(data)
            self._records.flush()
            if time.monotonic() - self._synced > SYNC_INTERVAL_S:
                os.fsync(self._records.fileno())
                self._synced = time.monotonic()
            self._journal.write(line)
            self._journal.flush()
        except OSError as error:
            raise atomic.cannot_write(self._folder, error) from error
        self._next += len(records)
        self.keys.add(key)

    def _resume(self, parameters: Parameters) -> None:
        """Cut off what a kill left: an incomplete line, and records without a line."""
        records = read_records(self._folder, parameters)
        lines = list(_journal_lines(self._folder / JOURNAL))
        self.keys = {recording.key for recording in read_recordings(self._folder, records)}
        self._next = max((min(len(records), line.first + line.windows) for line, _ in lines), default=0)
        del records  # a file that is mapped cannot be shortened on every system
        self._journal.truncate(lines[-1][1] if lines else 0)
        if not self._records.seek(0, os.SEEK_END):
            self._records.write(HEADER)
        self._records.truncate(len(HEADER) + self._next * self._type.itemsize)


@contextmanager
def writer(folder: Path, parameters: Parameters) -> Iterator[IndexWriter]:
    """Open the index in ``folder`` to append recordings; the folder must be an open output folder.

    Raises:
        OutputError: the index cannot be written.

    >>> parameters = Parameters(model="", classes=("a",), window_s=4.0, overlap=0.0, embedding_size=2)
    >>> with writer(folder, parameters) as index:
    ...     index.add("1234", "a.wav", np.zeros(3, parameters.record_type), duration_s=12.0)
    >>> records = read_records(folder, parameters)
    >>> len(records), read_recordings(folder, records)[0].windows
    (3, 3)
    """
    try:
        with (folder / RECORDS).open("a+b") as records, (folder / JOURNAL).open("a+b") as journal:
            yield IndexWriter(folder, parameters, records, journal)
    except OSError as error:
        raise atomic.cannot_write(folder, error) from error

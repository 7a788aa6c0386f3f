"""The journal of finished files, one line per file, from which an interrupted run resumes.

Each line has a checksum and a key. The key is a hash of the file's resolved path, size, modification time and content
(its head, its tail and samples between, 16 kB in all), the model and all settings that affect the result. If the file
or a setting changes, the key changes and the file is analysed again. An incomplete last line is ignored, so its file is
analysed again too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Self, overload

from soundmark.detection.file_result import FileResult
from soundmark.errors import OutputError
from soundmark.models.events import Event
from soundmark.runtime import atomic, checksums
from soundmark.runtime.checks import is_url, open_regular, real_path_of_one

log = logging.getLogger("soundmark")


MAX_NUMBER, MAX_YEAR = 1e10, 9000  # seconds, 300 years; times beyond the year 9999 cannot be computed with


SYNC_INTERVAL_S = 2.0  # between calls of fsync: the most work that a power failure may lose


def journal_key(path: str, settings: Mapping[str, Any]) -> str | None:
    """Return the key of the result for the file at ``path`` with these ``settings``.

    None if the file is missing, or is not a regular file, such as a pipe. A URL is identified by its ETag or
    time. It takes about 40 µs per file.

    >>> journal_key(str(folder / "none.wav"), {}) is None
    True
    """
    if is_url(path):
        from soundmark.audio import remote

        identity = remote.identity(path)
        return _hash([path, *identity, dict(settings)]) if identity else None
    try:
        status = os.stat(path)  # noqa: PTH116 - a path of any bytes
        if not stat.S_ISREG(status.st_mode):
            return None
        resolved, content = real_path_of_one(path), checksums.sampled_digest(path, status.st_size)
    except (OSError, ValueError):
        return None
    return _hash([path, resolved, status.st_size, status.st_mtime_ns, content, dict(settings)])


def earlier_key(path: str, settings: Mapping[str, Any]) -> str | None:
    """Return the key that versions up to 0.1 used: of the path as given, the size and the modification time.

    >>> earlier_key(str(folder / "none.wav"), {}) is None
    True
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - a path of any bytes
    except (OSError, ValueError):
        return None
    return _hash([path, status.st_size, status.st_mtime_ns, dict(settings)])


def _hash(identity: list[Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def is_journal(path: Path) -> bool:
    """Whether the file at ``path`` is a journal: at least one of its lines is intact.

    >>> result = FileResult(file="a.wav", duration_s=4.0, answer=[{"label": "dog", "score": 0.9}], events=[])
    >>> with Journal(folder / "journal.jsonl") as journal:
    ...     journal.add("1234", result)
    >>> is_journal(folder / "journal.jsonl"), is_journal(folder / "none.jsonl")
    (True, False)
    """
    return next(iter(read_journal(path)), None) is not None


def read_journal(path: Path) -> Iterator[FileResult]:
    """Yield the results of the intact lines of the journal at ``path``; none if it is missing.

    >>> list(read_journal(folder / "none.jsonl"))
    []
    """
    with suppress(OSError), open_regular(path) as file:
        for line in file:
            if (entry := _entry(line)) is not None:
                yield entry[1]


def read_keys(path: Path) -> dict[str, int]:
    """Return the offset in bytes of each intact line of the journal at ``path`` by its key; none if it is missing.

    >>> read_keys(folder / "none.jsonl")
    {}
    """
    offsets, offset = {}, 0
    with suppress(OSError), open_regular(path) as file:
        for line in file:
            entry = _entry(line) if line.endswith(b"\n") else None
            if entry is not None:
                offsets[entry[0]] = offset
            offset += len(line)
    return offsets


class Journal:
    """The journal in the file at ``path``, which is created if missing; use it in a ``with`` block.

    Raises:
        OutputError: the journal cannot be written.

    >>> result = FileResult(file="a.wav", duration_s=4.0, answer=[{"label": "dog", "score": 0.9}], events=[])
    >>> with Journal(folder / "journal.jsonl") as journal:
    ...     journal.add("1234", result)
    >>> with Journal(folder / "journal.jsonl") as journal:
    ...     journal.find("1234") == result, journal.find("5678")
    (True, None)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[str, int] = {}
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        try:
            self._file: BinaryIO = self.path.open("a+b")
            self._read()
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error
        return self

    def __exit__(self, error_type: object, *_: object) -> None:
        try:
            self._file.close()  # writes what an earlier, failed call left in the buffer
        except OSError as error:
            if error_type is None:  # else the error that ended the block is the first one
                raise atomic.cannot_write(self.path, error) from error

    def __contains__(self, key: str | None) -> bool:
        return key in self._offsets

    def find(self, key: str | None) -> FileResult | None:
        """Return the result stored under ``key``; None if there is none."""
        if key is None or key not in self._offsets:
            return None
        self._file.seek(self._offsets[key])
        return _result_of(checksums.parse_verified(self._file.readline()))

    def results(self, keys: Sequence[str]) -> JournalResults:
        """Return the results stored under ``keys``; they stay readable after the journal is closed."""
        return JournalResults(self.path, [self._offsets[key] for key in keys])

    def add(self, key: str, result: FileResult) -> None:
        """Store a result, so that an interrupted run need not compute it again."""
        line = json.dumps(checksums.with_checksum({"key": key, **_to_values(result)})).encode() + b"\n"
        try:
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_INTERVAL_S:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error
        self._offsets[key] = offset

    def _read(self) -> None:
        self._file.seek(0)
        damaged = offset = complete = 0
        for line in self._file:
            entry = _entry(line) if line.endswith(b"\n") else None
            if entry is not None:
                self._offsets[entry[0]] = offset
            damaged += entry is None and line.endswith(b"\n")
            offset += len(line)
            complete = offset if line.endswith(b"\n") else complete
        self._file.truncate(complete)  # remove an incomplete last line, which would corrupt the next one
        if damaged:
            lines = "1 damaged line: its file is" if damaged == 1 else f"{damaged} damaged lines: their files are"
            log.warning('"%s" contains %s analysed again.', self.path, lines)


def _entry(line: bytes) -> tuple[str, FileResult] | None:
    """Return the key and result of a line; None if it is damaged, or a value is not valid in spite of its checksum."""
    try:
        values = checksums.parse_verified(line)
        key, result = values["key"], _result_of(values)
        return (key, result) if isinstance(key, str) and _is_valid(result) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_valid(found: FileResult) -> bool:
    """Whether all values have their types, and numbers are finite and can be displayed."""
    entries, events = found.answer, found.events
    texts = [found.file, found.note or "", *(entry["label"] for entry in entries), *(event.label for event in events)]
    numbers = [found.duration_s, *(entry["score"] for entry in entries)]
    for event in events:
        levels = event.level_dbfs or 0.0, event.level_dba or 0.0
        numbers += (event.start_s, event.stop_s, event.confidence, event.peak, *levels)
    return (
        bool(entries)
        and all(isinstance(text, str) for text in texts)
        and all(-MAX_NUMBER <= number <= MAX_NUMBER for number in numbers)  # a NaN is not
        and (found.started is None or found.started.year <= MAX_YEAR)
    )


def _to_values(result: FileResult) -> dict[str, Any]:
    values = asdict(result)
    started = values.pop("started")
    return values | {"began": started.isoformat() if started else None}


def _result_of(values: Mapping[str, Any]) -> FileResult:
    fields = {key: value for key, value in values.items() if key not in ("key", "began")}
    started = datetime.fromisoformat(values["began"]) if values["began"] else None
    return FileResult(**fields | {"started": started, "events": [Event(**event) for event in fields["events"]]})


class JournalResults(Sequence[FileResult]):
    """Results in the journal at ``path``, at these byte ``offsets``; each is read from the file on access.

    Raises:
        OutputError: the journal was changed or deleted.

    >>> result = FileResult(file="a.wav", duration_s=4.0, answer=[{"label": "dog", "score": 0.9}], events=[])
    >>> with Journal(folder / "journal.jsonl") as journal:
    ...     journal.add("1234", result)
    ...     results = journal.results(["1234"])
    >>> results[0] == result, len(results)
    (True, 1)
    """

    def __init__(self, path: Path, offsets: Sequence[int]) -> None:
        self.path, self._offsets = path, offsets

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> FileResult: ...

    @overload
    def __getitem__(self, index: slice) -> JournalResults: ...

    def __getitem__(self, index: int | slice) -> FileResult | JournalResults:
        if isinstance(index, slice):
            return JournalResults(self.path, self._offsets[index])
        try:
            with self.path.open("rb") as file:
                file.seek(self._offsets[index])
                return _result_of(checksums.parse_verified(file.readline()))
        except OSError as error:
            raise OutputError(f'the results in "{self.path}" cannot be read: {error.strerror}.') from error
        except ValueError as error:
            raise OutputError(
                f'"{self.path}" has changed since its results were computed: analyse the files again.'
            ) from error

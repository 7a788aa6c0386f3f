"""What was heard, a line per file, as it is heard: a run that was killed goes on where it was.

A line is sealed and found again by its key: the file's path, size and time, and all that decides what is heard in it,
the model included. A file that changed, or other settings, have another key, and are heard anew; a line that a kill cut
short is nothing but a file that was not heard yet.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

from soundmark.detection.file_result import FileResult
from soundmark.models.events import Event
from soundmark.runtime import atomic, checksums

log = logging.getLogger("soundmark")


TO_DISK_EVERY_S = 2.0  # what a power cut may take along


def journal_key(path: str, settings: Mapping[str, Any]) -> str | None:
    """What is heard in the file at ``path`` by these ``settings`` is found by; None where there is no such file.

    >>> journal_key(str(folder / "none.wav"), {}) is None
    True
    """
    try:
        there = os.stat(path)  # noqa: PTH116 - a path of any bytes
    except (OSError, ValueError):
        return None
    about = [path, there.st_size, there.st_mtime_ns, dict(settings)]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


class Journal:
    """The journal in a file, which is made where there is none; use it as a context.

    Raises:
        OutputError: it cannot be written.

    >>> heard = FileResult(file="a.wav", duration_s=4.0, answer=[{"label": "dog", "score": 0.9}], events=[])
    >>> with Journal(folder / "journal.jsonl") as journal:
    ...     journal.add("1234", heard)
    >>> with Journal(folder / "journal.jsonl") as journal:
    ...     journal.find("1234") == heard, journal.find("5678")
    (True, None)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        try:
            self._file: BinaryIO = self.path.open("a+b")
            self._read()
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, key: str | None) -> bool:
        return key in self._places

    def find(self, key: str | None) -> FileResult | None:
        """What was heard under ``key``; None where nothing was yet."""
        if key is None or key not in self._places:
            return None
        self._file.seek(self._places[key])
        return _result_of(_verified_line(self._file.readline()) or {})

    def add(self, key: str, heard: FileResult) -> None:
        """Note what was heard; a kill after this takes it no more."""
        line = json.dumps(checksums.with_checksum({"key": key, **_to_values(heard)})).encode() + b"\n"
        try:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
            if time.monotonic() - self._synced > TO_DISK_EVERY_S:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error
        self._places[key] = place

    def _read(self) -> None:
        self._file.seek(0)
        damaged = place = whole = 0
        for line in self._file:
            values = _verified_line(line) if line.endswith(b"\n") else None
            if values is not None:
                self._places[values["key"]] = place
            damaged += values is None and line.endswith(b"\n")
            place += len(line)
            whole = place if line.endswith(b"\n") else whole
        self._file.truncate(whole)  # a line that was cut short would spoil the next one
        if damaged:
            log.warning('"%s" has %d damaged lines: their files are heard again.', self.path, damaged)


def _verified_line(line: bytes) -> dict[str, Any] | None:
    try:
        return checksums.verified(json.loads(line))
    except ValueError:
        return None


def _to_values(heard: FileResult) -> dict[str, Any]:
    return asdict(heard) | {"began": heard.began.isoformat() if heard.began else None}


def _result_of(values: Mapping[str, Any]) -> FileResult:
    fields = {key: value for key, value in values.items() if key != "key"}
    began = datetime.fromisoformat(fields["began"]) if fields["began"] else None
    return FileResult(**fields | {"began": began, "events": [Event(**event) for event in fields["events"]]})

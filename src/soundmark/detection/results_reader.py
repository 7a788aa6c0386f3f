"""Read results of ``classify`` back: the times of events, and the periods that were recorded."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from soundmark.audio import timestamps
from soundmark.errors import SettingsError
from soundmark.runtime.text import listed

FILES = "files.csv"

MAX_DURATION_S = 1e9  # 31 years: no recording is longer


@dataclass(frozen=True)
class Span:
    """A period in which ``label`` was detected, or a recording if ``label`` is None."""

    label: str | None
    start: datetime
    stop: datetime


def read_spans(path: Path, zone: str) -> Iterator[Span | None]:
    r"""Yield the recordings and events of a results folder, or the events of a results file.

    An event whose recording has no known start time yields None. ``zone`` is the timezone of times in file names.

    Raises:
        SettingsError: the results cannot be read, or are damaged.

    >>> from soundmark.runtime import atomic
    >>> rows = "Start (s),End (s),Label,Confidence,File\n0.0,60.0,siren,0.9,20240612_230000.wav\n"
    >>> atomic.write_text(folder / "results.csv", rows)
    >>> [span.label for span in read_spans(folder / "results.csv", "UTC")]
    ['siren']
    """
    with _reading(path):
        is_folder = path.is_dir()
    if not is_folder:
        yield from _spans(path, {}, zone)
        return
    results = sorted(
        file
        for file in path.glob("results.*")
        if file.suffix in READERS and not file.name.endswith((".selections.txt", ".aoef.json"))
    )
    if not results:
        raise SettingsError(
            f'"{path}" contains no results.csv, .jsonl, .json or .parquet: expected a folder that classify -o wrote.'
        )
    starts: dict[str, datetime] = {}
    if (path / FILES).is_file():
        for file, span in _recordings(path / FILES):
            starts[file] = span.start
            yield span
    newest = max(results, key=lambda file: file.stat().st_mtime_ns)  # only the last format written is up to date
    yield from _spans(newest, starts, zone)


def read_files(folder: Path) -> list[str] | None:
    r"""Return the paths of the recordings of a results folder, as they were given; None before a run has ended.

    Raises:
        SettingsError: its files.csv cannot be read, or is damaged.

    >>> from soundmark.runtime import atomic
    >>> atomic.write_text(folder / "files.csv", "File,Duration (s)\na.wav,4.0\n")
    >>> read_files(folder), read_files(folder / "none")
    (['a.wav'], None)
    """
    path = folder / FILES
    with _reading(path):
        if not path.exists():
            return None
        files = [row["File"] for row in _csv(path)]
        if not all(files):
            raise ValueError("a row names no file")
        return files


def _span(label: str | None, started: Any, start_s: Any, stop_s: Any) -> Span:
    """Return a part of a recording that started at ``started``.

    Raises:
        ValueError, TypeError, AttributeError: the times are invalid.
    """
    time = datetime.fromisoformat(started) if isinstance(started, str) else started
    start_s, stop_s = float(start_s), float(stop_s)
    if not 0 <= start_s <= stop_s <= MAX_DURATION_S or time.year not in timestamps.YEARS:
        raise ValueError
    time = time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    return Span(label, time + timedelta(seconds=start_s), time + timedelta(seconds=stop_s))


def _recordings(path: Path) -> Iterator[tuple[str, Span]]:
    """Yield the recordings with a known start time from the files.csv of a results folder."""
    with _reading(path):
        for row in _csv(path):
            if row["Start (UTC)"]:
                yield row["File"], _span(None, row["Start (UTC)"], 0.0, row["Duration (s)"])


def _spans(path: Path, starts: Mapping[str, datetime], zone: str) -> Iterator[Span | None]:
    """Yield the events of a results file."""
    start_of = lru_cache(maxsize=10_000)(lambda file: starts.get(file) or timestamps.recording_start(file, zone=zone))
    for number, row in enumerate(_rows(path), 1):
        label, start_utc, start_s, stop_s = str(row["label"]), row.get("start_utc"), row["start_s"], row["stop_s"]
        try:
            if start_utc:
                yield _span(label, start_utc, 0.0, float(stop_s) - float(start_s))
            elif start := start_of(row["file"]):
                yield _span(label, start, start_s, stop_s)
            else:
                yield None
        except (ValueError, TypeError, AttributeError) as error:
            at = f" at {start_utc}" if start_utc else ""
            raise SettingsError(
                f'event {number} of "{path}" is not valid: "{label}" in "{row["file"]}" from {start_s} s to '
                f"{stop_s} s{at}. Correct it, or run classify again."
            ) from error


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SettingsError(
            f'"{path}" is not a results file of classify: expected a results folder, or a .csv, .jsonl, .json or '
            ".parquet file."
        )
    with _reading(path):
        for row in reader(path):
            missing = [key for key in ("file", "start_s", "stop_s", "label") if key not in row]
            if missing:
                columns = "column" if len(missing) == 1 else "columns"
                raise SettingsError(
                    f'"{path}" is not a results file of classify: it lacks the {columns} {listed(missing)}.'
                )
            yield row


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Convert errors of reading ``path`` into a ``SettingsError`` that names it."""
    try:
        yield
    except SettingsError:
        raise
    except OSError as error:
        reason = error.strerror or "the file is damaged"
        raise SettingsError(f'the results "{path}" cannot be read: {reason}.') from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, csv.Error) as error:
        raise SettingsError(
            f'the results "{path}" cannot be read: the file is damaged, or is not a results file of classify.'
        ) from error


def _csv(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # Excel writes a BOM
        yield from csv.DictReader(file)


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    names = {"File": "file", "Start (s)": "start_s", "End (s)": "stop_s", "Label": "label"}
    for row in _csv(path):
        yield {names[key]: value for key, value in row.items() if key in names}


def _jsonl_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        yield from (json.loads(line) for line in file if line.strip())


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for one in json.loads(path.read_text(encoding="utf-8-sig")):
        yield from ({"file": one["file"], **event} for event in one.get("events", ()))


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


READERS = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".json": _json_rows, ".parquet": _parquet_rows}

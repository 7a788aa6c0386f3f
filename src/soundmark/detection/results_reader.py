"""Results of ``classify``, read back: the times of events, and how long was recorded."""

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

LONGEST_S = 1e9  # 31 years: no recording is longer


@dataclass(frozen=True)
class Span:
    """A period in which ``label`` was detected, or, if it is None, in which was recorded."""

    label: str | None
    start: datetime
    stop: datetime


def read_spans(path: Path, zone: str) -> Iterator[Span | None]:
    r"""The spans of a folder or a file of results; None for an event of a recording without a start time.

    >>> from soundmark.runtime import atomic
    >>> rows = "Start (s),End (s),Label,Confidence,File\n0.0,60.0,siren,0.9,20240612_230000.wav\n"
    >>> atomic.write_text(folder / "results.csv", rows)
    >>> [span.label for span in read_spans(folder / "results.csv", "UTC")]
    ['siren']
    """
    if not path.is_dir():
        yield from _spans(path, {}, zone)
        return
    results = sorted(
        file for file in path.glob("results.*") if file.suffix in READERS and not file.name.endswith(".selections.txt")
    )
    if not results:
        raise SettingsError(f'"{path}" holds no results.csv, .jsonl, .json or .parquet: give what classify -o wrote.')
    starts: dict[str, datetime] = {}
    if (path / "files.csv").is_file():
        for file, span in _recordings(path / "files.csv"):
            starts[file] = span.start
            yield span
    newest = max(results, key=lambda file: file.stat().st_mtime_ns)  # the last of several formats is complete
    yield from _spans(newest, starts, zone)


def _span(label: str | None, started: Any, start_s: Any, stop_s: Any) -> Span:
    """A part of a recording that started at ``started``; ValueError or TypeError if that is impossible."""
    moment = datetime.fromisoformat(started) if isinstance(started, str) else started
    start_s, stop_s = float(start_s), float(stop_s)
    if not 0 <= start_s <= stop_s <= LONGEST_S or moment.year not in timestamps.YEARS:
        raise ValueError
    moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    return Span(label, moment + timedelta(seconds=start_s), moment + timedelta(seconds=stop_s))


def _recordings(path: Path) -> Iterator[tuple[str, Span]]:
    """The recordings with a start time, from the table that ``classify`` writes beside its results."""
    with _reading(path):
        for row in _csv(path):
            if row["Start (UTC)"]:
                yield row["File"], _span(None, row["Start (UTC)"], 0.0, row["Duration (s)"])


def _spans(path: Path, starts: Mapping[str, datetime], zone: str) -> Iterator[Span | None]:
    """The events in a file of results."""
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
                f'event {number} of "{path}" cannot be meant: "{label}" in "{row["file"]}" from {start_s} s to '
                f"{stop_s} s{at}. Correct it, or let classify write the results again."
            ) from error


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SettingsError(
            f'"{path}" is no results of classify: give a folder of them, or .csv, .jsonl, .json, .parquet.'
        )
    with _reading(path):
        for row in reader(path):
            missing = [key for key in ("file", "start_s", "stop_s", "label") if key not in row]
            if missing:
                raise SettingsError(f'"{path}" has no {" and no ".join(missing)}: it is no results of classify.')
            yield row


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors of reading a file into a ``SettingsError`` that names it."""
    try:
        yield
    except SettingsError:
        raise
    except OSError as error:
        why = error.strerror or "they are damaged"
        raise SettingsError(f'the results "{path}" cannot be read: {why}.') from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, csv.Error) as error:
        raise SettingsError(
            f'the results "{path}" cannot be read: they are damaged, or no results of classify.'
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

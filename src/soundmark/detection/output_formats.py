"""Write results as CSV, JSON, Parquet, Audacity labels, Raven selection tables or AOEF (Whombat).

To add a format, add a function and a line to ``FORMATS``. Each function takes the results of any number of recordings,
in order, and yields bytes, so that the results of 50 000 files are never in memory at once. Labels and file names may
contain any character; docs/results.md describes how each format writes the characters that it cannot represent.

>>> event = Event(label="siren", start_s=4.0, stop_s=8.0, confidence=0.91, peak=0.98)
>>> result = FileResult(file="street.wav", duration_s=60.0, answer=[], events=[event])
>>> print(b"".join(FORMATS["csv"].write([result])).decode(), end="")
Start (s),End (s),Label,Confidence,File
4.0,8.0,siren,0.91,street.wav
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from tempfile import SpooledTemporaryFile
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from soundmark import audio
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Failure
from soundmark.errors import AudioError
from soundmark.models.events import Event

Results = Iterable[FileResult | Failure]


CSV_COLUMNS = ("Start (s)", "End (s)", "Label", "Confidence", "File")


LEVEL_COLUMNS = {"level_dbfs": "Level (dBFS)", "level_dba": "Level (dB(A))"}  # of CSV, if the first event has them


RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Species",
    "Confidence",
    "Begin Path",
    "File Offset (s)",
)


PARQUET_ROWS = 10_000  # per row group, which is buffered in memory


RAVEN_TOP_HZ = 24_000  # upper edge of every selection box, which starts at 0 Hz: events have no frequency band


AOEF_VERSION = "1.1.0"


AOEF_KEY = "label"  # of the tags; soundevent has no term for a class of sounds of any kind


AOEF_DESCRIPTION = "Events that soundmark detected"


AOEF_LISTS = ("recordings", "clips", "sound_events", "sound_event_annotations", "clip_annotations", "tasks")


SPOOLED_BYTES = 1 << 20  # of a list that are kept in memory; more are in a temporary file


@dataclass(frozen=True)
class Format:
    """An output format: the suffix of its files, the function that yields their bytes, and the package it requires.

    The results of all files of a folder are also written in the format ``companion``.
    """

    suffix: str
    write: Callable[[Results], Iterator[bytes]]
    needs: str | None = None
    companion: Format | None = None

    def check(self) -> None:
        """Import the required package, so that a missing one is reported before hours of work.

        Raises:
            ImportError: the package is not installed.
        """
        if self.needs:
            import_module(self.needs)


def event_json(event: Event, file: str, started: datetime | None = None) -> str:
    """Return an event as one line of JSON, as ``classify`` and ``listen`` print it.

    >>> event_json(Event(label="dog", start_s=0.0, stop_s=4.0, confidence=0.75, peak=0.75), "a.wav")
    '{"file": "a.wav", "start_s": 0.0, "stop_s": 4.0, "label": "dog", "confidence": 0.75, "peak": 0.75}'
    """
    return _json({"file": file, **_plain(event), **_utc(event, started)})


def csv_row(cells: Iterable[object]) -> bytes:
    r"""Return a line of CSV, quoted so that every reader parses the same cells; file names keep their bytes.

    >>> csv_row(["a,b", "line\rbreak", 1.5])
    b'"a,b","line\rbreak",1.5\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # this terminator makes it quote cells with \r too
    return _bytes(text.getvalue().removesuffix("\r\n") + "\n")


def _csv(results: Results) -> Iterator[bytes]:
    levels: list[str] | None = None
    for result, event in _events(results):
        found = _levels(event)
        if levels is None:
            levels = list(found)
            yield csv_row((*CSV_COLUMNS, *(LEVEL_COLUMNS[key] for key in levels)))
        cells = (_time(event.start_s), _time(event.stop_s), event.label, _rounded(event.confidence), result.file)
        yield csv_row((*cells, *(found.get(key, "") for key in levels)))
    if levels is None:
        yield csv_row(CSV_COLUMNS)


def _jsonl(results: Results) -> Iterator[bytes]:
    for result, event in _events(results):
        yield event_json(event, result.file, result.started).encode() + b"\n"


def _json_list(results: Results) -> Iterator[bytes]:
    """A list with an object per file: its classes and events, or the error."""
    before = "[\n"
    for one in results:
        yield (before + _json(_object(one))).encode()
        before = ",\n"
    yield b"\n]\n" if before == ",\n" else b"[]\n"


def _object(one: FileResult | Failure) -> dict[str, Any]:
    if isinstance(one, Failure):
        return {"file": one.file, "error": one.reason}
    began = {"began": _iso(one.started)} if one.started else {}
    note = {"note": one.note} if one.note else {}
    events = [{**_plain(event), **_utc(event, one.started)} for event in one.events]
    return {
        "file": one.file,
        "duration_s": _time(one.duration_s),
        "classes": list(one.answer),
        "events": events,
        **began,
        **note,
    }


def _audacity(results: Results) -> Iterator[bytes]:
    """A label track: start, end and label separated by tabs, in seconds from the start of the recording.

    The times of each recording count from its own start, because Audacity has one timeline per recording: import the
    label file of a single recording.

    Source: Audacity's manual, "Importing and Exporting Labels".
    """
    for _, event in _events(results):
        yield f"{event.start_s:.6f}\t{event.stop_s:.6f}\t{_flat(event.label)}\n".encode(errors="replace")


def _raven(results: Results) -> Iterator[bytes]:
    """A tab-separated selection table; begin times are cumulative over the files, which Raven opens as one sequence.

    Source: Raven Pro 1.6 User's Manual, "Selection tables": Begin Time counts from the start of the first file, File
    Offset from the start of the event's own file.
    """
    yield ("\t".join(RAVEN_COLUMNS) + "\n").encode()
    before_s, number = 0.0, 0
    for one in results:
        if isinstance(one, Failure):
            continue
        for event in one.events:
            number += 1
            times = (f"{before_s + event.start_s:.6f}", f"{before_s + event.stop_s:.6f}")
            row = ("Spectrogram 1", "1", *times, "0.0", f"{RAVEN_TOP_HZ:.1f}", _unquoted(event.label))
            source = (_unquoted(one.file), f"{event.start_s:.6f}")
            yield _bytes("\t".join((str(number), *row, f"{event.confidence:.6g}", *source)) + "\n")
        before_s += one.duration_s


def _parquet(results: Results) -> Iterator[bytes]:
    """A table with a row per event; ``start_utc`` is null if the start time of the recording is unknown."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        [
            ("file", pa.string()),
            ("start_s", pa.float64()),
            ("stop_s", pa.float64()),
            ("label", pa.string()),
            ("confidence", pa.float64()),
            ("peak", pa.float64()),
            ("level_dbfs", pa.float64()),
            ("level_dba", pa.float64()),
            ("start_utc", pa.timestamp("us", tz="UTC")),
        ]
    )
    buffer = _WriteBuffer()
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(buffer, schema) as writer:
        for result, event in _events(results):
            start = result.started + timedelta(seconds=event.start_s) if result.started else None
            names = {"file": _escaped(result.file), "label": _escaped(event.label)}
            rows.append({**_plain(event), **names, "start_utc": start})
            if len(rows) >= PARQUET_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
                yield buffer.take()
        writer.write_table(pa.Table.from_pylist(rows, schema))
    yield buffer.take()


def _aoef(results: Results) -> Iterator[bytes]:
    """An annotation project: a clip and a task per recording, and an annotation with one tag per event.

    The identifiers are made from the names of the recordings, so that they are the same in the data set of the
    recordings, the companion of this format.
    The lists of the project are collected in temporary files, as each refers to the one before it.

    Source: soundevent 2.10, ``soundevent.io.aoef``; Whombat 0.8, ``whombat/api/io/aoef``.
    """
    tags: dict[str, int] = {}
    with ExitStack() as stack:
        parts = {name: _JsonList(stack.enter_context(SpooledTemporaryFile(SPOOLED_BYTES))) for name in AOEF_LISTS}
        digest = hashlib.sha256()
        for one in results:
            if isinstance(one, FileResult):
                _add_recording(parts, one, tags)
                digest.update(_json([one.file, [_plain(event) for event in one.events]]).encode())
        yield _aoef_start("annotation_project", f"soundmark {digest.hexdigest()[:8]}", digest.hexdigest())
        yield (', "tags": ' + _json([{"id": i, "key": AOEF_KEY, "value": label} for label, i in tags.items()])).encode()
        yield (', "project_tags": ' + _json(list(tags.values()))).encode()
        for name, part in parts.items():
            yield f', "{name}": ['.encode()
            yield from part.content()
            yield b"]"
        yield b"}}\n"


def _aoef_dataset(results: Results) -> Iterator[bytes]:
    """The recordings alone, as a data set: Whombat imports annotations of recordings that it has."""
    yield _aoef_start("dataset", "soundmark recordings", "dataset") + b', "recordings": ['
    before = b""
    for one in results:
        if isinstance(one, FileResult):
            yield before + _json(_aoef_recording(one)).encode()
            before = b", "
    yield b"]}}\n"


def _aoef_start(kind: str, name: str, identity: str) -> bytes:
    head = {"uuid": _uuid(kind, identity), "collection_type": kind, "name": name, "description": AOEF_DESCRIPTION}
    return (f'{{"version": "{AOEF_VERSION}", "data": ' + _json(head)[:-1]).encode()


def _add_recording(parts: dict[str, _JsonList], one: FileResult, tags: dict[str, int]) -> None:
    """Add a recording, its clip and its events to the lists of an annotation project."""
    recording, clip = _uuid("recording", one.file), _uuid("clip", one.file)
    annotations = []
    for number, event in enumerate(one.events):
        uuid, annotation = (_uuid(kind, one.file, str(number)) for kind in ("event", "annotation"))
        times = [_time(event.start_s), _time(event.stop_s)]
        numbers = {"confidence": _rounded(event.confidence), "peak": _rounded(event.peak), **_levels(event)}
        geometry = {"type": "TimeInterval", "coordinates": times}
        parts["sound_events"].add({"uuid": uuid, "recording": recording, "geometry": geometry, "features": numbers})
        tag = tags.setdefault(event.label, len(tags))
        parts["sound_event_annotations"].add({"uuid": annotation, "sound_event": uuid, "tags": [tag]})
        annotations.append(annotation)
    parts["recordings"].add(_aoef_recording(one))
    span = {"start_time": 0.0, "end_time": _time(one.duration_s)}
    parts["clips"].add({"uuid": clip, "recording": recording, **span})
    parts["clip_annotations"].add(
        {"uuid": _uuid("clip annotation", one.file), "clip": clip, "sound_events": annotations}
    )
    parts["tasks"].add({"uuid": _uuid("task", one.file), "clip": clip})


def _aoef_recording(one: FileResult) -> dict[str, Any]:
    """A recording; the sample rate and channels of a file that cannot be opened now are 0 and 1."""
    try:
        found = audio.info(one.file)
    except AudioError:
        rate_hz, channels = 0, 1
    else:
        rate_hz, channels = found.rate_hz, found.channels
    started = one.started.astimezone(UTC) if one.started else None
    when = {"date": started.date().isoformat(), "time": started.time().isoformat()} if started else {}
    numbers = {"duration": _time(one.duration_s), "channels": channels, "samplerate": rate_hz}
    return {"uuid": _uuid("recording", one.file), "path": one.file, **numbers, **when}


def _uuid(*parts: str) -> str:
    """Return an identifier that is always the same for the same names, which may contain any character."""
    digest = hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()
    return str(uuid5(NAMESPACE_URL, f"soundmark:{digest}"))


class _JsonList:
    """The items of a JSON list, in a temporary file."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def add(self, item: object) -> None:
        self._file.write((b", " if self._file.tell() else b"") + _json(item).encode())

    def content(self) -> Iterator[bytes]:
        self._file.seek(0)
        while block := self._file.read(SPOOLED_BYTES):
            yield block


class _WriteBuffer(io.RawIOBase):
    """A write-only file whose content is taken out in chunks; it remembers only its position."""

    def __init__(self) -> None:
        super().__init__()
        self._chunks: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        self._chunks.append(bytes(data))
        self._position += len(self._chunks[-1])
        return len(self._chunks[-1])

    def take(self) -> bytes:
        """Return and drop the bytes written since the last call."""
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)


FORMATS = {
    "csv": Format(".csv", _csv),
    "jsonl": Format(".jsonl", _jsonl),
    "json": Format(".json", _json_list),
    "parquet": Format(".parquet", _parquet, needs="pyarrow.parquet"),
    "audacity": Format(".txt", _audacity),
    "raven": Format(".selections.txt", _raven),
    "aoef": Format(".aoef.json", _aoef, companion=Format(".dataset.aoef.json", _aoef_dataset)),
}
"""The output formats by name."""


def _events(results: Results) -> Iterator[tuple[FileResult, Event]]:
    for one in results:
        if isinstance(one, FileResult):
            yield from ((one, event) for event in one.events)


def _plain(event: Event) -> dict[str, Any]:
    return {
        "start_s": _time(event.start_s),
        "stop_s": _time(event.stop_s),
        "label": event.label,
        "confidence": _rounded(event.confidence),
        "peak": _rounded(event.peak),
        **_levels(event),
    }


def _levels(event: Event) -> dict[str, float]:
    """Return the levels that are known, in dB."""
    levels = {"level_dbfs": event.level_dbfs, "level_dba": event.level_dba}
    return {key: round(value, 2) for key, value in levels.items() if value is not None}


def _utc(event: Event, started: datetime | None) -> dict[str, str]:
    return {"start_utc": _iso(started + timedelta(seconds=event.start_s))} if started else {}


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(seconds: float) -> float:
    return round(float(seconds), 6)


def _rounded(share: float) -> float:
    return float(f"{share:.6g}")


def _bytes(text: str) -> bytes:
    """Encode as UTF-8; escaped bytes of non-UTF-8 names are restored, other lone surrogates become U+FFFD."""
    return re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", text).encode(errors="surrogateescape")


def _json(values: object) -> str:
    return _escaped(json.dumps(values, ensure_ascii=False))


def _escaped(text: str) -> str:
    r"""Write lone surrogates, as in names that are not UTF-8, as JSON escapes such as \udce9."""
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _flat(text: str) -> str:
    """Replace tabs and line breaks by a blank, for tables without quoting."""
    return re.sub(r"[\t\r\n\x0b\x0c\x85\u2028\u2029]+", " ", text)


def _unquoted(text: str) -> str:
    """``_flat``, with double quotes replaced too: pandas and others take them for the start of a quoted cell."""
    return _flat(text).replace('"', "'")

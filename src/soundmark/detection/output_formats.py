"""Results in the formats of other programs: CSV, JSON, Parquet, Audacity labels, Raven selection tables.

To add a format, add a function and a line to ``FORMATS``. Each takes the results of any number of recordings, in order,
and yields bytes, so that the results of 50 000 files are never in memory at once. Labels and file names may hold any
character: docs/results.md says how each format writes those it has no form for.

>>> event = Event(label="siren", start_s=4.0, stop_s=8.0, confidence=0.91, peak=0.98)
>>> result = FileResult(file="street.wav", duration_s=60.0, answer=[], events=[event])
>>> print(b"".join(FORMATS["csv"].write([result])).decode(), end="")
Start (s),End (s),Label,Confidence,File
4.0,8.0,siren,0.91,street.wav
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Failure
from soundmark.models.events import Event

Found = Iterable[FileResult | Failure]


CSV_COLUMNS = ("Start (s)", "End (s)", "Label", "Confidence", "File")


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


PARQUET_ROWS = 10_000  # in a group: what is held at once


RAVEN_TOP_HZ = 24_000  # the box of a selection reaches from 0 to here: an event has no band of its own


@dataclass(frozen=True)
class Format:
    """The suffix of a format's files, the function that yields their bytes, and the package that it needs, if any."""

    suffix: str
    write: Callable[[Found], Iterator[bytes]]
    needs: str | None = None

    def check(self) -> None:
        """Import the package that it needs, so that a missing one is reported before hours of work.

        Raises:
            ImportError: that package is not installed.
        """
        if self.needs:
            import_module(self.needs)


def event_json(event: Event, file: str, started: datetime | None = None) -> str:
    """An event as JSON on one line, as ``classify`` and ``listen`` print it.

    >>> event_json(Event(label="dog", start_s=0.0, stop_s=4.0, confidence=0.75, peak=0.75), "a.wav")
    '{"file": "a.wav", "start_s": 0.0, "stop_s": 4.0, "label": "dog", "confidence": 0.75, "peak": 0.75}'
    """
    return _json({"file": file, **_plain(event), **_utc(event, started)})


def csv_row(cells: Iterable[object]) -> bytes:
    r"""A line of CSV that any reader gets the same cells from, names of files byte for byte.

    >>> csv_row(["a,b", "line\rbreak", 1.5])
    b'"a,b","line\rbreak",1.5\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # it quotes what holds a letter of its line's end
    return _bytes(text.getvalue().removesuffix("\r\n") + "\n")


def _csv(found: Found) -> Iterator[bytes]:
    yield csv_row(CSV_COLUMNS)
    for result, event in _events(found):
        yield csv_row((_time(event.start_s), _time(event.stop_s), event.label, _rounded(event.confidence), result.file))


def _jsonl(found: Found) -> Iterator[bytes]:
    for result, event in _events(found):
        yield event_json(event, result.file, result.started).encode() + b"\n"


def _json_list(found: Found) -> Iterator[bytes]:
    """A list with an object per file: what it is as a whole and its events, or why it could not be heard."""
    before = "[\n"
    for one in found:
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


def _audacity(found: Found) -> Iterator[bytes]:
    """A label track: start, end and label with tabs between, seconds from the start of the recording.

    Source: Audacity's manual, "Importing and Exporting Labels". Of several recordings each counts from its own start,
    as Audacity has one timeline for each: open the file of one.
    """
    for _, event in _events(found):
        yield f"{event.start_s:.6f}\t{event.stop_s:.6f}\t{_flat(event.label)}\n".encode(errors="replace")


def _raven(found: Found) -> Iterator[bytes]:
    """A selection table, tab-separated; begin times go on over the files, as Raven lays them one behind the other.

    Source: Raven Pro 1.6 User's Manual, "Selection tables": Begin Time counts from the first file's start, File Offset
    from the own file's.
    """
    yield ("\t".join(RAVEN_COLUMNS) + "\n").encode()
    before_s, number = 0.0, 0
    for one in found:
        if isinstance(one, Failure):
            continue
        for event in one.events:
            number += 1
            times = (f"{before_s + event.start_s:.6f}", f"{before_s + event.stop_s:.6f}")
            row = ("Spectrogram 1", "1", *times, "0.0", f"{RAVEN_TOP_HZ:.1f}", _unquoted(event.label))
            place = (_unquoted(one.file), f"{event.start_s:.6f}")
            yield _bytes("\t".join((str(number), *row, f"{event.confidence:.6g}", *place)) + "\n")
        before_s += one.duration_s


def _parquet(found: Found) -> Iterator[bytes]:
    """A table with a row per event; ``start_utc`` is null where nobody knows when the recording was made."""
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
            ("start_utc", pa.timestamp("us", tz="UTC")),
        ]
    )
    pieces = _Pieces()
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(pieces, schema) as writer:
        for result, event in _events(found):
            start = result.started + timedelta(seconds=event.start_s) if result.started else None
            names = {"file": _escaped(result.file), "label": _escaped(event.label)}
            rows.append({**_plain(event), **names, "start_utc": start})
            if len(rows) >= PARQUET_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
                yield pieces.take()
        writer.write_table(pa.Table.from_pylist(rows, schema))
    yield pieces.take()


class _Pieces(io.RawIOBase):
    """A file that gives away what was written to it, and keeps nothing but count."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._count = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._count

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        self._count += len(self._pieces[-1])
        return len(self._pieces[-1])

    def take(self) -> bytes:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


FORMATS = {
    "csv": Format(".csv", _csv),
    "jsonl": Format(".jsonl", _jsonl),
    "json": Format(".json", _json_list),
    "parquet": Format(".parquet", _parquet, needs="pyarrow.parquet"),
    "audacity": Format(".txt", _audacity),
    "raven": Format(".selections.txt", _raven),
}
"""Every format by its name."""


def _events(found: Found) -> Iterator[tuple[FileResult, Event]]:
    for one in found:
        if isinstance(one, FileResult):
            yield from ((one, event) for event in one.events)


def _plain(event: Event) -> dict[str, Any]:
    return {
        "start_s": _time(event.start_s),
        "stop_s": _time(event.stop_s),
        "label": event.label,
        "confidence": _rounded(event.confidence),
        "peak": _rounded(event.peak),
    }


def _utc(event: Event, started: datetime | None) -> dict[str, str]:
    return {"start_utc": _iso(started + timedelta(seconds=event.start_s))} if started else {}


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(seconds: float) -> float:
    return round(float(seconds), 6)


def _rounded(share: float) -> float:
    return float(f"{share:.6g}")


def _bytes(text: str) -> bytes:
    """UTF-8, and the bytes of names that are not; halves of characters that stand for no byte are lost."""
    return re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", text).encode(errors="surrogateescape")


def _json(values: object) -> str:
    return _escaped(json.dumps(values, ensure_ascii=False))


def _escaped(text: str) -> str:
    """A name that is not UTF-8 has no other form in JSON than that of its escaped halves of characters."""
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)


def _flat(text: str) -> str:
    """One cell of a table without quotes: tabs and line ends would begin another."""
    return re.sub(r"[\t\r\n\x0b\x0c\x85\u2028\u2029]+", " ", text)


def _unquoted(text: str) -> str:
    """The same for readers that take a quote for the beginning of a cell that has tabs in it, as pandas does."""
    return _flat(text).replace('"', "'")

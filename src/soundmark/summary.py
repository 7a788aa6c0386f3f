"""What was heard when: the events of a run by hour of the day and by day, for people who ask "how much siren, when?".

What ``soundmark classify`` wrote is read back: a folder of results, or one file of them. Times on the clock come from
the results, or from the names of the recordings (see ``clocks``). In a folder, ``files.csv`` says how long was recorded
in each hour, so that a class can be told as a share of that.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark import atomic, clocks
from soundmark.errors import SettingsError
from soundmark.inspection import check_picture

HOURS = 24
MOST_LABELS = 20  # that are drawn
BLOCKS = " ▁▂▃▄▅▆▇█"

Minutes = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """A stretch of time on the clock in which ``label`` was heard, or, with None, in which was recorded."""

    label: str | None
    start: datetime
    stop: datetime


@dataclass(frozen=True, eq=False)
class Summary:
    """Minutes of each class, by hour of the day and by day.

    ``by_hour`` float64 ``[labels, 24]`` and ``by_day`` ``[labels, days]``; ``recorded_by_hour`` ``[24]`` and
    ``recorded_by_day`` ``[days]`` are the minutes that were recorded, None where the results do not say.
    """

    labels: tuple[str, ...]  # the most heard first
    days: tuple[date, ...]
    zone: str
    by_hour: Minutes
    by_day: Minutes
    recorded_by_hour: Minutes | None
    recorded_by_day: Minutes | None
    untimed: int  # events of recordings that nobody knows the time of

    def to_csv(self) -> str:
        """A row per class and hour of the day: the minutes heard, and those recorded."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["label", "hour", "minutes", "recorded_minutes"])
        for label, row in zip(self.labels, self.by_hour, strict=True):
            for hour, minutes in enumerate(row):
                recorded = "" if self.recorded_by_hour is None else f"{self.recorded_by_hour[hour]:.3f}"
                table.writerow([label, hour, f"{minutes:.3f}", recorded])
        return text.getvalue()

    def to_json(self) -> str:
        """Everything, with the days as ISO 8601 has them."""

        def rounded(minutes: Minutes | None) -> Any:
            return None if minutes is None else np.round(minutes, 3).tolist()

        values = {
            "timezone": self.zone,
            "labels": list(self.labels),
            "days": [day.isoformat() for day in self.days],
            "minutes_by_hour": rounded(self.by_hour),
            "minutes_by_day": rounded(self.by_day),
            "recorded_minutes_by_hour": rounded(self.recorded_by_hour),
            "recorded_minutes_by_day": rounded(self.recorded_by_day),
            "untimed_events": self.untimed,
        }
        return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def summarise(paths: Sequence[Path], *, zone: str = "UTC") -> Summary:
    r"""What the results at ``paths`` say of when each class was heard, on the clocks of ``zone``.

    Raises:
        SettingsError: the results cannot be read, hold no event, or nothing tells when they were recorded.

    >>> from soundmark import atomic
    >>> rows = "Start (s),End (s),Label,Confidence,File\n3000.0,4200.0,siren,0.9,20240612_230000.wav\n"
    >>> atomic.write_text(folder / "results.csv", rows)
    >>> found = summarise([folder / "results.csv"])
    >>> found.labels, [found.by_hour[0, hour] for hour in (23, 0)], len(found.days)
    (('siren',), [np.float64(10.0), np.float64(10.0)], 2)
    """
    local = clocks.zone_of(zone)
    heard: list[Span] = []
    recorded: list[Span] = []
    untimed = 0
    for path in paths:
        for span in _read(path, zone):
            if span is None:
                untimed += 1
            else:
                (recorded if span.label is None else heard).append(span)
    if not heard:
        raise SettingsError(_nothing(paths, untimed))
    return _counted(heard, recorded, local, zone, untimed)


def _nothing(paths: Sequence[Path], untimed: int) -> str:
    names = ", ".join(f'"{path}"' for path in paths)
    if not untimed:
        return f"{names} holds no event: there is nothing to sum up."
    return (
        f"nothing says when the recordings of {names} were made: name them as 20240612_043000.wav, or let the recorder "
        "write it into them."
    )


def _counted(heard: list[Span], recorded: list[Span], local: tzinfo, zone: str, untimed: int) -> Summary:
    minutes: defaultdict[tuple[str | None, date, int], float] = defaultdict(float)
    for span in (*heard, *recorded):
        for day, hour, part in _by_hours(span, local):
            minutes[span.label, day, hour] += part
    days = tuple(sorted({day for _, day, _ in minutes}))
    totals: defaultdict[str, float] = defaultdict(float)
    for (label, _, _), part in minutes.items():
        if label is not None:
            totals[label] += part
    labels = tuple(sorted(totals, key=lambda label: (-totals[label], label)))
    rows: dict[str | None, int] = {label: row for row, label in enumerate((*labels, None))}
    by_hour, by_day = np.zeros((len(rows), HOURS)), np.zeros((len(rows), len(days)))
    for (label, day, hour), part in minutes.items():
        by_hour[rows[label], hour] += part
        by_day[rows[label], days.index(day)] += part
    return Summary(
        labels,
        days,
        zone,
        by_hour[:-1],
        by_day[:-1],
        by_hour[-1] if recorded else None,
        by_day[-1] if recorded else None,
        untimed,
    )


def _by_hours(span: Span, local: tzinfo) -> Iterator[tuple[date, int, float]]:
    """The day, the hour and the minutes of each hour that a span lies in."""
    at = span.start
    while at < span.stop:
        clock = at.astimezone(local)
        into_hour = timedelta(minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)
        until = min(span.stop, at + timedelta(hours=1) - into_hour)
        yield clock.date(), clock.hour, (until - at) / timedelta(minutes=1)
        at = until


# ── reading results ────────────────────────────────────────────────────────────────────────────────────────────────


def _read(path: Path, zone: str) -> Iterator[Span | None]:
    """The spans of a folder or a file of results; None for an event that nobody knows the time of."""
    if not path.is_dir():
        yield from _spans(_rows(path), {}, zone)
        return
    results = sorted(
        file for file in path.glob("results.*") if file.suffix in READERS and not file.name.endswith(".selections.txt")
    )
    if not results:
        raise SettingsError(f'"{path}" holds no results.csv, .jsonl, .json or .parquet: give what classify -o wrote.')
    starts: dict[str, datetime] = {}
    if (path / "files.csv").is_file():
        for row in _csv(path / "files.csv"):
            if row.get("Start (UTC)"):
                start = datetime.fromisoformat(row["Start (UTC)"])
                starts[row["File"]] = start
                yield Span(None, start, start + timedelta(seconds=float(row["Duration (s)"])))
    yield from _spans(_rows(results[0]), starts, zone)


def _spans(rows: Iterable[Mapping[str, Any]], starts: Mapping[str, datetime], zone: str) -> Iterator[Span | None]:
    began = lru_cache(maxsize=10_000)(lambda file: starts.get(file) or clocks.began(file, zone=zone))
    for row in rows:
        told = row.get("start_utc")
        start = (datetime.fromisoformat(told) if isinstance(told, str) else told) if told else None
        if start is None and (first := began(str(row["file"]))):
            start = first + timedelta(seconds=float(row["start_s"]))
        length = timedelta(seconds=float(row["stop_s"]) - float(row["start_s"]))
        yield Span(str(row["label"]), start.astimezone(UTC), start.astimezone(UTC) + length) if start else None


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SettingsError(
            f'"{path}" is no results of classify: give a folder of them, or .csv, .jsonl, .json, .parquet.'
        )
    try:
        for row in reader(path):
            missing = [key for key in ("file", "start_s", "stop_s", "label") if key not in row]
            if missing:
                raise SettingsError(f'"{path}" has no {" and no ".join(missing)}: it is no results of classify.')
            yield row
    except OSError as error:
        raise SettingsError(f'the results "{path}" cannot be read: {error.strerror}.') from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(
            f'the results "{path}" cannot be read: they are damaged, or no results of classify.'
        ) from error


def _csv(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield from csv.DictReader(file)


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    names = {"File": "file", "Start (s)": "start_s", "End (s)": "stop_s", "Label": "label"}
    for row in _csv(path):
        yield {names[key]: value for key, value in row.items() if key in names}


def _jsonl_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for one in json.loads(path.read_text(encoding="utf-8")):
        yield from ({"file": one["file"], **event} for event in one.get("events", ()))


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import parquet

    yield from parquet.read_table(path).to_pylist()


READERS = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".json": _json_rows, ".parquet": _parquet_rows}


# ── for people ─────────────────────────────────────────────────────────────────────────────────────────────────────


def spark(minutes: Minutes) -> str:
    """Numbers as a row of bars, the greatest full.

    >>> spark(np.array([0.0, 0.5, 4.0]))
    ' ▁█'
    """
    top = minutes.max() or 1.0
    return "".join(BLOCKS[int(np.ceil(value / top * (len(BLOCKS) - 1)))] for value in minutes)


def figure(found: Summary, path: Path) -> None:
    """Draw it: classes by hour of the day, and by day; the file's ending says how.

    Raises:
        SettingsError: the ending is none that Matplotlib writes, or Matplotlib is not installed.
        OutputError: the file cannot be written.

    >>> day = date(2024, 6, 12)
    >>> one = Summary(("dog",), (day,), "UTC", np.ones((1, 24)), np.ones((1, 1)), None, None, 0)
    >>> figure(one, folder / "when.png")
    >>> (folder / "when.png").read_bytes()[1:4]
    b'PNG'
    """
    from matplotlib.figure import Figure

    kind = check_picture(path)
    labels = found.labels[:MOST_LABELS]
    drawing = Figure(figsize=(11, 2.8 + 0.5 * len(labels)), layout="constrained")
    upper, lower = drawing.subplots(2, 1)
    shares = found.recorded_by_hour is not None
    rows = slice(0, len(labels))
    _draw(upper, _told(found.by_hour[rows], found.recorded_by_hour), labels, "By hour of the day", shares)
    upper.set_xticks(range(0, HOURS, 2), [f"{hour:02d}:00" for hour in range(0, HOURS, 2)])
    upper.set_xlabel(f"hour of the day ({found.zone})")
    _draw(lower, _told(found.by_day[rows], found.recorded_by_day), labels, "By day", shares)
    step = max(1, len(found.days) // 12)
    lower.set_xticks(range(0, len(found.days), step), [f"{day:%d %b %Y}" for day in found.days[::step]])
    lower.set_xlabel("day")
    with atomic.whole(path) as temporary:
        drawing.savefig(temporary, format=kind, dpi=130)


def _told(minutes: Minutes, recorded: Minutes | None) -> Minutes:
    """Percent of what was recorded, NaN where nothing was; or the minutes themselves."""
    if recorded is None:
        return minutes
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(recorded > 0, 100 * minutes / recorded, np.nan)


def _draw(axes: Any, values: Minutes, labels: Sequence[str], title: str, shares: bool) -> None:
    axes.set_facecolor("#e8e8e8")  # nothing was recorded then
    drawn = axes.imshow(np.ma.masked_invalid(values), aspect="auto", cmap="cividis", vmin=0, interpolation="nearest")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.figure.colorbar(drawn, ax=axes, pad=0.01, label="% of the time recorded" if shares else "minutes")

"""What was heard when: the events of a run by hour of the day and by day, for people who ask "how much siren, when?".

What ``soundmark classify`` wrote is read back: a folder of results, or one file of them. Times on the clock come from
the results, or from the names of the recordings (see ``clocks``). In a folder, ``files.csv`` says how long was recorded
in each hour, so that a class can be told as a share of that: twice the recorders hear twice the sirens.
"""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark import atomic, clocks
from soundmark.errors import SettingsError
from soundmark.inspection import BLUE, check_picture

HOURS = 24
LONGEST_S = 1e9  # 31 years: what goes on for longer was never recorded
MOST_LABELS = 20  # that are drawn in one table of colours
MOST_DETAILS = 6  # that are drawn day by day
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
    """Minutes of each class, by day and by hour of the day.

    ``minutes`` float64 ``[labels, days, 24]``, and ``recorded`` ``[days, 24]``, the minutes that were recorded, None
    where not all of the results say it.
    """

    labels: tuple[str, ...]  # the most heard first
    days: tuple[date, ...]  # those with something on them
    zone: str
    minutes: Minutes
    recorded: Minutes | None
    untimed: int  # events of recordings that nobody knows the time of

    @property
    def by_hour(self) -> Minutes:
        """Minutes of each class in each hour of the day, ``[labels, 24]``."""
        return self.minutes.sum(1)

    @property
    def by_day(self) -> Minutes:
        """Minutes of each class on each day, ``[labels, days]``."""
        return self.minutes.sum(2)

    @property
    def recorded_by_hour(self) -> Minutes | None:
        """Minutes that were recorded in each hour of the day, ``[24]``."""
        return None if self.recorded is None else self.recorded.sum(0)

    @property
    def recorded_by_day(self) -> Minutes | None:
        """Minutes that were recorded on each day, ``[days]``."""
        return None if self.recorded is None else self.recorded.sum(1)

    @property
    def told_by_hour(self) -> Minutes:
        """The share of what was recorded in each hour of the day, in percent, ``[labels, 24]``; NaN where nothing was.

        Where the results do not say what was recorded, the minutes themselves.
        """
        return _told(self.by_hour, self.recorded_by_hour)

    @property
    def note(self) -> str | None:
        """What is not in it, as a sentence."""
        if not self.untimed:
            return None
        if self.untimed == 1:
            return "1 event is left out: nothing says when its recording was made."
        return f"{self.untimed:,} events are left out: nothing says when their recordings were made."

    def busiest_hour(self, row: int) -> int:
        """The hour of the day in which the class of that row was heard most."""
        return int(np.nan_to_num(self.told_by_hour[row]).argmax())

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
            "minutes_by_day_and_hour": rounded(self.minutes),
            "recorded_minutes_by_day_and_hour": rounded(self.recorded),
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
    untimed = silent = 0
    for path in paths:
        before = len(recorded)
        for span in _read(path, zone):
            if span is None:
                untimed += 1
            else:
                (recorded if span.label is None else heard).append(span)
        silent += len(recorded) == before  # it does not say how long was recorded
    if not heard:
        raise SettingsError(_nothing(paths, untimed))
    return _counted(heard, [] if silent else recorded, local, zone, untimed)


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
    columns = {day: column for column, day in enumerate(days)}
    counted = np.zeros((len(rows), len(days), HOURS))
    for (label, day, hour), part in minutes.items():
        counted[rows[label], columns[day], hour] += part
    return Summary(labels, days, zone, counted[:-1], counted[-1] if counted[-1].any() else None, untimed)


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
    newest = max(results, key=lambda file: file.stat().st_mtime_ns)  # of runs in several formats the last knows all
    yield from _spans(newest, starts, zone)


def _span(label: str | None, began: Any, start_s: Any, stop_s: Any) -> Span:
    """A stretch of a recording that was begun at ``began``; ValueError or TypeError for what cannot be meant."""
    moment = datetime.fromisoformat(began) if isinstance(began, str) else began
    start_s, stop_s = float(start_s), float(stop_s)
    if not 0 <= start_s <= stop_s <= LONGEST_S or moment.year not in clocks.YEARS:
        raise ValueError
    moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    return Span(label, moment + timedelta(seconds=start_s), moment + timedelta(seconds=stop_s))


def _recordings(path: Path) -> Iterator[tuple[str, Span]]:
    """Each recording that somebody knows the time of, by the table that ``classify`` writes beside its results."""
    with _reading(path):
        for row in _csv(path):
            if row["Start (UTC)"]:
                yield row["File"], _span(None, row["Start (UTC)"], 0.0, row["Duration (s)"])


def _spans(path: Path, starts: Mapping[str, datetime], zone: str) -> Iterator[Span | None]:
    """The events in a file of results, on the clock."""
    began = lru_cache(maxsize=10_000)(lambda file: starts.get(file) or clocks.began(file, zone=zone))
    for number, row in enumerate(_rows(path), 1):
        label, told, start_s, stop_s = str(row["label"]), row.get("start_utc"), row["start_s"], row["stop_s"]
        try:
            if told:
                yield _span(label, told, 0.0, float(stop_s) - float(start_s))
            elif start := began(row["file"]):
                yield _span(label, start, start_s, stop_s)
            else:
                yield None
        except (ValueError, TypeError, AttributeError) as error:
            at = f" at {told}" if told else ""
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
    """Say of a file that it cannot be read, or that it is not what it should be."""
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
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # Excel puts a mark before it
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


# ── for people ─────────────────────────────────────────────────────────────────────────────────────────────────────


def spark(values: Minutes) -> str:
    """Numbers as a row of bars, the greatest full; a point where there is none.

    >>> spark(np.array([0.0, 0.5, 4.0, np.nan]))
    ' ▁█·'
    """
    top = np.nan_to_num(values).max() or 1.0
    return "".join("·" if np.isnan(value) else BLOCKS[math.ceil(value / top * (len(BLOCKS) - 1))] for value in values)


def figure(found: Summary, path: Path) -> None:
    """Draw it: all classes by hour of the day, and the most heard day by day; the file's ending says how.

    Raises:
        SettingsError: the ending is none that Matplotlib writes, or Matplotlib is not installed.
        OutputError: the file cannot be written.

    >>> day = date(2024, 6, 12)
    >>> one = Summary(("dog",), (day,), "UTC", np.ones((1, 1, 24)), None, 0)
    >>> figure(one, folder / "when.png")
    >>> (folder / "when.png").read_bytes()[1:4]
    b'PNG'
    """
    kind = check_picture(path)
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a script that Matplotlib's own type does not have
        drawing = _drawing(found)
        with atomic.whole(path) as temporary:
            drawing.savefig(temporary, format=kind, dpi=130)


STYLE = {
    "text.parse_math": False,  # a class may be called "$"
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10.0,
    "axes.edgecolor": "#8a8a8a",
    "hatch.linewidth": 0.6,
}
COLOURS = ("#f2f6f9", "#8fc1e3", BLUE, "#00263d")  # from nothing to the most: lightness alone tells them apart, too


def _drawing(found: Summary) -> Any:
    from matplotlib.figure import Figure

    labels, shown = found.labels[:MOST_LABELS], found.labels[:MOST_DETAILS]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    days, minutes, recorded = _every_day(found)
    of_days = min(max(0.16 * len(days), 0.5), 3.2)  # inches
    heights = (1.5 + 0.26 * len(labels), 0.5 + rows * (2.1 + of_days))
    drawing: Any = Figure(figsize=(12, sum(heights)), layout="constrained")
    drawing.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    upper, lower = drawing.subfigures(2, 1, height_ratios=heights)
    upper.suptitle("What was heard when", x=0.008, ha="left", fontsize=14, fontweight="bold")
    _draw_labels(upper.subplots(), found, labels)
    panels = lower.subplots(2 * rows, columns, sharex=True, squeeze=False, height_ratios=(1.2, of_days) * rows)
    _draw_details(lower, panels, found, _told(minutes[: len(shown)], recorded), days)
    return drawing


def _subtitle(found: Summary) -> str:
    first, last = found.days[0], found.days[-1]
    when = f"{first:%d %b %Y}" + (f" to {last:%d %b %Y}" if last > first else "")
    kept = "" if len(found.labels) <= MOST_LABELS else f"The {MOST_LABELS} most heard of {len(found.labels)} classes. "
    if found.recorded is None:
        return f"{when}. {kept}Minutes heard; how long was recorded is not known."
    gaps = "; grey: nothing was recorded then" if (found.recorded == 0).any() else ""
    return f"{when}. {kept}Share of the {found.recorded.sum() / 60:,.1f} h that were recorded{gaps}."


def _every_day(found: Summary) -> tuple[list[date], Minutes, Minutes | None]:
    """The days from the first to the last, those with nothing on them too, and the minutes of all of them."""
    first, count = found.days[0], (found.days[-1] - found.days[0]).days + 1
    places = [(day - first).days for day in found.days]
    minutes = np.zeros((len(found.labels), count, HOURS))
    minutes[:, places] = found.minutes
    recorded = None
    if found.recorded is not None:
        recorded = np.zeros((count, HOURS))
        recorded[places] = found.recorded
    return [first + timedelta(days=place) for place in range(count)], minutes, recorded


def _told(minutes: Minutes, recorded: Minutes | None) -> Minutes:
    """Percent of what was recorded, NaN where nothing was; or the minutes themselves."""
    if recorded is None:
        return minutes
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(recorded > 0, 100 * minutes / recorded, np.nan)


def _unit(found: Summary) -> str:
    return "minutes" if found.recorded is None else "% of the time recorded"


def _draw_labels(axes: Any, found: Summary, labels: Sequence[str]) -> None:
    """All classes by hour of the day."""
    values = found.told_by_hour[: len(labels)]
    shown = _colours(axes, values, float(np.nan_to_num(values).max()))
    axes.set_yticks(np.arange(len(labels)) + 0.5, [_short(label) for label in labels])
    axes.set_title(_subtitle(found), fontweight="normal")
    axes.set_xlabel(f"hour of the day ({found.zone})")
    _hours(axes, 2)
    axes.figure.colorbar(shown, ax=axes, pad=0.01, label=_unit(found))


def _draw_details(drawing: Any, panels: Any, found: Summary, values: Minutes, days: Sequence[date]) -> None:
    """The most heard classes: by hour as bars, and under each hour the same day by day."""
    top = float(np.nan_to_num(values).max())
    shown = None
    for place in range(panels.size // 2):
        row, column = divmod(place, panels.shape[1])
        bars, by_day = panels[2 * row : 2 * row + 2, column]
        if place >= len(values):
            bars.set_axis_off()
            by_day.set_axis_off()
            continue
        bars.bar(np.arange(HOURS) + 0.5, np.nan_to_num(found.told_by_hour[place]), width=0.86, color=BLUE)
        bars.set_title(f"{_short(found.labels[place])}: {_amount(found, place)}")
        bars.set_ylabel("minutes" if found.recorded is None else "% of time")
        bars.spines[["top", "right"]].set_visible(False)
        shown = _colours(by_day, values[place], top)
        step = math.ceil(len(days) / 8)
        ticks = range(0, len(days), step)
        by_day.set_yticks([tick + 0.5 for tick in ticks], [f"{days[tick]:%a %d %b}" for tick in ticks])
        _hours(by_day, 6)
        bars.tick_params(labelbottom=False)
        by_day.tick_params(labelbottom=True)
        by_day.set_xlabel("hour of the day")
    drawing.colorbar(shown, ax=panels, pad=0.01, aspect=40, label=f"hour by hour: {_unit(found)}")


def _colours(axes: Any, values: Minutes, top: float) -> Any:
    """A field per hour, grey where there is no number."""
    from matplotlib.colors import LinearSegmentedColormap

    axes.set_facecolor("#e4e4e4")
    if len(values) <= 60:  # in narrower rows it would be noise
        axes.patch.set(hatch="////", edgecolor="#b8b8b8")
    colours = LinearSegmentedColormap.from_list("heard", COLOURS)
    extent = (0, HOURS, len(values), 0)
    return axes.imshow(
        np.ma.masked_invalid(values),
        aspect="auto",
        cmap=colours,
        vmin=0,
        vmax=top or 1,
        extent=extent,
        interpolation="nearest",
    )


def _hours(axes: Any, step: int) -> None:
    hours = range(0, HOURS + 1, step)
    axes.set_xticks(hours, [f"{hour:02d}:00" for hour in hours])


def _amount(found: Summary, row: int) -> str:
    minutes = found.minutes[row].sum()
    heard = f"{minutes / 60:,.1f} h" if minutes >= 120 else f"{minutes:,.1f} min"
    return heard if found.recorded is None else f"{heard}, {100 * minutes / found.recorded.sum():.2g} %"


def _short(label: str) -> str:
    label = " ".join(label.split())
    return label if len(label) <= 28 else f"{label[:27]}…"

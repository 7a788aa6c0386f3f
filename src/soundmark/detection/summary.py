"""Summarise results: minutes of each class by hour of the day and by day.

The input is a results folder that ``soundmark classify -o`` or ``analyze`` wrote, or a single results file. Start times
come from the results, or from the names of the recordings (see ``audio.timestamps``). The ``files.csv`` of a results
folder lists the duration of every recording, so that minutes can be given as a percentage of the recorded time: two
recorders detect twice as many sirens as one.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from soundmark.audio import timestamps
from soundmark.detection.results_reader import Span, read_spans
from soundmark.detection.settings import DEFAULT_TIMEZONE
from soundmark.errors import SettingsError
from soundmark.runtime.checks import check_paths, is_folder, real_path
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.text import counted, html_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

HOURS = 24


BLOCKS = " ▁▂▃▄▅▆▇█"


Minutes = npt.NDArray[np.float64]


REPR_CLASSES = 10


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """Minutes of each class, by day and by hour of the day.

    ``minutes`` is float64 ``[labels, days, 24]``. ``recorded`` ``[days, 24]`` is the recorded time in minutes, or None
    if some of the results do not contain it.
    """

    labels: tuple[str, ...]  # most minutes first
    days: tuple[date, ...]  # those with recordings or events
    zone: str
    minutes: Minutes
    recorded: Minutes | None
    untimed: int  # events of recordings without a start time

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
        """Recorded minutes in each hour of the day, ``[24]``; None if unknown."""
        return None if self.recorded is None else self.recorded.sum(0)

    @property
    def recorded_by_day(self) -> Minutes | None:
        """Recorded minutes on each day, ``[days]``; None if unknown."""
        return None if self.recorded is None else self.recorded.sum(1)

    @property
    def shares_by_hour(self) -> Minutes:
        """The percentage of the recorded time in each hour of the day, ``[labels, 24]``; NaN if nothing was recorded.

        If the recorded time is unknown, the minutes.
        """
        return shares(self.by_hour, self.recorded_by_hour)

    @property
    def note(self) -> str | None:
        """A sentence about skipped events; None if there are none."""
        if not self.untimed:
            return None
        if self.untimed == 1:
            return "1 event was skipped: the start time of its recording is unknown."
        events = f"{counted(self.untimed, 'event')} {'was' if self.untimed == 1 else 'were'}"
        return f"{events} skipped: the start times of their recordings are unknown."

    def busiest_hour(self, row: int) -> int:
        """The hour of the day with the highest percentage of the class ``labels[row]``."""
        return int(np.nan_to_num(self.shares_by_hour[row]).argmax())

    def to_csv(self) -> str:
        """Return CSV with a row per class and hour of the day: label, hour, minutes, recorded_minutes."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["label", "hour", "minutes", "recorded_minutes"])
        for label, row in zip(self.labels, self.by_hour, strict=True):
            for hour, minutes in enumerate(row):
                recorded = "" if self.recorded_by_hour is None else f"{self.recorded_by_hour[hour]:.3f}"
                table.writerow([label, hour, f"{minutes:.3f}", recorded])
        return text.getvalue()

    def to_json(self) -> str:
        """Return all values as JSON, with days in ISO 8601."""

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

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row per class, day and hour: label, day, hour, minutes, recorded_minutes (NaN if unknown)."""
        pd = import_pandas()

        n_labels, n_days = len(self.labels), len(self.days)
        recorded = np.full((n_days, HOURS), np.nan) if self.recorded is None else self.recorded
        return pd.DataFrame(
            {
                "label": np.repeat(np.array(self.labels, object), n_days * HOURS),
                "day": pd.to_datetime(np.tile(np.repeat(np.array(self.days, object), HOURS), n_labels)),
                "hour": np.tile(np.arange(HOURS), n_labels * n_days),
                "minutes": self.minutes.ravel(),
                "recorded_minutes": np.tile(recorded.ravel(), n_labels),
            }
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the classes by hour of the day, in ``ax`` or in a new figure; return the Axes.

        Raises:
            SettingsError: Matplotlib is not installed.
        """
        from soundmark.detection import summary_figure

        return summary_figure.plot_hours(self, ax)

    def save(self, path: str | PathLike[str]) -> None:
        """Save a figure with all classes by hour, and the most frequent ones by day, in the format of the suffix.

        Raises:
            SettingsError: Matplotlib does not support the format, or is not installed.
            OutputError: the file cannot be written.
        """
        from soundmark.detection import summary_figure

        summary_figure.draw(self, Path(path))

    def _title(self) -> str:
        days = f"{self.days[0]} to {self.days[-1]}" if len(self.days) > 1 else f"{self.days[0]}"
        recorded = "" if self.recorded is None else f", {self.recorded.sum() / 60:,.1f} h recorded"
        n_classes = f"{counted(len(self.labels), 'class')}"
        return f"{n_classes}, {days} ({self.zone}){recorded}"

    def __repr__(self) -> str:
        lines = [
            f"  {label[:60]}: {minutes.sum():,.1f} min, most at {self.busiest_hour(row)} h"
            for row, (label, minutes) in enumerate(zip(self.labels[:REPR_CLASSES], self.by_hour, strict=False))
        ]
        more = ["  …"] if len(self.labels) > REPR_CLASSES else []
        return "\n".join([f"Summary({self._title()})", *lines, *more])

    def _repr_html_(self) -> str:
        rows = [
            (label, f"{minutes.sum():,.1f}", spark(self.shares_by_hour[row]), f"{self.busiest_hour(row)} h")
            for row, (label, minutes) in enumerate(zip(self.labels, self.by_hour, strict=True))
        ]
        return html_table(rows, header=("class", "minutes", "0 to 23 h", "most at"), caption=self._title())


def summarize(
    results: str | PathLike[str] | Iterable[str | PathLike[str]], *, timezone: str = DEFAULT_TIMEZONE
) -> Summary:
    r"""Sum up results by class, hour of the day and day, in a timezone such as "Europe/Berlin".

    ``results`` is one path or several: results folders that ``classify -o`` or ``analyze`` wrote, or results files.

    Raises:
        SettingsError: the results cannot be read, contain no events, or no start time of a recording is known.

    >>> from soundmark.runtime import atomic
    >>> rows = "Start (s),End (s),Label,Confidence,File\n3000.0,4200.0,siren,0.9,20240612_230000.wav\n"
    >>> atomic.write_text(folder / "results.csv", rows)
    >>> found = summarize(folder / "results.csv")
    >>> found.labels, [found.by_hour[0, hour] for hour in (23, 0)], len(found.days)
    (('siren',), [np.float64(10.0), np.float64(10.0)], 2)
    """
    local = timestamps.timezone_named(timezone)
    paths = [Path(path) for path in check_paths("the results folder", results)]
    if not paths:
        raise SettingsError("no results were given: expected results folders or results files.")
    paths = distinct_results(paths)
    events: list[Span] = []
    recorded: list[Span] = []
    untimed = incomplete = 0
    for path in paths:
        before = len(recorded)
        for span in read_spans(path, timezone):
            if span is None:
                untimed += 1
            else:
                (recorded if span.label is None else events).append(span)
        incomplete += len(recorded) == before  # the recorded time is unknown
    if not events:
        raise SettingsError(_no_events(paths, untimed))
    return _summed(events, [] if incomplete else recorded, local, timezone, untimed)


def distinct_results(paths: Iterable[str | PathLike[str]]) -> list[Path]:
    """Return each results folder or file once; a file in one of the folders is a repeat too.

    >>> distinct_results([folder, folder / ".", folder / "results.csv"]) == [folder]
    True
    """
    first: dict[Path, Path] = {}
    for path in map(Path, paths):
        first.setdefault(Path(real_path(path)), path)
    return [path for real, path in first.items() if not (real.parent in first and not is_folder(real))]


def _no_events(paths: Sequence[Path], untimed: int) -> str:
    """Return the error message for results without events that can be summed up."""
    names = ", ".join(f'"{path}"' for path in paths)
    if not untimed:
        return f"{names} contains no events: there is nothing to sum up."
    return (
        f"the start times of the recordings in {names} are unknown: name the recordings like 20240612_043000.wav, or "
        "set the recorder to write the time into them."
    )


def _summed(events: list[Span], recorded: list[Span], local: tzinfo, zone: str, untimed: int) -> Summary:
    minutes: defaultdict[tuple[str | None, date, int], float] = defaultdict(float)
    for span in (*events, *recorded):
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
    """Split a span at full hours of local time; yield the day, the hour and the minutes of each part."""
    at = span.start
    while at < span.stop:
        clock = at.astimezone(local)
        into_hour = timedelta(minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)
        until = min(span.stop, at + timedelta(hours=1) - into_hour)
        yield clock.date(), clock.hour, (until - at) / timedelta(minutes=1)
        at = until


def spark(values: Minutes) -> str:
    """Return numbers as a row of bars, scaled to the largest, with a dot for NaN.

    >>> spark(np.array([0.0, 0.5, 4.0, np.nan]))
    ' ▁█·'
    """
    top = np.nan_to_num(values).max() or 1.0
    return "".join("·" if np.isnan(value) else BLOCKS[math.ceil(value / top * (len(BLOCKS) - 1))] for value in values)


def shares(minutes: Minutes, recorded: Minutes | None) -> Minutes:
    """Return ``minutes`` as percentages of the recorded time, NaN if it is 0; unchanged if ``recorded`` is None.

    >>> shares(np.array([[30.0, 0.0]]), np.array([60.0, 0.0])).tolist()
    [[50.0, nan]]
    """
    if recorded is None:
        return minutes
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(recorded > 0, 100 * minutes / recorded, np.nan)

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
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.audio import timestamps
from soundmark.detection.results_reader import Span, read_spans
from soundmark.errors import SettingsError

HOURS = 24


BLOCKS = " ▁▂▃▄▅▆▇█"


Minutes = npt.NDArray[np.float64]


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
        return shares(self.by_hour, self.recorded_by_hour)

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


def summarize(paths: Sequence[Path], *, zone: str = "UTC") -> Summary:
    r"""What the results at ``paths`` say of when each class was heard, on the clocks of ``zone``.

    Raises:
        SettingsError: the results cannot be read, hold no event, or nothing tells when they were recorded.

    >>> from soundmark.runtime import atomic
    >>> rows = "Start (s),End (s),Label,Confidence,File\n3000.0,4200.0,siren,0.9,20240612_230000.wav\n"
    >>> atomic.write_text(folder / "results.csv", rows)
    >>> found = summarize([folder / "results.csv"])
    >>> found.labels, [found.by_hour[0, hour] for hour in (23, 0)], len(found.days)
    (('siren',), [np.float64(10.0), np.float64(10.0)], 2)
    """
    local = timestamps.timezone_named(zone)
    heard: list[Span] = []
    recorded: list[Span] = []
    untimed = silent = 0
    for path in paths:
        before = len(recorded)
        for span in read_spans(path, zone):
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


def spark(values: Minutes) -> str:
    """Numbers as a row of bars, the greatest full; a point where there is none.

    >>> spark(np.array([0.0, 0.5, 4.0, np.nan]))
    ' ▁█·'
    """
    top = np.nan_to_num(values).max() or 1.0
    return "".join("·" if np.isnan(value) else BLOCKS[math.ceil(value / top * (len(BLOCKS) - 1))] for value in values)


def shares(minutes: Minutes, recorded: Minutes | None) -> Minutes:
    """Percent of what was recorded, NaN where nothing was; or the minutes themselves.

    >>> shares(np.array([[30.0, 0.0]]), np.array([60.0, 0.0])).tolist()
    [[50.0, nan]]
    """
    if recorded is None:
        return minutes
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(recorded > 0, 100 * minutes / recorded, np.nan)

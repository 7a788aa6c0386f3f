"""Convert the scores of windows to events: classes with onset and offset.

An event starts with the first window whose probability reaches the class's threshold, and lasts while the probability
stays above a fraction of the threshold (hysteresis, so that an event starts and ends once).

Overlapping windows give the class of a sound, but not its exact time: a window of four seconds still contains a sound
that ended three seconds ago. So if windows overlap, the newest piece of each, one hop long, is scored separately too.
If the pieces detect the class as well, they determine onset and offset.

>>> scores = np.array([[0.1], [0.9], [0.7], [0.2], [0.0]])
>>> tracker = EventTracker(("siren",), threshold=0.5)
>>> ended = [event for i, row in enumerate(scores) for event in tracker.step(Segment(4 * i, 4 * i + 4, row))]
>>> [(event.label, event.start_s, event.stop_s, event.confidence, event.peak) for event in ended]
[('siren', 4, 12, 0.8, 0.9)]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.audio.level import power_db

THRESHOLD = 0.5  # the probability that starts an event, unless the model has thresholds


RELEASE = 0.8  # an event lasts while its probability stays above this fraction of the threshold


OVERLAP = 0.25  # overlap between consecutive windows, for models with presence


SLACK_S = 1e-6  # tolerance for rounding errors, as times are sums of floats


@dataclass(frozen=True, kw_only=True, repr=False)
class Event:
    """A detection: a class, with onset ``start_s`` and offset ``stop_s`` in seconds of the recording.

    ``confidence`` is the mean of the windows' probabilities, ``peak`` their maximum. Levels are those of the mean power
    over the middle hop of each window.
    """

    label: str
    start_s: float
    stop_s: float
    confidence: float
    peak: float
    level_dbfs: float | None = None  # of the mean power, relative to full scale
    level_dba: float | None = None  # A-weighted sound pressure level, if the recording is calibrated

    def __repr__(self) -> str:
        label = self.label if len(self.label) <= 100 else f"{self.label[:99]}…"
        return (
            f"Event(label={label!r}, start_s={self.start_s:.6g}, stop_s={self.stop_s:.6g}, "
            f"confidence={self.confidence:.4g}, peak={self.peak:.4g})"
        )


@dataclass(frozen=True)
class Segment:
    """A window, or a piece of one, with its probabilities ``[classes]``; its mean power, and the A-weighted one."""

    start_s: float
    stop_s: float
    probabilities: NDArray[Any]
    power: float | None = None
    power_a: float | None = None


@dataclass
class _Run:
    """An event of one class that has not been reported yet."""

    start_s: float
    stop_s: float
    total: float  # sum of the windows' probabilities
    windows: int
    peak: float
    located: bool = False  # pieces detect the class too, so they determine its offset
    powers: tuple[float | None, float | None] = (None, None)  # sums over the windows: plain, and A-weighted

    def extend(self, p: float, window: Segment) -> None:
        self.total, self.windows, self.peak = self.total + p, self.windows + 1, max(self.peak, p)
        self.stop_s = window.stop_s
        self.powers = _added(self.powers, (window.power, window.power_a))

    def merge_with(self, before: _Run) -> None:
        """Merge the previous event of the class into this one."""
        self.total, self.windows = before.total + self.total, before.windows + self.windows
        self.peak, self.start_s = max(before.peak, self.peak), before.start_s
        self.powers = _added(self.powers, before.powers)

    def event(self, label: str, calibration_db: float = 0.0) -> Event:
        plain, weighted = (None if power is None else power / self.windows for power in self.powers)
        return Event(
            label=label,
            start_s=self.start_s,
            stop_s=self.stop_s,
            confidence=self.total / self.windows,
            peak=self.peak,
            level_dbfs=None if plain is None else power_db(plain),
            level_dba=None if weighted is None else power_db(weighted) + calibration_db,
        )


Powers = tuple[float | None, float | None]


def _added(powers: Powers, others: Powers) -> Powers:
    """Add two pairs of powers; an unknown power makes the sum unknown."""
    a, b = (None if x is None or y is None else x + y for x, y in zip(powers, others, strict=True))
    return a, b


class WindowSmoother:
    """Averages the probabilities of each window with those of the windows that overlap it, weighted by the overlap.

    A sound is in all windows that overlap it, and a mistake is often in one. With windows of 4 s every 2 s, the weights
    are ¼, ½, ¼. A window is returned as soon as no later window at the constant hop can overlap it.

    >>> smoother = WindowSmoother(hop_s=2.0)
    >>> rows = [Segment(2.0 * i, 2.0 * i + 4, np.array([p])) for i, p in enumerate([0.0, 0.0, 1.0, 0.0])]
    >>> smoothed = [window for row in rows for window in smoother.push(row)] + smoother.end()
    >>> [float(window.probabilities[0].round(2)) for window in smoothed]
    [0.0, 0.25, 0.5, 0.33]
    """

    def __init__(self, hop_s: float) -> None:
        self._hop_s = hop_s
        self._windows: deque[Segment] = deque()
        self._returned = 0  # of the windows in the buffer

    def push(self, window: Segment) -> list[Segment]:
        """Add a window, and return those that are complete."""
        self._windows.append(window)
        return self._take(window.start_s + self._hop_s)

    def end(self) -> list[Segment]:
        """End the recording, and return the remaining windows."""
        return self._take(np.inf)

    def _take(self, next_start_s: float) -> list[Segment]:
        ready = []
        while self._returned < len(self._windows) and self._windows[self._returned].stop_s <= next_start_s + SLACK_S:
            ready.append(self._smoothed(self._windows[self._returned]))
            self._returned += 1
        while self._returned and self._windows[0].stop_s <= self._windows[self._returned - 1].start_s + SLACK_S:
            self._windows.popleft()
            self._returned -= 1
        return ready

    def _smoothed(self, window: Segment) -> Segment:
        overlaps = [
            max(0.0, min(window.stop_s, other.stop_s) - max(window.start_s, other.start_s)) for other in self._windows
        ]
        rows = np.stack([other.probabilities for other in self._windows])
        return replace(window, probabilities=np.average(rows, axis=0, weights=overlaps))


class EventTracker:
    """Turns the scores of a recording, or of an endless stream, into events, window by window.

    ``threshold`` is one number, or one for each class ``[classes]``; an event lasts while its class stays at or above
    ``release`` × threshold. Events of a class separated by at most ``merge_gap_s`` are merged, so an event is returned
    only when that time has passed without another one.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        threshold: ArrayLike = THRESHOLD,
        release: float = RELEASE,
        merge_gap_s: float = 0.0,
        calibration_db: float = 0.0,
    ) -> None:
        self.classes = tuple(classes)
        self.thresholds = np.broadcast_to(np.asarray(threshold, np.float64), (len(self.classes),))
        self.release_thresholds = self.thresholds * release
        self.merge_gap_s = merge_gap_s
        self.calibration_db = calibration_db  # sound pressure level of full scale
        self._running: dict[int, _Run] = {}
        self._waiting: dict[int, _Run] = {}  # ended, unless the class is detected again within the gap
        self._ended: list[tuple[int, _Run]] = []  # ended, not returned yet
        self._returned_until_s: dict[int, float] = {}
        self._finished: set[int] = set()  # still in the window, but ended according to the pieces
        self._pieces: deque[Segment] = deque()
        self._scored_until_s = 0.0

    @property
    def running_events(self) -> list[Event]:
        """The events that have started and not ended; ``stop_s`` is the end of the latest window."""
        return [run.event(self.classes[c], self.calibration_db) for c, run in sorted(self._running.items())]

    def step(self, window: Segment, pieces: Sequence[Segment] = ()) -> list[Event]:
        """Add a window, and return the events that have ended; ``pieces`` tile the new samples of the window.

        After a gap longer than a window, running events end with the last window before it.
        """
        if window.start_s - self._scored_until_s > window.stop_s - window.start_s + SLACK_S:
            for c in list(self._running):
                self._stop(c)
        self._scored_until_s = window.stop_s
        self._pieces.extend(pieces)
        while self._pieces and self._pieces[0].start_s < window.start_s - SLACK_S:
            self._pieces.popleft()
        p = np.asarray(window.probabilities, np.float64)
        self._finished -= set(np.flatnonzero(p < self.release_thresholds).tolist())
        for c in list(self._running):
            self._continue(c, float(p[c]), window)
        for c in np.flatnonzero(p >= self.thresholds).tolist():
            if c not in self._running and (c not in self._finished or self._in_newest_piece(c)):
                self._start(c, float(p[c]), window)
        return self._take_ended(window.stop_s)

    def end(self) -> list[Event]:
        """End the recording, and return the events that were still running."""
        for c in list(self._running):
            self._stop(c)
        return self._take_ended(np.inf)

    def _in_newest_piece(self, c: int) -> bool:
        return bool(self._pieces) and self._pieces[-1].probabilities[c] >= self.thresholds[c]

    def _continue(self, c: int, p: float, window: Segment) -> None:
        run = self._running[c]
        run.located = run.located or self._in_newest_piece(c)
        if p < self.release_thresholds[c]:
            self._stop(c)
        elif run.located and self._pieces[-1].probabilities[c] < self.release_thresholds[c]:
            self._finished.add(c)
            self._stop(c)
        else:
            run.extend(p, window)

    def _start(self, c: int, p: float, window: Segment) -> None:
        start_s, stop_s, located = self._locate(c, window)
        start_s = min(max(start_s, self._returned_until_s.get(c, 0.0)), stop_s)
        run = _Run(start_s, stop_s, p, 1, p, located, (window.power, window.power_a))
        before = self._waiting.pop(c, None)
        if before and start_s - before.stop_s <= self.merge_gap_s + SLACK_S:
            run.merge_with(before)
        elif before:
            self._ended.append((c, before))
        self._running[c] = run
        if stop_s < window.stop_s - SLACK_S:  # it ended before the end of the window
            self._finished.add(c)
            self._stop(c)

    def _locate(self, c: int, window: Segment) -> tuple[float, float, bool]:
        """Return onset and offset of an event within its first window, and whether pieces determined them."""
        p = [piece.probabilities[c] for piece in self._pieces]
        detected = [i for i, value in enumerate(p) if value >= self.thresholds[c]]
        if not detected:
            return window.start_s, window.stop_s, False
        first = last = detected[-1]
        while first > 0 and p[first - 1] >= self.release_thresholds[c]:
            first -= 1
        while last + 1 < len(p) and p[last + 1] >= self.release_thresholds[c]:
            last += 1
        return self._pieces[first].start_s, self._pieces[last].stop_s, True

    def _stop(self, c: int) -> None:
        self._waiting[c] = self._running.pop(c)

    def _take_ended(self, now_s: float) -> list[Event]:
        """Return the events that no later event can be merged with any more, by onset."""
        for c in [c for c, run in self._waiting.items() if now_s - run.stop_s > self.merge_gap_s + SLACK_S]:
            self._ended.append((c, self._waiting.pop(c)))
        ended, self._ended = sorted(self._ended, key=lambda item: (item[1].start_s, item[0])), []
        self._returned_until_s |= {c: run.stop_s for c, run in ended}
        return [run.event(self.classes[c], self.calibration_db) for c, run in ended]

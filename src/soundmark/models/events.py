"""Scores of windows to events: what was heard from when to when.

A class is heard from a window on whose probability reaches its threshold, as long as it stays above a share of it
(hysteresis, so that an event begins and ends once). Windows that overlap say well *what* is heard and badly *when*: one
of four seconds still holds a sound that ended three seconds ago. So where they overlap, the newest piece of each, as
long as a hop, is scored alone as well, and where the pieces know the class, too, they say when it began and ended.

>>> scores = np.array([[0.1], [0.9], [0.7], [0.2], [0.0]])
>>> tracker = EventTracker(("siren",), threshold=0.5)
>>> ended = [event for i, row in enumerate(scores) for event in tracker.step(Segment(4 * i, 4 * i + 4, row))]
>>> [(event.label, event.start_s, event.stop_s, event.confidence, event.peak) for event in ended]
[('siren', 4, 12, 0.8, 0.9)]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

THRESHOLD = 0.5  # the probability that begins an event, unless a class has one of its own


RELEASE = 0.8  # of the threshold, the share that it lasts above


SLACK_S = 1e-6  # times are sums of floats


@dataclass(frozen=True, kw_only=True)
class Event:
    """A class that was heard from ``start_s`` to ``stop_s`` of a recording.

    ``confidence`` is the mean of its windows' probabilities and ``peak`` the greatest of them.
    """

    label: str
    start_s: float
    stop_s: float
    confidence: float
    peak: float


@dataclass(frozen=True)
class Segment:
    """A stretch of sound and the probabilities ``[classes]`` that a model gives it."""

    start_s: float
    stop_s: float
    probabilities: NDArray[Any]


@dataclass
class _Run:
    """An event of one class while it lasts."""

    start_s: float
    stop_s: float
    total: float  # of its windows' probabilities
    windows: int
    peak: float
    placed: bool = False  # pieces know the class: they say when it ends

    def go_on(self, p: float, stop_s: float) -> None:
        self.total, self.windows, self.peak = self.total + p, self.windows + 1, max(self.peak, p)
        self.stop_s = stop_s

    def follow(self, before: _Run) -> None:
        """Take in the event before this one: the gap between them is no end."""
        self.total, self.windows = before.total + self.total, before.windows + self.windows
        self.peak, self.start_s = max(before.peak, self.peak), before.start_s

    def event(self, label: str) -> Event:
        return Event(
            label=label,
            start_s=self.start_s,
            stop_s=self.stop_s,
            confidence=self.total / self.windows,
            peak=self.peak,
        )


class EventTracker:
    """Follows the scores of a recording, or of a stream without an end, window by window.

    ``threshold`` is one number, or one for each class ``[classes]``; an event lasts while its class stays at or above
    ``release`` × threshold. Two events of a class with at most ``merge_gap_s`` between them are one, which is why an
    event is told of only when that time has passed without another.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        threshold: ArrayLike = THRESHOLD,
        release: float = RELEASE,
        merge_gap_s: float = 0.0,
    ) -> None:
        self.classes = tuple(classes)
        self.begins = np.broadcast_to(np.asarray(threshold, np.float64), (len(self.classes),))
        self.lasts = self.begins * release
        self.merge_gap_s = merge_gap_s
        self._running: dict[int, _Run] = {}
        self._waiting: dict[int, _Run] = {}  # over, unless the class is heard again before the gap has passed
        self._over: list[tuple[int, _Run]] = []  # over for good, and not told of yet
        self._told_until_s: dict[int, float] = {}
        self._spent: set[int] = set()  # still in the window, but over, as the pieces say
        self._pieces: deque[Segment] = deque()
        self._heard_until_s = 0.0

    @property
    def under_way(self) -> list[Event]:
        """The events that have begun and not ended, as far as they go."""
        return [run.event(self.classes[c]) for c, run in sorted(self._running.items())]

    def step(self, window: Segment, pieces: Sequence[Segment] = ()) -> list[Event]:
        """The events that are known to be over, now that ``window`` was heard; ``pieces`` tile what is new in it.

        Where more than a window was lost before it, nobody knows that an event went on: it ended where it was heard.
        """
        if window.start_s - self._heard_until_s > window.stop_s - window.start_s + SLACK_S:
            for c in list(self._running):
                self._stop(c)
        self._heard_until_s = window.stop_s
        self._pieces.extend(pieces)
        while self._pieces and self._pieces[0].start_s < window.start_s - SLACK_S:
            self._pieces.popleft()
        p = np.asarray(window.probabilities, np.float64)
        self._spent -= set(np.flatnonzero(p < self.lasts).tolist())
        for c in list(self._running):
            self._go_on(c, float(p[c]), window)
        for c in np.flatnonzero(p >= self.begins).tolist():
            if c not in self._running and (c not in self._spent or self._heard_now(c)):
                self._begin(c, float(p[c]), window)
        return self._told(window.stop_s)

    def end(self) -> list[Event]:
        """The events that were under way when the recording ended."""
        for c in list(self._running):
            self._stop(c)
        return self._told(np.inf)

    def _heard_now(self, c: int) -> bool:
        return bool(self._pieces) and self._pieces[-1].probabilities[c] >= self.begins[c]

    def _go_on(self, c: int, p: float, window: Segment) -> None:
        run = self._running[c]
        run.placed = run.placed or self._heard_now(c)
        if p < self.lasts[c]:
            self._stop(c)
        elif run.placed and self._pieces[-1].probabilities[c] < self.lasts[c]:
            self._spent.add(c)
            self._stop(c)
        else:
            run.go_on(p, window.stop_s)

    def _begin(self, c: int, p: float, window: Segment) -> None:
        start_s, stop_s, placed = self._place(c, window)
        start_s = min(max(start_s, self._told_until_s.get(c, 0.0)), stop_s)
        run, before = _Run(start_s, stop_s, p, 1, p, placed), self._waiting.pop(c, None)
        if before and start_s - before.stop_s <= self.merge_gap_s + SLACK_S:
            run.follow(before)
        elif before:
            self._over.append((c, before))
        self._running[c] = run
        if stop_s < window.stop_s - SLACK_S:  # it was over before a window was sure of it
            self._spent.add(c)
            self._stop(c)

    def _place(self, c: int, window: Segment) -> tuple[float, float, bool]:
        """Where in a window that begins an event it began and how far it goes, and whether pieces say so."""
        p = [piece.probabilities[c] for piece in self._pieces]
        sure = [place for place, value in enumerate(p) if value >= self.begins[c]]
        if not sure:
            return window.start_s, window.stop_s, False
        first = last = sure[-1]
        while first > 0 and p[first - 1] >= self.lasts[c]:
            first -= 1
        while last + 1 < len(p) and p[last + 1] >= self.lasts[c]:
            last += 1
        return self._pieces[first].start_s, self._pieces[last].stop_s, True

    def _stop(self, c: int) -> None:
        self._waiting[c] = self._running.pop(c)

    def _told(self, now_s: float) -> list[Event]:
        """The events behind which the gap has passed, in the order of their beginnings."""
        for c in [c for c, run in self._waiting.items() if now_s - run.stop_s > self.merge_gap_s + SLACK_S]:
            self._over.append((c, self._waiting.pop(c)))
        over, self._over = sorted(self._over, key=lambda item: (item[1].start_s, item[0])), []
        self._told_until_s |= {c: run.stop_s for c, run in over}
        return [run.event(self.classes[c]) for c, run in over]

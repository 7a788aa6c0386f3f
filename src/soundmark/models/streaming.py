"""A sound of any length, or a stream, classified window by window in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from soundmark import audio
from soundmark.audio import Stream, as_sound, is_samples
from soundmark.models.events import RELEASE, Event, EventTracker, Segment
from soundmark.models.windows import Window, WindowCutter, hop_samples
from soundmark.runtime import parallel

if TYPE_CHECKING:
    from soundmark.audio import AudioSource
    from soundmark.models.classifier import Model


@dataclass(frozen=True)
class WindowScores:
    """Some windows of a recording, n of them: where they lie, float64 ``[n]``, and what a model says of each.

    ``probabilities`` float32 ``[n, classes]``, ``familiarity`` float32 ``[n]`` or None, and per window its new pieces.
    """

    start_s: np.ndarray
    stop_s: np.ndarray
    probabilities: np.ndarray
    familiarity: np.ndarray | None
    pieces: Sequence[Sequence[Segment]]

    def __len__(self) -> int:
        return len(self.start_s)


class WindowStream:
    """A sound while it is heard: its parts in order, to be gone through once; then ``duration_s`` and ``note``."""

    def __init__(self, model: Model, flow: SampleStream, overlap: float, pieces: bool, pool: Executor | None) -> None:
        self._model, self._flow, self._pool = model, flow, pool
        self._overlap = overlap
        self._hop = hop_samples(model.card.window_s * flow.rate_hz, overlap) if pieces else None
        self.declared_s = flow.duration_s  # how long it should be
        self.duration_s = 0.0  # how much of it was heard

    @property
    def note(self) -> str | None:
        """What was missing of it, when it was gone through; None: nothing."""
        return self._flow.note

    def __iter__(self) -> Iterator[WindowScores]:
        windows = cut_windows(self._flow, self._model.card.window_s, self._overlap)
        for part in parallel.map_ordered(
            self._score, parallel.batches(windows, self._model.at_once(self._flow.rate_hz)), self._pool
        ):
            self.duration_s = float(part.stop_s[-1])
            yield part

    def _score(self, windows: Sequence[Window]) -> WindowScores:
        return self._model.score(windows, self._flow.rate_hz, hop=self._hop)


class RecordingAggregator:
    """What is heard in one recording, as its parts come in order: the mean of all, and the events.

    A recording that is one window, in which no class reaches a threshold that nobody gave, has one event all the same:
    the best answer, so that every clip has one.
    """

    def __init__(
        self,
        model: Model,
        *,
        threshold: ArrayLike | None = None,
        release: float = RELEASE,
        merge_gap_s: float = 0.0,
        unknown: bool = True,
    ) -> None:
        self.windows = 0
        self._model, self._unknown, self._asked = model, unknown, threshold is not None
        self.tracker = EventTracker(
            model.classes, threshold=model.threshold(threshold), release=release, merge_gap_s=merge_gap_s
        )
        self._sum = np.zeros(len(model.classes), np.float64)
        self._familiarity: float | None = None
        self._stop_s, self._told = 0.0, 0

    def hear(self, part: WindowScores) -> list[Event]:
        """The events that are over when ``part`` was heard; its unfamiliar windows, and their pieces, hold no class."""
        known = np.ones(len(part), np.float32)
        if part.familiarity is not None and self._model.card.unknown is not None:
            self._familiarity = (self._familiarity or 0.0) + float(part.familiarity.sum(dtype=np.float64))
            known -= self._unknown & (part.familiarity < self._model.card.unknown)
        self.windows += len(part)
        self._sum += part.probabilities.sum(axis=0, dtype=np.float64)
        self._stop_s = float(part.stop_s[-1])
        over = []
        for row, p in enumerate(part.probabilities * known[:, None]):
            window = Segment(float(part.start_s[row]), float(part.stop_s[row]), p)
            over += self.tracker.step(window, part.pieces[row])
        self._told += len(over)
        return over

    def end(self) -> list[Event]:
        """The events that were under way at the end, in the order of their beginnings."""
        over = self.tracker.end()
        if self.windows != 1 or self._told or over or self._asked or self._model.thresholds is not None:
            return over
        best = self.answer(top_k=1)[0]
        score = best["score"]
        return [Event(label=best["label"], start_s=0.0, stop_s=self._stop_s, confidence=score, peak=score)]

    def answer(self, top_k: int | None = None) -> list[dict[str, Any]]:
        """What the recording is, as a whole, as ``Model.classify`` says it; of a recording that has a window."""
        familiarity = None if self._familiarity is None else self._familiarity / self.windows
        return self._model.answer(self._sum / self.windows, familiarity, top_k=top_k, unknown=self._unknown)

    def in_order(self, events: Sequence[Event]) -> list[Event]:
        """``events`` by their beginnings, and the order of the classes."""
        places = {label: place for place, label in enumerate(self._model.classes)}
        return sorted(events, key=lambda event: (event.start_s, places.get(event.label, -1)))


def cut_windows(flow: SampleStream, window_s: float, overlap: float) -> Iterator[Window]:
    """The windows of a stream of samples.

    >>> flow = _ArrayStream(np.zeros(10, np.float32), 1)
    >>> [(window.start, window.stop) for window in cut_windows(flow, 4.0, 0.0)]
    [(0, 4), (4, 8), (6, 10)]
    """
    window_samples = window_s * flow.rate_hz
    cutter = WindowCutter(window_samples, hop_samples(window_samples, overlap))
    for samples in flow:
        yield from cutter.push(samples)
    yield from cutter.end()


def _segments(
    spans: Sequence[Sequence[tuple[int, int]]], probabilities: np.ndarray, rate_hz: int
) -> list[list[Segment]]:
    rows = iter(probabilities)
    return [[Segment(start / rate_hz, stop / rate_hz, next(rows)) for start, stop in each] for each in spans]


@dataclass(frozen=True)
class _ArrayStream:
    """A sound in memory, as a stream of one block."""

    samples: np.ndarray
    rate_hz: int
    note: str | None = None

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz

    def __iter__(self) -> Iterator[np.ndarray]:
        yield self.samples


SampleStream = _ArrayStream | Stream


@contextmanager
def open_stream(
    source: AudioSource, rate_hz: float | None, to_hz: int | None, pool: Executor | None = None
) -> Iterator[SampleStream]:
    """A source as blocks of samples at ``to_hz`` (None: its own rate): from the disk, it is never held whole.

    >>> with open_stream(np.zeros(44100, np.float32), 44100, 22050) as flow:
    ...     flow.rate_hz, flow.duration_s
    (22050, 1.0)
    """
    if is_samples(source) or rate_hz is not None:
        sound = as_sound(source, rate_hz)
        rate = to_hz or sound.rate_hz
        yield _ArrayStream(audio.resample(sound.samples, sound.rate_hz, rate), rate, sound.note)
    else:
        with audio.stream(source, rate_hz=to_hz, pool=pool) as flow:  # type: ignore[arg-type]
            yield flow

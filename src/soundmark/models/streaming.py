"""Audio of any length to scores and events, window by window, in constant memory: files, pipes and microphones.

samples ─ resample ─▶ windows ─ Model.score ─▶ WindowScores ─ RecordingAggregator ─▶ events, whole-recording answer
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from soundmark import audio
from soundmark.audio import Resampler, Samples, Stream, as_sound, is_samples
from soundmark.errors import SettingsError
from soundmark.models.events import RELEASE, Event, EventTracker, Segment
from soundmark.models.windows import Window, WindowCutter, hop_samples
from soundmark.runtime import parallel

if TYPE_CHECKING:
    from soundmark.audio import AudioSource
    from soundmark.models.classifier import Model


@dataclass(frozen=True)
class WindowScores:
    """The scores of n consecutive windows: ``start_s`` and ``stop_s`` float64 ``[n]`` in seconds of the recording.

    ``probabilities`` float32 ``[n, classes]``, ``familiarity`` float32 ``[n]`` or None, and the new pieces of each.
    """

    start_s: np.ndarray
    stop_s: np.ndarray
    probabilities: np.ndarray
    familiarity: np.ndarray | None
    pieces: Sequence[Sequence[Segment]]

    def __len__(self) -> int:
        return len(self.start_s)


class RecordingAggregator:
    """The result for one recording, from the scores of its windows in order: their mean, and the events.

    If a recording is a single window, no threshold was given and no class reaches its default threshold, the best class
    is returned as an event, so that every clip has one.
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
        self.analyzed_s = 0.0  # end of the last window
        self._model, self._unknown, self._threshold_given = model, unknown, threshold is not None
        self.tracker = EventTracker(
            model.classes, threshold=model.threshold(threshold), release=release, merge_gap_s=merge_gap_s
        )
        self._sum = np.zeros(len(model.classes), np.float64)
        self._familiarity: float | None = None
        self._n_events = 0

    def add(self, part: WindowScores) -> list[Event]:
        """The events that ended with ``part``; its unfamiliar windows, and their pieces, count as no class."""
        known = np.ones(len(part), np.float32)
        if part.familiarity is not None and self._model.card.unknown is not None:
            self._familiarity = (self._familiarity or 0.0) + float(part.familiarity.sum(dtype=np.float64))
            known -= self._unknown & (part.familiarity < self._model.card.unknown)
        self.windows += len(part)
        self._sum += part.probabilities.sum(axis=0, dtype=np.float64)
        self.analyzed_s = float(part.stop_s[-1])
        ended = []
        for row, p in enumerate(part.probabilities * known[:, None]):
            window = Segment(float(part.start_s[row]), float(part.stop_s[row]), p)
            ended += self.tracker.step(window, part.pieces[row])
        self._n_events += len(ended)
        return ended

    def end(self) -> list[Event]:
        """The events that were still running at the end, by onset."""
        ended = self.tracker.end()
        if self.windows != 1 or self._n_events or ended or self._threshold_given or self._model.thresholds is not None:
            return ended
        best = self.answer(top_k=1)[0]
        score = best["score"]
        return [Event(label=best["label"], start_s=0.0, stop_s=self.analyzed_s, confidence=score, peak=score)]

    def answer(self, top_k: int | None = None) -> list[dict[str, Any]]:
        """The classes of the whole recording, as ``Model.classify`` returns them; needs at least one window."""
        familiarity = None if self._familiarity is None else self._familiarity / self.windows
        return self._model.answer(self._sum / self.windows, familiarity, top_k=top_k, unknown=self._unknown)

    def in_order(self, events: Sequence[Event]) -> list[Event]:
        """``events`` by onset, then in the order of the classes."""
        order = {label: row for row, label in enumerate(self._model.classes)}
        return sorted(events, key=lambda event: (event.start_s, order.get(event.label, -1)))


class StreamClassifier:
    """Classifies samples at ``rate_hz`` that arrive in blocks of any size; the one loop of files, pipes, microphones.

    It resamples to the model's rate, cuts windows at a hop of ``hop_s`` seconds (by default from ``overlap``), scores
    them, and returns events as they end. The results do not depend on the size of the blocks. With ``pieces``, the
    newest piece of each overlapping window is scored alone too (see ``events``). A live stream scores each window at
    once; with ``batched``, as many windows as ``Model.at_once`` says are scored together, by ``pool`` if there is one,
    while more samples are read. Memory does not grow with the length of the stream.

    ``on_scores`` is called with the scores of windows in order, ``on_samples`` with the position in the stream and the
    resampled samples, before they are scored.

    Raises:
        SettingsError: ``overlap`` or ``hop_s`` is out of range.

    >>> from soundmark import audio
    >>> sound = audio.read(city.clips[0].path)
    >>> classifier = StreamClassifier(model, sound.rate_hz)
    >>> events = [event for block in np.array_split(sound.samples, 9) for event in classifier.push(block)]
    >>> events += classifier.finish()
    >>> events == model.events(city.clips[0].path)
    True
    """

    def __init__(
        self,
        model: Model,
        rate_hz: int,
        *,
        overlap: float = 0.0,
        hop_s: float | None = None,
        pieces: bool = True,
        threshold: ArrayLike | None = None,
        release: float = RELEASE,
        merge_gap_s: float = 0.0,
        unknown: bool = True,
        batched: bool = False,
        pool: Executor | None = None,
        on_scores: Callable[[WindowScores], None] = lambda part: None,
        on_samples: Callable[[int, Samples], None] = lambda start, samples: None,
    ) -> None:
        self._model, self._from_hz = model, rate_hz
        self.rate_hz = model.card.representation.rate_hz or rate_hz
        self._cutter = WindowCutter(
            model.card.window_s * self.rate_hz, _hop(model.card.window_s, self.rate_hz, overlap, hop_s)
        )
        self._resampler = Resampler(rate_hz, self.rate_hz)
        self._pieces = pieces
        self.aggregator = RecordingAggregator(
            model, threshold=threshold, release=release, merge_gap_s=merge_gap_s, unknown=unknown
        )
        self._batch, self._pool = model.at_once(self.rate_hz) if batched else 1, pool
        self._on_scores, self._on_samples = on_scores, on_samples
        self._pending: list[Window] = []
        self._running: deque[Future[WindowScores]] = deque()
        self._ended: list[Event] = []  # not returned yet
        self._finished = False
        self.discarded_s = 0.0  # pushed and never scored: see ``skip``

    @property
    def received_s(self) -> float:
        """Seconds pushed or skipped so far, without what the resampler still holds."""
        return self._cutter.n_samples / self.rate_hz

    @property
    def analyzed_s(self) -> float:
        """Where the last window that was scored ends."""
        return self.aggregator.analyzed_s

    @property
    def running_events(self) -> list[Event]:
        """The events that have started and not ended, up to now."""
        return self.aggregator.tracker.running_events

    def push(self, samples: Samples) -> list[Event]:
        """The events that ended, after ``samples`` [n] more."""
        self._add_samples(self._resampler.push(np.ascontiguousarray(samples, np.float32)))
        return self._take_ended()

    def skip(self, gap_s: float, *, score_rest: bool = True) -> list[Event]:
        """The events that ended, after a gap of ``gap_s`` seconds in the stream; windows start again after it.

        Samples before the gap that are too few for a window are scored in a last window that ends at the gap; without
        ``score_rest``, where there is no time for it, they are discarded and counted in ``discarded_s``.
        """
        self._add_samples(self._resampler.end())
        self._resampler = Resampler(self._from_hz, self.rate_hz)
        if score_rest:
            self._add_windows(self._cutter.end())
        else:
            self.discarded_s += self._cutter.uncovered / self.rate_hz
        self._cutter.skip(round(gap_s * self.rate_hz))
        return self._take_ended()

    def finish(self, *, score_rest: bool = True) -> list[Event]:
        """The events that end with the stream, by onset; without ``score_rest``, nothing more is scored.

        A second call returns what a first one that was interrupted did not.
        """
        if self._finished:
            return self._take_ended()
        if score_rest:
            self._add_samples(self._resampler.end())
            self._add_windows(self._cutter.end())
            if self._pending:
                self._score_pending(self._pool if self._running else None)
            self._collect(most=0)
        self._ended += self.aggregator.end()
        self._finished = True
        return self._take_ended()

    def read(self, blocks: Iterable[Samples]) -> list[Event]:
        """Push all of ``blocks`` and finish: the events of a recording by onset, then in the order of the classes."""
        try:
            events = [event for samples in blocks for event in self.push(samples)]
            return self.aggregator.in_order([*events, *self.finish()])
        finally:
            for future in self._running:
                future.cancel()

    def _add_samples(self, samples: Samples) -> None:
        if len(samples):
            self._on_samples(self._cutter.n_samples, samples)
            self._add_windows(self._cutter.push(samples))

    def _add_windows(self, windows: Iterable[Window]) -> None:
        for window in windows:
            self._pending.append(window)
            if len(self._pending) == self._batch:
                self._score_pending(self._pool)

    def _score_pending(self, pool: Executor | None) -> None:
        windows, self._pending = self._pending, []
        if pool is None:
            self._add_scores(self._score(windows))
        else:
            self._running.append(pool.submit(self._score, windows))
            self._collect(most=parallel.AHEAD - 1)

    def _collect(self, most: int) -> None:
        """Add the scores that are ready, in order; wait until at most ``most`` batches are being computed."""
        while self._running and (self._running[0].done() or len(self._running) > most):
            self._add_scores(self._running.popleft().result())

    def _score(self, windows: Sequence[Window]) -> WindowScores:
        return self._model.score(windows, self.rate_hz, hop=self._cutter.hop if self._pieces else None)

    def _add_scores(self, part: WindowScores) -> None:
        self._ended += self.aggregator.add(part)
        self._on_scores(part)

    def _take_ended(self) -> list[Event]:
        ended, self._ended = self._ended, []
        return ended


def _hop(window_s: float, rate_hz: int, overlap: float, hop_s: float | None) -> int:
    """The hop in samples."""
    if hop_s is None:
        return hop_samples(window_s * rate_hz, overlap)
    if not 1 / rate_hz <= hop_s <= window_s:
        raise SettingsError(f"the hop is {hop_s:g} s: give more than 0 and at most the model's window, {window_s:g} s.")
    return round(hop_s * rate_hz)


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


def as_segments(
    spans: Sequence[Sequence[tuple[int, int]]], probabilities: np.ndarray, rate_hz: int
) -> list[list[Segment]]:
    """Rows of probabilities as segments with start and stop in seconds, for each list of ``spans`` in samples.

    >>> as_segments([[(0, 100)]], np.array([[0.9, 0.1]]), 100)
    [[Segment(start_s=0.0, stop_s=1.0, probabilities=array([0.9, 0.1]))]]
    """
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
    """A source as blocks of samples at ``to_hz`` (None: its own rate): a file is never held whole.

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

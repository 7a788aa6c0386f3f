"""Scores and events of audio of any length, window by window, in constant memory: files, pipes and microphones.

samples ─ resample ─▶ windows ─ Model.score ─▶ WindowScores ─ RecordingAggregator ─▶ events, recording scores
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from soundmark import audio
from soundmark.audio import Resampler, Samples, Stream, as_sound, is_samples
from soundmark.audio.level import a_weighted_power, mean_power, power_db
from soundmark.audio.windows import hop_samples
from soundmark.errors import SettingsError
from soundmark.models.events import RELEASE, Event, EventTracker, Segment, WindowSmoother
from soundmark.models.windows import Window, WindowCutter
from soundmark.runtime import parallel

if TYPE_CHECKING:
    from soundmark.audio import AudioSource
    from soundmark.audio.decoding.isolation import Decoders
    from soundmark.models.classifier import Model


@dataclass(frozen=True)
class WindowScores:
    """The scores of n consecutive windows; ``start_s`` and ``stop_s`` float64 ``[n]`` in seconds of the recording.

    ``probabilities`` is float32 ``[n, classes]``, ``familiarity`` and ``presence`` float32 ``[n]`` or None. ``pieces``
    has the scored pieces of each window that are not part of an earlier one.
    """

    start_s: np.ndarray
    stop_s: np.ndarray
    probabilities: np.ndarray
    familiarity: np.ndarray | None
    pieces: Sequence[Sequence[Segment]]
    presence: np.ndarray | None = None
    power: np.ndarray | None = None  # float64 [n], mean power of the middle hop of each window
    power_a: np.ndarray | None = None  # the same, A-weighted
    embedding: np.ndarray | None = None  # float32 [n, d]

    def __len__(self) -> int:
        return len(self.start_s)

    def event_scores(self, threshold: float | None, *, unknown: bool = True) -> np.ndarray:
        """Return the scores that decide on events, float32 ``[n, classes]``.

        They are the geometric means of probabilities and presence, if the model estimates presence. For others they are
        the probabilities, but 0 where the familiarity is below ``threshold``, the model's for "unknown". With
        ``unknown=False``, all windows count as present and familiar.
        """
        if self.presence is not None:
            present = self.presence if unknown else np.ones(len(self), np.float32)
            scores: np.ndarray = np.sqrt(self.probabilities * present[:, None])
            return scores
        if self.familiarity is None or threshold is None or not unknown:
            return self.probabilities
        return self.probabilities * (self.familiarity >= threshold)[:, None]


class RecordingAggregator:
    """Combines the scores of a recording's windows, in order, to the mean scores and the events of the recording.

    If the recording is a single window, no threshold was given and no class reaches its default threshold, the class
    with the highest score is returned as an event, so that every clip has one, unless this class is background.

    A model with presence is asked two questions about a window: which class, and whether there is any. The geometric
    mean of both answers decides on events, averaged over the windows that overlap (``WindowSmoother``), which are
    ``hop_s`` apart. A window then stands for its middle hop, so the ends of an event of several windows are moved
    inwards, by at most half of the overlap.
    """

    def __init__(
        self,
        model: Model,
        *,
        threshold: ArrayLike | None = None,
        release: float = RELEASE,
        merge_gap_s: float = 0.0,
        unknown: bool = True,
        hop_s: float | None = None,
        calibration_db: float | None = None,
    ) -> None:
        self.windows = 0
        self.analyzed_s = 0.0  # end of the last window
        self._model, self._unknown, self._threshold_given = model, unknown, threshold is not None
        self._background = {model.classes[row] for row in model.card.background_rows}
        thresholds = model.threshold(threshold)
        thresholds[list(model.card.background_rows)] = np.inf  # background never starts an event
        self.tracker = EventTracker(
            model.classes,
            threshold=thresholds,
            release=release,
            merge_gap_s=merge_gap_s,
            calibration_db=calibration_db or 0.0,
        )
        self._hop_s = model.card.window_s if hop_s is None else hop_s
        self._smoother = WindowSmoother(self._hop_s) if model.has_presence else None
        self._sum = np.zeros(len(model.classes), np.float64)
        self._familiarity: float | None = None
        self._n_events = 0
        self._levels: dict[str, Any] = {}  # of the first window
        self._calibration_db = calibration_db or 0.0

    def add(self, part: WindowScores) -> list[Event]:
        """Add windows, and return the events that have ended; unfamiliar windows and their pieces detect no class."""
        if part.familiarity is not None and self._model.card.unknown is not None:
            self._familiarity = (self._familiarity or 0.0) + float(part.familiarity.sum(dtype=np.float64))
        self.windows += len(part)
        self._sum += part.probabilities.sum(axis=0, dtype=np.float64)
        self.analyzed_s = float(part.stop_s[-1])
        p_events = part.event_scores(self._model.card.unknown, unknown=self._unknown)
        if part.power is not None and self.windows == len(part):
            self._levels = {"level_dbfs": power_db(float(part.power[0]))}
            if part.power_a is not None:
                self._levels["level_dba"] = power_db(float(part.power_a[0])) + self._calibration_db
        ended = []
        for row, p in enumerate(p_events):
            powers = (None if each is None else float(each[row]) for each in (part.power, part.power_a))
            window = Segment(float(part.start_s[row]), float(part.stop_s[row]), p, *powers)
            ended += self._step(window, part.pieces[row])
        self._n_events += len(ended)
        return ended

    def _step(self, window: Segment, pieces: Sequence[Segment]) -> list[Event]:
        if self._smoother is None:
            return self.tracker.step(window, pieces)
        smoothed = self._smoother.push(window)
        return [self._trimmed(event) for each in smoothed for event in self.tracker.step(each)]

    def _trimmed(self, event: Event) -> Event:
        """Move the ends of an event of several overlapping windows inwards, but not those of the recording."""
        window_s = self._model.card.window_s
        trim_s = max(0.0, min(window_s - self._hop_s, event.stop_s - event.start_s - window_s) / 2)
        start_s = event.start_s + trim_s * (event.start_s > 0)
        return replace(event, start_s=start_s, stop_s=event.stop_s - trim_s * (event.stop_s < self.analyzed_s))

    def end(self) -> list[Event]:
        """End the recording, and return the events that were still running, by onset."""
        smoothed = self._smoother.end() if self._smoother else []
        ended = [event for each in smoothed for event in self.tracker.step(each)] + self.tracker.end()
        if self._smoother:
            ended = [self._trimmed(event) for event in ended]
        if self.windows != 1 or self._n_events or ended or self._threshold_given or self._model.thresholds is not None:
            return ended
        best = self.answer(top_k=1)[0]
        if best["label"] in self._background:
            return ended
        score = best["score"]
        event = Event(label=best["label"], start_s=0.0, stop_s=self.analyzed_s, confidence=score, peak=score)
        return [replace(event, **self._levels)]

    def answer(self, top_k: int | None = None) -> list[dict[str, Any]]:
        """Return the classes of the recording in the form of ``Model.classify``; needs at least one window."""
        familiarity = None if self._familiarity is None else self._familiarity / self.windows
        return self._model.answer(self._sum / self.windows, familiarity, top_k=top_k, unknown=self._unknown)

    def in_order(self, events: Sequence[Event]) -> list[Event]:
        """Sort ``events`` by onset, then in the order of the classes."""
        order = {label: row for row, label in enumerate(self._model.classes)}
        return sorted(events, key=lambda event: (event.start_s, order.get(event.label, -1)))


class StreamClassifier:
    """Classifies samples at ``rate_hz`` that arrive in blocks of any size: from files, pipes and microphones.

    It resamples to the model's sample rate, splits into windows with a hop of ``hop_s`` seconds (default: from
    ``overlap``, by default the model's), scores them, and returns events as they end. The results do not depend on the
    block size. With ``pieces``, the newest piece of each overlapping window is scored separately too (see ``events``).
    By default, each window is scored as soon as it is complete, for live streams. With ``batched``, batches of
    ``Model.windows_per_batch`` windows are scored, by the threads of ``pool`` if there is one, while more samples are
    read. With ``embed``, the scores contain the embeddings. Memory does not grow with the length of the stream.

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
        overlap: float | None = None,
        hop_s: float | None = None,
        pieces: bool = True,
        threshold: ArrayLike | None = None,
        release: float = RELEASE,
        merge_gap_s: float = 0.0,
        unknown: bool = True,
        calibration_db: float | None = None,
        batched: bool = False,
        embed: bool = False,
        pool: Executor | None = None,
        on_scores: Callable[[WindowScores], None] = lambda part: None,
        on_samples: Callable[[int, Samples], None] = lambda start, samples: None,
    ) -> None:
        self._model, self._from_hz = model, rate_hz
        self.rate_hz = model.card.representation.input_rate_hz or rate_hz
        overlap = model.overlap if overlap is None else overlap
        self._cutter = WindowCutter(
            model.card.window_s * self.rate_hz, _hop(model.card.window_s, self.rate_hz, overlap, hop_s)
        )
        self._resampler = Resampler(rate_hz, self.rate_hz)
        self._pieces, self._embed = pieces, embed
        self.aggregator = RecordingAggregator(
            model,
            threshold=threshold,
            release=release,
            merge_gap_s=merge_gap_s,
            unknown=unknown,
            hop_s=self._cutter.hop / self.rate_hz,
            calibration_db=calibration_db,
        )
        self._weighted = calibration_db is not None
        self._batch, self._pool = model.windows_per_batch(self.rate_hz) if batched else 1, pool
        self._on_scores, self._on_samples = on_scores, on_samples
        self._pending: list[Window] = []
        self._running: deque[Future[WindowScores]] = deque()
        self._ended: list[Event] = []  # not returned yet
        self._finished = False
        self.discarded_s = 0.0  # seconds pushed but not scored: see ``skip``

    @property
    def received_s(self) -> float:
        """Seconds pushed or skipped so far, without the samples buffered in the resampler."""
        return self._cutter.n_samples / self.rate_hz

    @property
    def analyzed_s(self) -> float:
        """End of the last scored window."""
        return self.aggregator.analyzed_s

    @property
    def buffered_samples(self) -> int:
        """Number of resampled samples in memory, in windows that wait to be scored and in the window buffer."""
        return self._cutter.buffered_samples + sum(len(window.samples) for window in self._pending)

    @property
    def running_events(self) -> list[Event]:
        """The events that have started and not ended; ``stop_s`` is the end of the latest window."""
        return self.aggregator.tracker.running_events

    def push(self, samples: Samples) -> list[Event]:
        """Add ``samples`` [n], and return the events that have ended."""
        self._add_samples(self._resampler.push(np.ascontiguousarray(samples, np.float32)))
        return self._take_ended()

    def skip(self, gap_s: float, *, score_rest: bool = True) -> list[Event]:
        """Skip a gap of ``gap_s`` seconds in the stream, and return the events that have ended.

        New windows start after the gap. The samples before it that do not fill a window are scored in a last window
        that ends at the gap; without ``score_rest``, they are discarded and counted in ``discarded_s``.
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
        """End the stream, and return the remaining events, by onset; without ``score_rest``, nothing more is scored.

        If a call is interrupted, a second call returns the events that the first one did not.
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

    def read(
        self, blocks: Iterable[Samples], on_events: Callable[[Sequence[Event]], None] = lambda events: None
    ) -> list[Event]:
        """Process all ``blocks`` of a recording, and return its events by onset, then in the order of the classes.

        ``on_events`` is called with the events that end, as they end.
        """
        events: list[Event] = []
        try:
            for ended in chain((self.push(samples) for samples in blocks), (self.finish() for _ in range(1))):
                on_events(ended)
                events += ended
            return self.aggregator.in_order(events)
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
        """Add the scores that are ready, in order; wait until at most ``most`` batches are running."""
        while self._running and (self._running[0].done() or len(self._running) > most):
            self._add_scores(self._running.popleft().result())

    def _score(self, windows: Sequence[Window]) -> WindowScores:
        return score_windows(
            self._model,
            windows,
            self.rate_hz,
            self._cutter.hop,
            pieces=self._pieces,
            weighted=self._weighted,
            embed=self._embed,
        )

    def _add_scores(self, part: WindowScores) -> None:
        self._ended += self.aggregator.add(part)
        self._on_scores(part)

    def _take_ended(self) -> list[Event]:
        ended, self._ended = self._ended, []
        return ended


def score_windows(
    model: Model,
    windows: Sequence[Window],
    rate_hz: int,
    hop: int,
    *,
    pieces: bool = True,
    weighted: bool = False,
    embed: bool = False,
) -> WindowScores:
    """Score ``windows``, which are ``hop`` samples apart, with their levels; ``weighted``: the A-weighted ones too.

    With ``embed``, the embeddings are part of the result.

    >>> window = Window(0, np.zeros(44100, np.float32), new_from=0)
    >>> scores = score_windows(model, [window], 22050, hop=44100)
    >>> scores.probabilities.shape, scores.power.shape, scores.power_a
    ((1, 10), (1,), None)
    """
    part = model.score(windows, rate_hz, hop=hop if pieces else None, embed=embed)
    middles = [window.middle(hop) for window in windows]
    power = np.array([mean_power(samples) for samples in middles])
    power_a = np.array([a_weighted_power(samples, rate_hz) for samples in middles]) if weighted else None
    return replace(part, power=power, power_a=power_a)


def _hop(window_s: float, rate_hz: int, overlap: float, hop_s: float | None) -> int:
    """Return the hop in samples."""
    if hop_s is None:
        return hop_samples(window_s * rate_hz, overlap)
    if not 1 / rate_hz <= hop_s <= window_s:
        raise SettingsError(
            f"the hop is {hop_s:g} s: expected more than 0 and at most the model's window, {window_s:g} s."
        )
    return round(hop_s * rate_hz)


def cut_windows(flow: SampleStream, window_s: float, overlap: float) -> Iterator[Window]:
    """Yield the windows of a stream of samples.

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
    """Combine rows of probabilities and lists of ``spans`` in samples to segments with times in seconds.

    >>> as_segments([[(0, 100)]], np.array([[0.9, 0.1]]), 100)
    [[Segment(start_s=0.0, stop_s=1.0, probabilities=array([0.9, 0.1]), power=None, power_a=None)]]
    """
    rows = iter(probabilities)
    return [[Segment(start / rate_hz, stop / rate_hz, next(rows)) for start, stop in each] for each in spans]


@dataclass(frozen=True)
class _ArrayStream:
    """Samples in memory, as a stream of one block."""

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
    source: AudioSource,
    rate_hz: float | None,
    to_hz: int | None,
    pool: Executor | None = None,
    decoders: Decoders | None = None,
) -> Iterator[SampleStream]:
    """Open a source as a stream of blocks at the sample rate ``to_hz`` (None: unchanged); files are read in blocks.

    ``pool`` and ``decoders`` are those of ``audio.stream``.

    >>> with open_stream(np.zeros(44100, np.float32), 44100, 22050) as flow:
    ...     flow.rate_hz, flow.duration_s
    (22050, 1.0)
    """
    if is_samples(source) or rate_hz is not None:
        sound = as_sound(source, rate_hz)
        rate = to_hz or sound.rate_hz
        yield _ArrayStream(audio.resample(sound.samples, sound.rate_hz, rate), rate, sound.note)
    else:
        with audio.stream(source, rate_hz=to_hz, pool=pool, decoders=decoders) as flow:  # type: ignore[arg-type]
            yield flow

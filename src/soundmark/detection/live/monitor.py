"""Classify a live source: one thread reads it, the calling thread classifies and reports events as they end.

Windows, scores and events are the same as for a file with the same samples: both use ``StreamClassifier``. If a live
source delivers audio faster than this machine can classify it, the oldest audio is dropped, counted and reported, so
that results stay current.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from soundmark.audio import Samples
from soundmark.audio.capture.source import Block, LiveSource
from soundmark.detection.live.backlog import Backlog, StartEstimate
from soundmark.detection.live.repeated_notes import RepeatedNotes
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import SettingsError
from soundmark.models.classifier import Model
from soundmark.models.events import Event
from soundmark.models.streaming import StreamClassifier, WindowScores
from soundmark.runtime.text import counted

MAX_QUEUED_S = 5.0  # of live audio; older audio is dropped


STALLED_S = 5.0  # without a sample, until a stall is reported


SILENT_S = 30.0  # of zeros, until digital silence is reported: the source may be muted or unplugged


@dataclass
class StreamState:
    """The current state of a live source, for display."""

    source: str
    classes: tuple[str, ...]
    analyzed_s: float = 0.0
    level_db: float = -120.0  # dBFS, of the last block
    peak_db: float = -120.0  # dBFS, the highest level of the last 40 blocks
    probabilities: Samples | None = None  # of the last window
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=8))
    running_events: list[Event] = field(default_factory=list)
    dropped_s: float = 0.0  # dropped because classification was too slow
    lost_s: float = 0.0  # dropped, or not delivered by the source
    n_invalid: int = 0  # samples replaced by silence
    note: str = ""

    def loss_report(self) -> str:
        """A sentence about audio that was not analysed, or replaced by silence; "" if there is none.

        >>> StreamState("-", (), analyzed_s=60.0, dropped_s=1.5, lost_s=4.0).loss_report()
        '4.0 s of 60.0 s were not analysed: 1.5 s were dropped, 2.5 s were not delivered by the source'
        """
        missing_s = max(0.0, self.lost_s - self.dropped_s)  # rounding may make it negative
        lost = (
            f"{self.lost_s:.1f} s of {self.analyzed_s:.1f} s were not analysed: {self.dropped_s:.1f} s were dropped, "
            f"{missing_s:.1f} s were not delivered by the source"
        )
        were = "was" if self.n_invalid == 1 else "were"
        invalid = f"{counted(self.n_invalid, 'invalid sample')} {were} replaced by silence"
        return "; ".join([lost] * bool(self.lost_s) + [invalid] * bool(self.n_invalid))


@dataclass(frozen=True)
class StreamCallbacks:
    """Functions that are called with each event, note, state and block of samples.

    ``event`` also gets the start time of the stream, or None if unknown. ``samples`` gets the position in the stream
    and the samples at the model's sample rate, ``scores`` the scores of windows, in order.
    """

    event: Callable[[Event, datetime | None], None] = lambda event, started: None
    note: Callable[[str], None] = lambda text: None
    state: Callable[[StreamState], None] = lambda state: None
    samples: Callable[[int, Samples], None] = lambda start, samples: None
    scores: Callable[[WindowScores], None] = lambda part: None


def monitor(
    model: Model,
    source: LiveSource,
    settings: DetectionSettings,
    callbacks: StreamCallbacks,
    *,
    hop_s: float | None = None,
    duration_s: float | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> StreamState:
    """Classify ``source`` until it ends, or for ``duration_s``, with one window every ``hop_s`` (default: the model's).

    Raises:
        SettingsError: ``hop_s`` is longer than a window; ``hop_s`` or ``duration_s`` is not above 0.
        AudioError: the source fails permanently.

    >>> import io
    >>> from soundmark import audio
    >>> from soundmark.audio.capture.pcm import open_pcm
    >>> sound = audio.read(city.clips[0].path, rate_hz=22050)
    >>> source = open_pcm(io.BytesIO((sound.samples * 32767).astype("<i2").tobytes()), rate_hz=22050)
    >>> events = []
    >>> callbacks = StreamCallbacks(event=lambda event, started: events.append(event))
    >>> _ = monitor(model, source, DetectionSettings(), callbacks)
    >>> len(events)
    1
    """
    processor = StreamProcessor(model, source, settings, callbacks, hop_s=hop_s, clock=clock)
    for _ in processor.events(duration_s):
        pass
    return processor.state


class StreamProcessor:
    """Classifies one live source: measures its level, reports gaps, updates the state, calls the callbacks.

    Raises:
        SettingsError: see ``monitor``.
    """

    def __init__(
        self,
        model: Model,
        source: LiveSource,
        settings: DetectionSettings,
        callbacks: StreamCallbacks,
        *,
        hop_s: float | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.source, self.callbacks, self._clock = source, callbacks, clock
        self.start_estimate = StartEstimate(source.rate_hz)
        self.classifier = StreamClassifier(
            model,
            source.rate_hz,
            hop_s=hop_s,
            on_scores=self._keep_scores,
            on_samples=callbacks.samples,
            **settings.stream_options(model),
        )
        self.state = StreamState(source.name, model.classes)
        self.final_events: Sequence[Event] = ()  # still running when the stream was stopped
        self._zeros_s, self._levels = 0.0, deque[float](maxlen=40)
        self._repeated = RepeatedNotes(lambda: clock().timestamp())

    def events(self, duration_s: float | None = None) -> Iterator[Event]:
        """Yield each event as it ends, until the source ends, or for ``duration_s``.

        When the iteration ends for any reason, the source is closed. Events that were still running are passed to the
        callbacks and to ``final_events``.

        Raises:
            SettingsError: ``duration_s`` is not above 0.
        """
        if duration_s is not None and not duration_s > 0:
            raise SettingsError(f"the duration to listen is {duration_s:g} s: expected more than 0.")
        return self._events(duration_s)

    def _events(self, duration_s: float | None) -> Iterator[Event]:
        backlog = Backlog(capacity_s=MAX_QUEUED_S, rate_hz=self.source.rate_hz, drops=self.source.is_live)
        threading.Thread(target=self._read, args=(backlog,), daemon=True).start()
        try:
            for block in _blocks(backlog, self.note):
                yield from self.process(block)
                if duration_s is not None and self.state.analyzed_s >= duration_s:
                    break
            yield from self.finish()
        finally:  # also on Ctrl-C
            backlog.close()
            self.final_events = self.finish(score_rest=False)

    def process(self, block: Block) -> Sequence[Event]:
        """Classify one block, after any audio lost before it; return the events that ended."""
        if block.note:
            self.note(block.note)
        events: list[Event] = []
        if block.lost_s:
            events += self._skip(block.lost_s, block.dropped_s)
        if block.n_invalid:
            self._report_invalid(block.n_invalid)
        if len(block.samples):
            self._watch(block.samples)
            events += self._report(self.classifier.push(block.samples))
        return events

    def finish(self, *, score_rest: bool = True) -> Sequence[Event]:
        """End the stream and return the events that end with it; if ``score_rest``, score the last samples first."""
        events = self._report(self.classifier.finish(score_rest=score_rest))
        self.state.running_events = []
        self.callbacks.state(self.state)
        return events

    def note(self, text: str) -> None:
        """Report a note, and store it in the state."""
        self.state.note = text
        self.callbacks.note(text)
        self.callbacks.state(self.state)

    def _read(self, backlog: Backlog) -> None:
        """Read the source into the backlog; runs in its own thread."""
        try:
            for block in self.source.blocks():
                if self.source.is_live:
                    self.start_estimate.add(block, self._clock())
                if not backlog.put(block):
                    return
        except Exception as error:  # re-raised in the thread that classifies
            backlog.end(error)
        else:
            backlog.end()

    def _skip(self, lost_s: float, dropped_s: float) -> Sequence[Event]:
        """Continue after a gap, of which the backlog dropped ``dropped_s``; return the events that ended."""
        before_s = self.classifier.discarded_s
        events = self.classifier.skip(lost_s, score_rest=not dropped_s)
        rest_s = self.classifier.discarded_s - before_s
        self.state.lost_s += lost_s + rest_s
        if dropped_s:
            self._report_dropped(self.state.dropped_s + dropped_s + rest_s)
        return self._report(events)

    def _report_dropped(self, dropped_s: float) -> None:
        self.state.dropped_s = dropped_s
        if self._repeated.is_due("dropped"):
            gaps = counted(self._repeated.count["dropped"], "gap")
            self.note(f"this machine cannot keep up: {dropped_s:,.1f} s of audio were dropped so far, in {gaps}")

    def _report_invalid(self, n_invalid: int) -> None:
        self.state.n_invalid += n_invalid
        if self._repeated.is_due("invalid"):
            problem = "samples that are NaN, infinite or far beyond full scale are replaced by silence"
            self.note(f"{problem}: {self.state.n_invalid:,} so far")

    def _watch(self, samples: Samples) -> None:
        """Measure the level and the peak; report digital silence."""
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        self.state.level_db = 10 * np.log10(max(power, 1e-12))
        self._levels.append(self.state.level_db)
        self.state.peak_db = max(self._levels)
        seconds = len(samples) / self.source.rate_hz
        was_s, self._zeros_s = self._zeros_s, self._zeros_s + seconds if not samples.any() else 0.0
        if was_s < SILENT_S <= self._zeros_s:
            self.note(f"digital silence for {SILENT_S:g} s: is the source muted or unplugged?")
        elif was_s >= SILENT_S and not self._zeros_s:
            self.note(f"audio again after {was_s:.0f} s of digital silence")

    def _keep_scores(self, part: WindowScores) -> None:
        self.state.probabilities = part.probabilities[-1]
        self.callbacks.scores(part)

    def _report(self, events: Sequence[Event]) -> Sequence[Event]:
        """Call the callbacks with ``events`` and the new state."""
        for event in events:
            self.state.events.append(event)
            self.callbacks.event(event, self.start_estimate.started)
        self.state.running_events = self.classifier.running_events
        self.state.analyzed_s = self.classifier.received_s
        self.callbacks.state(self.state)
        return events


def _blocks(backlog: Backlog, note: Callable[[str], None]) -> Iterator[Block]:
    """Yield the blocks of the backlog; report when no audio arrives for ``STALLED_S``."""
    last, stalled = time.monotonic(), False
    while not backlog.over:
        block = backlog.take(0.25)
        now = time.monotonic()
        if block is None:
            if not stalled and now - last >= STALLED_S and not backlog.over:
                stalled = True
                note(f"no audio received for {STALLED_S:g} s: waiting for the source")
            continue
        if stalled and len(block.samples):
            note(f"audio received again after {now - last:.0f} s")
            stalled = False
        if len(block.samples):
            last = now
        yield block

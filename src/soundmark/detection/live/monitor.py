"""Live sound to events, as it comes: a source is read by one thread, and heard by this one.

The windows, their scores and the events are those of a file with the same samples. What a live source gives faster than
it can be heard is dropped, oldest first, counted and said: it never falls behind.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from soundmark.audio import Resampler, Samples
from soundmark.audio.capture.source import Block, LiveSource
from soundmark.detection.analysis import aggregator_for
from soundmark.detection.live.backlog import Backlog, StartEstimate
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import SettingsError
from soundmark.models.classifier import Model
from soundmark.models.events import Event
from soundmark.models.windows import Window, WindowCutter

MOST_WAITING_S = 5.0  # of live sound that is kept unheard: what is older is dropped


STALLED_S = 5.0  # without a sample, and somebody is told


SILENT_S = 30.0  # of zeros alone, and somebody is told: it is muted, or unplugged


@dataclass
class StreamState:
    """What is heard now: for whoever draws it."""

    source: str
    classes: tuple[str, ...]
    heard_s: float = 0.0
    level_db: float = -120.0  # dBFS, of the last block
    peak_db: float = -120.0  # the highest of the last seconds
    probabilities: Samples | None = None  # of the last window
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=8))
    under_way: list[Event] = field(default_factory=list)
    dropped_s: float = 0.0  # that came faster than it could be heard
    lost_s: float = 0.0  # the same, and what the source did not give
    note: str = ""

    def account(self) -> str:
        """What went by unheard, in a sentence; "" where nothing did.

        >>> StreamState("-", (), heard_s=60.0, dropped_s=1.5, lost_s=4.0).account()
        '4.0 s of 60.0 s went by unheard: 1.5 s were dropped, 2.5 s did not come'
        """
        if not self.lost_s:
            return ""
        missing_s = max(0.0, self.lost_s - self.dropped_s)  # sums of floats
        return (
            f"{self.lost_s:.1f} s of {self.heard_s:.1f} s went by unheard: {self.dropped_s:.1f} s were dropped, "
            f"{missing_s:.1f} s did not come"
        )


@dataclass(frozen=True)
class StreamCallbacks:
    """Who is told: of every event, of what is to be known, of the state, and of samples at the model's rate."""

    event: Callable[[Event, datetime | None], None] = lambda event, began: None
    note: Callable[[str], None] = lambda text: None
    state: Callable[[StreamState], None] = lambda state: None
    samples: Callable[[int, Samples], None] = lambda place, samples: None


def monitor(
    model: Model,
    source: LiveSource,
    settings: DetectionSettings,
    told: StreamCallbacks,
    *,
    hop_s: float | None = None,
    most_s: float | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> StreamState:
    """Hear ``source`` until it ends, or ``most_s`` seconds; a window each ``hop_s`` (by default, without overlap).

    Raises:
        SettingsError: a hop that is no length of time, or longer than a window; a duration that is none.
        AudioError: the source fails for good.

    >>> from soundmark import audio
    >>> from soundmark.audio.capture.pcm import open_pcm
    >>> import io
    >>> sound = audio.read(city.clips[0].path, rate_hz=22050)
    >>> source = open_pcm(io.BytesIO((sound.samples * 32767).astype("<i2").tobytes()), rate_hz=22050)
    >>> heard = []
    >>> told = StreamCallbacks(event=lambda event, began: heard.append(event))
    >>> _ = monitor(model, source, DetectionSettings(), told)
    >>> len(heard)
    1
    """
    if most_s is not None and not most_s > 0:
        raise SettingsError(f"the duration is {most_s:g} s: give more than 0.")
    anchor = StartEstimate(source.rate_hz)
    ear = StreamProcessor(model, source, settings, told, hop_s, anchor)
    backlog = Backlog(most_s=MOST_WAITING_S, rate_hz=source.rate_hz, drops=source.is_live)
    reader = threading.Thread(target=_read, args=(source, backlog, anchor, clock), daemon=True)
    reader.start()
    try:
        for block in _blocks(backlog, ear.say):
            ear.hear(block)
            if most_s is not None and ear.state.heard_s >= most_s:
                break
        ear.finish()
    finally:  # Ctrl-C too: what is under way is told
        backlog.close()
        ear.end()
    return ear.state


def _read(source: LiveSource, backlog: Backlog, anchor: StartEstimate, clock: Callable[[], datetime]) -> None:
    try:
        for block in source.blocks():
            if source.is_live:
                anchor.hear(block, clock())
            if not backlog.put(block):
                return
    except Exception as error:  # whatever it is, it is raised again where the sound is heard
        backlog.end(error)
    else:
        backlog.end()


def _blocks(backlog: Backlog, say: Callable[[str], None]) -> Iterator[Block]:
    """The blocks as they come; when none does for a while, somebody is told."""
    last, stalled = time.monotonic(), False
    while not backlog.over:
        block = backlog.take(0.25)
        now = time.monotonic()
        if block is None:
            if not stalled and now - last >= STALLED_S and not backlog.over:
                stalled = True
                say(f"no sound has come for {STALLED_S:g} s: waiting for it")
            continue
        if stalled and len(block.samples):
            say(f"sound comes again, after {now - last:.0f} s")
            stalled = False
        if len(block.samples):
            last = now
        yield block


class StreamProcessor:
    """Hears one source: resamples, cuts, scores, follows."""

    def __init__(
        self,
        model: Model,
        source: LiveSource,
        settings: DetectionSettings,
        told: StreamCallbacks,
        hop_s: float | None,
        anchor: StartEstimate,
    ) -> None:
        self.model, self.source, self.told, self.anchor = model, source, told, anchor
        self.rate_hz = model.card.representation.rate_hz or source.rate_hz
        self.cutter = WindowCutter(model.card.window_s * self.rate_hz, self._hop(hop_s))
        self.resampler = Resampler(source.rate_hz, self.rate_hz)
        self.account = aggregator_for(model, settings)
        self.state = StreamState(source.name, model.classes)
        self.zeros_s, self.peaks = 0.0, deque[float](maxlen=40)

    def _hop(self, hop_s: float | None) -> int:
        window_s = self.model.card.window_s
        if hop_s is None:
            return round(window_s * self.rate_hz)
        if not 1 / self.rate_hz <= hop_s <= window_s:
            raise SettingsError(
                f"the hop is {hop_s:g} s: give more than 0 and at most the model's window, {window_s:g} s."
            )
        return round(hop_s * self.rate_hz)

    def hear(self, block: Block) -> None:
        """One block, and before it what was lost."""
        if block.note:
            self.say(block.note)
        if block.lost_s:
            self._lose(block.lost_s, block.dropped_s)
        if len(block.samples):
            self._watch(block.samples)
            self._take(self.resampler.push(block.samples))

    def say(self, text: str) -> None:
        """Tell of something, and keep it where whoever draws the state finds it."""
        self.state.note = text
        self.told.note(text)
        self.told.state(self.state)

    def _lose(self, lost_s: float, dropped_s: float) -> None:
        """Go on behind a gap, of which the backlog dropped ``dropped_s``."""
        self._take(self.resampler.end())
        self.resampler = Resampler(self.source.rate_hz, self.rate_hz)
        if dropped_s:  # no time for what was too short for a window: it is dropped with the rest
            rest_s = self.cutter.unheard / self.rate_hz
            self._say_dropped(self.state.dropped_s + dropped_s + rest_s)
        else:
            rest_s = 0.0
            self._finish()
        self.cutter.skip(round(lost_s * self.rate_hz))
        self.state.lost_s += lost_s + rest_s

    def _say_dropped(self, dropped_s: float) -> None:
        before, self.state.dropped_s = self.state.dropped_s, dropped_s
        if not before or int(dropped_s / 10) > int(before / 10):
            self.say(f"this machine cannot keep up: {dropped_s:.1f} s of sound were dropped so far")

    def _watch(self, samples: Samples) -> None:
        """Level, peak, and silence that no room has."""
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        self.state.level_db = 10 * np.log10(max(power, 1e-12))
        self.peaks.append(self.state.level_db)
        self.state.peak_db = max(self.peaks)
        seconds = len(samples) / self.source.rate_hz
        was, self.zeros_s = self.zeros_s, self.zeros_s + seconds if not samples.any() else 0.0
        if was < SILENT_S <= self.zeros_s:
            self.say(f"nothing but zeros for {SILENT_S:g} s: is it muted, or unplugged?")
        elif was >= SILENT_S and not self.zeros_s:
            self.say(f"sound again, after {was:.0f} s of zeros")

    def _take(self, samples: Samples) -> None:
        if not len(samples):
            return
        self.told.samples(self.cutter.n_samples, samples)
        for window in self.cutter.push(samples):
            self._score(window)
        self.state.heard_s = self.cutter.n_samples / self.rate_hz
        self.told.state(self.state)

    def _score(self, window: Window) -> None:
        part = self.model.score([window], self.rate_hz, hop=self.cutter.hop)
        self.state.probabilities = part.probabilities[-1]
        self._tell(self.account.hear(part))
        self.state.under_way = self.account.tracker.under_way

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            self.state.events.append(event)
            self.told.event(event, self.anchor.began)

    def finish(self) -> None:
        """The source ended: what is left is heard, so that no sample goes unheard."""
        self._take(self.resampler.end())
        self._finish()

    def _finish(self) -> None:
        for window in self.cutter.end():
            self._score(window)

    def end(self) -> None:
        """Tell of what was under way."""
        self._tell(self.account.end() if self.account.windows else [])
        self.state.under_way = []
        self.told.state(self.state)

"""Live sound to events, as it comes: a source is read by one thread, and heard by this one.

The windows, their scores and the events are those of a file with the same samples. What a live source gives faster than
it can be heard is dropped, oldest first, counted and said: it never falls behind.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from soundmark import classification
from soundmark.audio import Resampler, Samples
from soundmark.classification import Settings
from soundmark.errors import SettingsError
from soundmark.events import Event
from soundmark.prediction import Model, Part
from soundmark.sources import Block, Source
from soundmark.windows import Cutter

MOST_WAITING_S = 5.0  # of live sound that is kept unheard: what is older is dropped
STALLED_S = 5.0  # without a sample, and somebody is told
SILENT_S = 30.0  # of zeros alone, and somebody is told: it is muted, or unplugged


@dataclass
class State:
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


@dataclass(frozen=True)
class Told:
    """Who is told: of every event, of what is to be known, of the state, and of samples at the model's rate."""

    event: Callable[[Event, datetime | None], None] = lambda event, began: None
    note: Callable[[str], None] = lambda text: None
    state: Callable[[State], None] = lambda state: None
    samples: Callable[[int, Samples], None] = lambda place, samples: None


class Backlog:
    """Blocks between the thread that reads and the one that hears; of a live source the oldest are dropped.

    >>> backlog = Backlog(most_s=1.0, rate_hz=10, drops=True)
    >>> for value in range(4):
    ...     _ = backlog.put(Block(np.full(5, value, np.float32)))
    >>> block = backlog.take(0.0)
    >>> block.samples[0], block.lost_s, backlog.dropped_s
    (np.float32(2.0), 1.0, 1.0)
    """

    def __init__(self, *, most_s: float, rate_hz: int, drops: bool) -> None:
        self.most, self.rate_hz, self.drops = most_s * rate_hz, rate_hz, drops
        self.dropped_s = 0.0
        self._blocks: deque[Block] = deque()
        self._waiting = 0
        self._error: BaseException | None = None
        self._over = self._closed = False
        self._changed = threading.Condition()

    def put(self, block: Block) -> bool:
        """Keep a block; where nothing may be dropped, when there is room for it. False: nobody wants it."""
        with self._changed:
            while not self.drops and self._waiting >= self.most and not self._closed:
                self._changed.wait()
            self._blocks.append(block)
            self._waiting += len(block.samples)
            while self.drops and self._waiting > self.most and len(self._blocks) > 1:
                self._drop()
            self._changed.notify_all()
            return not self._closed

    def _drop(self) -> None:
        old, following = self._blocks.popleft(), self._blocks.popleft()
        self._waiting -= len(old.samples)
        seconds = len(old.samples) / self.rate_hz
        self.dropped_s += seconds
        kept = replace(following, lost_s=old.lost_s + seconds + following.lost_s, note=following.note or old.note)
        self._blocks.appendleft(kept)

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will come."""
        with self._changed:
            self._over, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody takes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, wait_s: float) -> Block | None:
        """The next block; None when none came in ``wait_s``, or when it is over. What was wrong is raised here."""
        with self._changed:
            if not self._blocks and not self._over:
                self._changed.wait(wait_s)
            if self._blocks:
                block = self._blocks.popleft()
                self._waiting -= len(block.samples)
                self._changed.notify_all()
                return block
            if self._error:
                raise self._error
            return None

    @property
    def over(self) -> bool:
        """Whether all that will ever come was taken, and nothing is wrong."""
        with self._changed:
            return self._over and not self._blocks and self._error is None


def listen(
    model: Model,
    source: Source,
    settings: Settings,
    told: Told,
    *,
    hop_s: float | None = None,
    most_s: float | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> State:
    """Hear ``source`` until it ends, or ``most_s`` seconds; a window each ``hop_s`` (by default, without overlap).

    Raises:
        SettingsError: a hop that is no length of time, or longer than a window.
        AudioError: the source fails for good.

    >>> from soundmark import audio, sources
    >>> import io
    >>> sound = audio.read(city.clips[0].path, rate_hz=22050)
    >>> pcm = io.BytesIO((sound.samples * 32767).astype("<i2").tobytes())
    >>> heard = []
    >>> told = Told(event=lambda event, began: heard.append(event))
    >>> _ = listen(model, sources.pcm(pcm, rate_hz=22050), Settings(), told)
    >>> len(heard)
    1
    """
    ear = _Ear(model, source, settings, told, hop_s, clock)
    backlog = Backlog(most_s=MOST_WAITING_S, rate_hz=source.rate_hz, drops=source.is_live)
    reader = threading.Thread(target=_read, args=(source, backlog), daemon=True)
    reader.start()
    try:
        for block in _blocks(backlog, ear.say):
            ear.hear(block, backlog.dropped_s)
            if most_s is not None and ear.state.heard_s >= most_s:
                break
        ear.finish()
    finally:  # Ctrl-C too: what is under way is told
        backlog.close()
        ear.end()
    return ear.state


def _read(source: Source, backlog: Backlog) -> None:
    try:
        for block in source.blocks():
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


class _Ear:
    """Hears one source: resamples, cuts, scores, follows."""

    def __init__(
        self,
        model: Model,
        source: Source,
        settings: Settings,
        told: Told,
        hop_s: float | None,
        clock: Callable[[], datetime],
    ) -> None:
        self.model, self.source, self.told, self.clock = model, source, told, clock
        self.rate_hz = model.card.representation.rate_hz or source.rate_hz
        self.cutter = Cutter(model.card.window_s * self.rate_hz, self._hop(hop_s))
        self.resampler = Resampler(source.rate_hz, self.rate_hz)
        self.account = classification.account(model, settings)
        self.state = State(source.name, model.classes)
        self.began: datetime | None = None
        self.zeros_s, self.ended, self.peaks = 0.0, False, deque[float](maxlen=40)

    def _hop(self, hop_s: float | None) -> int:
        window_s = self.model.card.window_s
        if hop_s is None:
            return round(window_s * self.rate_hz)
        if not 1 / self.rate_hz <= hop_s <= window_s:
            raise SettingsError(
                f"the hop is {hop_s:g} s: give more than 0 and at most the model's window, {window_s:g} s."
            )
        return round(hop_s * self.rate_hz)

    def hear(self, block: Block, dropped_s: float) -> None:
        """One block, and before it what was lost."""
        if self.began is None and self.source.is_live and len(block.samples):
            self.began = self.clock() - timedelta(seconds=len(block.samples) / self.source.rate_hz)
        if dropped_s > self.state.dropped_s:
            self._say_dropped(dropped_s)
        if block.note:
            self.say(block.note)
        if block.lost_s:
            self._take(self.resampler.end())
            self.resampler = Resampler(self.source.rate_hz, self.rate_hz)
            self.cutter.skip(round(block.lost_s * self.rate_hz))
            self.state.lost_s += block.lost_s
        if len(block.samples):
            self._watch(block.samples)
            self._take(self.resampler.push(block.samples))

    def say(self, text: str) -> None:
        """Tell of something, and keep it where whoever draws the state finds it."""
        self.state.note = text
        self.told.note(text)
        self.told.state(self.state)

    def _say_dropped(self, dropped_s: float) -> None:
        if not self.state.dropped_s or int(dropped_s / 10) > int(self.state.dropped_s / 10):
            self.say(f"this machine cannot keep up: {dropped_s:.1f} s of sound were dropped so far")
        self.state.dropped_s = dropped_s

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
            self._score([window])
        self.state.heard_s = self.cutter.n_samples / self.rate_hz
        self.told.state(self.state)

    def _score(self, windows: list) -> None:
        part: Part = self.model.score(windows, self.rate_hz, hop=self.cutter.hop)
        self.state.probabilities = part.probabilities[-1]
        self._tell(self.account.hear(part))
        self.state.under_way = self.account.tracker.under_way

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            self.state.events.append(event)
            self.told.event(event, self.began)

    def finish(self) -> None:
        """The source ended: what is left is heard, so that no sample goes unheard."""
        self._take(self.resampler.end())
        for window in self.cutter.end():
            self._score([window])

    def end(self) -> None:
        """Tell of what was under way."""
        if not self.ended:
            self.ended = True
            self._tell(self.account.end() if self.account.windows else [])
            self.state.under_way = []
            self.told.state(self.state)

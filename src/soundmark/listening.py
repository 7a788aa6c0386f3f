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
from soundmark.prediction import Model
from soundmark.sources import Block, Source
from soundmark.windows import Cutter, Window

MOST_WAITING_S = 5.0  # of live sound that is kept unheard: what is older is dropped
STALLED_S = 5.0  # without a sample, and somebody is told
SILENT_S = 30.0  # of zeros alone, and somebody is told: it is muted, or unplugged
ANCHORED_S = 60.0  # of stream that the moment of its beginning is estimated from, at least


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

    def account(self) -> str:
        """What went by unheard, in a sentence; "" where nothing did.

        >>> State("-", (), heard_s=60.0, dropped_s=1.5, lost_s=4.0).account()
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
    >>> block.samples[0], block.lost_s, block.dropped_s
    (np.float32(2.0), 1.0, 1.0)
    """

    def __init__(self, *, most_s: float, rate_hz: int, drops: bool) -> None:
        self.most, self.rate_hz, self.drops = most_s * rate_hz, rate_hz, drops
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
        self._blocks.appendleft(
            replace(
                following,
                lost_s=old.lost_s + seconds + following.lost_s,
                dropped_s=old.dropped_s + seconds + following.dropped_s,
                note="; ".join(filter(None, (old.note, following.note))) or None,
            )
        )

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


class Anchor:
    """When a live stream began, by the clock: the earliest that its last minute or two say, told as they come.

    A block comes at the moment of its last sample or later, never before. So the estimate follows a sound card whose
    seconds are not the clock's, and a stream that stalled and went on where it was.

    >>> anchor, began = Anchor(rate_hz=10), datetime(2026, 1, 1)
    >>> for at_s in (1.2, 2.0, 3.7):
    ...     anchor.hear(Block(np.zeros(10, np.float32)), began + timedelta(seconds=at_s))
    >>> str(anchor.began)
    '2026-01-01 00:00:00'
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.began: datetime | None = None
        self._stream_s = self._turned_s = 0.0
        self._before = self._lately = datetime.max

    def hear(self, block: Block, now: datetime) -> None:
        """``block`` has come."""
        self._stream_s += block.lost_s + len(block.samples) / self.rate_hz
        if not len(block.samples):
            return
        if self._stream_s - self._turned_s > ANCHORED_S:
            self._before, self._lately, self._turned_s = self._lately, datetime.max, self._stream_s
        self._lately = min(now - timedelta(seconds=self._stream_s), self._lately.replace(tzinfo=now.tzinfo))
        self.began = min(self._lately, self._before.replace(tzinfo=now.tzinfo))


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
        SettingsError: a hop that is no length of time, or longer than a window; a duration that is none.
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
    if most_s is not None and not most_s > 0:
        raise SettingsError(f"the duration is {most_s:g} s: give more than 0.")
    anchor = Anchor(source.rate_hz)
    ear = _Ear(model, source, settings, told, hop_s, anchor)
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


def _read(source: Source, backlog: Backlog, anchor: Anchor, clock: Callable[[], datetime]) -> None:
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


class _Ear:
    """Hears one source: resamples, cuts, scores, follows."""

    def __init__(
        self,
        model: Model,
        source: Source,
        settings: Settings,
        told: Told,
        hop_s: float | None,
        anchor: Anchor,
    ) -> None:
        self.model, self.source, self.told, self.anchor = model, source, told, anchor
        self.rate_hz = model.card.representation.rate_hz or source.rate_hz
        self.cutter = Cutter(model.card.window_s * self.rate_hz, self._hop(hop_s))
        self.resampler = Resampler(source.rate_hz, self.rate_hz)
        self.account = classification.account(model, settings)
        self.state = State(source.name, model.classes)
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

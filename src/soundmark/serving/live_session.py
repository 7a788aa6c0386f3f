"""Live audio of one WebSocket → messages: ``detection.live.monitor`` in a thread.

PCM ─ put ─▶ queue ─ StreamProcessor ─▶ callbacks ─▶ send ─▶ messages
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundmark.audio import Samples
from soundmark.audio.capture.pcm import FORMATS, decode_pcm
from soundmark.audio.capture.source import Block, LiveSource
from soundmark.audio.decoding import LARGEST_RATE_HZ, LOWEST_RATE_HZ
from soundmark.detection.live.monitor import StreamCallbacks, StreamProcessor, StreamState
from soundmark.detection.settings import DetectionSettings, LiveSettings
from soundmark.errors import SettingsError, unknown_name
from soundmark.models.classifier import Model
from soundmark.models.streaming import WindowScores
from soundmark.serving import updates
from soundmark.serving.rejections import rejections
from soundmark.serving.spectrogram_tiles import SpectrogramTiles, tiles_of_stream
from soundmark.serving.updates import Update

NAME = "microphone"


QUEUED_BLOCKS = 64  # of PCM that was received and not read


STATE_INTERVAL_S = 0.1  # between two messages about level and running events


MAX_CHANNELS = 8


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """What a client sends, and what it wants to get.

    Raises:
        SettingsError: a value is out of range.

    >>> LiveOptions(rate_hz=1)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: rate is 1 Hz: expected 40 to 1000000 Hz.
    """

    rate_hz: int = LiveSettings.rate_hz
    channels: int = LiveSettings.channels
    sample_format: str = LiveSettings.sample_format
    real_time: bool = LiveSettings.real_time  # the client does not wait: excess audio is dropped
    hop_s: float | None = LiveSettings.hop_s
    spectrogram: bool = False
    rejected: bool = False

    def __post_init__(self) -> None:
        if not LOWEST_RATE_HZ <= self.rate_hz <= LARGEST_RATE_HZ:
            raise SettingsError(f"rate is {self.rate_hz} Hz: expected {LOWEST_RATE_HZ} to {LARGEST_RATE_HZ} Hz.")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise SettingsError(f"channels is {self.channels}: expected a whole number from 1 to {MAX_CHANNELS}.")
        if self.sample_format not in FORMATS:
            raise unknown_name("sample_format", self.sample_format, FORMATS)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        width = 3 if self.sample_format == "s24" else np.dtype(FORMATS[self.sample_format]).itemsize
        return width * self.channels


class LiveSession:
    """Classifies the PCM of one client; ``send`` is called with each message, in the thread of ``run``.

    The session keeps its ``model``; when ``replacement`` returns the name of another one, the client gets a note.

    Raises:
        SettingsError: see ``StreamProcessor``.
    """

    def __init__(
        self,
        model: Model,
        detection: DetectionSettings,
        options: LiveOptions,
        send: Callable[[Update], None],
        replacement: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._replacement, self._announced = replacement, replacement()
        self._model, self._options, self._send = model, options, send
        self._blocks: queue.Queue[Block | None] = queue.Queue(QUEUED_BLOCKS)
        self._rest, self._is_over = b"", False
        self._unknown = detection.unknown
        self._thresholds = model.threshold(detection.threshold(model))
        source = LiveSource(NAME, options.rate_hz, self._read, options.real_time)
        callbacks = StreamCallbacks(
            event=lambda event, started: send(updates.events(NAME, [event])),
            note=lambda text: send({"kind": "note", "detail": text}),
            state=self._show,
            samples=self._samples,
            scores=self._scores,
        )
        self._processor = StreamProcessor(model, source, detection, callbacks, hop_s=options.hop_s)
        self._tiles: SpectrogramTiles | None = None
        if options.spectrogram:
            rate_hz = self._processor.classifier.rate_hz
            self._tiles = tiles_of_stream(model.card.representation, rate_hz, model.card.window_s)
        self._shown_at = 0.0

    @property
    def state(self) -> StreamState:
        """The state of the stream."""
        return self._processor.state

    async def put(self, data: bytes) -> None:
        """Add PCM; wait while the queue is full."""
        data = self._rest + data
        complete = len(data) // self._options.frame_bytes * self._options.frame_bytes
        self._rest = data[complete:]
        if complete:
            await self._put(decode_pcm(data[:complete], self._options.sample_format, self._options.channels))

    async def end(self) -> None:
        """End the stream: ``run`` scores the rest and returns."""
        await self._put(None)

    async def _put(self, block: Block | None) -> None:
        while True:
            try:
                self._blocks.put_nowait(block)
            except queue.Full:
                if self._is_over:
                    return
                await asyncio.sleep(0.01)
            else:
                return

    def run(self) -> None:
        """Classify the stream until it ends."""
        opened = updates.opened(NAME, self._model, self._tiles, duration_s=None, thresholds=self._thresholds)
        try:
            self._send(opened | {"rate_hz": self._options.rate_hz})
            for _ in self._processor.events():
                pass
        finally:
            self._is_over = True
        state = self.state
        self._send({"kind": "ended", "analyzed_s": round(state.analyzed_s, 6), "loss": state.loss_report()})

    def _read(self) -> Iterator[Block]:
        while (block := self._blocks.get()) is not None:
            yield block

    def _samples(self, start: int, samples: Samples) -> None:
        for tile in self._tiles.push(start, samples) if self._tiles else ():
            self._send(updates.tile(tile))

    def _scores(self, part: WindowScores) -> None:
        self._send(updates.scores(part))
        if self._options.rejected:
            found = rejections(part, self._model, self._thresholds, unknown=self._unknown)
            if found:
                self._send(updates.rejected(found))

    def _show(self, state: StreamState) -> None:
        now = time.monotonic()
        if now - self._shown_at < STATE_INTERVAL_S:
            return
        self._shown_at = now
        self._send({"kind": "state", **state_json(state)})
        if (name := self._replacement()) != self._announced:
            self._announced = name
            if name is not None:
                self._send(
                    {"kind": "note", "detail": f'the model "{name}" is in use now: start to listen again to use it.'}
                )


def state_json(state: StreamState) -> dict[str, Any]:
    """Return the state of a stream as JSON values.

    >>> state_json(StreamState("microphone", ("dog",), analyzed_s=2.0))["received_s"]
    2.0
    """
    return {
        "received_s": round(state.analyzed_s, 3),
        "level_db": round(float(state.level_db), 1),
        "peak_db": round(float(state.peak_db), 1),
        "dropped_s": round(state.dropped_s, 3),
        "lost_s": round(state.lost_s, 3),
        "running": [
            {"label": event.label, "start_s": round(event.start_s, 3), "confidence": float(f"{event.confidence:.4g}")}
            for event in state.running_events
        ],
    }

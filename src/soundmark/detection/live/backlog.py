"""The queue between the thread that reads a live source and the one that classifies; the start time of a stream."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta

from soundmark.audio.capture.source import Block

START_WINDOW_S = 60.0  # the start time is estimated from the last one or two windows of this length


class Backlog:
    """A bounded queue of blocks of audio.

    When it is full, the oldest blocks are dropped if ``drops``; else ``put`` waits.

    >>> import numpy as np
    >>> backlog = Backlog(capacity_s=1.0, rate_hz=10, drops=True)
    >>> for value in range(4):
    ...     _ = backlog.put(Block(np.full(5, value, np.float32)))
    >>> block = backlog.take(0.0)
    >>> block.samples[0], block.lost_s, block.dropped_s
    (np.float32(2.0), 1.0, 1.0)
    """

    def __init__(self, *, capacity_s: float, rate_hz: int, drops: bool) -> None:
        self.capacity, self.rate_hz, self.drops = capacity_s * rate_hz, rate_hz, drops
        self._blocks: deque[Block] = deque()
        self._queued = 0  # samples
        self._error: BaseException | None = None
        self._over = self._closed = False
        self._changed = threading.Condition()

    def put(self, block: Block) -> bool:
        """Add a block, and wait for room if blocks are not dropped; return False if the queue is closed."""
        with self._changed:
            while not self.drops and self._queued >= self.capacity and not self._closed:
                self._changed.wait()
            self._blocks.append(block)
            self._queued += len(block.samples)
            while self.drops and self._queued > self.capacity and len(self._blocks) > 1:
                self._drop()
            self._changed.notify_all()
            return not self._closed

    def _drop(self) -> None:
        old, following = self._blocks.popleft(), self._blocks.popleft()
        self._queued -= len(old.samples)
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
        """Mark the end of the stream; ``error`` is raised by ``take``."""
        with self._changed:
            self._over, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Close the queue: no more blocks are taken, and ``put`` returns False."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, wait_s: float) -> Block | None:
        """Return the next block, or None if there is none within ``wait_s`` or at the end.

        Raises:
            BaseException: the error that was passed to ``end``.
        """
        with self._changed:
            if not self._blocks and not self._over:
                self._changed.wait(wait_s)
            if self._blocks:
                block = self._blocks.popleft()
                self._queued -= len(block.samples)
                self._changed.notify_all()
                return block
            if self._error:
                raise self._error
            return None

    @property
    def over(self) -> bool:
        """Whether all blocks were taken and the stream ended without an error."""
        with self._changed:
            return self._over and not self._blocks and self._error is None


class StartEstimate:
    """Estimates the start time of a live stream from the arrival times of its blocks.

    A block arrives when its last sample was recorded or later, never earlier. So the estimate is the earliest start
    time that the blocks of the last one to two minutes imply. It follows a sound card whose clock drifts, and a stream
    that stalled and continued.

    >>> import numpy as np
    >>> estimate, start = StartEstimate(rate_hz=10), datetime(2026, 1, 1)
    >>> for at_s in (1.2, 2.0, 3.7):
    ...     estimate.add(Block(np.zeros(10, np.float32)), start + timedelta(seconds=at_s))
    >>> str(estimate.started)
    '2026-01-01 00:00:00'
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.started: datetime | None = None
        self._stream_s = self._window_start_s = 0.0
        self._previous = self._recent = datetime.max

    def add(self, block: Block, now: datetime) -> None:
        """Update the estimate with a ``block`` that arrived at the time ``now``."""
        self._stream_s += block.lost_s + len(block.samples) / self.rate_hz
        if not len(block.samples):
            return
        if self._stream_s - self._window_start_s > START_WINDOW_S:
            self._previous, self._recent, self._window_start_s = self._recent, datetime.max, self._stream_s
        self._recent = min(now - timedelta(seconds=self._stream_s), self._recent.replace(tzinfo=now.tzinfo))
        self.started = min(self._recent, self._previous.replace(tzinfo=now.tzinfo))

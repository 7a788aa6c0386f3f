"""Split a recording or a stream into the windows that a model classifies.

A recording of up to 1.05 windows is one window. A longer recording is split into windows at a constant hop; the last
window is shifted back so that it ends with the recording. ``WindowCutter`` splits a stream into exactly the windows
that ``windows`` (in ``audio.windows``) lists for the complete recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from soundmark.audio import Samples
from soundmark.audio.windows import WHOLE_WINDOWS


@dataclass(frozen=True, eq=False)
class Window:
    """A window of a recording: ``samples`` [n], the first of which is sample ``start`` of the recording.

    Samples before position ``new_from`` are also part of an earlier window.
    """

    start: int
    samples: Samples
    new_from: int

    @property
    def stop(self) -> int:
        """The position after the last sample."""
        return self.start + len(self.samples)

    def middle(self, hop: int) -> Samples:
        """Return the middle ``hop`` samples, or all if there are fewer.

        >>> Window(0, np.arange(4, dtype=np.float32), new_from=0).middle(2)
        array([1., 2.], dtype=float32)
        """
        start = max(0, len(self.samples) - hop) // 2
        return self.samples[start : start + hop] if hop < len(self.samples) else self.samples

    def pieces(self, hop: int) -> list[tuple[int, int]]:
        """Return start and stop of the pieces of ``hop`` samples that tile the new samples; the first may be shorter.

        >>> Window(0, np.zeros(10, np.float32), new_from=0).pieces(4)
        [(0, 2), (2, 6), (6, 10)]
        """
        stops = range(self.stop, self.new_from, -hop)
        return [(max(self.new_from, stop - hop), stop) for stop in reversed(stops)]


class WindowCutter:
    """Splits audio that arrives in blocks into the windows that ``windows`` lists for the complete recording.

    It buffers at most one window and the last block. A window is returned as soon as a later sample shows that it is
    not the last one; the first window, as soon as the recording is longer than 1.05 windows.

    >>> cutter = WindowCutter(4.0, hop=4)
    >>> cut = [*cutter.push(np.arange(7, dtype=np.float32)), *cutter.push(np.arange(7, 10, dtype=np.float32))]
    >>> [(window.start, window.stop, window.new_from) for window in [*cut, *cutter.end()]]
    [(0, 4, 0), (4, 8, 4), (6, 10, 8)]
    """

    def __init__(self, window_samples: float, hop: int) -> None:
        self.max_single_window_samples = WHOLE_WINDOWS * window_samples
        self.length, self.hop = max(1, round(window_samples)), hop
        self._buffer = np.zeros(0, np.float32)
        self._buffer_start = 0  # position in the stream of the first buffered sample
        self._origin = 0  # position of the first sample, or of the first one after a gap
        self._next_start = 0  # position of the next window
        self._covered_until = 0

    @property
    def n_samples(self) -> int:
        """Samples pushed or skipped so far."""
        return self._buffer_start + len(self._buffer)

    @property
    def buffered_samples(self) -> int:
        """Number of samples in memory."""
        return len(self._buffer)

    @property
    def uncovered(self) -> int:
        """Number of samples that are not part of any window yet."""
        return self.n_samples - self._covered_until

    def push(self, samples: Samples) -> Iterator[Window]:
        """Add samples and yield the windows that are now complete, in order; use all of them before the next push."""
        self._buffer = np.concatenate([self._buffer, samples])
        while self.n_samples > self._next_start + self._needed_samples():
            yield self._window(self._next_start, self._next_start + self.length)
            self._next_start += self.hop
        self._drop_unneeded()

    def end(self) -> Iterator[Window]:
        """Yield the last window, which ends with the recording; nothing if there was no sample."""
        n = self.n_samples
        if n > self._origin:
            is_single = n - self._origin <= self.max_single_window_samples
            yield self._window(self._origin if is_single else n - self.length, n)

    def skip(self, n_samples: int) -> None:
        """Skip a gap of ``n_samples``, drop the ``uncovered`` samples before it, and start new windows after it.

        Call ``end`` first to keep those samples.
        """
        self._buffer_start = self.n_samples + n_samples
        self._buffer = np.zeros(0, np.float32)
        self._origin = self._next_start = self._covered_until = self._buffer_start

    def _needed_samples(self) -> float:
        """The next window is complete once more than this number of samples follow its start."""
        return self.max_single_window_samples if self._next_start == self._origin else self.length

    def _window(self, start: int, stop: int) -> Window:
        new_from, self._covered_until = max(start, self._covered_until), stop
        return Window(start, self._buffer[start - self._buffer_start : stop - self._buffer_start], new_from)

    def _drop_unneeded(self) -> None:
        """Drop the samples that no later window needs; the last window may start one window before the end."""
        unneeded = min(self._next_start, self.n_samples - self.length) - self._buffer_start
        if unneeded > 0 and self._next_start > self._origin:
            self._buffer, self._buffer_start = self._buffer[unneeded:].copy(), self._buffer_start + unneeded

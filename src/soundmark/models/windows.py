"""Samples to the windows that a model classifies: of a complete sound, or of a stream.

A sound of up to 1.05 windows is one window. A longer one is cut into windows at a constant hop; the last is shifted
back so that it ends with the sound. ``WindowCutter`` cuts a stream into exactly the windows that ``windows`` lists for
the complete sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from soundmark.audio import Samples
from soundmark.errors import SettingsError

WHOLE_WINDOWS = 1.05  # a sound of up to this many windows is classified as one window


@dataclass(frozen=True, eq=False)
class Window:
    """``samples`` [n] of a sound from its sample ``start`` on; those before ``new_from`` are in an earlier one, too."""

    start: int
    samples: Samples
    new_from: int

    @property
    def stop(self) -> int:
        """The sample after its last one."""
        return self.start + len(self.samples)

    def pieces(self, hop: int) -> list[tuple[int, int]]:
        """Start and stop of the pieces of ``hop`` samples that tile its new samples; the first may be shorter.

        >>> Window(0, np.zeros(10, np.float32), new_from=0).pieces(4)
        [(0, 2), (2, 6), (6, 10)]
        """
        stops = range(self.stop, self.new_from, -hop)
        return [(max(self.new_from, stop - hop), stop) for stop in reversed(stops)]


def hop_samples(window_samples: float, overlap: float) -> int:
    """Samples from the start of one window to the next; ``overlap`` is the share of a window that the next one repeats.

    Raises:
        SettingsError: ``overlap`` is not in 0 ≤ overlap < 1.

    >>> hop_samples(88200, overlap=0.75)
    22050
    """
    if not 0 <= overlap < 1:
        raise SettingsError(f"overlap is {overlap!r}: give a share of the window, at least 0 and below 1.")
    return max(1, round(round(window_samples) * (1 - overlap)))


def windows(n_samples: int, window_samples: float, overlap: float = 0.0) -> Iterator[tuple[int, int]]:
    """Start and stop of the windows that ``n_samples`` are cut into.

    >>> list(windows(1000, 1000)), list(windows(1050, 1000))
    ([(0, 1000)], [(0, 1050)])
    >>> list(windows(2500, 1000))
    [(0, 1000), (1000, 2000), (1500, 2500)]
    >>> list(windows(2000, 1000, overlap=0.5))
    [(0, 1000), (500, 1500), (1000, 2000)]
    """
    if n_samples <= WHOLE_WINDOWS * window_samples:
        yield 0, n_samples
        return
    length = round(window_samples)
    for start in range(0, n_samples - length, hop_samples(window_samples, overlap)):
        yield start, start + length
    yield n_samples - length, n_samples


class WindowCutter:
    """Cuts a sound that arrives in blocks into the windows that ``windows`` lists for the complete sound.

    It holds at most one window and the last block. A window is returned as soon as a later sample shows that it is not
    the last one; the first, as soon as the sound is longer than 1.05 windows.

    >>> cutter = WindowCutter(4.0, hop=4)
    >>> cut = [*cutter.push(np.arange(7, dtype=np.float32)), *cutter.push(np.arange(7, 10, dtype=np.float32))]
    >>> [(window.start, window.stop, window.new_from) for window in [*cut, *cutter.end()]]
    [(0, 4, 0), (4, 8, 4), (6, 10, 8)]
    """

    def __init__(self, window_samples: float, hop: int) -> None:
        self.whole = WHOLE_WINDOWS * window_samples
        self.length, self.hop = round(window_samples), hop
        self._held = np.zeros(0, np.float32)
        self._held_from = 0  # position in the stream of the first sample held
        self._from = 0  # where the sound started, or started again after a gap
        self._next = 0  # where the next window starts
        self._covered_until = 0

    @property
    def n_samples(self) -> int:
        """Samples pushed or skipped so far."""
        return self._held_from + len(self._held)

    @property
    def uncovered(self) -> int:
        """How many of them are in no window yet."""
        return self.n_samples - self._covered_until

    def push(self, samples: Samples) -> Iterator[Window]:
        """The windows that are complete now, in order; take them all before the next push."""
        self._held = np.concatenate([self._held, samples])
        while self.n_samples > self._next + (self.whole if self._next == self._from else self.length):
            yield self._window(self._next, self._next + self.length)
            self._next += self.hop
        self._drop_unneeded()

    def end(self) -> Iterator[Window]:
        """The last window, which ends with the sound; none if there was no sample."""
        n = self.n_samples
        if n > self._from:
            yield self._window(self._from if n - self._from <= self.whole else n - self.length, n)

    def skip(self, n_samples: int) -> None:
        """Skip a gap of ``n_samples``, and drop the ``uncovered`` samples before it: windows start again after it.

        Call ``end`` first to keep those samples.
        """
        self._held_from = self.n_samples + n_samples
        self._held = np.zeros(0, np.float32)
        self._from = self._next = self._covered_until = self._held_from

    def _window(self, start: int, stop: int) -> Window:
        new_from, self._covered_until = max(start, self._covered_until), stop
        return Window(start, self._held[start - self._held_from : stop - self._held_from], new_from)

    def _drop_unneeded(self) -> None:
        """Drop samples that no later window needs: the last window may start one window before the end."""
        unneeded = min(self._next, self.n_samples - self.length) - self._held_from
        if unneeded > 0 and self._next > self._from:
            self._held, self._held_from = self._held[unneeded:].copy(), self._held_from + unneeded

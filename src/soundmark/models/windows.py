"""Samples to the windows that a model hears them in, of a whole sound or of one that arrives bit by bit.

A sound of up to 1.05 windows is heard whole. A longer one is cut into windows that follow each other by a hop; the last
is shifted back so that no sample goes unheard. ``Cutter`` cuts a stream exactly as ``windows`` says of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from soundmark.audio import Samples
from soundmark.errors import SettingsError

WHOLE_WINDOWS = 1.05  # a sound of up to this many windows is heard whole


@dataclass(frozen=True, eq=False)
class Window:
    """``samples`` [n] of a sound from its sample ``start`` on; those before ``new_from`` are in another, too."""

    start: int
    samples: Samples
    new_from: int

    @property
    def stop(self) -> int:
        """The sample behind its last."""
        return self.start + len(self.samples)

    def pieces(self, hop: int) -> list[tuple[int, int]]:
        """Start and stop of the pieces of ``hop`` samples that tile what is new in it; the first may be shorter.

        >>> Window(0, np.zeros(10, np.float32), new_from=0).pieces(4)
        [(0, 2), (2, 6), (6, 10)]
        """
        stops = range(self.stop, self.new_from, -hop)
        return [(max(self.new_from, stop - hop), stop) for stop in reversed(stops)]


def hop_samples(window_samples: float, overlap: float) -> int:
    """How many samples windows follow each other by; ``overlap`` is the share of a window that the next one has, too.

    Raises:
        SettingsError: ``overlap`` is not in 0 ≤ overlap < 1.

    >>> hop_samples(88200, overlap=0.75)
    22050
    """
    if not 0 <= overlap < 1:
        raise SettingsError(f"overlap is {overlap!r}: give a share of the window, at least 0 and below 1.")
    return max(1, round(round(window_samples) * (1 - overlap)))


def windows(n_samples: int, window_samples: float, overlap: float = 0.0) -> Iterator[tuple[int, int]]:
    """Start and stop of the windows that ``n_samples`` are heard in.

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
    """Cuts a sound that arrives bit by bit into the windows that ``windows`` has for the whole of it.

    It holds no more than a window and what was last given. A window is handed out as soon as a sample behind it shows
    that it is not the last; the first, when the sound is too long to be heard whole.

    >>> cutter = WindowCutter(4.0, hop=4)
    >>> cut = [*cutter.push(np.arange(7, dtype=np.float32)), *cutter.push(np.arange(7, 10, dtype=np.float32))]
    >>> [(window.start, window.stop, window.new_from) for window in [*cut, *cutter.end()]]
    [(0, 4, 0), (4, 8, 4), (6, 10, 8)]
    """

    def __init__(self, window_samples: float, hop: int) -> None:
        self.whole = WHOLE_WINDOWS * window_samples
        self.length, self.hop = round(window_samples), hop
        self._held = np.zeros(0, np.float32)
        self._held_from = 0  # the sample of the sound that the first one held is
        self._from = 0  # where the sound began, or began anew behind what was lost
        self._next = 0  # where the next window begins
        self._heard_until = 0

    @property
    def n_samples(self) -> int:
        """How many samples were given so far."""
        return self._held_from + len(self._held)

    @property
    def unheard(self) -> int:
        """How many of them are in no window so far."""
        return self.n_samples - self._heard_until

    def push(self, samples: Samples) -> Iterator[Window]:
        """The windows that are whole now, in their order; take them all before the next push."""
        self._held = np.concatenate([self._held, samples])
        while self.n_samples > self._next + (self.whole if self._next == self._from else self.length):
            yield self._window(self._next, self._next + self.length)
            self._next += self.hop
        self._forget()

    def end(self) -> Iterator[Window]:
        """The last window, that no sample goes unheard; none where there was no sample."""
        n = self.n_samples
        if n > self._from:
            yield self._window(self._from if n - self._from <= self.whole else n - self.length, n)

    def skip(self, n_samples: int) -> None:
        """Take ``n_samples`` for heard that were lost, and what is ``unheard`` with them: what follows is cut anew.

        With ``end`` before it, nothing is lost but they.
        """
        self._held_from = self.n_samples + n_samples
        self._held = np.zeros(0, np.float32)
        self._from = self._next = self._heard_until = self._held_from

    def _window(self, start: int, stop: int) -> Window:
        new_from, self._heard_until = max(start, self._heard_until), stop
        return Window(start, self._held[start - self._held_from : stop - self._held_from], new_from)

    def _forget(self) -> None:
        """Let go of what no later window needs: the last may begin a window before the end."""
        needless = min(self._next, self.n_samples - self.length) - self._held_from
        if needless > 0 and self._next > self._from:
            self._held, self._held_from = self._held[needless:].copy(), self._held_from + needless

"""Progress of long work: what reports it, and the state of an analysis of many files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from soundmark.runtime.text import duration


class Progress(Protocol):
    """``progress(description, done, total, unit, status)``: called at every step of a long job, which it displays.

    ``status`` is a short line of figures, as epoch, loss and accuracy of a training. Only training passes one: to all
    other functions, a callable of four arguments can be given as well.
    """

    def __call__(self, description: str, done: int, total: int, unit: str, status: str = "", /) -> None:
        """Display that ``done`` of ``total`` units are finished."""


def no_progress(description: str, done: int, total: int, unit: str, status: str = "") -> None:
    """Display nothing.

    >>> no_progress("features", 3, 10, "clips")
    """


@dataclass(frozen=True)
class AnalysisProgress:
    """Progress of an analysis: ``share`` of the work, 0 to 1; ``heard_s`` seconds of sound in ``elapsed_s`` seconds."""

    done: int
    files: int
    share: float
    heard_s: float
    elapsed_s: float

    def in_words(self) -> str:
        """One line of text.

        >>> AnalysisProgress(done=12, files=40, share=0.25, heard_s=7200.0, elapsed_s=30.0).in_words()
        '12 of 40 files, 4.0 h of sound a minute, 1 min 30 s left'
        """
        rate = self.heard_s / 60 / max(self.elapsed_s, 1e-3)  # minutes a second are hours a minute
        left_s = self.elapsed_s * (1 - self.share) / self.share if self.share else None
        left = f", {duration(left_s, units=2)} left" if left_s is not None and self.share < 1 else ""
        return f"{self.done:,} of {self.files:,} files, {rate:.1f} h of sound a minute{left}"


class FileProgress:
    """Collects the progress of all files, and calls ``tell`` with the sum; several threads may report.

    >>> states = []
    >>> progress = FileProgress(["none.wav"], 1, states.append)
    >>> progress.sound("none.wav", 2.0, 4.0)
    >>> progress.done("none.wav", 4.0)
    >>> [(state.done, state.share, state.heard_s) for state in states]
    [(0, 0.5, 2.0), (1, 1.0, 4.0)]
    """

    def __init__(self, paths: Iterable[str], n_files: int, tell: Callable[[AnalysisProgress], None]) -> None:
        self._tell, self._lock, self._began = tell, Lock(), time.monotonic()
        self._size = {path: _size(path) for path in paths}
        self._total = sum(self._size.values()) or 1
        self._files, self._done = n_files, 0
        self._finished_bytes, self._finished_s = 0, 0.0
        self._under_way: dict[str, tuple[float, float]] = {}

    def sound(self, file: str, heard_s: float, of_s: float) -> None:
        """``heard_s`` of the ``of_s`` seconds of a file were analyzed."""
        with self._lock:
            self._under_way[file] = heard_s, of_s
            self._report()

    def done(self, file: str, heard_s: float = 0.0) -> None:
        """A file is finished, of which ``heard_s`` seconds were analyzed."""
        with self._lock:
            self._under_way.pop(file, None)
            self._done += 1
            self._finished_bytes += self._size.get(file, 0)
            self._finished_s += heard_s
            self._report()

    def _report(self) -> None:
        parts = [(self._size.get(file, 0), *seconds) for file, seconds in self._under_way.items()]
        size = self._finished_bytes + sum(size * min(1.0, heard / of) for size, heard, of in parts if of)
        heard_s = self._finished_s + sum(heard for _, heard, _ in parts)
        share = min(1.0, size / self._total)
        self._tell(AnalysisProgress(self._done, self._files, share, heard_s, time.monotonic() - self._began))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size or 1  # noqa: PTH116 - a path of any bytes
    except (OSError, ValueError):
        return 1

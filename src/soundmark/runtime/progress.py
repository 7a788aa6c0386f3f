"""The progress callback, and the progress of an analysis of many files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from soundmark.runtime.text import counted, duration


class Progress(Protocol):
    """The type of a progress callback: ``progress(description, done, total, unit, status)``, called at every step.

    ``status`` is a short line of figures, such as the epoch, loss and accuracy in training. Only training passes it, so
    a callable with four parameters is sufficient for all other functions.
    """

    def __call__(self, description: str, done: int, total: int, unit: str, status: str = "", /) -> None:
        """Report that ``done`` of ``total`` units are finished."""


def no_progress(description: str, done: int, total: int, unit: str, status: str = "") -> None:
    """Ignore progress: the default callback.

    >>> no_progress("features", 3, 10, "clips")
    """


@dataclass(frozen=True)
class AnalysisProgress:
    """Progress of an analysis: ``share`` is the finished fraction, ``analyzed_s`` the analysed audio in seconds."""

    done: int
    files: int
    share: float
    analyzed_s: float
    elapsed_s: float

    def summary(self, most_chars: int | None = None) -> str:
        """Return one line of text: files, speed and remaining time, as far as they fit into ``most_chars``.

        >>> progress = AnalysisProgress(done=12, files=40, share=0.25, analyzed_s=7200.0, elapsed_s=30.0)
        >>> progress.summary()
        '12 of 40 files, 4.0 h of audio per minute, 1 min 30 s left'
        >>> progress.summary(40), progress.summary(20)
        ('12 of 40 files, 1 min 30 s left', '12 of 40 files')
        """
        hours_per_minute = self.analyzed_s / 60 / max(self.elapsed_s, 1e-3)  # equal to minutes per second
        remaining_s = self.elapsed_s * (1 - self.share) / self.share if self.share else None
        left = f", {duration(remaining_s, units=2)} left" if remaining_s is not None and self.share < 1 else ""
        files = f"{self.done:,} of {counted(self.files, 'file')}"
        for text in (f"{files}, {hours_per_minute:.1f} h of audio per minute{left}", files + left):
            if most_chars is None or len(text) <= most_chars:
                return text
        return files


class FileProgress:
    """Combine the progress of all files and report the total. Several threads may call ``update`` and ``finish``.

    >>> states = []
    >>> progress = FileProgress(["none.wav"], 1, states.append)
    >>> progress.update("none.wav", 2.0, 4.0)
    >>> progress.finish("none.wav", 4.0)
    >>> [(state.done, state.share, state.analyzed_s) for state in states]
    [(0, 0.5, 2.0), (1, 1.0, 4.0)]
    """

    def __init__(self, paths: Iterable[str], n_files: int, report: Callable[[AnalysisProgress], None]) -> None:
        self._report, self._lock, self._start_s = report, Lock(), time.monotonic()
        self._size = {path: _size(path) for path in paths}
        self._total = sum(self._size.values()) or 1
        self._files, self._done = n_files, 0
        self._finished_bytes, self._finished_s = 0, 0.0
        self._in_progress: dict[str, tuple[float, float]] = {}  # analysed and total seconds

    def update(self, file: str, analyzed_s: float, total_s: float) -> None:
        """Record that ``analyzed_s`` of the ``total_s`` seconds of a file were analysed."""
        with self._lock:
            self._in_progress[file] = analyzed_s, total_s
            self._report_total()

    def finish(self, file: str, analyzed_s: float = 0.0) -> None:
        """Record that a file is finished, after ``analyzed_s`` seconds of it were analysed."""
        with self._lock:
            self._in_progress.pop(file, None)
            self._done += 1
            self._finished_bytes += self._size.get(file, 0)
            self._finished_s += analyzed_s
            self._report_total()

    def _report_total(self) -> None:
        parts = [(self._size.get(file, 0), *seconds) for file, seconds in self._in_progress.items()]
        size = self._finished_bytes + sum(
            size * min(1.0, part_s / total_s) for size, part_s, total_s in parts if total_s
        )
        analyzed_s = self._finished_s + sum(part_s for _, part_s, _ in parts)
        share = min(1.0, size / self._total)
        self._report(AnalysisProgress(self._done, self._files, share, analyzed_s, time.monotonic() - self._start_s))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size or 1  # noqa: PTH116 - accepts undecodable names
    except (OSError, ValueError):
        return 1


def numbered(progress: Progress, number: int, total: int) -> Progress:
    """Return a ``Progress`` whose descriptions start with the number of the current part.

    >>> numbered(print, 2, 3)("scratch, fold 1", 0, 8, "batches")
    [2/3] scratch, fold 1 0 8 batches
    """
    return lambda description, *rest: progress(f"[{number}/{total}] {description}", *rest)

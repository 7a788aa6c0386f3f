"""Limit how often a recurring note is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

INTERVAL_S = 60.0  # between two notes about the same problem


class RepeatedNotes:
    """Counts recurring problems; each is due to be reported when it first occurs, then once per ``INTERVAL_S``.

    ``clock`` returns seconds. If it is set back, the next note is due at once.

    >>> now = [0.0]
    >>> notes = RepeatedNotes(lambda: now[0])
    >>> notes.is_due("disk full"), notes.is_due("disk full"), notes.is_due("no network")
    (True, False, True)
    >>> now[0] = 60.0
    >>> notes.is_due("disk full"), notes.count["disk full"]
    (True, 3)
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.count: Counter[str] = Counter()
        self._clock = clock
        self._reported_at: dict[str, float] = {}

    def is_due(self, problem: str) -> bool:
        """Count an occurrence of ``problem``; return whether to report it now."""
        self.count[problem] += 1
        now = self._clock()
        last = self._reported_at.get(problem)
        due = last is None or not 0 <= now - last < INTERVAL_S
        if due:
            self._reported_at[problem] = now
        return due

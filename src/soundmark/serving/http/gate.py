"""The number of requests at once: more are refused at once, with the time after which to try again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from soundmark.serving.http.problems import Problem

RETRY_AFTER_S = 2


class Gate:
    """Lets at most ``limit`` requests in at once; used by the event loop alone.

    >>> gate = Gate(1, "uploads", "--max-requests")
    >>> with gate.enter(), gate.enter():
    ...     pass
    Traceback (most recent call last):
    soundmark.serving.http.problems.Problem: the server is busy with 1 uploads, the most that --max-requests ...
    """

    def __init__(self, limit: int, what: str, option: str) -> None:
        self.inside = 0
        self._limit, self._what, self._option = limit, what, option

    @property
    def is_full(self) -> bool:
        """Whether the next request would be refused."""
        return self.inside >= self._limit

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count a request while the block runs.

        Raises:
            Problem: there are too many.
        """
        if self.is_full:
            raise Problem(
                503,
                f"the server is busy with {self.inside} {self._what}, the most that {self._option} allows: try again "
                f"in {RETRY_AFTER_S} s.",
                {"Retry-After": str(RETRY_AFTER_S)},
            )
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

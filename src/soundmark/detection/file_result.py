"""What was detected in one recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from soundmark.models.events import Event


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """All that was heard in one recording.

    ``answer`` has the classes of the whole of it, best first, as ``Model.classify``; ``events`` are in the order of
    their beginnings. ``began`` is the moment of its first sample, in UTC, where the recording says when it was made;
    ``note`` says what was wrong with the file, if anything.
    """

    file: str
    duration_s: float
    answer: Sequence[dict[str, Any]]
    events: Sequence[Event]
    windows: int = 1  # that it was heard in
    began: datetime | None = None
    note: str | None = None

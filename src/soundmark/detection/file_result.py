"""The result for one recording: its classes and events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from soundmark.models.events import Event
from soundmark.runtime.text import counted

REPR_CLASSES = 3


REPR_EVENTS = 5


@dataclass(frozen=True, kw_only=True, repr=False)
class FileResult:
    """The result for one recording: the classes of the complete recording, and its events.

    ``answer`` lists the classes of the complete recording, best first, as ``Model.classify`` does. ``events`` are
    ordered by onset. ``started`` is the time of the first sample in UTC, or None if unknown. ``note`` describes a
    problem with the file, such as truncation.
    """

    file: str
    duration_s: float
    answer: Sequence[dict[str, Any]]
    events: Sequence[Event]
    windows: int = 1  # number of windows that were classified
    started: datetime | None = None
    note: str | None = None

    def __repr__(self) -> str:
        classes = ", ".join(f"{entry['label'][:40]} {entry['score']:.2f}" for entry in self.answer[:REPR_CLASSES])
        shown = [f"{e.label[:40]} {e.start_s:.1f}–{e.stop_s:.1f} s" for e in self.events[:REPR_EVENTS]]
        more = ", …" if len(self.events) > REPR_EVENTS else ""
        started = f", started {self.started:%Y-%m-%d %H:%M:%S} UTC" if self.started else ""
        n_events = f"{counted(len(self.events), 'event')}"
        return (
            f'FileResult("{self.file[-200:]}": {self.duration_s:.1f} s{started}; {classes or "no classes"}; '
            f"{n_events}{': ' if shown else ''}{', '.join(shown)}{more})"
        )

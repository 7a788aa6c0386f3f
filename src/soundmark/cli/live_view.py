"""A live view in a terminal: a level meter, the classes as bars, the last events."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from soundmark.detection.live.monitor import StreamState

REDRAWN_S = 0.1  # at least, between two updates


LOWEST_DB = -60.0  # the left end of the meter


WIDTH = 40


MOST_CLASSES = 6


class LiveView:
    """Draws states in a terminal, at most ten times a second; use it as a context.

    >>> with LiveView(Console(quiet=True)) as view:
    ...     view.show(StreamState("-", ("dog", "siren")))
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._last = 0.0
        self._state: StreamState | None = None

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state:
            self._live.update(picture(self._state), refresh=True)
        self._live.__exit__(kind, error, trace)

    def note(self, text: str) -> None:
        """Draw a note below the events."""
        if self._state:
            self._state.note = text
            self.show(self._state)

    def show(self, state: StreamState) -> None:
        """Draw the state, unless the last update was just before; the last state is drawn at the end."""
        self._state = state
        now = time.monotonic()
        if now - self._last >= REDRAWN_S:
            self._last = now
            self._live.update(picture(state), refresh=True)


def picture(state: StreamState) -> RenderableType:
    """A state as a panel.

    >>> import io
    >>> console = Console(width=60, record=True, file=io.StringIO())
    >>> console.print(picture(StreamState("-", ("dog",), probabilities=np.array([0.5], np.float32))))
    >>> "dog" in console.export_text()
    True
    """
    lost = f" · {state.lost_s:.1f} s lost" if state.lost_s else ""
    title = f"{_printable(state.source)} · {_clock(state.analyzed_s)}{lost}"
    parts: list[RenderableType] = [_meter(state), Text(), _classes(state), Text(), _events(state)]
    if state.note:
        parts += [Text(), Text(_printable(state.note), style="yellow")]
    return Panel(Group(*parts), title=Text(title), title_align="left", border_style="dim", width=78)


def _meter(state: StreamState) -> Text:
    """The level in dBFS, with its peak."""
    filled, peak = (_place(db) for db in (state.level_db, state.peak_db))
    colour = "red" if state.peak_db > -3 else "green"
    bar = Text("▮" * filled, style=colour) + Text("·" * (WIDTH - filled), style="dim")
    if filled < peak <= WIDTH:
        bar = bar[: peak - 1] + Text("▏", style=colour) + bar[peak:]
    return Text("level  ", style="bold") + bar + Text(f"  {state.level_db:6.1f} dBFS")


def _place(db: float) -> int:
    return round(WIDTH * min(1.0, max(0.0, 1 - db / LOWEST_DB)))


def _classes(state: StreamState) -> Table:
    table = Table.grid(padding=(0, 2))
    if state.probabilities is None:
        table.add_row(Text("listening for the first window …", style="dim"))
        return table
    running = {event.label for event in state.running_events}
    for place in np.argsort(-state.probabilities, kind="stable")[:MOST_CLASSES]:
        label, p = state.classes[place], float(state.probabilities[place])
        now = label in running
        style = "bold" if now else ""
        bar = Text("█" * round(WIDTH * p), style="blue" if now else "dim blue")
        table.add_row(Text(_printable(label)[:22], style=style), Text(f"{p:.2f}"), bar)
    return table


def _events(state: StreamState) -> Table:
    table = Table.grid(padding=(0, 2))
    for event in state.running_events:
        table.add_row(
            _clock(event.start_s), "…", Text(_printable(event.label), style="bold"), f"{event.confidence:.2f}"
        )
    for event in reversed(list(state.events)):  # a copy: another thread may append
        table.add_row(_clock(event.start_s), _clock(event.stop_s), _printable(event.label), f"{event.confidence:.2f}")
    if not table.row_count:
        table.add_row(Text("no events yet", style="dim"))
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(math.floor(seconds * 10) / 10, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)

"""The live view in a terminal: level meter, class probabilities as bars, last events."""

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

REFRESH_S = 0.1  # least interval between two updates


LOWEST_DB = -60.0  # left end of the level meter


BAR_WIDTH = 40


MAX_CLASSES = 6


class LiveView:
    """Display stream states in a terminal, at most ten times a second; a context manager.

    >>> with LiveView(Console(quiet=True)) as view:
    ...     view.show(StreamState("-", ("dog", "siren")))
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._last_update = 0.0
        self._state: StreamState | None = None

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state:
            self._live.update(state_panel(self._state), refresh=True)
        self._live.__exit__(kind, error, trace)

    def note(self, text: str) -> None:
        """Display a note below the events."""
        if self._state:
            self._state.note = text
            self.show(self._state)

    def show(self, state: StreamState) -> None:
        """Display the state, unless the last update was just before; the last state is displayed on exit."""
        self._state = state
        now = time.monotonic()
        if now - self._last_update >= REFRESH_S:
            self._last_update = now
            self._live.update(state_panel(state), refresh=True)


def state_panel(state: StreamState) -> RenderableType:
    """Return a stream state as a panel: level meter, most probable classes, last events, note.

    >>> import io
    >>> console = Console(width=60, record=True, file=io.StringIO())
    >>> console.print(state_panel(StreamState("-", ("dog",), probabilities=np.array([0.5], np.float32))))
    >>> "dog" in console.export_text()
    True
    """
    lost = f" · {state.lost_s:.1f} s lost" if state.lost_s else ""
    title = f"{_printable(state.source)} · {_clock(state.analyzed_s)}{lost}"
    parts: list[RenderableType] = [_level_meter(state), Text(), _classes(state), Text(), _events(state)]
    if state.note:
        parts += [Text(), Text(_printable(state.note), style="yellow")]
    return Panel(Group(*parts), title=Text(title), title_align="left", border_style="dim", width=78)


def _level_meter(state: StreamState) -> Text:
    """The level in dBFS as a bar, with a mark at the recent peak."""
    level, peak = (_bar_length(db) for db in (state.level_db, state.peak_db))
    colour = "red" if state.peak_db > -3 else "green"
    bar = Text("▮" * level, style=colour) + Text("·" * (BAR_WIDTH - level), style="dim")
    if level < peak <= BAR_WIDTH:
        bar = bar[: peak - 1] + Text("▏", style=colour) + bar[peak:]
    return Text("level  ", style="bold") + bar + Text(f"  {state.level_db:6.1f} dBFS")


def _bar_length(db: float) -> int:
    return round(BAR_WIDTH * min(1.0, max(0.0, 1 - db / LOWEST_DB)))


def _classes(state: StreamState) -> Table:
    table = Table.grid(padding=(0, 2))
    if state.probabilities is None:
        table.add_row(Text("waiting for the first window …", style="dim"))
        return table
    running = {event.label for event in state.running_events}
    for index in np.argsort(-state.probabilities, kind="stable")[:MAX_CLASSES]:
        label, p = state.classes[index], float(state.probabilities[index])
        is_running = label in running
        bar = Text("█" * round(BAR_WIDTH * p), style="blue" if is_running else "dim blue")
        table.add_row(Text(_printable(label)[:22], style="bold" if is_running else ""), Text(f"{p:.2f}"), bar)
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

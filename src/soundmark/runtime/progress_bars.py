"""Display progress: bars with rate and remaining time in a terminal or in Jupyter, lines in a log."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column, Table
from rich.text import Text

from soundmark.runtime.progress import AnalysisProgress, Progress, no_progress
from soundmark.runtime.text import duration, printable, shortened

LINE_EVERY_S = 10.0  # interval between progress lines where standard error is not a terminal


FIRST_AFTER_S = 2.0  # an analysis of files displays nothing before this time


REFRESH_EVERY_S = 0.25  # interval between updates in Jupyter


BAR_COLUMNS = 16  # maximum width of a bar


LEAST_BAR_COLUMNS = 4  # a bar that would be narrower is not displayed


DESCRIPTION_COLUMNS = 24  # width up to which a description takes precedence over the rate and the remaining time


@contextmanager
def progress_bars(quiet: bool = False, console: Console | None = None) -> Iterator[Progress]:
    """Give a ``Progress`` that displays on ``console`` (default: standard error), or nothing if ``quiet``.

    In Jupyter, it updates one output in place. In a terminal, it draws a bar for each description, with a line below
    for the status. Elsewhere, it prints a line every ten seconds and at the end of each description.

    >>> with progress_bars(quiet=True) as progress:
    ...     progress("features", 3, 10, "clips")
    """
    console = console or Console(stderr=True, highlight=False)
    if quiet:
        yield no_progress
    elif in_jupyter():
        notebook = _NotebookBars()
        try:
            yield notebook
        finally:
            notebook.show()
    elif console.is_terminal:
        with _TerminalBars(console) as bars:
            yield bars
    else:
        yield ProgressLines(lambda text: _print(console, text))


@contextmanager
def analysis_progress(
    quiet: bool = False, console: Console | None = None
) -> Iterator[Callable[[AnalysisProgress], None]]:
    """Give a function that displays the progress of an analysis of files, as ``progress_bars`` does for other work.

    An analysis that takes less than two seconds displays nothing.

    >>> with analysis_progress(quiet=True) as report:
    ...     report(AnalysisProgress(done=12, files=40, share=0.25, analyzed_s=7200.0, elapsed_s=30.0))
    """
    if quiet:
        yield lambda state: None
        return
    display = _AnalysisDisplay(console or Console(stderr=True, highlight=False))
    try:
        yield display
    finally:
        display.close()


def in_jupyter() -> bool:
    """Return whether this process is the kernel of a Jupyter notebook.

    >>> in_jupyter()
    False
    """
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def _print(console: Console, text: str) -> None:
    with suppress(OSError):  # standard error is full or closed; this does not affect the results
        console.print(Text(printable(text)), soft_wrap=True)


# --- Terminal ---------------------------------------------------------------------------------------------------------


def fitted(text: str, columns: int, separator: str = " ") -> str:
    """Shorten ``text`` to a number of columns at the end of a word, never within one; "…" marks the cut.

    A first word that is too long alone is shortened in its middle.

    >>> fitted("notebook-mel, fold 10, seed 2", 24), fitted("epoch 3/20  loss 1.21", 15, "  ")
    ('notebook-mel, fold 10, …', 'epoch 3/20  …')
    """
    words = text.split(separator)
    while cell_len(text) > columns and len(words) > 1:
        words.pop()
        text = separator.join([*words, "…"])
    return text if cell_len(text) <= columns else shortened(words[0], max(3, columns))


def _bar(task: Task, columns: int) -> list[RenderableType]:
    """Return the bar of ``task``, at most ``columns`` wide; an empty list if there is not enough space."""
    return [BarColumn(min(BAR_COLUMNS, columns)).render(task)] if columns >= LEAST_BAR_COLUMNS else []


def _row(*cells: RenderableType) -> Table:
    row = Table.grid(*[Column(no_wrap=True) for _ in cells], padding=(0, 1, 0, 0))
    row.add_row(*cells)
    return row


class _TerminalBars(RichProgress):
    """A row for each description, with a second line for its status."""

    def __init__(self, console: Console) -> None:
        super().__init__(console=console)
        self._figures = (MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        self._ids: dict[str, TaskID] = {}

    def __call__(self, description: str, done: int, total: int, unit: str, status: str = "") -> None:
        """Update the bar of ``description``."""
        if description not in self._ids:
            self._print_finished()
            self._ids[description] = self.add_task(printable(description), total=total or None, unit=unit)
        changes: dict[str, Any] = {"status": printable(status)} if status else {}
        self.update(self._ids[description], completed=done, total=total or None, **changes)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bars, each with its status."""
        for task in self.tasks:
            yield from self._rows(task)

    def _rows(self, task: Task) -> Iterator[RenderableType]:
        width = self.console.width
        count, speed, remaining = (cast("Text", column(task)) for column in self._figures)
        for figures in ([count, speed, remaining], [count, remaining], [count]):
            line = Text(" ").join(figures)
            room = width - line.cell_len - 1
            if room >= min(cell_len(task.description), DESCRIPTION_COLUMNS):
                break
        description = fitted(task.description, min(room, max(DESCRIPTION_COLUMNS, width - 44)))
        yield _row(Text(description), *_bar(task, room - cell_len(description) - 1), line)
        if status := task.fields.get("status"):
            yield Text("  " + fitted(status, width - 2, "  "), style="dim", no_wrap=True)

    def _print_finished(self) -> None:
        """Print finished bars once, above the others, so that the redrawn area does not exceed the terminal."""
        for description, number in list(self._ids.items()):
            task = next(task for task in self.tasks if task.id == number)
            if task.finished:
                rows = list(self._rows(task))
                self.remove_task(self._ids.pop(description))
                for row in rows:
                    self.console.print(row)


class _Rate(ProgressColumn):
    """Units per second; only the unit until the rate is known."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "")
        return Text(f"{rate(task.speed)} {unit}/s" if task.speed else unit)


# --- Jupyter ----------------------------------------------------------------------------------------------------------


@dataclass
class _Step:
    """The progress of one description."""

    unit: str
    started: float
    first: int  # units that were already finished at the start
    done: int = 0
    total: int = 0
    status: str = ""
    seconds: float = 0.0

    @property
    def share(self) -> float:
        """The finished fraction; 0 if the total is unknown."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def figures(self) -> str:
        """Return count, rate, remaining time and status."""
        per_s = (self.done - self.first) / self.seconds if self.seconds else 0.0
        parts = [f"{self.done}/{self.total} {self.unit}" if self.total else self.unit]
        parts += [f"{rate(per_s)}/s"] if per_s else []
        parts += [f"{duration((self.total - self.done) / per_s)} left"] if per_s and self.done < self.total else []
        return "  ".join([", ".join(parts), *([self.status] if self.status else [])])


@dataclass
class _NotebookTable:
    """A table of bars in one output of a notebook cell, updated in place."""

    handle: Any = None
    last: float = 0.0

    def is_due(self) -> bool:
        """Return whether the table should be updated again."""
        now = time.monotonic()
        if now - self.last < REFRESH_EVERY_S:
            return False
        self.last = now
        return True

    def show(self, rows: Iterable[tuple[str, float, str]]) -> None:
        """Draw a row for each (description, fraction, text)."""
        from IPython.display import display

        rows = [(printable(name), share, printable(text)) for name, share, text in rows]
        plain = "\n".join(f"{name}: {text}" if name else text for name, _, text in rows)
        content = {"text/plain": plain, "text/html": f"<table>{''.join(_html_row(*row) for row in rows)}</table>"}
        if self.handle is None:
            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def _html_row(name: str, share: float, text: str) -> str:
    bar = f'<progress value="{share:.4f}" max="1" style="width:10em"></progress>'
    cells = (html.escape(name), bar, html.escape(text))
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"


class _NotebookBars:
    """A bar for each description."""

    def __init__(self) -> None:
        self.table, self.steps = _NotebookTable(), dict[str, _Step]()

    def __call__(self, description: str, done: int, total: int, unit: str, status: str = "") -> None:
        """Update the bar of ``description``; redraw if the last update is old enough."""
        now = time.monotonic()
        step = self.steps.setdefault(description, _Step(unit, now, done))
        step.done, step.total, step.seconds = done, total, now - step.started
        step.status = status or step.status
        if self.table.is_due():
            self.show()

    def show(self) -> None:
        """Draw all bars."""
        if self.steps:
            self.table.show((name, step.share, step.figures()) for name, step in self.steps.items())


# --- Analysis of many files -------------------------------------------------------------------------------------------


class _AnalysisBar(RichProgress):
    """A bar with files, speed and remaining time, as far as they fit into the terminal."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bar and its text."""
        for task in self.tasks:
            text = task.fields["state"].summary(self.console.width)
            yield _row(*_bar(task, self.console.width - len(text) - 1), Text(text))


class _AnalysisDisplay:
    """A bar in a terminal or in Jupyter, a line every ten seconds in a log."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: _AnalysisBar | None = None
        self.table = _NotebookTable() if in_jupyter() else None
        self.last = time.monotonic() - LINE_EVERY_S + FIRST_AFTER_S
        self.start_s = time.monotonic()

    def __call__(self, state: AnalysisProgress) -> None:
        """Display the state, if the last update is old enough."""
        now = time.monotonic()
        if self.table:
            is_visible = self.table.handle or (now - self.start_s >= FIRST_AFTER_S and state.share < 1)
            if is_visible and (state.share == 1 or self.table.is_due()):
                self.table.show([("", state.share, state.summary())])
        elif self.bar:
            self.bar.update(TaskID(0), completed=state.share, state=state)
        elif now - self.last < LINE_EVERY_S or state.share == 1:
            return
        elif self.console.is_terminal:
            self.bar = _AnalysisBar(console=self.console)
            self.bar.add_task("files", total=1.0, state=state)
            self.bar.update(TaskID(0), completed=state.share)
            self.bar.start()
        else:
            self.last = now
            _print(self.console, state.summary())

    def close(self) -> None:
        """Stop updating the bar, which remains visible."""
        if self.bar:
            self.bar.stop()


# --- Log --------------------------------------------------------------------------------------------------------------


class ProgressLines:
    """Pass a line to ``write`` every ten seconds and at the end of each description.

    >>> ProgressLines(print)("features", 3, 3, "clips")
    features: 3 of 3 clips
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write
        self.started: dict[str, tuple[float, int]] = {}
        self.last = 0.0

    def __call__(self, description: str, done: int, total: int, unit: str, status: str = "") -> None:
        """Write a line, if the last one is old enough."""
        now = time.monotonic()
        start, first = self.started.setdefault(description, (now, done))
        if done < total and now - self.last < LINE_EVERY_S and total:
            return
        self.last = now
        per_s = (done - first) / (now - start) if now > start else 0.0
        left = f", {duration((total - done) / per_s)} left" if per_s and done < total else ""
        count = f": {done} of {total} {unit}" if total > 1 else ""
        figures = f"  {status}" if status else ""
        self.write(description + count + (f", {rate(per_s)}/s{left}" if per_s else "") + figures)


def rate(per_s: float) -> str:
    """Format a rate per second.

    >>> rate(12345.6), rate(1.25)
    ('12,346', '1.2')
    """
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"

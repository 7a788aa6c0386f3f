"""Progress of long work: bars with rate and time left in a terminal and in Jupyter, lines in a log."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from soundmark.runtime.progress import AnalysisProgress, Progress, no_progress
from soundmark.runtime.text import duration, printable

LINE_EVERY_S = 10.0  # interval between progress lines where standard error is not a terminal


FIRST_AFTER_S = 2.0  # before which an analysis of files displays nothing


REFRESH_EVERY_S = 0.25  # interval between updates in Jupyter


BAR_COLUMNS = 16


@contextmanager
def progress_bars(quiet: bool = False, console: Console | None = None) -> Iterator[Progress]:
    """A ``Progress`` that displays on ``console`` (standard error by default): nothing where ``quiet``.

    In Jupyter, one output that is updated in place; in a terminal, a bar for each description, with a line below for
    the status; elsewhere, a line every ten seconds and at the end of each description.

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
    """A function that displays the progress of an analysis of files, as ``progress_bars`` does for other work.

    An analysis that takes less than two seconds displays nothing.

    >>> with analysis_progress(quiet=True) as tell:
    ...     tell(AnalysisProgress(done=12, files=40, share=0.25, heard_s=7200.0, elapsed_s=30.0))
    """
    if quiet:
        yield lambda state: None
        return
    shown = _AnalysisBar(console or Console(stderr=True, highlight=False))
    try:
        yield shown
    finally:
        shown.close()


def in_jupyter() -> bool:
    """Whether this process is the kernel of a Jupyter notebook.

    >>> in_jupyter()
    False
    """
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def _print(console: Console, text: str) -> None:
    with suppress(OSError):  # standard error is full or closed; the results are not affected
        console.print(Text(printable(text)), soft_wrap=True)


# --- A terminal -------------------------------------------------------------------------------------------------------


class _TerminalBars(RichProgress):
    """A row for each description, and below the last one its status."""

    def __init__(self, console: Console) -> None:
        width = max(12, console.width - 44)  # what bar, count, rate and time left do not need
        super().__init__(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", max_width=width),
            ),
            BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=BAR_COLUMNS)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _Rate(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=console,
        )
        self._ids: dict[str, TaskID] = {}

    def __call__(self, description: str, done: int, total: int, unit: str, status: str = "") -> None:
        """Set the bar of ``description``."""
        if description not in self._ids:
            self._print_finished()
            self._ids[description] = self.add_task(printable(description), total=total or None, unit=unit)
        changes: dict[str, Any] = {"status": printable(status)} if status else {}
        self.update(self._ids[description], completed=done, total=total or None, **changes)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, each with its status."""
        for task in self.tasks:
            yield from self._rows(task)

    def _rows(self, task: Task) -> Iterator[RenderableType]:
        yield self.make_tasks_table([task])
        if status := task.fields.get("status"):
            yield Text(f"  {status}", style="dim", no_wrap=True, overflow="ellipsis")

    def _print_finished(self) -> None:
        """Print finished bars above the others for good: what is redrawn stays lower than the terminal."""
        for description, number in list(self._ids.items()):
            task = next(task for task in self.tasks if task.id == number)
            if task.finished:
                rows = list(self._rows(task))
                self.remove_task(self._ids.pop(description))
                for row in rows:
                    self.console.print(row)


class _Rate(ProgressColumn):
    """Units per second, once it is known."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "")
        return Text(f"{rate(task.speed)} {unit}/s" if task.speed else unit)


# --- Jupyter ----------------------------------------------------------------------------------------------------------


@dataclass
class _Step:
    """How far one description is."""

    unit: str
    started: float
    first: int  # units that were finished when it started
    done: int = 0
    total: int = 0
    status: str = ""
    seconds: float = 0.0

    @property
    def share(self) -> float:
        """The share that is finished; 0 where the total is not known."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def figures(self) -> str:
        """Count, rate, time left and status."""
        per_s = (self.done - self.first) / self.seconds if self.seconds else 0.0
        parts = [f"{self.done}/{self.total} {self.unit}" if self.total else self.unit]
        parts += [f"{rate(per_s)}/s"] if per_s else []
        parts += [f"{duration((self.total - self.done) / per_s)} left"] if per_s and self.done < self.total else []
        return "  ".join([", ".join(parts), *([self.status] if self.status else [])])


@dataclass
class _NotebookTable:
    """A table of bars in one output of the cell, updated in place."""

    handle: Any = None
    last: float = 0.0

    def is_due(self) -> bool:
        """Whether the last update is long enough ago for another."""
        now = time.monotonic()
        if now - self.last < REFRESH_EVERY_S:
            return False
        self.last = now
        return True

    def show(self, rows: Iterable[tuple[str, float, str]]) -> None:
        """Draw a row for each (description, share between 0 and 1, text)."""
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
        """Set the bar of ``description``, and draw it if it is time."""
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


# --- An analysis of many files ----------------------------------------------------------------------------------------


class _AnalysisBar:
    """A bar with rate and time left in a terminal or in Jupyter, a line now and then in a log."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: RichProgress | None = None
        self.table = _NotebookTable() if in_jupyter() else None
        self.last = time.monotonic() - LINE_EVERY_S + FIRST_AFTER_S
        self.began = time.monotonic()

    def __call__(self, state: AnalysisProgress) -> None:
        """Display the state, if it is time."""
        now = time.monotonic()
        if self.table:
            shown = self.table.handle or (now - self.began >= FIRST_AFTER_S and state.share < 1)
            if shown and (state.share == 1 or self.table.is_due()):
                self.table.show([("", state.share, state.in_words())])
        elif self.bar:
            self.bar.update(TaskID(0), completed=state.share, description=state.in_words())
        elif now - self.last < LINE_EVERY_S or state.share == 1:
            return
        elif self.console.is_terminal:
            self.bar = RichProgress(
                BarColumn(bar_width=BAR_COLUMNS),
                TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
                console=self.console,
            )
            self.bar.add_task(state.in_words(), total=1.0)
            self.bar.update(TaskID(0), completed=state.share)
            self.bar.start()
        else:
            self.last = now
            _print(self.console, state.in_words())

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar:
            self.bar.stop()


# --- A log ------------------------------------------------------------------------------------------------------------


class ProgressLines:
    """A line to ``say`` now and then.

    >>> ProgressLines(print)("features", 3, 3, "clips")
    features: 3 of 3 clips
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.started: dict[str, tuple[float, int]] = {}
        self.last = 0.0

    def __call__(self, description: str, done: int, total: int, unit: str, status: str = "") -> None:
        """Print a line, if it is time."""
        now = time.monotonic()
        start, first = self.started.setdefault(description, (now, done))
        if done < total and now - self.last < LINE_EVERY_S and total:
            return
        self.last = now
        per_s = (done - first) / (now - start) if now > start else 0.0
        left = f", {duration((total - done) / per_s)} left" if per_s and done < total else ""
        count = f": {done} of {total} {unit}" if total > 1 else ""
        figures = f"  {status}" if status else ""
        self.say(description + count + (f", {rate(per_s)}/s{left}" if per_s else "") + figures)


def rate(per_s: float) -> str:
    """How many per second, for people.

    >>> rate(12345.6), rate(1.25)
    ('12,346', '1.2')
    """
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"

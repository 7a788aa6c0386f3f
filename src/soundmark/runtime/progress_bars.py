"""Progress for who waits: bars with rate and time left in a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
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
from rich.text import Text

from soundmark.runtime.progress import Progress
from soundmark.runtime.text import duration

LINE_EVERY_S = 10.0  # how often a log file, which is no terminal, is told of progress


@contextmanager
def progress_bars(console: Console, shown: Callable[[str], str] = str) -> Iterator[Progress]:
    """A bar for each description that is told of, on a terminal, as ``shown`` has it.

    >>> with progress_bars(Console(quiet=True)) as progress:
    ...     progress("features", 3, 10, "clips")
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), _Rate())
    with RichProgress(*columns, TimeRemainingColumn(), console=console) as drawn:
        yield _ProgressBars(drawn, shown)


class _Rate(ProgressColumn):
    """Units per second, once there is something to tell it from."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "")
        return Text(f"{rate(task.speed)} {unit}/s" if task.speed else unit)


class _ProgressBars:
    def __init__(self, drawn: RichProgress, shown: Callable[[str], str]) -> None:
        self.drawn, self.shown = drawn, shown
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, description: str, done: int, total: int, unit: str) -> None:
        if description not in self.tasks:
            self.tasks[description] = self.drawn.add_task(self.shown(description), total=total or None, unit=unit)
        self.drawn.update(self.tasks[description], completed=done, total=total or None)


class ProgressLines:
    """A line to ``say`` now and then.

    >>> ProgressLines(print)("features", 3, 3, "clips")
    features: 3 of 3 clips
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.started: dict[str, tuple[float, int]] = {}
        self.last = 0.0

    def __call__(self, description: str, done: int, total: int, unit: str) -> None:
        """Say it, if it is time."""
        now = time.monotonic()
        start, first = self.started.setdefault(description, (now, done))
        if done < total and now - self.last < LINE_EVERY_S and total:
            return
        self.last = now
        per_s = (done - first) / (now - start) if now > start else 0.0
        left = f", {duration((total - done) / per_s)} left" if per_s and done < total else ""
        count = f": {done} of {total} {unit}" if total > 1 else ""
        self.say(description + count + (f", {rate(per_s)}/s{left}" if per_s else ""))


class ProgressBar:
    """One bar that shows a share and a sentence, until it is closed.

    >>> gauge = ProgressBar(Console(quiet=True))
    >>> gauge.show(0.5, "12 of 40 files")
    >>> gauge.close()
    """

    def __init__(self, console: Console) -> None:
        self._bar = RichProgress(BarColumn(), TextColumn("{task.description}", markup=False), console=console)
        self._task = self._bar.add_task("", total=1.0)
        self._bar.start()

    def show(self, share: float, words: str) -> None:
        """Set it."""
        self._bar.update(self._task, completed=share, description=words)

    def close(self) -> None:
        """Leave it as it is."""
        self._bar.stop()


def rate(per_s: float) -> str:
    """How many per second, for people.

    >>> rate(12345.6), rate(1.25)
    ('12,346', '1.2')
    """
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"

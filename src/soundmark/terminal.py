"""Tables and progress for people: results on standard output, everything else on standard error."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from soundmark import workers

if TYPE_CHECKING:
    from soundmark.bundle import Card
    from soundmark.datasets import Skipped
    from soundmark.evaluation import Evaluation, Result
    from soundmark.inspection import Inspection
    from soundmark.scoring import Scored

NAMED = 10  # skipped files that are named on the screen; the rest are counted, and stand in metrics.json
LINE_EVERY_S = 10.0  # how often a log file, which is no terminal, is told of progress

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """A line for the person who waits, on standard error."""
    err.print(Text(text), soft_wrap=True)


def fail(text: str) -> None:
    """A line that says what went wrong, on standard error."""
    err.print(Text.assemble(("soundmark: ", "bold red"), text), soft_wrap=True)


def listen_to_log() -> None:
    """Show the library's warnings on standard error."""
    log = logging.getLogger("soundmark")
    if not log.handlers:
        log.addHandler(RichHandler(console=err, show_time=False, show_path=False, markup=False))


@contextmanager
def progress(quiet: bool = False) -> Iterator[workers.Progress]:
    """A function to tell of progress: bars with rate and time left in a terminal, a line now and then in a log."""
    if quiet:
        yield workers.silent
    elif err.is_terminal:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=err,
        ) as bars:
            yield _Bars(bars)
    else:
        yield _Lines()


class _Rate(ProgressColumn):
    """Units per second, once there is something to tell it from."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "")
        return Text(f"{_rate(task.speed)} {unit}/s" if task.speed else unit)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, description: str, done: int, total: int, unit: str) -> None:
        if description not in self.tasks:
            self.tasks[description] = self.bars.add_task(description, total=total or None, unit=unit)
        self.bars.update(self.tasks[description], completed=done, total=total or None)


class _Lines:
    def __init__(self) -> None:
        self.started: dict[str, tuple[float, int]] = {}
        self.last = 0.0

    def __call__(self, description: str, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        start, first = self.started.setdefault(description, (now, done))
        if done < total and now - self.last < LINE_EVERY_S and total:
            return
        self.last = now
        rate = (done - first) / (now - start) if now > start else 0.0
        left = f", {workers.duration((total - done) / rate)} left" if rate and done < total else ""
        count = f": {done} of {total} {unit}" if total > 1 else ""
        say(description + count + (f", {_rate(rate)}/s{left}" if rate else ""))


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"


def show_evaluation(evaluation: Evaluation) -> None:
    """The one table of a comparison, the leak and the paired differences."""
    data = evaluation.dataset
    title = f"{data.name}: {len(data.clips):,} clips, {len(data.classes)} classes"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))  # 75 columns: it fits a terminal
    for name in ("recipe", "protocol"):
        table.add_column(name, no_wrap=True)
    for name in ("clips", "accuracy % [95 %]", "macro F1", "ECE", "folds"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in evaluation.results:
        table.add_row(*_row(result))
    out.print(table)
    for line in leak_lines(evaluation):
        out.print(Text(line), soft_wrap=True)
    for comparison in evaluation.comparisons:
        found = comparison.difference
        out.print(
            Text(
                f"{' − '.join(comparison.recipes)}, {comparison.protocol}: {100 * found.difference:+.1f} points "
                f"[{100 * found.interval.low:+.1f}, {100 * found.interval.high:+.1f}], p = {found.p:.3g} (by recording)"
            ),
            soft_wrap=True,
        )


def leak_lines(evaluation: Evaluation) -> list[str]:
    """What each protocol's split gives away, a line each."""
    leaks = {result.protocol: result.leak for result in evaluation.results}
    return [
        f"{protocol}: {100 * leak.recording:.1f} % of the test clips come from a recording that is also trained on; "
        f"knowing the recording alone would score {100 * leak.lookup_accuracy:.1f} %"
        for protocol, leak in leaks.items()
    ]


def _row(result: Result) -> Sequence[str]:
    summary, interval = result.summary, result.summary.accuracy_interval
    spread = f"{100 * result.fold_mean:.1f} ± {100 * result.fold_sd:.1f}" if len(result.folds) > 1 else ""
    return (
        result.recipe.name,
        result.protocol,
        f"{summary.n:,}",
        f"{100 * summary.accuracy:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]",
        f"{100 * summary.macro_f1:.1f}",
        f"{summary.ece:.3f}",
        spread,
    )


def show_inspection(inspection: Inspection) -> None:
    """What is in a data set, and what is wrong with it; bars where the last column counts."""
    from soundmark.inspection import sections

    for section in sections(inspection):
        out.print(Text.assemble((section.title, "bold"), f"\n{section.text}"), soft_wrap=True)
        if section.rows:
            table = Table(box=None, pad_edge=False)
            for name in section.columns:
                table.add_column(name, overflow="fold")
            for row in section.rows:
                table.add_row(*(Text(cell) for cell in row))
            out.print(table)
        out.print()


def show_scored(tested: Scored) -> None:
    """A model's figures on a data set."""
    summary, interval = tested.summary, tested.summary.accuracy_interval
    out.print(Text(f"Scored: {summary.n:,} clips: {tested.note}."), soft_wrap=True)
    out.print(
        Text(
            f"accuracy {100 * summary.accuracy:.1f} % "
            f"(95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f}), "
            f"macro F1 {100 * summary.macro_f1:.1f} %, log loss {summary.log_loss:.3f}, ECE {summary.ece:.3f}"
        ),
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("class", "left"),
        ("precision %", "right"),
        ("recall %", "right"),
        ("F1 %", "right"),
        ("clips", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for scores in summary.per_class:
        shares = (f"{100 * value:.1f}" for value in (scores.precision, scores.recall, scores.f1))
        table.add_row(Text(scores.label), *shares, f"{scores.support:,}")
    out.print(table)


def name_skipped(skipped: Sequence[Skipped]) -> None:
    """Say which files were left out and why, on standard error; the first few by name."""
    for item in skipped[:NAMED]:
        say(f"left out: {item.path}: {item.reason}")
    if len(skipped) > NAMED:
        say(f"… and {len(skipped) - NAMED:,} more.")


def show_answers(answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """The classes of each file, best first."""
    table = Table(box=None, pad_edge=False)
    for name, justify in (("file", "left"), ("class", "left"), ("score", "right"), ("", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for name, answer in answers.items():
        for place, entry in enumerate(answer):
            bar = "█" * round(20 * entry["score"])
            table.add_row(
                Text("" if place else name), Text(entry["label"]), f"{entry['score']:.3f}", Text(bar, style="blue")
            )
    out.print(table)


def show_card(name: str, card: Card) -> None:
    """What a model says of itself."""
    table = Table(title=name, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in card_lines(card):
        table.add_row(key, Text(value))
    out.print(table)


def card_lines(card: Card) -> list[tuple[str, str]]:
    """The card as pairs of a heading and a sentence."""
    settings = {key: value for key, value in card.representation.settings().items() if key != "name"}
    recipe = {key: value for key, value in card.recipe.items() if key != "representation"}
    return [
        ("listens for", ", ".join(card.classes)),
        ("hears", f"{card.window_s:g} s at a time, as {card.representation.name} ({_settings(settings)})"),
        ("made by", _settings(recipe)),
        ("trained on", _data(card.data)),
        ("scores", _scores(card.scores)),
        ("licence of the data", str(card.data.get("licence", "unknown"))),
        ("versions", _settings(card.versions)),
    ]


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items()) or "not said"


def _data(data: Mapping[str, Any]) -> str:
    if not data:
        return "not said"
    fold = data.get("test_fold")
    kept = {"all": "nothing kept back", "random": "a random third kept back"}.get(
        data.get("protocol", ""), f"fold {fold} kept back"
    )
    return f"{data.get('name')} (fingerprint {data.get('fingerprint')}): {data.get('n_train')} clips, {kept}"


def _scores(scores: Mapping[str, Any]) -> str:
    if not scores:
        return "not measured: nothing was kept back. `soundmark compare` measures, `train --scores RUN` puts it here."
    low, high = (f"{100 * end:.1f}" if end is not None else "?" for end in scores["accuracy_interval"])
    return (
        f"accuracy {100 * scores['accuracy']:.1f} % (95 % interval {low} to {high}) on {scores['n_test']} clips "
        f"that it was not trained on, protocol {scores['protocol']}; "
        f"macro F1 {100 * scores['macro_f1']:.1f} %, ECE {scores['ece']:.3f}"
    )

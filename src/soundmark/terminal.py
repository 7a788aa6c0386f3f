"""Tables and progress for people: results on standard output, everything else on standard error."""

from __future__ import annotations

import logging
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from soundmark import card as cards
from soundmark import workers
from soundmark.card import percent as _percent

if TYPE_CHECKING:
    from soundmark.batch import Batch
    from soundmark.bundle import Card
    from soundmark.classification import Hearing
    from soundmark.course import State
    from soundmark.datasets import Skipped
    from soundmark.evaluation import Evaluation, Result
    from soundmark.events import Heard
    from soundmark.gauges import Gauge
    from soundmark.inputs import Failure
    from soundmark.inspection import Inspection
    from soundmark.scoring import Scored
    from soundmark.summary import Summary

NAMED = 10  # skipped files that are named on the screen; the rest are counted, and stand in metrics.json
LINE_EVERY_S = 10.0  # how often a log file, which is no terminal, is told of the hearing of files

# What data may not send to a terminal: control characters other than tab and newline, marks that turn the direction of
# writing, and the halves of characters that stand for undecodable file names.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def plain(value: object, style: str = "") -> Text:
    r"""The value as it may be printed wherever it comes from: no markup, and nothing that a terminal would obey.

    >>> plain("[b]\x1b[31mred").plain
    '[b]�[31mred'
    """
    return Text(UNPRINTABLE.sub("\ufffd", str(value)), style=style)


def line(value: object, style: str = "") -> Text:
    r"""The value as ``plain`` has it, and on one line: a line break in a name shall not break a message, or a row.

    >>> line("street\n1.wav").plain
    'street\\n1.wav'
    """
    text = str(value)
    for character, shown in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(character, shown)
    return plain(text, style)


def tell(text: str) -> None:
    """A line of the result, on standard output; nothing for the empty string.

    >>> tell("seed-mel is right on 70.1 %")
    seed-mel is right on 70.1 %
    """
    if text:
        out.print(plain(text), soft_wrap=True)


def hand_over(text: str) -> None:
    """Results for a program, on standard output: in UTF-8 wherever it runs, names of files byte for byte.

    >>> hand_over("")
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
    if sys.stdout:  # None where it was closed
        sys.stdout.write(text)


def say(text: str) -> None:
    """A line for the person who waits, on standard error."""
    _note(plain(text))


def fail(text: str) -> None:
    """A line that says what went wrong, on standard error."""
    _note(Text.assemble(("soundmark: ", "bold red"), line(text)))


def warn(text: str) -> None:
    """A line that says what to beware of, on standard error."""
    _note(Text.assemble(("warning: ", "bold yellow"), line(text)))


def _note(text: Text) -> None:
    with suppress(OSError):  # nobody hears it where standard error is full or closed; the results go on
        err.print(text, soft_wrap=True)


def listen_to_log() -> None:
    """Show the library's warnings on standard error."""
    log = logging.getLogger("soundmark")
    if not log.handlers:
        log.addHandler(_Warnings())


class _Warnings(logging.Handler):
    """The library's warnings, a line each, however long: a terminal wraps it, and a file keeps it whole."""

    def emit(self, record: logging.LogRecord) -> None:
        level = (f"{record.levelname.lower()}: ", "bold yellow")
        _note(Text.assemble(level, line(record.getMessage())))


@contextmanager
def progress(quiet: bool = False) -> Iterator[workers.Progress]:
    """A function to tell of progress: bars with rate and time left in a terminal, a line now and then in a log."""
    from soundmark import gauges

    if quiet:
        yield workers.silent
    elif err.is_terminal:
        with gauges.bars(err, shown=lambda text: plain(text).plain) as bars:
            yield bars
    else:
        yield gauges.Lines(say)


@contextmanager
def hearing(quiet: bool = False) -> Iterator[Callable[[State], None]]:
    """A function to tell how far the hearing of files is; nothing is shown of what takes less than two seconds."""
    if quiet:
        yield lambda state: None
        return
    shown = _Hearing()
    try:
        yield shown
    finally:
        shown.close()


class _Hearing:
    """A bar with rate and time left in a terminal, a line now and then in a log."""

    def __init__(self) -> None:
        self.bar: Gauge | None = None
        self.last = time.monotonic() - LINE_EVERY_S + 2.0

    def __call__(self, state: State) -> None:
        now = time.monotonic()
        if self.bar:
            self.bar.show(state.share, state.in_words())
        elif now - self.last < LINE_EVERY_S or state.share == 1:
            return
        elif err.is_terminal:
            from soundmark.gauges import Gauge

            self.bar = Gauge(err)
        else:
            self.last = now
            say(state.in_words())

    def close(self) -> None:
        if self.bar:
            self.bar.close()


def show_evaluation(evaluation: Evaluation) -> None:
    """The one table of a comparison, the leak and the paired differences."""
    data = evaluation.dataset
    title = f"{data.name}: {len(data.clips):,} clips, {len(data.classes)} classes"
    table = Table(
        title=plain(title, "italic"), title_justify="left", box=None, padding=(0, 2, 0, 0)
    )  # 75 columns: it fits a terminal
    for name in ("recipe", "protocol"):
        table.add_column(name, no_wrap=True)
    figure = "mAP" if data.multi_label else "accuracy"
    for name in ("clips", f"{figure} % [95 %]", "macro F1", "ECE", "folds"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in evaluation.results:
        table.add_row(*_row(result))
    out.print(table)
    for line in (*seed_lines(evaluation), *leak_lines(evaluation)):
        tell(line)
    counted = "by recording" if data.sources_known else "by clip"
    for comparison in evaluation.comparisons:
        found = comparison.difference
        p = f"{found.p:.3g}" if math.isfinite(found.p) else "?"
        tell(
            f"{' − '.join(comparison.recipes)}, {comparison.protocol}: {100 * found.difference:+.1f} points "
            f"[{_percent(found.interval.low, '+')}, {_percent(found.interval.high, '+')}], p = {p} ({counted})"
        )


def seed_lines(evaluation: Evaluation) -> list[str]:
    """How much the accuracies differ between seeds, a line for each result of several."""
    return [_seed_line(result) for result in evaluation.results if len(result.seeds) > 1]


def _seed_line(result: Result) -> str:
    found = zip(result.seeds, result.seed_accuracies, strict=True)
    each = ", ".join(f"{seed} ({_percent(accuracy)})" for seed, accuracy in found)
    spread = f"{_percent(result.summary.headline.value)} ± {_percent(result.seed_sd)} %"
    return f"{result.recipe.name}, {result.protocol}: {spread}, mean ± SD over the seeds {each}"


def leak_lines(evaluation: Evaluation) -> list[str]:
    """What each protocol's split gives away, a line each."""
    leaks = {result.protocol: result.leak for result in evaluation.results}
    scored = "name all labels right of" if evaluation.dataset.multi_label else "score"
    return [
        f"{protocol}: {leak.in_words()}; knowing the recording alone would {scored} {_percent(leak.lookup_accuracy)} %"
        if leak
        else f"{protocol}: which clips share a recording is not known here: the leak cannot be measured, and the "
        "intervals count clips"
        for protocol, leak in leaks.items()
    ]


def _row(result: Result) -> Sequence[str]:
    summary, headline = result.summary, result.summary.headline
    spread = f"{100 * result.fold_mean:.1f} ± {100 * result.fold_sd:.1f}" if len(result.mean_folds) > 1 else ""
    return (
        result.recipe.name,
        result.protocol,
        f"{summary.n:,}",
        f"{100 * headline.value:.1f} [{_percent(headline.interval.low)}, {_percent(headline.interval.high)}]",
        f"{100 * summary.macro_f1:.1f}",
        f"{summary.ece:.3f}",
        spread,
    )


def show_inspection(inspection: Inspection) -> None:
    """What is in a data set, and what is wrong with it; bars where the last column counts."""
    from soundmark.inspection import sections

    for section in sections(inspection):
        out.print(Text.assemble(plain(section.title, "bold"), "\n", plain(section.text)), soft_wrap=True)
        if section.rows:
            table = Table(box=None, pad_edge=False)
            for name in section.columns:
                table.add_column(line(name), overflow="fold")
            for row in section.rows:
                table.add_row(*(line(cell) for cell in row))
            out.print(table)
        out.print()


def show_scored(tested: Scored) -> None:
    """A model's figures on a data set."""
    from soundmark.tagging import LabelScores, MultiSummary

    summary, headline = tested.summary, tested.summary.headline
    interval = headline.interval
    tell(f"Scored: {summary.n:,} clips: {tested.note}.")
    tell(
        f"{headline.name} {100 * headline.value:.1f} % "
        f"(95 % interval {_percent(interval.low)} to {_percent(interval.high)}), "
        f"macro F1 {100 * summary.macro_f1:.1f} %, log loss {summary.log_loss:.3f}, ECE {summary.ece:.3f}"
    )
    table = Table(box=None, pad_edge=False)
    of_labels = isinstance(summary, MultiSummary)
    for name, justify in (
        ("class", "left"),
        *((("AP %", "right"), ("threshold", "right")) if of_labels else ()),
        ("precision %", "right"),
        ("recall %", "right"),
        ("F1 %", "right"),
        ("clips", "right"),
    ):
        table.add_column(name, justify=justify)
    for scores in summary.per_class:
        shares = (f"{100 * value:.1f}" for value in (scores.precision, scores.recall, scores.f1))
        ranked = (
            (_percent(scores.average_precision), f"{scores.threshold:.2f}") if isinstance(scores, LabelScores) else ()
        )
        table.add_row(line(scores.label), *ranked, *shares, f"{scores.support:,}")
    out.print(table)


def name_skipped(skipped: Sequence[Skipped]) -> None:
    """Say which files were left out and why, on standard error; the first few by name."""
    for item in skipped[:NAMED]:
        _note(line(f"left out: {item.path}: {item.reason}"))
    if len(skipped) > NAMED:
        say(f"… and {len(skipped) - NAMED:,} more.")


def show_answers(answers: Mapping[str, Sequence[Mapping[str, Any]]], *, unknown: str | None = None) -> None:
    """The classes of each file, best first; nothing where there is none.

    Behind ``unknown``, what a sound is called that is none of the classes, the first of them is only perhaps there.
    """
    if not answers:
        return
    table = Table(box=None, pad_edge=False)
    tells_present = any("present" in entry for answer in answers.values() for entry in answer)
    for name, justify in (
        ("file", "left"),
        ("class", "left"),
        ("score", "right"),
        *((("", "left"),) if tells_present else ()),
        ("", "left"),
    ):
        table.add_column(name, justify=justify, overflow="fold")
    for name, answer in answers.items():
        refused = unknown is not None and bool(answer) and answer[0]["label"] == unknown
        for place, entry in enumerate(answer):
            bar = "█" * round(20 * entry["score"])
            told = ["present" if entry["present"] else ""] if tells_present else []
            label = f"perhaps {entry['label']}" if refused and place == 1 else entry["label"]
            table.add_row(line("" if place else name), line(label), f"{entry['score']:.3f}", *told, Text(bar, "blue"))
    out.print(table)


def show_heard(found: Sequence[Heard], *, unknown: str | None = None) -> None:
    """What each recording is as a whole; and of those that are longer than a window, what was heard when."""
    show_answers({heard.file: heard.answer for heard in found}, unknown=unknown)
    longer = [heard for heard in found if heard.windows > 1]
    if not longer:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("file", "from", "to", "heard", "score"):
        table.add_column(name, justify="left" if name in ("file", "heard") else "right", overflow="fold")
    for heard in longer:
        for place, event in enumerate(heard.events):
            times = (clock_time(event.start_s), clock_time(event.stop_s))
            table.add_row(line("" if place else heard.file), *times, line(event.label), f"{event.confidence:.3f}")
        if not heard.events:
            table.add_row(line(heard.file), "", "", Text("nothing for certain", "italic"), "")
    out.print()
    out.print(table)


def hand_over_heard(found: Iterable[Heard | Failure], form: str, *, unknown: str | None = None) -> None:
    """What was heard in each file, on standard output: a table for people when all is heard, else as it is heard."""
    from soundmark import writers
    from soundmark.events import Heard

    if form == "table":
        show_heard([heard for heard in found if isinstance(heard, Heard)], unknown=unknown)
    else:
        for part in writers.FORMATS[form].write(found):
            hand_over(part.decode(errors="surrogateescape"))


def clock_time(seconds: float) -> str:
    """A place in a recording for people.

    >>> clock_time(12), clock_time(75.25), clock_time(86399.96)
    ('0:12.0', '1:15.2', '24:00:00.0')
    """
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    rest_s = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{rest_s}" if hours else f"{minutes}:{rest_s}"


def show_summary(found: Summary) -> None:
    """Minutes of each class, and its hours of the day as a row of bars: shares of the time recorded, if it is known."""
    from soundmark.summary import spark

    days = f"{found.days[0]} to {found.days[-1]}" if len(found.days) > 1 else f"{found.days[0]}"
    table = Table(title=plain(f"{days}, {found.zone}", "italic"), title_justify="left", box=None, pad_edge=False)
    for name, right in (("class", False), ("minutes", True), ("0 h         12 h      23", False), ("most at", True)):
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    if found.recorded_by_hour is not None:
        table.add_column("% of the time", justify="right")
    for row, label in enumerate(found.labels):
        minutes, told = found.by_hour[row], found.told_by_hour[row]
        share = []
        if found.recorded_by_hour is not None:
            share = [f"{100 * minutes.sum() / found.recorded_by_hour.sum():.1f}"]
        most = f"{found.busiest_hour(row)} h"
        table.add_row(line(label), f"{minutes.sum():,.1f}", Text(spark(told), "blue"), most, *share)
    out.print(table)


def name_heard(found: Batch | Hearing) -> None:
    """Which files were heard in part, and which were not, on standard error; and where the results are."""
    for note in found.notes:
        warn(note)
    for failure in found.failures:
        fail(failure.reason)
    for text in getattr(found, "whereabouts", ()):
        say(text)


def show_card(name: str, card: Card) -> None:
    """What a model says of itself."""
    table = Table(title=line(name, "italic"), title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in cards.lines(card):
        table.add_row(key, line(value))
    out.print(table)
    tell("\n" + cards.usage(name, card))

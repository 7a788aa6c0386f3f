"""Tables for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table
from rich.text import Text

from soundmark.cli.console import fail, line, out, plain, print_note, print_result, say, warn, write_output
from soundmark.models import card_text
from soundmark.runtime.text import percent

if TYPE_CHECKING:
    from soundmark.datasets import Skipped
    from soundmark.datasets.inspection import Inspection
    from soundmark.detection.file_analysis import FileAnalysis
    from soundmark.detection.file_result import FileResult
    from soundmark.detection.inputs import Failure
    from soundmark.detection.results_folder import FolderResult
    from soundmark.detection.summary import Summary
    from soundmark.evaluation.model_evaluation import ModelEvaluation
    from soundmark.evaluation.results import Evaluation, Result
    from soundmark.models.card import Card


NAMED = 10  # skipped files that are named on the screen; the rest are counted, and stand in metrics.json


def show_evaluation(evaluation: Evaluation) -> None:
    """Print the table of a comparison, the data leakage and the paired differences."""
    from soundmark.metrics.task import Task

    data = evaluation.dataset
    title = f"{data.name}: {len(data.clips):,} clips, {len(data.classes)} classes"
    table = Table(  # 80 columns hold the longest of our recipes
        title=plain(title, "italic"), title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False
    )
    for name in ("recipe", "protocol"):
        table.add_column(name, no_wrap=True)
    figure = Task.of(data.multi_label).figure
    for name in ("clips", f"{figure} % [95 %]", "macro F1", "ECE", "folds"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in evaluation.results:
        table.add_row(*_row(result))
    out.print(table)
    for text in (*seed_lines(evaluation), *leak_lines(evaluation)):
        print_result(text)
    counted = "by recording" if data.sources_known else "by clip"
    for comparison in evaluation.comparisons:
        found = comparison.difference
        p = f"{found.p:.3g}" if math.isfinite(found.p) else "?"
        print_result(
            f"{' − '.join(comparison.recipes)}, {comparison.protocol}: {100 * found.difference:+.1f} points "
            f"[{percent(found.interval.low, '+')}, {percent(found.interval.high, '+')}], p = {p} ({counted})"
        )


def seed_lines(evaluation: Evaluation) -> list[str]:
    """How much the accuracies differ between seeds, a line for each result of several."""
    return [_seed_line(result) for result in evaluation.results if len(result.seeds) > 1]


def _seed_line(result: Result) -> str:
    found = zip(result.seeds, result.seed_accuracies, strict=True)
    each = ", ".join(f"{seed} ({percent(accuracy)})" for seed, accuracy in found)
    spread = f"{percent(result.summary.headline.value)} ± {percent(result.seed_sd)} %"
    return f"{result.recipe.name}, {result.protocol}: {spread}, mean ± SD over the seeds {each}"


def leak_lines(evaluation: Evaluation) -> list[str]:
    """What each protocol's split gives away, a line each."""
    from soundmark.metrics.task import Task

    leaks = {result.protocol: result.leak for result in evaluation.results}
    scored = Task.of(evaluation.dataset.multi_label).words.looked_up
    return [
        f"{protocol}: {leak.in_words()}; knowing the recording alone would {scored} {percent(leak.lookup_accuracy)} %"
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
        f"{100 * headline.value:.1f} [{percent(headline.interval.low)}, {percent(headline.interval.high)}]",
        f"{100 * summary.macro_f1:.1f}",
        f"{summary.ece:.3f}",
        spread,
    )


def show_inspection(inspection: Inspection) -> None:
    """What is in a data set, and what is wrong with it; bars where the last column counts."""
    from soundmark.datasets.inspection_tables import to_sections

    for section in to_sections(inspection):
        out.print(Text.assemble(plain(section.title, "bold"), "\n", plain(section.text)), soft_wrap=True)
        if section.rows:
            table = Table(box=None, pad_edge=False)
            for name in section.columns:
                table.add_column(line(name), overflow="fold")
            for row in section.rows:
                table.add_row(*(line(cell) for cell in row))
            out.print(table)
        out.print()


def show_scored(tested: ModelEvaluation) -> None:
    """Print the scores of a model on a data set."""
    summary, headline = tested.summary, tested.summary.headline
    interval = headline.interval
    print_result(f"Scored: {summary.n:,} clips: {tested.note}.")
    print_result(
        f"{headline.name} {100 * headline.value:.1f} % "
        f"(95 % interval {percent(interval.low)} to {percent(interval.high)}), "
        f"macro F1 {100 * summary.macro_f1:.1f} %, log loss {summary.log_loss:.3f}, ECE {summary.ece:.3f}"
    )
    table = Table(box=None, pad_edge=False)
    others: list[tuple[str, Literal["left", "right"]]] = [
        (f"{column.name} %" if column.is_share else column.name, "right") for column in summary.class_columns
    ]
    for name, justify in (
        ("class", "left"),
        *others,
        ("precision %", "right"),
        ("recall %", "right"),
        ("F1 %", "right"),
        ("clips", "right"),
    ):
        table.add_column(name, justify=justify)
    for scores in summary.class_figures:
        shares = (f"{100 * value:.1f}" for value in (scores.precision, scores.recall, scores.f1))
        more = [
            percent(column.value(scores)) if column.is_share else f"{column.value(scores):.2f}"
            for column in summary.class_columns
        ]
        table.add_row(line(scores.label), *more, *shares, f"{scores.support:,}")
    out.print(table)


def name_skipped(skipped: Sequence[Skipped]) -> None:
    """Say which files were left out and why, on standard error; the first few by name."""
    for item in skipped[:NAMED]:
        print_note(line(f"left out: {item.path}: {item.reason}"))
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


def show_results(found: Sequence[FileResult], *, unknown: str | None = None) -> None:
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


def write_results(found: Iterable[FileResult | Failure], form: str, *, unknown: str | None = None) -> None:
    """What was heard in each file, on standard output: a table for people when all is heard, else as it is heard."""
    from soundmark.detection import output_formats
    from soundmark.detection.file_result import FileResult

    if form == "table":
        show_results([heard for heard in found if isinstance(heard, FileResult)], unknown=unknown)
    else:
        for part in output_formats.FORMATS[form].write(found):
            write_output(part.decode(errors="surrogateescape"))


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
    from soundmark.detection.summary import spark

    days = f"{found.days[0]} to {found.days[-1]}" if len(found.days) > 1 else f"{found.days[0]}"
    table = Table(title=plain(f"{days}, {found.zone}", "italic"), title_justify="left", box=None, pad_edge=False)
    for name, right in (("class", False), ("minutes", True), ("0 h         12 h      23", False), ("most at", True)):
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    if found.recorded_by_hour is not None:
        table.add_column("% of the time", justify="right")
    for row, label in enumerate(found.labels):
        minutes, shares = found.by_hour[row], found.shares_by_hour[row]
        share = []
        if found.recorded_by_hour is not None:
            share = [f"{100 * minutes.sum() / found.recorded_by_hour.sum():.1f}"]
        most = f"{found.busiest_hour(row)} h"
        table.add_row(line(label), f"{minutes.sum():,.1f}", Text(spark(shares), "blue"), most, *share)
    out.print(table)


def show_failures(found: FolderResult | FileAnalysis) -> None:
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
    for key, value in card_text.card_lines(card):
        table.add_row(key, line(value))
    out.print(table)
    print_result("\n" + card_text.usage(name, card))

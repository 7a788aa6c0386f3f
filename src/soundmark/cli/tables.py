"""Results, model cards and failures as text and tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from soundmark.cli.console import fail, line, out, print_note, print_result, say, warn, write_output
from soundmark.cli.table_layout import Cell, Column, print_table
from soundmark.models import card_text
from soundmark.runtime.text import counted, percent

if TYPE_CHECKING:
    from pathlib import Path

    from soundmark.datasets import Skipped
    from soundmark.datasets.inspection import Inspection
    from soundmark.detection.archive.index import FoundWindows, Index
    from soundmark.detection.archive.indexing import Indexed
    from soundmark.detection.file_analysis import FileAnalysis
    from soundmark.detection.file_result import FileResult
    from soundmark.detection.inputs import Failure
    from soundmark.detection.results_folder import FolderResult
    from soundmark.detection.summary import Summary
    from soundmark.evaluation.event_evaluation import EventEvaluation
    from soundmark.evaluation.label_check import LabelCheck
    from soundmark.evaluation.learning_curve import LearningCurve
    from soundmark.evaluation.model_evaluation import ModelEvaluation
    from soundmark.evaluation.results import Evaluation, Result
    from soundmark.models.bundle import Bundle


NAMED = 10  # skipped files that are printed by name; metrics.json lists all


def show_evaluation(evaluation: Evaluation) -> None:
    """Print the table of a comparison, the data leakage of each protocol and the paired differences."""
    from soundmark.evaluation.results_text import paired_text
    from soundmark.metrics.task import Task

    data = evaluation.dataset
    title = f"{data.name}: {counted(len(data.clips), 'clip')}, {counted(len(data.classes), 'class')}"
    figure = Task.of(data.multi_label).figure
    numbers = ("clips", f"{figure} % [95 %]", "macro F1", "ECE", "folds")
    columns = [Column("recipe"), Column("protocol"), *(Column(name, "number") for name in numbers)]
    print_table(columns, [_row(result) for result in evaluation.results], title=title)
    for text in (*seed_lines(evaluation), *leak_lines(evaluation)):
        print_result(text)
    unit = "by recording" if data.sources_known else "by clip"
    for comparison in evaluation.comparisons:
        print_result(f"{paired_text(comparison, ' − '.join(comparison.recipes))} ({unit})")
        print_result(f"  {comparison.verdict.in_words(*comparison.recipes)}")


def seed_lines(evaluation: Evaluation) -> list[str]:
    """Return a line with mean and standard deviation over the seeds for each result with several seeds."""
    return [_seed_line(result) for result in evaluation.results if len(result.seeds) > 1]


def _seed_line(result: Result) -> str:
    found = zip(result.seeds, result.seed_accuracies, strict=True)
    each = ", ".join(f"{seed} ({percent(accuracy)})" for seed, accuracy in found)
    spread = f"{percent(result.summary.headline.value)} ± {percent(result.seed_sd)} %"
    return f"{result.recipe.name}, {result.protocol}: {spread}, mean ± SD over the seeds {each}"


def leak_lines(evaluation: Evaluation) -> list[str]:
    """Return a line on the data leakage of each protocol."""
    leaks = {result.protocol: result.leak for result in evaluation.results}
    return [
        f"{protocol}: {leak.in_words()}; a lookup of the recording, without its sound, is right for "
        f"{percent(leak.lookup_accuracy)} %"
        if leak
        else f"{protocol}: it is unknown which clips share a recording: data leakage cannot be measured, and the "
        "intervals treat clips as independent"
        for protocol, leak in leaks.items()
    ]


def _row(result: Result) -> Sequence[str]:
    summary, headline = result.summary, result.summary.headline
    from soundmark.evaluation.results_text import spread_text

    return (
        result.recipe.name,
        result.protocol,
        f"{summary.n:,}",
        f"{100 * headline.value:.1f} [{percent(headline.interval.low)}, {percent(headline.interval.high)}]",
        f"{100 * summary.macro_f1:.1f}",
        f"{summary.ece:.3f}",
        spread_text(result),
    )


def show_inspection(inspection: Inspection) -> None:
    """Print the statistics and the problems of a data set."""
    from soundmark.datasets.inspection.tables import to_sections

    for i, section in enumerate(to_sections(inspection)):
        if i:
            out.print()
        print_result(section.title, "bold")
        print_result(section.text)
        if section.rows:
            print_table(_inspection_columns(section.columns, section.rows), section.rows)


def _inspection_columns(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Column]:
    """Return columns of paths, of numbers where all cells are numbers, and of text."""
    return [
        Column(title, "path" if title.startswith("path") else "number" if all(map(_is_number, cells)) else "text")
        for title, *cells in zip(titles, *rows, strict=True)
    ]


def _is_number(text: str) -> bool:
    return text.replace(",", "").isdigit()


def show_scored(tested: ModelEvaluation) -> None:
    """Print the scores of a model on a data set."""
    summary, headline = tested.summary, tested.summary.headline
    interval = headline.interval
    print_result(f"Scored {counted(summary.n, 'clip')}: {tested.note}.")
    print_result(
        f"{headline.name} {100 * headline.value:.1f} % "
        f"(95 % interval {percent(interval.low)} to {percent(interval.high)}), "
        f"macro F1 {100 * summary.macro_f1:.1f} %, log loss {summary.log_loss:.3f}, ECE {summary.ece:.3f}"
    )
    others = [f"{column.name} %" if column.is_share else column.name for column in summary.class_columns]
    titles = [*others, "precision %", "recall %", "F1 %", "clips"]
    rows = []
    for scores in summary.class_figures:
        more = [
            percent(column.value(scores)) if column.is_share else f"{column.value(scores):.2f}"
            for column in summary.class_columns
        ]
        shares = [f"{100 * value:.1f}" for value in (scores.precision, scores.recall, scores.f1)]
        rows.append((scores.label, *more, *shares, f"{scores.support:,}"))
    print_table([Column("class"), *(Column(title, "number") for title in titles)], rows)


def show_scored_events(found: EventEvaluation) -> None:
    """Print the scores of a model's detections in annotated recordings."""
    from soundmark.evaluation.event_evaluation import COLUMNS

    for text in found.headings():
        print_result(text)
    print_table([Column("class"), *(Column(title, "number") for title in COLUMNS)], found.rows())


def show_curve(curve: LearningCurve) -> None:
    """Print the table of a learning curve, that of its classes, and what more recordings would give."""
    print_table([Column(title, "number") for title in curve.header], curve.rows(), title=curve.title)
    out.print()
    titles = curve.class_header
    print_table([Column(titles[0]), *(Column(title, "number") for title in titles[1:])], curve.class_rows())
    out.print()
    for sentence in curve.sentences():
        print_result(sentence)


def show_labels(found: LabelCheck) -> None:
    """Print the recordings whose labels are contradicted most."""
    kinds = ("text", "text", "text", "number", "number", "path")
    columns = [Column(title, kind) for title, kind in zip(found.header, kinds, strict=True)]
    print_table(columns, found.rows(found.listed))
    out.print()
    print_result(found.sentence)


def name_skipped(skipped: Sequence[Skipped]) -> None:
    """Print the skipped files with the reason on standard error; beyond the first few, only their number."""
    for item in skipped[:NAMED]:
        print_note(line(f"skipped: {item.path}: {item.reason}"))
    if len(skipped) > NAMED:
        say(f"… and {len(skipped) - NAMED:,} more.")


def show_answers(answers: Mapping[str, Sequence[Mapping[str, Any]]], *, unknown: str | None = None) -> None:
    """Print the classes of each file, best first; print nothing if there are no files.

    ``unknown`` is the label of sounds that are unlike the training data. The class after it is only the nearest one.
    """
    if not answers:
        return
    multi_label = any("present" in entry for answer in answers.values() for entry in answer)
    rows: list[Sequence[Cell]] = []
    for name, answer in answers.items():
        is_unknown = unknown is not None and bool(answer) and answer[0]["label"] == unknown
        for rank, entry in enumerate(answer):
            label = f"nearest: {entry['label']}" if is_unknown and rank == 1 else entry["label"]
            present = ["present" if entry["present"] else ""] if multi_label else []
            rows.append(("" if rank else name, label, f"{entry['score']:.3f}", *present, float(entry["score"])))
    present_column = [Column("")] if multi_label else []
    columns = [Column("file", "path"), Column("class"), Column("score", "number"), *present_column, Column("", "bar")]
    print_table(columns, rows)


def show_results(found: Sequence[FileResult], *, unknown: str | None = None) -> None:
    """Print the classes of each recording, and the events of recordings that are longer than a window."""
    show_answers({result.file: result.answer for result in found}, unknown=unknown)
    rows: list[Sequence[Cell]] = []
    for result in found:
        if result.windows > 1:
            for i, event in enumerate(result.events):
                times = (clock_time(event.start_s), clock_time(event.stop_s))
                rows.append(("" if i else result.file, *times, event.label, f"{event.confidence:.3f}"))
            if not result.events:
                rows.append((result.file, "", "", Text("no events", "italic"), ""))
    if rows:
        from_to = (Column("from", "number"), Column("to", "number"))
        out.print()
        print_table([Column("file", "path"), *from_to, Column("class"), Column("score", "number")], rows)


def write_results(found: Iterable[FileResult | Failure], form: str, *, unknown: str | None = None) -> None:
    """Write the results of files to standard output: a table at the end, any other format file by file."""
    from soundmark.detection import output_formats
    from soundmark.detection.file_result import FileResult

    if form == "table":
        show_results([result for result in found if isinstance(result, FileResult)], unknown=unknown)
    else:
        for part in output_formats.FORMATS[form].write(found):
            write_output(part.decode(errors="surrogateescape"))


def clock_time(seconds: float) -> str:
    """Format a time in a recording.

    >>> clock_time(12), clock_time(75.25), clock_time(86399.96)
    ('0:12.0', '1:15.2', '24:00:00.0')
    """
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    rest_s = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{rest_s}" if hours else f"{minutes}:{rest_s}"


def show_windows(found: FoundWindows, form: str) -> None:
    """Write windows of an archive to standard output."""
    if form != "table":
        write_output(found.to_csv() if form == "csv" else found.to_json())
        return
    times = (Column("from", "number"), Column("to", "number"))
    columns = [Column("file", "path"), *times, Column("class"), Column("score", "number")]
    rows: list[Sequence[Cell]] = [
        (window.file, clock_time(window.start_s), clock_time(window.stop_s), window.label, f"{window.score:.3f}")
        + (() if window.similarity is None else (f"{window.similarity:.3f}",))
        for window in found
    ]
    if any(window.similarity is not None for window in found):
        columns.append(Column("similarity", "number"))
    print_table(columns, rows)


def show_summary(found: Summary) -> None:
    """Print the minutes of each class, and bars for the hours of the day: shares of the time recorded, if known."""
    from soundmark.detection.summary import spark

    days = f"{found.days[0]} to {found.days[-1]}" if len(found.days) > 1 else f"{found.days[0]}"
    columns = [
        Column("class"),
        Column("minutes", "number"),
        Column("0 h         12 h      23", "number"),  # above the 24 bars
        Column("most at", "number"),
    ]
    if found.recorded_by_hour is not None:
        columns.append(Column("% of the time", "number"))
    rows: list[Sequence[Cell]] = []
    for row, label in enumerate(found.labels):
        minutes, shares = found.by_hour[row], found.shares_by_hour[row]
        share = []
        if found.recorded_by_hour is not None:
            share = [f"{100 * minutes.sum() / found.recorded_by_hour.sum():.1f}"]
        bars = Text(spark(shares), "blue")
        rows.append((label, f"{minutes.sum():,.1f}", bars, f"{found.busiest_hour(row)} h", *share))
    print_table(columns, rows, title=f"{days}, {found.zone}")


def show_failures(found: FolderResult | FileAnalysis | Indexed) -> None:
    """Print on standard error which files are truncated, which failed, and where the results are."""
    for note in found.notes:
        warn(note)
    for failure in found.failures:
        fail(failure.reason)
    for text in getattr(found, "summary_lines", ()):
        say(text)


def show_results_index(results: Path, index: Index) -> None:
    """Print on standard error which recordings of a results folder were left out, and where their index is."""
    for failure in index.failures:
        fail(failure.reason)
    say(f"The index of {results} ({counted(len(index.recordings), 'recording')}) is in {index.folder}.")


def show_card(name: str, model: Bundle, *, everything: bool = False) -> None:
    """Print the card of the model in the file ``name``: at most ten lines, or everything."""
    card = model.card
    print_result(card_text.title(name, card, len(model.graph)))
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", min_width=card_text.HEADING_COLUMNS)
    table.add_column(overflow="fold")
    for heading, text in card_text.card_lines(card) if everything else card_text.summary(card):
        table.add_row(heading, line(text, "yellow" if heading == "warning" else ""))
    out.print(table)
    print_result(f"\n{card_text.usage(name, card)}" if everything else "\n".join(card_text.short_usage(name)))

"""The sections "Per-class scores" and "Confusion matrices"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report import words
from soundmark.evaluation.report.markup import Html, element, join, table
from soundmark.evaluation.report.view import View
from soundmark.metrics import intervals, single_label
from soundmark.metrics.score_summary import ClassFigures
from soundmark.runtime import text

if TYPE_CHECKING:
    from soundmark.evaluation.results import Result


def classes_section(view: View) -> Html:
    """Render F1, precision and recall of each class, and accuracy by salience."""
    parts: list[Html] = []
    for protocol, results in view.by_protocol.items():
        class_table = _class_table if len(results) < 3 or results[0].summary.class_columns else _class_tables
        parts += [element("h3", protocol_of(protocol).title), class_table(view, results)]
        if any(result.summary.by_salience for result in results):
            parts.append(_salience_table(view, results))
    return join([view.legend(), *parts])


def _class_table(view: View, results: Sequence[Result]) -> Html:
    head: list[object] = ["Class", "Clips"]
    for result in results:
        others = [column.name for column in result.summary.class_columns]
        head += [join([view.badge(result.recipe.name), " F1"]), "precision", "recall", *others]
    rows = []
    for same in zip(*(result.summary.class_figures for result in results), strict=True):
        row: list[object] = [same[0].label, text.count(same[0].support)]
        for result, one in zip(results, same, strict=True):
            row += [_bar(view, result, one), words.number(one.precision), words.number(one.recall)]
            row += [words.number(column.value(one)) for column in result.summary.class_columns]
        rows.append(row)
    return table(head, rows, class_="numbers")


def _class_tables(view: View, results: Sequence[Result]) -> Html:
    """Render F1 in one table, and precision and recall in another: for many recipes, one table would be too wide."""
    head = ["Class", "Clips", *(view.badge(result.recipe.name) for result in results)]
    bars, shares = [], []
    for same in zip(*(result.summary.class_figures for result in results), strict=True):
        first = [same[0].label, text.count(same[0].support)]
        bars.append([*first, *(_bar(view, result, one) for result, one in zip(results, same, strict=True))])
        shares.append([*first, *(f"{words.number(one.precision)} / {words.number(one.recall)}" for one in same)])
    return join(
        [
            element("h4", "F1"),
            table(head, bars, class_="numbers many"),
            element("h4", "Precision / recall"),
            table(head, shares, class_="numbers"),
        ]
    )


def _bar(view: View, result: Result, one: ClassFigures) -> Html:
    index = view.colour_index(result.recipe.name)
    length = element("i", class_=f"bar recipe-{index}", style=f"width:{100 * one.f1:.1f}%")
    return element("span", element("span", length, class_="track"), words.number(one.f1), class_="barred")


def _salience_table(view: View, results: Sequence[Result]) -> Html:
    marks = list(dict.fromkeys(mark for result in results for mark in result.summary.by_salience))
    rows = [
        [mark, text.count(results[0].summary.by_salience[mark]["n"]), *(_salient(result, mark) for result in results)]
        for mark in marks
    ]
    head = ["Salience", "Clips", *(view.badge(result.recipe.name) for result in results)]
    return join([element("h4", "Accuracy by salience"), table(head, rows, class_="numbers")])


def _salient(result: Result, mark: str) -> str:
    return words.percent(result.summary.by_salience[mark]["accuracy"])


def confusion_section(view: View) -> Html:
    """Render the confusion matrix of each result, with the most frequent confusions."""
    if view.task.words.without_confusion:
        return element("p", view.task.words.without_confusion)
    lead = (
        "Numbers of clips; rows are true classes, columns are predicted classes. The shade of a cell is its share of "
        "the row. Below each matrix: the most frequent confusions, with their share of the true class."
    )
    parts: list[Html] = [element("p", lead, class_="lead")]
    for protocol, results in view.by_protocol.items():
        names = view.evaluation.dataset.classes
        wide = " wide" if len(names) > 15 else ""
        cards = [
            element(
                "article",
                element("h4", view.badge(result.recipe.name)),
                _matrix(counts, names),
                _most_confused(counts, names),
                class_="confusion",
            )
            for result in results
            if (counts := result.summary.confusion_matrix) is not None
        ]
        parts += [element("h3", protocol_of(protocol).title), element("div", *cards, class_=f"matrices{wide}")]
    seeds = len(view.seeds)
    note = element("p", f"Counts over {seeds} seeds: each clip is counted {seeds} times.") if seeds > 1 else ""
    return join([note, *parts])


def _matrix(counts: intervals.Integers, names: Sequence[str]) -> Html:
    """Render a confusion matrix of counts; the shade of a cell is its share of the row."""
    columns = element("th", "predicted class", colspan=len(names), class_="axis")
    heading = element("tr", element("td", colspan=2, rowspan=2), columns)
    header = element("tr", *(element("th", element("span", name), scope="col", title=name) for name in names))
    axis = element("th", element("span", "true class"), rowspan=len(names), class_="axis")
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    rows = [
        element(
            "tr",
            "" if i else axis,
            element("th", name, scope="row", title=name),
            *map(_cell, counts[i].tolist(), shares[i].tolist()),
        )
        for i, name in enumerate(names)
    ]
    matrix = element("table", element("thead", heading, header), element("tbody", *rows), class_="matrix")
    return element("div", matrix, class_="scroll")


def _cell(clips: int, share: float) -> Html:
    if not clips:
        return element("td")
    return element("td", clips, class_="strong" if share > 0.5 else None, style=f"--share:{share:.2f}")


def _most_confused(counts: intervals.Integers, names: Sequence[str]) -> Html:
    lines = [
        element("li", f"{one.true} → {one.predicted}: {text.count(one.count)} ({words.percent(one.share, 0)})")
        for one in single_label.most_confused(counts, names, limit=5)
    ]
    return element("ol", *lines, class_="pairs") if lines else element("p", "No confusions.", class_="quiet")

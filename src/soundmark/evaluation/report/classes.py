"""The sections on classes: F1, precision and recall of each, and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.evaluation.report import figures, words
from soundmark.evaluation.report.markup import Html, element, join, table
from soundmark.evaluation.report.view import View
from soundmark.metrics import intervals, single_label
from soundmark.metrics.multi_label import LabelScores, MultiSummary

if TYPE_CHECKING:
    from soundmark.evaluation.results import Result


def classes(view: View) -> Html:
    """F1, precision and recall of every class, and accuracy by salience."""
    parts: list[Html] = []
    for protocol, results in view.by_protocol.items():
        told = _class_table if len(results) < 3 or view.evaluation.dataset.multi_label else _class_tables
        parts += [element("h3", words.protocol_title(protocol)), told(view, results)]
        if any(_by_salience(result) for result in results):
            parts.append(_salience_table(view, results))
    return join([view.legend(), *parts])


def _class_table(view: View, results: Sequence[Result]) -> Html:
    head: list[object] = ["Class", "Clips"]
    several = view.evaluation.dataset.multi_label
    for result in results:
        head += [join([view.badge(result.recipe.name), " F1"]), "precision", "recall", *(["AP", "threshold"] * several)]
    rows = []
    for same in zip(*(result.summary.per_class for result in results), strict=True):
        row: list[object] = [same[0].label, words.count(same[0].support)]
        for result, one in zip(results, same, strict=True):
            row += [_bar(view, result, one), words.number(one.precision), words.number(one.recall)]
            if isinstance(one, LabelScores):
                row += [words.number(one.average_precision), words.number(one.threshold)]
        rows.append(row)
    return table(head, rows, class_="numbers")


def _class_tables(view: View, results: Sequence[Result]) -> Html:
    """Of many recipes: F1 in one table, and precision and recall in another, so that neither leaves the page."""
    head = ["Class", "Clips", *(view.badge(result.recipe.name) for result in results)]
    bars, shares = [], []
    for same in zip(*(result.summary.per_class for result in results), strict=True):
        first = [same[0].label, words.count(same[0].support)]
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


def _bar(view: View, result: Result, one: single_label.ClassScores | LabelScores) -> Html:
    index = view.recipes.index(result.recipe.name) % len(figures.RECIPES)
    length = element("i", class_=f"bar recipe-{index}", style=f"width:{100 * one.f1:.1f}%")
    return element("span", element("span", length, class_="track"), words.number(one.f1), class_="barred")


def _salience_table(view: View, results: Sequence[Result]) -> Html:
    marks = list(dict.fromkeys(mark for result in results for mark in _by_salience(result)))
    rows = [
        [mark, words.count(_by_salience(results[0])[mark]["n"]), *(_salient(result, mark) for result in results)]
        for mark in marks
    ]
    head = ["The sound is in the", "Clips", *(view.badge(result.recipe.name) for result in results)]
    return join([element("h4", "Accuracy by salience"), table(head, rows, class_="numbers")])


def _by_salience(result: Result) -> dict[str, dict[str, Any]]:
    """Nothing for multi-label data, whose table does not tell it of each label."""
    return {} if isinstance(result.summary, MultiSummary) else result.summary.per_salience


def _salient(result: Result, mark: str) -> str:
    return words.percent(_by_salience(result)[mark]["accuracy"])


def confusions(view: View) -> Html:
    """A matrix for every result, and its commonest mistakes in words."""
    if view.evaluation.dataset.multi_label:
        return element("p", "There is none: a clip has any number of classes, and each is found or not by itself.")
    lead = "A row is a true class, a column what it was called; a cell is as dark as its share of the row."
    parts: list[Html] = [element("p", f"{lead} Below each: the pairs most confused, with their share.", class_="lead")]
    for protocol, results in view.by_protocol.items():
        names = view.evaluation.dataset.classes
        wide = " wide" if len(names) > 15 else ""
        cards = [
            element(
                "article",
                element("h4", view.badge(result.recipe.name)),
                _matrix(result.summary.confusion, names),
                _most_confused(result.summary, names),
                class_="confusion",
            )
            for result in results
            if isinstance(result.summary, single_label.Summary)
        ]
        parts += [element("h3", words.protocol_title(protocol)), element("div", *cards, class_=f"matrices{wide}")]
    seeds = len(view.seeds)
    note = element("p", f"Counts are over {seeds} seeds: each clip stands here {seeds} times.") if seeds > 1 else ""
    return join([note, *parts])


def _matrix(counts: intervals.Integers, names: Sequence[str]) -> Html:
    """A confusion matrix: counts in the cells, which are as dark as their share of the row."""
    header = element("tr", element("td"), *(element("th", element("span", name), scope="col") for name in names))
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    rows = [
        element("tr", element("th", name, scope="row", title=name), *map(_cell, counts[i].tolist(), shares[i].tolist()))
        for i, name in enumerate(names)
    ]
    whole = element("table", element("thead", header), element("tbody", *rows), class_="matrix")
    return element("div", whole, class_="scroll")


def _cell(clips: int, share: float) -> Html:
    if not clips:
        return element("td")
    return element("td", clips, class_="strong" if share > 0.5 else None, style=f"--share:{share:.2f}")


def _most_confused(summary: single_label.Summary, names: Sequence[str]) -> Html:
    lines = [
        element("li", f"{one.true} called {one.predicted}: {words.count(one.count)} ({words.percent(one.share, 0)})")
        for one in single_label.most_confused(summary.confusion, names, limit=5)
    ]
    return element("ol", *lines, class_="pairs") if lines else element("p", "No clip was mistaken.", class_="quiet")

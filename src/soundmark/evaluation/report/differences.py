"""The section of paired differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report import words
from soundmark.evaluation.report.markup import Html, element, join, table
from soundmark.evaluation.report.view import View
from soundmark.metrics import intervals
from soundmark.runtime import text

if TYPE_CHECKING:
    from soundmark.evaluation.results import Comparison


def differences(view: View) -> Html:
    """Every pair of recipes under every protocol, on the same clips."""
    if not view.evaluation.comparisons:
        return element("p", "Only one recipe was run, so there is nothing to compare it with.")
    return join([_difference_tables(view), _difference_list(view)])


def _difference_tables(view: View) -> Html:
    """Of three and more recipes: a table per protocol, each recipe minus each of those before it."""
    if len(view.recipes) < 3:
        return element("p", "Two recipes on the same clips.", class_="lead")
    lead = (
        "Two recipes on the same clips: the row’s "
        f"{view.task.figure} minus the column’s, in points, with its 95 % interval, which counts {view.unit}, and p."
    )
    parts = [element("p", lead, class_="lead")]
    for protocol, results in view.by_protocol.items():
        found = {frozenset(one.recipes): one for one in view.evaluation.comparisons if one.protocol == protocol}
        names = [result.recipe.name for result in results]
        rows = [
            [view.badge(name), *(_difference(found.get(frozenset((name, other))), name) for other in names[:i])]
            + [""] * (len(names) - 1 - i)
            for i, name in enumerate(names)
            if i
        ]
        parts += [
            element("h3", protocol_of(protocol).title),
            table(["Row − column", *map(view.badge, names[:-1])], rows, class_="numbers pairwise"),
        ]
    return join(parts)


def _difference(comparison: Comparison | None, first: str) -> Html | str:
    """One cell: ``first`` minus the other, in points, with its interval and p."""
    if comparison is None:
        return words.NOTHING
    found, turned = comparison.difference, comparison.recipes[0] != first
    bounds = intervals.Interval(-found.interval.high, -found.interval.low) if turned else found.interval
    return join(
        [
            element("strong", words.points(-found.difference if turned else found.difference)),
            element("small", words.interval(bounds, signed=True)),
            element("small", f"p {words.p_value(found.p)}"),
        ]
    )


def _difference_list(view: View) -> Html:
    """Every pair, a line each, with McNemar's p and what was counted; folded away where tables say most of it."""
    by_group = view.unit != "clips"
    head = [
        "Protocol", "Difference", "Points", "95 % interval", view.task.words.p_value, "McNemar p*", "Clips",
        *([view.unit.capitalize()] * by_group),
    ]  # fmt: skip
    rows = [
        [
            protocol_of(one.protocol).title,
            join([view.badge(one.recipes[0]), " − ", view.badge(one.recipes[1])]),
            element("strong", words.points(one.difference.difference)),
            words.interval(one.difference.interval, signed=True),
            words.p_value(one.difference.p).removeprefix("= "),
            words.p_value(one.difference.mcnemar_p).removeprefix("= "),
            text.count(one.difference.clips),
            *([text.count(one.difference.recordings)] * by_group),
        ]
        for one in view.evaluation.comparisons
    ]
    said, n_seeds = view.task.words, len(view.seeds)
    note = (said.paired_note + (said.paired_note_seeds if n_seeds > 1 else said.paired_note_one_seed)).format(
        unit=view.unit, seeds=n_seeds
    )
    pairs = {protocol: len(results) * (len(results) - 1) // 2 for protocol, results in view.by_protocol.items()}
    if (most := max(pairs.values())) > 1:
        note += (
            f" The p-values are of each pair alone: with {most} pairs, Bonferroni’s correction would ask for p below "
            f"{words.number(0.05 / most, 3)} rather than 0.05."
        )
    listing, told = table(head, rows, class_="numbers"), element("p", note, class_="quiet")
    if len(view.recipes) < 3:
        return join([listing, told])
    return join([told, element("details", element("summary", "All pairs as a list, with McNemar’s p"), listing)])

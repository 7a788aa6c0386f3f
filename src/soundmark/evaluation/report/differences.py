"""The section "Differences between recipes"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report import words
from soundmark.evaluation.report.markup import Html, element, join, table
from soundmark.evaluation.report.view import View
from soundmark.metrics.verdicts import SIGNIFICANCE_LEVEL
from soundmark.runtime import text

if TYPE_CHECKING:
    from soundmark.metrics.significance import PairedDifference


def differences_section(view: View) -> Html:
    """Render the paired difference of each pair of recipes under each protocol."""
    if not view.evaluation.comparisons:
        return element("p", "Only one recipe was evaluated: there are no differences.")
    return join([_difference_tables(view), _difference_list(view)])


def _difference_tables(view: View) -> Html:
    """Render a table per protocol for three or more recipes, each recipe minus each of those before it."""
    if len(view.recipes) < 3:
        return element("p", f"Difference in {view.task.figure} on the same test clips.", class_="lead")
    lead = (
        f"Difference in {view.task.figure} on the same test clips, row minus column: percentage points, 95 % interval "
        f"over {view.unit}, and p-value."
    )
    parts = [element("p", lead, class_="lead")]
    for protocol, results in view.by_protocol.items():
        names = [result.recipe.name for result in results]
        rows = [
            [view.badge(name), *(_difference(view.difference(protocol, name, other)) for other in names[:i])]
            + [""] * (len(names) - 1 - i)
            for i, name in enumerate(names)
            if i
        ]
        parts += [
            element("h3", protocol_of(protocol).title),
            table(["Row − column", *map(view.badge, names[:-1])], rows, class_="numbers pairwise"),
        ]
    return join(parts)


def _difference(found: PairedDifference | None) -> Html | str:
    """Render a table cell: a difference in points, with interval and p-value."""
    if found is None:
        return text.NO_NUMBER
    return join(
        [
            element("strong", words.points(found.difference)),
            element("small", words.interval(found.interval, signed=True)),
            element("small", f"p {words.p_value(found.p)}"),
        ]
    )


def _difference_list(view: View) -> Html:
    """Render a list of all pairs with McNemar's p; collapsed if there are also tables."""
    by_group = view.unit != "clips"
    head = [
        "Protocol", "Difference", "Points", "95 % interval", view.task.words.p_value, "McNemar p*", "Clips",
        *([view.unit.capitalize()] * by_group), "Verdict",
    ]  # fmt: skip
    rows = [
        [
            protocol_of(one.protocol).title,
            element("span", view.badge(one.recipes[0]), " − ", view.badge(one.recipes[1]), class_="pair"),
            element("strong", words.points(one.difference.difference)),
            words.interval(one.difference.interval, signed=True),
            words.p_value(one.difference.p).removeprefix("= "),
            words.p_value(one.difference.mcnemar_p).removeprefix("= "),
            text.count(one.difference.clips),
            *([text.count(one.difference.recordings)] * by_group),
            one.verdict.in_words(*one.recipes),
        ]
        for one in view.evaluation.comparisons
    ]
    terms, n_seeds = view.task.words, len(view.seeds)
    note = (terms.paired_note + (terms.paired_note_seeds if n_seeds > 1 else terms.paired_note_one_seed)).format(
        unit=view.unit, seeds=n_seeds
    )
    if (most := max(map(view.n_pairs, view.by_protocol))) > 1:
        note += (
            f" The p-values are not corrected for multiple comparisons: for {most} pairs, Bonferroni correction "
            f"requires p < {words.number(SIGNIFICANCE_LEVEL / most, 3)} instead of {SIGNIFICANCE_LEVEL}."
        )
    listing, footnote = table(head, rows, class_="numbers"), element("p", note, class_="quiet")
    if len(view.recipes) < 3:
        return join([listing, footnote])
    return join([footnote, element("details", element("summary", "All pairs as a list, with McNemar’s p"), listing)])

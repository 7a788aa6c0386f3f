"""The section on data leakage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from soundmark.evaluation.report import figures, words
from soundmark.evaluation.report.markup import Html, element, join
from soundmark.evaluation.report.view import View

if TYPE_CHECKING:
    from soundmark.datasets.leakage import Leakage
    from soundmark.evaluation.results import Result


def leak(view: View) -> Html:
    """What knowing the recording gives away, beside what the recipes score."""
    parts, several = [], view.evaluation.dataset.multi_label
    for protocol, results in view.by_protocol.items():
        given = results[0].leak
        title = words.protocol_title(protocol)
        marks = [
            figures.Mark(one.recipe.name, one.summary.headline.value, one.summary.headline.interval, colour)
            for one, colour in zip(results, view.colours(results), strict=True)
        ]
        if given is not None and not several:  # the look-up names labels and ranks nothing: it has no mAP
            marks.append(figures.Mark("look-up by recording", given.lookup_accuracy, None, figures.INK))
        drawing = figures.shares(
            marks, name=f"leak {protocol}", description=f"{title}: {view.figure}", chance=_chance(results[0])
        )
        caption = element("figcaption", _given_away(given, several=several)) if given is not None else ""
        parts.append(element("figure", element("h3", title), drawing, caption))
    unknown = (
        f"Which clips share a recording is not known here, so the leak cannot be measured and the intervals count "
        f"{view.unit}. A column “source” in a CSV table would tell."
    )
    is_known = all(result.leak is not None for result in view.evaluation.results)
    what, chance = ("mAPs", "no knowledge at all") if several else ("accuracies", "always naming the commonest class")
    note = f"Dots are {what}, bars their 95 % intervals, the dotted line what {chance} would score."
    judged = " A network that scores no better than the look-up has not been shown to know the classes."
    return join(
        [
            "" if is_known else element("p", unknown),
            element("div", *parts, class_="figures"),
            element("p", note + judged * (is_known and not several), class_="quiet"),
        ]
    )


def _chance(result: Result) -> float:
    """What is scored without hearing: the share of the commonest class, or the mean share of all that occur."""
    if result.labels.ndim == 2:
        shares = result.labels.mean(axis=0)
        return float(shares[shares > 0].mean()) if shares.any() else 0.0
    return float(np.bincount(result.labels).max(initial=0) / max(1, len(result.labels)))


def _given_away(leak: Leakage, *, several: bool) -> str:
    if several:
        return (
            f"{words.percent(leak.recording)} of the test clips come from a recording that is also trained on "
            f"({words.percent(leak.recording_and_class)} with one of their labels). Looking the recording up, without "
            f"hearing anything, would name all labels of {words.percent(leak.lookup_accuracy)} right."
        )
    return (
        f"{words.percent(leak.recording)} of the test clips come from a recording that is also trained on "
        f"({words.percent(leak.recording_and_class)} with the same class). Looking the recording up, without "
        f"hearing anything, would be right on {words.percent(leak.lookup_accuracy)}."
    )

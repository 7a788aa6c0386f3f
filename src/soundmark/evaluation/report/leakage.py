"""The section "Data leakage"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report import figures, words
from soundmark.evaluation.report.markup import Html, element, join
from soundmark.evaluation.report.view import View

if TYPE_CHECKING:
    from soundmark.datasets.leakage import Leakage


def leakage_section(view: View) -> Html:
    """Render the scores of the recipes beside the leakage baseline, a figure per protocol."""
    parts, comparable = [], view.task.lookup_is_comparable
    for protocol, results in view.by_protocol.items():
        leak = results[0].leak
        title = protocol_of(protocol).title
        marks = [
            figures.Mark(one.recipe.name, one.summary.headline.value, one.summary.headline.interval, colour)
            for one, colour in zip(results, view.colours(results), strict=True)
        ]
        if leak is not None and comparable:
            marks.append(figures.Mark("recording lookup", leak.lookup_accuracy, None, figures.INK))
        drawing = figures.score_chart(
            marks,
            name=f"leakage {protocol}",
            description=f"{title}: {view.task.figure} of each recipe, and the leakage baseline",
            axis=f"{view.task.figure} (%)",
            chance=view.task.chance(results[0].labels),
        )
        caption = element("figcaption", _leakage_text(view, leak)) if leak is not None else ""
        parts.append(element("figure", element("h3", title), drawing, caption))
    unknown = (
        "The data set does not say which clips come from the same recording, so data leakage cannot be measured, and "
        f"intervals are computed over {view.unit}. A CSV table with a column “source” would provide the recordings."
    )
    is_known = all(result.leak is not None for result in view.evaluation.results)
    note = f"Dots: {view.task.figure}; bars: 95 % interval; dotted line: chance level ({view.task.words.chance})."
    baseline = (
        " “Recording lookup” is the leakage baseline: it predicts the class of the recording in the training set, "
        "without the sound. A recipe that scores no higher has not been shown to recognise classes in new recordings."
    )
    return join(
        [
            "" if is_known else element("p", unknown),
            element("div", *parts, class_="figures"),
            element("p", note + baseline * (is_known and comparable), class_="quiet"),
        ]
    )


def _leakage_text(view: View, leak: Leakage) -> str:
    return view.task.words.leakage.format(
        recording=words.percent(leak.recording),
        same_class=words.percent(leak.recording_and_class),
        lookup=words.percent(leak.lookup_accuracy),
    )

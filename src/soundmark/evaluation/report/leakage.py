"""The section on data leakage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report import figures, words
from soundmark.evaluation.report.markup import Html, element, join
from soundmark.evaluation.report.view import View

if TYPE_CHECKING:
    from soundmark.datasets.leakage import Leakage


def leak(view: View) -> Html:
    """What knowing the recording gives away, beside what the recipes score."""
    parts, comparable = [], view.task.look_up_is_comparable
    for protocol, results in view.by_protocol.items():
        given = results[0].leak
        title = protocol_of(protocol).title
        marks = [
            figures.Mark(one.recipe.name, one.summary.headline.value, one.summary.headline.interval, colour)
            for one, colour in zip(results, view.colours(results), strict=True)
        ]
        if given is not None and comparable:
            marks.append(figures.Mark("look-up by recording", given.lookup_accuracy, None, figures.INK))
        drawing = figures.shares(
            marks,
            name=f"leak {protocol}",
            description=f"{title}: {view.task.figure}",
            chance=view.task.chance(results[0].labels),
        )
        caption = element("figcaption", _given_away(view, given)) if given is not None else ""
        parts.append(element("figure", element("h3", title), drawing, caption))
    unknown = (
        f"Which clips share a recording is not known here, so the leak cannot be measured and the intervals count "
        f"{view.unit}. A column “source” in a CSV table would tell."
    )
    is_known = all(result.leak is not None for result in view.evaluation.results)
    said = view.task.words
    note = f"Dots are {said.figures}, bars their 95 % intervals, the dotted line what {said.chance} would score."
    judged = " A network that scores no better than the look-up has not been shown to know the classes."
    return join(
        [
            "" if is_known else element("p", unknown),
            element("div", *parts, class_="figures"),
            element("p", note + judged * (is_known and comparable), class_="quiet"),
        ]
    )


def _given_away(view: View, leak: Leakage) -> str:
    return view.task.words.leakage.format(
        recording=words.percent(leak.recording),
        alike=words.percent(leak.recording_and_class),
        looked_up=words.percent(leak.lookup_accuracy),
    )

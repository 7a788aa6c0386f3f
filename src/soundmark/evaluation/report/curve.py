"""The section "Learning curve"."""

from __future__ import annotations

from soundmark.evaluation.report import figures
from soundmark.evaluation.report.markup import Html, element, join, table
from soundmark.evaluation.report.view import View


def curve_section(view: View) -> Html:
    """Render the score by the number of training recordings, for each recipe whose curve was measured."""
    if not view.curves:
        command = element("code", "soundmark compare … --curve")
        return element("p", "No learning curve was measured: ", command, " measures it.", class_="quiet")
    parts = []
    for curve in view.curves:
        title = f"Learning curve of {curve.title}"
        parts += [
            element("h3", curve.title),
            element("figure", figures.learning_curve(curve)),
            *(element("p", sentence) for sentence in curve.sentences()),
            table(curve.header, curve.rows(), label=title),
            table(curve.class_header, curve.class_rows(), label=f"{title}, by class"),
        ]
    return join(parts)

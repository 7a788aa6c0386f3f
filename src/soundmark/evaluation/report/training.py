"""The sections on training: curves by epoch, and calibration."""

from __future__ import annotations

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report import figures, scores
from soundmark.evaluation.report.markup import Html, element, join
from soundmark.evaluation.report.view import View
from soundmark.runtime.text import listed


def training_section(view: View) -> Html:
    """Loss and accuracy by epoch, all recipes of a protocol that have epochs on one pair of axes."""
    panels = []
    for protocol, results in view.by_protocol.items():
        drawn = [one for one in results if one.recipe.name in view.with_epochs]
        for quantity in ("loss", "accuracy") if drawn else ():
            heading = element("h3", f"{protocol_of(protocol).title}: {quantity}")
            drawing = figures.curves(drawn, view.colours(drawn), quantity=quantity)
            panels.append(element("figure", heading, drawing))
    seeds = element("p", f"Each fold is drawn {len(view.seeds)} times: once for each seed.")
    legend = view.legend("— validation", "╌ training", only=view.with_epochs)
    return join(
        [
            *(element("p", line, class_="lead") for line in _training_in_words(view)),
            legend if panels else "",
            seeds if len(view.seeds) > 1 and panels else "",
            element("div", *panels, class_="figures"),
        ]
    )


def _training_in_words(view: View) -> list[str]:
    """What the curves are of, and whose there are none of."""
    curved = [one.recipe for one in view.first_of_recipe if one.recipe.name in view.with_epochs]
    none = [name for name in view.recipes if name not in view.with_epochs]
    notebook = [recipe.name for recipe in curved if not recipe.decides]
    own = [recipe.name for recipe in curved if recipe.decides]
    lines = []
    if curved:
        lines.append(
            "Thin lines are single folds, strong ones their mean. The last epoch counts, whatever the curves say: none "
            "was picked on test clips. A first epoch may leave the loss axis."
        )
    if notebook:
        lines.append(
            f"Of {listed(notebook)} the validation curve is that of the test clips, as in the notebook’s “Test Loss” "
            "curves: it is looked at and decides nothing."
        )
    if own:
        lines.append(
            f"Of {listed(own)} it is that of clips which were kept back inside the training part, whole recordings of "
            "them: no test clip is seen before the end. With what they settled, the network is then trained once more, "
            "on everything, as long again: that is the one which is scored, and not drawn. Where sounds are mixed or "
            "changed in training, its loss lies above that of the validation clips."
        )
    if none:
        lines.append(
            f"{listed(none)} {'have' if len(none) > 1 else 'has'} no epochs and so no curve: the network stays as it "
            "was trained before, and only a linear head on what it gives is solved for, at once. Its regularisation is "
            "chosen inside the training part."
            if all(one.recipe.trainable == "head" for one in view.first_of_recipe if one.recipe.name in none)
            else f"Of {listed(none)} no epochs are known."
        )
    return lines


def calibration_section(view: View) -> Html:
    """Reliability diagrams, with the ECE of every result and what it is to be held against."""
    panels = []
    for protocol, results in view.by_protocol.items():
        errors = [element("li", view.badge(one.recipe.name), f" {scores.calibration_error(one)}") for one in results]
        drawing = figures.reliability(results, view.colours(results))
        panels.append(
            element("figure", element("h3", protocol_of(protocol).title), drawing, element("ul", *errors, class_="ece"))
        )
    note = element(
        "p",
        "Even a perfectly calibrated model shows an ECE above 0 on a limited number of clips; what it would show with "
        "these very probabilities stands beside it. It takes clips for independent, which those of one recording are "
        "not, so it is a lower bound.",
        class_="quiet",
    )
    told = any(result.ece_if_calibrated for result in view.evaluation.results)
    return join([element("div", *panels, class_="figures"), note if told else ""])

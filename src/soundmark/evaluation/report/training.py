"""The sections "Calibration" and "Training curves"."""

from __future__ import annotations

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report import figures, scores
from soundmark.evaluation.report.markup import Html, element, join
from soundmark.evaluation.report.view import View
from soundmark.runtime.text import listed


def training_section(view: View) -> Html:
    """Render loss and accuracy by epoch, with the recipes of a protocol in one figure."""
    panels = []
    for protocol, results in view.by_protocol.items():
        drawn = [one for one in results if one.recipe.name in view.with_epochs]
        for quantity in ("loss", "accuracy") if drawn else ():
            heading = element("h3", f"{protocol_of(protocol).title}: {quantity}")
            drawing = figures.curves(drawn, view.colours(drawn), quantity=quantity)
            panels.append(element("figure", heading, drawing))
    seeds = element("p", f"Each fold has {len(view.seeds)} curves, one for each seed.")
    legend = view.legend(f"— {figures.held_out_names(view.evaluation.results)}", "╌ training", only=view.with_epochs)
    return join(
        [
            *(element("p", line, class_="lead") for line in _explanations(view)),
            legend if panels else "",
            seeds if len(view.seeds) > 1 and panels else "",
            element("div", *panels, class_="figures"),
        ]
    )


def _explanations(view: View) -> list[str]:
    """Explain which clips the validation curves are from, and which recipes have no curves."""
    curved = [one.recipe for one in view.first_of_recipe if one.recipe.name in view.with_epochs]
    none = [name for name in view.recipes if name not in view.with_epochs]
    notebook = [recipe.name for recipe in curved if not recipe.calibrates]
    own = [recipe.name for recipe in curved if recipe.calibrates]
    lines = []
    if curved:
        lines.append(
            "Thin lines: single folds; thick lines: mean over folds. The model of the last epoch is evaluated; no "
            "epoch is selected on test clips. The training loss of the first epoch may exceed the axis."
        )
    if notebook:
        lines.append(
            f"Test curves of {listed(notebook)}: computed on the test clips, as the “Test Loss” in the original "
            "notebook. They are shown only; they do not affect training."
        )
    if own:
        lines.append(
            f"Validation curves of {listed(own)}: computed on validation clips, a part of the training set, split by "
            "recording. Test clips are not used. With the calibration and thresholds found on the validation clips, a "
            "final model is then trained on the entire training set for the same number of epochs. The final model is "
            "evaluated; its curve is not shown. With augmentation, the training loss can exceed the validation loss."
        )
    if none:
        lines.append(
            f"{listed(none)} {'have' if len(none) > 1 else 'has'} no training curve: the pretrained backbone is "
            "frozen, and the linear head on its embeddings has a closed-form solution. Its regularisation is selected "
            "by cross-validation on the training set."
            if all(one.recipe.backbone for one in view.first_of_recipe if one.recipe.name in none)
            else f"{listed(none)}: no training history."
        )
    return lines


def calibration_section(view: View) -> Html:
    """Render a reliability diagram per protocol, with the ECE of each recipe."""
    panels = []
    for protocol, results in view.by_protocol.items():
        errors = [element("li", view.badge(one.recipe.name), f" {scores.calibration_error(one)}") for one in results]
        drawing = figures.reliability(results, view.colours(results))
        panels.append(
            element("figure", element("h3", protocol_of(protocol).title), drawing, element("ul", *errors, class_="ece"))
        )
    note = element(
        "p",
        "ECE: expected calibration error. A perfectly calibrated model, too, has an ECE above 0 on a finite number of "
        "clips; its expected value for these probabilities is given in parentheses. It assumes independent clips; "
        "clips of the same recording are not, so it is a lower bound.",
        class_="quiet",
    )
    has_expected = any(result.ece_if_calibrated for result in view.evaluation.results)
    return join([element("div", *panels, class_="figures"), note if has_expected else ""])

"""The section "Scores": a table per protocol, and the score of each fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report import words
from soundmark.evaluation.report.markup import Html, element, join, table
from soundmark.evaluation.report.view import View
from soundmark.runtime import text
from soundmark.runtime.checks import is_finite

if TYPE_CHECKING:
    from soundmark.datasets.leakage import Leakage
    from soundmark.evaluation.results import Result


def scores_section(view: View) -> Html:
    """Render a description and a table of scores for each protocol, and the score of each fold."""
    unit = f"{view.unit}, not clips" if view.unit != "clips" else "clips, because the recordings are unknown"
    lead = f"{view.task.words.figure_name} with 95 % intervals over {unit}{view.over_seeds}."
    parts = [element("p", lead, class_="lead")]
    for protocol, results in view.by_protocol.items():
        explained = element("p", protocol_of(protocol).description, class_="quiet")
        parts += [element("h3", protocol_of(protocol).title), explained, _leaky_folds(protocol, results[0].leak)]
        parts.append(element("p", _tested(view, results[0])))
        parts.append(_score_table(view, results))
        if len(results[0].mean_folds) > 1:
            parts += [element("h4", f"Scores by fold{view.over_seeds}"), _fold_table(view, results)]
    return join(parts)


def _tested(view: View, result: Result) -> str:
    """Describe the test clips, their recordings and folds, and the numbers of training clips."""
    folds = [str(fold.fold) for fold in result.mean_folds if fold.fold is not None]
    of_folds = f", fold{'s' * (len(folds) > 1)} {text.listed(folds)}" if folds else ""
    per_seed = " per seed" if len(view.seeds) > 1 else ""
    trained = sorted({fold.n_train for fold in result.folds})
    sizes = "–".join(text.count(size) for size in dict.fromkeys((trained[0], trained[-1])))
    return (
        f"Tested: {text.count(result.summary.n)} clips{view.origin_of(result)}{of_folds}, each once{per_seed}, by "
        f"{'models' if len(folds) > 1 else 'a model'} trained on {sizes} other clips."
    )


def calibration_error(result: Result) -> str:
    """Format the ECE of a result, the ECE before temperature scaling, and that of a perfectly calibrated model."""
    expected, notes = result.ece_if_calibrated, []
    if is_finite(result.ece_uncalibrated):
        notes.append(f"{words.number(result.ece_uncalibrated, 3)} before temperature scaling")
    if expected and is_finite(expected.mean):
        notes.append(f"about {words.number(expected.mean, 3)} expected if perfectly calibrated")
    return f"ECE {words.number(result.summary.ece, 3)}" + (f" ({'; '.join(notes)})" if notes else "")


def _leaky_folds(protocol: str, leak: Leakage | None) -> Html:
    """Warn of folds that do not keep recordings together."""
    known = protocol_of(protocol)
    if not known.keeps_recordings_apart or leak is None or not known.relevant_leakage(leak):
        return join([])
    warning = f"These folds do not keep recordings together: {leak.in_words()}. The scores are too high."
    return element("p", element("strong", warning))


def _score_table(view: View, results: Sequence[Result]) -> Html:
    folded = any(len(result.mean_folds) > 1 for result in results)
    head = [
        "Recipe", view.task.words.figure_title, "95 % interval", "Macro F1",
        results[0].summary.second_figure.name, "Log loss", "ECE",
        *(["Folds, mean ± SD"] * folded), *(["Seeds’ SD"] * (len(view.seeds) > 1)),
        "Time",
    ]  # fmt: skip
    return table(head, [_score_row(view, result, folded=folded) for result in results], class_="numbers")


def _score_row(view: View, result: Result, *, folded: bool) -> list[object]:
    summary, second = result.summary, result.summary.second_figure
    spread = f"{words.percent(result.fold_mean)} ± {words.number(100 * result.fold_sd, 1)}"
    return [
        view.badge(result.recipe.name),
        element("strong", words.percent(summary.headline.value)),
        words.interval(summary.headline.interval),
        words.number(summary.macro_f1, 3),
        words.percent(second.value) if second.is_share else words.number(second.value, 3),
        words.number(summary.log_loss),
        words.number(summary.ece, 3),
        *([spread if len(result.mean_folds) > 1 else text.NO_NUMBER] * folded),
        *([f"± {words.number(100 * result.seed_sd, 1)}"] * (len(view.seeds) > 1)),
        text.duration(sum(result.seconds.values()), units=2),
    ]


def _fold_table(view: View, results: Sequence[Result]) -> Html:
    head = ["Fold", "Trained on", "Scored on", *(view.badge(result.recipe.name) for result in results)]
    rows = []
    for same in zip(*(result.mean_folds for result in results), strict=True):
        sizes = [text.count(same[0].n_train), text.count(same[0].n_test)]
        rows.append([same[0].fold, *sizes, *(words.percent(one.accuracy) for one in same)])
    return table(head, rows, class_="numbers")

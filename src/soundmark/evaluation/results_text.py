"""``Evaluation`` and ``ModelEvaluation`` as short text, as a table in Jupyter, and as rows of a data frame.

The text of ``repr`` has at most ``MOST_CHARACTERS``; with many results, it lists the first ones and counts the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.datasets import Dataset
from soundmark.evaluation.report import words
from soundmark.evaluation.report.markup import Html, element, table
from soundmark.evaluation.results import Comparison, Evaluation, Result
from soundmark.metrics import intervals
from soundmark.metrics.predictions import clip_columns, clip_values
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.text import NO_NUMBER, aligned, counted, percent

if TYPE_CHECKING:
    import pandas

    from soundmark.evaluation.model_evaluation import ModelEvaluation


MOST_CHARACTERS = 1900  # of a repr

NAME_CHARACTERS = 32  # of a name in a repr; longer names are shortened


def evaluation_text(evaluation: Evaluation) -> str:
    """Format the table of results, the data leakage of each protocol and the paired differences as short text.

    >>> print(evaluation_text(city_run))
    Evaluation of synthetic city: 60 of 60 clips (100 %), 10 classes
    recipe        protocol  clips  accuracy % [95 %]  macro F1 %    ECE
    notebook-mel  random       20  ...
    random: 80.0 % of the test clips come from a recording that is also in the training set (80.0 % with the same class)
    """
    rows = [_row(result) for result in evaluation.results]
    head = ["recipe", "protocol", "clips", f"{_figure(evaluation)} % [95 %]", "macro F1 %", "ECE"]
    several = any(row[-1] for row in rows)
    lines = aligned([[*head, "folds, mean ± SD"], *rows] if several else [head, *(row[:-1] for row in rows)], left=2)
    leaks = [_shorten(f"{protocol}: {text}", 200) for protocol, text in _leaks(evaluation).items()]
    pairs = [difference_text(comparison) for comparison in evaluation.comparisons]
    title = f"Evaluation of {_caption(evaluation)}"
    return _within_limit([title, *lines, *leaks, *pairs])


def evaluation_html(evaluation: Evaluation) -> str:
    """Format the results, the data leakage and the paired differences as HTML for Jupyter.

    >>> evaluation_html(city_run).count("<table>")
    1
    """
    head = ["recipe", "protocol", "clips", f"{_figure(evaluation)} %", "95 % interval", "macro F1 %", "ECE"]
    several = any(len(result.mean_folds) > 1 for result in evaluation.results)
    rows = [
        [*_html_row(result), *([spread_text(result) or NO_NUMBER] if several else [])] for result in evaluation.results
    ]
    counted = "recordings" if evaluation.dataset.sources_known else "clips"
    leaks = [element("li", element("b", protocol), f": {text}") for protocol, text in _leaks(evaluation).items()]
    parts: list[Html] = [
        element("p", element("b", "Evaluation of "), _caption(evaluation, full_name=True)),
        table([*head, *(["folds, mean ± SD"] if several else [])], rows),
        element("p", f"Intervals are over {counted}. Data leakage:"),
        element("ul", *leaks),
    ]
    if evaluation.comparisons:
        pairs = [_html_difference(comparison) for comparison in evaluation.comparisons]
        columns = ["paired difference", "protocol", "points", "95 % interval", "p", "verdict"]
        parts.append(table(columns, pairs))
    return element("div", *parts)


def _html_row(result: Result) -> list[object]:
    summary, headline = result.summary, result.summary.headline
    return [
        result.recipe.name,
        result.protocol,
        f"{summary.n:,}",
        element("b", percent(headline.value)),
        words.interval(headline.interval),
        percent(summary.macro_f1),
        words.number(summary.ece, 3),
    ]


def _html_difference(comparison: Comparison) -> list[object]:
    found = comparison.difference
    return [
        " − ".join(comparison.recipes),
        comparison.protocol,
        element("b", words.points(found.difference)),
        words.interval(found.interval, signed=True),
        words.p_value(found.p).removeprefix("= "),
        comparison.verdict.in_words(*comparison.recipes),
    ]


def difference_text(comparison: Comparison) -> str:
    """Format a paired difference in percentage points, with its interval, p-value and verdict.

    >>> from soundmark.metrics.intervals import Interval
    >>> from soundmark.metrics.significance import PairedDifference
    >>> from soundmark.metrics.verdicts import Verdict
    >>> found = PairedDifference(0.02, Interval(0.01, 0.03), 0.012, 0.01, 900, 90, 40)
    >>> verdict = Verdict(decision="undecided", reason="not above chance")
    >>> pair = Comparison(protocol="folds", recipes=("transfer", "scratch"), difference=found, verdict=verdict)
    >>> print(difference_text(pair))
    transfer − scratch, folds: +2.0 points [+1.0, +3.0], p = 0.012: the data do not decide: not above chance
    """
    names = [_shorten(name) for name in comparison.recipes]
    return f"{paired_text(comparison, ' − '.join(names))}: {comparison.verdict.in_words(*names)}"


def paired_text(comparison: Comparison, names: str) -> str:
    """Format a paired difference like ``difference_text``, without the verdict; ``names`` are of the two recipes.

    >>> from soundmark.metrics.intervals import Interval
    >>> from soundmark.metrics.significance import PairedDifference
    >>> from soundmark.metrics.verdicts import Verdict
    >>> found = PairedDifference(0.02, Interval(0.01, 0.03), 0.012, 0.01, 900, 90, 40)
    >>> verdict = Verdict(decision="undecided", reason="not above chance")
    >>> pair = Comparison(protocol="folds", recipes=("transfer", "scratch"), difference=found, verdict=verdict)
    >>> paired_text(pair, "t − s")
    't − s, folds: +2.0 points [+1.0, +3.0], p = 0.012'
    """
    found = comparison.difference
    bounds = f"[{percent(found.interval.low, '+')}, {percent(found.interval.high, '+')}]"
    p = f"{found.p:.3g}" if math.isfinite(found.p) else "?"
    return f"{names}, {comparison.protocol}: {100 * found.difference:+.1f} points {bounds}, p = {p}"


def result_text(result: Result) -> str:
    """Format a result as one line.

    >>> result_text(city_run.results[0])
    'Result(notebook-mel, random: accuracy ... % [...] on 20 clips, macro F1 ... %, ECE ...)'
    """
    name, protocol, clips, share, f1, ece, spread = _row(result)
    folds = f", folds {spread} %" if spread else ""
    figure = result.summary.headline.name
    value, interval = share.split(" ", 1)
    return (
        f"Result({name}, {protocol}: {figure} {value} % {interval} on {clips} clips, macro F1 {f1} %, ECE {ece}{folds})"
    )


def result_row(result: Result) -> dict[str, Any]:
    """Return a result as a row of a data frame; unknown values are NaN.

    >>> list(result_row(city_run.results[0]))[:6]
    ['recipe', 'protocol', 'seeds', 'clips', 'accuracy', 'interval_low']
    """
    summary, headline, leak = result.summary, result.summary.headline, result.leak
    return {
        "recipe": result.recipe.name,
        "protocol": result.protocol,
        "seeds": len(result.seeds),
        "clips": summary.n,
        headline.key: headline.value,
        "interval_low": headline.interval.low,
        "interval_high": headline.interval.high,
        "macro_f1": summary.macro_f1,
        "log_loss": summary.log_loss,
        "ece": summary.ece,
        "fold_mean": result.fold_mean,
        "fold_sd": result.fold_sd,
        "leak_recording": leak.recording if leak else math.nan,
        "leak_recording_and_class": leak.recording_and_class if leak else math.nan,
        "leak_lookup_accuracy": leak.lookup_accuracy if leak else math.nan,
        **{f"{name}_s": seconds for name, seconds in result.seconds.items()},
    }


def predictions_table(dataset: Dataset, result: Result) -> pandas.DataFrame:
    """Return the predictions of a result, one row per test clip and seed, with the columns of predictions.csv.

    An unknown path, label or recording is "", as in the file; an unknown fold is a missing value.

    >>> predictions_table(city, city_run.results[0]).shape
    (20, 15)
    """
    pandas = import_pandas()
    about = pandas.DataFrame(
        [clip_values(dataset, int(index)) for index in result.test], columns=clip_columns(dataset)[:-1]
    )
    for name, kind in (("fold", "Int64"), ("start_s", "Float64"), ("stop_s", "Float64")):
        if name in about:
            about[name] = pandas.to_numeric(about[name].replace("", None)).astype(kind)
    about["predicted"] = result.task.predicted(result.probabilities, dataset.classes, result.thresholds)
    if len(result.seeds) > 1:
        about.insert(0, "seed", np.repeat(result.seeds, len(result.test) // len(result.seeds)))
    scores = pandas.DataFrame(result.probabilities, columns=list(dataset.classes))
    return pandas.concat([about, scores], axis=1)


def model_text(found: ModelEvaluation) -> str:
    """Format the scores of a model on a data set, overall and per class, as short text.

    >>> from soundmark.evaluation.model_evaluation import evaluate
    >>> print(model_text(evaluate(model, city, quiet=True)))
    ModelEvaluation on 20 clips: fold 3, which was held out from the model's training
    accuracy ... % [...], macro F1 ... %, log loss ..., ECE ...
    class ...
    """
    rows = [[_shorten(one.label), *_class_cells(one)] for one in found.summary.class_figures]
    title = _shorten(f"ModelEvaluation on {counted(found.summary.n, 'clip')}: {found.note}", 400)
    return _within_limit([title, _model_figures(found), *aligned([["class", *CLASS_COLUMNS], *rows])])


def model_html(found: ModelEvaluation) -> str:
    """Format the scores of a model on a data set, overall and per class, as HTML for Jupyter.

    >>> from soundmark.evaluation.model_evaluation import evaluate
    >>> model_html(evaluate(model, city, quiet=True)).count("<tr>")
    11
    """
    rows = [[one.label, *_class_cells(one)] for one in found.summary.class_figures]
    return element(
        "div",
        element("p", element("b", f"{counted(found.summary.n, 'clip')}: "), found.note),
        element("p", _model_figures(found)),
        table(["class", *CLASS_COLUMNS], rows),
    )


CLASS_COLUMNS = ("precision %", "recall %", "F1 %", "clips")


def _class_cells(scores: Any) -> list[str]:
    return [*(percent(value) for value in (scores.precision, scores.recall, scores.f1)), f"{scores.support:,}"]


def _model_figures(found: ModelEvaluation) -> str:
    summary, headline = found.summary, found.summary.headline
    bounds = f"[{percent(headline.interval.low)}, {percent(headline.interval.high)}]"
    return (
        f"{headline.name} {percent(headline.value)} % {bounds}, macro F1 {percent(summary.macro_f1)} %, "
        f"log loss {summary.log_loss:.3f}, ECE {summary.ece:.3f}"
    )


def _row(result: Result) -> list[str]:
    summary, headline = result.summary, result.summary.headline
    bounds: intervals.Interval = headline.interval
    return [
        _shorten(result.recipe.name),
        result.protocol,
        f"{summary.n:,}",
        f"{percent(headline.value)} [{percent(bounds.low)}, {percent(bounds.high)}]",
        percent(summary.macro_f1),
        f"{summary.ece:.3f}",
        spread_text(result),
    ]


def spread_text(result: Result) -> str:
    """Format mean and standard deviation over the folds in percent; "" with one fold.

    >>> spread_text(city_run.results[0])
    ''
    """
    return f"{percent(result.fold_mean)} ± {percent(result.fold_sd)}" if len(result.mean_folds) > 1 else ""


def _leaks(evaluation: Evaluation) -> dict[str, str]:
    """Describe the data leakage of each protocol in words."""
    unknown = "recordings are unknown, so data leakage cannot be measured"
    leaks = {result.protocol: result.leak for result in evaluation.results}
    return {protocol: leak.in_words() if leak else unknown for protocol, leak in leaks.items()}


def _figure(evaluation: Evaluation) -> str:
    return evaluation.results[0].summary.headline.name if evaluation.results else "accuracy"


def _caption(evaluation: Evaluation, *, full_name: bool = False) -> str:
    data, faults = evaluation.dataset, evaluation.dataset.faults(evaluation.skipped)
    name = data.name if full_name else _shorten(data.name, 80)
    skipped = f", {len(faults):,} skipped" if faults else ""
    return f"{name}: {data.share}, {counted(len(data.classes), 'class')}{skipped}"


def _shorten(text: str, most: int = NAME_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _within_limit(lines: Sequence[str]) -> str:
    """Join the lines that fit into ``MOST_CHARACTERS``, and count the others."""
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > MOST_CHARACTERS:
            return "\n".join([*kept, f"… {counted(len(lines) - len(kept), 'more line')}: see to_dataframe()"])
        kept.append(line)
    return "\n".join(kept)

"""The sections that say how good the recipes are: the answer, the scores, the differences, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark import metrics
from soundmark.report import figures, words
from soundmark.report.markup import Html, element, join, table
from soundmark.report.view import View
from soundmark.tagging import LabelScores, MultiSummary

if TYPE_CHECKING:
    from soundmark.evaluation import Comparison, Result
    from soundmark.splits import Leak


ASKED = "The notebook behind these recipes found that “images do 10 % better” than numbers."


def answer(view: View) -> Html:
    """What the page found, in one sentence and a panel per protocol."""
    claims = view.image_minus_mel
    if view.is_the_notebooks:
        lede = element("p", ASKED, " ", element("strong", f"On {_clips(view)}, {_findings(claims)}."), class_="lede")
        panels = [_claim_panel(view, one) for one in claims]
    else:
        lede = element("p", f"How well {words.listed(list(view.recipes))} told apart {_clips(view)}.", class_="lede")
        panels = [_accuracy_panel(view, results) for results in view.by_protocol.values()]
        panels += [_claim_panel(view, one) for one in claims]
    return join([lede, element("div", *panels, class_="panels"), element("p", _rates(view))])


def sentence(view: View) -> str:
    """The answer as plain text, with its numbers, the clips and the rates; "" where nothing was tested."""
    if not view.evaluation.results:
        return ""
    claims = view.image_minus_mel
    if view.is_the_notebooks:
        numbers = "; ".join(_claim_in_words(view, one) for one in claims)
        return f"{ASKED} On {_clips(view)}, {_findings(claims)}: {numbers}. {_rates(view)}"
    numbers = "; ".join(
        f"{result.recipe.name} {words.percent(result.summary.headline.value)} "
        f"{words.interval(result.summary.headline.interval)} of {words.count(result.summary.n)} test clips "
        f"{_under(result.protocol)}"
        for result in view.evaluation.results
    )
    said = "Mean average precision" if view.evaluation.dataset.multi_label else "Right answers"
    counted = f"with 95 % intervals that count {view.unit}{view.over_seeds}"
    return f"{said} on {_clips(view)}, {counted}: {numbers}. {_rates(view)}"


def _claim_in_words(view: View, claim: Comparison) -> str:
    found, (image, mel) = claim.difference, _summaries(view, claim)
    return (
        f"{_under(claim.protocol)} image − mel = {words.points(found.difference)} points (95 % interval "
        f"{words.interval(found.interval, signed=True)}, p {words.p_value(found.p)}; "
        f"{words.percent(image.headline.value)} against {words.percent(mel.headline.value)} of {_tested(view, claim)})"
    )


def _summaries(view: View, claim: Comparison) -> list[metrics.Summary | MultiSummary]:
    by_name = {result.recipe.name: result for result in view.by_protocol[claim.protocol]}
    return [by_name[name].summary for name in claim.recipes]


def _clips(view: View) -> str:
    """The clips of the data set in words, and their share of it where it is not whole."""
    data = view.evaluation.dataset
    share = (
        f" of {words.count(data.complete_size)}" if data.complete_size and data.complete_size > len(data.clips) else ""
    )
    return f"{words.count(len(data.clips))}{share} clips of {data.name} in {len(data.classes)} classes"


def _tested(view: View, claim: Comparison) -> str:
    """How many clips a comparison counts, and of how many recordings or files, where those are others."""
    found = claim.difference
    origin = "" if view.unit == "clips" else f" from {words.count(found.recordings)} {view.unit}"
    return f"{words.count(found.clips)} test clips{origin}{view.over_seeds}"


def _rates(view: View) -> str:
    return f"The files that were tested are recorded at {view.rates}. {_rates_heard(view)}"


def _findings(claims: Sequence[Comparison]) -> str:
    """What was found under which protocols, each finding said once."""
    where: dict[str, list[str]] = {}
    for one in claims:
        where.setdefault(words.verdict(one.difference).clause, []).append(_under(one.protocol))
    return words.listed([f"{clause} {words.listed(places)}" for clause, places in where.items()])


def _under(protocol: str) -> str:
    known = {"random": "under a random split", "folds": "on the official folds", "grouped": "on folds by recording"}
    return known.get(protocol, f"under {protocol}")


def _claim_panel(view: View, comparison: Comparison) -> Html:
    found, verdict = comparison.difference, words.verdict(comparison.difference)
    title = words.protocol_title(comparison.protocol)
    image, mel = _summaries(view, comparison)
    return element(
        "article",
        element("h3", title if view.is_the_notebooks else f"{title}: the notebook’s claim"),
        element("p", verdict.word, class_="verdict"),
        element("p", f"image − mel = {words.points(found.difference)} points", class_="big"),
        element("p", f"95 % interval {words.interval(found.interval, signed=True)}, p {words.p_value(found.p)}"),
        element("p", verdict.sentence),
        element(
            "p",
            f"{words.percent(image.headline.value)} against {words.percent(mel.headline.value)} of "
            f"{_tested(view, comparison)}.",
            class_="quiet",
        ),
        class_="panel",
    )


def _accuracy_panel(view: View, results: Sequence[Result]) -> Html:
    lines = [
        element(
            "p", view.badge(result.recipe.name), element("span", words.percent(one.value), class_="big"),
            f" {words.interval(one.interval)}", class_="score",
        )
        for result in results
        for one in [result.summary.headline]
    ]  # fmt: skip
    return element("article", element("h3", words.protocol_title(results[0].protocol)), *lines, class_="panel")


def _rates_heard(view: View) -> str:
    heard = []
    for result in view.first_of_recipe:
        rate_hz = result.recipe.representation.rate_hz
        heard.append(f"{result.recipe.name} at {f'{words.count(rate_hz)} Hz' if rate_hz else 'the rate of each file'}")
    return f"They are heard by {words.listed(heard)}."


def scores(view: View) -> Html:
    """The main table, the protocols in two sentences each, and the folds one by one."""
    counted = f"{view.unit}, not clips" if view.unit != "clips" else "clips: which share a recording is not known here"
    figures_told = "Mean average precisions (mAP)" if view.evaluation.dataset.multi_label else "Accuracies"
    parts = [element("p", f"{figures_told} with 95 % intervals that count {counted}{view.over_seeds}.", class_="lead")]
    for protocol, results in view.by_protocol.items():
        explained = element("p", words.PROTOCOLS.get(protocol, ("", ""))[1], class_="quiet")
        parts += [element("h3", words.protocol_title(protocol)), explained, _torn(protocol, results[0].leak)]
        parts.append(element("p", _what_was_tested(view, results[0])))
        parts.append(_score_table(view, results))
        if len(results[0].mean_folds) > 1:
            parts += [element("h4", f"Fold by fold{view.over_seeds}"), _fold_table(view, results)]
    return join(parts)


def _what_was_tested(view: View, result: Result) -> str:
    """How many clips of how many recordings and which folds, tested by how many trainings of how many clips."""
    data, n = view.evaluation.dataset, result.summary.n
    origin = len(set(data.sources[result.test].tolist()))
    of_recordings = "" if view.unit == "clips" else f" from {words.count(origin)} {view.unit}"
    folds = [str(fold.fold) for fold in result.mean_folds if fold.fold is not None]
    of_folds = f", fold{'s' * (len(folds) > 1)} {words.listed(folds)}" if folds else ""
    trained = sorted({fold.n_train for fold in result.folds})
    sizes = "–".join(words.count(size) for size in dict.fromkeys((trained[0], trained[-1])))
    return (
        f"Tested: {words.count(n)} clips{of_recordings}{of_folds}, each once{' per seed' * (len(view.seeds) > 1)}, by "
        f"{'networks' if len(folds) > 1 else 'a network'} trained on {sizes} other clips."
    )


def calibration_error(result: Result) -> str:
    """The ECE of a result, what it was before temperature scaling, and what chance alone would show."""
    expected, notes = result.ece_if_calibrated, []
    if words.is_number(result.ece_uncalibrated):
        notes.append(f"{words.number(result.ece_uncalibrated, 3)} before temperature scaling")
    if expected and words.is_number(expected.mean):
        notes.append(f"a perfectly calibrated model would show about {words.number(expected.mean, 3)} at this size")
    return f"ECE {words.number(result.summary.ece, 3)}" + (f" ({'; '.join(notes)})" if notes else "")


def _torn(protocol: str, leak: Leak | None) -> Html:
    """What to say of folds that do not keep recordings together."""
    if protocol == "random" or leak is None or not leak.recording_and_class:
        return join([])
    warning = f"These folds do not keep recordings together: {leak.in_words()}. The scores are too good."
    return element("p", element("strong", warning))


def _score_table(view: View, results: Sequence[Result]) -> Html:
    folded = any(len(result.mean_folds) > 1 for result in results)
    head = [
        "Recipe", "mAP" if view.evaluation.dataset.multi_label else "Accuracy", "95 % interval", "Macro F1",
        "Micro F1" if view.evaluation.dataset.multi_label else "Top 2", "Log loss", "ECE",
        *(["Folds, mean ± SD"] * folded), *(["Seeds’ SD"] * (len(view.seeds) > 1)),
        "Time",
    ]  # fmt: skip
    return table(head, [_score_row(view, result, folded=folded) for result in results], class_="numbers")


def _score_row(view: View, result: Result, *, folded: bool) -> list[object]:
    summary = result.summary
    spread = f"{words.percent(result.fold_mean)} ± {words.number(100 * result.fold_sd, 1)}"
    return [
        view.badge(result.recipe.name),
        element("strong", words.percent(summary.headline.value)),
        words.interval(summary.headline.interval),
        words.number(summary.macro_f1, 3),
        words.number(summary.micro_f1, 3)
        if isinstance(summary, MultiSummary)
        else words.percent(summary.top2_accuracy),
        words.number(summary.log_loss),
        words.number(summary.ece, 3),
        *([spread if len(result.mean_folds) > 1 else words.NOTHING] * folded),
        *([f"± {words.number(100 * result.seed_sd, 1)}"] * (len(view.seeds) > 1)),
        words.duration(sum(result.seconds.values())),
    ]


def _fold_table(view: View, results: Sequence[Result]) -> Html:
    head = ["Fold", "Trained on", "Scored on", *(view.badge(result.recipe.name) for result in results)]
    rows = []
    for same in zip(*(result.mean_folds for result in results), strict=True):
        sizes = [words.count(same[0].n_train), words.count(same[0].n_test)]
        rows.append([same[0].fold, *sizes, *(words.percent(one.accuracy) for one in same)])
    return table(head, rows, class_="numbers")


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


def _given_away(leak: Leak, *, several: bool) -> str:
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
        f"{view.figure} minus the column’s, in points, with its 95 % interval, which counts {view.unit}, and p."
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
            element("h3", words.protocol_title(protocol)),
            table(["Row − column", *map(view.badge, names[:-1])], rows, class_="numbers pairwise"),
        ]
    return join(parts)


def _difference(comparison: Comparison | None, first: str) -> Html | str:
    """One cell: ``first`` minus the other, in points, with its interval and p."""
    if comparison is None:
        return words.NOTHING
    found, turned = comparison.difference, comparison.recipes[0] != first
    bounds = metrics.Interval(-found.interval.high, -found.interval.low) if turned else found.interval
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
        "Protocol", "Difference", "Points", "95 % interval", "Sign-flip p", "McNemar p*", "Clips",
        *([view.unit.capitalize()] * by_group),
    ]  # fmt: skip
    rows = [
        [
            words.protocol_title(one.protocol),
            join([view.badge(one.recipes[0]), " − ", view.badge(one.recipes[1])]),
            element("strong", words.points(one.difference.difference)),
            words.interval(one.difference.interval, signed=True),
            words.p_value(one.difference.p).removeprefix("= "),
            words.p_value(one.difference.mcnemar_p).removeprefix("= "),
            words.count(one.difference.clips),
            *([words.count(one.difference.recordings)] * by_group),
        ]
        for one in view.evaluation.comparisons
    ]
    note = (
        "* McNemar’s test counts clips as if they were independent. Clips of one recording are not, so it is too sure "
        f"of itself; it stands here because papers report it. Interval and sign-flip test count {view.unit}"
        + (
            f" and compare means of {len(view.seeds)} seeds; McNemar’s test looks at the first seed’s answers alone."
            if len(view.seeds) > 1
            else ". None of them knows how much another training seed would change."
        )
    )
    if view.evaluation.dataset.multi_label:
        head[4], note = (
            "Bootstrap p",
            f"Differences of mAP; interval and p count {view.unit}. McNemar’s test does not apply: no clip is simply "
            "right or wrong. None of them knows how much another training seed would change.",
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


def classes(view: View) -> Html:
    """F1, precision and recall of every class, and accuracy by salience."""
    parts: list[Html] = []
    for protocol, results in view.by_protocol.items():
        told = _class_table if len(results) < 3 or view.evaluation.dataset.multi_label else _class_tables
        parts += [element("h3", words.protocol_title(protocol)), told(view, results)]
        if any(_by_salience(result) for result in results):
            parts.append(_salience_table(view, results))
    return join([view.legend(), *parts])


def _class_table(view: View, results: Sequence[Result]) -> Html:
    head: list[object] = ["Class", "Clips"]
    several = view.evaluation.dataset.multi_label
    for result in results:
        head += [join([view.badge(result.recipe.name), " F1"]), "precision", "recall", *(["AP", "threshold"] * several)]
    rows = []
    for same in zip(*(result.summary.per_class for result in results), strict=True):
        row: list[object] = [same[0].label, words.count(same[0].support)]
        for result, one in zip(results, same, strict=True):
            row += [_bar(view, result, one), words.number(one.precision), words.number(one.recall)]
            if isinstance(one, LabelScores):
                row += [words.number(one.average_precision), words.number(one.threshold)]
        rows.append(row)
    return table(head, rows, class_="numbers")


def _class_tables(view: View, results: Sequence[Result]) -> Html:
    """Of many recipes: F1 in one table, and precision and recall in another, so that neither leaves the page."""
    head = ["Class", "Clips", *(view.badge(result.recipe.name) for result in results)]
    bars, shares = [], []
    for same in zip(*(result.summary.per_class for result in results), strict=True):
        first = [same[0].label, words.count(same[0].support)]
        bars.append([*first, *(_bar(view, result, one) for result, one in zip(results, same, strict=True))])
        shares.append([*first, *(f"{words.number(one.precision)} / {words.number(one.recall)}" for one in same)])
    return join(
        [
            element("h4", "F1"),
            table(head, bars, class_="numbers many"),
            element("h4", "Precision / recall"),
            table(head, shares, class_="numbers"),
        ]
    )


def _bar(view: View, result: Result, one: metrics.ClassScores | LabelScores) -> Html:
    index = view.recipes.index(result.recipe.name) % len(figures.RECIPES)
    length = element("i", class_=f"bar recipe-{index}", style=f"width:{100 * one.f1:.1f}%")
    return element("span", element("span", length, class_="track"), words.number(one.f1), class_="barred")


def _salience_table(view: View, results: Sequence[Result]) -> Html:
    marks = list(dict.fromkeys(mark for result in results for mark in _by_salience(result)))
    rows = [
        [mark, words.count(_by_salience(results[0])[mark]["n"]), *(_salient(result, mark) for result in results)]
        for mark in marks
    ]
    head = ["The sound is in the", "Clips", *(view.badge(result.recipe.name) for result in results)]
    return join([element("h4", "Accuracy by salience"), table(head, rows, class_="numbers")])


def _by_salience(result: Result) -> dict[str, dict[str, Any]]:
    """Nothing for multi-label data, whose table does not tell it of each label."""
    return {} if isinstance(result.summary, MultiSummary) else result.summary.per_salience


def _salient(result: Result, mark: str) -> str:
    return words.percent(_by_salience(result)[mark]["accuracy"])


def confusions(view: View) -> Html:
    """A matrix for every result, and its commonest mistakes in words."""
    if view.evaluation.dataset.multi_label:
        return element("p", "There is none: a clip has any number of classes, and each is found or not by itself.")
    lead = "A row is a true class, a column what it was called; a cell is as dark as its share of the row."
    parts: list[Html] = [element("p", f"{lead} Below each: the pairs most confused, with their share.", class_="lead")]
    for protocol, results in view.by_protocol.items():
        names = view.evaluation.dataset.classes
        wide = " wide" if len(names) > 15 else ""
        cards = [
            element(
                "article",
                element("h4", view.badge(result.recipe.name)),
                _matrix(result.summary.confusion, names),
                _most_confused(result.summary, names),
                class_="confusion",
            )
            for result in results
            if isinstance(result.summary, metrics.Summary)
        ]
        parts += [element("h3", words.protocol_title(protocol)), element("div", *cards, class_=f"matrices{wide}")]
    seeds = len(view.seeds)
    note = element("p", f"Counts are over {seeds} seeds: each clip stands here {seeds} times.") if seeds > 1 else ""
    return join([note, *parts])


def _matrix(counts: metrics.Integers, names: Sequence[str]) -> Html:
    """A confusion matrix: counts in the cells, which are as dark as their share of the row."""
    header = element("tr", element("td"), *(element("th", element("span", name), scope="col") for name in names))
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    rows = [
        element("tr", element("th", name, scope="row", title=name), *map(_cell, counts[i].tolist(), shares[i].tolist()))
        for i, name in enumerate(names)
    ]
    whole = element("table", element("thead", header), element("tbody", *rows), class_="matrix")
    return element("div", whole, class_="scroll")


def _cell(clips: int, share: float) -> Html:
    if not clips:
        return element("td")
    return element("td", clips, class_="strong" if share > 0.5 else None, style=f"--share:{share:.2f}")


def _most_confused(summary: metrics.Summary, names: Sequence[str]) -> Html:
    lines = [
        element("li", f"{one.true} called {one.predicted}: {words.count(one.count)} ({words.percent(one.share, 0)})")
        for one in metrics.most_confused(summary.confusion, names, limit=5)
    ]
    return element("ol", *lines, class_="pairs") if lines else element("p", "No clip was mistaken.", class_="quiet")

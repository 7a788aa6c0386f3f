"""The section "Summary": the main result in a paragraph, warnings of data leakage, and a panel per protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from soundmark.datasets.protocols import protocol_of
from soundmark.datasets.splits import count_recordings
from soundmark.evaluation.report import words
from soundmark.evaluation.report.markup import Html, element, facts, join
from soundmark.evaluation.report.view import View
from soundmark.metrics.score_summary import ScoreSummary
from soundmark.runtime import text

if TYPE_CHECKING:
    from soundmark.evaluation.results import Comparison, Result


CLAIM_TEXT = "The original notebook claims that “images do 10 % better” than mel spectrogram arrays."


def summary_section(view: View) -> Html:
    """Render the main result, warnings, the scores of each protocol, and the facts to quote with them."""
    if not view.evaluation.results:
        return element("p", "No results: nothing was tested.", class_="lede")
    panels = [_score_panel(view, results) for results in view.by_protocol.values()]
    claims = [_claim_panel(view, one) for one in view.image_minus_mel]
    return join(
        [
            element("p", _main_result(view), class_="lede"),
            *(element("p", element("strong", "Warning: "), one, class_="warning") for one in _warnings(view)),
            element("div", *panels, class_="panels"),
            _claim_text(view) if claims else "",
            element("div", *claims, class_="panels") if claims else "",
            facts(_facts(view)),
        ]
    )


def sentence(view: View) -> str:
    """Return the results as plain text: scores, clips and sample rates; "" without results."""
    if not view.evaluation.results:
        return ""
    claims, rates = view.image_minus_mel, f"Sample rates: {'; '.join(_rates(view))}."
    if view.is_notebook_comparison:
        numbers = "; ".join(_claim_numbers(view, one) for one in claims)
        return f"{CLAIM_TEXT} Result on {_clips(view)}: {_findings(claims)}. {_upper(numbers)}. {rates}"
    numbers = "; ".join(
        f"{result.recipe.name} {words.percent(result.summary.headline.value)} "
        f"{words.interval(result.summary.headline.interval)} on {text.count(result.summary.n)} test clips "
        f"{protocol_of(result.protocol).condition}"
        for result in view.evaluation.results
    )
    intervals = f"with 95 % intervals over {view.unit}{view.over_seeds}"
    return f"{view.task.words.figure_name} on {_clips(view)}, {intervals}: {numbers}. {rates}"


# --- The main result ------------------------------------------------------------------------------------------------


def _main_result(view: View) -> str:
    """Name the best recipe under the main protocol, its score, and whether it differs from the second best."""
    protocol = protocol_of(view.main_protocol)
    best, *others = sorted(view.by_protocol[view.main_protocol], key=lambda one: -one.summary.headline.value)
    headline, figure = best.summary.headline, view.task.figure
    highest = "reached the highest" if others else "reached an"
    interval = f"95 % interval {words.interval(headline.interval)}"
    parts = [
        f"On {_dataset(view)}, {best.recipe.name} {highest} {figure} {protocol.condition}: "
        f"{words.percent(headline.value)} ({interval}, {text.count(best.summary.n)} test clips{view.over_seeds})."
    ]
    if others:
        parts.append(_runner_up_text(view, best, others[0]))
    chance = view.task.chance(best.labels)
    if headline.interval.known and headline.interval.low <= chance:
        level = f"the chance level of {words.percent(chance)}"
        parts.append(f"The {figure} of {best.recipe.name} is not significantly above {level}.")
    return " ".join(parts)


def _runner_up_text(view: View, best: Result, second: Result) -> str:
    """State the paired difference between the two best recipes and the verdict on it."""
    names = best.recipe.name, second.recipe.name
    paired, verdict = view.difference(best.protocol, *names), view.verdict(best.protocol, *names)
    if paired is None or verdict is None:
        return f"Second is {second.recipe.name} with {words.percent(second.summary.headline.value)}."
    return (
        f"The difference from {second.recipe.name}, {words.points(paired.difference)} points (95 % interval "
        f"{words.interval(paired.interval, signed=True)}, p {words.p_value(paired.p)}): {verdict}."
    )


def _warnings(view: View) -> list[str]:
    """Describe the data leakage of each protocol that has some, or state that it cannot be measured."""
    if not view.evaluation.dataset.sources_known:
        keeps_apart = any(protocol_of(name).keeps_recordings_apart for name in view.by_protocol)
        effect = "data leakage cannot be measured" if keeps_apart else "the scores may reflect data leakage"
        return [f"the data set does not say which clips come from the same recording, so {effect}."]
    lines = []
    for name, results in view.by_protocol.items():
        leak, protocol = results[0].leak, protocol_of(name)
        if leak is not None and protocol.relevant_leakage(leak):
            cause = "the folds split recordings; " if protocol.keeps_recordings_apart else ""
            lines.append(f"{protocol.title}: {cause}{leak.in_words()}. {_TOO_HIGH}")
    return lines


_TOO_HIGH = "These scores reflect data leakage and are too high for new recordings."


def _score_panel(view: View, results: Sequence[Result]) -> Html:
    cells: list[Html] = []
    for result in results:
        headline = result.summary.headline
        cells += [
            view.badge(result.recipe.name),
            element("strong", words.percent(headline.value)),
            element("span", words.interval(headline.interval)),
        ]
    title = f"{view.task.words.figure_title}, {_lower(protocol_of(results[0].protocol).title)}"
    return element("article", element("h3", title), element("div", *cells, class_="score"), class_="panel")


def _facts(view: View) -> Mapping[str, object]:
    """Return the data set, protocols, sample rates and skipped clips."""
    skipped = len(view.evaluation.skipped)
    protocols = [
        f"{protocol_of(name).title}: {text.count(results[0].summary.n)} test clips{view.origin_of(results[0])}"
        for name, results in view.by_protocol.items()
    ]
    return {
        "Data set": _dataset(view),
        "Protocols": _lines(protocols),
        "Intervals": f"95 %, over {view.unit}{view.over_seeds}",
        "Sample rates": _lines(_rates(view)),
        "Skipped clips": text.count(skipped) if skipped else "none",
    }


def _lines(texts: Sequence[str]) -> Html:
    return join(element("span", one, class_="line") for one in texts)


def _dataset(view: View) -> str:
    """The name of the data set, and its numbers of clips, recordings and classes."""
    data = view.evaluation.dataset
    recordings = f" from {text.counted(count_recordings(data), 'recording', text.NARROW)}" if data.sources_known else ""
    return f"{data.name} ({_n_clips(view)} clips{recordings}, {text.counted(len(data.classes), 'class')})"


def _n_clips(view: View) -> str:
    """The number of clips, and the full size of the data set if only a part of it is used."""
    n, complete_size = len(view.evaluation.dataset.clips), view.evaluation.dataset.complete_size
    return text.count(n) + (f" of {text.count(complete_size)}" if complete_size and complete_size > n else "")


def _clips(view: View) -> str:
    data = view.evaluation.dataset
    return f"{_n_clips(view)} clips of {data.name} in {text.counted(len(data.classes), 'class')}"


def _rates(view: View) -> list[str]:
    """The sample rates of the test files and of the recipes."""
    rates = [f"test files: {view.sample_rates}"]
    for result in view.first_of_recipe:
        rate_hz = result.recipe.representation.input_rate_hz
        rates.append(f"{result.recipe.name}: {f'{text.count(rate_hz)} Hz' if rate_hz else 'that of each file'}")
    return rates


# --- The notebook's claim -------------------------------------------------------------------------------------------


def _claim_text(view: View) -> Html:
    claims = view.image_minus_mel
    return element("p", CLAIM_TEXT, " ", element("strong", f"Result: {_findings(claims)}."))


def _claim_numbers(view: View, claim: Comparison) -> str:
    found, (image, mel) = claim.difference, _summaries(view, claim)
    return (
        f"{protocol_of(claim.protocol).condition}, image − mel = {words.points(found.difference)} points "
        f"(95 % interval {words.interval(found.interval, signed=True)}, p {words.p_value(found.p)}; "
        f"{words.percent(image.headline.value)} and {words.percent(mel.headline.value)} on {_tested(view, claim)})"
    )


def _summaries(view: View, claim: Comparison) -> list[ScoreSummary]:
    by_name = {result.recipe.name: result for result in view.by_protocol[claim.protocol]}
    return [by_name[name].summary for name in claim.recipes]


def _tested(view: View, claim: Comparison) -> str:
    """The number of test clips of a comparison, and of their recordings or files."""
    found = claim.difference
    return f"{text.count(found.clips)} test clips{view.origin(found.recordings)}{view.over_seeds}"


def _findings(claims: Sequence[Comparison]) -> str:
    """State the finding on the claim under each protocol; protocols with the same finding are listed together."""
    conditions: dict[str, list[str]] = {}
    for one in claims:
        clause = words.finding(one.difference, one.verdict).clause
        conditions.setdefault(clause, []).append(protocol_of(one.protocol).condition)
    return "; ".join(f"{text.listed(found)}, {clause}" for clause, found in conditions.items())


def _claim_panel(view: View, comparison: Comparison) -> Html:
    found, finding = comparison.difference, words.finding(comparison.difference, comparison.verdict)
    image, mel = _summaries(view, comparison)
    return element(
        "article",
        element("h3", f"Claim of the notebook, {_lower(protocol_of(comparison.protocol).title)}"),
        element("p", _upper(finding.word), class_="verdict"),
        element("p", f"image − mel = {words.points(found.difference)} points", class_="big"),
        element("p", f"95 % interval {words.interval(found.interval, signed=True)}, p {words.p_value(found.p)}"),
        element("p", finding.sentence),
        element(
            "p",
            f"{words.percent(image.headline.value)} and {words.percent(mel.headline.value)} on "
            f"{_tested(view, comparison)}.",
            class_="quiet",
        ),
        class_="panel",
    )


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]

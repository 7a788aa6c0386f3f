"""The section that answers: what was found, in one sentence and a panel per protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report import words
from soundmark.evaluation.report.markup import Html, element, join
from soundmark.evaluation.report.view import View
from soundmark.metrics.score_summary import ScoreSummary
from soundmark.runtime import text

if TYPE_CHECKING:
    from soundmark.evaluation.results import Comparison, Result


ASKED = "The notebook behind these recipes found that “images do 10 % better” than numbers."


def answer(view: View) -> Html:
    """What the page found, in one sentence and a panel per protocol."""
    claims = view.image_minus_mel
    if view.is_the_notebooks:
        lede = element("p", ASKED, " ", element("strong", f"On {_clips(view)}, {_findings(claims)}."), class_="lede")
        panels = [_claim_panel(view, one) for one in claims]
    else:
        lede = element("p", f"How well {text.listed(list(view.recipes))} told apart {_clips(view)}.", class_="lede")
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
        f"{words.interval(result.summary.headline.interval)} of {text.count(result.summary.n)} test clips "
        f"{protocol_of(result.protocol).condition}"
        for result in view.evaluation.results
    )
    counted = f"with 95 % intervals that count {view.unit}{view.over_seeds}"
    return f"{view.task.words.headline} on {_clips(view)}, {counted}: {numbers}. {_rates(view)}"


def _claim_in_words(view: View, claim: Comparison) -> str:
    found, (image, mel) = claim.difference, _summaries(view, claim)
    return (
        f"{protocol_of(claim.protocol).condition} image − mel = {words.points(found.difference)} points (95 % interval "
        f"{words.interval(found.interval, signed=True)}, p {words.p_value(found.p)}; "
        f"{words.percent(image.headline.value)} against {words.percent(mel.headline.value)} of {_tested(view, claim)})"
    )


def _summaries(view: View, claim: Comparison) -> list[ScoreSummary]:
    by_name = {result.recipe.name: result for result in view.by_protocol[claim.protocol]}
    return [by_name[name].summary for name in claim.recipes]


def _clips(view: View) -> str:
    """The clips of the data set in words, and their share of it where it is not whole."""
    data = view.evaluation.dataset
    share = (
        f" of {text.count(data.complete_size)}" if data.complete_size and data.complete_size > len(data.clips) else ""
    )
    return f"{text.count(len(data.clips))}{share} clips of {data.name} in {len(data.classes)} classes"


def _tested(view: View, claim: Comparison) -> str:
    """How many clips a comparison counts, and of how many recordings or files, where those are others."""
    found = claim.difference
    origin = "" if view.unit == "clips" else f" from {text.count(found.recordings)} {view.unit}"
    return f"{text.count(found.clips)} test clips{origin}{view.over_seeds}"


def _rates(view: View) -> str:
    return f"The files that were tested are recorded at {view.rates}. {_rates_heard(view)}"


def _findings(claims: Sequence[Comparison]) -> str:
    """What was found under which protocols, each finding said once."""
    where: dict[str, list[str]] = {}
    for one in claims:
        where.setdefault(words.verdict(one.difference).clause, []).append(protocol_of(one.protocol).condition)
    return text.listed([f"{clause} {text.listed(places)}" for clause, places in where.items()])


def _claim_panel(view: View, comparison: Comparison) -> Html:
    found, verdict = comparison.difference, words.verdict(comparison.difference)
    title = protocol_of(comparison.protocol).title
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
    return element("article", element("h3", protocol_of(results[0].protocol).title), *lines, class_="panel")


def _rates_heard(view: View) -> str:
    heard = []
    for result in view.first_of_recipe:
        rate_hz = result.recipe.representation.rate_hz
        heard.append(f"{result.recipe.name} at {f'{text.count(rate_hz)} Hz' if rate_hz else 'the rate of each file'}")
    return f"They are heard by {text.listed(heard)}."

"""The sections that let someone else repeat it: what was left out, and what the numbers were made with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report import words
from soundmark.evaluation.report.markup import Html, element, join, table
from soundmark.evaluation.report.view import View
from soundmark.metrics import calibration_error, intervals
from soundmark.runtime import text


def left_out(view: View) -> Html:
    """Every file that the data set names and that could not be used, with the reason."""
    skipped = [*view.evaluation.skipped]
    parts = [
        table(["File", "Reason"], [[element("code", one.path), one.reason] for one in skipped], class_="reasons")
        if skipped
        else element("p", "Nothing: every clip was read and counted.")
    ]
    if view.unread:
        rows = [[element("code", one.path), one.reason] for one in view.unread.values()]
        parts.append(element("p", "These were scored, but could not be read again to be drawn or played on this page:"))
        parts.append(table(["File", "Reason"], rows, class_="reasons"))
    return join(parts)


def made(view: View) -> Html:
    """Data, settings, versions, machine, command, time, and how the intervals were made."""
    evaluation, data = view.evaluation, view.evaluation.dataset
    about = {
        "Data set": data.name,
        "Clips": text.count(len(data.clips)),
        "Classes": ", ".join(data.classes),
        "Fingerprint": element("code", data.fingerprint),
        "Licence": data.licence,
        "Please cite": data.citation or words.NOTHING,
        "Command": element("code", evaluation.command) if evaluation.command else words.NOTHING,
        **({"Seeds": ", ".join(map(str, view.seeds))} if len(view.seeds) > 1 else {"Seed": evaluation.seed}),
    }
    computed = sorted({(fold.threads, fold.precision) for result in evaluation.results for fold in result.folds})
    machine = {
        **evaluation.machine,
        "training": "; ".join(f"{threads} threads, {precision}" for threads, precision in computed),
    }
    return join(
        [
            _facts(about),
            element("h3", "Settings of the recipes"),
            _settings(view),
            element("h3", "Machine"),
            _facts(machine),
            element("h3", "Versions"),
            _facts(evaluation.versions),
            element("h3", "Time"),
            _times(view),
            element("h3", "How the numbers were made"),
            _method(view.unit, len(view.seeds)),
        ]
    )


def _facts(facts: Mapping[str, object]) -> Html:
    pairs = [part for name, value in facts.items() for part in (element("dt", name), element("dd", value))]
    return element("dl", *pairs, class_="facts")


def _settings(view: View) -> Html:
    """A row per setting, a column per recipe; the settings in which recipes differ stand out."""
    columns = [dict(_flat(result.recipe.settings())) for result in view.first_of_recipe]
    found = dict.fromkeys(name for column in columns for name in column if name != "name")
    names = sorted(found, key=lambda name: not name.startswith("representation."))
    rows = []
    for name in names:
        values = [_value(name, column[name]) if name in column else words.NOTHING for column in columns]
        rows.append([name, *(element("strong", one) if len(set(values)) > 1 else one for one in values)])
    head = ["Setting", *(view.badge(result.recipe.name) for result in view.first_of_recipe)]
    return table(head, rows, class_="settings")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings within settings as ``outer.inner``."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _value(name: str, value: object) -> str:
    if value is None:
        return "the file’s own" if name.endswith("rate_hz") else "none"
    return ", ".join(str(one) for one in value) if isinstance(value, list | tuple) else str(value)


def _times(view: View) -> Html:
    head = ["Recipe", "Protocol", "Features", "Training", "Testing"]
    rows = [
        [
            view.badge(result.recipe.name),
            protocol_of(result.protocol).title,
            *(text.duration(result.seconds.get(stage), units=2) for stage in ("features", "training", "testing")),
        ]
        for result in view.evaluation.results
    ]
    return table(head, rows, class_="numbers narrow")


def _method(unit: str, n_seeds: int) -> Html:
    """How intervals and tests are made, which count ``unit``: recordings, files or clips."""
    resamples = text.count(intervals.RESAMPLES)
    lines = [
        f"Intervals: 95 %, percentiles of {resamples} bootstrap resamples of {unit}"
        f"{' (not clips)' * (unit != 'clips')}, drawn with replacement; the statistic of each is right answers ÷ clips "
        f"of the {unit} drawn. They cover the draw of {unit}, not the luck of a training seed.",
        f"Sign-flip p: two-sided permutation test by {unit.removesuffix('s')}, {resamples} random flips, "
        "(1 + count) / (1 + flips); all sign patterns where they are fewer.",
        "Macro F1: plain mean over the classes that occur. Top 2: the true class is among the two most probable. "
        "Log loss: nats.",
        f"ECE: {calibration_error.ECE_BINS} bins of equal width over the top probability, all folds pooled. "
        "Before temperature scaling: with each training’s own temperature undone. If perfectly calibrated: the mean "
        "over draws in which each clip is right with its own top probability.",
        "No epoch, threshold or temperature was picked on test clips: the weights of the last epoch count.",
    ]
    if n_seeds > 1:
        lines.append(
            f"Seeds: every training was made {n_seeds} times, and each clip has {n_seeds} answers. Scores are over all "
            f"answers, intervals draw {unit} with all of theirs; SD over seeds is that of the accuracies of each."
        )
    return element("ul", *(element("li", line) for line in lines), class_="method")

"""The sections "Skipped clips" and "Provenance": all that is needed to reproduce the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report.markup import Html, element, facts, join, table
from soundmark.evaluation.report.view import View
from soundmark.metrics import calibration_error, intervals, verdicts
from soundmark.runtime import text


def skipped_section(view: View) -> Html:
    """List the clips that could not be used, with the reason."""
    skipped = [*view.evaluation.skipped]
    parts = [
        table(["File", "Reason"], [[element("code", one.path), one.reason] for one in skipped], class_="reasons")
        if skipped
        else element("p", "None: all clips were read and evaluated.")
    ]
    if view.unreadable:
        rows = [[element("code", one.path), one.reason] for one in view.unreadable.values()]
        parts.append(element("p", "These clips were evaluated, but could not be read again for this report:"))
        parts.append(table(["File", "Reason"], rows, class_="reasons"))
    return join(parts)


def provenance_section(view: View) -> Html:
    """Render data set, command, recipe settings, machine, versions, computing time and methods."""
    evaluation, data = view.evaluation, view.evaluation.dataset
    about = {
        "Data set": data.name,
        "Clips": text.count(len(data.clips)),
        "Classes": ", ".join(data.classes),
        "Fingerprint": element("code", data.fingerprint),
        "Licence": data.licence,
        "Citation": data.citation or text.NO_NUMBER,
        "Command": element("code", evaluation.command) if evaluation.command else text.NO_NUMBER,
        **({"Seeds": ", ".join(map(str, view.seeds))} if len(view.seeds) > 1 else {"Seed": evaluation.seed}),
    }
    computed = sorted({(fold.threads, fold.precision) for result in evaluation.results for fold in result.folds})
    machine = {
        **evaluation.machine,
        "training": "; ".join(f"{threads} threads, {precision}" for threads, precision in computed),
    }
    return join(
        [
            facts(about),
            element("h3", "Recipe settings"),
            _settings(view),
            element("h3", "Machine"),
            facts(machine),
            element("h3", "Versions"),
            facts(evaluation.versions),
            element("h3", "Computing time"),
            _times(view),
            element("h3", "Methods"),
            _methods(view.unit, len(view.seeds)),
        ]
    )


def _settings(view: View) -> Html:
    """Render a row per setting and a column per recipe; settings that differ between recipes are bold."""
    columns = [dict(_flat(result.recipe.settings())) for result in view.first_of_recipe]
    found = dict.fromkeys(name for column in columns for name in column if name != "name")
    names = sorted(found, key=lambda name: not name.startswith("representation."))
    rows = []
    for name in names:
        values = [_value(name, column[name]) if name in column else text.NO_NUMBER for column in columns]
        rows.append([name, *(element("strong", one) if len(set(values)) > 1 else one for one in values)])
    head = ["Setting", *(view.badge(result.recipe.name) for result in view.first_of_recipe)]
    return table(head, rows, class_="settings")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested settings to ``outer.inner``."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _value(name: str, value: object) -> str:
    if value is None:
        return "that of each file" if name.endswith("rate_hz") else "none"
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
    return table(head, rows, class_="numbers")


def _methods(unit: str, n_seeds: int) -> Html:
    """Describe how scores, intervals and tests are computed; ``unit`` is recordings, files or clips."""
    flips = text.count(intervals.FLIPS)
    lines = [
        "95 % intervals: score intervals (Wilson; of differences: Tango) with an effective number of clips, which "
        f"follows from the variation between {unit}{' (not clips)' * (unit != 'clips')}, and t quantiles; of mAP, with "
        f"the jackknife over {unit}. They include the variation between {unit}, but not between training seeds.",
        f"Sign-flip p: two-sided permutation test by {unit.removesuffix('s')} with {flips} random sign flips, "
        "p = (1 + count) / (1 + flips); exact if there are fewer sign patterns.",
        f"Verdict: a recipe is better if at least {verdicts.MIN_DISCORDANT} {unit} have different results, the "
        "interval of the difference excludes zero, p is below 0.05 divided by the number of pairs, and the interval of "
        "its score is above chance and, where data leak, above a lookup of the recording.",
        "Macro F1: unweighted mean over the classes that occur. Top 2: the true class is among the two most probable. "
        "Log loss: in nats.",
        f"ECE: {calibration_error.ECE_BINS} bins of equal width over the highest probability, all folds pooled. "
        "Before temperature scaling: with the temperature of each model undone. If perfectly calibrated: mean over "
        "simulations in which each clip is correct with its highest probability.",
        "No epoch, threshold or temperature is selected on test clips; the weights of the last epoch are used.",
    ]
    if n_seeds > 1:
        lines.append(
            f"Seeds: each training was repeated {n_seeds} times, so each clip has {n_seeds} predictions. Scores are "
            f"over all predictions; all predictions of the clips of one of the {unit} belong together. SD over seeds: "
            "standard deviation of the scores of the seeds."
        )
    return element("ul", *(element("li", line) for line in lines), class_="methods")

"""Recipes × protocols × folds to an ``Evaluation``: train on one part, test on the other, say how good, how surely.

A run stands in a folder, and the same call goes on with it, unit by unit, after a kill:

    RUN/<recipe>/random/{model.onnx, history.csv, recipe.toml, predictions.csv}
    RUN/<recipe>/folds/predictions.csv                       every test clip once
    RUN/<recipe>/folds/fold-<k>/{...}
    RUN/<recipe>/grouped/...                                 as folds
    RUN/metrics.json

Of several seeds, each stands in a folder ``seed-<n>`` under the protocol.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark import (
    atomic,
    calibration,
    features,
    metrics,
    plans,
    predictions,
    provenance,
    runs,
    splits,
    tagging,
    weights,
    workers,
)
from soundmark.datasets import Dataset, Skipped
from soundmark.errors import OutputError
from soundmark.features import Features
from soundmark.plans import Plan
from soundmark.recipes import Recipe
from soundmark.runs import Outcome, Unit
from soundmark.spectrograms import Representation
from soundmark.splits import Leak
from soundmark.workers import Progress

if TYPE_CHECKING:
    from soundmark.history import Epoch

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """One training of a recipe, and its accuracy on what was kept back."""

    fold: int | None  # None: the random split
    seed: int
    n_train: int
    n_test: int
    accuracy: float  # of multi-label data the mAP
    history: tuple[Epoch, ...]
    model: Path
    threads: int
    precision: str
    temperature: float = 1.0  # that its logits were divided by
    n_validation: int = 0  # clips of the training part that it was calibrated on


@dataclass(frozen=True, kw_only=True)
class Result:
    """One recipe under one protocol: every test clip once for each seed, n = seeds × clips."""

    recipe: Recipe  # with the first seed
    protocol: str
    seeds: tuple[int, ...]
    folds: tuple[FoldResult, ...]  # seed by seed
    test: np.ndarray  # int64 [n] indices into the data set's clips, seed by seed, each time ascending
    labels: np.ndarray  # int64 [n]; of multi-label data its targets, float32 [n, classes]
    probabilities: np.ndarray  # float32 [n, classes]
    thresholds: np.ndarray | None = None  # [n, classes]: from which on a class of multi-label data is there
    summary: metrics.Summary | tagging.MultiSummary  # over all n answers; the confusion counts answers, else clips
    fold_mean: float  # over folds, of the mean over seeds
    fold_sd: float  # NaN where there is one fold
    leak: Leak | None  # None where it is not known which clips share a recording
    seconds: Mapping[str, float]  # features, training, testing
    ece_uncalibrated: float = math.nan  # before temperature scaling; NaN where nothing was calibrated
    ece_if_calibrated: metrics.ExpectedEce | None = None  # that of chance alone; None of multi-label data

    @property
    def mean_folds(self) -> tuple[FoldResult, ...]:
        """Each fold once: that of the first seed, with the mean accuracy over the seeds."""
        n = len(self.folds) // len(self.seeds)
        return tuple(
            replace(first, accuracy=float(np.mean([fold.accuracy for fold in self.folds[i::n]])))
            for i, first in enumerate(self.folds[:n])
        )

    @property
    def seed_accuracies(self) -> tuple[float, ...]:
        """The accuracy of each seed, all folds pooled."""
        each = zip(*(np.split(array, len(self.seeds)) for array in (self.labels, self.probabilities)), strict=True)
        return tuple(tagging.headline(labels, probabilities) for labels, probabilities in each)

    @property
    def seed_sd(self) -> float:
        """The standard deviation of the seeds' accuracies; NaN where there is one seed."""
        return _sd(self.seed_accuracies)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two recipes on the same test clips."""

    protocol: str
    recipes: tuple[str, str]
    difference: metrics.PairedDifference  # the first's accuracy minus the second's


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that a comparison found, and what it was found on."""

    dataset: Dataset
    seed: int
    results: tuple[Result, ...]
    comparisons: tuple[Comparison, ...]
    skipped: tuple[Skipped, ...]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """``metrics.json``, as the design has it; what cannot be told is ``null``."""
        data = self.dataset
        return {
            "schema": SCHEMA,
            "soundmark": self.versions.get("soundmark"),
            "versions": dict(self.versions),
            "machine": dict(self.machine),
            "seed": self.seed,
            "command": self.command,
            "dataset": {
                "name": data.name,
                "path": str(data.root),
                "clips": len(data.clips),
                "classes": list(data.classes),
                "fingerprint": data.fingerprint,
            },
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "results": [_result_json(result) for result in self.results],
            "comparisons": [_comparison_json(comparison) for comparison in self.comparisons],
        }


def compare(
    plan: Plan,
    folder: str | PathLike[str],
    *,
    jobs: int | None = None,
    device: str = "auto",
    fresh: bool = False,
    command: str = "",
    progress: Progress = workers.silent,
) -> Evaluation:
    """Carry out ``plan`` in ``folder``: write its units, predictions and ``metrics.json``, and say what was found.

    A clip that cannot be read is left out of every recipe, after the split is drawn, and named in ``skipped``.

    Raises:
        OutputError: ``folder`` cannot be written, is written to by another process, or holds another run.
        DatasetError: too few clips can be read to train and to test.

    >>> found = compare(plans.plan(city, [recipe], protocols=["random"]), folder / "run")
    >>> found.results[0].summary.n, len(found.results[0].folds)
    (20, 1)
    """
    folder, dataset = Path(folder), plan.dataset
    with runs.only_one(folder):
        if fresh:
            runs.clear(folder)
        _refuse_other_data(folder, dataset)
        for name in {recipe.network for recipe, _ in plans.left_to_do(plan, folder) if recipe.is_pretrained}:
            weights.find(name, progress)  # before hours are spent on what comes first
        stores = _stores(plan, jobs, fresh, progress)
        usable = np.logical_and.reduce([store.usable for store in stores.values()])
        units = _units(plan, folder, usable)
        # All are looked for first: a folder of another run is refused before the first hour is spent on it.
        found = [runs.find(unit, dataset, stores[unit.recipe.name]) for unit in units]
        for doubt in plans.doubts(plan, usable) if not all(found) else ():
            runs.log.warning("%s", doubt)
        outcomes: list[Outcome] = []
        for number, (unit, done) in enumerate(zip(units, found, strict=True), 1):
            report = _numbered(progress, number, len(units))
            if done:
                report(f"{unit.name}: done before", 1, 1, "trainings")
            else:
                engine = runs.engine_of([*outcomes, *found], device)
                done = runs.make(unit, dataset, stores[unit.recipe.name], engine=engine, progress=report)
            outcomes.append(done)
        _name_others(folder, units)
        evaluation = _evaluation(plan, outcomes, stores, _skipped(dataset, stores), command)
        for result in evaluation.results:
            if result.folds[0].fold is not None:  # a random split's stand there already, as its unit's
                _write_pooled(folder, dataset, plan, result)
        text = json.dumps(runs.sealed(evaluation.to_json()), indent=1, ensure_ascii=False, allow_nan=False)
        # A name that is not UTF-8 has lone surrogates; as \udcff they are JSON.
        atomic.write_bytes(folder / "metrics.json", f"{text}\n".encode(errors="backslashreplace"))
    return evaluation


def _write_pooled(folder: Path, dataset: Dataset, plan: Plan, result: Result) -> None:
    """The predictions of all folds together, a file for each seed."""
    n = len(result.test) // plan.seeds
    for i, seeded in enumerate(plan.repeats(result.recipe)):
        place = plans.protocol_folder(folder, seeded, result.protocol, seeds=plan.seeds)
        rows = slice(i * n, (i + 1) * n)
        predictions.write(place / "predictions.csv", dataset, result.test[rows], result.probabilities[rows])


def _stores(plan: Plan, jobs: int | None, fresh: bool, progress: Progress) -> dict[str, Features]:
    """The features of each recipe, by its name; recipes that share a representation share a store."""
    built: dict[Representation, Features] = {}
    for representation in dict.fromkeys(recipe.representation for recipe in plan.recipes):
        built[representation] = features.build(plan.dataset, representation, jobs=jobs, fresh=fresh, progress=progress)
    features.warn_of(note for store in built.values() for note in store.notes)
    return {recipe.name: built[recipe.representation] for recipe in plan.recipes}


def _units(plan: Plan, folder: Path, usable: np.ndarray) -> list[Unit]:
    units = [
        Unit(
            recipe=seeded,
            protocol=protocol,
            split=runs.usable(split, usable),
            folder=plans.unit_folder(folder, seeded, protocol, split, seeds=plan.seeds),
            seeds=plan.seeds,
        )
        for recipe in plan.recipes
        for protocol, chosen in plan.splits.items()
        for seeded in plan.repeats(recipe)
        for split in chosen
    ]
    for unit in units:
        if unit.recipe in plan.recipes:  # what is said of the first seed's holds for all
            runs.check_sides(unit, plan.dataset)
    return units


def _skipped(dataset: Dataset, stores: Mapping[str, Features]) -> tuple[Skipped, ...]:
    """What is left out, each clip once: what the data set lacks, then what could not be read."""
    unread = {
        clip: item
        for store in stores.values()
        for clip, item in zip(np.flatnonzero(~store.usable), store.skipped, strict=True)
    }
    return (*dataset.skipped, *(unread[clip] for clip in sorted(unread)))


def _numbered(progress: Progress, number: int, total: int) -> Progress:
    return lambda description, *rest: progress(f"[{number}/{total}] {description}", *rest)


def _name_others(folder: Path, units: Sequence[Unit]) -> None:
    """Say which finished trainings of the folder are not part of what is told now."""
    there = {place for place in runs.places(folder)[1:] if (place / "model.onnx").exists()}
    others = sorted(place.relative_to(folder).as_posix() for place in there - {unit.folder for unit in units})
    if others:
        runs.log.warning("the folder also holds trainings that are not in this table: %s", ", ".join(others))


def _refuse_other_data(folder: Path, dataset: Dataset) -> None:
    """Refuse a folder whose ``metrics.json`` is of other data: its models would stand beside ours as if of one run."""
    path = folder / "metrics.json"
    try:
        before = json.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        before = {}
    if isinstance(before, dict) and "note" in before:
        raise OutputError(f'"{folder}" holds what `soundmark evaluate` found. Choose another folder with -o.')
    if not runs.is_intact(before):
        runs.log.warning('"%s" was damaged or changed after it was written: it is written again', path)
    elif before["dataset"]["fingerprint"] != dataset.fingerprint:
        name, fingerprint = before["dataset"]["name"], before["dataset"]["fingerprint"]
        raise OutputError(
            f'"{folder}" holds another run: of {name} (fingerprint {fingerprint}), not of '
            f"{dataset.name} ({dataset.fingerprint}). Choose another folder with -o, or start over with --fresh."
        )


def _evaluation(
    plan: Plan, outcomes: Sequence[Outcome], stores: Mapping[str, Features], skipped: tuple[Skipped, ...], command: str
) -> Evaluation:
    grouped = {
        (recipe.name, protocol): [
            o for o in outcomes if (o.unit.recipe.name, o.unit.protocol) == (recipe.name, protocol)
        ]
        for protocol in plan.splits
        for recipe in plan.recipes
    }
    results = tuple(_result(plan.dataset, group, stores[name].seconds) for (name, _), group in grouped.items())
    return Evaluation(
        dataset=plan.dataset,
        seed=plan.recipes[0].seed,
        results=results,
        comparisons=tuple(
            _comparison(plan.dataset, a, b) for a, b in combinations(results, 2) if a.protocol == b.protocol
        ),
        skipped=skipped,
        versions=provenance.versions(),
        machine=provenance.machine(),
        command=command,
    )


def _result(dataset: Dataset, outcomes: Sequence[Outcome], features_s: float) -> Result:
    seeds = tuple(dict.fromkeys(outcome.unit.recipe.seed for outcome in outcomes))
    test = np.concatenate([outcome.unit.split.test for outcome in outcomes])
    sizes = [len(outcome.unit.split.test) for outcome in outcomes]
    order = np.lexsort((test, np.repeat([outcome.unit.recipe.seed for outcome in outcomes], sizes)))
    test = test[order]
    labels = tagging.truth_of(dataset, test)
    probabilities = np.concatenate([outcome.probabilities for outcome in outcomes])[order]
    thresholds = np.concatenate([_thresholds(outcome) for outcome in outcomes])[order]
    folds = tuple(_fold_result(dataset, outcome) for outcome in outcomes)
    accuracies = [
        float(np.mean([fold.accuracy for fold in folds if fold.fold == k]))
        for k in dict.fromkeys(fold.fold for fold in folds)
    ]
    recipe = outcomes[0].unit.recipe
    return Result(
        recipe=recipe,
        protocol=outcomes[0].unit.protocol,
        seeds=seeds,
        folds=folds,
        test=test,
        labels=labels,
        probabilities=probabilities,
        thresholds=thresholds,
        summary=_counting_clips(
            tagging.judge(dataset, test, probabilities, thresholds=thresholds, seed=recipe.seed), len(seeds)
        ),
        fold_mean=float(np.mean(accuracies)),
        fold_sd=_sd(accuracies),
        leak=splits.leak(dataset, [outcome.unit.split for outcome in outcomes]) if dataset.sources_known else None,
        seconds={
            "features": features_s,
            "training": sum(outcome.training_s for outcome in outcomes),
            "testing": sum(outcome.testing_s for outcome in outcomes),
        },
        ece_uncalibrated=_ece_uncalibrated(labels, outcomes, order),
        ece_if_calibrated=None if dataset.multi_label else metrics.ece_if_calibrated(probabilities, seed=recipe.seed),
    )


def _ece_uncalibrated(labels: np.ndarray, outcomes: Sequence[Outcome], order: np.ndarray) -> float:
    """The ECE of all answers with each unit's temperature undone; NaN where no unit was calibrated."""
    if not any(outcome.n_validation or outcome.temperature != 1 for outcome in outcomes):
        return float("nan")
    several = labels.ndim == 2
    activation = "sigmoid" if several else "softmax"
    before = [calibration.undone(one.probabilities, one.temperature, activation) for one in outcomes]
    return (tagging.ece if several else metrics.ece)(labels, np.concatenate(before)[order])


def _counting_clips(
    summary: metrics.Summary | tagging.MultiSummary, n_seeds: int
) -> metrics.Summary | tagging.MultiSummary:
    """The summary of answers, ``n_seeds`` to each clip, with clips where it counted answers (not in the confusion)."""
    if isinstance(summary, tagging.MultiSummary):
        scores = tuple(replace(one, support=one.support // n_seeds) for one in summary.per_class)
        return replace(summary, n=summary.n // n_seeds, per_class=scores)
    return replace(
        summary,
        n=summary.n // n_seeds,
        per_class=tuple(replace(scores, support=scores.support // n_seeds) for scores in summary.per_class),
        per_salience={mark: {**of, "n": of["n"] // n_seeds} for mark, of in summary.per_salience.items()},
    )


def _sd(values: Sequence[float]) -> float:
    """The sample standard deviation; NaN of one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _fold_result(dataset: Dataset, outcome: Outcome) -> FoldResult:
    split = outcome.unit.split
    return FoldResult(
        fold=split.fold,
        seed=outcome.unit.recipe.seed,
        n_train=len(split.train),
        n_test=len(split.test),
        accuracy=tagging.headline(tagging.truth_of(dataset, split.test), outcome.probabilities),
        history=outcome.history,
        model=outcome.model,
        threads=outcome.engine["threads"],
        precision=outcome.engine["precision"],
        temperature=outcome.temperature,
        n_validation=outcome.n_validation,
    )


def _thresholds(outcome: Outcome) -> np.ndarray:
    """Those of the unit's model for each of its test clips, float64 [n_test, classes]."""
    given = np.array(tagging.THRESHOLD if outcome.thresholds is None else outcome.thresholds, np.float64)
    return np.broadcast_to(given, outcome.probabilities.shape)


def _comparison(dataset: Dataset, a: Result, b: Result) -> Comparison:
    paired = tagging.paired_difference if dataset.multi_label else metrics.paired_difference
    difference = paired(a.labels, a.probabilities, b.probabilities, sources=dataset.sources[a.test], seed=a.recipe.seed)
    if len(a.seeds) > 1:  # McNemar's test takes each clip for a draw of its own: it may stand there once only
        n = len(a.test) // len(a.seeds)
        difference = replace(difference, clips=n)
        if not dataset.multi_label:
            first = [metrics.top_class(one.probabilities[:n]) == one.labels[:n] for one in (a, b)]
            difference = replace(difference, mcnemar_p=metrics.mcnemar_p(*first))
    return Comparison(protocol=a.protocol, recipes=(a.recipe.name, b.recipe.name), difference=difference)


def _result_json(result: Result) -> dict[str, Any]:
    expected = result.ece_if_calibrated
    return {
        "recipe": result.recipe.name,
        "settings": result.recipe.settings(),
        "protocol": result.protocol,
        "n_train": round(
            sum(fold.n_train for fold in result.folds) / len(result.folds)
        ),  # each fold's own stands below
        **result.summary.to_json(),
        "ece_uncalibrated": _told(result.ece_uncalibrated),
        "ece_if_calibrated": expected and expected.mean,
        "ece_if_calibrated_high": expected and expected.high,
        "folds": [
            {
                "fold": f.fold,
                "seed": f.seed,
                "n": f.n_test,
                "n_train": f.n_train,
                result.summary.headline.key: f.accuracy,
                "precision": f.precision,
                "threads": f.threads,
                "temperature": f.temperature,
                "calibrated_on": f.n_validation,
            }
            for f in result.folds
        ],
        "fold_mean": result.fold_mean,
        "fold_sd": _told(result.fold_sd),
        "seeds": [
            {"seed": seed, result.summary.headline.key: accuracy}
            for seed, accuracy in zip(result.seeds, result.seed_accuracies, strict=True)
        ],
        "seed_mean": float(np.mean(result.seed_accuracies)),
        "seed_sd": _told(result.seed_sd),
        "leak": {key: result.leak and getattr(result.leak, key) for key in Leak.__dataclass_fields__},
        "seconds": dict(result.seconds),
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    found = comparison.difference
    return {
        "protocol": comparison.protocol,
        "recipes": list(comparison.recipes),
        "difference": found.difference,
        "interval": metrics.ends(found.interval),
        "p": _told(found.p),
        "mcnemar_p": _told(found.mcnemar_p),
        "clips": found.clips,
        "recordings": found.recordings,
    }


def _told(value: float) -> float | None:
    """The number, or ``None`` where it is not one: JSON has no NaN."""
    return value if math.isfinite(value) else None

"""Recipes × protocols × folds to an ``Evaluation``: train on one part, test on the other, say how good, how surely.

A run stands in a folder, and the same call goes on with it, unit by unit, after a kill:

    RUN/<recipe>/random/{model.onnx, history.csv, recipe.toml, predictions.csv}
    RUN/<recipe>/folds/predictions.csv                       every test clip once
    RUN/<recipe>/folds/fold-<k>/{...}
    RUN/metrics.json
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark import atomic, features, metrics, predictions, provenance, runs, splits, tagging, workers
from soundmark.datasets import Dataset, Skipped
from soundmark.errors import OutputError
from soundmark.features import Features
from soundmark.plans import Plan, unit_folder
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
    n_train: int
    n_test: int
    accuracy: float  # of multi-label data the mAP
    history: tuple[Epoch, ...]
    model: Path
    threads: int
    precision: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """One recipe under one protocol, every test clip once."""

    recipe: Recipe
    protocol: str
    folds: tuple[FoldResult, ...]
    test: np.ndarray  # int64 [n] indices into the data set's clips, ascending
    labels: np.ndarray  # int64 [n]; of multi-label data its targets, float32 [n, classes]
    probabilities: np.ndarray  # float32 [n, classes]
    thresholds: np.ndarray | None = None  # [n, classes]: from which on a class of multi-label data is there
    summary: metrics.Summary | tagging.MultiSummary
    fold_mean: float
    fold_sd: float  # NaN where there is one fold
    leak: Leak | None  # None where it is not known which clips share a recording
    seconds: Mapping[str, float]  # features, training, testing


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

    >>> from soundmark import plans
    >>> found = compare(plans.plan(city, [recipe], protocols=["random"]), folder / "run")
    >>> found.results[0].summary.n, len(found.results[0].folds)
    (20, 1)
    """
    folder, dataset = Path(folder), plan.dataset
    with runs.only_one(folder):
        if fresh:
            runs.clear(folder)
        _refuse_other_data(folder, dataset)
        stores = _stores(plan, jobs, fresh, progress)
        usable = np.logical_and.reduce([store.usable for store in stores.values()])
        units = _units(plan, folder, usable)
        # All are looked for first: a folder of another run is refused before the first hour is spent on it.
        found = [runs.find(unit, dataset, stores[unit.recipe.name]) for unit in units]
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
            if result.protocol == "folds":
                path = folder / result.recipe.name / "folds" / "predictions.csv"
                predictions.write(path, dataset, result.test, result.probabilities, result.thresholds)
        text = json.dumps(runs.sealed(evaluation.to_json()), indent=1, ensure_ascii=False, allow_nan=False)
        # A name that is not UTF-8 has lone surrogates; as \udcff they are JSON.
        atomic.write_bytes(folder / "metrics.json", f"{text}\n".encode(errors="backslashreplace"))
    return evaluation


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
            recipe=recipe,
            protocol=protocol,
            split=runs.usable(split, usable),
            folder=unit_folder(folder, recipe, protocol, split),
        )
        for recipe in plan.recipes
        for protocol, chosen in plan.splits.items()
        for split in chosen
    ]
    for unit in units:
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
    there = {*folder.glob("*/random/model.onnx"), *folder.glob("*/folds/fold-*/model.onnx")}
    others = sorted(
        path.parent.relative_to(folder).as_posix() for path in there - {u.folder / "model.onnx" for u in units}
    )
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
    test = np.concatenate([outcome.unit.split.test for outcome in outcomes])
    order = np.argsort(test, kind="stable")
    test = test[order]
    labels = tagging.truth_of(dataset, test)
    probabilities = np.concatenate([outcome.probabilities for outcome in outcomes])[order]
    thresholds = np.concatenate([_thresholds(outcome) for outcome in outcomes])[order]
    folds = tuple(_fold_result(dataset, outcome) for outcome in outcomes)
    accuracies = [fold.accuracy for fold in folds]
    recipe = outcomes[0].unit.recipe
    return Result(
        recipe=recipe,
        protocol=outcomes[0].unit.protocol,
        folds=folds,
        test=test,
        labels=labels,
        probabilities=probabilities,
        thresholds=thresholds,
        summary=tagging.judge(dataset, test, probabilities, thresholds=thresholds, seed=recipe.seed),
        fold_mean=float(np.mean(accuracies)),
        fold_sd=float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else float("nan"),
        leak=splits.leak(dataset, [outcome.unit.split for outcome in outcomes]) if dataset.sources_known else None,
        seconds={
            "features": features_s,
            "training": sum(outcome.training_s for outcome in outcomes),
            "testing": sum(outcome.testing_s for outcome in outcomes),
        },
    )


def _fold_result(dataset: Dataset, outcome: Outcome) -> FoldResult:
    split = outcome.unit.split
    return FoldResult(
        fold=split.fold,
        n_train=len(split.train),
        n_test=len(split.test),
        accuracy=tagging.headline(tagging.truth_of(dataset, split.test), outcome.probabilities),
        history=outcome.history,
        model=outcome.model,
        threads=outcome.engine["threads"],
        precision=outcome.engine["precision"],
    )


def _thresholds(outcome: Outcome) -> np.ndarray:
    """Those of the unit's model for each of its test clips, float64 [n_test, classes]."""
    given = np.array(tagging.THRESHOLD if outcome.thresholds is None else outcome.thresholds, np.float64)
    return np.broadcast_to(given, outcome.probabilities.shape)


def _comparison(dataset: Dataset, a: Result, b: Result) -> Comparison:
    paired = tagging.paired_difference if dataset.multi_label else metrics.paired_difference
    difference = paired(a.labels, a.probabilities, b.probabilities, sources=dataset.sources[a.test], seed=a.recipe.seed)
    return Comparison(protocol=a.protocol, recipes=(a.recipe.name, b.recipe.name), difference=difference)


def _result_json(result: Result) -> dict[str, Any]:
    return {
        "recipe": result.recipe.name,
        "settings": result.recipe.settings(),
        "protocol": result.protocol,
        "n_train": round(
            sum(fold.n_train for fold in result.folds) / len(result.folds)
        ),  # each fold's own stands below
        **result.summary.to_json(),
        "folds": [
            {
                "fold": f.fold,
                "n": f.n_test,
                "n_train": f.n_train,
                result.summary.headline.key: f.accuracy,
                "precision": f.precision,
                "threads": f.threads,
            }
            for f in result.folds
        ],
        "fold_mean": result.fold_mean,
        "fold_sd": _told(result.fold_sd),
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

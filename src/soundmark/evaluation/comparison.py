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
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from itertools import combinations
from numbers import Integral
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np

from soundmark.datasets import Dataset, Skipped, features, leakage
from soundmark.datasets.features import Features
from soundmark.errors import OutputError, SettingsError
from soundmark.evaluation import DEFAULT_RECIPES, DEFAULT_SEEDS
from soundmark.evaluation.plan import Plan, leakage_warnings, make_plan, unfinished
from soundmark.evaluation.results import Comparison, Evaluation, FoldResult, Result, standard_deviation
from soundmark.metrics import thresholds
from soundmark.metrics.predictions import write_predictions
from soundmark.metrics.task import Task
from soundmark.models import weights
from soundmark.runtime import atomic, provenance
from soundmark.runtime.checks import check_jobs
from soundmark.runtime.progress import Progress, no_progress
from soundmark.spectrograms import Representation
from soundmark.training import DEFAULT_DEVICE, named_recipes
from soundmark.training.recipe import Recipe
from soundmark.training.run_folder import (
    clear_run,
    exclusive_run,
    is_intact,
    protocol_folder,
    unit_folder,
    unit_folders,
    with_figures_checksum,
)
from soundmark.training.single_model import (
    open_dataset,
    results_folder,
    warn_skipped,
)
from soundmark.training.unit import Outcome, Unit, check_split, engine_for, find_finished, train_unit, usable_split

log = logging.getLogger("soundmark")


def compare(
    dataset: Dataset | str | PathLike[str],
    recipes: str | PathLike[str] | Recipe | Sequence[str | PathLike[str] | Recipe] = DEFAULT_RECIPES,
    folder: str | PathLike[str] | None = None,
    *,
    protocols: str | Sequence[str] | None = None,
    folds: int | Sequence[int] | None = None,
    seeds: int = DEFAULT_SEEDS,
    subset: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    jobs: int | None = None,
    device: str = DEFAULT_DEVICE,
    fresh: bool = False,
    quiet: bool = False,
) -> Evaluation:
    """Train and test recipes on one data set; write models, predictions, metrics.json and report.html to ``folder``.

    The same call again resumes an interrupted comparison, or reads a finished one. Clips that cannot be used are
    named in warnings.

    Args:
        dataset: a ``Dataset``, or the path of one.
        recipes: names of recipes, .toml files or ``Recipe`` objects; one or several.
        folder: where the results are written.
        protocols: "random", "folds" or "grouped" (by recording); one or several. Default: random, and folds or grouped.
        folds: the official folds to test, each by a model trained on all others; one or several. Default: all.
        seeds: how often each training is repeated, with another seed each time.
        subset: a named part of the data set, "esc10" of ESC-50.
        epochs: instead of each recipe's own.
        batch_size: instead of each recipe's own.
        learning_rate: instead of each recipe's own.
        seed: of weights, order and dropout, instead of each recipe's own.
        jobs: parallel workers; default: all cores.
        device: "auto", "cpu", "cuda" or "mps".
        fresh: start over instead of resuming.
        quiet: show no progress.

    Raises:
        SettingsError: an unknown recipe, protocol, fold or device, a value that is not allowed, or no folder.
        DatasetError: the path is not a data set, or has too few clips.
        OutputError: the folder cannot be written, or holds another run.

    >>> run = compare(city, recipe, folder / "run", protocols="random", quiet=True)
    >>> run.results[0].summary.n, (folder / "run" / "report.html").exists()
    (20, True)
    """
    command = _call_text(dict(locals()))
    folder = results_folder(folder)
    chosen = [
        named_recipes.recipe(one, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
        for one in _several("recipes", recipes, str | PathLike | Recipe, "names, .toml files or Recipes")
    ]
    check_jobs(jobs)
    engine_for([], device)  # a device that does not exist is refused before the features are computed
    plan = make_plan(
        open_dataset(dataset, subset),
        chosen,
        protocols=_protocol_names(protocols),
        folds=_fold_numbers(folds),
        seeds=seeds,
    )
    from soundmark.runtime.progress_bars import progress_bars  # rich is loaded when it is needed

    with progress_bars(quiet) as progress:
        found = run_and_report(plan, folder, jobs=jobs, device=device, fresh=fresh, command=command, progress=progress)
    warn_skipped(plan.dataset, found.skipped)
    return found


def _several(name: str, values: Any, single: type | UnionType, what: str) -> Sequence[Any]:
    """The values as a list; one of the type ``single`` is a list of its own."""
    if isinstance(values, single):
        return [values]
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise SettingsError(f"{name} is {values!r}: give {what}, one or a list.")
    return list(values)


def _protocol_names(protocols: str | Sequence[str] | None) -> Sequence[str] | None:
    if protocols is None:
        return None
    return _several("protocols", protocols, str, "names of protocols")


def _fold_numbers(folds: int | Sequence[int] | None) -> list[int] | None:
    """The folds as a list of Python's whole numbers."""
    if folds is None:
        return None
    asked = _several("folds", folds, Integral, "fold numbers")
    for fold in asked:
        if not isinstance(fold, Integral) or isinstance(fold, bool):
            raise SettingsError(f"folds holds {fold!r}: give fold numbers, as 1 or [1, 2, 10].")
    return [int(fold) for fold in asked]


def _call_text(arguments: Mapping[str, Any]) -> str:
    """The call of ``compare`` with these arguments as it is recorded: those at their defaults are left out."""
    defaults = {name: parameter.default for name, parameter in signature(compare).parameters.items()}
    given = {key: value for key, value in arguments.items() if value is not defaults[key]}
    return f"soundmark.compare({', '.join(f'{key}={_value_text(value)}' for key, value in given.items())})"


def _value_text(value: Any) -> str:
    if isinstance(value, Dataset):
        return repr(str(value.root))
    if isinstance(value, Recipe):
        return repr(value.name)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value_text, value))}]"
    return repr(str(value) if isinstance(value, PathLike) else value)


def run_and_report(
    plan: Plan,
    folder: Path,
    *,
    jobs: int | None = None,
    device: str = DEFAULT_DEVICE,
    fresh: bool = False,
    command: str = "",
    progress: Progress = no_progress,
) -> Evaluation:
    """Carry out ``plan`` in ``folder`` as ``run_plan`` does, and write ``report.html``.

    Raises:
        OutputError, DatasetError: as ``run_plan``.

    >>> found = run_and_report(make_plan(city, [recipe], protocols=["random"]), folder / "run")
    >>> (folder / "run" / "report.html").exists()
    True
    """
    from soundmark.evaluation import report

    with exclusive_run(folder):
        found = run_plan(plan, folder, jobs=jobs, device=device, fresh=fresh, command=command, progress=progress)
        report.write(found, folder / "report.html")
    return found


def run_plan(
    plan: Plan,
    folder: str | PathLike[str],
    *,
    jobs: int | None = None,
    device: str = DEFAULT_DEVICE,
    fresh: bool = False,
    command: str = "",
    progress: Progress = no_progress,
) -> Evaluation:
    """Carry out ``plan`` in ``folder``: write its units, predictions and ``metrics.json``, and say what was found.

    A clip that cannot be read is left out of every recipe, after the split is drawn, and named in ``skipped``.

    Raises:
        OutputError: ``folder`` cannot be written, is written to by another process, or holds another run.
        DatasetError: too few clips can be read to train and to test.

    >>> from soundmark.evaluation.plan import make_plan
    >>> found = run_plan(make_plan(city, [recipe], protocols=["random"]), folder / "run")
    >>> found.results[0].summary.n, len(found.results[0].folds)
    (20, 1)
    """
    folder, dataset = Path(folder), plan.dataset
    with exclusive_run(folder):
        if fresh:
            clear_run(folder)
        _check_same_data(folder, dataset)
        for name in {recipe.network for recipe, _ in unfinished(plan, folder) if recipe.is_pretrained}:
            weights.find(name, progress)  # before hours are spent on what comes first
        stores = _stores(plan, jobs, fresh, progress)
        usable = np.logical_and.reduce([store.usable for store in stores.values()])
        units = _units(plan, folder, usable)
        # All are looked for first: a folder of another run is refused before the first hour is spent on it.
        found = [find_finished(unit, dataset, stores[unit.recipe.name]) for unit in units]
        for doubt in leakage_warnings(plan, usable) if not all(found) else ():
            log.warning("%s", doubt)
        outcomes: list[Outcome] = []
        for number, (unit, done) in enumerate(zip(units, found, strict=True), 1):
            report = _numbered(progress, number, len(units))
            if done:
                report(f"{unit.name}: done before", 1, 1, "trainings")
            else:
                engine = engine_for([*outcomes, *found], device)
                done = train_unit(unit, dataset, stores[unit.recipe.name], engine=engine, progress=report)
            outcomes.append(done)
        _warn_others(folder, units)
        evaluation = _evaluation(plan, outcomes, stores, _skipped(dataset, stores), command)
        for result in evaluation.results:
            if result.folds[0].fold is not None:  # a random split's stand there already, as its unit's
                _write_pooled(folder, dataset, plan, result)
        text = json.dumps(with_figures_checksum(evaluation.to_json()), indent=1, ensure_ascii=False, allow_nan=False)
        # A name that is not UTF-8 has lone surrogates; as \udcff they are JSON.
        atomic.write_bytes(folder / "metrics.json", f"{text}\n".encode(errors="backslashreplace"))
    return evaluation


def _write_pooled(folder: Path, dataset: Dataset, plan: Plan, result: Result) -> None:
    """The predictions of all folds together, a file for each seed."""
    n = len(result.test) // plan.seeds
    for i, seeded in enumerate(plan.repeats(result.recipe)):
        place = protocol_folder(folder, seeded, result.protocol, seeds=plan.seeds)
        rows = slice(i * n, (i + 1) * n)
        write_predictions(place / "predictions.csv", dataset, result.test[rows], result.probabilities[rows])


def _stores(plan: Plan, jobs: int | None, fresh: bool, progress: Progress) -> dict[str, Features]:
    """The features of each recipe, by its name; recipes that share a representation share a store."""
    built: dict[Representation, Features] = {}
    for representation in dict.fromkeys(recipe.representation for recipe in plan.recipes):
        built[representation] = features.build(plan.dataset, representation, jobs=jobs, fresh=fresh, progress=progress)
    features.warn_incomplete(note for store in built.values() for note in store.notes)
    return {recipe.name: built[recipe.representation] for recipe in plan.recipes}


def _units(plan: Plan, folder: Path, usable: np.ndarray) -> list[Unit]:
    units = [
        Unit(
            recipe=seeded,
            protocol=protocol,
            split=usable_split(split, usable),
            folder=unit_folder(folder, seeded, protocol, split, seeds=plan.seeds),
            seeds=plan.seeds,
        )
        for recipe in plan.recipes
        for protocol, chosen in plan.splits.items()
        for seeded in plan.repeats(recipe)
        for split in chosen
    ]
    for unit in units:
        if unit.recipe in plan.recipes:  # what is said of the first seed's holds for all
            check_split(unit, plan.dataset)
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


def _warn_others(folder: Path, units: Sequence[Unit]) -> None:
    """Say which finished trainings of the folder are not part of what is told now."""
    there = {place for place in unit_folders(folder)[1:] if (place / "model.onnx").exists()}
    others = sorted(place.relative_to(folder).as_posix() for place in there - {unit.folder for unit in units})
    if others:
        log.warning("the folder also holds trainings that are not in this table: %s", ", ".join(others))


def _check_same_data(folder: Path, dataset: Dataset) -> None:
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
    if not is_intact(before):
        log.warning('"%s" was damaged or changed after it was written: it is written again', path)
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
    task = Task.of(dataset.multi_label)
    labels = task.truth(dataset, test)
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
        summary=task.score(dataset, test, probabilities, thresholds=thresholds, seed=recipe.seed).per_clip(len(seeds)),
        fold_mean=float(np.mean(accuracies)),
        fold_sd=standard_deviation(accuracies),
        leak=leakage.measure_leakage(dataset, [outcome.unit.split for outcome in outcomes])
        if dataset.sources_known
        else None,
        seconds={
            "features": features_s,
            "training": sum(outcome.training_s for outcome in outcomes),
            "testing": sum(outcome.testing_s for outcome in outcomes),
        },
        ece_uncalibrated=_ece_uncalibrated(task, labels, outcomes, order),
        ece_if_calibrated=task.ece_if_calibrated(probabilities, seed=recipe.seed),
    )


def _ece_uncalibrated(task: Task, labels: np.ndarray, outcomes: Sequence[Outcome], order: np.ndarray) -> float:
    """The ECE of all answers with each unit's temperature undone; NaN where no unit was calibrated."""
    if not any(outcome.n_validation or outcome.temperature != 1 for outcome in outcomes):
        return float("nan")
    before = [task.undo_temperature(one.probabilities, one.temperature) for one in outcomes]
    return task.ece(labels, np.concatenate(before)[order])


def _fold_result(dataset: Dataset, outcome: Outcome) -> FoldResult:
    split, task = outcome.unit.split, Task.of(dataset.multi_label)
    return FoldResult(
        fold=split.fold,
        seed=outcome.unit.recipe.seed,
        n_train=len(split.train),
        n_test=len(split.test),
        accuracy=task.headline(task.truth(dataset, split.test), outcome.probabilities),
        history=outcome.history,
        model=outcome.model,
        threads=outcome.engine["threads"],
        precision=outcome.engine["precision"],
        temperature=outcome.temperature,
        n_validation=outcome.n_validation,
    )


def _thresholds(outcome: Outcome) -> np.ndarray:
    """Those of the unit's model for each of its test clips, float64 [n_test, classes]."""
    given = np.array(thresholds.THRESHOLD if outcome.thresholds is None else outcome.thresholds, np.float64)
    return np.broadcast_to(given, outcome.probabilities.shape)


def _comparison(dataset: Dataset, a: Result, b: Result) -> Comparison:
    difference = a.task.paired_difference(
        a.labels, a.probabilities, b.probabilities, sources=dataset.sources[a.test], seed=a.recipe.seed
    )
    if len(a.seeds) > 1:  # McNemar's test takes each clip for a draw of its own: it may stand there once only
        n = len(a.test) // len(a.seeds)
        mcnemar_p = a.task.mcnemar_p(a.labels[:n], a.probabilities[:n], b.probabilities[:n])
        difference = replace(difference, clips=n, mcnemar_p=mcnemar_p)
    return Comparison(protocol=a.protocol, recipes=(a.recipe.name, b.recipe.name), difference=difference)

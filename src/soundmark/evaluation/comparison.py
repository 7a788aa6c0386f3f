"""Run a comparison: train and test recipes × protocols × folds, and collect the results in an ``Evaluation``.

A run is a folder. After an interruption, the same call resumes it unit by unit:

    RUN/<recipe>/random/{model.onnx, history.csv, recipe.toml, predictions.csv}
    RUN/<recipe>/folds/predictions.csv                       every test clip once, all folds pooled
    RUN/<recipe>/folds/fold-<k>/{...}
    RUN/<recipe>/grouped/...                                 same as folds
    RUN/metrics.json

With several seeds, the protocol's folder has one folder ``seed-<n>`` for each.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from inspect import signature
from itertools import combinations
from math import comb
from numbers import Integral
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np

from soundmark.datasets import Dataset, Skipped, features, leakage
from soundmark.datasets.features import Features
from soundmark.datasets.protocols import protocol_of
from soundmark.errors import OutputError, SettingsError
from soundmark.evaluation import DEFAULT_SEEDS
from soundmark.evaluation.curve_run import check_curves, measure_curves
from soundmark.evaluation.plan import Plan, leakage_warnings, make_plan, preset_or, unfinished
from soundmark.evaluation.results import Comparison, Evaluation, FoldResult, Result, standard_deviation
from soundmark.metrics import thresholds, verdicts
from soundmark.metrics.predictions import write_predictions
from soundmark.metrics.task import Task
from soundmark.metrics.verdicts import Baseline
from soundmark.models.pretrained import weights
from soundmark.runtime import atomic, parallel, provenance
from soundmark.runtime.checks import check_jobs, parse_json
from soundmark.runtime.output_folder import OutputFolder
from soundmark.runtime.progress import Progress, no_progress, numbered
from soundmark.training import DEFAULT_BACKGROUND, DEFAULT_DEVICE, named_recipes
from soundmark.training.methods import build_features, features_key
from soundmark.training.recipe import Recipe
from soundmark.training.run_folder import (
    check_units,
    clear_run,
    exclusive_run,
    is_intact,
    protocol_folder,
    unit_folder,
    unit_folders,
    with_figures_checksum,
)
from soundmark.training.single_model import open_dataset, prepare, results_folder, warn_skipped
from soundmark.training.unit import (
    Outcome,
    Unit,
    check_device,
    check_split,
    engine_for,
    find_finished,
    train_unit,
    usable_split,
    warn_few_steps,
)
from soundmark.training.unit_on_cluster import train_units

log = logging.getLogger("soundmark")


def compare(
    dataset: Dataset | str | PathLike[str],
    recipes: str | PathLike[str] | Recipe | Sequence[str | PathLike[str] | Recipe] | None = None,
    folder: str | PathLike[str] | None = None,
    *,
    preset: str | None = None,
    protocols: str | Sequence[str] | None = None,
    folds: int | Sequence[int] | None = None,
    seeds: int = DEFAULT_SEEDS,
    subset: str | None = None,
    complete: bool = False,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    backbone: str | None = None,
    backbone_output: str | None = None,
    backbone_rate_hz: int | None = None,
    seed: int | None = None,
    window_s: float | None = None,
    background: str | Sequence[str] = DEFAULT_BACKGROUND,
    time_expansion: float | None = None,
    band: tuple[float, float] | None = None,
    jobs: int | None = None,
    cluster: Any = None,
    device: str = DEFAULT_DEVICE,
    curve: bool = False,
    fresh: bool = False,
    quiet: bool = False,
) -> Evaluation:
    """Train and test recipes on one data set; write models, predictions, metrics.json and report.html to ``folder``.

    Calling it again with the same arguments resumes an interrupted comparison, or reads a finished one. Clips that
    cannot be used are skipped and named in warnings.

    Args:
        dataset: a ``Dataset``, or the path of one.
        recipes: names of recipes, .toml files or ``Recipe`` objects; one or several. Default: transfer, notebook-mel.
        folder: where the results are written.
        preset: "notebook" for the notebook's experiment: its recipes notebook-image and notebook-mel.
        protocols: "random", "folds" or "grouped" (by recording); one or several. Default: random, and folds or grouped.
        folds: the official folds to test, each by a model trained on all others; one or several. Default: all.
        seeds: number of trainings of each recipe on each split, each with another seed.
        subset: a named part of the data set, such as "esc10" of ESC-50.
        complete: everything of interest is annotated, as in ``Dataset.open``.
        epochs: overrides the recipes' number of epochs.
        batch_size: overrides the recipes' batch size.
        learning_rate: overrides the recipes' learning rate.
        backbone: "mn04", "mn10" or an .onnx file, the pretrained network of recipes with a backbone.
        backbone_output: the output of the file that is the embedding, if its metadata do not say so.
        backbone_rate_hz: the sample rate of the file's input, if its metadata do not say so.
        seed: overrides the recipes' seed, of initial weights, clip order and dropout.
        window_s: window of the model in seconds; longer clips are cut into windows. Default: from the durations.
        background: "auto", "none", or labels that mean "none of these"; see ``with_background``.
        time_expansion: analyse sounds as if played this many times slower (ultrasound: above 1).
        band: lowest and highest frequency of the spectrograms, in Hz.
        jobs: parallel workers; default: all cores.
        cluster: a Dask cluster for the work: the address of its scheduler, "local", or a ``distributed.Client``.
        device: "auto", "cpu", "cuda" or "mps".
        curve: measure the learning curve of recipes with a backbone too, for the report; see ``learning_curve``.
        fresh: start over instead of resuming.
        quiet: show no progress.

    Raises:
        SettingsError: an unknown recipe, protocol, fold or device, a value that is not allowed, or no folder.
        DatasetError: the path is not a data set, or has too few clips.
        OutputError: the folder cannot be written, or contains another run.

    >>> run = compare(city, recipe, folder / "run", protocols="random", quiet=True)
    >>> run.results[0].summary.n, (folder / "run" / "report.html").exists()
    (20, True)
    """
    command = _call_text(dict(locals()))
    folder = results_folder(folder, recipes)
    fields = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "backbone": backbone}
    fields |= {"backbone_output": backbone_output, "backbone_rate_hz": backbone_rate_hz, "window_s": window_s}
    given = preset_or(_recipe_names(recipes), preset)
    chosen = named_recipes.changed_recipes(given, **fields, seed=seed, time_expansion=time_expansion, band=band)
    check_jobs(jobs)
    check_device(chosen, device)  # before the features are computed
    plan = make_plan(
        prepare(open_dataset(dataset, subset, complete=complete), chosen, window_s=window_s, background=background),
        chosen,
        protocols=_protocol_names(protocols),
        folds=_fold_numbers(folds),
        seeds=seeds,
    )
    from soundmark.runtime.progress_bars import progress_bars  # imports rich, so only where it is needed

    with parallel.workers(cluster, jobs) as workers, progress_bars(quiet) as progress:
        found = run_and_report(
            plan, folder, jobs=workers, device=device, curve=curve, fresh=fresh, command=command, progress=progress
        )
    warn_skipped(plan.dataset, found.skipped)
    return found


def _several(name: str, values: Any, single: type | UnionType, what: str) -> Sequence[Any]:
    """Return the values as a list; a single value of type ``single`` becomes a list of one."""
    if isinstance(values, single):
        return [values]
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise SettingsError(f"{name} is {values!r}: expected {what}, one or a list.")
    return list(values)


def _recipe_names(recipes: Any) -> Sequence[Any] | None:
    if recipes is None:
        return None
    return _several("recipes", recipes, str | PathLike | Recipe, "names, .toml files or Recipes")


def _protocol_names(protocols: str | Sequence[str] | None) -> Sequence[str] | None:
    if protocols is None:
        return None
    return _several("protocols", protocols, str, "names of protocols")


def _fold_numbers(folds: int | Sequence[int] | None) -> list[int] | None:
    """Return the folds as a list of ``int``."""
    if folds is None:
        return None
    numbers = _several("folds", folds, Integral, "fold numbers")
    for fold in numbers:
        if not isinstance(fold, Integral) or isinstance(fold, bool):
            raise SettingsError(f"folds contains {fold!r}: expected fold numbers, such as 1 or [1, 2, 10].")
    return [int(fold) for fold in numbers]


def _call_text(arguments: Mapping[str, Any]) -> str:
    """Format the call of ``compare`` for the report, without the arguments that have their default values."""
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
    jobs: parallel.Jobs = None,
    device: str = DEFAULT_DEVICE,
    curve: bool = False,
    fresh: bool = False,
    command: str = "",
    progress: Progress = no_progress,
) -> Evaluation:
    """Run ``plan`` in ``folder`` with ``run_plan``, and write ``report.html``.

    With ``curve``, the learning curves of recipes with a backbone are part of the report.

    Raises:
        OutputError, DatasetError: as ``run_plan``.
        SettingsError: no recipe has a backbone, and ``curve`` is given.

    >>> found = run_and_report(make_plan(city, [recipe], protocols=["random"]), folder / "run")
    >>> (folder / "run" / "report.html").exists()
    True
    """
    from soundmark.evaluation import report

    if curve:
        check_curves(plan.recipes)
    with exclusive_run(folder):
        found = run_plan(plan, folder, jobs=jobs, device=device, fresh=fresh, command=command, progress=progress)
        curves = measure_curves(plan.dataset, plan.recipes, folder, jobs=jobs, progress=progress) if curve else []
        report.write(found, folder / "report.html", curves)
    return found


def run_plan(
    plan: Plan,
    folder: str | PathLike[str],
    *,
    jobs: parallel.Jobs = None,
    device: str = DEFAULT_DEVICE,
    fresh: bool = False,
    command: str = "",
    progress: Progress = no_progress,
) -> Evaluation:
    """Run ``plan`` in ``folder``: write models, predictions and ``metrics.json``, and return the results.

    A clip that cannot be read is skipped for all recipes, after the split is drawn, and listed in ``skipped``.

    Raises:
        OutputError: ``folder`` cannot be written, is in use by another process, or contains another run.
        DatasetError: too few clips can be read to train and to test.

    >>> from soundmark.evaluation.plan import make_plan
    >>> found = run_plan(make_plan(city, [recipe], protocols=["random"]), folder / "run")
    >>> found.results[0].summary.n, len(found.results[0].folds)
    (20, 1)
    """
    folder, dataset = Path(folder), plan.dataset
    with exclusive_run(folder) as output:
        if fresh:
            clear_run(output)
        check_same_data(folder, dataset)
        _check_files(output, plan)
        for name in {recipe.backbone for recipe, _ in unfinished(plan, folder) if recipe.backbone in weights.WEIGHTS}:
            weights.find(name, progress)  # fail early if pretrained weights are missing
        stores = _stores(plan, jobs, fresh, progress)
        usable = np.logical_and.reduce([store.usable for store in stores.values()])
        units = _units(plan, folder, usable)
        # All units are checked first, so that the folder of another run is rejected before anything is trained.
        found = [find_finished(unit, dataset, stores[unit.recipe.name]) for unit in units]
        for recipe in plan.recipes if not all(found) else ():
            warn_few_steps([unit for unit in units if unit.recipe == recipe], stores[recipe.name])
        for warning in leakage_warnings(plan, usable) if not all(found) else ():
            log.warning("%s", warning)
        outcomes = _outcomes(units, found, dataset, stores, jobs, device, progress)
        _warn_others(folder, units)
        evaluation = _evaluation(plan, outcomes, stores, _skipped(dataset, stores), command)
        for result in evaluation.results:
            if result.folds[0].fold is not None:  # the file of a random split was written by its unit
                _write_pooled(folder, dataset, plan, result)
        text = json.dumps(with_figures_checksum(evaluation.to_json()), indent=1, ensure_ascii=False, allow_nan=False)
        # A file name that is not UTF-8 has lone surrogates; written as \udcff they are valid JSON.
        atomic.write_bytes(folder / "metrics.json", f"{text}\n".encode(errors="backslashreplace"))
    return evaluation


def _outcomes(
    units: Sequence[Unit],
    found: Sequence[Outcome | None],
    dataset: Dataset,
    stores: Mapping[str, Features],
    jobs: parallel.Jobs,
    device: str,
    progress: Progress,
) -> list[Outcome]:
    """Train the units that are not ``found`` finished; return the outcomes of all, in order."""
    outcomes = dict(enumerate(found))
    missing = [number for number, done in outcomes.items() if done is None]
    for number in outcomes.keys() - set(missing):
        numbered(progress, number + 1, len(units))(f"{units[number].name}: already finished", 1, 1, "trainings")
    is_remote = isinstance(jobs, Executor)
    trains_networks = any(units[number].recipe.backbone is None for number in missing)
    engine = engine_for(found, device) if trains_networks else None
    if isinstance(jobs, Executor):
        progress("trainings", len(units) - len(missing), len(units), "trainings")
        trained = train_units(jobs, [units[number] for number in missing], dataset, stores, engine=engine)
        for done, (index, outcome) in enumerate(trained, len(units) - len(missing) + 1):
            outcomes[missing[index]] = outcome
            progress("trainings", done, len(units), "trainings")
    for number in missing if not is_remote else ():
        unit, report = units[number], numbered(progress, number + 1, len(units))
        own = None if unit.recipe.backbone else engine
        outcomes[number] = train_unit(unit, dataset, stores[unit.recipe.name], engine=own, progress=report)
    return [outcome for _, outcome in sorted(outcomes.items()) if outcome]


def _check_files(output: OutputFolder, plan: Plan) -> None:
    """Check that no foreign file is where the run will write, before the features are computed."""
    check_units(output, [output.folder], ["metrics.json", "report.html"])
    for recipe in plan.recipes:
        for protocol, chosen in plan.splits.items():
            for seeded in plan.repeats(recipe):
                pooled = protocol_folder(output.folder, seeded, protocol, seeds=plan.seeds)
                check_units(output, [pooled], ["predictions.csv"])
                units = [unit_folder(output.folder, seeded, protocol, split, seeds=plan.seeds) for split in chosen]
                check_units(output, units)


def _write_pooled(folder: Path, dataset: Dataset, plan: Plan, result: Result) -> None:
    """Write the predictions of all folds into one file for each seed."""
    n = len(result.test) // plan.seeds
    for i, seeded in enumerate(plan.repeats(result.recipe)):
        target = protocol_folder(folder, seeded, result.protocol, seeds=plan.seeds)
        rows = slice(i * n, (i + 1) * n)
        write_predictions(target / "predictions.csv", dataset, result.test[rows], result.probabilities[rows])


def _stores(plan: Plan, jobs: parallel.Jobs, fresh: bool, progress: Progress) -> dict[str, Features]:
    """Build the feature store of each recipe, by recipe name; recipes with the same features share one."""
    built: dict[tuple[object, ...], Features] = {}
    for recipe in plan.recipes:
        if _features_key(recipe) not in built:
            built[_features_key(recipe)] = build_features(
                plan.dataset, recipe, jobs=jobs, fresh=fresh, progress=progress
            )
    features.warn_incomplete(note for store in built.values() for note in store.notes)
    features.report_windows(built.values())
    features.warn_suspicious(plan.dataset, next(iter(built.values())), range(len(plan.dataset.clips)))
    return {recipe.name: built[_features_key(recipe)] for recipe in plan.recipes}


def _features_key(recipe: Recipe) -> tuple[object, ...]:
    """What the features of a recipe and of its backgrounds depend on."""
    backgrounds = (recipe.backgrounds, recipe.recorded_backgrounds) if recipe.backbone else (0, 0)
    return *features_key(recipe), backgrounds


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
        if unit.recipe in plan.recipes:  # the first seed is enough: all seeds have the same splits
            check_split(unit, plan.dataset)
    return units


def _skipped(dataset: Dataset, stores: Mapping[str, Features]) -> tuple[Skipped, ...]:
    """List the skipped clips, each once: first those missing from the data set, then those that could not be read."""
    unreadable = {
        clip: item
        for store in stores.values()
        for clip, item in zip(np.flatnonzero(~store.usable), store.skipped, strict=True)
    }
    return (*dataset.skipped, *(unreadable[clip] for clip in sorted(unreadable)))


def _warn_others(folder: Path, units: Sequence[Unit]) -> None:
    """Warn of finished trainings in the folder that are not part of this comparison."""
    finished = {path for path in unit_folders(folder)[1:] if (path / "model.onnx").exists()}
    others = sorted(path.relative_to(folder).as_posix() for path in finished - {unit.folder for unit in units})
    if others:
        log.warning("the folder also contains trainings that are not part of this comparison: %s", ", ".join(others))


def check_same_data(folder: Path, dataset: Dataset) -> None:
    """Check that ``metrics.json`` in ``folder``, if there is one, belongs to ``dataset``; warn if it is damaged.

    Raises:
        OutputError: it belongs to another data set, or to ``soundmark evaluate``.

    >>> check_same_data(folder, city)  # an empty folder
    >>> (folder / "metrics.json").write_text('{"note": "all clips"}') > 0
    True
    >>> check_same_data(folder, city)
    Traceback (most recent call last):
    soundmark.errors.OutputError: ... contains the results of `soundmark evaluate`. Choose another folder with -o.
    """
    path = folder / "metrics.json"
    try:
        before = parse_json(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        before = {}
    if isinstance(before, dict) and "note" in before:
        raise OutputError(f'"{folder}" contains the results of `soundmark evaluate`. Choose another folder with -o.')
    if not is_intact(before):
        log.warning('"%s" was damaged or changed after it was written: it is recomputed', path)
    elif before["dataset"]["fingerprint"] != dataset.fingerprint:
        name, fingerprint = before["dataset"]["name"], before["dataset"]["fingerprint"]
        raise OutputError(
            f'"{folder}" contains another run: of {name} (fingerprint {fingerprint}), not of '
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
    results = tuple(pool_outcomes(plan.dataset, group, stores[name].seconds) for (name, _), group in grouped.items())
    return Evaluation(
        dataset=plan.dataset,
        seed=plan.recipes[0].seed,
        results=results,
        comparisons=tuple(
            compare_results(plan.dataset, a, b, pairs=comb(len(plan.recipes), 2))
            for a, b in combinations(results, 2)
            if a.protocol == b.protocol
        ),
        skipped=skipped,
        versions=provenance.versions(),
        machine=provenance.machine(),
        command=command,
    )


def pool_outcomes(dataset: Dataset, outcomes: Sequence[Outcome], features_s: float) -> Result:
    """Pool the outcomes of one recipe under one protocol, over all folds and seeds, into one ``Result``.

    ``features_s`` is the time in seconds that the features took.

    >>> from soundmark.datasets.splits import Split
    >>> split = Split(np.arange(40), np.arange(40, 60))
    >>> unit = Unit(recipe=recipe, protocol="random", split=split, folder=folder)
    >>> perfect = np.eye(10, dtype=np.float32)[city.labels[split.test]]
    >>> engine = {"threads": 1, "precision": "float32"}
    >>> outcome = Outcome(unit=unit, history=(), engine=engine, probabilities=perfect, training_s=1, testing_s=1)
    >>> pool_outcomes(city, [outcome], features_s=1).summary.accuracy
    1.0
    """
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
        summary=task.score(dataset, test, probabilities, thresholds=thresholds).per_clip(len(seeds)),
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
    """Compute the ECE with the temperature scaling of each unit undone; NaN if no unit was calibrated."""
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
    """Return the class thresholds of the unit's model, repeated for each test clip, float64 [n_test, classes]."""
    given = np.array(thresholds.THRESHOLD if outcome.thresholds is None else outcome.thresholds, np.float64)
    return np.broadcast_to(given, outcome.probabilities.shape)


def compare_results(dataset: Dataset, a: Result, b: Result, *, pairs: int = 1) -> Comparison:
    """Compare two recipes on the same test clips: paired difference, interval, p-values and verdict.

    ``pairs`` is the number of pairs that are compared in all, for the Bonferroni correction of the verdict.

    >>> result = city_run.results[0]
    >>> compare_results(city, result, result).difference.difference
    0.0
    """
    difference = a.task.paired_difference(
        a.labels, a.probabilities, b.probabilities, sources=dataset.sources[a.test], seed=a.recipe.seed
    )
    if len(a.seeds) > 1:  # McNemar's test treats clips as independent, so each may occur once: use the first seed
        n = len(a.test) // len(a.seeds)
        mcnemar_p = a.task.mcnemar_p(a.labels[:n], a.probabilities[:n], b.probabilities[:n])
        difference = replace(difference, clips=n, mcnemar_p=mcnemar_p)
    verdict = verdicts.judge(
        difference,
        a.summary.headline.interval,
        b.summary.headline.interval,
        baselines=_baselines(a),
        pairs=pairs,
    )
    return Comparison(
        protocol=a.protocol, recipes=(a.recipe.name, b.recipe.name), difference=difference, verdict=verdict
    )


def _baselines(result: Result) -> tuple[Baseline, ...]:
    """Return the scores that a recipe must exceed: chance, and where data leak, the lookup of the recording."""
    chance = Baseline(name=f"chance ({result.task.words.chance})", score=result.task.chance(result.labels))
    leak = result.leak
    if leak and result.task.lookup_is_comparable and protocol_of(result.protocol).relevant_leakage(leak) > 0:
        name = "a lookup of the recording, without its sound"
        return (chance, Baseline(name=name, score=leak.lookup_accuracy))
    return (chance,)

"""One model from all clips, or from all but one fold."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.datasets import Dataset, Skipped, features, splits
from soundmark.datasets.protocols import ALL, FOLDS, preferred_protocols
from soundmark.datasets.splits import Split
from soundmark.errors import SettingsError
from soundmark.metrics.task import Task
from soundmark.models import bundle, legacy, weights
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.runtime.progress import Progress, no_progress
from soundmark.training.recipe import Recipe
from soundmark.training.run_folder import clear_run, exclusive_run, is_intact
from soundmark.training.unit import (
    Unit,
    check_split,
    differing_settings,
    engine_for,
    find_finished,
    train_unit,
    usable_split,
)


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model that ``train`` made."""

    model: Path
    card: Card
    skipped: tuple[Skipped, ...]


def train_model(
    dataset: Dataset,
    recipe: Recipe,
    folder: Path,
    *,
    test_fold: int | None = None,
    scores: Path | None = None,
    jobs: int | None = None,
    device: str = "auto",
    fresh: bool = False,
    progress: Progress = no_progress,
) -> TrainedModel:
    """One model, ``folder/model.onnx``, from all clips or from all but one fold, which is then scored.

    With ``scores``, the folder of a comparison, its cross-validated scores of this recipe stand on the model's card.

    Raises:
        SettingsError: there is no such fold, or the comparison has no such recipe.
        OutputError: the folder cannot be written, or holds another run.

    >>> train_model(city, recipe, folder / "run").card.training.n_train
    60
    """
    if scores is not None and test_fold is not None:
        raise SettingsError("a model with a test fold has scores of its own: leave out --scores or --test-fold.")
    splits.check_classes(dataset)
    recipe = recipe.for_window(dataset.window_s)
    engine_for([], device)  # a device that is not there is said before the features are computed
    told = {} if scores is None else comparison_scores(scores, recipe, dataset)
    everything = Split(np.arange(len(dataset.clips)), np.arange(0))
    split = everything if test_fold is None else splits.official_folds(dataset, only=[test_fold])[0]
    with exclusive_run(folder):
        if recipe.is_pretrained and (fresh or not (folder / "model.onnx").exists()):
            weights.find(recipe.network, progress)  # before time is spent on what comes first
        store = features.build(dataset, recipe.representation, jobs=jobs, fresh=fresh, progress=progress)
        features.warn_incomplete(store.notes)
        unit = Unit(
            recipe=recipe,
            protocol=(ALL if test_fold is None else FOLDS).name,
            split=usable_split(split, store.usable),
            folder=folder,
        )
        check_split(unit, dataset)
        if fresh:
            clear_run(folder)
        done = find_finished(unit, dataset, store)
        made = done or train_unit(unit, dataset, store, engine=engine_for([], device), progress=progress)
        model = bundle.read_bundle(made.model)
        if told:
            model = Bundle(model.graph, replace(model.card, scores=told))
            model.write(made.model)
    return TrainedModel(model=made.model, card=model.card, skipped=(*dataset.skipped, *store.skipped))


def comparison_scores(folder: Path, recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """What the comparison in ``folder`` found of ``recipe``: on folds, official or by recording, or on a random split.

    Raises:
        SettingsError: there is no comparison, a damaged one, none of this recipe, or one on other data or some folds.

    >>> comparison_scores(folder, recipe, city)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: ...metrics.json" is not the outcome of a comparison: give the folder that ...
    """
    path = folder / "metrics.json"
    try:
        found = json.loads(path.read_bytes().decode())
        results = {
            entry["protocol"]: entry
            for entry in found["results"]
            if legacy.RECIPES.get(entry["recipe"], entry["recipe"]) == recipe.name
        }
        fingerprint = found["dataset"]["fingerprint"]
        _ = [entry["settings"] for entry in results.values()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f'"{path}" is not the outcome of a comparison: give the folder that `soundmark compare` wrote.'
        ) from error
    if not is_intact(found):
        raise SettingsError(
            f'"{path}" was damaged or changed after it was written: run its comparison again, which writes it anew.'
        )
    if not results:
        raise SettingsError(f'the comparison in "{folder}" has no recipe {recipe.name}: compare it first.')
    if fingerprint != dataset.fingerprint:
        raise SettingsError(
            f'the comparison in "{folder}" is of other data (fingerprint {fingerprint}, not {dataset.fingerprint}).'
        )
    result = next((results[name] for name in preferred_protocols() if name in results), next(iter(results.values())))
    if differing := differing_settings(recipe, result["settings"]):
        raise SettingsError(f'the {recipe.name} of "{folder}" is another: it differs in {", ".join(differing)}.')
    if result["protocol"] == FOLDS.name and {fold["fold"] for fold in result["folds"]} != set(dataset.folds):
        raise SettingsError(f'the comparison in "{folder}" tested only some of the folds: test them all first.')
    figure = Task.of(dataset.multi_label).key
    keys = ("protocol", "n_test", figure, f"{figure}_interval", "macro_f1", "ece", "fold_mean", "fold_sd")
    return {"cross_validated": True, **{key: result[key] for key in keys}}

"""Plan a comparison: splits, trainings and estimated time, known before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.datasets import Dataset, leakage, splits
from soundmark.datasets.protocols import PROTOCOLS, default_protocols
from soundmark.datasets.splits import Split
from soundmark.errors import DatasetError, SettingsError, unknown_name
from soundmark.evaluation import DEFAULT_RECIPES, PRESETS
from soundmark.runtime import parallel
from soundmark.runtime.checks import is_count, is_file
from soundmark.runtime.text import counted, estimate, listed
from soundmark.training.methods import features_key, n_features
from soundmark.training.recipe import Recipe
from soundmark.training.run_folder import unit_folder
from soundmark.training.unit import usable_split

MOST_SEEDS = 20


HEAD_S = 0.001  # of fitting a linear head, per clip


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Recipes × protocols × seeds × folds on one data set."""

    dataset: Dataset
    recipes: tuple[Recipe, ...]
    splits: Mapping[str, tuple[Split, ...]]  # protocol → splits of all clips whose files exist
    seeds: int = 1  # trainings per recipe and split, with the seeds recipe.seed, recipe.seed + 1, …

    @property
    def trainings(self) -> int:
        """The number of models to train."""
        return len(self.recipes) * self.seeds * sum(len(chosen) for chosen in self.splits.values())

    def repeats(self, recipe: Recipe) -> tuple[Recipe, ...]:
        """Return the recipe once for each seed.

        Raises:
            SettingsError: a seed is too large.
        """
        return tuple(replace(recipe, seed=recipe.seed + i) for i in range(self.seeds))

    @property
    def store_bytes(self) -> int:
        """The size of the feature stores on disk, in bytes."""
        sizes = {features_key(recipe): n_features(recipe) for recipe in self.recipes}
        return 4 * sum(sizes.values()) * len(self.dataset.clips)


def preset_or(recipes: Sequence[Any] | None, preset: str | None) -> Sequence[Any]:
    """Return the recipes to compare: the given ones, those of a preset, or the default ones.

    Raises:
        SettingsError: an unknown preset, or both recipes and a preset.

    >>> preset_or(None, None), preset_or(None, "notebook"), preset_or(["scratch"], None)
    (('transfer', 'notebook-mel'), ('notebook-image', 'notebook-mel'), ['scratch'])
    """
    if preset is None:
        return DEFAULT_RECIPES if recipes is None else recipes
    if not isinstance(preset, str) or preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    if recipes:
        raise SettingsError(
            f'the preset "{preset}" already names the recipes {listed(PRESETS[preset])}: give either a preset '
            "(--preset) or recipes (--recipe)."
        )
    return PRESETS[preset]


VALIDATION_COST = 0.3  # time of a validation clip (forward pass only) relative to a training clip


def make_plan(
    dataset: Dataset,
    recipes: Sequence[Recipe],
    *,
    protocols: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    seeds: int = 1,
    split_seed: int = 42,
) -> Plan:
    """Plan the comparison of ``recipes`` on ``dataset``; check all arguments.

    The default protocols are ``random`` and one that keeps recordings apart: ``folds`` if the data set has official
    folds, else ``grouped`` if the recording of every clip is known. ``folds`` selects the official folds to *test*;
    each model is still trained on all other folds. ``seeds`` is the number of trainings per recipe and split.
    ``split_seed`` is the seed of the random split and of the folds by recording.

    Raises:
        SettingsError: an unknown protocol or fold, no recipe, duplicate recipes, or a number of seeds out of range.
        DatasetError: the data set lacks the folds or recordings that a protocol needs, or has too few clips.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from soundmark.training.named_recipes import recipe_named
    >>> from soundmark.datasets import synthetic
    >>> city = synthetic.write(Path(tempfile.mkdtemp()) / "city", recordings_per_class=3, clips_per_recording=1)
    >>> make_plan(Dataset.open(city), [recipe_named("notebook-mel")], folds=[1]).trainings
    2
    """
    if len({recipe.name for recipe in recipes}) != len(recipes) or not recipes:
        names = ", ".join(recipe.name for recipe in recipes) or "none"
        raise SettingsError(f"the recipes are {names}: expected at least one recipe and no duplicates.")
    if not is_count(seeds) or seeds > MOST_SEEDS:
        raise SettingsError(f"seeds is {seeds!r}: expected a whole number from 1 to {MOST_SEEDS}.")
    splits.check_classes(dataset)
    if len(dataset.clips) < 3:
        raise DatasetError(
            f"{dataset.name} has {counted(len(dataset.clips), 'clip')}: at least 3 are needed to train and test. Add "
            "more clips."
        )
    chosen = {
        protocol: PROTOCOLS[protocol].splits(dataset, folds, split_seed)
        for protocol in _protocols(dataset, protocols, folds)
    }
    fitted = tuple(recipe.for_window(dataset.window_s) for recipe in recipes)
    plan = Plan(dataset=dataset, recipes=fitted, splits=chosen, seeds=int(seeds))
    for recipe in recipes:
        plan.repeats(recipe)  # raises if a seed is too large
    return plan


def _protocols(dataset: Dataset, requested: Sequence[str] | None, folds: Sequence[int] | None) -> Sequence[str]:
    if requested is None:
        requested = default_protocols(dataset, folds)
    for protocol in requested:
        if protocol not in PROTOCOLS:
            raise unknown_name("protocol", protocol, PROTOCOLS)
    if folds is not None and not any(PROTOCOLS[protocol].is_official for protocol in requested):
        raise SettingsError(
            'fold numbers were given, but not the protocol "folds": add that protocol (--protocol folds), or remove '
            "the fold numbers (--folds)."
        )
    return tuple(dict.fromkeys(requested))


def leakage_warnings(plan: Plan, usable: np.ndarray) -> list[str]:
    """Describe the data leakage of each protocol that has some, one sentence per protocol.

    ``usable`` is bool ``[clips]``; unusable clips are not counted. For protocols that keep recordings apart, only
    recordings with the same class in training and test count: with another class they do not help the classifier.

    >>> leakage_warnings(make_plan(city, [recipe], protocols=["random"]), np.ones(len(city.clips), bool))
    ['random: 80.0 % of the test clips come from a recording that is also in the training set (80.0 % with the ...
    """
    warnings = []
    apart = any(PROTOCOLS[protocol].keeps_recordings_apart for protocol in plan.splits)
    for protocol, chosen in plan.splits.items():
        usable_splits = [usable_split(split, usable) for split in chosen]
        if not plan.dataset.sources_known:
            warnings += [] if apart else [f"{protocol}: {_unknown_recordings(plan.dataset)}"]
        elif any(len(split.test) for split in usable_splits):
            leak = leakage.measure_leakage(plan.dataset, usable_splits)
            if PROTOCOLS[protocol].relevant_leakage(leak):
                warnings.append(f"{protocol}: {leak.in_words()}{PROTOCOLS[protocol].leakage_note}")
    return warnings


def _unknown_recordings(dataset: Dataset) -> str:
    suggestion = leakage.recordings_in_names(dataset)
    return (
        "the data set does not say which clips come from the same recording, so this score may reflect data leakage"
        f"{f'; {suggestion}' if suggestion else ''}. To rule it out, use a CSV table with a column "
        '"source" (the recording) or "fold".'
    )


def unfinished(plan: Plan, folder: Path, *, fresh: bool = False) -> list[tuple[Recipe, Split]]:
    """List the trainings that have no model in ``folder`` yet; with ``fresh``, list all.

    >>> len(unfinished(make_plan(city, [recipe], protocols=["folds"]), folder))
    3
    """
    return [
        (recipe, split)
        for recipe in plan.recipes
        for protocol, chosen in plan.splits.items()
        for seeded in plan.repeats(recipe)
        for split in chosen
        if fresh or not is_file(unit_folder(folder, seeded, protocol, split, seeds=plan.seeds) / "model.onnx")
    ]


def describe_cost(plan: Plan, folder: Path, *, device: str = "auto", fresh: bool = False) -> str:
    """Describe the remaining work of the plan and its estimated time, which is measured on a few batches now.

    Trainings with a model in ``folder`` count as finished, unless ``fresh``.

    >>> text = describe_cost(make_plan(city, [recipe], protocols=["folds"]), folder)
    >>> "60 clips of synthetic city; 3 trainings (folds × 3, for each recipe)" in text
    True
    """
    remaining = unfinished(plan, folder, fresh=fresh)
    recipes = "; ".join(recipe.describe() for recipe in plan.recipes)
    parts = ", ".join(f"{protocol} × {len(chosen)}" for protocol, chosen in plan.splits.items())
    job = (
        f"{recipes}.\n{counted(len(plan.dataset.clips), 'clip')} of {plan.dataset.name}; "
        f"{counted(plan.trainings, 'training')} "
        f"({parts}, for each recipe{f' and each of {plan.seeds} seeds' if plan.seeds > 1 else ''})"
    )
    if not remaining:
        return f"{job}, all finished."
    n_classes = len(plan.dataset.classes)
    seconds = sum(
        training_time_s(recipe, split, 0.0 if recipe.backbone else _seconds_per_example(recipe, n_classes, device))
        for recipe, split in remaining
    )
    finished = f", {plan.trainings - len(remaining)} already finished" if len(remaining) < plan.trainings else ""
    return (
        f"{job}{finished}: {estimate(seconds)} on {counted(parallel.available_cores(), 'core')}, after the features "
        f"are computed once ({plan.store_bytes / 1e6:,.0f} MB on disk)."
    )


def training_time_s(recipe: Recipe, split: Split, example_s: float) -> float:
    """Estimate the seconds of one training, where ``example_s`` is the time of one training example.

    >>> from soundmark.training.named_recipes import recipe_named
    >>> training_time_s(recipe_named("transfer"), Split(np.arange(100), np.arange(100, 150)), example_s=0.02)
    0.1
    """
    n = len(split.train)
    if recipe.backbone:
        return n * HEAD_S
    if not recipe.calibrates:
        return recipe.epochs_for(n) * (n + VALIDATION_COST * len(split.test)) * example_s
    n_validation = round(recipe.validation_fraction * n)  # first trained without the validation clips, then with them
    first = recipe.epochs_for(n - n_validation) * (n - n_validation + VALIDATION_COST * n_validation)
    return (first + recipe.epochs_for(n) * n) * example_s


@cache
def _seconds_per_example(recipe: Recipe, n_classes: int, device: str) -> float:
    from soundmark.training.epochs import loop

    return loop.seconds_per_example(recipe, n_classes=n_classes, device=device)

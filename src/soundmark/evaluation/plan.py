"""What a comparison will do, known and told before it starts: its splits, its trainings, its cost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from soundmark.datasets import Dataset, leakage, splits
from soundmark.datasets.protocols import PROTOCOLS, default_protocols
from soundmark.datasets.splits import Split
from soundmark.errors import DatasetError, SettingsError, unknown_name
from soundmark.runtime import parallel
from soundmark.runtime.checks import is_whole
from soundmark.runtime.text import duration
from soundmark.training.recipe import Recipe
from soundmark.training.run_folder import unit_folder
from soundmark.training.unit import usable_split

MOST_SEEDS = 20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Recipes × protocols × seeds × folds on one data set."""

    dataset: Dataset
    recipes: tuple[Recipe, ...]
    splits: Mapping[str, tuple[Split, ...]]  # protocol → splits of all the clips whose file is there
    seeds: int = 1  # how often each training is made, with the recipe's seed and those after it

    @property
    def trainings(self) -> int:
        """How many networks are trained."""
        return len(self.recipes) * self.seeds * sum(len(chosen) for chosen in self.splits.values())

    def repeats(self, recipe: Recipe) -> tuple[Recipe, ...]:
        """The recipe with each of the seeds.

        Raises:
            SettingsError: there is no seed so large.
        """
        return tuple(replace(recipe, seed=recipe.seed + i) for i in range(self.seeds))

    @property
    def store_bytes(self) -> int:
        """What the feature stores take on the disk."""
        shapes = {json.dumps(r.representation.settings()): r.representation.shape for r in self.recipes}
        return sum(4 * math.prod(shape) for shape in shapes.values()) * len(self.dataset.clips)


VALIDATION_COST = 0.3  # what a validation clip costs of a training clip: a forward pass alone


def make_plan(
    dataset: Dataset,
    recipes: Sequence[Recipe],
    *,
    protocols: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    seeds: int = 1,
    split_seed: int = 42,
) -> Plan:
    """The plan of comparing ``recipes`` on ``dataset``; everything that can be refused is refused here.

    ``protocols`` are, unless given, ``random`` and one that keeps recordings apart: ``folds`` where the data set has
    official folds, else ``grouped`` where the recording of every clip is known. ``folds`` restricts the official folds
    that are *tested*; each is trained on all the others. ``seeds`` repeats every training; ``split_seed`` is that of
    the random split and of the folds by recording.

    Raises:
        SettingsError: an unknown protocol or fold, no recipe or two of one name, more or fewer seeds than can be meant.
        DatasetError: the data set has no folds, or not the recordings, that were asked for, or too few clips.

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
        raise SettingsError(f"the recipes are {names}: give at least one, and each name once.")
    if not is_whole(seeds) or seeds > MOST_SEEDS:
        raise SettingsError(f"seeds is {seeds!r}: give a whole number from 1 to {MOST_SEEDS}.")
    splits.check_classes(dataset)
    if len(dataset.clips) < 3:
        raise DatasetError(
            f"{dataset.name} has {len(dataset.clips)} clips: some are trained on and others kept back, which takes 3."
        )
    chosen = {
        protocol: PROTOCOLS[protocol].splits(dataset, folds, split_seed)
        for protocol in _protocols(dataset, protocols, folds)
    }
    fitted = tuple(recipe.for_window(dataset.window_s) for recipe in recipes)
    made = Plan(dataset=dataset, recipes=fitted, splits=chosen, seeds=seeds)
    for recipe in recipes:
        made.repeats(recipe)  # so that a seed that is too large is refused now
    return made


def _protocols(dataset: Dataset, asked: Sequence[str] | None, folds: Sequence[int] | None) -> Sequence[str]:
    if asked is None:
        asked = default_protocols(dataset, folds)
    for protocol in asked:
        if protocol not in PROTOCOLS:
            raise unknown_name("protocol", protocol, PROTOCOLS)
    if folds is not None and not any(PROTOCOLS[protocol].is_official for protocol in asked):
        raise SettingsError("fold numbers were given, but the protocol folds was not asked for: leave one of them out.")
    return tuple(dict.fromkeys(asked))


def leakage_warnings(plan: Plan, usable: np.ndarray) -> list[str]:
    """What the scores of a plan will hide, a sentence for each protocol of which there is something to say.

    ``usable`` bool ``[clips]``: the others are not counted. A test clip whose recording is trained on under its own
    class can be told by the recording; under another class that would only mislead, so folds are not blamed for it.

    >>> leakage_warnings(make_plan(city, [recipe], protocols=["random"]), np.ones(len(city.clips), bool))
    ['random: 80.0 % of the test clips come from a recording that is also trained on (80.0 % under the same class): ...
    """
    said = []
    apart = any(PROTOCOLS[protocol].keeps_recordings_apart for protocol in plan.splits)
    for protocol, chosen in plan.splits.items():
        there = [usable_split(split, usable) for split in chosen]
        if not plan.dataset.sources_known:
            said += [] if apart else [f"{protocol}: {_UNKNOWN_RECORDINGS}"]
        elif any(len(split.test) for split in there):
            leak = leakage.measure_leakage(plan.dataset, there)
            by_class = PROTOCOLS[protocol].keeps_recordings_apart
            share = leak.recording_and_class if by_class else leak.recording
            said += [f"{protocol}: {leak.in_words()}{PROTOCOLS[protocol].leakage_note}"] if share else []
    return said


_UNKNOWN_RECORDINGS = (
    "which clips share a recording is not known here, so this score may be that of recordings known again and "
    'not of sounds known: a column "source" or "fold" in a CSV table would tell.'
)


def unfinished(plan: Plan, folder: Path, *, fresh: bool = False) -> list[tuple[Recipe, Split]]:
    """The trainings of the plan that have no model in ``folder``; with ``fresh``, all of them.

    >>> len(unfinished(make_plan(city, [recipe], protocols=["folds"]), folder))
    3
    """
    return [
        (recipe, split)
        for recipe in plan.recipes
        for protocol, chosen in plan.splits.items()
        for seeded in plan.repeats(recipe)
        for split in chosen
        if fresh or not (unit_folder(folder, seeded, protocol, split, seeds=plan.seeds) / "model.onnx").exists()
    ]


def describe_cost(plan: Plan, folder: Path, *, device: str = "auto", fresh: bool = False) -> str:
    """What is left to do of the plan in ``folder``, in a sentence or two; its time is told from batches timed now.

    With ``fresh``, all of it is left to do, whatever stands there.

    >>> text = describe_cost(make_plan(city, [recipe], protocols=["folds"]), folder)
    >>> "60 clips of synthetic city; 3 trainings (folds × 3, for each recipe)" in text
    True
    """
    left = unfinished(plan, folder, fresh=fresh)
    recipes = "; ".join(recipe.describe() for recipe in plan.recipes)
    parts = ", ".join(f"{protocol} × {len(chosen)}" for protocol, chosen in plan.splits.items())
    noun = "training" if plan.trainings == 1 else "trainings"
    job = (
        f"{recipes}.\n{len(plan.dataset.clips):,} clips of {plan.dataset.name}; {plan.trainings} {noun} "
        f"({parts}, for each recipe{f' and each of {plan.seeds} seeds' if plan.seeds > 1 else ''})"
    )
    if not left:
        return f"{job}, all done before."
    seconds = sum(_training_s(recipe, split, len(plan.dataset.classes), device) for recipe, split in left)
    before = f", {plan.trainings - len(left)} of them done before" if len(left) < plan.trainings else ""
    return (
        f"{job}{before}: about {duration(seconds)} on {parallel.available_cores()} cores, after the features "
        f"({plan.store_bytes / 1e6:,.0f} MB on the disk, once)."
    )


def _training_s(recipe: Recipe, split: Split, n_classes: int, device: str) -> float:
    """How long one training will take, from a few batches of its own recipe."""
    per_example = _seconds_per_example(recipe, n_classes, device)
    if recipe.trainable == "head":
        return len(split.train) * per_example
    n = len(split.train)
    if not recipe.decides:
        return recipe.epochs_for(n) * (n + VALIDATION_COST * len(split.test)) * per_example
    kept_back = round(recipe.validation_fraction * n)  # trained without them, which are watched, and then with them
    first = recipe.epochs_for(n - kept_back) * (n - kept_back + VALIDATION_COST * kept_back)
    return (first + recipe.epochs_for(n) * n) * per_example


@cache
def _seconds_per_example(recipe: Recipe, n_classes: int, device: str) -> float:
    from soundmark.training import loop

    return loop.seconds_per_example(recipe, n_classes=n_classes, device=device)

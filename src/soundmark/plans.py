"""What a comparison will do, known and told before it starts: its splits, its trainings, its cost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soundmark import splits, workers
from soundmark.datasets import Dataset
from soundmark.errors import DatasetError, SettingsError, unknown_name
from soundmark.recipes import Recipe
from soundmark.splits import Split

PROTOCOLS = {
    "random": "a third of the clips, drawn at random, as the notebook does it",
    "folds": "each official fold tested once, trained on all the others",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Recipes × protocols × folds on one data set."""

    dataset: Dataset
    recipes: tuple[Recipe, ...]
    splits: Mapping[str, tuple[Split, ...]]  # protocol → splits of all the clips whose file is there

    @property
    def trainings(self) -> int:
        """How many networks are trained."""
        return len(self.recipes) * sum(len(chosen) for chosen in self.splits.values())

    @property
    def store_bytes(self) -> int:
        """What the feature stores take on the disk."""
        shapes = {json.dumps(r.representation.settings()): r.representation.shape for r in self.recipes}
        return sum(4 * math.prod(shape) for shape in shapes.values()) * len(self.dataset.clips)

    def training_s(self, recipe: Recipe, device: str = "auto") -> float:
        """How long the recipe's trainings will take, from a few batches of its own that are timed now."""
        from soundmark import training

        seconds = training.seconds_per_example(recipe, n_classes=len(self.dataset.classes), device=device)
        shown = sum(len(split.train) for chosen in self.splits.values() for split in chosen)
        watched = sum(len(split.test) for chosen in self.splits.values() for split in chosen)
        return recipe.epochs * (shown + WATCHING * watched) * seconds


WATCHING = 0.3  # what a validation clip costs of a training clip: a forward pass alone


def plan(
    dataset: Dataset,
    recipes: Sequence[Recipe],
    *,
    protocols: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    split_seed: int = 42,
) -> Plan:
    """The plan of comparing ``recipes`` on ``dataset``; everything that can be refused is refused here.

    ``protocols`` are all that the data set allows, unless given: ``random``, and ``folds`` where it has folds.
    ``folds`` restricts the folds that are *tested*; each is trained on all the others. ``split_seed`` is the random
    split's.

    Raises:
        SettingsError: an unknown protocol or fold, no recipe or two of one name.
        DatasetError: the data set has no folds and they were asked for, or too few clips.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from soundmark import recipes
    >>> from soundmark.datasets import synthetic
    >>> city = synthetic.write(Path(tempfile.mkdtemp()) / "city", recordings_per_class=3, clips_per_recording=1)
    >>> plan(Dataset.open(city), [recipes.named("seed-mel")], folds=[1]).trainings
    2
    """
    if len({recipe.name for recipe in recipes}) != len(recipes) or not recipes:
        names = ", ".join(recipe.name for recipe in recipes) or "none"
        raise SettingsError(f"the recipes are {names}: give at least one, and each name once.")
    if len(dataset.clips) < 3 or len(dataset.classes) < 2:
        raise DatasetError(
            f"{dataset.name} has {len(dataset.clips)} clips of {len(dataset.classes)} classes: a classifier is "
            "trained on at least two classes and tested on clips kept back."
        )
    chosen = {
        protocol: _splits(dataset, protocol, folds, split_seed) for protocol in _protocols(dataset, protocols, folds)
    }
    return Plan(dataset=dataset, recipes=tuple(recipes), splits=chosen)


def _protocols(dataset: Dataset, asked: Sequence[str] | None, folds: Sequence[int] | None) -> Sequence[str]:
    if asked is None:
        asked = tuple(PROTOCOLS) if len(dataset.folds) > 1 or folds else ("random",)
    for protocol in asked:
        if protocol not in PROTOCOLS:
            raise unknown_name("protocol", protocol, PROTOCOLS)
    if folds is not None and "folds" not in asked:
        raise SettingsError("fold numbers were given, but the protocol folds was not asked for: leave one of them out.")
    return tuple(dict.fromkeys(asked))


def _splits(dataset: Dataset, protocol: str, folds: Sequence[int] | None, seed: int) -> tuple[Split, ...]:
    if protocol == "random":
        return (splits.random_split(len(dataset.clips), seed=seed),)
    return tuple(splits.official_folds(dataset, only=folds))


def cost(plan: Plan, *, device: str = "auto") -> str:
    """What the plan will take, in a sentence or two; the time is told from a few batches timed now.

    >>> text = cost(plan(city, [recipe], protocols=["folds"]))
    >>> "60 clips of synthetic city; 3 trainings (folds × 3, for each recipe)" in text
    True
    """
    seconds = sum(plan.training_s(recipe, device) for recipe in plan.recipes)
    parts = ", ".join(f"{protocol} × {len(chosen)}" for protocol, chosen in plan.splits.items())
    recipes = "; ".join(recipe.describe() for recipe in plan.recipes)
    return (
        f"{recipes}.\n{len(plan.dataset.clips):,} clips of {plan.dataset.name}; {plan.trainings} trainings "
        f"({parts}, for each recipe): "
        f"about {workers.duration(seconds)} on {workers.cores()} cores, after the features "
        f"({plan.store_bytes / 1e6:,.0f} MB on the disk, once)."
    )

"""What a comparison will do, known and told before it starts: its splits, its trainings, its cost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
    splits.check_classes(dataset)
    if len(dataset.clips) < 3:
        raise DatasetError(
            f"{dataset.name} has {len(dataset.clips)} clips: some are trained on and others kept back, which takes 3."
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


def unit_folder(folder: Path, recipe: Recipe, protocol: str, split: Split) -> Path:
    """Where in a run's folder one training stands.

    >>> unit_folder(Path("run"), recipe, "folds", splits.official_folds(city, only=[3])[0]).as_posix()
    'run/seed-mel/folds/fold-3'
    """
    place = folder / recipe.name / protocol
    return place if split.fold is None else place / f"fold-{split.fold}"


def cost(plan: Plan, folder: Path, *, device: str = "auto", fresh: bool = False) -> str:
    """What is left to do of the plan in ``folder``, in a sentence or two; its time is told from batches timed now.

    With ``fresh``, all of it is left to do, whatever stands there.

    >>> text = cost(plan(city, [recipe], protocols=["folds"]), folder)
    >>> "60 clips of synthetic city; 3 trainings (folds × 3, for each recipe)" in text
    True
    """
    left = [
        (recipe, split)
        for recipe in plan.recipes
        for protocol, chosen in plan.splits.items()
        for split in chosen
        if fresh or not (unit_folder(folder, recipe, protocol, split) / "model.onnx").exists()
    ]
    recipes = "; ".join(recipe.describe() for recipe in plan.recipes)
    parts = ", ".join(f"{protocol} × {len(chosen)}" for protocol, chosen in plan.splits.items())
    noun = "training" if plan.trainings == 1 else "trainings"
    job = (
        f"{recipes}.\n{len(plan.dataset.clips):,} clips of {plan.dataset.name}; {plan.trainings} {noun} "
        f"({parts}, for each recipe)"
    )
    if not left:
        return f"{job}, all done before."
    seconds = sum(_training_s(recipe, split, len(plan.dataset.classes), device) for recipe, split in left)
    before = f", {plan.trainings - len(left)} of them done before" if len(left) < plan.trainings else ""
    return (
        f"{job}{before}: about {workers.duration(seconds)} on {workers.cores()} cores, after the features "
        f"({plan.store_bytes / 1e6:,.0f} MB on the disk, once)."
    )


def _training_s(recipe: Recipe, split: Split, n_classes: int, device: str) -> float:
    """How long one training will take, from a few batches of its own recipe."""
    per_example = _seconds_per_example(recipe, n_classes, device)
    return recipe.epochs * (len(split.train) + WATCHING * len(split.test)) * per_example


@cache
def _seconds_per_example(recipe: Recipe, n_classes: int, device: str) -> float:
    from soundmark import training

    return training.seconds_per_example(recipe, n_classes=n_classes, device=device)

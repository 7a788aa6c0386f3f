"""A ``Dataset`` to train and test indices, and how much a split gives away.

Clips that were cut from one recording sound alike. A random split puts them on both sides, so that a model may
recognise the recording instead of the sound; official folds and ``grouped_folds`` keep them together.
``measure_leakage`` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundmark.datasets.dataset import Dataset
from soundmark.errors import DatasetError, SettingsError

Indices = NDArray[np.int64]


GROUPS = 5  # folds by recording, where there are as many recordings


NOTHING: Indices = np.arange(0)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Which clips are trained on, decided on and tested, as indices into ``dataset.clips``; no clip is on two sides.

    ``validation`` is a part of what there is to train on, and is what a recipe may decide by (a temperature, a
    threshold, when to stop): never the test clips.

    Raises:
        SettingsError: a clip stands on two sides.

    >>> Split(np.array([0, 2]), np.array([1]), fold=3).test
    array([1])
    >>> Split(np.array([0, 2]), np.array([1]), validation=np.array([1]))
    Traceback (most recent call last):
    soundmark.errors.SettingsError: 1 clip to test on would be decided by, too: a test clip picks nothing....
    """

    train: Indices
    test: Indices
    fold: int | None = None  # the official fold that is tested
    validation: Indices = field(default_factory=NOTHING.copy)

    def __repr__(self) -> str:
        sizes = f"train={len(self.train)}, validation={len(self.validation)}, test={len(self.test)}"
        return f"Split({sizes}, fold={self.fold})"

    def __post_init__(self) -> None:
        for part, others, doing in (
            (self.test, self.validation, "decided by, too: a test clip picks nothing"),
            (self.test, self.train, "trained on, too: what was heard before is no test"),
            (self.validation, self.train, "trained on, too: what was heard before decides nothing"),
        ):
            if twice := len(np.intersect1d(part, others)):
                side = "test on" if part is self.test else "decide by"
                clips = "1 clip" if twice == 1 else f"{twice} clips"
                raise SettingsError(f"{clips} to {side} would be {doing}. Take them out of one side.")

    @property
    def learned(self) -> Indices:
        """All that the model owes something to: what it was trained on and what was decided by."""
        return np.concatenate([self.train, self.validation])


def random_split(n: int, *, test_share: float = 0.33, seed: int = 42) -> Split:
    """``n`` clips dealt at random: ``ceil(n · test_share)`` to test, the others to train, both in dealt order.

    Index for index ``sklearn.model_selection.train_test_split(np.arange(n), test_size=test_share, random_state=seed)``
    of scikit-learn 1.x, without scikit-learn.

    Raises:
        SettingsError: ``test_share`` is not between 0 and 1.
        DatasetError: one side would be empty.

    >>> split = random_split(6)
    >>> split.train, split.test
    (array([5, 2, 4, 3]), array([0, 1]))
    """
    if not 0 < test_share < 1:
        raise SettingsError(f"test_share={test_share} must lie between 0 and 1: it is the share of clips to test on.")
    n_test = math.ceil(test_share * n)
    if not 0 < n_test < n:
        raise DatasetError(
            f"{n} clips cannot be split with test_share={test_share}: one side would be empty. Add clips."
        )
    dealt = np.random.RandomState(seed).permutation(n).astype(np.int64)  # the generator that scikit-learn uses
    return Split(train=dealt[n_test:], test=dealt[:n_test])


def check_classes(dataset: Dataset) -> None:
    """Refuse to make a classifier of fewer than two classes: its only answer would always seem right.

    Of multi-label data one class is enough, where some clips have it and others do not.

    Raises:
        DatasetError: with what is there.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = (Clip(path=Path("a.wav"), label="dog"),)
    >>> check_classes(Dataset(name="pets", root=Path("."), classes=("dog",), clips=clips))
    Traceback (most recent call last):
    soundmark.errors.DatasetError: pets has only the class "dog": a classifier tells at least two classes apart....
    """
    if dataset.multi_label and dataset.clips:
        if not (dataset.targets != dataset.targets[:1]).any():
            raise DatasetError(
                f"{dataset.name} has the same labels on every clip: there is nothing to tell apart. Add other clips."
            )
        return
    there = sorted({clip.label for clip in dataset.clips})
    if len(there) < 2:
        only = f'only the class "{there[0]}"' if there else "no clips"
        raise DatasetError(
            f"{dataset.name} has {only}: a classifier tells at least two classes apart. Add clips of another."
        )


def official_folds(dataset: Dataset, only: Iterable[int] | None = None) -> list[Split]:
    """Each official fold tested once, trained on all the others; ``only`` restricts which are tested.

    Raises:
        DatasetError: the data set has no folds, only one, or a clip in none.
        SettingsError: ``only`` names a fold that is not there, or no fold at all.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = tuple(Clip(path=Path(f"{i}.wav"), label="dog", fold=1 + i % 3) for i in range(6))
    >>> data = Dataset(name="pets", root=Path("."), classes=("dog",), clips=clips)
    >>> [(split.fold, split.train, split.test) for split in official_folds(data, only=[2])]
    [(2, array([0, 2, 3, 5]), array([1, 4]))]
    """
    _check_folds(dataset)
    tested = dataset.folds if only is None else tuple(sorted(set(only)))
    known = ", ".join(map(str, dataset.folds))
    unknown = [fold for fold in tested if fold not in dataset.folds]
    if unknown:
        raise SettingsError(f"{dataset.name} has no fold {unknown[0]} here. Known: {known}.")
    if not tested:
        raise SettingsError(f"no fold was chosen to test on. Known: {known}.")
    return [
        Split(np.flatnonzero(dataset.fold_of != fold), np.flatnonzero(dataset.fold_of == fold), fold) for fold in tested
    ]


def _check_folds(dataset: Dataset) -> None:
    loose = np.flatnonzero(dataset.fold_of == 0)
    if loose.size == len(dataset.clips):
        raise DatasetError(f"{dataset.name} has no official folds: use a random split, or give its clips a fold.")
    if loose.size:
        first = dataset.relative_path(dataset.clips[int(loose[0])])
        raise DatasetError(
            f'{loose.size} of the {len(dataset.clips)} clips of {dataset.name} are in no fold, "{first}" first: '
            "give each clip a fold, or none."
        )
    if len(dataset.folds) == 1:
        raise DatasetError(
            f"{dataset.name} has only fold {dataset.folds[0]} here: there is nothing to train on while it is tested. "
            "Add another fold, or use a random split."
        )


def grouped_folds(dataset: Dataset, k: int = 5, seed: int = 42) -> list[Split]:
    """``k`` folds that keep each recording together and have about the same share of each class.

    The recordings are dealt one by one, the largest first, each to the fold that has least of what it brings. With
    ``c[f, y]`` clips of class ``y`` in fold ``f``, ``N[y]`` in all and ``g[y]`` in the recording, that is the fold with
    the smallest ``Σ c[f, y]·g[y] / N[y]²``: the one where ``Σ (c[f, y] / N[y])²``, which is least for equal shares,
    grows least. The seed deals recordings of the same size in another order.

    Raises:
        SettingsError: ``k`` is less than 2.
        DatasetError: there are fewer recordings than folds.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = tuple(Clip(path=Path(f"{i}.wav"), label="dog", source=str(i // 2)) for i in range(8))
    >>> data = Dataset(name="pets", root=Path("."), classes=("dog",), clips=clips)
    >>> [split.test for split in grouped_folds(data, k=2)]
    [array([2, 3, 6, 7]), array([0, 1, 4, 5])]
    """
    recordings = len(np.unique(dataset.sources))
    if k < 2:
        raise SettingsError(f"k={k} folds are no folds: 2 or more are needed.")
    if recordings < k:
        raise DatasetError(f"{dataset.name} has {recordings} recordings, too few for k={k} folds. Choose a smaller k.")
    fold_of = deal_recordings(dataset.sources, dataset.targets, k=k, seed=seed)
    return [Split(np.flatnonzero(fold_of != f), np.flatnonzero(fold_of == f), f) for f in range(1, k + 1)]


def deal_recordings(sources: NDArray[np.str_], targets: NDArray[Any], *, k: int, seed: int) -> Indices:
    """The fold of each clip, 1 to ``k``, int64 [n], as ``grouped_folds`` deals them.

    ``sources`` [n] names the recordings, ``targets`` [n, classes] is 1 where a clip is of a class.

    >>> deal_recordings(np.array(["a", "a", "b", "b"]), np.eye(2)[[0, 0, 0, 0]], k=2, seed=0)
    array([1, 1, 2, 2])
    """
    names, groups = np.unique(sources, return_inverse=True)
    none = ~targets.any(axis=1)
    if none.any():  # they are dealt evenly, too
        targets = np.column_stack([targets, none])
    counts = np.zeros((len(names), targets.shape[1]))
    np.add.at(counts, groups, targets)
    weight = 1.0 / np.maximum(counts.sum(axis=0), 1.0) ** 2
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    dealt = np.zeros((k, counts.shape[1]))
    fold_of_group = np.zeros(len(counts), np.int64)
    for group in shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]:
        brings = dealt @ (counts[group] * weight)
        fold = np.lexsort((dealt.sum(axis=1), brings))[0]  # the smaller fold where they have the same
        fold_of_group[group] = fold
        dealt[fold] += counts[group]
    return fold_of_group[groups] + 1


def folds_by_recording(dataset: Dataset, seed: int = 42) -> list[Split]:
    """The folds of the protocol ``grouped``: ``GROUPS`` of ``grouped_folds``, fewer where there are fewer recordings.

    Raises:
        DatasetError: of some clip it is not known which recording it was cut from, or there is only one recording.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = tuple(Clip(path=Path(f"{i}.wav"), label="dog", source="AAB"[i]) for i in range(3))
    >>> data = Dataset(name="pets", root=Path("."), classes=("dog",), clips=clips)
    >>> [(split.fold, split.test) for split in folds_by_recording(data)]
    [(1, array([0, 1])), (2, array([2]))]
    """
    unknown = [clip for clip in dataset.clips if clip.source is None]
    if unknown:
        raise DatasetError(
            f"{dataset.name} does not say of {len(unknown)} of its {len(dataset.clips)} clips which recording they "
            f'were cut from, "{dataset.relative_path(unknown[0])}" first: folds by recording need it, as a column '
            '"source" of a CSV table.'
        )
    recordings = count_recordings(dataset)
    if recordings < 2:
        raise DatasetError(
            f"{dataset.name} has only {recordings} recording: while it is tested, there is nothing to train on. "
            "Add clips of another, or use a random split."
        )
    return grouped_folds(dataset, min(GROUPS, recordings), seed)


def count_recordings(dataset: Dataset) -> int:
    """How many recordings the clips were cut from; a clip of which it is not known counts as one of its own file.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = tuple(Clip(path=Path(f"{i}.wav"), label="dog", source="AAB"[i]) for i in range(3))
    >>> count_recordings(Dataset(name="pets", root=Path("."), classes=("dog",), clips=clips))
    2
    """
    return len(np.unique(dataset.sources))


def hold_out_validation(dataset: Dataset, split: Split, share: float, *, seed: int = 0) -> Split:
    """The split with about ``share`` of its training part kept back to decide by: whole recordings, of every class.

    The recordings of a class stay where all of them would go. Nothing is kept back where there are fewer than three
    recordings to train on. The test part plays no role in it.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = tuple(Clip(path=Path(f"{i}.wav"), label="dc"[i % 2], source=str(i // 4)) for i in range(16))
    >>> data = Dataset(name="pets", root=Path("."), classes=("d", "c"), clips=clips)
    >>> kept = hold_out_validation(data, Split(np.arange(12), np.arange(12, 16)), 0.34)
    >>> kept.train, kept.validation, kept.test
    (array([0, 1, 2, 3, 4, 5, 6, 7]), array([ 8,  9, 10, 11]), array([12, 13, 14, 15]))
    """
    sources, targets = dataset.sources[split.train], dataset.targets[split.train]
    recordings = len(np.unique(sources))
    if not share or recordings < 3:
        return split
    fold_of = deal_recordings(sources, targets, k=min(max(2, round(1 / share)), recordings), seed=seed)
    nearest = np.argmin(np.abs(np.bincount(fold_of)[1:] - share * len(fold_of)))  # one may hold one long recording
    kept = fold_of == 1 + nearest
    lost = (targets.sum(0) > 0) & (targets[~kept].sum(0) == 0)
    needed = sources[kept & targets[:, lost].any(axis=1)]
    kept &= ~np.isin(sources, needed)  # whole recordings go back, whatever else they hold
    return replace(split, train=split.train[~kept], validation=split.train[kept])


def untrained_classes(dataset: Dataset, split: Split) -> tuple[str, ...]:
    """The classes without a training clip: whatever is tested, the model cannot have learned them.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = (Clip(path=Path("a.wav"), label="dog", fold=1), Clip(path=Path("b.wav"), label="cat", fold=2))
    >>> data = Dataset(name="pets", root=Path("."), classes=("cat", "dog"), clips=clips)
    >>> [untrained_classes(data, split) for split in official_folds(data)]
    [('dog',), ('cat',)]
    """
    trained = dataset.targets[split.train].any(axis=0)
    return tuple(dataset.classes[i] for i in np.flatnonzero(~trained))

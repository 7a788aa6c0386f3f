"""Train, validation and test splits of a ``Dataset``.

Clips cut from the same recording sound alike. A random split puts such clips into both the training and the test set
(data leakage): a model can then recognise the recording instead of the class. Official folds and ``grouped_folds``
keep the clips of a recording together. ``leakage.measure_leakage`` measures the leakage of a split.
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
from soundmark.runtime.text import counted

Indices = NDArray[np.int64]


GROUPS = 5  # number of folds by recording; fewer if there are fewer recordings


NO_CLIPS: Indices = np.arange(0)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Training, validation and test clips as indices into ``dataset.clips``; no clip is in two of the sets.

    The validation set is taken from the training set. Recipes use it to choose a temperature or thresholds, or to
    stop training; the test clips are never used for such decisions.

    Raises:
        SettingsError: a clip is in two of the sets.

    >>> Split(np.array([0, 2]), np.array([1]), fold=3).test
    array([1])
    >>> Split(np.array([0, 2]), np.array([1]), validation=np.array([1]))
    Traceback (most recent call last):
    soundmark.errors.SettingsError: 1 test clip is also in the validation set (data leakage): ...
    """

    train: Indices
    test: Indices
    fold: int | None = None  # the fold that is tested
    validation: Indices = field(default_factory=NO_CLIPS.copy)

    def __repr__(self) -> str:
        sizes = f"train={len(self.train)}, validation={len(self.validation)}, test={len(self.test)}"
        return f"Split({sizes}, fold={self.fold})"

    def __post_init__(self) -> None:
        for name, clips, other_name, others in (
            ("test", self.test, "validation", self.validation),
            ("test", self.test, "training", self.train),
            ("validation", self.validation, "training", self.train),
        ):
            if n := len(np.intersect1d(clips, others)):
                shared = f"{counted(n, f'{name} clip')} {'is' if n == 1 else 'are'}"
                raise SettingsError(
                    f"{shared} also in the {other_name} set (data leakage): each clip must be in one set only."
                )


def random_split(n: int, *, test_share: float = 0.33, seed: int = 42) -> Split:
    """Split ``n`` clips at random: ``ceil(n · test_share)`` for testing, the others for training, both shuffled.

    The result is identical to ``sklearn.model_selection.train_test_split(np.arange(n), test_size=test_share,
    random_state=seed)`` of scikit-learn 1.x.

    Raises:
        SettingsError: ``test_share`` is not between 0 and 1.
        DatasetError: the training or test set would be empty.

    >>> split = random_split(6)
    >>> split.train, split.test
    (array([5, 2, 4, 3]), array([0, 1]))
    """
    if not 0 < test_share < 1:
        raise SettingsError(
            f"test_share is {test_share}: expected a number between 0 and 1, the fraction of clips in the test set."
        )
    n_test = math.ceil(test_share * n)
    if not 0 < n_test < n:
        raise DatasetError(
            f"{counted(n, 'clip')} cannot be split with test_share={test_share}: the training or test set would be "
            "empty. Add clips."
        )
    shuffled = np.random.RandomState(seed).permutation(n).astype(np.int64)  # the generator that scikit-learn uses
    return Split(train=shuffled[n_test:], test=shuffled[:n_test])


def check_classes(dataset: Dataset) -> None:
    """Check that a classifier can be trained: the clips must have at least two different classes.

    In multi-label data one class is enough if some clips have it and others do not.

    Raises:
        DatasetError: all clips have the same label, or there are no clips.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = (Clip(path=Path("a.wav"), label="dog"),)
    >>> check_classes(Dataset(name="pets", root=Path("."), classes=("dog",), clips=clips))
    Traceback (most recent call last):
    soundmark.errors.DatasetError: pets has only the class "dog": a classifier needs at least two classes. ...
    """
    if dataset.multi_label and dataset.clips:
        if not (dataset.targets != dataset.targets[:1]).any():
            raise DatasetError(
                f"all clips of {dataset.name} have the same labels: a classifier needs clips with different labels. "
                "Add clips with other labels."
            )
        return
    present = sorted({clip.label for clip in dataset.clips})
    if len(present) < 2:
        found = f'only the class "{present[0]}"' if present else "no clips"
        raise DatasetError(
            f"{dataset.name} has {found}: a classifier needs at least two classes. Add clips of another class."
        )


def official_folds(dataset: Dataset, only: Iterable[int] | None = None) -> list[Split]:
    """Return one split per official fold: the fold is tested, all others are for training.

    ``only`` restricts which folds are tested.

    Raises:
        DatasetError: the data set has no folds or only one, or a clip has no fold.
        SettingsError: ``only`` is empty or contains an unknown fold.

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
        raise SettingsError(f"{dataset.name} has no fold {unknown[0]}. Available folds: {known}.")
    if not tested:
        raise SettingsError(f"no test fold was given. Available folds: {known}.")
    return [
        Split(np.flatnonzero(dataset.fold_of != fold), np.flatnonzero(dataset.fold_of == fold), fold) for fold in tested
    ]


def _check_folds(dataset: Dataset) -> None:
    without_fold = np.flatnonzero(dataset.fold_of == 0)
    if without_fold.size == len(dataset.clips):
        raise DatasetError(f"{dataset.name} has no official folds: use a random split, or assign a fold to each clip.")
    if without_fold.size:
        first = dataset.relative_path(dataset.clips[int(without_fold[0])])
        raise DatasetError(
            f"{without_fold.size} of the {len(dataset.clips)} clips of {dataset.name} have no fold (first: "
            f'"{first}"): assign a fold to every clip, or to none.'
        )
    if len(dataset.folds) == 1:
        raise DatasetError(
            f"{dataset.name} has only fold {dataset.folds[0]}: testing on it leaves no training clips. Add another "
            "fold, or use a random split."
        )


def grouped_folds(dataset: Dataset, k: int = 5, seed: int = 42) -> list[Split]:
    """Return ``k`` folds with balanced classes that keep all clips of a recording in the same fold.

    A greedy assignment: the recordings are processed from largest to smallest, and each goes to the fold that has the
    fewest clips of its classes. With ``c[f, y]`` clips of class ``y`` in fold ``f``, ``N[y]`` in total and ``g[y]`` in
    the recording, this is the fold with the smallest ``Σ c[f, y]·g[y] / N[y]²``. This choice minimises the increase of
    ``Σ (c[f, y] / N[y])²``, which is smallest for balanced folds. The seed determines the order of recordings of equal
    size.

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
        raise SettingsError(f"k is {k}: expected at least 2 folds.")
    if recordings < k:
        found = counted(recordings, "recording")
        raise DatasetError(f"{dataset.name} has {found}, too few for k={k} folds. Choose a smaller k.")
    fold_of = assign_folds(dataset.sources, dataset.targets, k=k, seed=seed)
    return [Split(np.flatnonzero(fold_of != f), np.flatnonzero(fold_of == f), f) for f in range(1, k + 1)]


def assign_folds(sources: NDArray[np.str_], targets: NDArray[Any], *, k: int, seed: int) -> Indices:
    """Assign each clip to a fold, 1 to ``k``, int64 [n], with the algorithm described in ``grouped_folds``.

    ``sources`` [n] identifies the recordings; ``targets`` [n, classes] is 1 for the classes of a clip.

    >>> assign_folds(np.array(["a", "a", "b", "b"]), np.eye(2)[[0, 0, 0, 0]], k=2, seed=0)
    array([1, 1, 2, 2])
    """
    names, groups = np.unique(sources, return_inverse=True)
    unlabelled = ~targets.any(axis=1)
    if unlabelled.any():  # balanced like one more class
        targets = np.column_stack([targets, unlabelled])
    counts = np.zeros((len(names), targets.shape[1]))
    np.add.at(counts, groups, targets)
    weight = 1.0 / np.maximum(counts.sum(axis=0), 1.0) ** 2
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    fold_counts = np.zeros((k, counts.shape[1]))
    fold_of_group = np.zeros(len(counts), np.int64)
    for group in shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]:
        cost = fold_counts @ (counts[group] * weight)
        fold = np.lexsort((fold_counts.sum(axis=1), cost))[0]  # of equal cost, the fold with fewer clips
        fold_of_group[group] = fold
        fold_counts[fold] += counts[group]
    return fold_of_group[groups] + 1


def folds_by_recording(dataset: Dataset, seed: int = 42) -> list[Split]:
    """Return the folds of the protocol ``grouped``: ``GROUPS`` folds, or one per recording if there are fewer.

    Raises:
        DatasetError: the recording of a clip is unknown, or there is only one recording.

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
            f"{len(unknown)} of the {len(dataset.clips)} clips of {dataset.name} have no known recording (first: "
            f'"{dataset.relative_path(unknown[0])}"): folds by recording need a column "source" in a CSV table.'
        )
    recordings = count_recordings(dataset)
    if recordings < 2:
        raise DatasetError(
            f"{dataset.name} has only {recordings} recording: testing on it leaves no training clips. Add clips from "
            "another recording, or use a random split."
        )
    return grouped_folds(dataset, min(GROUPS, recordings), seed)


def count_recordings(dataset: Dataset, clips: Indices | slice = slice(None)) -> int:
    """Count the recordings that clips were cut from; a clip with unknown recording counts as its own recording.

    ``clips`` are the indices of the clips (default: all).

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = tuple(Clip(path=Path(f"{i}.wav"), label="dog", source="AAB"[i]) for i in range(3))
    >>> count_recordings(Dataset(name="pets", root=Path("."), classes=("dog",), clips=clips))
    2
    """
    return len(np.unique(dataset.sources[clips]))


def hold_out_validation(dataset: Dataset, split: Split, share: float, *, seed: int = 0) -> Split:
    """Move about ``share`` of the training clips to the validation set: entire recordings, balanced over the classes.

    No class loses all of its training clips: its recordings then stay in the training set. With fewer than three
    training recordings the split is returned unchanged. The test set has no influence on the result.

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
    fold_of = assign_folds(sources, targets, k=min(max(2, round(1 / share)), recordings), seed=seed)
    nearest = np.argmin(np.abs(np.bincount(fold_of)[1:] - share * len(fold_of)))  # folds differ in size
    held_out = fold_of == 1 + nearest
    lost_classes = (targets.sum(0) > 0) & (targets[~held_out].sum(0) == 0)
    needed = sources[held_out & targets[:, lost_classes].any(axis=1)]
    held_out &= ~np.isin(sources, needed)  # entire recordings return to the training set
    return replace(split, train=split.train[~held_out], validation=split.train[held_out])


def untrained_classes(dataset: Dataset, split: Split) -> tuple[str, ...]:
    """Return the classes without training clips, which the model cannot learn.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = (Clip(path=Path("a.wav"), label="dog", fold=1), Clip(path=Path("b.wav"), label="cat", fold=2))
    >>> data = Dataset(name="pets", root=Path("."), classes=("cat", "dog"), clips=clips)
    >>> [untrained_classes(data, split) for split in official_folds(data)]
    [('dog',), ('cat',)]
    """
    trained = dataset.targets[split.train].any(axis=0)
    return tuple(dataset.classes[i] for i in np.flatnonzero(~trained))

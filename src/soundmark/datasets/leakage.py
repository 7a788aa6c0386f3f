"""Data leakage: how much the training clips give away about the test clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soundmark.datasets.dataset import Dataset
from soundmark.datasets.splits import Indices, Split
from soundmark.errors import DatasetError


@dataclass(frozen=True)
class Leakage:
    """What the training clips give away about the test clips, as shares of the test clips from 0 to 1.

    >>> Leakage(recording=0.9, recording_and_class=0.9, lookup_accuracy=0.88).recording
    0.9
    """

    recording: float  # whose recording is trained on, too
    recording_and_class: float  # whose recording is trained on under the same label; multi-label: under one of them
    lookup_accuracy: float  # that are right when the training label of the recording is looked up, unheard

    def in_words(self) -> str:
        """Both shares in half a sentence.

        >>> Leakage(recording=0.017, recording_and_class=0.0, lookup_accuracy=0.1).in_words()
        '1.7 % of the test clips come from a recording that is also trained on (0.0 % under the same class)'
        """
        return (
            f"{100 * self.recording:.1f} % of the test clips come from a recording that is also trained on "
            f"({100 * self.recording_and_class:.1f} % under the same class)"
        )


def measure_leakage(dataset: Dataset, splits: Split | Sequence[Split]) -> Leakage:
    """How much the training clips give away about the test clips, pooled over the test clips of all splits.

    The look-up answers each test clip with the most frequent training label of its recording; where the recording was
    not trained on, with the most frequent of all. A tie goes to the class that stands first. In multi-label data the
    label is the whole set of a clip's classes, and the answer is right where all of it is.

    Raises:
        DatasetError: there is no test clip.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = tuple(Clip(path=Path(f"{i}.wav"), label="dog", source=s) for i, s in enumerate("AAB"))
    >>> data = Dataset(name="pets", root=Path("."), classes=("dog",), clips=clips)
    >>> measure_leakage(data, Split(np.array([0]), np.array([1, 2])))
    Leakage(recording=0.5, recording_and_class=0.5, lookup_accuracy=1.0)
    """
    splits = [splits] if isinstance(splits, Split) else list(splits)
    labels, source_of = _label_sets(dataset), np.unique(dataset.sources, return_inverse=True)[1].astype(np.int64)
    has = dataset.targets > 0
    total, seen, seen_alike, right = 0, 0, 0, 0
    for split in splits:
        guess = _look_up(source_of, labels, split)
        trained = np.zeros((source_of.max(initial=-1) + 1, has.shape[1]), bool)  # the classes of each recording
        np.logical_or.at(trained, source_of[split.train], has[split.train])
        total += len(split.test)
        seen += int(np.isin(source_of[split.test], source_of[split.train]).sum())
        seen_alike += int((trained[source_of[split.test]] & has[split.test]).any(axis=1).sum())
        right += int((guess == labels[split.test]).sum())
    if not total:
        raise DatasetError(f"{dataset.name} was split without a test clip: there is no leak to measure.")
    return Leakage(seen / total, seen_alike / total, right / total)


def _label_sets(dataset: Dataset) -> Indices:
    """A number for what each clip is labelled with, int64 [n]: its class, or in multi-label data its set of classes."""
    if not dataset.multi_label:
        return dataset.labels
    # Negative, so that of two sets the one with the earlier class comes first, as of two classes.
    _, number = np.unique(-dataset.targets, axis=0, return_inverse=True)
    return number.reshape(-1).astype(np.int64)


def _look_up(source_of: Indices, labels: Indices, split: Split) -> Indices:
    """The label of each test clip as its recording alone tells it, int64 [test]; −1 where nothing was trained on."""
    everywhere = np.bincount(labels[split.train], minlength=1)
    answer = np.full(source_of.max(initial=-1) + 1, everywhere.argmax() if len(split.train) else -1)
    pairs, counts = np.unique(np.stack([source_of[split.train], labels[split.train]]), axis=1, return_counts=True)
    sources, candidates = pairs
    order = np.lexsort((-candidates, counts))  # written in this order, the most frequent, then the first class, stays
    answer[sources[order]] = candidates[order]
    return answer[source_of[split.test]]

"""The task of a data set, single-label or multi-label, and all that differs between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.datasets import Dataset
from soundmark.metrics import single_label
from soundmark.metrics.intervals import Floats
from soundmark.metrics.multi_label import MultiSummary, mean_average_precision, summarize


def score_clips(
    dataset: Dataset,
    test: NDArray[np.int64],
    probabilities: Floats,
    *,
    thresholds: ArrayLike | None = None,
    seed: int = 0,
) -> single_label.Summary | MultiSummary:
    """The figures of ``probabilities`` [n, classes] on the clips ``test`` [n] of a data set, multi-label or not.

    >>> score_clips(city, np.arange(20), np.eye(10, dtype=np.float32)[city.labels[:20]]).headline.value
    1.0
    """
    sources, truth = dataset.sources[test], truth_of(dataset, test)
    if dataset.multi_label:
        return summarize(
            truth, probabilities, classes=dataset.classes, sources=sources, thresholds=thresholds, seed=seed
        )
    salience = [dataset.clips[i].salience for i in test]
    return single_label.summarize(
        truth, probabilities, classes=dataset.classes, sources=sources, salience=salience, seed=seed
    )


def truth_of(dataset: Dataset, test: NDArray[np.int64]) -> NDArray[Any]:
    """What the clips ``test`` [n] are labelled with: int64 [n]; of multi-label data float32 [n, classes].

    >>> truth_of(city, np.array([0])).shape
    (1,)
    """
    return dataset.targets[test] if dataset.multi_label else dataset.labels[test]


def headline(truth: NDArray[Any], probabilities: Floats) -> float:
    """The figure that stands for all others: the accuracy of labels [n], the mAP of targets [n, classes].

    >>> headline(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    0.5
    """
    if truth.ndim == 2:
        return mean_average_precision(truth, probabilities)
    return single_label.accuracy(truth, single_label.top_class(probabilities))

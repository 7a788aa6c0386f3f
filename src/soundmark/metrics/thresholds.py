"""Thresholds of multi-label data: which classes a clip is said to have, and the best threshold of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.datasets.dataset import SEPARATOR
from soundmark.errors import SettingsError
from soundmark.metrics.intervals import Floats

THRESHOLD = 0.5  # of a class for which none was found


Booleans = NDArray[np.bool_]


def present(probabilities: ArrayLike, thresholds: ArrayLike | None = None) -> Booleans:
    """Which classes an answer holds, bool [n, c]: those whose probability is at least the threshold, [c] or [n, c].

    >>> present([[0.9, 0.4], [0.2, 0.5]]).tolist(), present([[0.9, 0.4]], [0.95, 0.3]).tolist()
    ([[True, False], [False, True]], [[False, True]])
    """
    p = np.asarray(probabilities)
    return np.asarray(p >= as_thresholds(p, thresholds))


def label_text(chosen: Booleans, classes: Sequence[str]) -> str:
    """The names of the ``chosen`` classes, bool [c], as a label holds them.

    >>> label_text(np.array([True, False, True]), ["dog", "horn", "siren"])
    'dog;siren'
    """
    return SEPARATOR.join(name for name, is_chosen in zip(classes, chosen, strict=True) if is_chosen)


def best_thresholds(targets: ArrayLike, scores: ArrayLike) -> Floats:
    """For each class the threshold of the largest F1, float64 [c]: to be found on validation clips, never on others.

    A class is said to be present from its threshold on. The threshold lies halfway between the least score that is
    still called present and the next one below it (or 0); of several that give the same F1 it is the middle one, and
    0.5 for a class that no clip has.

    >>> best_thresholds([[1, 0], [1, 0], [0, 0]], [[0.9, 0.1], [0.5, 0.2], [0.25, 0.3]]).tolist()
    [0.375, 0.5]
    """
    truth, p = check_targets(targets, scores)
    return np.array([_best_threshold(truth[:, i], p[:, i]) for i in range(p.shape[1])], np.float64)


def _best_threshold(truth: Booleans, scores: Floats) -> float:
    if not truth.any():
        return THRESHOLD
    order, last = ranking(scores)
    hits = truth[order].cumsum()[last]
    f1 = 2 * hits / (truth.sum() + last + 1)
    best = np.flatnonzero(f1 >= f1.max() * (1 - 1e-12))  # so that rounding does not decide between equals
    place = best[(len(best) - 1) // 2]
    edges = np.append(scores[order][last], 0.0)
    middle = (edges[place] + edges[place + 1]) / 2
    return float(middle if middle > edges[place + 1] else edges[place])  # two neighbours have no number between them


def ranking(scores: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The clips by their scores, largest first, and the places in that order that are the last of their score.

    >>> order, last = ranking(np.array([0.5, 0.9, 0.5]))
    >>> order.tolist(), last.tolist()
    ([1, 0, 2], [0, 2])
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    return order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])


def as_thresholds(p: NDArray[Any], thresholds: ArrayLike | None) -> Floats:
    """The threshold of each probability, float64 [n, c].

    >>> as_thresholds(np.zeros((2, 2)), [0.3, 0.7]).tolist()
    [[0.3, 0.7], [0.3, 0.7]]
    """
    given = np.asarray(THRESHOLD if thresholds is None else thresholds, np.float64)
    if given.shape not in ((), p.shape[-1:], p.shape):
        raise SettingsError(f"there are thresholds {given.shape} for probabilities {p.shape}: pass one for each class.")
    return np.broadcast_to(given, p.shape)


def check_targets(
    targets: ArrayLike, probabilities: ArrayLike, *, least: float = 0.0, most: float = 1.0
) -> tuple[Booleans, Floats]:
    """Targets as bool [n, c] and probabilities as float64 [n, c], or one clear sentence.

    >>> check_targets([[1, 0]], [[0.9, 0.1]])
    (array([[ True, False]]), array([[0.9, 0.1]]))
    """
    truth, p = np.asarray(targets), np.asarray(probabilities, np.float64)
    if truth.ndim != 2 or truth.shape != p.shape:
        raise SettingsError(f"targets and probabilities must both be [n, classes], not {truth.shape} and {p.shape}.")
    for name, array, is_good, rule in (
        ("targets", truth, np.isin(truth, (0, 1)), "0 or 1"),
        ("probabilities", p, (p >= least) & (p <= most), f"between {least:g} and {most:g}"),  # NaN fails, too
    ):
        if not is_good.all():
            row = int(np.flatnonzero(~is_good.all(axis=1))[0])
            raise SettingsError(f"row {row} of the {name} is {array[row].tolist()}: each must be {rule}.")
    return truth.astype(bool), p

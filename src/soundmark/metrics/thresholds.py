"""Decision thresholds of multi-label data: apply thresholds, and find the best threshold of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.datasets.dataset import SEPARATOR
from soundmark.errors import SettingsError
from soundmark.metrics.intervals import Floats

THRESHOLD = 0.5  # default threshold of a class


Booleans = NDArray[np.bool_]


def present(probabilities: ArrayLike, thresholds: ArrayLike | None = None) -> Booleans:
    """Return which classes are predicted, bool [n, c]: probability at least the threshold ([c] or [n, c]).

    >>> present([[0.9, 0.4], [0.2, 0.5]]).tolist(), present([[0.9, 0.4]], [0.95, 0.3]).tolist()
    ([[True, False], [False, True]], [[False, True]])
    """
    p = np.asarray(probabilities)
    return np.asarray(p >= as_thresholds(p, thresholds))


def label_text(chosen: Booleans, classes: Sequence[str]) -> str:
    """Return the names of the ``chosen`` classes, bool [c], as a label.

    >>> label_text(np.array([True, False, True]), ["dog", "horn", "siren"])
    'dog;siren'
    """
    return SEPARATOR.join(name for name, is_chosen in zip(classes, chosen, strict=True) if is_chosen)


def best_thresholds(targets: ArrayLike, scores: ArrayLike) -> Floats:
    """Find the threshold with the largest F1 for each class, float64 [c]. Use validation clips, never test clips.

    A class is predicted if its score is at least the threshold. The threshold is the midpoint between the lowest score
    that is predicted as present and the next lower score (or 0). Of several thresholds with the same F1, the middle one
    is chosen. A class without clips has the threshold 0.5.

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
    best = np.flatnonzero(f1 >= f1.max() * (1 - 1e-12))  # tolerance for rounding errors
    chosen = best[(len(best) - 1) // 2]
    edges = np.append(scores[order][last], 0.0)
    middle = (edges[chosen] + edges[chosen + 1]) / 2
    return float(middle if middle > edges[chosen + 1] else edges[chosen])  # adjacent floats have no midpoint


def ranking(scores: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort clips by descending score; return their order and the positions in it where a run of equal scores ends.

    >>> order, last = ranking(np.array([0.5, 0.9, 0.5]))
    >>> order.tolist(), last.tolist()
    ([1, 0, 2], [0, 2])
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    return order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])


def as_thresholds(p: NDArray[Any], thresholds: ArrayLike | None) -> Floats:
    """Broadcast thresholds to the shape of the probabilities, float64 [n, c].

    >>> as_thresholds(np.zeros((2, 2)), [0.3, 0.7]).tolist()
    [[0.3, 0.7], [0.3, 0.7]]
    """
    given = np.asarray(THRESHOLD if thresholds is None else thresholds, np.float64)
    if given.shape not in ((), p.shape[-1:], p.shape):
        raise SettingsError(
            f"thresholds of shape {given.shape} do not match probabilities of shape {p.shape}: pass one per class."
        )
    return np.broadcast_to(given, p.shape)


def check_targets(
    targets: ArrayLike, probabilities: ArrayLike, *, minimum: float = 0.0, maximum: float = 1.0
) -> tuple[Booleans, Floats]:
    """Validate targets and probabilities; return them as bool [n, c] and float64 [n, c].

    >>> check_targets([[1, 0]], [[0.9, 0.1]])
    (array([[ True, False]]), array([[0.9, 0.1]]))
    """
    truth, p = np.asarray(targets), np.asarray(probabilities, np.float64)
    if truth.ndim != 2 or truth.shape != p.shape:
        raise SettingsError(f"targets and probabilities must both be [n, classes], not {truth.shape} and {p.shape}.")
    for name, array, is_good, rule in (
        ("targets", truth, np.isin(truth, (0, 1)), "0 or 1"),
        ("probabilities", p, (p >= minimum) & (p <= maximum), f"between {minimum:g} and {maximum:g}"),  # false for NaN
    ):
        if not is_good.all():
            row = int(np.flatnonzero(~is_good.all(axis=1))[0])
            raise SettingsError(f"row {row} of the {name} is {array[row].tolist()}: each must be {rule}.")
    return truth.astype(bool), p

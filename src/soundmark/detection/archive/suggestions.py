"""Choose windows to label next: those that are uncertain, and different from each other and from labelled ones.

The next window is the one with the largest product of

    uncertainty   1 − (p₁ − p₂), the margin of the two highest scores; unless the scores sum to 1, "none of the classes"
                  counts as a class of score 1 − p₁
    distance      1 − cosine similarity to the nearest window that is labelled or already chosen, on embeddings that are
                  standardised over the index

On its own, uncertainty chooses many windows of the same sound, and distance many that the model knows.

Source of the sequence by distance: O. Sener and S. Savarese, "Active Learning for Convolutional Neural Networks: A
Core-Set Approach", ICLR 2018.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_SPREAD = 1e-6  # added to each SD

ROUNDING = 2e-3  # four steps of half precision, relative

SUM_ROUNDING = 1e-3  # of the sum of scores in single precision

BLOCK = 512  # labelled windows that are compared at once


def uncertainty(scores: NDArray[np.floating], which: int | None = None) -> NDArray[np.float64]:
    """Return the uncertainty of windows, 0 to 1 ``[n]``, from their ``scores`` ``[n, classes]``.

    With ``which``, only the presence of this class counts. Scores that sum to 1 are those of a softmax, by which a
    window contains one of the classes; others are of independent classes, and a window may contain none of them.

    >>> uncertainty(np.array([[0.9, 0.1], [0.4, 0.6], [0.0, 0.1]])).round(2).tolist()
    [0.2, 0.8, 0.2]
    """
    scores = np.asarray(scores, np.float64)
    is_one = which is None and scores.shape[1] > 1 and np.abs(scores.sum(axis=1) - 1).max(initial=0) < SUM_ROUNDING
    if which is not None:
        scores = scores[:, which : which + 1]
    none = np.zeros((len(scores), 1)) if is_one else 1 - scores.max(axis=1, keepdims=True)
    ranked = np.sort(np.concatenate([scores, none], axis=1), axis=1)
    found: NDArray[np.float64] = 1 - (ranked[:, -1] - ranked[:, -2])
    return found


def standardised(embeddings: NDArray[np.floating], of: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return ``embeddings`` ``[n, d]`` with the mean and SD of the embeddings ``of`` removed, and scaled to length 1.

    Embeddings are stored in half precision, so others are rounded to it too; variation of a feature below ``ROUNDING``
    of its mean is ignored.

    >>> points = np.array([[1.0, 10.0], [3.0, 10.0]])
    >>> standardised(points, points).round(3).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    reference = np.asarray(of, np.float16).astype(np.float32)
    mean = reference.mean(axis=0)
    spread = reference.std(axis=0) + ROUNDING * np.abs(mean) + MIN_SPREAD
    z = (np.asarray(embeddings, np.float16).astype(np.float32) - mean) / spread
    found: NDArray[np.float32] = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), MIN_SPREAD)
    return found


def choose(
    directions: NDArray[np.float32],
    uncertainties: NDArray[np.float64],
    n: int,
    *,
    labelled: NDArray[np.float32] | None = None,
) -> list[int]:
    """Return up to ``n`` indices, the best first.

    ``directions`` ``[m, d]`` and ``labelled`` ``[k, d]`` have length 1 (see ``standardised``).

    >>> directions = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32)
    >>> choose(directions, np.array([0.9, 1.0, 0.8]), 2)
    [1, 2]
    """
    distance = np.full(len(directions), 2.0)
    for start in range(0, 0 if labelled is None else len(labelled), BLOCK):
        assert labelled is not None
        nearest = (directions @ labelled[start : start + BLOCK].T).max(axis=1)
        distance = np.minimum(distance, 1 - nearest.astype(np.float64))
    chosen: list[int] = []
    free = np.ones(len(directions), bool)
    for _ in range(min(n, len(directions))):
        best = int(np.argmax(np.where(free, distance * uncertainties, -1.0)))
        chosen.append(best)
        free[best] = False
        distance = np.minimum(distance, 1 - directions @ directions[best])
    return chosen

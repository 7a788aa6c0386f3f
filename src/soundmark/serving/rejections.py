"""Windows in which a class was likely and that are not detections, with the reason: for tuning a threshold by ear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soundmark.datasets.dataset import BACKGROUND
from soundmark.models.classifier import Model
from soundmark.models.streaming import WindowScores

NEAR = 0.5  # a class is likely from this fraction of its threshold on


UNFAMILIAR = "unlike the training data"


ABSENT = "the window probably has no sound of the model's classes"


BELOW = "below the threshold"


@dataclass(frozen=True)
class Rejection:
    """The most probable class of a window, and why the window is not a detection of it."""

    label: str
    start_s: float
    stop_s: float
    score: float
    threshold: float
    reason: str


def rejections(
    part: WindowScores, model: Model, thresholds: npt.NDArray[np.float64], *, unknown: bool
) -> list[Rejection]:
    """Return the rejections among windows; ``thresholds`` [classes], ``unknown`` as in the settings of the detection.

    >>> part = WindowScores(np.zeros(1), np.ones(1), np.full((1, len(model.classes)), 0.3), None, [[]])
    >>> [(found.score, found.reason) for found in rejections(part, model, model.threshold(), unknown=True)]
    [(0.3, 'below the threshold')]
    """
    found = []
    for row, p in enumerate(part.probabilities):
        best = int(np.argmax(p / np.maximum(thresholds, 1e-9)))
        reason = _reason(part, row, best, model, float(thresholds[best]), unknown)
        if reason and p[best] >= NEAR * thresholds[best]:
            times = float(part.start_s[row]), float(part.stop_s[row])
            found.append(Rejection(model.classes[best], *times, float(p[best]), float(thresholds[best]), reason))
    return found


def _reason(part: WindowScores, row: int, best: int, model: Model, threshold: float, unknown: bool) -> str | None:
    """Return why class ``best`` is not detected in a window; None if it is."""
    p = float(part.probabilities[row, best])
    if best in model.card.background_rows:
        return BACKGROUND
    if p < threshold:
        return BELOW
    familiarity, limit = part.familiarity, model.card.unknown
    if part.presence is not None:
        present = float(part.presence[row]) if unknown else 1.0
        return ABSENT if np.sqrt(p * present) < threshold else None
    is_unfamiliar = familiarity is not None and limit is not None and familiarity[row] < limit
    return UNFAMILIAR if unknown and is_unfamiliar else None

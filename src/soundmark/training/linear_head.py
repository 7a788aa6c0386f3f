"""A linear head on what a pretrained network makes of each clip: a shrunken linear discriminant, chosen by validation.

The shrinkage is chosen, and what the head says of clips that it has not seen is found, by cross-validation *inside* the
training part, whole recordings at a time. So nothing has to be kept back: the head itself is fitted on all of it.
NumPy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundmark.datasets import splits
from soundmark.training import calibration

FOLDS = 5  # of the cross-validation inside the training part


SHRINKAGES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """Logits are ``features @ weights + bias``; divided by ``temperature`` they are calibrated."""

    weights: np.ndarray  # float32 [d, classes]
    bias: np.ndarray  # float32 [classes]
    shrinkage: float
    temperature: float
    losses: Mapping[float, float]  # per shrinkage, the calibrated loss on held-out clips, in nats
    fold_of: np.ndarray  # int64 [n], the fold of the cross-validation that each clip was left out in
    held_out: np.ndarray  # float32 [n, classes]: logits of each clip by a head that has not seen its recording


def fit_head(
    features: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    *,
    views: np.ndarray | None = None,
    activation: str = "softmax",
    seed: int = 0,
) -> LinearHead:
    """The head for ``features`` ``[n, d]`` and ``targets`` ``[n, classes]``; ``sources`` ``[n]`` names the recordings.

    With ``views`` ``[v, n, d]``, the same clips heard in other ways, the discriminant is that of all the views, each an
    example of its own: the covariance then knows in what a sound differs from itself. What is held out is ``features``.

    Each feature is brought to mean 0 and SD 1. With the class means m and the covariance C of what is left when the
    targets have explained what they can, S = (1 − s)·C + s·tr(C)/d·I, and the logit of class k is
    xᵀS⁻¹m_k − ½·m_kᵀS⁻¹m_k (for ``sigmoid``, against the mean of the clips that are not of it). Of ``SHRINKAGES``, the
    s is taken whose loss on held-out clips, after its own temperature, is least. Clips of one recording differ less
    than recordings do, which is why so much shrinkage pays.

    Source: J. Friedman, "Regularized Discriminant Analysis", JASA 84 (1989), equation 18 with λ = 1.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 2
    >>> features = labels[:, None] + rng.normal(0, 0.2, (60, 4))
    >>> head = fit_head(features, np.eye(2)[labels], np.arange(60).astype(str))
    >>> head.held_out.shape, bool((head.held_out.argmax(1) == labels).all()), head.temperature > 0
    ((60, 2), True, True)
    """
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    shown = x[None] if views is None else views
    recordings = len(np.unique(sources))
    fold_of = splits.deal_recordings(sources, y, k=min(FOLDS, recordings), seed=seed)
    held_out = np.zeros((len(SHRINKAGES), *y.shape))
    for fold in np.unique(fold_of) if recordings > 1 else ():
        seen, kept = fold_of != fold, fold_of == fold
        for number, (weights, bias) in enumerate(_discriminants(shown[:, seen], y[seen], SHRINKAGES, activation)):
            held_out[number, kept] = x[kept] @ weights + bias
    # Of one recording nothing was held out: there is nothing to tell a temperature by.
    temperatures = [calibration.temperature(logits, y, activation) if recordings > 1 else 1.0 for logits in held_out]
    losses = [
        calibration.cross_entropy(logits / t, y, activation) for logits, t in zip(held_out, temperatures, strict=True)
    ]
    best = int(np.argmin(losses))
    ((weights, bias),) = _discriminants(shown, y, SHRINKAGES[best : best + 1], activation)
    return LinearHead(
        weights=weights.astype(np.float32),
        bias=bias.astype(np.float32),
        shrinkage=SHRINKAGES[best],
        temperature=temperatures[best],
        losses=dict(zip(SHRINKAGES, losses, strict=True)),
        fold_of=fold_of,
        held_out=held_out[best].astype(np.float32),
    )


def _discriminants(
    views: np.ndarray, y: Floats, shrinkages: tuple[float, ...], activation: str
) -> list[tuple[Floats, Floats]]:
    """Weights ``[d, classes]`` and bias ``[classes]`` for the features as they come, for each shrinkage.

    ``views`` are ``[v, n, d]``; the targets ``y`` ``[n, classes]`` are those of each view. One view at a time is held
    in double precision.
    """
    mean = views.mean((0, 1), dtype=np.float64)
    spread = np.sqrt(np.mean([np.square(view - mean).mean(0) for view in views], axis=0)) + 1e-6
    middle_view = (views.mean(0, dtype=np.float64) - mean) / spread  # what the targets explain is the same in all
    explained = np.concatenate([y, np.ones((len(y), 1))], axis=1)
    told = explained @ np.linalg.lstsq(explained, middle_view, rcond=None)[0]
    covariance = np.zeros((len(mean), len(mean)))
    for view in views:
        rest = (view - mean) / spread - told
        covariance += rest.T @ rest / (len(views) * len(rest))
    of = y.T @ middle_view / np.maximum(y.sum(0), 1)[:, None]  # each class' mean; 0, the middle, of one without clips
    other = (1 - y).T @ middle_view / np.maximum((1 - y).sum(0), 1)[:, None]
    found = []
    for shrinkage in shrinkages:
        shrunk = calibration.shrunken(covariance, shrinkage)
        solved = np.linalg.solve(shrunk, (of if activation == "softmax" else of - other).T)
        middle = of if activation == "softmax" else of + other
        bias = -0.5 * (middle * solved.T).sum(1)
        weights = solved / spread[:, None]
        found.append((weights, bias - mean @ weights))
    return found

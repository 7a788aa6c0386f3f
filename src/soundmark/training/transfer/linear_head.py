"""A linear head on a network's embeddings: linear discriminant analysis with shrinkage.

Cross-validation *inside* the training data, with folds by recording, selects the shrinkage and computes held-out
logits for calibration. So no validation clips are needed, and the head is fitted on all training clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from soundmark.datasets import splits
from soundmark.metrics.task import Task
from soundmark.runtime import parallel
from soundmark.training import calibration
from soundmark.training.moments import Floats, Moments

FOLDS = 5  # of the cross-validation inside the training data


SHRINKAGES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """A linear head: logits are ``features @ weights + bias``, and calibrated when divided by ``temperature``."""

    weights: np.ndarray  # float32 [d, classes]
    bias: np.ndarray  # float32 [classes]
    shrinkage: float
    temperature: float
    losses: Mapping[float, float]  # by shrinkage: the calibrated cross entropy on held-out clips, in nats
    fold_of: np.ndarray  # int64 [n], the fold of the cross-validation in which each clip was held out
    held_out: np.ndarray  # float32 [n, classes]: logits of each clip from a head fitted without its recording


def fit_head(
    features: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    *,
    views: np.ndarray | None = None,
    activation: str = "softmax",
    seed: int = 0,
) -> LinearHead:
    """Fit a head on ``features`` ``[n, d]`` and ``targets`` ``[n, classes]`` of clips from the recordings ``sources``.

    ``views`` ``[v, n, d]`` are the same clips in several views. If given, the head is fitted on all views as separate
    examples, so that the covariance includes the variation between views of one sound. The held-out logits are always
    computed from ``features``.

    Each feature is standardised to mean 0 and SD 1. Let m_k be the class means, and C the covariance of the residuals
    after a least-squares fit of the features on the targets. With S = (1 − s)·C + s·tr(C)/d·I, the logit of class k is
    xᵀS⁻¹m_k − ½·m_kᵀS⁻¹m_k. For ``sigmoid``, it is the discriminant between the clips with and without the label. The
    shrinkage s is the one of ``SHRINKAGES`` with the lowest cross entropy on held-out clips, each with its own
    temperature. Strong shrinkage helps because clips of one recording are more alike than recordings are.

    Source: J. Friedman, "Regularized Discriminant Analysis", JASA 84 (1989), equation 18 with λ = 1.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 2
    >>> features = labels[:, None] + rng.normal(0, 0.2, (60, 4))
    >>> head = fit_head(features, np.eye(2)[labels], np.arange(60).astype(str))
    >>> head.held_out.shape, bool((head.held_out.argmax(1) == labels).all()), head.temperature > 0
    ((60, 2), True, True)
    """
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    examples = x[None] if views is None else views
    recordings = len(np.unique(sources))
    fold_of = splits.assign_folds(sources, y, k=min(FOLDS, recordings), seed=seed)
    everything = Moments.of(examples, y)
    held_out = np.zeros((len(SHRINKAGES), *y.shape))

    def hold_out(fold: int) -> None:
        test = fold_of == fold
        others = everything - Moments.of(examples[:, test], y[test])
        for index, (weights, bias) in enumerate(_discriminants(others, SHRINKAGES, activation, np.float32)):
            held_out[index, test] = x[test] @ weights + bias

    parallel.map_in_threads(hold_out, np.unique(fold_of).tolist() if recordings > 1 else [])
    # With a single recording, nothing was held out: no temperature can be fitted.
    temperatures = [calibration.temperature(logits, y, activation) if recordings > 1 else 1.0 for logits in held_out]
    task = Task.named(activation)
    losses = [task.cross_entropy(logits / t, y) for logits, t in zip(held_out, temperatures, strict=True)]
    best = int(np.argmin(losses))
    ((weights, bias),) = _discriminants(everything, SHRINKAGES[best : best + 1], activation)
    return LinearHead(
        weights=weights.astype(np.float32),
        bias=bias.astype(np.float32),
        shrinkage=SHRINKAGES[best],
        temperature=temperatures[best],
        losses=dict(zip(SHRINKAGES, losses, strict=True)),
        fold_of=fold_of,
        held_out=held_out[best].astype(np.float32),
    )


def fit_weights(
    views: np.ndarray, targets: np.ndarray, shrinkage: float, *, activation: str = "softmax"
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a head like ``fit_head``, with a given ``shrinkage`` and no cross-validation: ten times as fast.

    ``views`` are ``[v, n, d]``, ``targets`` ``[n, classes]``. Returns the weights float32 ``[d, classes]`` and the bias
    float32 ``[classes]``.

    >>> labels = np.arange(60) % 2
    >>> features = labels[:, None] + np.random.default_rng(0).normal(0, 0.2, (60, 4))
    >>> weights, bias = fit_weights(features[None], np.eye(2)[labels], 0.9)
    >>> bool(((features @ weights + bias).argmax(1) == labels).all())
    True
    """
    return fit_moments(Moments.of(views, np.asarray(targets, np.float64)), shrinkage, activation=activation)


def fit_moments(
    moments: Moments, shrinkage: float, *, activation: str = "softmax", precision: type[np.floating] = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a head like ``fit_weights`` on the moments of the views.

    >>> labels = np.arange(60) % 2
    >>> features = labels[:, None] + np.random.default_rng(0).normal(0, 0.2, (60, 4))
    >>> weights, bias = fit_moments(Moments.of(features[None], np.eye(2)[labels]), 0.9)
    >>> bool(((features @ weights + bias).argmax(1) == labels).all())
    True
    """
    ((weights, bias),) = _discriminants(moments, (shrinkage,), activation, precision)
    return weights.astype(np.float32), bias.astype(np.float32)


def _discriminants(
    moments: Moments, shrinkages: tuple[float, ...], activation: str, precision: type[np.floating] = np.float64
) -> list[tuple[Floats, Floats]]:
    """Return weights ``[d, classes]`` and bias ``[classes]`` for unstandardised features, for each shrinkage.

    Single ``precision`` solves the equations in half the time, and is enough to compare shrinkages: the condition
    number of a shrunken covariance is below 10⁴.
    """
    mean, spread = moments.mean, moments.spread
    covariance = moments.residual_covariance() / np.outer(spread, spread)
    present = (moments.class_means - mean) / spread
    present[moments.class_sizes == 0] = 0
    absent = (moments.other_means - mean) / spread
    direction = (present if activation == "softmax" else present - absent).T
    heads = []
    for shrinkage in shrinkages:
        shrunk = calibration.shrunken(covariance, shrinkage).astype(precision, copy=False)
        solved = np.linalg.solve(shrunk, direction.astype(precision, copy=False)).astype(np.float64, copy=False)
        midpoint = present if activation == "softmax" else present + absent
        bias = -0.5 * (midpoint * solved.T).sum(1)
        weights = solved / spread[:, None]
        heads.append((weights, bias - mean @ weights))
    return heads


def with_backgrounds(
    views: np.ndarray, targets: np.ndarray, sources: np.ndarray, backgrounds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Append ``backgrounds`` ``[m, f]``, each a separate recording, as examples of one more class.

    Returns the views ``[v, n + m, f]``, targets and sources of all examples; a background is the same in every view.

    >>> found = with_backgrounds(np.zeros((2, 2, 3)), np.eye(2), np.array(["a", "b"]), np.ones((6, 3)))
    >>> found[0].shape, found[1][-1].tolist(), str(found[2][-1])
    ((2, 8, 3), [0.0, 0.0, 1.0], 'background 5')
    """
    m = len(backgrounds)
    views = np.concatenate([views, np.broadcast_to(backgrounds, (len(views), *backgrounds.shape))], axis=1)
    targets = np.pad(targets, ((0, m), (0, 1)))
    targets[-m:, -1] = 1
    names = np.array([f"background {number}" for number in range(m)])
    return views, targets, np.concatenate([sources.astype(str), names])

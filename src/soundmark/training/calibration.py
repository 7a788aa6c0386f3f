"""What validation clips say of a network: the temperature, and from which familiarity on a sound is of a known class.

NumPy alone. The clips are of the training part, kept back or left out in turn; never of the test part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from soundmark.datasets import splits
from soundmark.metrics.task import Task

SHRINKAGE = 0.6  # of the covariances: clips of one recording differ less than recordings do (benchmarks/UNKNOWN.md)


TURNS = 15  # in how many parts recordings are left out, to learn how familiar a new one of a known class is


def logistic(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−z)), written so that it does not overflow.

    >>> logistic(np.array([-1e9, 0.0, np.log(3.0)])).tolist()
    [0.0, 0.5, 0.75]
    """
    result: np.ndarray = 0.5 + 0.5 * np.tanh(0.5 * z)
    return result


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """How much a sound is like those that a network was trained on: what "none of these" is told by.

    Of an embedding x, in units of the training part's mean and SD, with class means m, covariance C within the classes
    and C₀ of all together, it is the squared Mahalanobis distance to the middle of everything less that to the nearest
    class,

        f = xᵀC₀⁻¹x − min_k (x − m_k)ᵀC⁻¹(x − m_k)          and then 1 / (1 + exp(−(f − middle) / spread)),

    where ``middle`` and ``spread`` are f's mean and SD over validation clips: a number between 0 and 1.

    Source: J. Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection", 2021.
    """

    mean: np.ndarray  # float32 [d]
    scale: np.ndarray  # float32 [d], 1 / SD
    classes: np.ndarray  # float32 [k, d], means of the classes that there are clips of
    within: np.ndarray  # float32 [d, d], C⁻¹
    overall: np.ndarray  # float32 [d, d], C₀⁻¹
    middle: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, embeddings: np.ndarray, targets: np.ndarray) -> Familiarity:
        """From training clips: ``embeddings`` ``[n, d]``, ``targets`` ``[n, classes]``; ``told_by`` sets the rest.

        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(200) % 2
        >>> known = rng.normal(0, 1, (200, 3)) + 9 * labels[:, None]
        >>> familiar = Familiarity.of(known, np.eye(2)[labels])
        >>> bool(familiar(np.full((1, 3), 4.5))[0] < familiar(known).min())  # between the classes
        True
        """
        x, y = np.asarray(embeddings, np.float64), np.asarray(targets, np.float64)
        mean, scale = x.mean(0), 1 / (x.std(0) + 1e-6)
        z = (x - mean) * scale
        y = y[:, y.sum(0) > 0]
        classes = y.T @ z / y.sum(0)[:, None]
        rest = z - (y @ classes) / np.maximum(y.sum(1, keepdims=True), 1)
        return cls(
            mean=mean.astype(np.float32),
            scale=scale.astype(np.float32),
            classes=classes.astype(np.float32),
            within=_inverse(rest.T @ rest / len(z)),
            overall=_inverse(z.T @ z / len(z)),
        )

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """The familiarity of each embedding of ``[n, d]``, float64 ``[n]``."""
        return self.squash(self.raw(embeddings))

    def squash(self, raw: np.ndarray) -> np.ndarray:
        """What ``raw`` gives, ``[n]``, to a number between 0 and 1 that grows with it."""
        return logistic((raw - self.middle) / self.spread)

    def raw(self, embeddings: np.ndarray) -> np.ndarray:
        """The f of each embedding of ``[n, d]``, float64 ``[n]``."""
        z = (np.asarray(embeddings, np.float64) - self.mean) * self.scale
        away = [((z - own) @ self.within * (z - own)).sum(1) for own in self.classes.astype(np.float64)]
        result: np.ndarray = (z @ self.overall * z).sum(1) - np.min(away, axis=0)
        return result

    def told_by(self, held_out: np.ndarray) -> Familiarity:
        """With middle and spread from f of validation clips ``[n]``."""
        return replace(self, middle=float(held_out.mean()), spread=float(held_out.std() + 1e-6))


def held_out_familiarity(
    embeddings: np.ndarray, targets: np.ndarray, sources: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """The ``Familiarity.raw`` of each training clip, float64 ``[n]``, to one that has not heard its recording.

    ``embeddings`` are ``[n, d]``, ``targets`` ``[n, classes]``, and ``sources`` ``[n]`` names at least two recordings.
    Left out a fifteenth at a time: the fewer are left, the stranger everything seems, and the looser the threshold.

    >>> rng = np.random.default_rng(0)
    >>> heard = rng.normal(size=(40, 3))
    >>> held_out_familiarity(heard, np.eye(2)[np.arange(40) % 2], (np.arange(40) // 4).astype(str)).shape
    (40,)
    """
    fold_of = splits.deal_recordings(sources, targets, k=min(TURNS, len(np.unique(sources))), seed=seed)
    raw = np.zeros(len(targets))
    for fold in np.unique(fold_of):
        kept = fold_of == fold
        if kept.all():
            continue  # of one recording nothing can be left out
        raw[kept] = Familiarity.of(embeddings[~kept], targets[~kept]).raw(embeddings[kept])
    return raw


def shrunken(covariance: np.ndarray, share: float) -> np.ndarray:
    """``covariance`` ``[d, d]`` moved by ``share`` towards a sphere of the same size, so that it can be inverted.

    >>> shrunken(np.array([[3.0, 1.0], [1.0, 1.0]]), 0.5).tolist()
    [[2.5, 0.5], [0.5, 1.5]]
    """
    size = max(float(np.trace(covariance)) / len(covariance), 1e-6)
    result: np.ndarray = (1 - share) * covariance + share * size * np.eye(len(covariance))
    return result


def _inverse(covariance: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.linalg.inv(shrunken(covariance, SHRINKAGE)).astype(np.float32)
    return result


LOWEST, HIGHEST = 0.01, 1000.0  # temperatures


GOLDEN = (math.sqrt(5) - 1) / 2


FEWEST = 20  # validation clips with which there is something to tell


def temperature(logits: np.ndarray, targets: np.ndarray, activation: str = "softmax") -> float:
    """What logits are divided by so that the cross entropy is least, by golden-section search on its logarithm.

    1 where there are fewer than ``FEWEST`` clips. The loss has one minimum: in 1/T it is convex. Each clip counts as
    its own class but for 1 / (n + 2) of it, spread over all: n right answers do not mean that the next is right, too.

    Source: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2; J. Platt, "Probabilistic
    Outputs for Support Vector Machines", 1999, for the rest of a class.

    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 4000)
    >>> honest = np.where(rng.random(4000) < 0.8, labels, 1 - labels)  # right four times of five, sure of 0.98
    >>> round(temperature(8 * np.eye(2)[honest] - 4, np.eye(2)[labels]), 1)
    5.8
    """
    if len(logits) < FEWEST:
        return 1.0
    task = Task.named(activation)
    targets = task.smoothed(targets, 1 / (len(targets) + 2))
    low, high = math.log(LOWEST), math.log(HIGHEST)
    inner, outer = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at = {t: task.cross_entropy(logits / math.exp(t), targets) for t in (inner, outer)}
    while high - low > 1e-4:
        if at[inner] < at[outer]:
            high, outer, inner = outer, inner, outer - GOLDEN * (outer - low)
            at[inner] = task.cross_entropy(logits / math.exp(inner), targets)
        else:
            low, inner, outer = inner, outer, inner + GOLDEN * (high - inner)
            at[outer] = task.cross_entropy(logits / math.exp(outer), targets)
    return math.exp((low + high) / 2)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was settled on ``clips`` validation clips; with its defaults, nothing."""

    clips: int = 0
    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None  # per class, of several classes at once
    familiarity: Familiarity | None = None
    unknown: float | None = None  # the familiarity below which the answer is "none of these"


def calibrate(
    logits: np.ndarray,
    targets: np.ndarray,
    activation: str,
    *,
    familiarity: Familiarity | None = None,
    raw: np.ndarray | None = None,
    kept: float = 0.95,
) -> Calibration:
    """What is settled on validation clips; nothing where there are fewer than ``FEWEST``.

    ``logits`` and ``targets`` are ``[n, classes]``; ``raw`` ``[n]`` is their ``Familiarity.raw``, of which the share
    ``kept`` shall be taken as known.

    >>> rng = np.random.default_rng(0)
    >>> calibrate(rng.normal(size=(100, 2)), np.eye(2)[rng.integers(0, 2, 100)], "softmax").clips
    100
    """
    if len(logits) < FEWEST:
        return Calibration()
    heat = temperature(logits, targets, activation)
    found = Calibration(clips=len(logits), temperature=heat)
    best = Task.named(activation).best_thresholds(targets, logits, heat)
    if best is not None:
        found = replace(found, thresholds=tuple(float(number) for number in best))
    if familiarity is None or raw is None:
        return found
    familiarity = familiarity.told_by(raw)
    unknown = float(np.quantile(familiarity.squash(raw), 1 - kept))
    return replace(found, familiarity=familiarity, unknown=unknown)

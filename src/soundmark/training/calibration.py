"""Calibrate a network on validation clips: temperature, thresholds, and the threshold for unknown sounds.

Uses NumPy only. The validation clips are part of the training data, held out once or by cross-validation; they are
never test clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from soundmark.datasets import splits
from soundmark.metrics.task import Task

SHRINKAGE = 0.6  # of the covariances: clips of one recording are more alike than recordings are (benchmarks/UNKNOWN.md)


EVENT_THRESHOLD = 0.37  # for events of models with presence: chosen on left-out classes and folds (LOG.md, 2026-11-27)


N_FOLDS = 15  # of the cross-validation that measures the familiarity of new recordings of known classes


def logistic(z: np.ndarray) -> np.ndarray:
    """Compute 1 / (1 + exp(−z)) without overflow.

    >>> logistic(np.array([-1e9, 0.0, np.log(3.0)])).tolist()
    [0.0, 0.5, 0.75]
    """
    result: np.ndarray = 0.5 + 0.5 * np.tanh(0.5 * z)
    return result


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """Familiarity: how similar a sound is to the training data. Sounds with a low familiarity are "unknown".

    Let x be an embedding standardised by the mean and SD of the training data, m_k the class means, C the covariance
    within the classes and C₀ the covariance of all classes together. The raw familiarity f is the squared Mahalanobis
    distance to the overall mean minus the one to the nearest class. It is then scaled to a number between 0 and 1:

        f = xᵀC₀⁻¹x − min_k (x − m_k)ᵀC⁻¹(x − m_k)
        familiarity = 1 / (1 + exp(−(f − middle) / spread))

    ``middle`` and ``spread`` are the mean and SD of f over validation clips.

    Source: J. Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection", 2021.
    """

    mean: np.ndarray  # float32 [d]
    scale: np.ndarray  # float32 [d], 1 / SD
    classes: np.ndarray  # float32 [k, d], means of the classes that have clips
    within: np.ndarray  # float32 [d, d], C⁻¹
    overall: np.ndarray  # float32 [d, d], C₀⁻¹
    middle: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, embeddings: np.ndarray, targets: np.ndarray) -> Familiarity:
        """Fit to training clips, ``embeddings`` ``[n, d]`` and ``targets`` ``[n, classes]``, without middle and spread.

        ``with_scale_of`` sets those.

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
        """Return the familiarity of ``embeddings`` ``[n, d]``, float64 ``[n]``."""
        return self.scale_raw(self.raw(embeddings))

    def scale_raw(self, raw: np.ndarray) -> np.ndarray:
        """Scale raw familiarities ``[n]`` to numbers between 0 and 1."""
        return logistic((raw - self.middle) / self.spread)

    def raw(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the raw familiarity f of ``embeddings`` ``[n, d]``, float64 ``[n]``."""
        z = (np.asarray(embeddings, np.float64) - self.mean) * self.scale
        distances = [((z - mean) @ self.within * (z - mean)).sum(1) for mean in self.classes.astype(np.float64)]
        result: np.ndarray = (z @ self.overall * z).sum(1) - np.min(distances, axis=0)
        return result

    def with_scale_of(self, held_out: np.ndarray) -> Familiarity:
        """Return a copy with middle and spread from the raw familiarities ``[n]`` of validation clips."""
        return replace(self, middle=float(held_out.mean()), spread=float(held_out.std() + 1e-6))


def held_out_familiarity(
    embeddings: np.ndarray, targets: np.ndarray, sources: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """Return the raw familiarity of each training clip, float64 ``[n]``, by cross-validation over recordings.

    Each clip is scored by a ``Familiarity`` that was fitted without its recording. ``embeddings`` are ``[n, d]``,
    ``targets`` ``[n, classes]``, and ``sources`` ``[n]`` names at least two recordings. There are 15 folds: with fewer
    training clips per fold, all held-out clips would seem less familiar, and the threshold would be too low.

    >>> rng = np.random.default_rng(0)
    >>> embeddings = rng.normal(size=(40, 3))
    >>> held_out_familiarity(embeddings, np.eye(2)[np.arange(40) % 2], (np.arange(40) // 4).astype(str)).shape
    (40,)
    """
    fold_of = splits.assign_folds(sources, targets, k=min(N_FOLDS, len(np.unique(sources))), seed=seed)
    raw = np.zeros(len(targets))
    for fold in np.unique(fold_of):
        held_out = fold_of == fold
        if held_out.all():
            continue  # there is only one recording
        raw[held_out] = Familiarity.of(embeddings[~held_out], targets[~held_out]).raw(embeddings[held_out])
    return raw


def shrunken(covariance: np.ndarray, share: float) -> np.ndarray:
    """Shrink ``covariance`` ``[d, d]`` by ``share`` towards a multiple of the identity with the same trace.

    The result is invertible.

    >>> shrunken(np.array([[3.0, 1.0], [1.0, 1.0]]), 0.5).tolist()
    [[2.5, 0.5], [0.5, 1.5]]
    """
    variance = max(float(np.trace(covariance)) / len(covariance), 1e-6)
    result: np.ndarray = (1 - share) * covariance + share * variance * np.eye(len(covariance))
    return result


def _inverse(covariance: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.linalg.inv(shrunken(covariance, SHRINKAGE)).astype(np.float32)
    return result


@dataclass(frozen=True, kw_only=True)
class Presence:
    """Presence: how likely a window contains a sound of the classes at all, 0 to 1. It decides on events.

    Let z_k be the calibrated logits of the classes, b the one of the background, which is one more class of the same
    discriminant, and f the raw familiarity. With S(x) = 1 / (1 + exp(−x)):

        known = (f − familiarity) / familiarity_spread + (max z_k − b − margin) / margin_spread
        presence = S(ln Σ exp(z_k) − b) · S(known / spread)

    The means and SDs are those of held-out clips.
    """

    weights: np.ndarray  # float32 [features], of the background's logit before calibration
    bias: float
    temperature: float
    familiarity: float  # mean
    familiarity_spread: float  # SD
    margin: float
    margin_spread: float
    spread: float

    @classmethod
    def of(cls, logits: np.ndarray, raw: np.ndarray, weights: np.ndarray, bias: float, temperature: float) -> Presence:
        """Fit to held-out clips: ``logits`` ``[n, classes + 1]``, the last one the background's, and ``raw`` ``[n]``.

        >>> rng = np.random.default_rng(0)
        >>> fitted = Presence.of(rng.normal(size=(50, 3)), rng.normal(size=50), np.zeros(4), 0.0, 1.0)
        >>> fitted(np.zeros((1, 2)), np.zeros(1), np.zeros(1)).shape
        (1,)
        """
        z = np.asarray(logits, np.float64) / temperature
        margin = z[:, :-1].max(1) - z[:, -1]
        f_mean, f_sd, m_mean, m_sd = raw.mean(), raw.std() + 1e-6, margin.mean(), margin.std() + 1e-6
        spread = float(((raw - f_mean) / f_sd + (margin - m_mean) / m_sd).std() + 1e-6)
        return cls(
            weights=np.asarray(weights, np.float32),
            bias=float(bias),
            temperature=float(temperature),
            familiarity=float(f_mean),
            familiarity_spread=float(f_sd),
            margin=float(m_mean),
            margin_spread=float(m_sd),
            spread=spread,
        )

    def __call__(self, logits: np.ndarray, background: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Return the presence ``[n]`` for ``logits`` ``[n, classes]``, and ``background`` and ``raw`` ``[n]``."""
        z, b = np.asarray(logits, np.float64) / self.temperature, np.asarray(background, np.float64) / self.temperature
        odds = np.logaddexp.reduce(z, axis=1) - b
        margin = (z.max(1) - b - self.margin) / self.margin_spread
        known = ((raw - self.familiarity) / self.familiarity_spread + margin) / self.spread
        return logistic(odds) * logistic(known)


MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 1000.0


GOLDEN = (math.sqrt(5) - 1) / 2


MIN_CLIPS = 20  # validation clips required for calibration


def temperature(logits: np.ndarray, targets: np.ndarray, activation: str = "softmax") -> float:
    """Return the temperature that minimises the cross entropy of ``logits / temperature``.

    It is found by golden-section search over its logarithm. The loss is convex in 1/T, so it has one minimum. With
    fewer than ``MIN_CLIPS`` clips, the temperature is 1. The targets are smoothed by 1 / (n + 2): even if all n clips
    are classified correctly, the next one may not be.

    Source: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2; J. Platt, "Probabilistic
    Outputs for Support Vector Machines", 1999, for the smoothing.

    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 4000)
    >>> predicted = np.where(rng.random(4000) < 0.8, labels, 1 - labels)  # accuracy 0.8, confidence 0.98
    >>> round(temperature(8 * np.eye(2)[predicted] - 4, np.eye(2)[labels]), 1)
    5.8
    """
    if len(logits) < MIN_CLIPS:
        return 1.0
    task = Task.named(activation)
    targets = task.smoothed(targets, 1 / (len(targets) + 2))
    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    inner, outer = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    losses = {t: task.cross_entropy(logits / math.exp(t), targets) for t in (inner, outer)}
    while high - low > 1e-4:
        if losses[inner] < losses[outer]:
            high, outer, inner = outer, inner, outer - GOLDEN * (outer - low)
            losses[inner] = task.cross_entropy(logits / math.exp(inner), targets)
        else:
            low, inner, outer = inner, outer, inner + GOLDEN * (high - inner)
            losses[outer] = task.cross_entropy(logits / math.exp(outer), targets)
    return math.exp((low + high) / 2)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The calibration from ``clips`` validation clips; the defaults mean that nothing was calibrated."""

    clips: int = 0
    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None  # per class, of multi-label models
    familiarity: Familiarity | None = None
    unknown: float | None = None  # the familiarity below which a sound is "unknown"
    presence: Presence | None = None  # of recipes with backgrounds
    event_thresholds: tuple[float, ...] | None = None  # per class, with presence


def calibrate(
    logits: np.ndarray,
    targets: np.ndarray,
    activation: str,
    *,
    familiarity: Familiarity | None = None,
    raw: np.ndarray | None = None,
    kept: float = 0.95,
) -> Calibration:
    """Calibrate on validation clips; with fewer than ``MIN_CLIPS``, calibrate nothing.

    ``logits`` and ``targets`` are ``[n, classes]``. ``raw`` ``[n]`` is the raw familiarity of the clips. The threshold
    for "unknown" is chosen so that the fraction ``kept`` of the clips counts as known.

    >>> rng = np.random.default_rng(0)
    >>> calibrate(rng.normal(size=(100, 2)), np.eye(2)[rng.integers(0, 2, 100)], "softmax").clips
    100
    """
    if len(logits) < MIN_CLIPS:
        return Calibration()
    fitted = temperature(logits, targets, activation)
    found = Calibration(clips=len(logits), temperature=fitted)
    best = Task.named(activation).best_thresholds(targets, logits, fitted)
    if best is not None:
        found = replace(found, thresholds=tuple(float(number) for number in best))
    if familiarity is None or raw is None:
        return found
    familiarity = familiarity.with_scale_of(raw)
    unknown = float(np.quantile(familiarity.scale_raw(raw), 1 - kept))
    return replace(found, familiarity=familiarity, unknown=unknown)

"""Calibrate a network on validation clips: temperature, thresholds, and the threshold for unknown sounds.

Uses NumPy only. The validation clips are part of the training data, held out once or by cross-validation; they are
never test clips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soundmark.datasets import splits
from soundmark.metrics.task import Task
from soundmark.runtime import parallel
from soundmark.training.moments import Moments

SHRINKAGE = 0.6  # of the covariances: clips of one recording are more alike than recordings are (benchmarks/UNKNOWN.md)


EVENT_THRESHOLD = 0.32  # for events of models with presence and recordings of nature: chosen on hours of sound (LOG.md)


EVENT_THRESHOLD_OF_NOISE = 0.4  # the same with synthetic backgrounds alone


ODDS_SLOPE, ODDS_OFFSET = 2.0, 1.0  # of the first factor of presence: chosen on the same hours


RARE = 0.005  # fraction of the training clips whose logit of an AudioSet class is counted as unusual


NEVER = -1000.0  # the novelty of features that are no logits: below any other


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
        return cls.of_moments(Moments.of(np.asarray(embeddings)[None], np.asarray(targets)))

    @classmethod
    def of_moments(cls, moments: Moments) -> Familiarity:
        """Fit to the moments of training clips.

        >>> Familiarity.of_moments(Moments.of(np.zeros((1, 4, 3)), np.eye(2)[np.arange(4) % 2])).classes.shape
        (2, 3)
        """
        mean, scale = moments.mean, 1 / moments.spread
        classes = (moments.class_means[moments.class_sizes > 0] - mean) * scale
        return cls(
            mean=mean.astype(np.float32),
            scale=scale.astype(np.float32),
            classes=classes.astype(np.float32),
            within=_inverse(moments.residual_covariance() * np.outer(scale, scale)),
            overall=_inverse(moments.covariance() * np.outer(scale, scale)),
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
        means = self.classes.astype(np.float64)
        products = z @ self.within
        # (z − m)ᵀA(z − m) = zᵀAz − 2·zᵀAm + mᵀAm, as A is symmetric
        distances = (products * z).sum(1)[:, None] - 2 * products @ means.T + (means @ self.within * means).sum(1)
        result: np.ndarray = (z @ self.overall * z).sum(1) - distances.min(1)
        return result

    def with_scale_of(self, held_out: np.ndarray) -> Familiarity:
        """Return a copy with middle and spread from the raw familiarities ``[n]`` of validation clips."""
        return replace(self, middle=float(held_out.mean()), spread=float(held_out.std() + 1e-6))


def fit_familiarity(
    views: np.ndarray, targets: np.ndarray, sources: np.ndarray, *, seed: int = 0
) -> tuple[Familiarity, np.ndarray]:
    """Fit to all views of training clips; return also the raw familiarity of each clip, float64 ``[n]``, held out.

    Each clip is scored in its first view by a ``Familiarity`` that was fitted on all views without its recording.
    ``views`` are embeddings ``[v, n, d]``, ``targets`` ``[n, classes]``, and ``sources`` ``[n]`` names at least two
    recordings. There are 15 folds: with fewer training clips per fold, all held-out clips would seem less familiar, and
    the threshold would be too low.

    >>> rng = np.random.default_rng(0)
    >>> views = rng.normal(size=(1, 40, 3))
    >>> familiarity, raw = fit_familiarity(views, np.eye(2)[np.arange(40) % 2], (np.arange(40) // 4).astype(str))
    >>> familiarity.classes.shape, raw.shape
    ((2, 3), (40,))
    """
    fold_of = splits.assign_folds(sources, targets, k=min(N_FOLDS, len(np.unique(sources))), seed=seed)
    folds, raw = Moments.by_fold(views, targets, fold_of), np.zeros(len(targets))
    everything = Moments.sum(folds.values())

    def hold_out(fold: int) -> None:
        test = fold_of == fold
        raw[test] = Familiarity.of_moments(everything - folds[fold]).raw(views[0, test])

    parallel.map_in_threads(hold_out, list(folds))
    return Familiarity.of_moments(everything), raw


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
class Novelty:
    """Novelty: whether a sound is of a kind that a pretrained network knows, but the training clips do not contain.

    Let a_i be the network's logits for AudioSet's classes, q_i their 99.5 % quantiles over the training clips, and s_i
    their SDs. Then

        novelty = max_i (a_i − q_i) / s_i
    """

    scale: np.ndarray  # float32 [features]: 1 / s_i; 0 for features that are no logits
    shift: np.ndarray  # float32 [features]: −q_i / s_i; very low for features that are no logits

    @classmethod
    def of(cls, views: np.ndarray, first: int) -> Novelty:
        """Fit to ``views`` ``[v, n, features]`` of training clips, whose logits are the features from ``first`` on.

        >>> fitted = Novelty.of(np.random.default_rng(0).normal(size=(1, 1000, 4)), first=1)
        >>> bool(fitted(np.zeros((1, 4)))[0] < -2 < 2 < fitted(np.array([[0.0, 0.0, 0.0, 6.0]]))[0])
        True
        """
        logits = np.ascontiguousarray(views[:, :, first:].reshape(-1, views.shape[2] - first).T)
        spread = logits.std(1, dtype=np.float64) + 1e-6
        shift = -np.quantile(logits, 1 - RARE, axis=1) / spread
        return cls(
            scale=np.pad(1 / spread, (first, 0)).astype(np.float32),
            shift=np.pad(shift, (first, 0), constant_values=NEVER).astype(np.float32),
        )

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the novelty ``[n]`` of ``features`` ``[n, features]``."""
        novelty: np.ndarray = (features * self.scale + self.shift).max(1)
        return novelty


def held_out_novelty(views: np.ndarray, first: int, fold_of: np.ndarray) -> np.ndarray:
    """Return the novelty of each training clip in its first view, ``[n]``, fitted without the clips of its fold.

    >>> views = np.random.default_rng(0).normal(size=(1, 20, 4))
    >>> held_out_novelty(views, 1, np.arange(20) % 2).shape
    (20,)
    """
    found = np.zeros(len(fold_of))

    def hold_out(fold: int) -> None:
        test = fold_of == fold
        found[test] = Novelty.of(views[:, ~test], first)(views[0, test])

    parallel.map_in_threads(hold_out, np.unique(fold_of).tolist())
    return found


@dataclass(frozen=True)
class Standard:
    """The mean and SD of a measure over held-out clips."""

    mean: float
    spread: float

    @classmethod
    def of(cls, values: np.ndarray) -> Standard:
        """Measure ``values``.

        >>> Standard.of(np.array([1.0, 3.0]))(np.array([4.0])).round(3)
        array([2.])
        """
        return cls(float(values.mean()), float(values.std() + 1e-6))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return (values − mean) / spread."""
        return (values - self.mean) / self.spread


@dataclass(frozen=True, kw_only=True)
class Presence:
    """Presence: how likely a window contains a sound of the classes at all, 0 to 1. It decides on events.

    Let z_k be the calibrated logits of the classes that are no background, b the one of the background, f the raw
    familiarity and v the novelty, if there is one. With S(x) = 1 / (1 + exp(−x)), and the second factor standardised
    over held-out clips of these classes,

        known = standardised f + standardised (max z_k − b) − standardised v
        presence = S(2·(ln Σ exp(z_k) − b) − 1) · S(known / spread)

    The groups of backgrounds are further classes of the same discriminant. exp(b) is the sum over them, and over the
    background classes of the data set, if there are any.
    """

    weights: np.ndarray  # float32 [features, groups], of the logits of the backgrounds before calibration
    bias: np.ndarray  # float32 [groups]
    temperature: float
    familiarity: Standard
    margin: Standard
    spread: float
    novelty: Novelty | None = None
    novelty_standard: Standard = Standard(0.0, 1.0)
    background_rows: tuple[int, ...] = ()  # the classes of the data set that are background

    @classmethod
    def of(
        cls,
        logits: np.ndarray,
        raw: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray,
        temperature: float,
        *,
        novelty: Novelty | None = None,
        novelties: np.ndarray | None = None,
        background_rows: Sequence[int] = (),
    ) -> Presence:
        """Fit to held-out clips of classes that are no background: ``logits`` and raw familiarity ``raw`` ``[n]``.

        ``logits`` are ``[n, classes + groups]``, the last ones those of the groups of backgrounds. ``novelty`` is
        fitted on all training clips; ``novelties`` ``[n]`` are those of the held-out clips. ``background_rows`` are
        the background classes.

        >>> rng = np.random.default_rng(0)
        >>> fitted = Presence.of(rng.normal(size=(50, 3)), rng.normal(size=50), np.zeros((4, 1)), np.zeros(1), 1.0)
        >>> fitted(np.zeros((1, 2)), np.zeros((1, 1)), np.zeros(1)).shape
        (1,)
        """
        rows = tuple(background_rows)
        groups = range(logits.shape[1] - len(bias), logits.shape[1])
        z, b = _split(np.asarray(logits, np.float64) / temperature, (*rows, *groups))
        margins = z.max(1) - b
        fitted = cls(
            weights=np.asarray(weights, np.float32),
            bias=np.asarray(bias, np.float32),
            temperature=float(temperature),
            familiarity=Standard.of(raw),
            margin=Standard.of(margins),
            spread=1.0,
            novelty=novelty,
            novelty_standard=Standard(0.0, 1.0) if novelties is None else Standard.of(novelties),
            background_rows=rows,
        )
        return replace(fitted, spread=Standard.of(fitted._known(raw, margins, novelties)).spread)

    def __call__(
        self, logits: np.ndarray, backgrounds: np.ndarray, raw: np.ndarray, novelties: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the presence ``[n]``.

        ``logits`` are ``[n, classes]``, ``backgrounds`` the logits of the groups ``[n, groups]``; ``raw`` and
        ``novelties``, if there is a novelty, ``[n]``.
        """
        both = np.column_stack([logits, backgrounds]).astype(np.float64) / self.temperature
        z, b = _split(both, (*self.background_rows, *range(logits.shape[1], both.shape[1])))
        odds = np.logaddexp.reduce(z, axis=1) - b
        return logistic(ODDS_SLOPE * odds - ODDS_OFFSET) * logistic(
            self._known(raw, z.max(1) - b, novelties) / self.spread
        )

    def _known(self, raw: np.ndarray, margins: np.ndarray, novelties: np.ndarray | None) -> np.ndarray:
        known = self.familiarity(raw) + self.margin(margins)
        return known if novelties is None else known - self.novelty_standard(novelties)


def _split(logits: np.ndarray, background: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of the classes that are no background, and the one of all that are, ``[n]``."""
    rows = list(background)
    return np.delete(logits, rows, axis=1), np.logaddexp.reduce(logits[:, rows], axis=1)


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
    nature: tuple[str, ...] = ()  # the families of recordings among the backgrounds


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

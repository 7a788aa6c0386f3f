"""Extrapolate a learning curve: the score that more recordings of the same kind would give, with an interval.

The error (1 − score) falls as a power of the number of recordings, b·n^−c, with 0 ≤ c ≤ 1. Few points determine the
exponent c badly, so it is drawn towards a typical value, which is uncertain too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundmark.metrics.intervals import Floats, Interval

LEVEL = 0.8  # of the interval of an extrapolation


FACTOR = 2.0  # an extrapolation is to this many times the recordings


TYPICAL_EXPONENT = 0.28  # learning curves of classifiers have exponents of 0.07 to 0.5


TYPICAL_SPREAD = 0.07  # standard deviation of the typical exponent


TYPICAL_WEIGHT = 5.0  # of the typical exponent, relative to a sum of squares of ln(n); see ``fit_power_law``


LEAST_ERROR = 0.1  # of the largest error of a curve; a smaller one is set to it: its logarithm would dominate


TINY = 1e-6  # the least error if all scores are 1


REPLICATES = 1000  # random curves from which an interval is computed


LARGEST = 2  # sizes, the largest below "all", from which the variation between training sets is estimated


@dataclass(frozen=True, kw_only=True)
class PowerLaws:
    """The curves 1 − ``scale``·n^−``exponent``, one for each entry of the arrays ``[m]``."""

    scale: Floats
    exponent: Floats

    def at(self, n: float) -> Floats:
        """Return the score of each curve with ``n`` recordings, ``[m]``."""
        return np.asarray(1 - self.scale * n**-self.exponent, np.float64)


def fit_power_law(sizes: Floats, scores: Floats, typical: float | Floats = TYPICAL_EXPONENT) -> PowerLaws:
    """Fit a power law to each row of ``scores`` ``[m, k]``, which were reached with ``sizes`` ``[k]`` recordings.

    With x = ln n and e = ln(1 − score), it minimises Σ w·(e − a + c·x)² + W·(c − C)², where C is the ``typical``
    exponent (of all rows, or of each) and W its weight. The weights w are proportional to the squared errors of the
    first row, so that all scores are fitted with the same absolute accuracy; their mean is 1. Scores of 1 are fitted as
    almost 1.

    >>> sizes = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    >>> found = fit_power_law(sizes, 1 - 0.4 * sizes[None] ** -0.28)
    >>> found.scale.round(6).tolist(), found.exponent.round(6).tolist(), found.at(32.0).round(3).tolist()
    ([0.4], [0.28], [0.848])
    """
    errors = np.clip(1 - scores, TINY, 1)
    x, e = np.log(sizes), np.log(np.maximum(errors, LEAST_ERROR * errors.max(axis=1, keepdims=True)))
    w = np.exp(2 * e[0])
    w /= w.mean()
    middle_x, middle_e = (w * x).sum() / w.sum(), (e @ w) / w.sum()
    squares = (w * (x - middle_x) ** 2).sum()
    products = -((e - middle_e[:, None]) @ (w * (x - middle_x)))
    exponent = np.clip((products + TYPICAL_WEIGHT * typical) / (squares + TYPICAL_WEIGHT), 0, 1)
    return PowerLaws(scale=np.exp(middle_e + exponent * middle_x), exponent=exponent)


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """The score expected of a new measurement with ``factor`` times the recordings, which include the present ones."""

    factor: float
    present: float  # the present score
    score: float
    interval: Interval  # of the score; the confidence level of all intervals here is LEVEL
    exponent: float
    curve_gain: float  # gain along the fitted curve: what remains if the measurements do not vary
    curve_gain_interval: Interval

    @property
    def gain(self) -> float:
        """The score minus the present one."""
        return self.score - self.present

    @property
    def gain_interval(self) -> Interval:
        """The interval of the gain: that of the score, minus the present score."""
        return Interval(self.interval.low - self.present, self.interval.high - self.present)


def extrapolate(
    sizes: Floats,
    scores: Floats,
    covariance: Floats,
    draw_variances: Floats,
    *,
    draws: int,
    factor: float = FACTOR,
    seed: int = 0,
) -> Extrapolation:
    """Extrapolate mean ``scores`` ``[k]`` that were reached with ``sizes`` ``[k]`` recordings, the last one being all.

    ``covariance`` ``[k, k]`` is that of the scores over test recordings, ``draw_variances`` ``[k − 1]`` the variance
    between draws of training recordings, of which there are ``draws``, at each size except all.

    A new measurement with F times the recordings contains the present ones, so test and training recordings deviate
    from the present ones by the fraction 1 − 1/F of their variance. The variance σ²/n between training sets of n
    recordings follows from the draws: two draws of n of N recordings share some, so theirs is σ²·(1/n − 1/N). The
    interval contains the uncertainty of the typical exponent.

    >>> sizes = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    >>> spread, draws = np.full((5, 5), 0.03**2), np.full(4, 0.02**2)
    >>> found = extrapolate(sizes, 1 - 0.4 * sizes**-0.28, spread, draws, draws=10)
    >>> round(found.score, 3), round(found.gain, 3), 0.77 < found.interval.low < found.score < found.interval.high < 0.9
    (0.848, 0.032, True)
    """
    new = 1 - 1 / factor
    variance = _training_variance(sizes, draw_variances)
    spread = new * covariance + np.diag(np.append(draw_variances / draws, 0)) + new * variance
    rng = np.random.default_rng(seed)
    random = rng.multivariate_normal(scores, spread, REPLICATES, method="eigh")
    typical = np.append(TYPICAL_EXPONENT, rng.normal(TYPICAL_EXPONENT, TYPICAL_SPREAD, REPLICATES))
    curves = fit_power_law(sizes, np.vstack([scores, random]), typical)
    reached = curves.at(factor * sizes[-1])
    gains = reached - curves.at(sizes[-1])
    return Extrapolation(
        factor=factor,
        present=float(scores[-1]),
        score=float(reached[0]),
        interval=_central(reached[1:]),
        exponent=float(curves.exponent[0]),
        curve_gain=float(gains[0]),
        curve_gain_interval=_central(gains[1:]),
    )


def _central(values: Floats) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _training_variance(sizes: Floats, draw_variances: Floats) -> float:
    """Estimate the variance of the score between training sets of the size of all recordings."""
    n, variances = sizes[:-1][-LARGEST:], draw_variances[-LARGEST:]
    shares = n / sizes[-1]
    return float((variances * n).sum() / np.maximum(1 - shares, 1e-9).sum() / sizes[-1])

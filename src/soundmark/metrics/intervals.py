"""Confidence intervals over recordings that are right for few recordings of unequal size.

Clips cut from the same recording are not independent. The intervals here treat a recording as the unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.errors import SettingsError
from soundmark.metrics import student_t

LEVEL = 0.95  # confidence level of all intervals


FLIPS = 10_000  # number of random sign flips


BISECTIONS = 40  # halvings of an interval from −1 to 1: an end is exact to 1e-12


CHUNK_DRAWS = 2_000_000  # random numbers in memory at a time: 16 MB


Floats = NDArray[np.float64]


Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval; both ends are NaN if it cannot be computed (fewer than two recordings)."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether the interval could be computed.

        >>> Interval(0.6, 0.7).known, Interval(float("nan"), float("nan")).known
        (True, False)
        """
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


UNKNOWN = Interval(float("nan"), float("nan"))


def bounds(interval: Interval) -> list[float | None]:
    """Return both ends for JSON: ``None`` instead of NaN.

    >>> bounds(Interval(0.6, float("nan")))
    [0.6, None]
    """
    return [float(end) if np.isfinite(end) else None for end in (interval.low, interval.high)]


def finite_or_none(value: float) -> float | None:
    """Return the number for JSON: ``None`` instead of NaN or infinity.

    >>> finite_or_none(0.5), finite_or_none(float("nan"))
    (0.5, None)
    """
    return float(value) if np.isfinite(value) else None


# Assumed intra-class correlations of the clips of a recording: with few recordings, the variation between them is
# hardly known. The values were chosen by simulation (benchmarks/interval_coverage.py).
SCORE_CORRELATION, DIFFERENCE_CORRELATION = 0.2, 0.1

LEAST_SHARE = 1e-6  # of the variance that is due to correlation: with less, t quantiles equal normal ones

PRIOR_RECORDINGS = 1.0  # the assumed correlation counts as much as that of one recording


def score_interval(values: ArrayLike, sources: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Compute a confidence interval of the mean of ``values`` [n] from 0 to 1, such as an accuracy, over recordings.

    It is Wilson's score interval (1927) with an effective number of clips instead of their number, and a t quantile
    instead of a normal one (Korn and Graubard 1998; Dean and Pagano 2015). The effective number follows from the
    variation between recordings; see ``spread``. The interval is within [0, 1] and never has width zero: if all clips
    of a few recordings are correct, it still extends below 1. With one recording the interval is NaN.

    >>> score_interval([1, 1, 0, 0, 1, 0], ["a", "a", "b", "b", "c", "d"])
    Interval(low=0.109..., high=0.890...)
    >>> score_interval([1, 1, 1, 1, 1, 1], ["a", "a", "b", "b", "c", "d"])
    Interval(low=0.550..., high=1.0)
    """
    values = np.asarray(values, np.float64)
    totals, counts = per_recording(values, sources)
    if len(counts) < 2:
        return UNKNOWN
    mean = values.mean()
    informative = int(min(np.count_nonzero(totals > 0), np.count_nonzero(totals < counts)))
    unit = mean * (1 - mean)
    found = spread(totals, counts, unit=unit, informative=informative, prior=SCORE_CORRELATION, level=level)
    return wilson(mean, found)


def difference_interval(values: ArrayLike, sources: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Compute a confidence interval of the mean of ``values`` [n] from −1 to 1: differences of two classifiers' scores.

    It is Tango's score interval of a paired difference (1998) with an effective number of clips and a t quantile, like
    ``score_interval``. The interval is within [−1, 1] and never has width zero: two classifiers that agree on all these
    clips may differ on others. With one recording the interval is NaN.

    >>> difference_interval([1, 0, 0, 0, 1, 0], ["a", "a", "b", "b", "c", "d"])
    Interval(low=-0.187..., high=0.700...)
    """
    values = np.asarray(values, np.float64)
    totals, counts = per_recording(values, sources)
    if len(counts) < 2:
        return UNKNOWN
    mean, discordant = values.mean(), np.abs(values).mean()
    informative = int(np.count_nonzero(per_recording(np.abs(values), sources)[0]))
    unit = discordant - mean**2
    found = spread(totals, counts, unit=unit, informative=informative, prior=DIFFERENCE_CORRELATION, level=level)
    return tango((discordant + mean) / 2, (discordant - mean) / 2, found)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The variance of a mean over recordings, as the reciprocal of an effective number of clips, and its t quantile."""

    per_clip: float  # variance of the mean divided by the variance of a single clip: 1 / effective number of clips
    t: float

    @property
    def width(self) -> float:
        """The squared t quantile divided by the effective number of clips: the size of score intervals."""
        return self.t**2 * self.per_clip


def spread(
    totals: Floats, counts: Floats, *, unit: float, informative: int, prior: float, level: float = LEVEL
) -> Spread:
    """Estimate the variance of the ratio Σ ``totals`` / Σ ``counts`` [recordings] over recordings.

    ``unit`` is the variance of a single clip. Clips of one recording are correlated: the intra-class correlation ρ is
    found from the variance with bias-reduced weights (CR2; Bell and McCaffrey 2002), and shrunk towards ``prior``,
    which weighs as much as ``PRIOR_RECORDINGS`` of the ``informative`` recordings: those with a rare outcome. The
    variance is unit · Σ count · (1 + (count − 1) ρ) / N²; for its degrees of freedom, see ``degrees_of_freedom``.

    >>> found = spread(np.array([3.0, 5.0, 1.0]), np.array([5.0, 5.0, 2.0]), unit=0.19, informative=3, prior=0.2)
    >>> round(1 / found.per_clip, 1), round(found.t, 2)
    (7.6, 2.72)
    """
    n = counts.sum()
    share = counts / n
    pairs = counts * (counts - 1)
    correlation = 0.0
    if pairs.any():
        variance = float(np.sum((totals - totals.sum() / n * counts) ** 2 / (1 - share))) / n**2
        unit = unit + variance  # the variance of a single clip is underestimated by that of the mean
        pair_weight = float(np.sum((pairs - 2 * share * pairs + pairs.sum() * share**2) / (1 - share)))
        found = (variance * n**2 / unit - n) / pair_weight if unit > 0 else 0.0
        correlation = max(0.0, (informative * found + PRIOR_RECORDINGS * prior) / (informative + PRIOR_RECORDINGS))
    freedom = degrees_of_freedom(counts, correlation)
    per_clip = float((n + correlation * pairs.sum()) / n**2)
    return Spread(per_clip=per_clip, t=student_t.two_sided_quantile(level, freedom))


def degrees_of_freedom(counts: Floats, correlation: float) -> float:
    """Return the degrees of freedom of the variance of a mean over recordings with ``counts`` clips each, at least 2.

    Only the part of the variance that is due to the ``correlation`` is estimated from the recordings; that of single
    clips follows from the mean. So Satterthwaite's number is divided by the share of the first part.

    >>> round(degrees_of_freedom(np.array([5.0] * 10), 0.2), 2)  # 9, divided by 40 / 90
    20.25
    """
    correlated = correlation * float((counts * (counts - 1)).sum())
    share = correlated / (float(counts.sum()) + correlated)
    return max(2.0, satterthwaite(counts, min(1.0, correlation)) / max(share, LEAST_SHARE))


def satterthwaite(counts: Floats, correlation: float) -> float:
    """Return the degrees of freedom of the variance of a mean over recordings with ``counts`` clips each.

    With recordings of equal size it is their number − 1; a few large ones among small ones leave fewer (Bell and
    McCaffrey 2002: (trace P)² / trace P², where P is the covariance of the residuals of the recordings).

    >>> round(satterthwaite(np.array([5.0] * 10), 0.2), 6), round(satterthwaite(np.array([50.0, *[1.0] * 9]), 0.2), 1)
    (9.0, 1.1)
    """
    share = counts / counts.sum()
    covariance = counts * (1 + (counts - 1) * correlation)  # of the totals; diagonal
    total = covariance.sum()
    weight = 1 / (1 - share)
    # P = √weight · (diag(covariance) − share covarianceᵀ − covariance shareᵀ + total · share shareᵀ) · √weight
    removed = total * share**2 - 2 * share * covariance
    trace = np.sum(weight * (covariance + removed))
    ss, cc, sc = (np.sum(weight * x * y) for x, y in ((share, share), (covariance, covariance), (share, covariance)))
    square = np.sum(weight**2 * covariance * (covariance + 2 * removed))
    square += 2 * ss * cc + 2 * sc**2 + total**2 * ss**2 - 4 * total * ss * sc
    return max(1.0, float(trace**2 / square))


def wilson(mean: float, found: Spread) -> Interval:
    """Return Wilson's score interval of a proportion.

    >>> wilson(0.9, Spread(per_clip=0.01, t=1.96))
    Interval(low=0.825..., high=0.944...)
    """
    k = found.width
    half = np.sqrt(k * (mean * (1 - mean) + k / 4))
    low, high = ((mean + k / 2 + sign * half) / (1 + k) for sign in (-1, 1))
    return Interval(float(max(0.0, low)) if mean > 0 else 0.0, float(min(1.0, high)) if mean < 1 else 1.0)


def tango(better: float, worse: float, found: Spread) -> Interval:
    """Return Tango's score interval of the difference of two paired proportions, found by bisection.

    ``better`` and ``worse`` are the shares of clips that only the first or only the second classifier has right.

    >>> tango(0.2, 0.1, Spread(per_clip=0.01, t=1.96))
    Interval(low=-0.0076..., high=0.208...)
    """
    better, worse = float(better), float(worse)  # NumPy's numbers are ten times as slow
    mean, width = better - worse, float(found.width)

    def is_inside(difference: float) -> bool:
        b = (2 - better + worse) * difference - better - worse
        only_second = (math.sqrt(max(0.0, b * b + 8 * worse * difference * (1 - difference))) - b) / 4  # the likeliest
        variance = 2 * only_second + difference * (1 - difference)
        return (mean - difference) ** 2 <= width * variance

    return Interval(_last_inside(is_inside, mean, -1.0), _last_inside(is_inside, mean, 1.0))


def _last_inside(is_inside: Callable[[float], bool], inside: float, outside: float) -> float:
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_inside(middle) else (inside, middle)
    return inside


def per_recording(values: Floats, sources: ArrayLike) -> tuple[Floats, Floats]:
    """Return the sum of values and the number of clips of each recording, float64 [recordings].

    >>> per_recording(np.array([1.0, 2.0, 5.0]), ["a", "a", "b"])
    (array([3., 5.]), array([2., 1.]))
    """
    names = np.asarray(sources)
    check_same_length(values, names, "sources")
    _, index = np.unique(names, return_inverse=True)
    return np.bincount(index, weights=values).astype(np.float64), np.bincount(index).astype(np.float64)


def chunk_sizes(total: int, at_once: int) -> Iterator[int]:
    """Yield chunk sizes of at most ``at_once`` that add up to ``total``.

    >>> list(chunk_sizes(10, 4))
    [4, 4, 2]
    """
    for start in range(0, total, at_once):
        yield min(at_once, total - start)


def mean_or_nan(values: ArrayLike) -> float:
    """Return the mean, or NaN if there are no values.

    >>> mean_or_nan([1, 2]), mean_or_nan([])
    (1.5, nan)
    """
    array = np.asarray(values, np.float64)
    return float(array.mean()) if array.size else float("nan")


def check_same_length(values: NDArray[Any], others: NDArray[Any], name: str) -> None:
    """Raise an error if two arrays differ in length.

    >>> check_same_length(np.zeros(2), np.zeros(3), "sources")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: there are 2 clips but 3 sources: pass one per clip.
    """
    if len(values) != len(others):
        raise SettingsError(f"there are {len(values)} clips but {len(others)} {name}: pass one per clip.")


@dataclass(frozen=True)
class Headline:
    """The main metric of a classifier: accuracy, or mAP for multi-label data."""

    name: str
    key: str  # its key in metrics.json
    value: float
    interval: Interval

"""Bootstrap confidence intervals that resample recordings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.errors import SettingsError

LEVEL = 0.95  # confidence level of all intervals


RESAMPLES = 10_000  # number of bootstrap resamples and of random sign flips


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


def bootstrap_interval(
    values: ArrayLike, sources: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Compute the bootstrap percentile interval of the mean of ``values`` [n], resampling entire recordings.

    With m recordings, each resample draws m recordings with replacement. Its statistic is Σ values / Σ clips of the
    drawn recordings: a ratio of sums, because recordings differ in their number of clips. The interval is between
    percentiles of the statistics (Efron and Tibshirani 1993, chapter 13). With one recording the interval is NaN. If
    all values are equal (every clip correct), the interval has width zero, which does not mean that there is no
    uncertainty.

    >>> bootstrap_interval([1, 1, 0, 0, 1, 0], ["a", "a", "b", "b", "c", "d"], resamples=1000)
    Interval(low=0.0, high=1.0)
    """
    totals, counts = per_recording(np.asarray(values, np.float64), sources)
    recordings = len(counts)
    if recordings < 2:
        return Interval(float("nan"), float("nan"))
    at_once = max(1, CHUNK_DRAWS // recordings)
    statistics = [
        (times @ totals) / (times @ counts)
        for times in bootstrap_counts(recordings, seed=seed, resamples=resamples, at_once=at_once)
    ]
    return percentile_interval(np.concatenate(statistics), level)


def bootstrap_counts(recordings: int, *, seed: int, resamples: int, at_once: int) -> Iterator[Floats]:
    """Yield how often each recording occurs in each resample, float64 [at most ``at_once`` resamples, recordings].

    >>> (times,) = bootstrap_counts(5, seed=0, resamples=3, at_once=10)
    >>> times.shape, times.sum(1).tolist()
    ((3, 5), [5.0, 5.0, 5.0])
    """
    generator = np.random.default_rng(seed)
    for rows in chunk_sizes(resamples, at_once):
        cells = generator.integers(recordings, size=(rows, recordings)) + recordings * np.arange(rows)[:, None]
        times = np.bincount(cells.ravel(), minlength=rows * recordings).reshape(rows, recordings)
        yield times.astype(np.float64)


def percentile_interval(statistics: Floats, level: float = LEVEL) -> Interval:
    """Return the central interval that contains ``level`` of the finite statistics [resamples]; NaN if there are none.

    >>> percentile_interval(np.arange(101.0), level=0.5)
    Interval(low=25.0, high=75.0)
    """
    statistics = statistics[np.isfinite(statistics)]
    if not len(statistics):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(statistics, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


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

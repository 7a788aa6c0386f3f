"""Reliability diagrams and the expected calibration error (ECE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from soundmark.metrics.intervals import LEVEL, Floats, Integers, mean_or_nan

ECE_BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """The clips whose top probability lies in (low, high]: how sure the network was, and how often right."""

    low: float
    high: float
    n: int
    confidence: float  # mean top probability, NaN where n is 0
    accuracy: float  # share that is right, NaN where n is 0


@dataclass(frozen=True)
class ExpectedEce:
    """The ECE that a perfectly calibrated model would show: its mean, and what it stays below in 95 % of all draws."""

    mean: float
    high: float


def binned(probabilities: ArrayLike, is_so: ArrayLike, *, bins: int = ECE_BINS) -> tuple[ReliabilityBin, ...]:
    """Single ``probabilities`` [n], sorted into ``bins`` equal steps, with the share of each that ``is_so`` [n].

    >>> [one.accuracy for one in binned([0.9, 0.2, 0.4], [True, False, True], bins=2)]
    [0.5, 1.0]
    """
    p, so = np.asarray(probabilities, np.float64), np.asarray(is_so, bool)
    edges, place = np.arange(bins + 1) / bins, _bin_indices(p, bins)
    return tuple(
        ReliabilityBin(
            float(edges[i]), float(edges[i + 1]), int(here.sum()), mean_or_nan(p[here]), mean_or_nan(so[here])
        )
        for i, here in enumerate(place == i for i in range(bins))
    )


def mean_gap(bins: Sequence[ReliabilityBin]) -> float:
    """The mean over all that lies in ``bins`` of |how sure − how often so| of its bin; NaN where there is nothing.

    >>> mean_gap(binned([0.9, 0.7], [True, False], bins=1))
    0.3...
    """
    filled = [one for one in bins if one.n]
    total = sum(one.n for one in filled)
    return sum(one.n * abs(one.accuracy - one.confidence) for one in filled) / total if total else float("nan")


def ece_if_calibrated(
    probabilities: ArrayLike, *, seed: int = 0, draws: int = 200, bins: int = ECE_BINS
) -> ExpectedEce:
    """The ``ece`` that a perfectly calibrated model would show with these very ``probabilities`` [n, c] of a softmax.

    Of few clips even that is not 0: a bin's share that is right scatters about its true value. In each draw every clip
    is right with its own top probability. Clips are drawn independently, which those of one recording are not, nor
    several seeds' answers to one clip: a calibrated model may well show more, so this is a lower bound.

    Source: J. Vaicenavicius et al., "Evaluating model calibration in classification", AISTATS 2019, section 5
    (consistency resampling).

    >>> expected = ece_if_calibrated([[0.8, 0.2]] * 100)  # the mean of |share right − 0.8| of 100 clips
    >>> 0.025 < expected.mean < 0.04 < expected.high
    True
    """
    top = np.asarray(probabilities, np.float64).max(axis=1, initial=0.0)
    if not len(top):
        return ExpectedEce(float("nan"), float("nan"))
    place = _bin_indices(top, bins)
    sure = np.bincount(place, weights=top, minlength=bins)
    generator = np.random.default_rng(seed)
    found = [
        float(np.abs(np.bincount(place[generator.random(len(top)) < top], minlength=bins) - sure).sum()) / len(top)
        for _ in range(draws)
    ]
    return ExpectedEce(float(np.mean(found)), float(np.quantile(found, LEVEL)))


def _bin_indices(top: Floats, bins: int) -> Integers:
    """The bin of each top probability [n], as ``reliability`` has them."""
    edges = np.arange(bins + 1) / bins
    return np.clip(np.searchsorted(edges, top, side="left") - 1, 0, bins - 1).astype(np.int64)

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
    """A bin of a reliability diagram: the predictions with a probability in (low, high]."""

    low: float
    high: float
    n: int
    confidence: float  # mean probability, NaN if n is 0
    accuracy: float  # fraction of correct predictions, NaN if n is 0


@dataclass(frozen=True)
class ExpectedEce:
    """The ECE that a perfectly calibrated model would have: the mean and the 95th percentile over random draws."""

    mean: float
    high: float


def reliability_bins(
    probabilities: ArrayLike, correct: ArrayLike, *, bins: int = ECE_BINS
) -> tuple[ReliabilityBin, ...]:
    """Group ``probabilities`` [n] into ``bins`` of equal width, with the fraction that is ``correct`` [n] in each.

    >>> [one.accuracy for one in reliability_bins([0.9, 0.2, 0.4], [True, False, True], bins=2)]
    [0.5, 1.0]
    """
    p, is_correct = np.asarray(probabilities, np.float64), np.asarray(correct, bool)
    edges, bin_of = np.arange(bins + 1) / bins, _bin_indices(p, bins)
    return tuple(
        ReliabilityBin(
            float(edges[i]), float(edges[i + 1]), int(here.sum()), mean_or_nan(p[here]), mean_or_nan(is_correct[here])
        )
        for i, here in enumerate(bin_of == i for i in range(bins))
    )


def ece_of_bins(bins: Sequence[ReliabilityBin]) -> float:
    """Compute the expected calibration error, the weighted mean of |accuracy − confidence|; NaN if bins are empty.

    >>> ece_of_bins(reliability_bins([0.9, 0.7], [True, False], bins=1))
    0.3...
    """
    filled = [one for one in bins if one.n]
    total = sum(one.n for one in filled)
    return sum(one.n * abs(one.accuracy - one.confidence) for one in filled) / total if total else float("nan")


def ece_if_calibrated(
    probabilities: ArrayLike, *, seed: int = 0, draws: int = 200, bins: int = ECE_BINS
) -> ExpectedEce:
    """Estimate the ECE of a perfectly calibrated model with these softmax ``probabilities`` [n, c].

    With few clips this ECE is not 0, because the accuracy in a bin varies randomly. In each draw, every clip is correct
    with its own top probability. The draws are independent, although clips from the same recording, or predictions of
    several seeds for the same clip, are not: a calibrated model can have a larger ECE, so this is a lower bound.

    Source: J. Vaicenavicius et al., "Evaluating model calibration in classification", AISTATS 2019, section 5
    (consistency resampling).

    >>> expected = ece_if_calibrated([[0.8, 0.2]] * 100)  # the mean of |accuracy − 0.8| over 100 clips
    >>> 0.025 < expected.mean < 0.04 < expected.high
    True
    """
    top = np.asarray(probabilities, np.float64).max(axis=1, initial=0.0)
    if not len(top):
        return ExpectedEce(float("nan"), float("nan"))
    bin_of = _bin_indices(top, bins)
    confidence = np.bincount(bin_of, weights=top, minlength=bins)
    generator = np.random.default_rng(seed)
    eces = [
        float(np.abs(np.bincount(bin_of[generator.random(len(top)) < top], minlength=bins) - confidence).sum())
        / len(top)
        for _ in range(draws)
    ]
    return ExpectedEce(float(np.mean(eces)), float(np.quantile(eces, LEVEL)))


def _bin_indices(p: Floats, bins: int) -> Integers:
    """Return the bin of each probability, int64 [n]; a probability on an edge is in the lower bin."""
    edges = np.arange(bins + 1) / bins
    return np.clip(np.searchsorted(edges, p, side="left") - 1, 0, bins - 1).astype(np.int64)

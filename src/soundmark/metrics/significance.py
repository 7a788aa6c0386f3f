"""Paired significance tests of two classifiers on the same clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from soundmark.metrics.intervals import CHUNK_DRAWS, FLIPS, Interval, check_same_length, chunk_sizes, per_recording


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of one classifier minus that of another on the same clips."""

    difference: float
    interval: Interval
    p: float  # sign-flip permutation test by recording
    mcnemar_p: float  # exact McNemar test; assumes independent clips, so p is too small
    clips: int
    recordings: int
    discordant: int  # recordings on which the two classifiers differ


def sign_flip_p(differences: ArrayLike, sources: ArrayLike, *, seed: int = 0, flips: int = FLIPS) -> float:
    """Compute the two-sided p-value of the mean of ``differences`` [n] with a sign-flip test over recordings.

    Under the null hypothesis the two classifiers are exchangeable, so the sum of differences of each recording has
    either sign with equal probability. If there are at most ``flips`` sign patterns, all are evaluated and
    p = count / patterns; otherwise ``flips`` random patterns are drawn and p = (1 + count) / (1 + flips) (Phipson and
    Smyth 2010). p is NaN without clips and 1 if all differences are zero.

    >>> sign_flip_p([1, 1, 1, 1, 1], ["a", "b", "c", "d", "e"])  # 2 of 32 patterns are as extreme
    0.0625
    """
    totals, _ = per_recording(np.asarray(differences, np.float64), sources)
    if len(totals) == 0:
        return float("nan")
    totals = totals[totals != 0]  # zero totals do not depend on the sign
    observed = abs(totals.sum()) * (1 - 1e-12)  # tolerance for rounding errors
    if 2 ** len(totals) <= flips:
        patterns = np.arange(2 ** len(totals))[:, None] >> np.arange(len(totals)) & 1
        return float(np.mean(np.abs((1.0 - 2.0 * patterns) @ totals) >= observed))
    generator = np.random.default_rng(seed)
    extreme = 0
    for rows in chunk_sizes(flips, max(1, CHUNK_DRAWS // len(totals))):
        signs = 1.0 - 2.0 * generator.integers(2, size=(rows, len(totals)), dtype=np.int8)
        extreme += int(np.count_nonzero(np.abs(signs @ totals) >= observed))
    return (1 + extreme) / (1 + flips)


def mcnemar_p(right_a: ArrayLike, right_b: ArrayLike) -> float:
    """Compute the p-value of the exact two-sided McNemar test.

    The test assumes that clips are independent. Clips from the same recording are not, so the p-value is too small; it
    is reported beside ``sign_flip_p`` because publications use it.

    >>> mcnemar_p([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1])
    0.21875
    """
    a, b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    check_same_length(a, b, "predictions of the second classifier")
    only_a, only_b = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    disagreements = only_a + only_b
    term = tail = 1  # binomial coefficients C(n, 0), C(n, 1), … as integers: exact for every n
    for k in range(min(only_a, only_b)):
        term = term * (disagreements - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / 2**disagreements)

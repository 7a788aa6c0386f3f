"""Confidence intervals of statistics that are not means, such as mAP, by leaving out recordings in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundmark.metrics import student_t
from soundmark.metrics.intervals import (
    DIFFERENCE_CORRELATION,
    LEVEL,
    PRIOR_RECORDINGS,
    SCORE_CORRELATION,
    UNKNOWN,
    Floats,
    Interval,
    Spread,
    degrees_of_freedom,
    tango,
    wilson,
)


@dataclass(frozen=True, kw_only=True)
class Jackknife:
    """A statistic of all recordings, and without each recording (or each group of them) in turn.

    For statistics that are not means, such as mAP. Groups without which the statistic is undefined are left out.
    """

    value: float
    left_out: Floats  # [groups]
    counts: Floats  # number of clips of each group [groups]

    @property
    def pseudo_values(self) -> Floats:
        """The contribution of each group, float64 [groups]; their mean is about the statistic (Tukey 1958).

        >>> Jackknife(value=2.0, left_out=np.array([2.5, 2.0, 1.5]), counts=np.ones(3)).pseudo_values
        array([1., 2., 3.])
        """
        groups = len(self.left_out)
        return groups * self.value - (groups - 1) * self.left_out

    @property
    def variance(self) -> float:
        """The jackknife variance of the statistic."""
        groups = len(self.left_out)
        return float((groups - 1) / groups * np.sum((self.left_out - self.left_out.mean()) ** 2))

    def _spread(self, unit: float, prior: float, level: float) -> Spread:
        n, groups = self.counts.sum(), len(self.counts)
        expected = (n + prior * np.sum(self.counts * (self.counts - 1))) / n**2
        found = self.variance / unit if unit > 0 else 0.0
        weight = groups if found > 0 else 0
        per_clip = (weight * found + PRIOR_RECORDINGS * expected) / (weight + PRIOR_RECORDINGS)
        freedom = degrees_of_freedom(self.counts, prior)
        return Spread(per_clip=float(per_clip), t=student_t.two_sided_quantile(level, freedom))

    def score_interval(self, level: float = LEVEL) -> Interval:
        """Return a confidence interval of a statistic from 0 to 1: Wilson's, with the jackknife variance.

        >>> Jackknife(value=0.8, left_out=np.array([0.85, 0.8, 0.75]), counts=np.full(3, 4.0)).score_interval()
        Interval(low=0.521..., high=0.936...)
        """
        if len(self.left_out) < 2 or not np.isfinite(self.value):
            return UNKNOWN
        return wilson(self.value, self._spread(self.value * (1 - self.value), SCORE_CORRELATION, level))

    def difference_interval(self, level: float = LEVEL) -> Interval:
        """Return a confidence interval of a difference of two such statistics: a t interval, within [−1, 1].

        >>> Jackknife(value=0.1, left_out=np.array([0.1, 0.15, 0.05]), counts=np.full(3, 4.0)).difference_interval()
        Interval(low=-0.031..., high=0.231...)
        """
        if len(self.left_out) < 2 or not np.isfinite(self.value):
            return UNKNOWN
        found = self._spread(0.0, DIFFERENCE_CORRELATION, level)
        if self.variance == 0:
            return tango(max(0.0, self.value), max(0.0, -self.value), found)
        half = found.t * np.sqrt(self.variance)
        return Interval(float(max(-1.0, self.value - half)), float(min(1.0, self.value + half)))

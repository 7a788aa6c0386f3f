"""Verdicts: whether one of two classifiers is better, judged in one place for console, report, JSON and Python."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundmark.metrics.intervals import Interval
from soundmark.metrics.significance import PairedDifference
from soundmark.runtime.text import percent

SIGNIFICANCE_LEVEL = 0.05

MIN_DISCORDANT = 6  # recordings: with fewer, the p-value of a sign-flip test cannot be below 5 % (2 / 2⁵ = 6.25 %)

FIRST, SECOND, UNDECIDED = "first", "second", "undecided"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which of two classifiers is better: ``decision`` is "first", "second" or "undecided"; ``reason`` says why."""

    decision: str
    reason: str

    @property
    def is_decided(self) -> bool:
        """Whether one of the two is better.

        >>> Verdict(decision="undecided", reason="the interval includes zero").is_decided
        False
        """
        return self.decision != UNDECIDED

    def in_words(self, first: str, second: str) -> str:
        """Return the verdict as text, with the names of the two classifiers.

        >>> Verdict(decision="undecided", reason="the interval includes zero").in_words("a", "b")
        'the data do not decide: the interval includes zero'
        >>> Verdict(decision="second", reason="interval and test agree").in_words("a", "b")
        'b is better: interval and test agree'
        """
        better = {FIRST: f"{first} is better", SECOND: f"{second} is better"}
        return f"{better.get(self.decision, 'the data do not decide')}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A score that needs no sound: chance, or where data leak, a lookup of the recording's training label."""

    name: str
    score: float


def judge(
    paired: PairedDifference, first: Interval, second: Interval, *, baselines: tuple[Baseline, ...] = (), pairs: int = 1
) -> Verdict:
    """Judge whether the first or the second of two classifiers is better on the same test clips.

    ``paired`` is the difference of their scores; ``first`` and ``second`` are the intervals of these scores. One is
    better if at least ``MIN_DISCORDANT`` recordings have different results, the interval of the difference excludes
    zero, the permutation test agrees (p below 5 %, divided by the number of ``pairs`` that are compared: Bonferroni
    correction), and the interval of the better one is above all ``baselines``. Otherwise the data do not decide, and
    the reason is the first condition that fails.

    >>> paired = PairedDifference(0.05, Interval(0.01, 0.09), 0.02, 0.02, 900, 90, 40)
    >>> judge(paired, Interval(0.06, 0.13), Interval(0.02, 0.06), baselines=(Baseline(name="chance", score=0.1),))
    Verdict(decision='undecided', reason='the better one is not above chance (10.0 %)')
    """
    decision, better = (FIRST, first) if paired.difference > 0 else (SECOND, second)
    reason = _reason_against(paired, better, baselines, pairs)
    if reason is not None:
        return Verdict(decision=UNDECIDED, reason=reason)
    reason = "interval and permutation test agree" + "".join(f", above {one.name}" for one in baselines)
    return Verdict(decision=decision, reason=reason)


def _reason_against(
    paired: PairedDifference, better: Interval, baselines: tuple[Baseline, ...], pairs: int
) -> str | None:
    """Return the first reason why the data do not decide; None if they do."""
    if paired.recordings < 2 or not paired.interval.known:
        return "there are too few recordings for an interval"
    if paired.discordant < MIN_DISCORDANT:
        return (
            f"the two differ on only {paired.discordant} of {paired.recordings} recordings (at least {MIN_DISCORDANT} "
            "are needed)"
        )
    if paired.interval.low <= 0 <= paired.interval.high:
        return "the 95 % interval of the difference includes zero"
    level = SIGNIFICANCE_LEVEL / pairs
    if not (np.isfinite(paired.p) and paired.p < level):
        corrected = f" ({SIGNIFICANCE_LEVEL:g}, with Bonferroni correction for {pairs} pairs)" if pairs > 1 else ""
        return f"the permutation test does not agree with the interval: p is not below {level:.3g}{corrected}"
    for one in baselines:
        if not better.low > one.score:
            return f"the better one is not above {one.name} ({percent(one.score)} %)"
    return None

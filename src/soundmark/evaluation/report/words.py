"""Format fractions, intervals and p-values as text, and judge differences: significance, verdict on the claim."""

from __future__ import annotations

from dataclasses import dataclass, replace

from soundmark.metrics.intervals import Interval
from soundmark.metrics.significance import PairedDifference
from soundmark.runtime import text
from soundmark.runtime.checks import is_finite
from soundmark.runtime.text import NO_NUMBER

CLAIMED_GAIN = 0.10  # the notebook's claim, "images do 10 % better", read as ten percentage points of accuracy


SIGNIFICANCE_LEVEL = 0.05


def percent(share: float | None, digits: int = 1) -> str:
    """Format a fraction as a percentage.

    >>> percent(0.7123), percent(float("nan")), percent(1, digits=0)
    ('71.2 %', '–', '100 %')
    """
    return text.percent(share, digits=digits, unit=" %", unknown=NO_NUMBER)


def number(value: float | None, digits: int = 2) -> str:
    """Format a number with a fixed number of decimal digits; a missing value is a dash.

    >>> number(1.234), number(-0.5, 1), number(None)
    ('1.23', '−0.5', '–')
    """
    return f"{value:.{digits}f}".replace("-", "−") if is_finite(value) else NO_NUMBER


def interval(bounds: Interval, *, signed: bool = False) -> str:
    """Format an interval of fractions in percentage points.

    >>> interval(Interval(0.681, 0.742)), interval(Interval(-0.012, 0.05), signed=True)
    ('[68.1, 74.2]', '[−1.2, +5.0]')
    """
    if not bounds.known:
        return NO_NUMBER
    low, high = (points(end) if signed else number(100 * end, 1) for end in (bounds.low, bounds.high))
    return f"[{low}, {high}]"


def points(difference: float) -> str:
    """Format a difference of fractions in percentage points, with its sign.

    >>> points(0.0312), points(-0.5), points(0.0)
    ('+3.1', '−50.0', '0.0')
    """
    rounded = number(100 * difference, 1)
    is_zero = rounded.strip("−0.") == ""
    return "0.0" if is_zero else rounded if rounded.startswith(("−", NO_NUMBER)) else f"+{rounded}"


def p_value(p: float) -> str:
    """Format a p-value with "=" or "<".

    >>> p_value(0.0421), p_value(0.0001), p_value(float("nan"))
    ('= 0.042', '< 0.001', '–')
    """
    return NO_NUMBER if not is_finite(p) else "< 0.001" if p < 0.001 else f"= {p:.3f}"


def reverse(paired: PairedDifference) -> PairedDifference:
    """Return the difference b − a for a difference a − b.

    >>> reverse(PairedDifference(0.02, Interval(0.01, 0.03), 0.01, 0.01, 900, 90)).interval
    Interval(low=-0.03, high=-0.01)
    """
    bounds = Interval(-paired.interval.high, -paired.interval.low)
    return replace(paired, difference=-paired.difference, interval=bounds)


def significance(paired: PairedDifference, *, pairs: int = 1) -> str:
    """State whether a difference is significant: its interval excludes 0, and p is below 5 %, divided by ``pairs``.

    ``pairs`` is the number of comparisons (Bonferroni correction).

    >>> significance(PairedDifference(0.02, Interval(0.01, 0.03), 0.01, 0.01, 900, 90))
    'significant at the 5 % level'
    >>> significance(PairedDifference(0.02, Interval(0.01, 0.03), 0.01, 0.01, 900, 90), pairs=10)
    'not significant at the 5 % level, with Bonferroni correction for 10 pairs: the data do not decide between them'
    """
    low, high = paired.interval.low, paired.interval.high
    excludes_zero = paired.interval.known and (low > 0 or high < 0)
    level = "the 5 % level" + (f", with Bonferroni correction for {pairs} pairs" if pairs > 1 else "")
    if excludes_zero and is_finite(paired.p) and paired.p < SIGNIFICANCE_LEVEL / pairs:
        return f"significant at {level}"
    return f"not significant at {level}: the data do not decide between them"


@dataclass(frozen=True)
class Verdict:
    """The verdict on the notebook's claim: a short term, a clause, and a sentence."""

    word: str
    clause: str
    sentence: str


def verdict(paired: PairedDifference) -> Verdict:
    """Judge the claim "images do 10 % better", where ``paired`` is the accuracy of the image minus the mel recipe.

    The interval decides, not the point estimate. The claim is supported if the interval is above zero and includes or
    exceeds ten points, reversed if the interval is below zero, and smaller than claimed if it is below ten points.

    >>> from soundmark.metrics.intervals import Interval
    >>> from soundmark.metrics.significance import PairedDifference
    >>> verdict(PairedDifference(0.02, Interval(0.01, 0.03), 0.01, 0.01, 900, 90)).word
    'smaller than claimed'
    """
    low, high = paired.interval.low, paired.interval.high
    inconclusive = ("inconclusive", "the result is inconclusive")
    supported = ("supported", "the claim is supported")
    smaller = "smaller than claimed"
    if not paired.interval.known:
        return Verdict(*inconclusive, "Too few clips were tested for an interval.")
    if high < 0:
        return Verdict("reversed", "mel arrays score higher than images", "The mel recipe scores higher.")
    if low > CLAIMED_GAIN:
        return Verdict(*supported, "The image recipe scores higher, by more than ten points.")
    if low > 0 and high >= CLAIMED_GAIN:
        return Verdict(*supported, "The image recipe scores higher, and the interval includes ten points.")
    if high >= CLAIMED_GAIN:
        return Verdict(*inconclusive, "The interval includes both zero and ten points.")
    if low > 0:
        clause = "images score higher, but by less than claimed"
        return Verdict(smaller, clause, "The image recipe scores higher, but by less than ten points.")
    sentence = "A gain of ten points is ruled out; the data do not show whether there is any difference."
    return Verdict(smaller, "any gain from images is smaller than claimed", sentence)

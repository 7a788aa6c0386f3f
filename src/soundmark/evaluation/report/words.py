"""Numbers and findings in words: how a share, an interval or a p-value is written, and what a difference means."""

from __future__ import annotations

import math
from dataclasses import dataclass

from soundmark.metrics.intervals import Interval
from soundmark.metrics.significance import PairedDifference
from soundmark.runtime import text

CLAIM = 0.10  # the notebook's: "images do 10 % better", read as ten points of accuracy


NOTHING = "–"  # stands where there is no number


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage.

    >>> percent(0.7123), percent(float("nan")), percent(1, digits=0)
    ('71.2 %', '–', '100 %')
    """
    return text.percent(share, digits=digits, unit=" %", unknown=NOTHING)


def number(value: float | None, digits: int = 2) -> str:
    """A number with a fixed count of digits, or a dash where there is none.

    >>> number(1.234), number(-0.5, 1), number(None)
    ('1.23', '−0.5', '–')
    """
    return f"{value:.{digits}f}".replace("-", "−") if value is not None and is_number(value) else NOTHING


def is_number(value: float | None) -> bool:
    """Whether there is a number to write.

    >>> is_number(0.0), is_number(None), is_number(float("nan"))
    (True, False, False)
    """
    return value is not None and math.isfinite(value)


def interval(bounds: Interval, *, signed: bool = False) -> str:
    """An interval in points of a hundred.

    >>> interval(Interval(0.681, 0.742)), interval(Interval(-0.012, 0.05), signed=True)
    ('[68.1, 74.2]', '[−1.2, +5.0]')
    """
    if not bounds.known:
        return NOTHING
    low, high = (points(end) if signed else number(100 * end, 1) for end in (bounds.low, bounds.high))
    return f"[{low}, {high}]"


def points(difference: float) -> str:
    """A difference of shares in points of a hundred, with its sign.

    >>> points(0.0312), points(-0.5), points(0.0)
    ('+3.1', '−50.0', '0.0')
    """
    rounded = number(100 * difference, 1)
    is_zero = rounded.strip("−0.") == ""
    return "0.0" if is_zero else rounded if rounded.startswith(("−", NOTHING)) else f"+{rounded}"


def p_value(p: float) -> str:
    """A p-value with its sign of equality.

    >>> p_value(0.0421), p_value(0.0001), p_value(float("nan"))
    ('= 0.042', '< 0.001', '–')
    """
    return NOTHING if not is_number(p) else "< 0.001" if p < 0.001 else f"= {p:.3f}"


@dataclass(frozen=True)
class Verdict:
    """What a difference says about the claim: one of four words, the same in half a sentence, and in a whole one."""

    word: str
    clause: str
    sentence: str


def verdict(paired: PairedDifference) -> Verdict:
    """Whether "images do 10 % better" holds, where ``paired`` is the images' accuracy minus the numbers'.

    The interval decides, not the point in it: the claim holds where zero lies below the interval and ten points in or
    below it; it is reversed where the whole interval is below zero, smaller where ten points lie above it.

    >>> from soundmark.metrics.intervals import Interval
    >>> from soundmark.metrics.significance import PairedDifference
    >>> verdict(PairedDifference(0.02, Interval(0.01, 0.03), 0.01, 0.01, 900, 90)).word
    'smaller'
    """
    low, high = paired.interval.low, paired.interval.high
    unknown = ("cannot be told", "it cannot be told whether this holds")
    if not paired.interval.known:
        return Verdict(*unknown, "Too little was tested for an interval.")
    if high < 0:
        return Verdict("reversed", "images do worse", "The numbers do better than the images.")
    if low > CLAIM:
        return Verdict("holds", "this holds", "The images do better, and by more than ten points.")
    if low > 0 and high >= CLAIM:
        return Verdict("holds", "this holds", "The images do better, and ten points lie within the interval.")
    if high >= CLAIM:
        return Verdict(*unknown, "Both no difference at all and ten points lie within the interval.")
    if low > 0:
        return Verdict("smaller", "images do better by less", "The images do better, but by less than ten points.")
    sentence = "Ten points can be ruled out; whether there is any difference cannot be told."
    return Verdict("smaller", "images gain less, if anything", sentence)

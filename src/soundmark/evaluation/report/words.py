"""Format fractions, intervals and p-values as text, and state the finding on the notebook's claim."""

from __future__ import annotations

from dataclasses import dataclass, replace

from soundmark.metrics.intervals import Interval
from soundmark.metrics.significance import PairedDifference
from soundmark.metrics.verdicts import SECOND, Verdict
from soundmark.runtime import text
from soundmark.runtime.checks import is_finite
from soundmark.runtime.text import NO_NUMBER

CLAIMED_GAIN = 0.10  # the notebook's claim, "images do 10 % better", read as ten percentage points of accuracy


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

    >>> reverse(PairedDifference(0.02, Interval(0.01, 0.03), 0.01, 0.01, 900, 90, 40)).interval
    Interval(low=-0.03, high=-0.01)
    """
    bounds = Interval(-paired.interval.high, -paired.interval.low)
    return replace(paired, difference=-paired.difference, interval=bounds)


@dataclass(frozen=True)
class Finding:
    """What the data say on the notebook's claim: a short term, a clause, and a sentence."""

    word: str
    clause: str
    sentence: str


def finding(paired: PairedDifference, verdict: Verdict) -> Finding:
    """Judge the claim "images do 10 % better", where ``paired`` is the accuracy of the image minus the mel recipe.

    Where the ``verdict`` is undecided, the data do not decide on the claim either. Otherwise the claim is supported if
    the images score higher and the interval reaches ten points, and reversed if the mel arrays score higher.

    >>> from soundmark.metrics.intervals import Interval
    >>> from soundmark.metrics.significance import PairedDifference
    >>> paired = PairedDifference(0.02, Interval(0.01, 0.03), 0.01, 0.01, 900, 90, 40)
    >>> finding(paired, Verdict(decision="first", reason="interval and test agree")).word
    'smaller than claimed'
    """
    low, high = paired.interval.low, paired.interval.high
    if not verdict.is_decided:
        beyond = f" A gain of ten points is outside the interval of {interval(paired.interval, signed=True)} points."
        sentence = f"{_capital(verdict.reason)}.{beyond if high < CLAIMED_GAIN else ''}"
        return Finding("the data do not decide", f"the data do not decide ({verdict.reason})", sentence)
    if verdict.decision == SECOND:
        return Finding("reversed", "mel arrays score higher than images", "The mel recipe scores higher.")
    if high < CLAIMED_GAIN:
        clause = "images score higher, but by less than claimed"
        return Finding("smaller than claimed", clause, "The image recipe scores higher, but by less than ten points.")
    reach = "by more than ten points" if low > CLAIMED_GAIN else "and the interval includes ten points"
    return Finding("supported", "the claim is supported", f"The image recipe scores higher, {reach}.")


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]

"""Verdicts: one of two classifiers is better only if every condition holds; otherwise the reason is stated."""

import math

import pytest

from soundmark.metrics.intervals import Interval
from soundmark.metrics.significance import PairedDifference
from soundmark.metrics.verdicts import Baseline, judge

CHANCE = Baseline(name="chance", score=0.1)
LOOKUP = Baseline(name="a lookup of the recording", score=0.88)


def paired(difference=0.05, low=0.01, high=0.09, p=0.01, recordings=90, discordant=40):
    return PairedDifference(difference, Interval(low, high), p, p, 900, recordings, discordant)


HIGH, LOW = Interval(0.9, 0.95), Interval(0.85, 0.9)


def test_the_better_one_is_named_by_its_position():
    found = judge(paired(), HIGH, LOW, baselines=(CHANCE,))
    assert (found.decision, found.is_decided) == ("first", True)
    assert found.in_words("a", "b") == "a is better: interval and permutation test agree, above chance"
    reverse = judge(paired(-0.05, -0.09, -0.01), LOW, HIGH, baselines=(CHANCE, LOOKUP))
    assert reverse.decision == "second"
    assert reverse.in_words("a", "b").startswith("b is better: ")


@pytest.mark.parametrize(
    ("difference", "reason"),
    [
        (paired(low=-0.01), "the 95 % interval of the difference includes zero"),
        (paired(p=0.060), "the permutation test does not agree with the interval: p is not below 0.05"),
        (paired(p=math.nan), "the permutation test does not agree"),
        (paired(discordant=5), "the two differ on only 5 of 90 recordings (at least 6 are needed)"),
        (paired(low=math.nan, high=math.nan), "there are too few recordings for an interval"),
        (paired(recordings=1), "there are too few recordings for an interval"),
    ],
)
def test_each_condition_is_needed(difference, reason):
    found = judge(difference, HIGH, LOW)
    assert found.decision == "undecided"
    assert found.reason.startswith(reason)
    assert found.in_words("a", "b").startswith(f"the data do not decide: {reason}")


def test_several_pairs_need_a_smaller_p():
    assert judge(paired(p=0.016), HIGH, LOW, pairs=3).is_decided
    found = judge(paired(p=0.017), HIGH, LOW, pairs=3)
    assert "p is not below 0.0167 (0.05, with Bonferroni correction for 3 pairs)" in found.reason


def test_the_better_one_must_exceed_chance_and_a_lookup_of_the_recording():
    below = judge(paired(0.05, 0.01, 0.1), Interval(0.04, 0.13), Interval(0.01, 0.06), baselines=(CHANCE,))
    assert below.reason == "the better one is not above chance (10.0 %)"
    leaking = judge(paired(), Interval(0.87, 0.95), LOW, baselines=(CHANCE, LOOKUP))
    assert leaking.reason == "the better one is not above a lookup of the recording (88.0 %)"

"""report.words: the verdict on the notebook's claim and the significance of a difference."""

import math
from dataclasses import replace

import pytest

from soundmark.evaluation.report import words
from support.reports import make_difference


@pytest.mark.parametrize(
    ("low", "high", "word", "sentence"),
    [
        (0.101, 0.2, "supported", "more than ten points"),
        (0.1, 0.2, "supported", "the interval includes ten points"),
        (0.001, 0.1, "supported", "the interval includes ten points"),
        (0.001, 0.099, "smaller than claimed", "less than ten points"),
        (0.0, 0.099, "smaller than claimed", "do not show whether there is any difference"),
        (-0.05, 0.0, "smaller than claimed", "do not show whether there is any difference"),
        (-0.05, -0.001, "reversed", "The mel recipe scores higher"),
        (0.0, 0.1, "inconclusive", "both zero and ten points"),
        (-0.2, 0.2, "inconclusive", "both zero and ten points"),
        (math.nan, math.nan, "inconclusive", "Too few clips"),
    ],
)
def test_the_verdict_follows_from_the_interval(low, high, word, sentence):
    verdict = words.verdict(make_difference(low, high))
    assert verdict.word == word
    assert sentence in verdict.sentence


@pytest.mark.parametrize(
    ("low", "high", "p", "pairs", "significant"),
    [
        (0.01, 0.05, 0.049, 1, True),
        (-0.05, -0.01, 0.049, 1, True),
        (0.01, 0.05, 0.05, 1, False),
        (0.0, 0.05, 0.001, 1, False),
        (0.01, 0.05, 0.016, 3, True),
        (0.01, 0.05, 0.017, 3, False),
        (0.01, 0.05, math.nan, 1, False),
        (math.nan, math.nan, 0.001, 1, False),
    ],
)
def test_a_difference_is_significant_if_interval_and_p_value_agree(low, high, p, pairs, significant):
    text = words.significance(replace(make_difference(low, high), p=p), pairs=pairs)
    assert text.startswith("significant at the 5 % level") is significant
    assert ("Bonferroni" in text) == (pairs > 1)

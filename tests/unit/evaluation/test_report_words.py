"""report.words: the finding on the notebook's claim."""

import pytest

from soundmark.evaluation.report import words
from soundmark.metrics.verdicts import Verdict
from support.reports import make_difference


@pytest.mark.parametrize(
    ("low", "high", "decision", "word", "sentence"),
    [
        (0.101, 0.2, "first", "supported", "by more than ten points"),
        (0.1, 0.2, "first", "supported", "the interval includes ten points"),
        (0.001, 0.1, "first", "supported", "the interval includes ten points"),
        (0.001, 0.099, "first", "smaller than claimed", "less than ten points"),
        (-0.05, -0.001, "second", "reversed", "The mel recipe scores higher"),
    ],
)
def test_the_finding_follows_from_verdict_and_interval(low, high, decision, word, sentence):
    found = words.finding(make_difference(low, high), Verdict(decision=decision, reason="interval and test agree"))
    assert found.word == word
    assert sentence in found.sentence


@pytest.mark.parametrize(("low", "high"), [(-0.05, 0.2), (0.01, 0.2), (-0.2, -0.01)])
def test_an_undecided_verdict_decides_nothing_about_the_claim(low, high):
    found = words.finding(make_difference(low, high), Verdict(decision="undecided", reason="the two agree"))
    assert found.word == "the data do not decide"
    assert found.clause == "the data do not decide (the two agree)"
    assert found.sentence.startswith("The two agree.")
    outside = "A gain of ten points is outside the interval"
    assert (outside in found.sentence) == (high < 0.1)

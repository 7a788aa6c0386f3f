"""Formatting of numbers and names."""

import math

import pytest

from soundmark.runtime.text import count, duration, first_of, listed, percent, shortened


@pytest.mark.parametrize(
    ("seconds", "one", "two"),
    [
        (None, "–", "–"),
        (math.nan, "–", "–"),
        (0, "0.0 s", "0.0 s"),
        (9.94, "9.9 s", "9.9 s"),
        (59.4, "59 s", "59 s"),
        (89, "89 s", "1 min 29 s"),
        (90, "1.5 min", "1 min 30 s"),
        (120, "2 min", "2 min 00 s"),
        (720, "12 min", "12 min 00 s"),
        (3599.6, "60 min", "1 h 00 min"),
        (5400, "1.5 h", "1 h 30 min"),
        (36_000, "10 h", "10 h 00 min"),
        (450_000, "125 h", "125 h 00 min"),
    ],
)
def test_durations(seconds, one, two):
    assert duration(seconds) == one
    assert duration(seconds, units=2) == two


def test_percentages_and_their_text_for_missing_values():
    assert [percent(value) for value in (0.5, 1, None, math.nan, math.inf, "0.5")] == ["50.0", "100.0", *"????"]
    assert percent(0.5, "+", digits=0, unit=" %") == "+50 %"
    assert percent(None, unit=" %", unknown="–") == "–"


def test_counts_and_lists():
    assert [count(n) for n in (0, 999, 1000, 1234567)] == ["0", "999", "1\u202f000", "1\u202f234\u202f567"]
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["–", "a", "a and b", "a, b and c"]


def test_first_words_that_fit():
    assert first_of([]) == ""
    assert first_of(["a" * 500]) == shortened("a" * 500)
    many = first_of([f"class {i}" for i in range(527)])
    assert len(many) < 220
    assert many.endswith(f"… ({527 - many.count('class')} more)")


def test_name_is_shortened_in_its_middle_and_made_printable():
    assert shortened("a" * 60) == "a" * 60
    assert len(shortened("a" * 61)) == 60
    assert shortened("street/of/a/long/name.wav", 12) == "street…e.wav"
    assert shortened("\x1b[2J\n\u202e") == "\ufffd[2J\ufffd\ufffd"

"""TOML and numbers from users and files."""

import pytest

from soundmark.runtime.checks import parse_json, parse_toml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog = " + "9" * 5000, "it contains a whole number of more than 30 digits"),
        ("dog = " + "9" * 31, "it contains a whole number of more than 30 digits"),
        ("dog = [{cat = -1" + "0" * 400 + "}]", "it contains a whole number of more than 30 digits"),
        ("dog = " + "[" * 5000 + "]" * 5000, "it is nested too deeply"),
        ("dog", "Expected '=' after a key"),
    ],
    ids=["5000 digits", "31 digits", "inside", "nested", "no TOML"],
)
def test_toml_that_cannot_be_used_is_a_value_error(text, message):
    with pytest.raises(ValueError, match=message):
        parse_toml(text)


def test_json_that_is_nested_too_deeply_is_a_value_error():
    with pytest.raises(ValueError, match="it is nested too deeply"):
        parse_json("[" * 100_000 + "]" * 100_000)


def test_a_number_of_30_digits_is_read():
    assert parse_toml("dog = " + "9" * 30) == {"dog": 10**30 - 1}

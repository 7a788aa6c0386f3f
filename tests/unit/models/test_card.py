"""Cards of untrusted models: values that soundmark could not print, compute with or write again."""

import json
import re

import pytest

from soundmark.errors import BundleError
from soundmark.models.card import Card
from support.models import tone_model

CARD = json.loads(tone_model().card.to_json())


def places(values, path=()):
    """The path of every value of a card, of at most two elements of each list."""
    if path:
        yield path
    inner = values.items() if isinstance(values, dict) else enumerate(values[:2]) if isinstance(values, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def changed(path, value):
    values = json.loads(json.dumps(CARD))
    table = values
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    return json.dumps(values)


@pytest.mark.parametrize("path", list(places(CARD)), ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (10**400, "it contains a whole number of more than 30 digits"),
        ({"a": [-(10**400)]}, "it contains a whole number of more than 30 digits"),
        ("\ud800", "it contains the character U+D800, half of a surrogate pair, which is not text"),
        (["a", "b", "x\udcff"], "it contains the character U+DCFF, half of a surrogate pair, which is not text"),
    ],
    ids=["huge", "huge inside", "surrogate", "surrogate inside"],
)
def test_a_huge_number_or_half_a_character_anywhere_is_refused(path, value, message):
    with pytest.raises(BundleError, match=re.escape(f'the card of "m.onnx" cannot be read: {message}. Train or')):
        Card.from_json(changed(path, value), "m.onnx")


def test_a_number_of_5000_digits_is_refused():
    text = json.dumps(CARD).replace('"window_s": 1.0', f'"window_s": {"9" * 5000}')
    with pytest.raises(BundleError, match="it contains a whole number of more than 30 digits"):
        Card.from_json(text, "m.onnx")


@pytest.mark.parametrize(
    ("window_samples", "match"),
    [
        (1 << 22, "its window_s is 1.0, but its waveforms last 262.144 s"),
        (1, "its window_s is 1.0, but its waveforms last 6.25e-05 s"),
        (0, "window_samples of waveform is 0; it must be a whole number above 0"),
        ("1", "window_samples of waveform is '1'"),
    ],
)
def test_waveforms_that_do_not_fit_the_window_are_refused(window_samples, match):
    kind = {"name": "waveform", "version": 1, "rate_hz": 16000, "window_samples": window_samples}
    with pytest.raises(BundleError, match=re.escape(match)):
        Card.from_json(changed(("representation",), kind), "model.onnx")


def test_a_waveform_of_the_window_is_valid():
    kind = {"name": "waveform", "version": 1, "rate_hz": 16000, "window_samples": 16_000}
    assert Card.from_json(changed(("representation",), kind), "model.onnx").representation.window_s == 1.0

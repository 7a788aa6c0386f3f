"""Representations by name, by settings or as an object; short reprs."""

import numpy as np
import pytest

from soundmark.errors import SettingsError
from soundmark.spectrograms import REPRESENTATIONS, Mel, representation_named


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_name_settings_and_object_give_the_same_representation(name):
    representation = representation_named(name)
    assert isinstance(representation, REPRESENTATIONS[name])
    assert representation_named(representation) is representation
    assert representation_named(representation.settings()) == representation_named({"name": name}) == representation


def test_parameters_are_used():
    assert representation_named({"name": "mel", "n_mels": 32}) == Mel(n_mels=32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("logmell", 'there is no representation "logmell". Did you mean "logmel"'),
        (3, 'there is no representation "3"'),
        (None, 'there is no representation "None"'),
        ({"n_mels": 32}, 'there is no representation "None"'),
        ({"name": "mel", "n_mel": 32}, "n_mels"),
    ],
)
def test_unknown_names_are_rejected(given, message):
    with pytest.raises(SettingsError, match=message):
        representation_named(given)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_reprs_are_short(name):
    image = representation_named(name).render(np.zeros(44100, np.float32), 22050)
    assert len(repr(image)) < 200
    assert len(repr(representation_named(name))) < 300

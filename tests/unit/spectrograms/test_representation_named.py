"""A representation by name, settings or itself; and short reprs."""

import numpy as np
import pytest

from soundmark.errors import SettingsError
from soundmark.spectrograms import REPRESENTATIONS, Mel, representation_named


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_name_settings_and_object_give_the_same(name):
    made = representation_named(name)
    assert isinstance(made, REPRESENTATIONS[name])
    assert representation_named(made) is made
    assert representation_named(made.settings()) == representation_named({"name": name}) == made


def test_parameters_are_taken():
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
def test_what_is_not_known_is_refused(given, message):
    with pytest.raises(SettingsError, match=message):
        representation_named(given)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_reprs_are_short(name):
    picture = representation_named(name).picture(np.zeros(44100, np.float32), 22050)
    assert len(repr(picture)) < 200
    assert len(repr(representation_named(name))) < 300

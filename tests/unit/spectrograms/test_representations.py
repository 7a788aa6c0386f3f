"""Properties of all representations; a new one is included by its entry in ``REPRESENTATIONS``."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from soundmark.errors import AudioError, SettingsError
from soundmark.spectrograms import REPRESENTATIONS, from_settings

RATE_HZ = 22050
ALL = [kind() for kind in REPRESENTATIONS.values()]
FAMILY = pytest.mark.parametrize("representation", ALL, ids=lambda r: r.name)
SPECTROGRAMS = pytest.mark.parametrize("representation", [r for r in ALL if r.name != "waveform"], ids=lambda r: r.name)


def click(frames: int) -> np.ndarray:
    samples = np.zeros(frames, np.float32)
    samples[frames // 2] = 1
    return samples


SOUNDS = {
    "silence": np.zeros(RATE_HZ, np.float32),
    "one silent sample": np.zeros(1, np.float32),
    "one sample": np.ones(1, np.float32),
    "two samples": np.array([1, -1], np.float32),
    "click": click(RATE_HZ),
    "offset": np.ones(RATE_HZ, np.float32),
    "full-scale square wave": np.sign(np.sin(np.arange(4 * RATE_HZ) * 0.05)).astype(np.float32),
    "alternating": np.tile(np.array([1, -1], np.float32), RATE_HZ),
    "noise": np.random.default_rng(0).uniform(-1, 1, 4 * RATE_HZ).astype(np.float32),
    "faint noise": np.random.default_rng(0).uniform(-1e-30, 1e-30, RATE_HZ).astype(np.float32),
    "extremely loud": np.full(RATE_HZ, 1e12, np.float32) * click(RATE_HZ),
    "ten seconds": np.random.default_rng(0).uniform(-1, 1, 10 * RATE_HZ).astype(np.float32),
}


@FAMILY
@pytest.mark.parametrize("sound", SOUNDS)
def test_result_has_the_declared_shape_and_is_finite_float32(representation, sound):
    samples = SOUNDS[sound].copy()
    result = representation(samples, RATE_HZ)
    assert result.shape == representation.shape
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(samples, SOUNDS[sound], err_msg="the samples were modified")
    np.testing.assert_array_equal(
        representation(samples, RATE_HZ), result, err_msg="a second call gives another result"
    )


@FAMILY
@pytest.mark.parametrize("rate_hz", [8000, 11024, 44100, 192000])
def test_any_sample_rate_is_accepted(representation, rate_hz):
    assert representation(SOUNDS["noise"], rate_hz).shape == representation.shape


@SPECTROGRAMS
def test_size_determines_the_shape(representation):
    other = replace(representation, size=(32, 48))
    assert other.shape == (32, 48)
    assert other(SOUNDS["noise"], RATE_HZ).shape == (32, 48)


@SPECTROGRAMS
def test_low_and_high_frequencies_differ_in_few_rows(representation):
    low, high = (np.sin(2 * np.pi * f_hz / RATE_HZ * np.arange(RATE_HZ)).astype(np.float32) for f_hz in (300, 8000))
    difference = np.abs(representation(low, RATE_HZ) - representation(high, RATE_HZ)).mean(axis=1)
    assert (difference > difference.max() / 2).sum() < len(difference) / 2  # few rows


@FAMILY
def test_lists_integers_and_float64_are_accepted(representation):
    expected = representation(np.array([0, 1, 0, -1] * 1000, np.float32), RATE_HZ)
    for samples in ([0, 1, 0, -1] * 1000, np.array([0, 1, 0, -1] * 1000), np.array([0.0, 1, 0, -1] * 1000)):
        np.testing.assert_array_equal(representation(samples, RATE_HZ), expected)


@FAMILY
@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], r"with n > 0; these have \[0\]"),
        (np.zeros((2, 100)), r"must be mono, of the shape \[n\] with n > 0; these have \[2, 100\]"),
        ([0.0, np.nan, np.inf], r"2 of 3 samples are not finite numbers"),
        ([0.0, -1e20], r"a sample is ±1e\+20: samples should be within −1…1"),
    ],
)
def test_invalid_samples_are_rejected(representation, samples, message):
    with pytest.raises(AudioError, match=message):
        representation(samples, RATE_HZ)


@FAMILY
def test_settings_round_trip_through_json(representation):
    changed = replace(representation, rate_hz=48000, time_expansion=2.0)
    for original in (representation, changed):
        settings = json.loads(json.dumps(original.settings()))
        assert settings["name"] == original.name
        assert from_settings(settings) == original
        assert hash(from_settings(settings)) == hash(original)
    assert representation != changed


@FAMILY
def test_parameters_are_frozen(representation):
    with pytest.raises(FrozenInstanceError):
        representation.size = (1, 1)


@SPECTROGRAMS
def test_unknown_sizes_are_rejected(representation):
    settings = representation.settings()
    with pytest.raises(SettingsError, match=rf'{representation.name} has no parameter "sise". Did you mean "size"\?'):
        from_settings({**settings, "sise": [1, 1]})
    for size in ([64], [64, 0], [64, 64.0], "64", None):
        with pytest.raises(SettingsError, match=rf"size of {representation.name} is .*two whole numbers above 0"):
            from_settings({**settings, "size": size})


@FAMILY
def test_unknown_parameters_versions_and_values_are_rejected(representation):
    settings = representation.settings()
    with pytest.raises(
        SettingsError, match=rf'{representation.name} has no parameter "rate". Did you mean "rate_hz"\?'
    ):
        from_settings({**settings, "rate": 8000})
    with pytest.raises(SettingsError, match=rf"these settings are for version 99 of {representation.name}"):
        from_settings({**settings, "version": 99})
    with pytest.raises(SettingsError, match="rate_hz of"):
        from_settings({**settings, "rate_hz": 0})


@pytest.mark.parametrize("name", ["imag", None, ["mel"]])
def test_unknown_representations_are_rejected(name):
    with pytest.raises(SettingsError, match="there is no representation"):
        from_settings({"name": name})


@FAMILY
@pytest.mark.parametrize("sound", SOUNDS)
def test_image_is_upright_and_has_its_axes(representation, sound):
    image = representation.render(SOUNDS[sound], RATE_HZ)
    assert image.pixels.dtype == np.uint8
    assert image.pixels.ndim == 2
    assert image.frequencies_hz.shape == image.pixels.shape[:1]
    assert (np.diff(image.frequencies_hz) < 0).all()
    assert 0 < image.f_max_hz <= (representation.rate_hz or RATE_HZ) / 2
    assert image.duration_s == len(SOUNDS[sound]) / RATE_HZ
    assert image.db_min < image.db_max


@FAMILY
def test_image_shows_a_tone_at_its_frequency(representation):
    tone = 0.1 * np.sin(2 * np.pi * 2000 / RATE_HZ * np.arange(RATE_HZ))
    image = representation.render(tone, RATE_HZ)
    brightest = int(image.pixels.mean(axis=1).argmax())
    assert image.row_of(2000) == pytest.approx(brightest, abs=1)
    assert image.frequencies_hz[brightest] == pytest.approx(2000, rel=0.05)


@SPECTROGRAMS
@pytest.mark.parametrize("duration_s", [0.7, 2.0, 4.0, 4.2])
@pytest.mark.parametrize("tone_hz", [400, 1500, 8000])
def test_frequencies_and_times_of_rows_and_columns(representation, duration_s, tone_hz):
    n, at_s = int(duration_s * RATE_HZ), 0.7 * duration_s
    t = np.arange(n) / RATE_HZ
    burst = 0.3 * np.sin(2 * np.pi * tone_hz * t) * (np.abs(t - at_s) < 0.05)
    result = representation(np.random.default_rng(0).normal(0, 1e-3, n) + burst, RATE_HZ)
    frequencies_hz, times_s = representation.frequencies_hz(RATE_HZ), representation.times_s(n, RATE_HZ)
    assert (frequencies_hz.shape, times_s.shape) == (result.shape[:1], result.shape[1:])
    assert (np.diff(frequencies_hz) > 0).all() or (np.diff(frequencies_hz) < 0).all()
    contrast = np.abs(result - np.median(result, axis=1, keepdims=True))
    row = int(contrast.max(axis=1).argmax())
    assert frequencies_hz[row] == pytest.approx(tone_hz, rel=0.06)
    columns = contrast[row] > contrast[row].max() / 2
    assert times_s[columns].mean() == pytest.approx(at_s, abs=0.02)
    assert np.abs(times_s[columns] - at_s).max() < 0.1

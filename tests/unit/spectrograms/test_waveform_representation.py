"""The waveform representation: the samples of a window."""

from dataclasses import replace

import numpy as np
import pytest

from soundmark.errors import SettingsError
from soundmark.models.card import too_large
from soundmark.spectrograms import LogMel, Waveform, from_settings

SOUND = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)


def test_a_sound_of_the_window_is_unchanged():
    found = Waveform(rate_hz=1000, window_samples=1000)(SOUND, 1000)
    np.testing.assert_array_equal(found, SOUND[None])


def test_a_shorter_sound_is_repeated_from_its_start():
    found = Waveform(rate_hz=1000, window_samples=2500)(SOUND, 1000)
    np.testing.assert_array_equal(found[0], np.r_[SOUND, SOUND, SOUND[:500]])


def test_the_middle_of_a_longer_sound_is_used():
    found = Waveform(rate_hz=1000, window_samples=600)(SOUND, 1000)
    np.testing.assert_array_equal(found[0], SOUND[200:800])


def test_the_result_is_a_copy():
    Waveform(rate_hz=1000, window_samples=600)(SOUND, 1000)[:] = 0
    assert SOUND.any()


def test_another_sample_rate_is_resampled():
    tone = np.sin(2 * np.pi * 50 * np.arange(4000) / 4000).astype(np.float32)
    found = Waveform(rate_hz=1000, window_samples=1000)(tone, 4000)[0]
    np.testing.assert_allclose(found[100:900], np.sin(2 * np.pi * 50 * np.arange(1000) / 1000)[100:900], atol=1e-3)


def test_the_samples_are_those_that_logmel_uses():
    """Both repeat short sounds and crop long ones alike: a backbone may compute the spectrogram itself."""
    for n in (900, 32_000, 33_001):
        sound = np.random.default_rng(1).normal(0, 0.1, n)
        fitted = Waveform(rate_hz=32000, window_samples=32_000)(sound, 32000)[0]
        logmel = LogMel(size=(128, 100))
        np.testing.assert_array_equal(logmel(sound, 32000), logmel(fitted, 32000))


def test_the_window_follows_the_duration_and_the_time_expansion():
    assert Waveform(rate_hz=16000).for_window(2.5).window_samples == 40_000
    assert Waveform(rate_hz=16000, time_expansion=10.0).for_window(0.1).window_samples == 16_000
    assert Waveform(rate_hz=16000, time_expansion=10.0, window_samples=16_000).window_s == 0.1


def test_settings_have_no_size():
    settings = Waveform(rate_hz=16000, window_samples=80_000).settings()
    assert settings == {"name": "waveform", "version": 1, "rate_hz": 16000, "window_samples": 80_000}
    with pytest.raises(SettingsError, match='waveform has no parameter "size"'):
        from_settings({**settings, "size": [1, 1]})


@pytest.mark.parametrize("samples", [0, -1, 1.5, "many", True])
def test_invalid_windows_are_refused(samples):
    with pytest.raises(SettingsError, match="window_samples of waveform is .*; it must be a whole number above 0"):
        Waveform(window_samples=samples)


@pytest.mark.parametrize("rate_hz", [39, 1_000_001])
def test_sample_rates_out_of_range_are_refused(rate_hz):
    with pytest.raises(SettingsError, match="rate_hz of waveform is .*; it must be 40 to 1000000 Hz"):
        Waveform(rate_hz=rate_hz)


def test_a_band_is_refused():
    with pytest.raises(SettingsError, match="the band 50-8000 Hz cannot be set for a backbone that takes waveforms"):
        Waveform().with_band(50, 8000)


def test_waveforms_have_their_own_limit():
    assert too_large(Waveform(rate_hz=32000, window_samples=320_000), 10.0) is None
    long = replace(Waveform(), window_samples=(1 << 22) + 1)
    assert "its window_samples is 4194305; the largest value allowed is 4194304" in str(too_large(long, 100.0))
    assert too_large(LogMel(window_samples=800, n_fft=70_000), 4.0) == (
        "its n_fft is 70000; the largest value allowed is 65536"
    )


def test_a_batch_is_a_batch_of_waveforms():
    representation = Waveform(rate_hz=1000, window_samples=1000)
    assert representation.batch(representation(SOUND, 1000)[None]).shape == (1, 1000)
    assert representation.input_shape == (1000,)
    assert LogMel().input_shape == (1, 128, 400)

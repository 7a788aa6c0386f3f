"""Compare ``logmel`` with stored results of EfficientAT, and with a slow reimplementation in ``torch.stft``."""

import numpy as np
import pytest
import soundfile
import soxr
import torch

from soundmark.errors import SettingsError
from soundmark.spectrograms import LogMel, Mel
from soundmark.spectrograms.logmel import kaldi_bank

TOLERANCE = 1e-3


def kaldi_filters(n_mels: int, n_fft: int, rate_hz: int, high_hz: float) -> torch.Tensor:
    """The loops of Kaldi's ``mel-computations.cc``, weight by weight."""

    def mel(hz: float) -> float:
        return 1127.0 * np.log(1.0 + hz / 700.0)

    step = (mel(high_hz) - mel(0.0)) / (n_mels + 1)
    filters = torch.zeros(n_mels, n_fft // 2 + 1, dtype=torch.float64)
    for band in range(n_mels):
        left, centre, right = (mel(0.0) + (band + corner) * step for corner in (0, 1, 2))
        for i in range(n_fft // 2):
            mels = mel(i * rate_hz / n_fft)
            if left < mels < right:
                up, down = (mels - left) / (centre - left), (right - mels) / (right - centre)
                filters[band, i] = up if mels <= centre else down
    return filters


def reference(samples: np.ndarray) -> np.ndarray:
    """EfficientAT's ``AugmentMelSTFT`` in evaluation mode, in float64."""
    x = torch.from_numpy(samples.astype(np.float64))[None, None]
    x = torch.nn.functional.conv1d(x, torch.tensor([[[-0.97, 1.0]]], dtype=torch.float64))[0]
    window = torch.hann_window(800, periodic=False, dtype=torch.float64)
    spectrum = torch.stft(x, 1024, 320, 800, window, center=True, normalized=False, return_complex=True)
    power = spectrum.real**2 + spectrum.imag**2
    mels = kaldi_filters(128, 1024, 32000, 15000.0) @ power[0]
    return (((mels + 1e-5).log() + 4.5) / 5.0).numpy()


@pytest.mark.parametrize("n", [1024, 1025, 1279, 1281, 4096, 31_999, 64_000, 128_000, 129_184])
def test_full_length_equals_efficientat(n):
    samples = np.random.default_rng(n).uniform(-0.5, 0.5, n).astype(np.float32)
    expected = reference(samples)
    assert expected.shape == (128, 1 + (n - 1) // 320)
    np.testing.assert_allclose(LogMel().natural(samples), expected, atol=TOLERANCE)


@pytest.mark.parametrize("n", [1, 2, 512, 513, 1023])
def test_short_sound_is_repeated_to_1024_samples(n):
    samples = np.random.default_rng(n).uniform(-0.5, 0.5, n).astype(np.float32)
    repeated = np.concatenate([samples] * 1024)[:1024]
    np.testing.assert_allclose(LogMel().natural(samples), reference(repeated), atol=TOLERANCE)


def test_clip_of_the_window_length_is_not_changed():
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 128_000).astype(np.float32)
    np.testing.assert_array_equal(LogMel()(samples, 32000), LogMel().natural(samples))


def test_shorter_clip_is_repeated_and_longer_clip_is_cropped_to_its_middle():
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 130_000).astype(np.float32)
    short = samples[:50_000]
    repeated = np.concatenate([short, short, short[:28_000]])
    np.testing.assert_array_equal(LogMel()(short, 32000), LogMel().natural(repeated))
    np.testing.assert_array_equal(LogMel()(samples, 32000), LogMel().natural(samples[1000:129_000]))


def test_silence_is_the_floor():
    np.testing.assert_allclose(LogMel()(np.zeros(32000, np.float32), 32000), (np.log(1e-5) + 4.5) / 5, rtol=1e-6)


@pytest.mark.parametrize("clip", ["first", "tenth"])
def test_real_clips_equal_stored_results_of_efficientat(shared, clip):
    oracle = np.load(shared / "oracles" / "efficientat_mn04.npz")
    name = oracle["clips"][{"first": 0, "tenth": 9}[clip]]
    samples, rate_hz = soundfile.read(shared / "urbansound8k" / "flac" / "fold1" / str(name), dtype="float32")
    samples = soxr.resample(samples, rate_hz, 32000, quality="HQ")
    np.testing.assert_allclose(LogMel()(samples, 32000), oracle[f"logmel_{clip}_clip"], atol=TOLERANCE)


@pytest.mark.parametrize("parameters", [(128, 1024, 32000, 15000.0), (64, 2048, 22050, 11025.0), (3, 8, 8000, 4000.0)])
def test_filters_equal_kaldi(parameters):
    n_mels, n_fft, rate_hz, high_hz = parameters
    expected = kaldi_filters(n_mels, n_fft, rate_hz, high_hz).numpy()
    np.testing.assert_allclose(kaldi_bank(rate_hz, n_fft, n_mels, high_hz).dense(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window_samples": 2048}, "window_samples of logmel is 2048; it must be no more than n_fft"),
        ({"f_max_hz": 16001.0}, "f_max_hz of logmel is 16001.0; it must be above 0 and at most half of rate_hz"),
        ({"pre_emphasis": 1.0}, "pre_emphasis of logmel is 1.0; it must be at least 0 and below 1"),
        ({"n_fft": 2, "window_samples": 2}, "n_fft of logmel is 2; it must be 4 or more samples"),
    ],
)
def test_invalid_parameters_are_rejected(parameters, message):
    with pytest.raises(SettingsError, match=message):
        LogMel(**parameters)


@pytest.mark.parametrize("kind", [LogMel, Mel])
@pytest.mark.parametrize("f_max_hz", [1e-310, 1e-9, 0.005])
def test_a_band_without_width_is_refused(kind, f_max_hz):
    with pytest.raises(SettingsError, match="f_min_hz of .* is 0.0; it must be at least 0, and at least 0.01 Hz below"):
        kind(f_max_hz=f_max_hz)

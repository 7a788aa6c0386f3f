"""Samples of every kind and layout are the sound that was meant, or are refused with what is allowed."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from soundmark import audio
from soundmark.audio.samples import mono_of_any_layout
from soundmark.errors import AudioError, SettingsError

RATE_HZ = 16_000
LEFT = np.sin(np.arange(1000) / 9).astype(np.float32)
RIGHT = np.cos(np.arange(1000) / 5).astype(np.float32)
MEAN = ((LEFT.astype(np.float64) + RIGHT) / 2).astype(np.float32)


def heard(samples: object, rate_hz: object = RATE_HZ) -> np.ndarray:
    sound = audio.as_sound(samples, rate_hz)
    assert sound.rate_hz == RATE_HZ
    assert sound.samples.dtype == np.float32
    return sound.samples


@pytest.mark.parametrize(
    "samples",
    [
        LEFT,
        LEFT.tolist(),
        tuple(LEFT.tolist()),
        LEFT.astype(np.float64),
        LEFT[None],  # torchaudio's mono
        LEFT[:, None],
        LEFT[None].tolist(),
        torch.from_numpy(LEFT),
        torch.from_numpy(LEFT)[None],
        torch.from_numpy(LEFT).requires_grad_(),
        memoryview(LEFT),
        LEFT[::-1][::-1],
    ],
    ids=lambda samples: type(samples).__name__,
)
def test_one_channel_is_itself_in_every_kind(samples):
    if isinstance(samples, memoryview):
        samples = np.asarray(samples)
    np.testing.assert_array_equal(heard(samples), LEFT)


@pytest.mark.parametrize(
    "samples",
    [
        np.stack([LEFT, RIGHT]),
        np.stack([LEFT, RIGHT], axis=1),
        torch.from_numpy(np.stack([LEFT, RIGHT])),
        np.stack([LEFT, RIGHT]).tolist(),
        np.asfortranarray(np.stack([LEFT, RIGHT])),
    ],
)
def test_two_channels_are_averaged_in_both_layouts(samples):
    np.testing.assert_allclose(heard(samples), MEAN, atol=1e-7)


def test_a_half_precision_tensor_is_read():
    np.testing.assert_allclose(heard(torch.from_numpy(LEFT).to(torch.bfloat16)), LEFT, atol=0.01)


def test_whole_numbers_are_scaled_in_both_layouts():
    whole = np.round(np.stack([LEFT, RIGHT]) * 32_767).astype(np.int16)
    np.testing.assert_allclose(heard(whole), MEAN, atol=1e-4)
    np.testing.assert_array_equal(heard(whole), heard(np.ascontiguousarray(whole.T)))
    np.testing.assert_array_equal(heard(torch.from_numpy(whole)), heard(whole))


@pytest.mark.parametrize(("shape", "n"), [((1, 1), 1), ((1, 7), 7), ((7, 1), 7), ((32, 33), 33), ((33, 32), 33)])
def test_the_smallest_shapes_that_are_allowed(shape, n):
    assert mono_of_any_layout(np.zeros(shape)).shape == (n,)


@pytest.mark.parametrize("shape", [(2, 2), (100, 100), (32, 32), (33, 40), (2, 32), (64, 64)])
def test_ambiguous_shapes_are_refused(shape):
    match = rf"shape \({shape[0]}, {shape[1]}\) can be read in two ways: give \[n\], or \[n, channels\]"
    with pytest.raises(AudioError, match=match):
        audio.as_sound(np.zeros(shape), RATE_HZ)


@pytest.mark.parametrize("shape", [(), (2, 2, 2), (0,), (2, 0), (0, 2)])
def test_shapes_that_are_no_sound_are_refused(shape):
    with pytest.raises(AudioError, match="are not a sound: give at least one"):
        audio.as_sound(np.zeros(shape), RATE_HZ)


@pytest.mark.parametrize("samples", [LEFT * 32_768, torch.from_numpy(LEFT * 32_768), np.array([0.0, -2.5])])
def test_floats_at_integer_scale_are_refused(samples):
    with pytest.raises(AudioError, match="divide them by their full scale .32768"):
        audio.as_sound(samples, RATE_HZ)


def test_a_little_overshoot_is_a_sound():
    np.testing.assert_array_equal(heard(np.full(9, 1.9, np.float32)), np.full(9, 1.9, np.float32))


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        ([0.0, np.nan], "1 of 2 samples are NaN or infinite"),
        (np.array([[0.0] * 40, [np.inf] * 40]), "40 of 80 samples"),
        ([[0.1, 0.2], [0.1]], "rows of one length"),
        (["a.wav", "b.wav"], "one path at a time"),
        ([None, 1.0], "must hold numbers"),
        ([1, 2, 3], "samples of the type int64"),
        (np.zeros(9, complex), "samples of the type complex128"),
    ],
)
def test_lists_that_are_no_samples_are_refused(samples, match):
    with pytest.raises(AudioError, match=match):
        audio.as_sound(samples, RATE_HZ)


@pytest.mark.parametrize("rate_hz", [16_000, 16_000.0, np.int64(16_000), np.float32(16_000)])
def test_whole_rates_are_accepted(rate_hz):
    assert len(heard(LEFT, rate_hz)) == 1000
    assert isinstance(audio.as_sound(LEFT, rate_hz).rate_hz, int)


@pytest.mark.parametrize("rate_hz", ["22050", 22_050.5, 0, -1, True, None, float("nan"), float("inf"), [22_050]])
def test_other_rates_are_refused(rate_hz):
    with pytest.raises(SettingsError, match="samples came with the rate .*as rate_hz=22050"):
        audio.as_sound(LEFT, rate_hz)


@pytest.mark.parametrize("source", [None, 3, {"path": "a.wav"}])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(AudioError, match="give a path"):
        audio.as_sound(source)


def test_lists_do_not_need_torch():
    code = (
        "import sys; from soundmark import audio; audio.as_sound([0.1, 0.2], 8000); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reprs_are_short(tmp_path):
    sound = audio.as_sound(np.zeros(100_000), 8000)
    assert repr(sound) == "Sound(12.500 s: 100000 samples, rate_hz=8000)"
    audio.write(tmp_path / "a.wav", sound.samples, 8000)
    assert len(repr(audio.info(tmp_path / "a.wav")).encode()) < 300

"""Samples of every type and layout are converted to mono float32, or rejected with the allowed alternatives."""

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


def mono(samples: object, rate_hz: object = RATE_HZ) -> np.ndarray:
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
def test_mono_samples_of_every_type_are_unchanged(samples):
    if isinstance(samples, memoryview):
        samples = np.asarray(samples)
    np.testing.assert_array_equal(mono(samples), LEFT)


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
    np.testing.assert_allclose(mono(samples), MEAN, atol=1e-7)


def test_half_precision_tensor_is_converted():
    np.testing.assert_allclose(mono(torch.from_numpy(LEFT).to(torch.bfloat16)), LEFT, atol=0.01)


def test_integers_are_scaled_in_both_layouts():
    integers = np.round(np.stack([LEFT, RIGHT]) * 32_767).astype(np.int16)
    np.testing.assert_allclose(mono(integers), MEAN, atol=1e-4)
    np.testing.assert_array_equal(mono(integers), mono(np.ascontiguousarray(integers.T)))
    np.testing.assert_array_equal(mono(torch.from_numpy(integers)), mono(integers))


@pytest.mark.parametrize(("shape", "n"), [((1, 1), 1), ((1, 7), 7), ((7, 1), 7), ((32, 33), 33), ((33, 32), 33)])
def test_smallest_allowed_shapes(shape, n):
    assert mono_of_any_layout(np.zeros(shape)).shape == (n,)


@pytest.mark.parametrize("shape", [(2, 2), (100, 100), (32, 32), (33, 40), (2, 32), (64, 64)])
def test_ambiguous_shapes_are_rejected(shape):
    match = rf"shape \({shape[0]}, {shape[1]}\) are ambiguous: give \[n\], or \[n, channels\]"
    with pytest.raises(AudioError, match=match):
        audio.as_sound(np.zeros(shape), RATE_HZ)


@pytest.mark.parametrize("shape", [(), (2, 2, 2), (0,), (2, 0), (0, 2)])
def test_invalid_shapes_are_rejected(shape):
    with pytest.raises(AudioError, match="are not valid: give at least one sample"):
        audio.as_sound(np.zeros(shape), RATE_HZ)


@pytest.mark.parametrize("samples", [LEFT * 32_768, torch.from_numpy(LEFT * 32_768), np.array([0.0, -2.5])])
def test_floats_on_the_scale_of_integers_are_rejected(samples):
    with pytest.raises(AudioError, match="divide them by their full scale .32768"):
        audio.as_sound(samples, RATE_HZ)


def test_floats_may_slightly_exceed_full_scale():
    np.testing.assert_array_equal(mono(np.full(9, 1.9, np.float32)), np.full(9, 1.9, np.float32))


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        ([0.0, np.nan], "1 of 2 samples are NaN or infinite"),
        (np.array([[0.0] * 40, [np.inf] * 40]), "40 of 80 samples"),
        ([[0.1, 0.2], [0.1]], "rows of equal length"),
        (["a.wav", "b.wav"], "one path at a time"),
        ([None, 1.0], "must contain numbers"),
        ([1, 2, 3], "samples of the type int64"),
        (np.zeros(9, complex), "samples of the type complex128"),
    ],
)
def test_invalid_samples_are_rejected(samples, match):
    with pytest.raises(AudioError, match=match):
        audio.as_sound(samples, RATE_HZ)


def test_a_list_of_paths_is_refused_as_such_without_a_rate_too():
    with pytest.raises(AudioError, match="one path at a time"):
        audio.as_sound(["a.wav", "b.wav"])


@pytest.mark.parametrize("rate_hz", [16_000, 16_000.0, np.int64(16_000), np.float32(16_000)])
def test_whole_sample_rates_are_accepted(rate_hz):
    assert len(mono(LEFT, rate_hz)) == 1000
    assert isinstance(audio.as_sound(LEFT, rate_hz).rate_hz, int)


@pytest.mark.parametrize("rate_hz", ["22050", 22_050.5, 0, -1, True, None, float("nan"), float("inf"), [22_050]])
def test_invalid_sample_rates_are_rejected(rate_hz):
    with pytest.raises(SettingsError, match="samples need their sample rate in Hz, .*such as rate_hz=22050; got "):
        audio.as_sound(LEFT, rate_hz)


@pytest.mark.parametrize("source", [None, 3, {"path": "a.wav"}])
def test_invalid_source_is_rejected(source):
    with pytest.raises(AudioError, match="give a path"):
        audio.as_sound(source)


def test_lists_do_not_import_torch():
    code = (
        "import sys; from soundmark import audio; audio.as_sound([0.1, 0.2], 8000); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reprs_are_short(tmp_path):
    sound = audio.as_sound(np.zeros(100_000), 8000)
    assert repr(sound) == "Sound(12.500 s: 100000 samples, rate_hz=8000)"
    audio.write(tmp_path / "a.wav", sound.samples, 8000)
    assert len(repr(audio.info(tmp_path / "a.wav")).encode()) < 300

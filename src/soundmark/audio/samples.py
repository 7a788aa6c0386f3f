"""Arrays of samples: to mono, to float, checked."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.audio import decoding
from soundmark.audio.decoding import Samples
from soundmark.errors import AudioError

LARGEST_SAMPLE = 1e12  # beyond it float32 may not hold the square of a spectrum


MOST_CHANNELS = 32  # of samples in two dimensions, the side of at most this many is the channels


MOST_OVERSHOOT = 2.0  # full scale is 1; resampling and lossy codecs overshoot it by less than this


def to_mono(samples: npt.NDArray[Any]) -> Samples:
    """The mean of the channels: [n, channels] to [n], float32; [n] is handed through.

    As ``librosa.to_mono``, up to the order of summation beyond two channels.

    >>> to_mono(np.array([[1.0, 0.5], [-1.0, 1.0]], np.float32))
    array([0.75, 0.  ], dtype=float32)
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim == 1:
        return samples
    if samples.ndim != 2 or samples.shape[1] == 0:
        raise AudioError(f"samples must have the shape [n] or [n, channels], and these have {list(samples.shape)}.")
    return decoding.mean_of_channels(samples, 1.0)


def check_samples(samples: Samples, name: str = "") -> None:
    """Refuse samples that are no numbers, or beyond ``LARGEST_SAMPLE``, with an ``AudioError`` that begins with a name.

    >>> check_samples(np.array([0, 1e13], np.float32), '"hum.wav"')
    Traceback (most recent call last):
    soundmark.errors.AudioError: "hum.wav": a sample is ±1e+13: samples should lie within −1…1. Scale them, or...
    """
    peak = max(float(samples.max(initial=0)), -float(samples.min(initial=0)))  # NaN if any sample is
    if peak <= LARGEST_SAMPLE:
        return
    bad = len(samples) - int(np.count_nonzero(np.isfinite(samples)))
    wrong = f"{bad} of {len(samples)} samples are no numbers (NaN or infinite)" if bad else f"a sample is ±{peak:g}"
    whose = f"{name}: " if name else ""
    raise AudioError(f"{whose}{wrong}: samples should lie within −1…1. Scale them, or leave this sound out.")


def to_float(samples: np.ndarray) -> np.ndarray:
    """The samples as float32: whole numbers over their full scale, unsigned ones from their middle, as in a file.

    >>> to_float(np.array([-128, 64], np.int8)).tolist()
    [-1.0, 0.5]
    """
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        return samples.astype(np.float32)
    if kind not in "iu" or size > 4:
        raise AudioError(
            f"samples of the type {samples.dtype} have no known full scale: give floats in −1…1, or whole numbers of "
            "8, 16 or 32 bits."
        )
    full_scale = 2.0 ** (8 * size - 1)
    centred = samples.astype(np.float64) - (full_scale if kind == "u" else 0.0)
    return (centred / full_scale).astype(np.float32)


def is_array(source: object) -> bool:
    """Whether a source is samples in memory: a NumPy array, a list or tuple, a torch tensor, or another array.

    >>> is_array([0.0, 0.5]), is_array(np.zeros(3)), is_array("street.wav")
    (True, True, False)
    """
    return isinstance(source, np.ndarray | list | tuple) or _is_tensor(source) or hasattr(source, "__array__")


def as_array(source: Any) -> npt.NDArray[Any]:
    """Samples of any kind that ``is_array`` knows, as a NumPy array; torch is not imported for it.

    Raises:
        AudioError: a list is not of numbers, or its rows have different lengths.

    >>> as_array([0.0, 0.5])
    array([0. , 0.5])
    """
    if _is_tensor(source):
        tensor = source.detach().cpu()
        return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise AudioError("samples in a list must be numbers, in rows of one length: give [n] or [n, channels].") from (
            error
        )
    if array.dtype.kind in "OUS":
        raise AudioError(
            f"a {type(source).__name__} of samples must hold numbers, and this holds {array.dtype.kind!r} values: give "
            "[n] or [n, channels] samples, or one path at a time."
        )
    return array


def mono_of_any_layout(samples: npt.NDArray[Any]) -> Samples:
    """The mean of the channels of [n], [n, channels] or [channels, n] samples: [n], float32.

    In two dimensions, a side of length 1 is the channels; else the shorter side is, if it is at most ``MOST_CHANNELS``
    and the other one is longer than that. librosa and torchaudio have [channels, n], soundfile [n, channels].

    Raises:
        AudioError: which side is the channels cannot be known, or the samples are not finite numbers within −1…1.

    >>> mono_of_any_layout(np.array([np.zeros(100), np.ones(100)]))[:3]
    array([0.5, 0.5, 0.5], dtype=float32)
    >>> mono_of_any_layout(np.zeros((100, 100)))
    Traceback (most recent call last):
    soundmark.errors.AudioError: samples of shape (100, 100) can be read in two ways: give [n], or [n, channels] or...
    """
    shape = samples.shape
    if samples.ndim not in (1, 2) or not samples.size:
        raise AudioError(
            f"samples of shape {shape} are not a sound: give at least one, as [n], [n, channels] or [channels, n]."
        )
    if samples.ndim == 2:
        shorter, longer = sorted(shape)
        if shorter > 1 and not shorter <= MOST_CHANNELS < longer:
            raise AudioError(
                f"samples of shape {shape} can be read in two ways: give [n], or [n, channels] or [channels, n] with "
                f"at most {MOST_CHANNELS} channels and more than {MOST_CHANNELS} samples; samples.mean(axis) makes [n]."
            )
        samples = samples if shape[1] == shorter else samples.T
    floats = to_float(samples)
    _check_scale(floats, samples.dtype.kind)
    return to_mono(np.ascontiguousarray(floats))


def _check_scale(floats: npt.NDArray[np.float32], kind: str) -> None:
    """Refuse what is not finite, and floats that are whole numbers of an audio file."""
    peak = float(np.abs(floats).max())
    if not np.isfinite(peak):
        bad = floats.size - int(np.count_nonzero(np.isfinite(floats)))
        raise AudioError(f"{bad} of {floats.size} samples are NaN or infinite: give finite numbers in −1…1.")
    if kind == "f" and peak > MOST_OVERSHOOT:
        raise AudioError(
            f"a sample is ±{peak:g}, and floats should lie within −1…1: divide them by their full scale (32768 for "
            "16-bit samples), or give them as whole numbers, such as samples.astype(np.int16)."
        )


def _is_tensor(source: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)

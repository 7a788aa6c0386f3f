"""Validate arrays of samples; convert them to mono and float32."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.audio import decoding
from soundmark.audio.decoding import Samples
from soundmark.errors import AudioError

LARGEST_SAMPLE = 1e12  # for larger samples, a power spectrum in float32 may overflow


MOST_CHANNELS = 32  # in a 2-D array, an axis of at most this length is the channel axis


MOST_OVERSHOOT = 2.0  # full scale is 1; resampling and lossy codecs exceed it by less than this


def to_mono(samples: npt.NDArray[Any]) -> Samples:
    """Average the channels: [n, channels] to [n], float32. An array [n] is returned unchanged.

    The result equals ``librosa.to_mono``, up to the order of summation for more than two channels.

    >>> to_mono(np.array([[1.0, 0.5], [-1.0, 1.0]], np.float32))
    array([0.75, 0.  ], dtype=float32)
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim == 1:
        return samples
    if samples.ndim != 2 or samples.shape[1] == 0:
        raise AudioError(f"samples must have the shape [n] or [n, channels]; these have {list(samples.shape)}.")
    return decoding.mean_of_channels(samples, 1.0)


def check_samples(samples: Samples, name: str = "") -> None:
    """Raise ``AudioError`` for samples that are not finite or exceed ``LARGEST_SAMPLE``; ``name`` begins the message.

    >>> check_samples(np.array([0, 1e13], np.float32), '"hum.wav"')
    Traceback (most recent call last):
    soundmark.errors.AudioError: "hum.wav": a sample is ±1e+13: samples should be within −1…1. Scale them, or...
    """
    peak = max(float(samples.max(initial=0)), -float(samples.min(initial=0)))  # NaN if any sample is NaN
    if peak <= LARGEST_SAMPLE:
        return
    n_bad = len(samples) - int(np.count_nonzero(np.isfinite(samples)))
    bad = f"{n_bad} of {len(samples)} samples are not finite numbers (NaN or infinite)"
    problem = bad if n_bad else f"a sample is ±{peak:g}"
    prefix = f"{name}: " if name else ""
    raise AudioError(
        f"{prefix}{problem}: samples should be within −1…1. Scale them, or remove this sound from the inputs."
    )


def to_float(samples: np.ndarray) -> np.ndarray:
    """Convert samples to float32. Integers are divided by their full scale; unsigned integers are centred first.

    >>> to_float(np.array([-128, 64], np.int8)).tolist()
    [-1.0, 0.5]
    """
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        return samples.astype(np.float32)
    if kind not in "iu" or size > 4:
        raise AudioError(
            f"samples of the type {samples.dtype} have no known full scale: give floats within −1…1, or integers of 8, "
            "16 or 32 bits."
        )
    full_scale = 2.0 ** (8 * size - 1)
    centred = samples.astype(np.float64) - (full_scale if kind == "u" else 0.0)
    return (centred / full_scale).astype(np.float32)


def is_array(source: object) -> bool:
    """Return whether a source is samples in memory: a NumPy array, a list, a tuple, a torch tensor or another array.

    >>> is_array([0.0, 0.5]), is_array(np.zeros(3)), is_array("street.wav")
    (True, True, False)
    """
    return isinstance(source, np.ndarray | list | tuple) or _is_tensor(source) or hasattr(source, "__array__")


def as_array(source: Any) -> npt.NDArray[Any]:
    """Convert samples of any type that ``is_array`` accepts to a NumPy array, without importing torch.

    Raises:
        AudioError: a list contains other values than numbers, or rows of different lengths.

    >>> as_array([0.0, 0.5])
    array([0. , 0.5])
    """
    if _is_tensor(source):
        tensor = source.detach().cpu()
        return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise AudioError(
            "samples in a list must be numbers, in rows of equal length: give [n] or [n, channels]."
        ) from error
    if array.dtype.kind in "OUS":
        raise AudioError(
            f"a {type(source).__name__} of samples must contain numbers; this one contains values of the type "
            f"{array.dtype}: give samples [n] or [n, channels], or one path at a time."
        )
    return array


def mono_of_any_layout(samples: npt.NDArray[Any]) -> Samples:
    """Average the channels of samples [n], [n, channels] or [channels, n]; return [n], float32.

    In a 2-D array, an axis of length 1 is the channel axis. Otherwise it is the shorter axis, if that has at most
    ``MOST_CHANNELS`` values and the other one has more. librosa and torchaudio use [channels, n], soundfile uses
    [n, channels].

    Raises:
        AudioError: the channel axis is ambiguous, or the samples are not finite numbers within −1…1.

    >>> mono_of_any_layout(np.array([np.zeros(100), np.ones(100)]))[:3]
    array([0.5, 0.5, 0.5], dtype=float32)
    >>> mono_of_any_layout(np.zeros((100, 100)))
    Traceback (most recent call last):
    soundmark.errors.AudioError: samples of shape (100, 100) are ambiguous: give [n], or [n, channels] or...
    """
    shape = samples.shape
    if samples.ndim not in (1, 2) or not samples.size:
        raise AudioError(
            f"samples of shape {shape} are not valid: give at least one sample, as [n], [n, channels] or [channels, n]."
        )
    if samples.ndim == 2:
        shorter, longer = sorted(shape)
        if shorter > 1 and not shorter <= MOST_CHANNELS < longer:
            raise AudioError(
                f"samples of shape {shape} are ambiguous: give [n], or [n, channels] or [channels, n] with at most "
                f"{MOST_CHANNELS} channels and more than {MOST_CHANNELS} samples; samples.mean(axis) gives [n]."
            )
        samples = samples if shape[1] == shorter else samples.T
    floats = to_float(samples)
    _check_scale(floats, samples.dtype.kind)
    return to_mono(np.ascontiguousarray(floats))


def _check_scale(floats: npt.NDArray[np.float32], kind: str) -> None:
    """Raise ``AudioError`` for samples that are not finite, and for floats on the scale of integers."""
    peak = float(np.abs(floats).max())
    if not np.isfinite(peak):
        bad = floats.size - int(np.count_nonzero(np.isfinite(floats)))
        raise AudioError(f"{bad} of {floats.size} samples are NaN or infinite: give finite numbers within −1…1.")
    if kind == "f" and peak > MOST_OVERSHOOT:
        raise AudioError(
            f"a sample is ±{peak:g}, but floats should be within −1…1: divide them by their full scale (32768 for "
            "16-bit samples), or give integers, such as samples.astype(np.int16)."
        )


def _is_tensor(source: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)

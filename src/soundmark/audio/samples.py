"""Arrays of samples: to mono, to float, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.audio import decoding
from soundmark.audio.decoding import Samples
from soundmark.errors import AudioError

LARGEST_SAMPLE = 1e12  # beyond it float32 may not hold the square of a spectrum


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
            f"samples of the type {samples.dtype} have no full scale that could be told: give floats in −1…1, or whole "
            "numbers of 8, 16 or 32 bits."
        )
    full_scale = 2.0 ** (8 * size - 1)
    centred = samples.astype(np.float64) - (full_scale if kind == "u" else 0.0)
    return (centred / full_scale).astype(np.float32)

"""Frames, windows and power spectra, computed in pieces that fit into the L2 cache of a core.

The FFT is ducc0's: for 173 × 2048 float32, it takes a fifth of the time of ``np.fft`` (``benchmarks/fft.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


PIECE_BYTES = 1 << 18  # size of the windowed frames; their spectrum and power need twice as much in addition


ROW_PADDING = 16  # floats between rows: a row stride of a power of two causes cache conflicts (a third slower)


def frames(samples: Float32, length: int, hop_samples: int) -> Float32:
    """Return a view [n, length] of overlapping frames. Samples that do not fill a last frame are omitted.

    >>> frames(np.arange(7, dtype=np.float32), length=4, hop_samples=2)
    array([[0., 1., 2., 3.],
           [2., 3., 4., 5.]], dtype=float32)
    """
    count = 1 + (len(samples) - length) // hop_samples
    stride = samples.strides[0]
    return np.lib.stride_tricks.as_strided(samples, (count, length), (hop_samples * stride, stride), writeable=False)


def frame_means(samples: Float32, length: int, hop_samples: int) -> Float32:
    """Return the mean of each frame, [n], equal to ``np.mean`` bit for bit.

    If frames overlap by half, each half is summed once. The result is the same: NumPy sums a long row as two halves.

    >>> frame_means(np.arange(7, dtype=np.float32), length=4, hop_samples=2)
    array([1.5, 3.5], dtype=float32)
    """
    framed = frames(samples, length, hop_samples)
    if length != 2 * hop_samples or length % 16 or length <= 128:
        means: Float32 = framed.mean(axis=1)
        return means
    halves = samples[: hop_samples * (len(framed) + 1)].reshape(-1, hop_samples).sum(axis=1)
    sums: Float32 = halves[:-1] + halves[1:]
    return sums / np.float32(length)


@lru_cache(maxsize=32)
def hann(length: int) -> Float32:
    """Return the periodic Hann window [length], read-only: a symmetric one of length + 1 without its last sample.

    >>> hann(4)
    array([0. , 0.5, 1. , 0.5], dtype=float32)
    """
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)
    window.flags.writeable = False
    return window


def power_spectra(
    samples: Float32, window: Float32, hop_samples: int, *, detrend: bool = False
) -> Iterator[tuple[slice, Float32]]:
    """Yield the |rfft|² of all windowed frames in pieces: a slice of frames, and their power [frames, bins].

    There are len(window) // 2 + 1 bins. All pieces use the same buffer: process one before requesting the next. With
    ``detrend``, the mean of each frame is subtracted before windowing, equal to SciPy bit for bit. The bin at 0 Hz then
    contains only rounding errors of that mean.

    >>> pieces = list(power_spectra(np.ones(8, np.float32), hann(4), 2))
    >>> [(piece.start, piece.stop, power[0].tolist()) for piece, power in pieces]
    [(0, 3, [4.0, 1.0, 0.0])]
    """
    from ducc0.fft import r2c

    length = len(window)
    framed = frames(samples, length, hop_samples)
    means = frame_means(samples, length, hop_samples)[:, None] if detrend else None
    piece = max(1, min(len(framed), PIECE_BYTES // (4 * length)))
    bins = length // 2 + 1
    windowed = np.empty((piece, length + ROW_PADDING), np.float32)[:, :length]
    spectrum = np.empty((piece, bins), np.complex64)
    power = np.empty((piece, bins), np.float32)
    for start in range(0, len(framed), piece):
        part = framed[start : start + piece]
        n = len(part)
        if means is not None:
            np.subtract(part, means[start : start + n], out=windowed[:n])
            windowed[:n] *= window
        else:
            np.multiply(part, window, out=windowed[:n])
        r2c(windowed[:n], axes=(1,), nthreads=1, out=spectrum[:n])
        squares = spectrum[:n].view(np.float32)
        np.multiply(squares, squares, out=squares)
        np.add(squares[:, 0::2], squares[:, 1::2], out=power[:n])
        yield slice(start, start + n), power[:n]

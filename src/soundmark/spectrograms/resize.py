"""Resizing as in OpenCV and in scikit-image, as one banded matrix per axis."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from soundmark.spectrograms.banded import Banded, Float64

CACHED = 256  # number of cached matrices, about 50 kB each: the clips of a data set mostly share a few lengths


@lru_cache(maxsize=CACHED)
def opencv_area(inputs: int, outputs: int, *, shrinks: bool = True) -> Banded:
    """Return the matrix of one axis of ``cv2.resize(…, interpolation=cv2.INTER_AREA)`` (OpenCV 4.x and 5.0).

    If no axis of the image is enlarged (``shrinks``), each output is the mean of the inputs that it covers. If any axis
    is enlarged, OpenCV uses the interpolation of ``_two_taps`` on both axes, which differs from ``INTER_LINEAR``.

    >>> opencv_area(3, 2).dense()
    array([[0.6666667 , 0.33333334, 0.        ],
           [0.        , 0.33333334, 0.6666667 ]], dtype=float32)
    >>> opencv_area(2, 3, shrinks=False).dense()
    array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]], dtype=float32)
    """
    if not shrinks:
        return _two_taps(inputs, outputs)
    edges = np.arange(outputs + 1) * inputs / outputs
    starts = np.floor(edges[:-1]).astype(np.intp)
    columns = starts[:, None] + np.arange(math.ceil(inputs / outputs) + 1)
    covered = np.minimum(columns + 1, edges[1:, None]) - np.maximum(columns, edges[:-1, None])
    weights = np.maximum(covered, 0.0) * outputs / inputs
    return Banded.of(starts, weights, inputs)


def _two_taps(inputs: int, outputs: int) -> Banded:
    """Return OpenCV's INTER_AREA matrix for enlarging: it interpolates only where an output overlaps two inputs."""
    output = np.arange(outputs)
    starts = np.floor(output * (inputs / outputs)).astype(np.intp)
    second = (output + 1) - (starts + 1) * (outputs / inputs)
    second = np.where(second <= 0, 0.0, second - np.floor(second))
    second[starts >= inputs - 1] = 0.0
    return Banded.of(starts, np.stack([1 - second, second], axis=1), inputs)


@lru_cache(maxsize=CACHED)
def skimage_linear(inputs: int, outputs: int) -> Banded:
    """Return the matrix of one axis of ``skimage.transform.resize(image, …)`` with its defaults (scikit-image 0.26).

    If the axis shrinks, a Gaussian filter with σ = (inputs / outputs − 1) / 2, truncated at 4 σ, is applied first. Then
    pixel centres are interpolated linearly. At the edges, the image is reflected without repeating the edge pixel.

    >>> skimage_linear(2, 4).dense()
    array([[0.75, 0.25],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.25, 0.75]], dtype=float32)
    """
    factor = inputs / outputs
    sigma = max(0.0, (factor - 1) / 2)
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    gaussian = np.exp(-0.5 * (offsets / sigma) ** 2) if radius else np.ones(1)
    gaussian /= gaussian.sum()
    centres = (np.arange(outputs) + 0.5) * factor - 0.5
    left = np.floor(centres).astype(np.intp)
    share = (centres - left)[:, None]
    # Each of the two interpolated pixels, reflected at the edges, is a weighted sum of the pixels under the Gaussian.
    columns = np.concatenate([_reflected(left + side, inputs)[:, None] + offsets for side in (0, 1)], axis=1)
    taps = np.concatenate([(1 - share) * gaussian, share * gaussian], axis=1)
    # Use smaller blocks for wide filters: OpenBLAS would split a large product among threads, which is slower.
    return _from_taps(_reflected(columns, inputs), taps, inputs, block=16 if factor < 2 else 8)


def _reflected(columns: npt.NDArray[np.intp], inputs: int) -> npt.NDArray[np.intp]:
    """Reflect columns outside of 0…inputs − 1 at the centres of the edge pixels, repeatedly if needed."""
    period = max(1, 2 * (inputs - 1))
    folded = np.abs(columns) % period
    return np.where(folded < inputs, folded, period - folded)


def _from_taps(columns: npt.NDArray[np.intp], taps: Float64, inputs: int, block: int) -> Banded:
    """Create the banded matrix in which ``taps[i, k]`` is added to column ``columns[i, k]`` of row i."""
    starts = columns.min(axis=1)
    weights = np.zeros((len(columns), int((columns.max(axis=1) - starts).max()) + 1))
    np.add.at(weights, (np.arange(len(columns))[:, None], columns - starts[:, None]), taps)
    return Banded.of(starts, weights, inputs, block)

"""The two resizings that the representations use, each as one small matrix per axis: OpenCV's and scikit-image's."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from soundmark.spectrograms.banded import Banded, Float64

CACHED = 256  # sizes whose matrices are kept: clips of a data set mostly share a few lengths, and each takes some 50 kB


@lru_cache(maxsize=CACHED)
def opencv_area(inputs: int, outputs: int, *, shrinks: bool = True) -> Banded:
    """One axis of ``cv2.resize(…, interpolation=cv2.INTER_AREA)``, the OpenCV of 4.x and 5.0.

    Where no axis of the image is enlarged (``shrinks``), each output is the mean of the inputs that it covers. Where
    any is, OpenCV uses on both axes the two-tap rule of ``_two_taps`` instead; it is not that of ``INTER_LINEAR``.

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
    """OpenCV's INTER_AREA where an axis is enlarged: it blends only where an output straddles two inputs."""
    output = np.arange(outputs)
    starts = np.floor(output * (inputs / outputs)).astype(np.intp)
    second = (output + 1) - (starts + 1) * (outputs / inputs)
    second = np.where(second <= 0, 0.0, second - np.floor(second))
    second[starts >= inputs - 1] = 0.0
    return Banded.of(starts, np.stack([1 - second, second], axis=1), inputs)


@lru_cache(maxsize=CACHED)
def skimage_linear(inputs: int, outputs: int) -> Banded:
    """One axis of ``skimage.transform.resize(image, …)`` with its defaults, as of scikit-image 0.26.

    A Gaussian of σ = (inputs / outputs − 1) / 2, cut off at 4 σ, where the axis shrinks; then linear interpolation
    between the middles of the pixels. Beyond an edge the image goes on as its mirror image, the edge not repeated.

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
    middles = (np.arange(outputs) + 0.5) * factor - 0.5
    left = np.floor(middles).astype(np.intp)
    share = (middles - left)[:, None]
    # The two pixels that are blended, first mirrored themselves, each stand for the pixels that the Gaussian blended.
    columns = np.concatenate([_mirrored(left + side, inputs)[:, None] + offsets for side in (0, 1)], axis=1)
    taps = np.concatenate([(1 - share) * gaussian, share * gaussian], axis=1)
    # Wider taps, lower blocks: OpenBLAS would share a large product among threads that wait for one another.
    return _gathered(_mirrored(columns, inputs), taps, inputs, block=16 if factor < 2 else 8)


def _mirrored(columns: npt.NDArray[np.intp], inputs: int) -> npt.NDArray[np.intp]:
    """Columns outside of 0…inputs − 1 reflected at the middle of the edge pixels, as often as it takes."""
    period = max(1, 2 * (inputs - 1))
    folded = np.abs(columns) % period
    return np.where(folded < inputs, folded, period - folded)


def _gathered(columns: npt.NDArray[np.intp], taps: Float64, inputs: int, block: int) -> Banded:
    """The banded matrix with ``taps[i, k]`` added at column ``columns[i, k]`` of row i."""
    starts = columns.min(axis=1)
    weights = np.zeros((len(columns), int((columns.max(axis=1) - starts).max()) + 1))
    np.add.at(weights, (np.arange(len(columns))[:, None], columns - starts[:, None]), taps)
    return Banded.of(starts, weights, inputs, block)

"""Shared arithmetic of the representations: frames, power spectra, banded matrices, resizing."""

import cv2
import numpy as np
import pytest
import scipy.signal
import skimage.transform

from soundmark.spectrograms.banded import Banded
from soundmark.spectrograms.fourier import frame_means, frames, hann, power_spectra
from soundmark.spectrograms.resize import opencv_area, skimage_linear

LENGTHS = [1, 2, 3, 9, 31, 63, 64, 65, 100, 127, 128, 129, 173, 192, 224, 225, 345, 448, 689, 1000, 2999]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize("rows", [40, 64, 100, 128])
@pytest.mark.parametrize("columns", LENGTHS)
def test_area_resizing_equals_opencv(rows, columns):
    x = random(rows, columns)
    expected = cv2.resize(x, (64, 64), interpolation=cv2.INTER_AREA)
    shrinks = rows >= 64 and columns >= 64
    ours = opencv_area(columns, 64, shrinks=shrinks).along(opencv_area(rows, 64, shrinks=shrinks).down(x))
    np.testing.assert_allclose(ours, expected, atol=2e-6)


@pytest.mark.parametrize("columns", LENGTHS)
def test_linear_resizing_equals_scikit_image(columns):
    x = random(257, columns)
    expected = skimage.transform.resize(x, (224, 224))
    ours = skimage_linear(columns, 224).along(skimage_linear(257, 224).down(x))
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("columns", LENGTHS)
@pytest.mark.parametrize("matrix", [skimage_linear, opencv_area])
def test_resizing_preserves_a_constant(columns, matrix):
    np.testing.assert_allclose(matrix(columns, 64).dense().sum(axis=1), 1, atol=1e-6)


def test_banded_products_equal_those_of_the_dense_matrix():
    rng = np.random.default_rng(0)
    starts, weights = np.sort(rng.integers(0, 90, 50)), rng.random((50, 10))
    banded = Banded.of(starts, weights, inputs=100, block=7)
    dense = np.zeros((50, 100))
    for row, start in enumerate(starts):
        dense[row, start : start + 10] = weights[row]
    np.testing.assert_array_equal(banded.dense(), dense.astype(np.float32))
    x = random(100, 30)
    np.testing.assert_allclose(banded.down(x), dense @ x, rtol=1e-5)
    np.testing.assert_allclose(banded.along(np.ascontiguousarray(x.T)), x.T @ dense.T, rtol=1e-5)


@pytest.mark.parametrize("length", [2, 3, 511, 512, 2048])
def test_hann_window_equals_scipy(length):
    np.testing.assert_array_equal(hann(length), scipy.signal.get_window("hann", length).astype(np.float32))


@pytest.mark.parametrize(("length", "hop"), [(512, 256), (2048, 512), (100, 30), (7, 9), (2, 1), (256, 128), (144, 72)])
@pytest.mark.parametrize("more", [0, 1, 5000])
def test_means_equal_numpy_bit_for_bit_and_power_equals_an_fft(length, hop, more):
    x = random(length + more) - np.float32(0.2)
    framed = np.lib.stride_tricks.sliding_window_view(x, length)[::hop]
    np.testing.assert_array_equal(frames(x, length, hop), framed)
    np.testing.assert_array_equal(frame_means(x, length, hop), framed.mean(axis=1))
    for detrend in (False, True):
        ours = np.concatenate([power.copy() for _, power in power_spectra(x, hann(length), hop, detrend=detrend)])
        centred = framed - framed.mean(axis=1, keepdims=True, dtype=np.float64) if detrend else framed
        expected = np.abs(np.fft.rfft(centred * hann(length).astype(np.float64))) ** 2
        np.testing.assert_allclose(ours, expected, atol=1e-6 * max(1.0, float(expected.max())))

"""The level of samples: mean power, and power weighted by A, the sensitivity of human hearing.

Source: IEC 61672-1:2013, equation E.6 and annex E.4 for the pole frequencies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.audio.samples import Samples

LOWEST_DB = -160.0  # the level of digital silence


POLES_HZ = (20.598997, 107.65265, 737.86223, 12194.217)


def power_db(power: float) -> float:
    """Return a mean power in decibels relative to 1: a full-scale square wave has 0 dBFS, a full-scale sine −3.

    >>> round(power_db(0.5), 2), power_db(0.0)
    (-3.01, -160.0)
    """
    return max(LOWEST_DB, float(10 * np.log10(max(power, 1e-30))))


def mean_power(samples: Samples) -> float:
    """Return the mean square of ``samples`` [n]; 0 for none.

    >>> mean_power(np.array([1.0, -1.0], np.float32))
    1.0
    """
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def a_weighting_db(frequencies_hz: ArrayLike) -> NDArray[np.float64]:
    """Return the A-weighting in decibels at ``frequencies_hz`` above 0, of the same shape.

    >>> a_weighting_db([31.5, 100.0, 1000.0, 10000.0]).round(1).tolist()
    [-39.5, -19.1, 0.0, -2.5]
    """
    return 20 * np.log10(_response(np.asarray(frequencies_hz, np.float64)) / _response(np.asarray(1000.0)))


def _response(f: NDArray[np.float64]) -> NDArray[np.float64]:
    f1, f2, f3, f4 = POLES_HZ
    squares = f**2
    result: NDArray[np.float64] = (f4**2 * squares**2) / (
        (squares + f1**2) * np.sqrt((squares + f2**2) * (squares + f3**2)) * (squares + f4**2)
    )
    return result


def a_weighted_power(samples: Samples, rate_hz: int) -> float:
    """Return the A-weighted mean power of ``samples`` [n], by Parseval from their spectrum; 0 for none.

    >>> sine = np.sin(2 * np.pi * 100 * np.arange(8000) / 8000).astype(np.float32)
    >>> round(power_db(a_weighted_power(sine, 8000)) - power_db(mean_power(sine)), 1)
    -19.1
    """
    n = len(samples)
    if not n:
        return 0.0
    power = np.abs(np.fft.rfft(samples)) ** 2
    power[1 : (n + 1) // 2] *= 2  # negative frequencies
    frequencies = np.fft.rfftfreq(n, 1 / rate_hz).astype(np.float64)
    gains = np.zeros(len(power))
    gains[1:] = (_response(frequencies[1:]) / _response(np.asarray(1000.0))) ** 2
    return float((power * gains).sum() / n**2)

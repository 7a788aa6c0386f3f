"""Synthetic background sounds: examples of "none of the classes" for training.

Each is noise with a random spectral slope, and on top of it one of: a band, a slow change of level, a hum, crackle,
regular clicks, or a second noise, like wind, rain, water, mains hum, fire and clocks. The level is random.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from soundmark.audio.samples import Samples

QUIETEST_DBFS, LOUDEST_DBFS = -90.0, -12.0


SILENT = 0.04  # share of the backgrounds that are digital silence


def background(generator: np.random.Generator, n_samples: int, rate_hz: int) -> Samples:
    """Return a random background sound, float32 ``[n_samples]`` within −1…1.

    >>> sound = background(np.random.default_rng(0), 8000, 8000)
    >>> sound.shape, bool(np.abs(sound).max() <= 1)
    ((8000,), True)
    """
    if generator.random() < SILENT:
        return np.zeros(n_samples, np.float32)
    noise = coloured_noise(generator, n_samples, generator.uniform(-0.5, 2.5))
    kind = KINDS[int(generator.integers(len(KINDS)))]
    sound = kind(generator, noise, rate_hz)
    sound *= _gain(generator.uniform(QUIETEST_DBFS, LOUDEST_DBFS)) / max(float(sound.std()), 1e-12)
    if generator.random() < 0.5:
        sound = np.round(sound * 32768) / 32768  # as in a file of 16 bits
    return np.clip(sound, -1, 1).astype(np.float32)


def coloured_noise(generator: np.random.Generator, n_samples: int, slope: float) -> np.ndarray:
    """Return noise of unit power whose power density falls with frequency as f to the power of −``slope``.

    0 is white, 1 pink, 2 brown.

    >>> noise = coloured_noise(np.random.default_rng(0), 4096, 1.0)
    >>> round(float(noise.std()), 6)
    1.0
    """
    spectrum = np.fft.rfft(generator.normal(size=n_samples))
    frequency = np.maximum(np.arange(len(spectrum)) / len(spectrum), 1e-3)
    noise = np.fft.irfft(spectrum * frequency ** (-slope / 2), n_samples)
    return noise / max(float(noise.std()), 1e-12)


def _gain(db: float) -> float:
    return float(10 ** (db / 20))


def _plain(generator: np.random.Generator, noise: np.ndarray, rate_hz: int) -> np.ndarray:
    return noise


def _band(generator: np.random.Generator, noise: np.ndarray, rate_hz: int) -> np.ndarray:
    """Keep two octaves."""
    frequency = np.fft.rfftfreq(len(noise), 1 / rate_hz)
    low_hz = 40 * 2 ** generator.uniform(2, 8)
    shape = 1 / (1 + (frequency / (4 * low_hz)) ** 4) / (1 + (low_hz / np.maximum(frequency, 1)) ** 4)
    return np.fft.irfft(np.fft.rfft(noise) * shape, len(noise))


def _swelling(generator: np.random.Generator, noise: np.ndarray, rate_hz: int) -> np.ndarray:
    """Change the level slowly by up to 20 dB, like wind and waves."""
    points = int(generator.integers(3, 12))
    level_db = np.interp(np.linspace(0, 1, len(noise)), np.linspace(0, 1, points), generator.uniform(-20, 0, points))
    return noise * 10 ** (level_db / 20)


def _hum(generator: np.random.Generator, noise: np.ndarray, rate_hz: int) -> np.ndarray:
    """Add eight harmonics of 40 to 400 Hz."""
    time_s = np.arange(len(noise)) / rate_hz
    base_hz = float(generator.choice([50.0, 60.0, 100.0, 120.0, generator.uniform(40, 400)]))
    tones = sum(
        generator.uniform(0, 1) / k * np.sin(2 * np.pi * k * base_hz * time_s + generator.uniform(0, 2 * np.pi))
        for k in range(1, 9)
    )
    return np.asarray(tones / np.std(tones) + noise * _gain(generator.uniform(-30, 0)))


def _crackle(generator: np.random.Generator, noise: np.ndarray, rate_hz: int) -> np.ndarray:
    """Add 2 to 300 short bursts per second at random times, like fire and rain."""
    n = len(noise)
    hits = (generator.random(n) < generator.uniform(2, 300) / rate_hz) * generator.normal(size=n)
    decay = max(1, int(generator.uniform(0.001, 0.02) * rate_hz))
    burst = np.exp(-np.arange(5 * decay) / decay) * generator.normal(size=5 * decay)
    bursts = _convolved(hits * generator.exponential(1, n), burst)
    return bursts / (bursts.std() + 1e-9) + noise * _gain(generator.uniform(-40, -5))


def _clicks(generator: np.random.Generator, noise: np.ndarray, rate_hz: int) -> np.ndarray:
    """Add a click every 0.2 to 1.2 seconds, like a clock."""
    period = max(1, int(generator.uniform(0.2, 1.2) * rate_hz))
    hits = np.zeros(len(noise))
    hits[int(generator.integers(period)) :: period] = 1
    decay = max(1, int(generator.uniform(0.001, 0.03) * rate_hz))
    t = np.arange(5 * decay)
    click = np.exp(-t / decay) * np.sin(2 * np.pi * generator.uniform(300, 6000) * t / rate_hz)
    clicks = _convolved(hits, click)
    return 5 * clicks / (np.abs(clicks).max() + 1e-9) + noise * _gain(generator.uniform(-30, 0))


def _two(generator: np.random.Generator, noise: np.ndarray, rate_hz: int) -> np.ndarray:
    other = coloured_noise(generator, len(noise), generator.uniform(-1, 3))
    return noise + _gain(generator.uniform(-20, 10)) * other


def _convolved(signal: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the first len(signal) samples of the convolution."""
    n = len(signal) + len(kernel)
    return np.fft.irfft(np.fft.rfft(signal, n) * np.fft.rfft(kernel, n), n)[: len(signal)]


KINDS: tuple[Callable[[np.random.Generator, np.ndarray, int], np.ndarray], ...] = (
    _plain,
    _band,
    _swelling,
    _hum,
    _crackle,
    _clicks,
    _two,
)
"""The kinds of background, each equally likely."""

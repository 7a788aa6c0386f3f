"""Synthetic signals for the tests."""

from __future__ import annotations

import numpy as np

RATE_HZ = 22_050


def tones(seconds: float, events: list[tuple[str, float, float]], rate_hz: int = RATE_HZ) -> np.ndarray:
    """Quiet noise with a tone for each event (label, onset, offset): float32 samples that fit 16 bits exactly."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    samples = np.random.default_rng(0).normal(0, 1e-3, len(t))
    for label, start_s, stop_s in events:
        inside = (t >= start_s) & (t < stop_s)
        samples += inside * 0.4 * np.sin(2 * np.pi * (300 if label == "low" else 6000) * t)
    return (np.round(samples * 32768) / 32768).astype(np.float32)


def pcm(samples: np.ndarray) -> bytes:
    """Samples as 16-bit little-endian PCM."""
    return np.round(samples * 32768).astype("<i2").tobytes()


def wave(seconds: float, seed: int = 0, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A sine with noise; its pitch changes every second and its loudness every half second, so that windows differ."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    pitch = np.repeat(rng.uniform(100, 4000, int(seconds) + 1), rate_hz)[: len(t)]
    amplitude = np.repeat(rng.uniform(0.01, 0.9, int(2 * seconds) + 2), rate_hz // 2 + 1)[: len(t)]
    return (amplitude * np.sin(2 * np.pi * pitch * t) + rng.normal(0, 0.01, len(t))).astype(np.float32)

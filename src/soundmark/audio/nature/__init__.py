"""Recordings of rain, water, wind, fire, animals and a clock: real examples of "none of the classes" for training.

``sounds.opus`` contains 76 recordings of at most ten seconds, one after the other; ``sounds.csv`` has the times, the
group, the author and the licence of each. They are from free games: CC0, CC BY 3.0 or CC BY-SA 3.0 (see NOTICE).
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from soundmark.audio.backgrounds import coloured_noise
from soundmark.audio.samples import Samples
from soundmark.audio.sound import read

VERSION = 1  # of ``variation``: incremented when the same arguments give other samples


QUIETEST_DBFS, LOUDEST_DBFS = -60.0, -10.0  # of the mean power


RESPONSE_DB = 4.0  # SD of the frequency response at each of 8 frequencies from 50 Hz to 17 kHz


RESPONSE_OCTAVES = np.linspace(0, 8.4, 8)  # above 50 Hz


MUFFLED = 0.4  # fraction of the variations behind a low-pass filter of 3 to 12 kHz


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording with the group that it belongs to, such as "rain"; its samples are float32 ``[n]``."""

    group: str
    samples: Samples
    rate_hz: int


def recording_groups() -> tuple[str, ...]:
    """Return the group of each recording, in the order of ``recordings``.

    >>> groups = recording_groups()
    >>> len(groups), groups.count("rain")
    (76, 7)
    """
    return tuple(row["group"] for row in _rows())


@lru_cache(maxsize=1)
def digest() -> str:
    """Return the first 16 hexadecimal digits of a SHA-256 of the recordings and of the version of ``variation``.

    >>> len(digest())
    16
    """
    folder = resources.files(__name__)
    content = b"".join((folder / name).read_bytes() for name in ("sounds.csv", "sounds.opus"))
    return hashlib.sha256(content + bytes([VERSION])).hexdigest()[:16]


@lru_cache(maxsize=1)
def recordings(rate_hz: int) -> tuple[Recording, ...]:
    """Decode all recordings, resampled to ``rate_hz``; this takes a second, and 80 MB until ``cache_clear``.

    >>> bird = recordings(8000)[0]
    >>> bird.group, len(bird.samples) / bird.rate_hz
    ('birds', 9.364)
    """
    with resources.as_file(resources.files(__name__) / "sounds.opus") as path:
        samples = read(path, rate_hz=rate_hz).samples
    spans = [(round(float(row["start_s"]) * rate_hz), round(float(row["stop_s"]) * rate_hz)) for row in _rows()]
    return tuple(
        Recording(group=group, samples=samples[start:stop], rate_hz=rate_hz)
        for group, (start, stop) in zip(recording_groups(), spans, strict=True)
    )


def _rows() -> list[dict[str, str]]:
    text = (resources.files(__name__) / "sounds.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def variation(recording: Recording, generator: np.random.Generator, n_samples: int) -> Samples:
    """Return a random part of a recording as another microphone records it, float32 ``[n_samples]`` within −1…1.

    A recording that is shorter than that is repeated. The frequency response and the level are random; half of the
    variations contain noise as well.

    >>> sound = variation(recordings(8000)[0], np.random.default_rng(0), 4000)
    >>> sound.shape, bool(np.abs(sound).max() <= 1)
    ((4000,), True)
    """
    part = _part(recording.samples, generator, n_samples)
    sound = _through_a_microphone(part, generator, recording.rate_hz)
    level = 10 ** (generator.uniform(QUIETEST_DBFS, LOUDEST_DBFS) / 20)
    sound *= level / max(float(sound.std()), 1e-9)
    if generator.random() < 0.5:
        noise = coloured_noise(generator, n_samples, generator.uniform(-0.5, 2.5))
        sound += noise * level * 10 ** (generator.uniform(-60, -20) / 20)
    return np.clip(sound, -1, 1).astype(np.float32)


def _part(samples: Samples, generator: np.random.Generator, n: int) -> Samples:
    if len(samples) <= n:
        return np.resize(np.roll(samples, int(generator.integers(len(samples)))), n)
    start = int(generator.integers(len(samples) - n + 1))
    return samples[start : start + n]


def _through_a_microphone(samples: Samples, generator: np.random.Generator, rate_hz: int) -> np.ndarray:
    """Filter with a random frequency response."""
    n = len(samples)
    frequency_hz = np.fft.rfftfreq(n, 1 / rate_hz)
    octaves = np.log2(np.maximum(frequency_hz, 50) / 50)
    response = 10 ** (np.interp(octaves, RESPONSE_OCTAVES, generator.normal(0, RESPONSE_DB, 8)) / 20)
    if generator.random() < MUFFLED:
        response /= np.sqrt(1 + (frequency_hz / generator.uniform(3000, 12000)) ** 8)
    return np.fft.irfft(np.fft.rfft(samples) * response, n)

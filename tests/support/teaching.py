"""An archive with tones of three pitches, and a data set with two of them: the third is taught."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import soundmark as sm
from soundmark import audio
from support.models import tone_embedder
from support.sounds import RATE_HZ

PITCHES_HZ = {"low": 300.0, "high": 6000.0, "middle": 1500.0}


@dataclass(frozen=True)
class TeachingSet:
    """A data set with the classes low, high and background, an index, and the class of each window in it."""

    data: sm.Dataset
    index: Path
    truth: tuple[str, ...]  # by number of the window


def tone(label: str, random: np.random.Generator, seconds: float = 1.0) -> np.ndarray:
    """A tone of about the pitch of ``label`` over noise; "background" is the noise alone."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = random.normal(0, 0.01, len(t))
    if label == "background":
        return noise
    hz = PITCHES_HZ[label] * random.uniform(0.95, 1.05)
    return random.uniform(0.1, 0.3) * np.sin(2 * np.pi * hz * t + random.uniform(0, 6)) + noise


def teaching_set(folder: Path, *, clips: int = 12, recordings: int = 8, seed: int = 0) -> TeachingSet:
    """Write ``clips`` clips of each class, and index ``recordings`` recordings of six seconds, a sound in each."""
    random = np.random.default_rng(seed)
    for label in ("low", "high", "background"):
        for number in range(clips):
            audio.write(folder / "data" / label / f"{number}.wav", tone(label, random), RATE_HZ)
    truth: dict[str, list[str]] = {}
    for number in range(recordings):
        labels = random.permutation(["low", "high", "middle", "background", "middle", "low"]).tolist()
        path = folder / "recordings" / f"r{number}.wav"
        audio.write(path, np.concatenate([tone(label, random) for label in labels]), RATE_HZ)
        truth[str(path.resolve())] = labels
    index = sm.Index.build(folder / "recordings", tone_embedder(), folder / "index", quiet=True)
    windows = index.windows(range(len(index)))
    labels = tuple(truth[window.file][round(window.start_s)] for window in windows)
    return TeachingSet(sm.Dataset.open(folder / "data"), folder / "index", labels)

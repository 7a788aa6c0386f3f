"""A synthetic archive whose windows have scores of all sizes, and its index."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import soundmark as sm
from soundmark import audio
from support.models import tone_embedder
from support.sounds import RATE_HZ


def tone_archive(
    folder: Path,
    *,
    n: int,
    seconds: int = 6,
    seed: int = 0,
    amplitude: float = 0.1,
    levels_db: tuple[float, float] = (-40, 8),
) -> Path:
    """Index ``n`` recordings in ``folder`` with windows of 1 s; return the folder of the index.

    Each second has a low and a high tone, whose difference in level is evenly distributed over ``levels_db``: so are
    the log-odds of the scores of "low" and "high", by default from about -3 to 3.
    """
    random = np.random.default_rng(seed)
    t = np.arange(RATE_HZ) / RATE_HZ
    for number in range(n):
        parts = []
        for difference_db in random.uniform(*levels_db, seconds):
            low, high = amplitude * 10 ** (difference_db / 40), amplitude * 10 ** (-difference_db / 40)
            parts.append(low * np.sin(2 * np.pi * 300 * t) + high * np.sin(2 * np.pi * 6000 * t))
        audio.write(folder / "recordings" / f"tones-{number}.wav", np.concatenate(parts), RATE_HZ)
    sm.Index.build(folder / "recordings", tone_embedder(), folder / "index", quiet=True)
    return folder / "index"

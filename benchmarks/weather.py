"""Count false events in twenty minutes of synthetic rain, waves, fire and clocks, which no model was trained on.

    python benchmarks/weather.py UrbanSound8K [--seed 0]

For each official fold that is present, a model of the recipe `transfer` is trained on the others and run, with its
defaults, on five minutes of each kind: sections of five seconds with random spectra and rates, peak level −10 dBFS.
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
from scipy import signal

import soundmark as sm

RATE_HZ = 32_000
SECTION_S, SECTIONS = 5, 60
PEAK = 10 ** (-10 / 20)


def band(x: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Filter to a band of frequencies."""
    return signal.sosfilt(signal.butter(4, [low_hz, high_hz], "band", fs=RATE_HZ, output="sos"), x)


def impulses(rng: np.random.Generator, n: int, per_second: float) -> np.ndarray:
    """Random impulses, on average ``per_second``."""
    x = np.zeros(n)
    at = rng.integers(0, n, round(n / RATE_HZ * per_second))
    x[at] = rng.exponential(size=len(at)) * rng.choice([-1, 1], len(at))
    return x


def rain(rng: np.random.Generator, n: int) -> np.ndarray:
    """Noise of a band, and drops."""
    hiss = band(rng.normal(size=n), rng.uniform(300, 1500), rng.uniform(5000, 14_000))
    return hiss + rng.uniform(3, 30) * band(impulses(rng, n, rng.uniform(20, 200)), 800, 8000)


def waves(rng: np.random.Generator, n: int) -> np.ndarray:
    """Low noise that swells every five to twelve seconds."""
    swell = 2 * np.pi * (np.arange(n) / RATE_HZ / rng.uniform(5, 12) + rng.uniform())
    noise = band(rng.normal(size=n), rng.uniform(60, 200), rng.uniform(2000, 8000))
    return (0.15 + np.clip(np.sin(swell), 0, 1) ** 2) * noise


def fire(rng: np.random.Generator, n: int) -> np.ndarray:
    """A low rumble, and crackles."""
    crackles = 8 * impulses(rng, n, rng.uniform(5, 40))
    rumble = 0.3 * band(rng.normal(size=n), 40, rng.uniform(300, 900))
    return rumble + 0.5 * signal.lfilter([1], [1, -0.9], crackles) + 2 * band(crackles, 1000, 12_000)


def clock(rng: np.random.Generator, n: int) -> np.ndarray:
    """A tick every half or whole second, in quiet noise."""
    at = np.arange(600)
    tick = np.exp(-at / 60) * np.sin(2 * np.pi * rng.uniform(1500, 6000) * at / RATE_HZ)
    x = 0.002 * rng.normal(size=n)
    for start in range(0, n - len(at), round(RATE_HZ * rng.choice([0.5, 1.0]))):
        x[start + at] += rng.uniform(0.7, 1) * tick
    return x


def main() -> None:
    """Train, detect, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = sm.Dataset.open(arguments.dataset)
    print("| fold left out | rain | waves | fire | clock | all |\n|---|---:|---:|---:|---:|---:|")
    for fold in data.folds:
        with tempfile.TemporaryDirectory() as folder:
            model = sm.train(data, folder=folder, test_fold=fold, quiet=True)
        rng, found = np.random.default_rng(arguments.seed), []
        for kind in (rain, waves, fire, clock):
            sections = [kind(rng, SECTION_S * RATE_HZ) for _ in range(SECTIONS)]
            sound = np.concatenate([PEAK * x / np.abs(x).max() for x in sections]).astype(np.float32)
            found.append(len(model.events(sound, rate_hz=RATE_HZ)))
        print(f"| {fold} | {' | '.join(map(str, found))} | {sum(found)} |", flush=True)


if __name__ == "__main__":
    main()

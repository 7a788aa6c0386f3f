"""Count false events in recordings of rain, water, fire, clocks and animals that soundmark does not include.

    python benchmarks/real_backgrounds.py UrbanSound8K --sounds DIR [--draws 1]

The sounds are those of free games, in packages of Debian 12; ``background_sounds.csv`` lists them, and DIR contains the
packages unpacked, each in a folder of its name:

    cut -d, -f4 benchmarks/background_sounds.csv | tail -n +2 | sort -u | (cd DIR && xargs apt-get download)
    cd DIR; for f in *.deb; do dpkg-deb -x "$f" "${f%%_*}"; done

Those marked "shipped" are included in soundmark; "a" and "b" are from other games. For each official fold and each of
"a" and "b", an hour contains 130 of the fold's foreground clips, in 20 minutes each of white noise of −66 dBFS, of the
sounds (5 s of each, peak −10 dBFS), and of silence. Models are trained by ``transfer`` on the other folds: with
synthetic backgrounds alone, by default, and with the sounds of the other part as a class "background". Events are those
of ``Model.events`` with its defaults; the counts are those of ``events.py``.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import soundmark as sm
from events import CLIPS, MINUTES, PARTS, RATE_HZ, place, score
from soundmark import audio
from soundmark.audio import resample
from soundmark.training.named_recipes import recipe_named

SECTION = 5 * RATE_HZ
PEAK = 10 ** (-10 / 20)
LISTED = Path(__file__).with_name("background_sounds.csv")
PARTS_OF_SOUNDS = ("a", "b")
ROWS = ("synthetic backgrounds alone", "default", "default, and other recordings as examples")


def sounds(folder: Path, part: str) -> dict[str, list[Path]]:
    """The files of a part, by kind."""
    found: dict[str, list[Path]] = {}
    with LISTED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["part"] == part:
                found.setdefault(row["kind"], []).append(folder / row["package"] / row["path"])
    return found


def samples_of(path: Path) -> np.ndarray:
    """The samples of a file at the rate of the hours."""
    sound = audio.read(path)
    return resample(sound.samples, sound.rate_hz, RATE_HZ)


def nature(files: dict[str, list[Path]], rng: np.random.Generator, n: int) -> np.ndarray:
    """Sections of five seconds, whose kinds take turns in a random order."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < n:
        for kind in rng.permutation(sorted(files)):
            x = samples_of(files[kind][int(rng.integers(len(files[kind])))])
            start = int(rng.integers(max(1, len(x) - SECTION)))
            x = np.resize(x[start : start + SECTION], SECTION)
            parts.append(PEAK * x / max(float(np.abs(x).max()), 1e-6))
    return np.concatenate(parts)[:n].astype(np.float32)


def make_hour(clips: Sequence[sm.Clip], files: dict[str, list[Path]], seed: list[int]) -> tuple[np.ndarray, list[list]]:
    """The samples of an hour, and its clips as [label, start, stop, part]."""
    rng, n = np.random.default_rng(seed), MINUTES * 60 * RATE_HZ
    chosen = [clips[i] for i in rng.permutation(len(clips))[:CLIPS]]
    noise = (rng.normal(size=n) * 10 ** (-66 / 20)).astype(np.float32)
    return place(chosen, [noise, nature(files, rng, n), np.zeros(n, np.float32)], rng)


def main() -> None:
    """Train, detect, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=1)
    arguments = parser.parse_args()
    data = sm.Dataset.open(arguments.dataset)
    synthetic = replace(recipe_named("transfer"), name="synthetic", recorded_backgrounds=0)
    found: dict[str, list[dict[str, float]]] = {row: [] for row in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS_OF_SOUNDS:
            examples = Path(folder) / part / "background"
            examples.mkdir(parents=True)
            for number, path in enumerate(path for files in sounds(arguments.sounds, part).values() for path in files):
                (examples / f"{number}{path.suffix}").symlink_to(path.resolve())
        for fold in data.folds:
            training = data.select(data.fold_of != fold)
            test = [clip for clip in data.clips if clip.fold == fold and clip.salience == "foreground"]
            for part, other in (PARTS_OF_SOUNDS, PARTS_OF_SOUNDS[::-1]):
                files = sounds(arguments.sounds, part)
                hours = [make_hour(test, files, [d, fold, ord(part)]) for d in range(arguments.draws)]
                for row in ROWS:
                    used = [training, Path(folder) / other] if row == ROWS[2] else [training]
                    recipe = synthetic if row == ROWS[0] else recipe_named("transfer")
                    model = sm.train(used, recipe=recipe, folder=Path(folder) / f"{fold} {part} {row}", quiet=True)
                    scores = [score(model.events(hour, RATE_HZ), placed) for hour, placed in hours]
                    print(fold, part, row, scores, flush=True)
                    found[row] += scores
    print("| backgrounds | clips found | false in noise | in sounds of nature | in silence | wrong class |")
    print("|---|---:|---:|---:|---:|---:|")
    for row, scores in found.items():
        means = {key: float(np.mean([each[key] for each in scores])) for key in scores[0]}
        counts = " | ".join(f"{means[key]:.1f}" for key in (*PARTS, "wrong"))
        print(f"| {row} | {means['found']:.1%} | {counts} |", flush=True)


if __name__ == "__main__":
    main()

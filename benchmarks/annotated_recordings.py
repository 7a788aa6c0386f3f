"""Train on annotated recordings instead of clips, and score the events of both models in annotated recordings.

    PYTHONPATH=src:tests python benchmarks/annotated_recordings.py UrbanSound8K [--test-fold 10]

The clips of the other folds are laid into recordings of a minute of quiet noise, with gaps of one to five seconds and
levels that vary by 10 dB, and annotated in each of the formats; so are the clips of the test fold, as a Raven table.
Models are trained on the clips, and on the recordings through three of the formats. Prints whether all formats give the
same clips, and for each model the accuracy on the clips of the test fold and the scores of events in its recordings.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import soundmark as sm
from soundmark import audio
from soundmark.datasets import Dataset
from support.annotations import NAMES, WRITERS, Event, aoef, audacity, raven

RATE_HZ = 22_050
RECORDING_S = 60.0
NOISE = 10 ** (-66 / 20)


def lay(folder: Path, data: Dataset, rng: np.random.Generator) -> list[Event]:
    """Lay the clips of a data set, in random order, into recordings; return where they are."""
    folder.mkdir(parents=True)
    events, number, at_s, samples = [], 0, RECORDING_S, np.zeros(0)
    for index in rng.permutation(len(data)):
        clip = data.clips[index]
        sound = clip.read()
        sound = audio.resample(sound.samples, sound.rate_hz, RATE_HZ) * 10 ** (-rng.uniform(0, 10) / 20)
        length_s = len(sound) / RATE_HZ
        if at_s + length_s > RECORDING_S:
            if number:
                audio.write(folder / f"rec{number}.wav", np.clip(samples, -1, 1), RATE_HZ)
            number, at_s = number + 1, float(rng.uniform(0, 4))
            samples = rng.normal(0, NOISE, round(RECORDING_S * RATE_HZ)).astype(np.float32)
        start = round(at_s * RATE_HZ)
        samples[start : start + len(sound)] += sound
        events.append((f"rec{number}.wav", round(at_s, 3), round(at_s + length_s, 3), clip.label))
        at_s = at_s + length_s + float(rng.uniform(1, 5))
    audio.write(folder / f"rec{number}.wav", np.clip(samples, -1, 1), RATE_HZ)
    return events


def in_format(writer, recordings: Path, events: list[Event], folder: Path) -> Path:
    """Write the annotations beside links to the recordings."""
    folder.mkdir()
    for path in recordings.glob("*.wav"):
        (folder / path.name).hardlink_to(path)
    return writer(folder, events)


def main() -> None:
    """Lay, train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--test-fold", type=int, default=10)
    arguments = parser.parse_args()
    data = Dataset.open(arguments.dataset)
    is_test = np.array([clip.fold == arguments.test_fold for clip in data.clips])
    training, test = data.select(np.flatnonzero(~is_test)), data.select(np.flatnonzero(is_test))
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        events = lay(root / "training", training, rng)
        scored = in_format(raven, root / "test", lay(root / "test", test, rng), root / "test raven")
        print(f"{len(training)} clips for training in {len(list((root / 'training').glob('*.wav')))} recordings")
        places = {
            name: in_format(writer, root / "training", events, root / name)
            for name, writer in zip(NAMES, WRITERS, strict=True)
            if name not in ("raven-one", "audioset")  # for recordings of 30 s; files that are segments
        }
        opened = {
            name: sorted(
                (source, clip.start_s, clip.stop_s, clip.label)
                for found in [Dataset.open(place)]
                for source, clip in zip(found.sources, found.clips, strict=True)
            )
            for name, place in places.items()
        }
        for name, found in opened.items():
            same = len(found) == len(opened["raven"]) and all(
                a[0] == b[0] and a[3] == b[3] and abs(a[1] - b[1]) + abs(a[2] - b[2]) < 0.003
                for a, b in zip(found, opened["raven"], strict=True)
            )
            print(f"{name}: {len(found)} clips, {'as in raven' if same else 'OTHERS'}")
        inputs = {"clips": training, **{w.__name__: places[w.__name__] for w in (raven, audacity, aoef)}}
        for name, given in inputs.items():
            model = sm.train(given, "transfer", root / f"model {name}", quiet=True)
            print(f"\nTrained on {name}:\n{sm.evaluate(model, test, quiet=True)}")
            print(sm.evaluate(model, scored, events=True, quiet=True), flush=True)


if __name__ == "__main__":
    main()

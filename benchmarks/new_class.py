"""A class taught from five examples: is it found in the rest of an archive?

    python benchmarks/new_class.py URBANSOUND8K [--class siren] [--examples 5] [--repetitions 10]

The model is trained without the class, on all folds but 10. The archive has the clips of fold 10 and all clips of the
class. One window of each of five recordings gets the label, the model is retrained as the tab Teach does it, and the
rest of the archive is ranked by the score of the class; windows of the five recordings do not count. Compared with the
ranking by similarity to the five. Then a simulated teacher gives ten answers at a time to "what to label next".
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import soundmark as sm
from soundmark.detection.archive.corrections import Corrections
from soundmark.serving.archives import Archive, open_archives
from soundmark.serving.teach.teacher import Teacher

ANSWERS, ROUNDS = 10, 2


@dataclass(frozen=True)
class Material:
    """The model without the class, its training data, and the archive with what each window contains."""

    model: sm.Model
    data: sm.Dataset
    archive: Archive
    labels: np.ndarray
    sources: np.ndarray


def material(data: sm.Dataset, label: str, folder: Path) -> Material:
    """Train the model without the class, and index the archive."""
    sources = {clip.source for clip in data if clip.label == label}
    archive = [clip for clip in data if clip.label == label or clip.fold == 10]
    rest = [clip for clip in data if clip.fold != 10 and clip.source not in sources]
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "fold", "source"))
        writer.writerows((clip.path.resolve(), clip.label, clip.fold, clip.source) for clip in rest)
    model = sm.train(folder / "train.csv", "transfer", folder / "model", quiet=True)
    index = sm.Index.build([clip.path for clip in archive], model, folder / "index", quiet=True)
    clips = {str(clip.path.resolve()): clip for clip in archive}
    found = [clips[window.file] for window in index.windows(range(len(index)))]
    (opened,) = open_archives([index.folder])
    labels, recordings = (np.array([getattr(clip, name) for clip in found]) for name in ("label", "source"))
    return Material(model, sm.Dataset.open(folder / "train.csv"), opened, labels, recordings)


def average_precision(hits: np.ndarray) -> float:
    """Return the average precision of a ranking, from which of its entries are hits."""
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def repetition(found: Material, label: str, examples: int, folder: Path, seed: int) -> list[float]:
    """Return the average precision by similarity, after the examples, and after each round; and the seconds."""
    rng, index = np.random.default_rng(seed), found.archive.index
    recordings = rng.permutation(np.unique(found.sources[found.labels == label]))[:examples]
    is_one = found.labels == label
    numbers = [int(rng.choice(np.flatnonzero(is_one & (found.sources == name)))) for name in recordings]
    counted = ~np.isin(found.sources, recordings)

    def ranked(scores: np.ndarray) -> float:
        return average_precision(is_one[counted][np.argsort(-scores[counted], kind="stable")])

    similar = np.zeros(len(index))
    for window in index.like(index.embeddings(numbers).astype(np.float32), len(index)):
        similar[index.number_of(window.file, window.start_s, window.stop_s)] = window.similarity
    figures, seconds = [ranked(similar)], []
    kept = Corrections(folder / f"corrections-{seed}")
    with Teacher(found.model, "model", kept, use=lambda model, name: None, training=found.data) as teacher:
        for _ in range(1 + ROUNDS):
            for number in numbers:
                (window,) = index.windows([number])
                name = str(found.labels[number])
                teacher.add(window.file, window.start_s, window.stop_s, decision="label", label=name)
            counted[numbers] = False
            start = time.process_time()
            teacher.train()
            while teacher.job.state == "running":
                time.sleep(0.01)
            assert teacher.job.state == "done", teacher.job
            seconds.append(time.process_time() - start)
            classes, scores = teacher.scores(found.archive)
            figures.append(ranked(scores[:, list(classes).index(label)]))
            numbers = teacher.suggest(found.archive, ANSWERS, label).tolist()
    return [*figures, float(np.median(seconds))]


def main() -> None:
    """Run the repetitions and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--class", dest="label", default="siren")
    parser.add_argument("--examples", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = material(sm.Dataset.open(options.dataset), options.label, folder)
        n = int((found.labels == options.label).sum())
        print(f"{len(found.data)} clips to train on; {n} of {len(found.labels)} windows contain {options.label}")
        rows = np.array(
            [repetition(found, options.label, options.examples, folder, seed) for seed in range(options.repetitions)]
        )
    print("average precision, mean over the repetitions (lowest to highest)")
    for position, what in enumerate(
        ("similarity to the examples", f"taught {options.examples} examples", "and 10 answers", "and 20 answers")
    ):
        column = rows[:, position]
        print(f"  {what}: {column.mean():.3f} ({column.min():.3f} to {column.max():.3f})")
    print(f"training: median {np.median(rows[:, -1]):.1f} s of processor time, features of the labels included")


if __name__ == "__main__":
    main()

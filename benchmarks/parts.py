"""The parts of the bench: each runs its contenders in turn and gives rows of the table."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import one_core
from contenders import BUILD, HERE, Contender, environment
from soundmark.datasets import Dataset, splits, synthetic
from soundmark.datasets import features as feature_building
from soundmark.training.named_recipes import recipe_named
from table import Row, compared

TURNS = 3
AGREE = {"mel": 1e-3, "image": 2 / 255}  # decibels; two grey levels
PEER = {"mel": "librosa + OpenCV", "image": "SciPy + scikit-image"}
BAR_TWO_CORES = {"mel": 3.0, "image": None}
TIMED_CLIPS, BATCH = 2_000, 250
SEEDS, EPOCHS, STEPS = 5, 20, 24  # the notebook's epochs, and its steps in an epoch: 67 % of 8 732 clips by 250
LAST = 5
SMALL, LARGE = 1_000, 10_000
# Student's t, two-sided 95 %, by degrees of freedom, for Welch's interval.
T = {4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}


def features(path: Path, versions: dict[str, str]) -> list[Row]:
    """A data set's features with all cores against the notebook's loops as run; then one core against the floor."""
    rows = []
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        ours = stack.enter_context(Contender(sys.executable, "soundmark_features.py", path))
        loops = stack.enter_context(Contender(environment("notebook"), "notebook_features.py"))
        versions |= loops.versions | ours.versions
        files = ours.ask("files")["files"]
        for kind in ("mel", "image"):
            loops.ask("warm_up", kind=kind, file=files[0])
            order = (
                {"kind": kind, "out": f"{folder}/ours.npy"},
                {"kind": kind, "files": files, "out": f"{folder}/peer.npy"},
            )
            taken = [
                (ours.ask("features", **order[0])["seconds"], loops.ask("features", **order[1])["seconds"])
                for _ in range(TURNS)
            ]
            difference = float(np.abs(np.load(f"{folder}/ours.npy") - np.load(f"{folder}/peer.npy")).max())
            if difference > AGREE[kind]:
                raise SystemExit(f"{kind}: the outputs differ by {difference:.2g}: there is nothing to compare.")
            what = (
                f"{kind} of {len(files):,} clips, all cores, against {PEER[kind]} as run (differ by {difference:.1g})"
            )
            milliseconds = [[1e3 * turn[i] / len(files) for turn in taken] for i in (0, 1)]
            rows.append(compared(what, *milliseconds, unit="ms a clip", bar=BAR_TWO_CORES[kind]))
    return rows + one_core.rows(files, versions)


def _training_data(path: Path, folder: str) -> Path:
    """The mel features and the notebook's random split, as the contenders take them."""
    dataset = Dataset.open(path)
    store = feature_building.build(dataset, recipe_named("notebook-mel").representation)
    split = splits.random_split(len(dataset.clips))
    data = Path(folder) / "data.npz"
    timed = np.resize(np.arange(len(dataset.clips)), TIMED_CLIPS)
    labels = dataset.labels
    np.savez(data, features=store.array, labels=labels, train=split.train, test=split.test, timed=timed)
    return data


@contextmanager
def _trainers(path: Path, versions: dict[str, str], *precisions: str) -> Iterator[list[Contender]]:
    """Keras, and soundmark in each precision, each up and waiting."""
    with ExitStack() as stack:
        data = _training_data(path, stack.enter_context(tempfile.TemporaryDirectory()))
        keras = stack.enter_context(Contender(environment("keras"), "keras_notebook_cnn.py", data))
        ours = [
            stack.enter_context(Contender(sys.executable, "soundmark_notebook_cnn.py", data, name))
            for name in precisions
        ]
        versions |= keras.versions | ours[0].versions
        yield [keras, *ours]


def training(path: Path, versions: dict[str, str]) -> list[Row]:
    """Seconds per epoch of the seed CNN, an epoch each in turn."""
    with _trainers(path, versions, "native", "float32") as trainers:
        native = trainers[1].ask("precision")["precision"]
        for trainer in trainers:
            trainer.ask("epoch", batch_size=BATCH)  # graphs are traced, kernels chosen
        taken = [[trainer.ask("epoch", batch_size=BATCH)["seconds"] for trainer in trainers] for _ in range(TURNS + 2)]
    keras, ours, full = ([turn[i] for turn in taken] for i in range(3))
    what = f"an epoch of the seed CNN, {TIMED_CLIPS:,} clips, batch {BATCH}, against Keras on TensorFlow in float32: "
    rows = [compared(what + "float32", full, keras, unit="s", bar=0.7)]
    if native != "float32":
        rows.insert(0, compared(what + native, ours, keras, unit="s", bar=1.3))
    return rows


def accuracy(path: Path, versions: dict[str, str]) -> list[Row]:
    """Five trainings each on the same split, with as many steps as the notebook's: do they end as good?"""
    n_train = len(splits.random_split(len(Dataset.open(path).clips)).train)
    order = {"epochs": EPOCHS, "batch_size": -(-n_train // STEPS)}
    with _trainers(path, versions, "native") as (keras, ours):
        native = ours.ask("precision")["precision"]
        told = [[t.ask("fit", seed=seed, **order)["accuracies"] for t in (ours, keras)] for seed in range(SEEDS)]
    # The last epochs' mean: one epoch's accuracy swings by points, and it is not the swing that is compared.
    mine, theirs = ([100 * statistics.mean(turn[i][-LAST:]) for turn in told] for i in (0, 1))
    low, high = _welch(mine, theirs)
    shown = [f"{statistics.mean(x):.1f} % ± {statistics.stdev(x):.1f}" for x in (mine, theirs)]
    return [
        Row(
            what=f"accuracy, mel, random split (seed 42), {n_train:,} clips, {EPOCHS} epochs of {STEPS} steps, "
            f"mean of the last {LAST}, {SEEDS} seeds, {native} against Keras in float32 (mean ± SD)",
            ours=shown[0],
            peer=shown[1],
            ratio=f"{statistics.mean(mine) - statistics.mean(theirs):+.1f} points [{low:+.1f}, {high:+.1f}]",
            bar="95 % interval holds 0, within ± 4 points",
            reached=-4 <= low <= 0 <= high <= 4,
        )
    ]


def _welch(a: list[float], b: list[float]) -> tuple[float, float]:
    """The 95 % interval of the difference of two means, the variances being what they are (Welch 1947)."""
    va, vb = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    degrees = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = T[int(degrees)] * (va + vb) ** 0.5
    difference = statistics.mean(a) - statistics.mean(b)
    return difference - half, difference + half


def store(path: Path, versions: dict[str, str]) -> list[Row]:
    """A second run on an unchanged data set: how soon it trains, and what memory it takes, by the number of clips."""
    datasets = {n: _short_clips(n) for n in (SMALL, LARGE)}
    for dataset in datasets.values():
        _start(dataset)  # computes the features
    told = [_start(datasets[LARGE])["seconds"] for _ in range(TURNS + 2)]
    total = statistics.median(turn["first batch"] for turn in told)
    torch = statistics.median(turn["torch"] for turn in told)
    own = [turn["first batch"] - turn["torch"] for turn in told]
    peaks = [[_start(datasets[n], "--epoch")["peak_mb"] for n in (LARGE, SMALL)] for _ in range(TURNS)]
    large, small = ([turn[i] for turn in peaks] for i in (0, 1))
    return [
        Row(
            what=f"a second run on {LARGE:,} unchanged clips, from the command to its first batch, torch loaded",
            ours=f"{statistics.median(own):.2f} s",
            peer="",
            ratio=f"{min(own):.2f}…{max(own):.2f} s; {total:.2f} s with Python and torch, which take {torch:.2f}",
            bar="≤ 1 s",
            reached=statistics.median(own) <= 1,
        ),
        compared(
            f"the most memory in use in an epoch, {LARGE:,} clips against {SMALL:,} (their features: 164 MB, 16 MB)",
            large,
            small,
            unit="MB",
            bar=1.1,
            most=True,
        ),
    ]


def _start(dataset: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "peers" / "soundmark_start.py"), str(dataset), str(time.time()), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _short_clips(n: int) -> Path:
    """``n`` clips of half a second, laid out as UrbanSound8K: what is measured does not depend on their length."""
    folder = BUILD / f"short-{n}"
    path = folder / "UrbanSound8K"
    if (folder / "ready").exists():
        return path
    import soundfile

    noise = np.random.default_rng(0).normal(0, 0.1, 60_000).astype(np.float32)
    (path / "metadata").mkdir(parents=True, exist_ok=True)
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for i in range(n):
        label, fold = i % 10, 1 + i // 10 % 10
        name = f"{100_000 + i // 4}-{label}-{i % 4}-{i}.wav"
        lines.append(f"{name},{100_000 + i // 4},0,0.5,1,{fold},{label},{synthetic.CLASSES[label]}")
        (path / "audio" / f"fold{fold}").mkdir(parents=True, exist_ok=True)
        soundfile.write(path / "audio" / f"fold{fold}" / name, noise[i % 40_000 :][:11_025], 22_050)
    (path / "metadata" / "UrbanSound8K.csv").write_text("\n".join(lines) + "\n")
    (folder / "ready").touch()
    return path

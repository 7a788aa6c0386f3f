"""The parts of the benchmark: each runs its contenders in turn and returns rows of the table."""

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
from soundmark.training.epochs.engine import choose_engine
from soundmark.training.named_recipes import recipe_named
from table import Row, compared

ROUNDS = 3
TOLERANCE = {"mel": 1e-3, "image": 2 / 255}  # decibels; two grey levels
BASELINES = {"mel": "librosa + OpenCV", "image": "SciPy + scikit-image"}
ALL_CORES_TARGETS = {"mel": 3.0, "image": None}
TIMED_CLIPS, BATCH = 2_000, 250
SEEDS, EPOCHS, STEPS = 5, 20, 24  # the notebook's epochs, and its steps per epoch: 67 % of 8 732 clips / 250
LAST_EPOCHS = 5
FLOAT32_NEEDED = (
    "Most of the time is spent in PyTorch's convolutions (the row of its multiplications): it would need faster ones "
    "in float32, or a processor with instructions for bfloat16."
)
SMALL, LARGE = 1_000, 10_000  # clips
# Student's t, two-sided 95 %, by degrees of freedom, for Welch's interval.
T = {4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}


def features(path: Path, versions: dict[str, str]) -> list[Row]:
    """Time the features of a data set: on all cores against the notebook's loops, on one core against a lower bound."""
    rows = []
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        ours = stack.enter_context(Contender(sys.executable, "soundmark_features.py", path))
        loops = stack.enter_context(Contender(environment("notebook"), "notebook_features.py"))
        versions |= loops.versions | ours.versions
        files = ours.call("files")["files"]
        for kind in ("mel", "image"):
            loops.call("warm_up", kind=kind, file=files[0])
            arguments = (
                {"kind": kind, "out": f"{folder}/ours.npy"},
                {"kind": kind, "files": files, "out": f"{folder}/baseline.npy"},
            )
            seconds = [
                (ours.call("features", **arguments[0])["seconds"], loops.call("features", **arguments[1])["seconds"])
                for _ in range(ROUNDS)
            ]
            difference = float(np.abs(np.load(f"{folder}/ours.npy") - np.load(f"{folder}/baseline.npy")).max())
            if difference > TOLERANCE[kind]:
                raise SystemExit(
                    f"{kind}: the outputs differ by {difference:.2g} (tolerance {TOLERANCE[kind]:.2g}), so their times "
                    "cannot be compared."
                )
            what = (
                f"{kind} of {len(files):,} clips, all cores, compared with {BASELINES[kind]} as in the notebook "
                f"(max. difference {difference:.1g})"
            )
            milliseconds = [[1e3 * both[i] / len(files) for both in seconds] for i in (0, 1)]
            rows.append(compared(what, *milliseconds, unit="ms per clip", target=ALL_CORES_TARGETS[kind]))
    return rows + one_core.rows(files, versions)


def _training_data(path: Path, folder: str) -> Path:
    """Write the mel features and the notebook's random split to a file that the contenders read."""
    dataset = Dataset.open(path)
    store = feature_building.build(dataset, recipe_named("notebook-mel").representation)
    split = splits.random_split(len(dataset.clips))
    data = Path(folder) / "data.npz"
    timed = np.resize(np.arange(len(dataset.clips)), TIMED_CLIPS)
    labels = dataset.labels
    np.savez(data, features=store.array, labels=labels, train=split.train, test=split.test, timed=timed)
    return data


@contextmanager
def _trainers(
    path: Path, versions: dict[str, str], *precisions: str, plain_loop: bool = False
) -> Iterator[list[Contender]]:
    """Start Keras, soundmark in each precision, and a loop in PyTorch."""
    with ExitStack() as stack:
        data = _training_data(path, stack.enter_context(tempfile.TemporaryDirectory()))
        keras = stack.enter_context(Contender(environment("keras"), "keras_notebook_cnn.py", data))
        ours = [
            stack.enter_context(Contender(sys.executable, "soundmark_notebook_cnn.py", data, name))
            for name in precisions
        ]
        if plain_loop:
            ours.append(stack.enter_context(Contender(sys.executable, "torch_notebook_cnn.py", data)))
        versions |= keras.versions | ours[0].versions
        yield [keras, *ours]


def training(path: Path, versions: dict[str, str]) -> list[Row]:
    """Time an epoch of the notebook's CNN, each contender in turn."""
    native = choose_engine("cpu").precision
    precisions = ("float32",) if native == "float32" else (native, "float32")
    with _trainers(path, versions, *precisions, plain_loop=True) as trainers:
        for trainer in trainers:
            trainer.call("epoch", batch_size=BATCH)  # warm-up: traces graphs, chooses kernels
        seconds = [
            [
                *(trainer.call("epoch", batch_size=BATCH)["seconds"] for trainer in trainers),
                trainers[-2].call("multiplications", batch_size=BATCH)["seconds"],
            ]
            for _ in range(ROUNDS + 2)
        ]
    keras, *ours, loop, products = ([one_round[i] for one_round in seconds] for i in range(len(trainers) + 1))
    what = f"an epoch of the notebook's CNN, {TIMED_CLIPS:,} clips, batch {BATCH}, "
    theirs = "compared with Keras on TensorFlow in float32: "
    rows = [compared(f"{what}{theirs}{native}", ours[0], keras, unit="s", target=1.6)] if len(ours) == 2 else []
    return [
        *rows,
        compared(f"{what}{theirs}float32", ours[-1], keras, unit="s", target=1.0, needed=FLOAT32_NEEDED),
        compared(f"{what}float32, compared with a plain PyTorch loop", ours[-1], loop, unit="s"),
        compared(
            f"{what}float32, compared with its multiplications at the rate of a large matrix product",
            ours[-1],
            products,
            unit="s",
            at_most=True,
        ),
    ]


def accuracy(path: Path, versions: dict[str, str]) -> list[Row]:
    """Compare the accuracies of five trainings each, on one split, with as many steps as the notebook's."""
    n_train = len(splits.random_split(len(Dataset.open(path).clips)).train)
    settings = {"epochs": EPOCHS, "batch_size": -(-n_train // STEPS)}
    native = choose_engine("cpu").precision
    with _trainers(path, versions, native) as (keras, ours):
        accuracies = [
            [trainer.call("fit", seed=seed, **settings)["accuracies"] for trainer in (ours, keras)]
            for seed in range(SEEDS)
        ]
    # The accuracy of single epochs fluctuates by several points: compare the mean of the last ones.
    mine, theirs = ([100 * statistics.mean(both[i][-LAST_EPOCHS:]) for both in accuracies] for i in (0, 1))
    low, high = welch_interval(mine, theirs)
    mean_sd = [f"{statistics.mean(x):.1f} % ± {statistics.stdev(x):.1f}" for x in (mine, theirs)]
    return [
        Row(
            what=f"accuracy, mel, random split (seed 42), {n_train:,} clips, {EPOCHS} epochs of {STEPS} steps, "
            f"mean of the last {LAST_EPOCHS}, {SEEDS} seeds, {native} compared with Keras in float32 (mean ± SD)",
            ours=mean_sd[0],
            baseline=mean_sd[1],
            ratio=f"{statistics.mean(mine) - statistics.mean(theirs):+.1f} points [{low:+.1f}, {high:+.1f}]",
            target="95 % interval contains 0, within ± 4 points",
            met=-4 <= low <= 0 <= high <= 4,
        )
    ]


def welch_interval(a: list[float], b: list[float]) -> tuple[float, float]:
    """The 95 % interval of the difference of two means with unequal variances (Welch 1947)."""
    va, vb = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    degrees = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = T[int(degrees)] * (va + vb) ** 0.5
    difference = statistics.mean(a) - statistics.mean(b)
    return difference - half, difference + half


def store(path: Path, versions: dict[str, str]) -> list[Row]:
    """Measure a second run on an unchanged data set: time to the first batch, and memory by the number of clips."""
    datasets = {n: _short_clips(n) for n in (SMALL, LARGE)}
    for dataset in datasets.values():
        _start(dataset)  # computes the features
    times = [_start(datasets[LARGE])["seconds"] for _ in range(ROUNDS + 2)]
    total = statistics.median(one["first batch"] for one in times)
    torch = statistics.median(one["torch"] for one in times)
    own = [one["first batch"] - one["torch"] for one in times]
    peaks = [[_start(datasets[n], "--epoch")["peak_mb"] for n in (LARGE, SMALL)] for _ in range(ROUNDS)]
    large, small = ([one_round[i] for one_round in peaks] for i in (0, 1))
    return [
        Row(
            what=f"second run on {LARGE:,} unchanged clips, from the command to the first batch, without loading torch",
            ours=f"{statistics.median(own):.2f} s",
            baseline="",
            ratio=f"{min(own):.2f}…{max(own):.2f} s; {total:.2f} s with Python and torch, which take {torch:.2f}",
            target="≤ 1 s",
            met=statistics.median(own) <= 1,
        ),
        compared(
            f"peak memory of an epoch, {LARGE:,} clips compared with {SMALL:,} (their features: 164 MB, 16 MB)",
            large,
            small,
            unit="MB",
            target=1.1,
            at_most=True,
            needed="PyTorch's memory varies by more than this between runs (see the range): it would need many runs.",
        ),
    ]


def _start(dataset: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "peers" / "soundmark_start.py"), str(dataset), str(time.time()), *options]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(process.stdout)
    return result


def _short_clips(n: int) -> Path:
    """Write ``n`` clips of half a second in the layout of UrbanSound8K; their length does not matter here."""
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

"""What a kill costs: a real comparison, killed everywhere by every signal, gone on with, and held against a whole one.

    python benchmarks/kills.py [DATASET] [--repeats 1] [--seed 0]

Every line of the table is one point, one signal and one receiver, tried ``--repeats`` times from an empty folder: the
command runs and is killed there (one time in three a second time, at a random moment), and the same command again ends
it. Points are passed in the real processes, by ``tests/support/faulty_soundmark.py``; the last lines are random
moments, struck from outside. A line fails where the figures, the predictions (byte for byte) or the epochs are not
those of an uninterrupted run, where a half-written file is left, where work that was saved is done again or more is
lost than the step that was cut (a chunk of clips per process and one on its way, an epoch, an export), or where the
command does not end with its status and its sentence. The exit status is 1 if any line fails. DATASET is a synthesised
one by default; its runs are of two recipes of 24 × 24, two epochs, the random split and one fold.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from soundmark.datasets import Dataset, synthetic
from support.kill_stages import EPOCHS, Ended, Kill, Stage  # it stands with the tests

SIGNALS = ("SIGKILL", "SIGINT", "SIGTERM")
RECIPE = 'name = "small-{0}"\nepochs = {1}\nbatch_size = 16\n\n[representation]\nname = "{0}"\nsize = [24, 24]\n'
AMONG_FEATURES = ("half key.json", "written key.json", "features", "rows", "half journal.jsonl", "chunk")
AFTER = (
    *(Kill("batch", n) for n in (1, 5, 17)),
    Kill("half history.csv"),
    Kill("half checkpoint.safetensors", 2),
    Kill("written checkpoint.safetensors"),
    Kill("renamed checkpoint.safetensors"),
    Kill("export"),
    Kill("half recipe.toml"),
    Kill("half predictions.csv", 2),
    Kill("half model.onnx", 2),
    Kill("written model.onnx"),
    Kill("renamed model.onnx", 3),
    Kill("half metrics.json"),
    Kill("written metrics.json"),
    Kill("half report.html"),
    Kill("renamed report.html"),
)


RANDOM_MOMENTS = 20


def kills(rng: np.random.Generator, whole_s: float) -> Iterator[Kill]:
    """Every line of the table."""
    for signal in SIGNALS:
        for whom in ("run", "group"):
            yield from (Kill(point, signal=signal, whom=whom) for point in AMONG_FEATURES)
            yield Kill("clip", 3, signal, whom)
        yield from (replace(kill, signal=signal) for kill in AFTER)
        yield from (replace(kill, signal=signal, whom="group") for kill in AFTER[1::5])
    yield from (Kill("clip", n, whom="here") for n in (1, 5))
    yield Kill("rows", whom="here")
    yield Kill(when="*", whom="worker", after_s=0.1)
    for _ in range(RANDOM_MOMENTS):
        yield at_random(rng, whole_s)


def at_random(rng: np.random.Generator, whole_s: float) -> Kill:
    """Any signal at any moment of a run."""
    whom = str(rng.choice(["run", "group"]))
    return Kill(signal=str(rng.choice(SIGNALS)), whom=whom, after_s=round(float(rng.uniform(0, whole_s)), 1))


@dataclass(frozen=True)
class Place:
    """Where the battery runs: the data, the options of the command, and the uninterrupted run."""

    folder: Path
    data: Path
    options: tuple[str, ...]

    def stage(self, name: str, core: int | None = None) -> Stage:
        """A stage for one trial."""
        return Stage(self.folder / name, self.data, *self.options, core=core)


@dataclass(frozen=True)
class Trial:
    """One kill, perhaps another at a random moment, and the command to its end."""

    name: str
    kills: tuple[Kill, ...]


@dataclass(frozen=True)
class Outcome:
    """How each process of a trial ended, and what in the results is not as in an uninterrupted run."""

    ended: tuple[Ended, ...]
    differences: tuple[str, ...]

    def faults(self) -> list[str]:
        """What should not be, in words."""
        found = [fault for ended in self.ended for fault in ended.faults()]
        first = self.ended[0]
        if first.kill and first.kill.point and not first.reached:
            found.append("never came there")
        return [*found, *self.differences]


_mine = threading.local()  # the processor of this thread of the battery


def attempt(place: Place, whole: Stage, trial: Trial) -> Outcome:
    """Carry out one trial in a folder of its own, on this thread's processor."""
    stage = place.stage(trial.name, _mine.core)
    if trial.kills[0].point in {kill.point for kill in AFTER}:  # the features are not what is killed
        shutil.copytree(whole.cache, stage.cache)
        stage.done = [line for line in whole.done if line.startswith("clip")]
        stage.work.write_text("".join(f"{line}\n" for line in stage.done))
    ended = tuple(stage.go(kill) for kill in (*trial.kills, None))
    outcome = Outcome(ended, tuple(stage.differences(whole)))
    shutil.rmtree(stage.folder)
    return outcome


def told(kill: Kill, outcomes: list[Outcome]) -> str:
    """One line of the table."""
    first = [outcome.ended[0] for outcome in outcomes]
    reruns = sum(len(outcome.ended) - 1 for outcome in outcomes)
    statuses = ", ".join(str(status) for status in sorted({ended.status for ended in first}))
    most: Counter[str] = Counter()
    for ended in first:
        most |= ended.lost
    lost = ", ".join(f"{n} × {kind}" for kind, n in sorted(most.items())) or "nothing"
    late = sum(not ended.reached for ended in first)
    verdict = "; ".join(dict.fromkeys(fault for outcome in outcomes for fault in outcome.faults()))
    good = "same figures, nothing done twice" + (f" ({late} came too late)" if late else "")
    return f"{kill!s:<46}{len(outcomes):>4}{reruns:>8}{statuses:>8}   {lost:<24}{verdict or good}"


def prepare(folder: Path, dataset: Path | None) -> Place:
    """The data set, both recipes and the options of the command."""
    data = dataset or synthetic.write(folder / "city", recordings_per_class=3, clips_per_recording=1)
    options = ["--protocol", "random"]
    if folds := Dataset.open(data).folds:
        options += ["--protocol", "folds", "--folds", str(folds[0])]
    for name in ("mel", "image"):
        (folder / f"{name}.toml").write_text(RECIPE.format(name, EPOCHS))
        options += ["--recipe", str(folder / f"{name}.toml")]
    return Place(folder, data.resolve(), tuple(options))


def run(place: Place, repeats: int, seed: int) -> int:
    """Print the table; how many of its lines fail."""
    rng = np.random.default_rng(seed)
    cores: SimpleQueue[int] = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)
    with ThreadPoolExecutor(cores.qsize(), initializer=lambda: setattr(_mine, "core", cores.get())) as pool:
        whole, start = place.stage("whole", min(os.sched_getaffinity(0))), time.monotonic()
        if faults := whole.go().faults():
            raise SystemExit(f"the uninterrupted run: {'; '.join(faults)}")
        whole_s = time.monotonic() - start
        print(f"an uninterrupted run takes {whole_s:.0f} s: {len(whole.done)} clips, batches and exports\n")
        print(f"{'point, signal and receiver':<46}{'×':>4}{'reruns':>8}{'status':>8}   {'lost at most':<24}outcome")
        lines = list(kills(rng, whole_s))
        waiting = []
        for number, kill in enumerate(lines):
            second = [(at_random(rng, whole_s),) if rng.random() < 1 / 3 else () for _ in range(repeats)]
            trials = [Trial(f"{number}-{i}", (kill, *more)) for i, more in enumerate(second)]
            waiting.append([pool.submit(partial(attempt, place, whole), trial) for trial in trials])
        failed = 0
        for kill, trials_ in zip(lines, waiting, strict=True):
            outcomes = [trial.result() for trial in trials_]
            failed += any(outcome.faults() for outcome in outcomes)
            print(told(kill, outcomes), flush=True)
    print(f"\n{len(lines)} lines, {len(lines) * repeats} kills at first, {failed} lines failed")
    return failed


def main() -> int:
    """Read the command line, and run the battery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, torch {version('torch')}")
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        return 1 if run(prepare(Path(folder), options.dataset), options.repeats, options.seed) else 0


if __name__ == "__main__":
    sys.exit(main())

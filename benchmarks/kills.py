"""Kill a comparison at many points, with every signal; resume it; compare its results with an uninterrupted run.

    python benchmarks/kills.py [DATASET] [--repeats 1] [--seed 0]

Each line of the table is one point, one signal and one target process, tested ``--repeats`` times from an empty folder:
the command runs and is killed (in a third of the trials a second time, at a random moment); then the same command runs
to its end. ``tests/support/faulty_soundmark.py`` sends the signals from within the real processes; for the last lines,
they are sent from outside at random moments.

A line fails if the metrics, the predictions (byte for byte) or the epochs differ from those of an uninterrupted run; if
a partial file is left; if saved work is done again; if more is lost than the interrupted step (a chunk of clips per
worker and one not yet in the journal, an epoch, an export); or if the exit status or message is wrong. The exit status
is 1 if any line fails. DATASET is synthetic by default. The run trains two recipes on 24 × 24 spectrograms for two
epochs, on the random split and on one fold.
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
from support.kill_stages import EPOCHS, WORKER_STARTED, Kill, ProcessResult, ResumableRun

SIGNALS = ("SIGKILL", "SIGINT", "SIGTERM")
RECIPE = 'name = "small-{0}"\nepochs = {1}\nbatch_size = 16\n\n[representation]\nname = "{0}"\nsize = [24, 24]\n'
FEATURE_POINTS = ("half key.json", "written key.json", "features", "rows", "half journal.jsonl", "chunk")
TRAINING_KILLS = (
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


def kills(rng: np.random.Generator, run_s: float) -> Iterator[Kill]:
    """The kills of all lines of the table; an uninterrupted run takes ``run_s`` seconds."""
    for signal in SIGNALS:
        for target in ("run", "group"):
            yield from (Kill(point, signal=signal, target=target) for point in FEATURE_POINTS)
            yield Kill("clip", 3, signal, target)
        yield from (replace(kill, signal=signal) for kill in TRAINING_KILLS)
        yield from (replace(kill, signal=signal, target="group") for kill in TRAINING_KILLS[1::5])
    yield from (Kill("clip", n, target="self") for n in (1, 5))
    yield Kill("rows", target="self")
    yield Kill(when=WORKER_STARTED, target="worker", after_s=0.1)
    for _ in range(RANDOM_MOMENTS):
        yield random_kill(rng, run_s)


def random_kill(rng: np.random.Generator, run_s: float) -> Kill:
    """A random signal at a random moment of a run."""
    target = str(rng.choice(["run", "group"]))
    return Kill(signal=str(rng.choice(SIGNALS)), target=target, after_s=round(float(rng.uniform(0, run_s)), 1))


@dataclass(frozen=True)
class Setup:
    """The folder of all trials, the data set, and the options of the command."""

    folder: Path
    data: Path
    options: tuple[str, ...]

    def new_run(self, name: str, core: int | None = None) -> ResumableRun:
        """A run in a new folder."""
        return ResumableRun(self.folder / name, self.data, *self.options, core=core)


@dataclass(frozen=True)
class Trial:
    """One or two kills, after which the command runs to its end."""

    name: str
    kills: tuple[Kill, ...]


@dataclass(frozen=True)
class Outcome:
    """The result of each process of a trial, and the differences from the results of an uninterrupted run."""

    processes: tuple[ProcessResult, ...]
    differences: tuple[str, ...]

    def faults(self) -> list[str]:
        """Descriptions of everything that is wrong; empty if nothing is."""
        faults = [fault for process in self.processes for fault in process.faults()]
        first = self.processes[0]
        if first.kill and first.kill.point and not first.killed:
            faults.append("the point was not reached")
        return [*faults, *self.differences]


_thread = threading.local()  # its ``core`` is the core that this thread uses


def execute(setup: Setup, uninterrupted: ResumableRun, trial: Trial) -> Outcome:
    """Execute a trial in a new folder, on this thread's core."""
    run = setup.new_run(trial.name, _thread.core)
    if trial.kills[0].point in {kill.point for kill in TRAINING_KILLS}:  # start with finished features
        shutil.copytree(uninterrupted.cache, run.cache)
        run.done = [line for line in uninterrupted.done if line.startswith("clip")]
        run.work_log.write_text("".join(f"{line}\n" for line in run.done))
    processes = tuple(run.execute(kill) for kill in (*trial.kills, None))
    outcome = Outcome(processes, tuple(run.differences(uninterrupted)))
    shutil.rmtree(run.folder)
    return outcome


def table_line(kill: Kill, outcomes: list[Outcome]) -> str:
    """The line of the table for the trials of one kill."""
    first = [outcome.processes[0] for outcome in outcomes]
    reruns = sum(len(outcome.processes) - 1 for outcome in outcomes)
    statuses = ", ".join(str(status) for status in sorted({process.status for process in first}))
    largest_loss: Counter[str] = Counter()
    for process in first:
        largest_loss |= process.lost
    lost = ", ".join(f"{n} × {kind}" for kind, n in sorted(largest_loss.items())) or "nothing"
    late = sum(not process.killed for process in first)
    faults = "; ".join(dict.fromkeys(fault for outcome in outcomes for fault in outcome.faults()))
    passed = "same results, nothing done twice" + (f" ({late} after the end of the run)" if late else "")
    return f"{kill!s:<46}{len(outcomes):>4}{reruns:>8}{statuses:>8}   {lost:<24}{faults or passed}"


def prepare(folder: Path, dataset: Path | None) -> Setup:
    """Write the data set and both recipes; return them with the options of the command."""
    data = dataset or synthetic.write(folder / "city", recordings_per_class=3, clips_per_recording=1)
    options = ["--protocol", "random"]
    if folds := Dataset.open(data).folds:
        options += ["--protocol", "folds", "--folds", str(folds[0])]
    for name in ("mel", "image"):
        (folder / f"{name}.toml").write_text(RECIPE.format(name, EPOCHS))
        options += ["--recipe", str(folder / f"{name}.toml")]
    return Setup(folder, data.resolve(), tuple(options))


def run_trials(setup: Setup, repeats: int, seed: int) -> int:
    """Execute all trials and print the table; return the number of lines that fail."""
    rng = np.random.default_rng(seed)
    cores: SimpleQueue[int] = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)
    with ThreadPoolExecutor(cores.qsize(), initializer=lambda: setattr(_thread, "core", cores.get())) as pool:
        uninterrupted, start = setup.new_run("uninterrupted", min(os.sched_getaffinity(0))), time.monotonic()
        if faults := uninterrupted.execute().faults():
            raise SystemExit(f"the uninterrupted run failed: {'; '.join(faults)}")
        run_s = time.monotonic() - start
        print(f"an uninterrupted run takes {run_s:.0f} s: {len(uninterrupted.done)} clips, batches and exports\n")
        print(f"{'point, signal and target':<46}{'×':>4}{'reruns':>8}{'status':>8}   {'largest loss':<24}outcome")
        lines = list(kills(rng, run_s))
        futures = []
        for number, kill in enumerate(lines):
            second = [(random_kill(rng, run_s),) if rng.random() < 1 / 3 else () for _ in range(repeats)]
            trials = [Trial(f"{number}-{i}", (kill, *more)) for i, more in enumerate(second)]
            futures.append([pool.submit(partial(execute, setup, uninterrupted), trial) for trial in trials])
        failed = 0
        for kill, of_kill in zip(lines, futures, strict=True):
            outcomes = [future.result() for future in of_kill]
            failed += any(outcome.faults() for outcome in outcomes)
            print(table_line(kill, outcomes), flush=True)
    print(f"\n{len(lines)} lines, {len(lines) * repeats} trials, {failed} lines failed")
    return failed


def main() -> int:
    """Parse the command line, run all trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, torch {version('torch')}")
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        return 1 if run_trials(prepare(Path(folder), options.dataset), options.repeats, options.seed) else 0


if __name__ == "__main__":
    sys.exit(main())

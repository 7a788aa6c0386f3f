"""Kill a run at chosen points, resume it, and compare its results with those of an uninterrupted run.

``ResumableRun`` runs ``soundmark compare`` in a folder and records the work that was done. ``faulty_soundmark.py``
kills it at a given point. ``tests/system/test_kill_and_resume.py`` tests every point once; ``benchmarks/kills.py``
tests every point with every signal, several times, and random moments.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from soundmark.datasets import Dataset
from support.comparisons import read_metrics

FAULTY_SOUNDMARK = Path(__file__).with_name("faulty_soundmark.py")
JOBS = 2
CHUNK = 8  # clips: so that a small data set has several chunks
TIMEOUT_S = 300  # long, for a busy machine
EPOCHS = 2
STATUS = {"SIGKILL": -9, "SIGINT": 130, "SIGTERM": 143}
STOPPED = "soundmark: stopped. Finished work is kept: run the same command again to resume."
WORKER_ENDED = "soundmark: a worker process ended unexpectedly"
WORKER_STARTED = "*"


@dataclass(frozen=True)
class Kill:
    """When, how and which process to kill: see ``faulty_soundmark.py``.

    Without a point, the signal is sent from outside, ``after_s`` seconds after ``when``.
    """

    point: str = ""
    n: int = 1
    signal: str = "SIGKILL"
    target: str = "run"
    after_s: float = 0.0
    when: str = "the start"  # or when a file of the output folder exists, or WORKER_STARTED

    def __str__(self) -> str:
        event = "a worker has started" if self.when == WORKER_STARTED else self.when
        moment = self.point or f"{self.after_s:.1f} s after {event}"
        target = {"run": "", "self": " to the worker", "worker": " to a worker", "group": " to all"}[self.target]
        return f"{moment}{f' #{self.n}' if self.n > 1 else ''}, {self.signal}{target}"


@dataclass(frozen=True, kw_only=True)
class ProcessResult:
    """How one process of a run ended, and the state that it left."""

    kill: Kill | None
    status: int
    message: str  # standard error
    killed: bool  # whether the signal was sent at all
    partial_files: tuple[str, ...]
    repeated: tuple[str, ...]  # work that had been saved before, and was done again
    lost: Counter  # kind of work → amount that was done and is not saved
    allowed_loss: dict[str, int]  # kind of work → amount in the step that may be interrupted

    def faults(self) -> list[str]:
        """Descriptions of everything that is wrong; empty if nothing is."""
        faults = [f"done again: {', '.join(self.repeated)}"] if self.repeated else []
        faults += [f"lost {n} × {kind}" for kind, n in self.lost.items() if n > self.allowed_loss[kind]]
        if "Traceback" in self.message and self.status != STATUS["SIGKILL"]:
            # After a SIGKILL of the parent, a worker that is just starting prints a traceback of Python's own.
            faults.append(f"a traceback: {self.message.strip().splitlines()[-1]}")
        statuses, text = self.expected()
        if self.status not in statuses or text not in self.message:
            faults.append(f"status {self.status} with: {self.message.strip() or 'nothing'}")
        return faults

    def expected(self) -> tuple[tuple[int, ...], str]:
        """The correct exit statuses, and a text that the message must contain."""
        if self.kill is None or not self.killed or (self.status == 0 and not self.kill.point):
            return (0,), ""  # a signal from outside may come after the end of the run
        if self.kill.target in ("self", "worker"):
            return (2,), WORKER_ENDED
        return (STATUS[self.kill.signal],), "" if self.kill.signal == "SIGKILL" else STOPPED


class ResumableRun:
    """A ``soundmark compare`` run with its own output folder, cache and log of the work done, on one core."""

    def __init__(self, folder: Path, city: Path, *options: str, core: int | None = None) -> None:
        self.folder, self.core = folder, core
        folder.mkdir(parents=True, exist_ok=True)
        self.output, self.cache, self.work_log = folder / "run", folder / "cache", folder / "work.txt"
        self.started_file, self.killed_file = folder / "work.txt.started", folder / "work.txt.killed"
        self.work_log.touch()
        self.clip_names = [clip.path.name for clip in Dataset.open(city).clips]
        self.arguments = ["compare", str(city), "-o", str(self.output), "--jobs", str(JOBS), *options]
        self.done: list[str] = []  # lines of the work log, by all processes so far

    def execute(self, kill: Kill | None = None) -> ProcessResult:
        """Run the command once, until it is killed or ends."""
        saved_before = self.saved()
        for file in (self.started_file, self.killed_file):
            file.unlink(missing_ok=True)
        process = self.start(kill)
        if kill and not kill.point:
            self.kill_from_outside(process, kill)
        _, message = process.communicate(timeout=TIMEOUT_S)
        self.wait_for_workers(process.pid)
        logged = self.work_log.read_text().splitlines()
        new = logged[len(self.done) :]
        self.done = logged
        return ProcessResult(
            kill=kill,
            status=process.returncode,
            message=message,
            killed=self.killed_file.exists(),
            partial_files=tuple(sorted(path.name for path in self.folder.rglob(".*.part"))),
            repeated=tuple(sorted(set(new) & saved_before)),
            lost=Counter(line.split()[0] for line in set(self.done) - self.saved()),
            allowed_loss=self.allowed_loss(),
        )

    def start(self, kill: Kill | None) -> subprocess.Popen[str]:
        """Start the command, set up to be killed at the point of ``kill``."""
        settings = {
            "SOUNDMARK_CACHE": self.cache, "RUN": self.output, "WORK": self.work_log, "CHUNK": CHUNK, "COLUMNS": 200,
        }  # fmt: skip
        if kill and kill.point:
            settings["KILL"] = f"{kill.point}:{kill.n}:{kill.signal}:{kill.target}"
        if self.core is not None:
            settings["CORE"] = self.core
        return subprocess.Popen(
            [sys.executable, str(FAULTY_SOUNDMARK), *self.arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {key: str(value) for key, value in settings.items()},
            start_new_session=True,
        )

    def kill_from_outside(self, process: subprocess.Popen[str], kill: Kill) -> None:
        """Send the signal at the moment of ``kill``, unless the process has ended before."""
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline and not self.has_reached(process, kill.when):
            time.sleep(0.002)
        time.sleep(kill.after_s)
        targets = workers_of(process.pid) if kill.target == "worker" else [process.pid]
        if process.poll() is None and targets:
            (os.killpg if kill.target == "group" else os.kill)(targets[0], signal.Signals[kill.signal])
            self.killed_file.touch()

    def has_reached(self, process: subprocess.Popen[str], when: str) -> bool:
        """Whether the moment ``when`` of a kill from outside has come."""
        reached = bool(workers_of(process.pid)) if when == WORKER_STARTED else (self.output / when).exists()
        return self.started_file.exists() and (reached or when == "the start")

    def wait_for_workers(self, group: int) -> None:
        """Wait until every process of the run has ended."""
        for _ in range(20 * TIMEOUT_S):
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
        raise AssertionError("workers outlived their run")

    def saved(self) -> set[str]:
        """The work whose results are on disk, as lines of the work log."""
        lines: set[str] = set()
        for journal in self.cache.rglob("journal.jsonl"):
            name = re.search(r"-([a-z]+)-[0-9a-f]+$", journal.parent.name)[1]
            for number in re.findall(rb'^{"number": (\d+), .*}$', journal.read_bytes(), re.MULTILINE):
                first = int(number) * CHUNK
                lines |= {f"clip {name} {clip}" for clip in self.clip_names[first : first + CHUNK]}
        for line in self.done:
            kind, unit, *rest = line.split()
            if kind == "batch":
                epoch = -(-int(rest[0]) * EPOCHS // int(rest[2]))
                lines |= {line} if epoch <= epochs_saved(self.output / unit) else set()
            elif kind == "export" and (self.output / unit / "model.onnx").exists():
                lines.add(line)
        return lines

    def allowed_loss(self) -> dict[str, int]:
        """Work that a kill may lose: a chunk per worker and one not yet in the journal; an epoch; an export."""
        totals = [int(line.split()[-1]) for line in self.done if line.startswith("batch")]
        return {"clip": (JOBS + 1) * CHUNK, "batch": max(totals, default=0) // EPOCHS, "export": 1}

    def differences(self, other: "ResumableRun") -> list[str]:
        """Differences between the results of this run and those of ``other``, and partial files that are left."""
        found = [f"partial file: {path.name}" for path in self.folder.rglob(".*.part")]
        found += [] if metrics(self.output) == metrics(other.output) else ["different metrics"]
        names = {path.relative_to(other.output) for path in other.output.rglob("*.*") if not path.name.startswith(".")}
        mine = {path.relative_to(self.output) for path in self.output.rglob("*.*") if not path.name.startswith(".")}
        found += [f"missing or unexpected: {name}" for name in sorted(names ^ mine)]
        for name in sorted(names & mine):
            ours, theirs = (folder / name for folder in (self.output, other.output))
            if name.name in ("predictions.csv", "recipe.toml") and ours.read_bytes() != theirs.read_bytes():
                found.append(f"different bytes: {name}")
            if name.name == "history.csv" and without_seconds(ours) != without_seconds(theirs):
                found.append(f"different history: {name}")
        return found


def epochs_saved(unit: Path) -> int:
    """The number of epochs that the checkpoint or model of a training contains."""
    if (unit / "model.onnx").exists():
        return EPOCHS
    path = unit / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "np") as file:
        return len(json.loads(file.metadata()["about"])["history"])


def workers_of(pid: int) -> list[int]:
    """The worker processes of a run, from /proc."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
        return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


def metrics(run: Path) -> dict:
    """``metrics.json`` without durations and the command."""
    values = read_metrics(run)
    del values["command"]
    return values


def without_seconds(history: Path) -> list[str]:
    """The lines of a ``history.csv`` without their last column, the seconds."""
    return [line.rpartition(",")[0] for line in history.read_text().splitlines()]

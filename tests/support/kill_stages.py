"""Kill a run at chosen points, resume it, and compare the result with an uninterrupted run.

A *stage* holds one run: its output folder, its cache and a record of the work done.
``tests/system/test_kill_and_resume.py`` passes every point once; ``benchmarks/kills.py`` every point with every signal,
several times, and at random moments.
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

FAULTY_SOUNDMARK = Path(__file__).with_name("faulty_soundmark.py")
JOBS = 2
CHUNK = 8  # clips: so that a small data set has several chunks
DEADLINE_S = 300  # generous: a machine may be busy
EPOCHS = 2
STATUS = {"SIGKILL": -9, "SIGINT": 130, "SIGTERM": 143}
SENTENCE = "soundmark: stopped. What is finished is kept: the same command goes on from there."
WORKER_ENDED = "soundmark: a worker process ended unexpectedly"


@dataclass(frozen=True)
class Kill:
    """Where, how and whom: see ``faulty_soundmark.py``. Without a point, from outside: ``after_s`` after ``when``."""

    point: str = ""
    n: int = 1
    signal: str = "SIGKILL"
    whom: str = "run"
    after_s: float = 0.0
    when: str = "the start"  # or a file in the run's folder that is there by then, or *: a worker is there

    def __str__(self) -> str:
        place = self.point or f"{self.after_s:.1f} s after {'a worker is born' if self.when == '*' else self.when}"
        whom = {"run": "", "here": " to the worker", "worker": " to a worker", "group": " to all"}[self.whom]
        return f"{place}{f' #{self.n}' if self.n > 1 else ''}, {self.signal}{whom}"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one process of a run ended."""

    kill: Kill | None
    status: int
    message: str
    reached: bool  # whether the kill took place at all
    parts: tuple[str, ...]  # what stands half-written
    again: tuple[str, ...]  # work that was saved before, and was done again
    lost: Counter  # kind of work → how much was done so far and is not saved
    step: dict[str, int]  # kind of work → how much of it the step that was cut can be

    def faults(self) -> list[str]:
        """What should not be, in words."""
        found = [f"done again: {', '.join(self.again)}"] if self.again else []
        found += [f"lost {n} × {kind}" for kind, n in self.lost.items() if n > self.step[kind]]
        if "Traceback" in self.message and self.status != STATUS["SIGKILL"]:
            # (Of a worker half born when its parent was killed it would be Python's own.)
            found.append(f"a traceback: {self.message.strip().splitlines()[-1]}")
        status, sentence = self.expected()
        if self.status not in status or sentence not in self.message:
            found.append(f"status {self.status} with: {self.message.strip() or 'nothing'}")
        return found

    def expected(self) -> tuple[tuple[int, ...], str]:
        """The exit statuses that are right, and what the message holds."""
        if self.kill is None or not self.reached or (self.status == 0 and not self.kill.point):
            return (0,), ""  # a moment seen from outside may be the last one of a run that is done
        if self.kill.whom in ("here", "worker"):
            return (2,), WORKER_ENDED
        return (STATUS[self.kill.signal],), "" if self.kill.signal == "SIGKILL" else SENTENCE


class Stage:
    """One run, its cache and its work, in a folder of its own, on a core of its own."""

    def __init__(self, folder: Path, city: Path, *options: str, core: int | None = None) -> None:
        self.folder, self.core = folder, core
        folder.mkdir(parents=True, exist_ok=True)
        self.run, self.cache, self.work = folder / "run", folder / "cache", folder / "work.txt"
        self.begun, self.killed = folder / "work.txt.begun", folder / "work.txt.killed"
        self.work.touch()
        self.names = [clip.path.name for clip in Dataset.open(city).clips]
        self.arguments = ["compare", str(city), "-o", str(self.run), "--jobs", str(JOBS), *options]
        self.done: list[str] = []  # by all processes so far

    def go(self, kill: Kill | None = None) -> Ended:
        """Run the command once, killed as ``kill`` says, or to its end."""
        before = self.saved()
        for sign in (self.begun, self.killed):
            sign.unlink(missing_ok=True)
        process = self.start(kill)
        if kill and not kill.point:
            self.strike(process, kill)
        _, message = process.communicate(timeout=DEADLINE_S)
        self.wait_for_workers(process.pid)
        told = self.work.read_text().splitlines()
        now = told[len(self.done) :]
        self.done = told
        return Ended(
            kill=kill,
            status=process.returncode,
            message=message,
            reached=self.killed.exists(),
            parts=tuple(sorted(path.name for path in self.folder.rglob(".*.part"))),
            again=tuple(sorted(set(now) & before)),
            lost=Counter(line.split()[0] for line in set(self.done) - self.saved()),
            step=self.step(),
        )

    def start(self, kill: Kill | None) -> subprocess.Popen[str]:
        told = {"SOUNDMARK_CACHE": self.cache, "RUN": self.run, "WORK": self.work, "CHUNK": CHUNK, "COLUMNS": 200}
        if kill and kill.point:
            told["KILL"] = f"{kill.point}:{kill.n}:{kill.signal}:{kill.whom}"
        if self.core is not None:
            told["CORE"] = self.core
        return subprocess.Popen(
            [sys.executable, str(FAULTY_SOUNDMARK), *self.arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {key: str(value) for key, value in told.items()},
            start_new_session=True,
        )

    def strike(self, process: subprocess.Popen[str], kill: Kill) -> None:
        """Send the signal from outside, if there is still anybody to send it to."""
        deadline = time.monotonic() + DEADLINE_S
        while process.poll() is None and time.monotonic() < deadline and not self.shows(process, kill.when):
            time.sleep(0.002)
        time.sleep(kill.after_s)
        targets = workers_of(process.pid) if kill.whom == "worker" else [process.pid]
        if process.poll() is None and targets:
            (os.killpg if kill.whom == "group" else os.kill)(targets[0], signal.Signals[kill.signal])
            self.killed.touch()

    def shows(self, process: subprocess.Popen[str], sign: str) -> bool:
        there = bool(workers_of(process.pid)) if sign == "*" else (self.run / sign).exists()
        return self.begun.exists() and (there or sign == "the start")

    def wait_for_workers(self, group: int) -> None:
        """Until every process of the run is gone: they end by themselves."""
        for _ in range(20 * DEADLINE_S):
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
        raise AssertionError("workers outlived their run")

    def saved(self) -> set[str]:
        """The work whose fruits stand on the disk, as lines of the account."""
        lines: set[str] = set()
        for journal in self.cache.rglob("journal.jsonl"):
            name = re.search(r"-([a-z]+)-[0-9a-f]+$", journal.parent.name)[1]
            for number in re.findall(rb'^{"number": (\d+), .*}$', journal.read_bytes(), re.MULTILINE):
                first = int(number) * CHUNK
                lines |= {f"clip {name} {clip}" for clip in self.names[first : first + CHUNK]}
        for line in self.done:
            kind, unit, *rest = line.split()
            if kind == "batch":
                epoch = -(-int(rest[0]) * EPOCHS // int(rest[2]))
                lines |= {line} if epoch <= epochs_saved(self.run / unit) else set()
            elif kind == "export" and (self.run / unit / "model.onnx").exists():
                lines.add(line)
        return lines

    def step(self) -> dict[str, int]:
        """What may be lost: a chunk per process and one that is not noted yet; the batches of an epoch; a graph."""
        totals = [int(line.split()[-1]) for line in self.done if line.startswith("batch")]
        return {"clip": (JOBS + 1) * CHUNK, "batch": max(totals, default=0) // EPOCHS, "export": 1}

    def differences(self, other: "Stage") -> list[str]:
        """In what this run's results are not those of ``other``, and what should not have been left."""
        found = [f"left: {path.name}" for path in self.folder.rglob(".*.part")]
        found += [] if figures(self.run) == figures(other.run) else ["other figures"]
        names = {path.relative_to(other.run) for path in other.run.rglob("*.*") if not path.name.startswith(".")}
        mine = {path.relative_to(self.run) for path in self.run.rglob("*.*") if not path.name.startswith(".")}
        found += [f"missing or more: {name}" for name in sorted(names ^ mine)]
        for name in sorted(names & mine):
            ours, theirs = (folder / name for folder in (self.run, other.run))
            if name.name in ("predictions.csv", "recipe.toml") and ours.read_bytes() != theirs.read_bytes():
                found.append(f"other bytes: {name}")
            if name.name == "history.csv" and without_seconds(ours) != without_seconds(theirs):
                found.append(f"another history: {name}")
        return found


def epochs_saved(unit: Path) -> int:
    """How many epochs of a training stand on the disk."""
    if (unit / "model.onnx").exists():
        return EPOCHS
    path = unit / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "np") as file:
        return len(json.loads(file.metadata()["about"])["history"])


def workers_of(pid: int) -> list[int]:
    """The worker processes of a run, by Linux' own account."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
        return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


def figures(run: Path) -> dict:
    """``metrics.json`` without the seconds and the command."""
    found = json.loads((run / "metrics.json").read_text())
    del found["command"]
    for result in found["results"]:
        del result["seconds"]
    return found


def without_seconds(history: Path) -> list[str]:
    return [line.rpartition(",")[0] for line in history.read_text().splitlines()]

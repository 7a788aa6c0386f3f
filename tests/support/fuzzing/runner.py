"""Runs a target in worker processes; collects findings: wrong answers, foreign errors, crashes, hangs, memory.

Input ``index`` of a run depends on the target, the seed and the index only. A worker that crashes, or exceeds a limit,
is replaced, and the input at which it was is a finding.
"""

from __future__ import annotations

import contextlib
import csv
import faulthandler
import gc
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from soundmark.errors import SoundmarkError
from support.fuzzing.target import Case, Target, message_fault

STEP_CPU_S, STEP_S = 10.0, 100.0  # of one step of a check: processor time, and time on a busy machine
GROWTH_BYTES = 500e6  # of the resident memory, by one input
ADDRESS_BYTES = 4 << 30  # of address space, beyond what a worker has at its start
INPUTS_PER_WORKER = 5000
MINIMISE_S = 8.0
TARGETS = {
    "sounds": "sounds.Sounds",
    "models": "models.Models",
    "cards": "cards.Cards",
    "tables": "tables.Tables",
    "recipes": "recipes.Recipes",
    "annotations": "annotations.Annotations",
    "indexes": "indexes.Indexes",
    "faulty": "faulty.Faulty",
}
_fork = multiprocessing.get_context("fork")


def target_named(name: str) -> Target:
    module, _, kind = TARGETS[name].partition(".")
    found: Target = getattr(import_module(f"support.fuzzing.{module}"), kind)()
    return found


@dataclass(frozen=True)
class Finding:
    """An input with an outcome that is not allowed."""

    index: int
    kind: str  # "error", "message", "wrong answer", "crash", "hang", "memory"
    signature: str  # equal for findings with the same cause
    text: str


@dataclass
class Result:
    """The outcome of a run."""

    target: str
    seed: int
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    findings: Counter[str] = field(default_factory=Counter)  # by signature
    first: dict[str, Finding] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)  # by type and beginning of the message


# --- A worker ---


class _State:
    """What a worker shares with its supervisor: index, steps, accepted and refused inputs; and the name of the step."""

    def __init__(self) -> None:
        self.numbers = _fork.RawArray("q", 4)
        self.step = _fork.RawArray("c", 40)

    def beat(self, step: str) -> None:
        self.step.value = step.encode()[:39]
        self.numbers[1] += 1


def case_at(target: Target, seeds: list[Case], seed: int, index: int) -> tuple[Case, Random]:
    """Input ``index`` of the run with this ``seed``, and the randomness of its check."""
    rng = Random(f"{target.name}/{seed}/{index}")
    chosen = rng.choice(seeds)
    try:
        return target.mutated(chosen, rng), rng
    except (ValueError, RecursionError, csv.Error):  # changes that cannot be written: texts that are not UTF-8, nesting
        return chosen, rng


def outcome(target: Target, case: Case, rng: Random, folder: Path, beat: Callable[[str], None]) -> tuple[str, str, str]:
    """Check a case; return "accepted", "refused" or the kind of a finding, its signature, and its text."""
    beat("write")
    try:
        path = case.write(folder)
    except (OSError, ValueError) as error:  # a name that no file can have
        return "refused", f"{type(error).__name__}", str(error)
    beat("open")
    try:
        target.check(path, rng, beat)
    except SoundmarkError as error:
        message = str(error)
        if fault := message_fault(error, target.names(path)):
            return "message", f"{fault} | {_place(error)}", f"{fault}:\n{message}"
        return "refused", f"{type(error).__name__}: {_shape(message)}", message
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        kind = "wrong answer" if isinstance(error, AssertionError) else "error"
        about = _shape(str(error)) if isinstance(error, AssertionError) else ""
        return kind, f"{type(error).__name__} {about}| {_place(error)}", traceback.format_exc()
    return "accepted", "", ""


def _place(error: BaseException) -> str:
    """The last line of soundmark in a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/soundmark/" in frame.filename] or list(frames)
    return f"{Path(own[-1].filename).stem}.{own[-1].name}" if own else "?"


def _shape(message: str) -> str:
    """The words of a message without its names and numbers."""
    return " ".join(word for word in message[:160].split() if word.isascii() and word.strip(".,:;").isalpha())[:80]


def _serve(target: Target, seeds: list[Case], seed: int, indices: range, state: _State, pipe: Any, log: str) -> None:
    supervisor = os.getppid()
    _isolate(log)
    folder = Path(f"{log}.files")
    refusals: Counter[str] = Counter()
    known: set[str] = set()
    try:
        for index in indices:
            if os.getppid() != supervisor:  # it was killed
                break
            state.numbers[0] = index
            state.beat("mutate")
            try:
                case, rng = case_at(target, seeds, seed, index)
            except Exception as error:  # a fault of the fuzzer
                pipe.send(Finding(index, "fuzzer", f"fuzzer: {type(error).__name__}", traceback.format_exc()))
                continue
            before = _start_of_peak()
            kind, signature, text = outcome(target, case, rng, folder / "in", state.beat)
            state.beat("finish")
            grown = _peak() - before
            if grown > GROWTH_BYTES:
                pipe.send(
                    Finding(index, "memory", f"memory {kind} | {signature[:60]}", f"{grown / 1e6:.0f} MB\n{text}")
                )
            if kind in ("accepted", "refused"):
                state.numbers[2 if kind == "accepted" else 3] += 1
                refusals[signature] += kind == "refused"
            else:
                if signature not in known:
                    text = _minimised(target, case, index, signature, text, folder, state)
                known.add(signature)
                pipe.send(Finding(index, kind, f"{kind}: {signature}", text))
            if index % 50 == 0:
                gc.collect()
        pipe.send(refusals)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # without the finalizers of the parent


def _isolate(log: str) -> None:
    """Set limits, and send what native code prints to a file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    faulthandler.enable()
    warnings.simplefilter("error")  # a warning would reach the user
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = _status("VmSize") or 0
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_BYTES, used + ADDRESS_BYTES))


def _status(key: str) -> int | None:
    """A size in /proc/self/status, in bytes; None on other systems than Linux."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _start_of_peak() -> int:
    """Reset the peak of the resident memory; return the memory in use."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS") or 0


def _peak() -> int:
    return _status("VmHWM") or 0


def _minimised(target: Target, case: Case, index: int, signature: str, text: str, folder: Path, state: _State) -> str:
    """Delete pieces of a text or a sound for a while, as long as the finding stays the same; append what is left."""
    if not target.is_text or case.main not in case.files:
        return text
    data, size, stop_s = case.data, max(1, len(case.data) // 2), time.monotonic() + MINIMISE_S
    while size and time.monotonic() < stop_s:
        at = 0
        while at < len(data) and time.monotonic() < stop_s:
            shorter = data[:at] + data[at + size :]
            same = outcome(target, case.with_data(shorter), Random(index), folder / "min", state.beat)
            if same[1] == signature:
                data, text = shorter, same[2]
            else:
                at += size
        size //= 2
    return f"{text}\n\nminimised, {len(data)} bytes:\n{data[:1000]!r}"


# --- The supervisor ---


@dataclass
class _Worker:
    process: Any
    pipe: Any
    state: _State
    log: Path
    indices: range
    mark: tuple[int, int] = (-1, -1)
    cpu_s: float = 0.0
    wall_s: float = 0.0


def run(
    name: str,
    *,
    seed: int,
    seconds: float | None = None,
    inputs: int | None = None,
    workers: int = 1,
    findings: Path | None = None,
    step_cpu_s: float = STEP_CPU_S,
    say: Callable[[str], None] = print,
) -> Result:
    """Fuzz a target for a time, or for a number of inputs; save each kind of finding once in ``findings``."""
    target = target_named(name)
    seeds = _in_child(lambda: target.seeds())
    result, started_s = Result(name, seed), time.monotonic()
    memory = Path("/dev/shm")  # noqa: S108 - creating files there is ten times as fast
    with tempfile.TemporaryDirectory(prefix="fuzz_", dir=memory if memory.is_dir() else None) as logs:
        chunks = _chunks(inputs)
        live: list[_Worker] = []
        try:
            while True:
                now_s = time.monotonic()
                is_over = seconds is not None and now_s - started_s > seconds
                while not is_over and len(live) < workers and (indices := next(chunks, None)):
                    live.append(_start(target, seeds, seed, indices, Path(logs) / f"{indices[0]}_{now_s}"))
                if not live:
                    break
                for worker in list(live):
                    _collect(worker, target, seeds, result, findings, say)
                    rest = _rest_after_end(worker, target, seeds, result, findings, say, step_cpu_s)
                    if is_over and rest is None:
                        _stop(worker, result)
                        rest = range(0)
                    if rest is not None:
                        live.remove(worker)
                        if rest and not is_over:
                            live.append(_start(target, seeds, seed, rest, Path(logs) / f"{rest[0]}_{now_s}"))
                time.sleep(0.05)
        finally:
            for worker in live:
                _stop(worker, result)
    result.seconds = time.monotonic() - started_s
    return result


def _chunks(inputs: int | None) -> Iterator[range]:
    start = 0
    while inputs is None or start < inputs:
        stop = start + INPUTS_PER_WORKER if inputs is None else min(inputs, start + INPUTS_PER_WORKER)
        yield range(start, stop)
        start = stop


def _in_child(make: Callable[[], Any]) -> Any:
    """Return the result of a function that runs in a separate process, which keeps torch out of the workers."""
    ours, theirs = _fork.Pipe()

    def work() -> None:
        try:
            theirs.send((make(), ""))
        except BaseException:
            theirs.send((None, traceback.format_exc()))

    process = _fork.Process(target=work, daemon=True)
    process.start()
    theirs.close()
    made, problem = ours.recv()
    process.join()
    if problem:
        raise RuntimeError(problem)
    return made


def _start(target: Target, seeds: list[Case], seed: int, indices: range, log: Path) -> _Worker:
    state = _State()
    state.numbers[0] = indices[0]
    ours, theirs = _fork.Pipe()
    arguments = (target, seeds, seed, indices, state, theirs, str(log))
    process = _fork.Process(target=_serve, args=arguments, daemon=True)
    sys.stdout.flush()
    process.start()
    theirs.close()
    return _Worker(process, ours, state, log, indices, wall_s=time.monotonic())


def _collect(worker: _Worker, target: Target, seeds: list[Case], result: Result, folder: Any, say: Any) -> None:
    with contextlib.suppress(EOFError, OSError):
        while worker.pipe.poll():
            message = worker.pipe.recv()
            if isinstance(message, Finding):
                _record(message, target, seeds, result, folder, say)
            else:
                result.refusals += message


def _rest_after_end(
    worker: _Worker, target: Target, seeds: list[Case], result: Result, folder: Any, say: Any, step_cpu_s: float
) -> range | None:
    """The indices that a worker that ended has left; None if it is still running."""
    index = worker.state.numbers[0]
    step = worker.state.step.value.decode(errors="replace")
    if worker.process.exitcode is not None:
        _collect(worker, target, seeds, result, folder, say)
        if worker.process.exitcode == 0:
            _count(worker, result, len(worker.indices))
            return range(0)
        code = worker.process.exitcode
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        text = f"{how} in step {step}\n{worker.log.read_text(errors='replace')[-3000:]}"
        _record(Finding(index, "crash", f"crash {how} in {step}", text), target, seeds, result, folder, say)
    else:
        mark = (index, worker.state.numbers[1])
        cpu_s, now_s = _cpu_s(worker.process.pid), time.monotonic()
        if mark != worker.mark:
            worker.mark, worker.cpu_s, worker.wall_s = mark, cpu_s, now_s
            return None
        spent = f"{cpu_s - worker.cpu_s:.0f} s of processor time, {now_s - worker.wall_s:.0f} s"
        if cpu_s - worker.cpu_s < step_cpu_s and now_s - worker.wall_s < STEP_S:
            return None
        os.kill(worker.process.pid, signal.SIGABRT)  # faulthandler writes the stack
        worker.process.join(5)
        worker.process.kill()
        worker.process.join()
        kind = "fuzzer" if step == "mutate" else "hang"
        text = f"{spent} in step {step}\n{worker.log.read_text(errors='replace')[-3000:]}"
        _record(Finding(index, kind, f"hang in {step}", text), target, seeds, result, folder, say)
    _count(worker, result, index + 1 - worker.indices[0])
    return range(index + 1, worker.indices.stop)


def _stop(worker: _Worker, result: Result) -> None:
    worker.process.kill()
    worker.process.join()
    _count(worker, result, worker.state.numbers[0] - worker.indices[0])


def _count(worker: _Worker, result: Result, inputs: int) -> None:
    result.inputs += inputs
    result.accepted += worker.state.numbers[2]
    result.refused += worker.state.numbers[3]


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _record(finding: Finding, target: Target, seeds: list[Case], result: Result, folder: Path | None, say: Any) -> None:
    result.findings[finding.signature] += 1
    if finding.signature in result.first:
        return
    result.first[finding.signature] = finding
    say(f"{target.name} seed {result.seed} input {finding.index}: {finding.signature}")
    if folder is not None:
        place = folder / f"{target.name}-{result.seed}-{finding.index}"
        with contextlib.suppress(Exception):
            case_at(target, seeds, result.seed, finding.index)[0].write(place)
        place.mkdir(parents=True, exist_ok=True)
        about = {"target": target.name, "seed": result.seed, "index": finding.index, "kind": finding.kind}
        (place / "finding.txt").write_text(f"{json.dumps(about)}\n{finding.text}\n", errors="backslashreplace")

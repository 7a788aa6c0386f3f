"""Run ``soundmark ARGUMENTS...`` and kill it at a given point: ``python faulty_soundmark.py ARGUMENTS...``.

``KILL`` is ``point:n:signal:whom``: the n-th time that ``point`` is passed, ``signal`` goes to ``whom``, once.

    whom     run: the command's own process · here: the process that passes the point, a worker perhaps · group: all
    point    features       the first chunk is about to be computed
             clip           a clip was computed, in a worker
             rows           half of a chunk's rows stand in the array, in a worker
             chunk          a chunk was computed, and noted in the journal
             batch          a batch was trained on
             export         a trained network became a graph
             half FILE      half of FILE's bytes stand in its temporary file, or, of the journal, of its line
             written FILE   all of them do, and it has not been renamed
             renamed FILE   it has

``RUN`` is the folder of the output. ``WORK`` is a file that gets a line for every clip computed, batch trained and
graph exported, in all processes; ``WORK.begun`` appears once the command listens to signals, ``WORK.killed`` when it is
killed. ``CHUNK`` is the size of a chunk. ``CORE`` holds all of it to one processor: there two runs at once do not wait
for one another, nor two threads of one run. Workers are spawned, and import this file as their main module: the faults
are theirs too.
"""

import os
import re
import signal
import time
from contextlib import suppress
from functools import wraps
from multiprocessing import parent_process
from pathlib import Path

from soundmark.datasets import feature_store, features
from soundmark.runtime import parallel

if "CORE" in os.environ:
    os.sched_setaffinity(0, {int(os.environ["CORE"])})
POINT, N, SIGNAL, WHOM = os.environ.get("KILL", ":0:SIGKILL:run").split(":")
WORK = Path(os.environ.get("WORK", os.devnull))
CHUNK = int(os.environ.get("CHUNK", feature_store.CHUNK))
passed, unit = 0, ""


def reach(point: str) -> None:
    """Pass ``point``; where it is the one, for the n-th time, do as ``KILL`` says and wait for it to take effect."""
    global passed
    passed += point == POINT
    if point != POINT or passed != int(N):
        return
    with suppress(FileExistsError):  # two workers pass the same points
        Path(os.environ["WORK"] + ".killed").touch(exist_ok=False)
        number, parent = signal.Signals[SIGNAL], parent_process()
        if WHOM == "group":
            os.killpg(os.getpgrp(), number)
        elif WHOM == "run" and parent:
            os.kill(parent.pid, number)
            if SIGNAL == "SIGKILL":
                signal.pause()  # a worker ends with its parent, and this one does not go on before
        else:
            os.kill(os.getpid(), number)


def note(line: str) -> None:
    """Add a line to the account of the work done, in one write."""
    handle = os.open(WORK, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


# --- Files: half written, written, renamed ----------------------------------------------------------------------------


def final_name(path: Path) -> str | None:
    """What a temporary file of ``atomic.whole`` will be called."""
    found = re.fullmatch(r"\.(.+)\.\d+\.part", path.name)
    return found and found[1]


def in_halves(write_bytes):
    @wraps(write_bytes)
    def written(self: Path, data: bytes) -> int:
        if name := final_name(self):
            write_bytes(self, data[: len(data) // 2])
            reach(f"half {name}")
        result = write_bytes(self, data)
        if name:
            reach(f"written {name}")
        return result

    return written


def watched(replace):
    @wraps(replace)
    def replaced(self: Path, target: Path) -> Path:
        result = replace(self, target)
        if name := final_name(self):
            reach(f"renamed {name}")
        return result

    return replaced


class InHalves:
    """A file that is open, and into which whatever is written goes in halves."""

    def __init__(self, file, point: str) -> None:
        self.file, self.point = file, point

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str):
        return getattr(self.file, name)

    def write(self, content) -> None:
        half = len(content) // 2
        self.file.write(content[:half])
        self.file.flush()
        reach(self.point)
        self.file.write(content[half:])


def opening(opened):
    points = {("features.npy", "r+b"): "rows", ("journal.jsonl", "a"): "half journal.jsonl"}

    @wraps(opened)
    def opener(self: Path, mode: str = "r", *rest, **options):
        file = opened(self, mode, *rest, **options)
        point = points.get((self.name, mode))
        return InHalves(file, point) if point else file

    return opener


# --- Features ---------------------------------------------------------------------------------------------------------


def counted(heard):
    @wraps(heard)
    def computed(clip, representation):
        result = heard(clip, representation)
        time.sleep(0.02)  # so that the parent notes a chunk long before the next one is done, however busy the machine
        note(f"clip {representation.name} {clip.path.name}")
        reach("clip")
        return result

    return computed


def told(each):
    @wraps(each)
    def yielded(*arguments, **options):
        reach("features")
        for result in each(*arguments, **options):
            yield result
            reach("chunk")

    return yielded


# --- Training ---------------------------------------------------------------------------------------------------------


def with_training(make):
    @wraps(make)
    def made(*arguments, **options):
        from soundmark.training import loop, onnx_export  # not before: what is killed earlier needs no torch

        if not hasattr(loop.train_network, "__wrapped__"):
            loop.train_network = by_batch(loop.train_network)
            onnx_export.export_network = exported(onnx_export.export_network)
        return make(*arguments, **options)

    return made


def by_batch(train):
    @wraps(train)
    def trained(*arguments, checkpoint, on_batch, **options):
        global unit
        unit = checkpoint.parent.relative_to(os.environ["RUN"]).as_posix()

        def batch(done: int, total: int) -> None:
            note(f"batch {unit} {done} of {total}")
            on_batch(done, total)
            reach("batch")

        return train(*arguments, checkpoint=checkpoint, on_batch=batch, **options)

    return trained


def exported(export_graph):
    @wraps(export_graph)
    def graph(*arguments):
        result = export_graph(*arguments)
        note(f"export {unit}")
        reach("export")
        return result

    return graph


def announced(app):
    @wraps(app)
    def begun(*arguments, **options):
        Path(f"{WORK}.begun").touch()
        return app(*arguments, **options)

    return begun


feature_store.CHUNK = features.CHUNK = CHUNK
features._read_and_compute = counted(features._read_and_compute)
Path.open = opening(Path.open)
if __name__ == "__main__":
    from soundmark import cli
    from soundmark.cli import commands
    from soundmark.evaluation import comparison, plan
    from soundmark.training import single_model

    parallel.map_unordered = told(parallel.map_unordered)
    Path.write_bytes = in_halves(Path.write_bytes)
    Path.replace = watched(Path.replace)
    comparison.train_unit = single_model.train_unit = with_training(comparison.train_unit)
    plan._seconds_per_example = lambda *_: 1e-3  # what is told of the cost is no part of this
    commands.app = announced(commands.app)
    cli.main()

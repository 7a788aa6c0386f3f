"""Run ``soundmark ARGUMENTS...`` and kill it at a given point: ``python faulty_soundmark.py ARGUMENTS...``.

It is controlled by environment variables. ``KILL`` is ``point:n:signal:target``: when ``point`` is passed for the n-th
time, ``signal`` is sent to ``target``, once.

    target   run: the main process of the command
             self: the process that passes the point, which may be a worker
             group: all processes
    point    features       before the first chunk of features is computed
             clip           after the features of a clip are computed, in a worker
             rows           after half of a chunk's rows are written to the array, in a worker
             chunk          after a chunk is computed and added to the journal
             batch          after a training batch
             export         after a trained network is exported to a graph
             half FILE      after half of FILE's bytes are written to its temporary file (of the journal: half a line)
             written FILE   after all of its bytes are written, before it is renamed
             renamed FILE   after it is renamed

``RUN`` is the output folder. ``WORK`` is a log file: all processes add a line for every clip, training batch and
export. The file ``WORK.started`` is created when the command handles signals, ``WORK.killed`` when the signal is sent.
``CHUNK`` is the number of clips in a chunk. ``CORE`` pins all processes to one core, so that the threads of two runs,
or of one, do not wait for each other. Workers are spawned and import this file as their main module, so they have the
same faults.
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
POINT, N, SIGNAL, TARGET = os.environ.get("KILL", ":0:SIGKILL:run").split(":")
WORK = Path(os.environ.get("WORK", os.devnull))
CHUNK = int(os.environ.get("CHUNK", feature_store.CHUNK))
times_passed, unit = 0, ""


def reach(point: str) -> None:
    """Pass ``point``; if it is the point of ``KILL``, for the n-th time, send the signal and wait for its effect."""
    global times_passed
    times_passed += point == POINT
    if point != POINT or times_passed != int(N):
        return
    with suppress(FileExistsError):  # two workers pass the same points
        Path(os.environ["WORK"] + ".killed").touch(exist_ok=False)
        number, parent = signal.Signals[SIGNAL], parent_process()
        if TARGET == "group":
            os.killpg(os.getpgrp(), number)
        elif TARGET == "run" and parent:
            os.kill(parent.pid, number)
            if SIGNAL == "SIGKILL":
                signal.pause()  # do nothing until this worker ends with its parent
        else:
            os.kill(os.getpid(), number)


def log_work(line: str) -> None:
    """Add a line to the log of the work done, in a single write, as several processes do so."""
    handle = os.open(WORK, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


# --- Files: half written, written, renamed ----------------------------------------------------------------------------


def final_name(path: Path) -> str | None:
    """The name that a temporary file will be renamed to; None for any other file."""
    match = re.fullmatch(r"\.(.+)\.\d+\.part", path.name)
    return match and match[1]


def patched_write_bytes(write_bytes):
    @wraps(write_bytes)
    def write_in_halves(self: Path, data: bytes) -> int:
        if name := final_name(self):
            write_bytes(self, data[: len(data) // 2])
            reach(f"half {name}")
        result = write_bytes(self, data)
        if name:
            reach(f"written {name}")
        return result

    return write_in_halves


def patched_replace(replace):
    @wraps(replace)
    def replace_and_reach(self: Path, target: Path) -> Path:
        result = replace(self, target)
        if name := final_name(self):
            reach(f"renamed {name}")
        return result

    return replace_and_reach


class HalvesWriter:
    """An open file that writes everything in two halves, and passes ``point`` between them."""

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


def patched_open(open_path):
    points = {("features.npy", "r+b"): "rows", ("journal.jsonl", "a"): "half journal.jsonl"}

    @wraps(open_path)
    def open_with_point(self: Path, mode: str = "r", *rest, **options):
        file = open_path(self, mode, *rest, **options)
        point = points.get((self.name, mode))
        return HalvesWriter(file, point) if point else file

    return open_with_point


# --- Features ---------------------------------------------------------------------------------------------------------


def patched_compute(compute):
    @wraps(compute)
    def compute_and_log(clip, representation):
        result = compute(clip, representation)
        time.sleep(0.02)  # lets the parent add a chunk to the journal before the next is done, on a busy machine too
        log_work(f"clip {representation.name} {clip.path.name}")
        reach("clip")
        return result

    return compute_and_log


def patched_map(map_function):
    @wraps(map_function)
    def map_with_points(*arguments, **options):
        reach("features")
        for result in map_function(*arguments, **options):
            yield result
            reach("chunk")

    return map_with_points


# --- Training ---------------------------------------------------------------------------------------------------------


def patched_train_unit(train_unit):
    @wraps(train_unit)
    def train_patched_unit(*arguments, **options):
        from soundmark.training.epochs import (  # imported late: runs killed before training need no torch
            loop,
            onnx_export,
        )

        if not hasattr(loop.train_network, "__wrapped__"):
            loop.train_network = patched_train_network(loop.train_network)
            onnx_export.export_network = patched_export(onnx_export.export_network)
        return train_unit(*arguments, **options)

    return train_patched_unit


def patched_train_network(train_network):
    @wraps(train_network)
    def train_and_log(*arguments, checkpoint, on_batch, **options):
        global unit
        unit = checkpoint.parent.relative_to(os.environ["RUN"]).as_posix()

        def on_batch_and_log(done: int, total: int) -> None:
            log_work(f"batch {unit} {done} of {total}")
            on_batch(done, total)
            reach("batch")

        return train_network(*arguments, checkpoint=checkpoint, on_batch=on_batch_and_log, **options)

    return train_and_log


def patched_export(export_network):
    @wraps(export_network)
    def export_and_log(*arguments):
        result = export_network(*arguments)
        log_work(f"export {unit}")
        reach("export")
        return result

    return export_and_log


def patched_app(app):
    @wraps(app)
    def app_with_started_file(*arguments, **options):
        Path(f"{WORK}.started").touch()
        return app(*arguments, **options)

    return app_with_started_file


feature_store.CHUNK = features.CHUNK = CHUNK
features._read_and_compute = patched_compute(features._read_and_compute)
Path.open = patched_open(Path.open)
if __name__ == "__main__":
    from soundmark import cli
    from soundmark.cli import commands
    from soundmark.evaluation import comparison, plan
    from soundmark.training import single_model

    parallel.map_unordered = patched_map(parallel.map_unordered)
    Path.write_bytes = patched_write_bytes(Path.write_bytes)
    Path.replace = patched_replace(Path.replace)
    comparison.train_unit = single_model.train_unit = patched_train_unit(comparison.train_unit)
    plan._seconds_per_example = lambda *_: 1e-3  # skips the measurement; the estimate is not tested here
    commands.app = patched_app(commands.app)
    cli.main()

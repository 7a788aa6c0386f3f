"""A data set × any ``samples → array`` to one memory-mapped array on disk: built in parallel, resumable, checked.

A store is a folder in the user's cache directory (or where ``SOUNDMARK_CACHE`` points):

    features.npy     float32 [clips, freq, time], in the data set's order; zeros where a clip could not be read
    journal.jsonl    a line per finished chunk of clips: its number, checksum, failures and seconds
    key.json         what the store was made from

The key covers the representation with its parameters and every clip's path, size, modification time and cut. Where it
no longer fits, the store is made anew; where a chunk's checksum no longer fits, that chunk is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from soundmark import atomic, audio, workers
from soundmark.datasets import Clip, Dataset, Skipped
from soundmark.errors import AudioError, OutputError
from soundmark.spectrograms import Representation
from soundmark.workers import Progress

SCHEMA = 1
CHUNK = 32  # clips that one worker takes at a time


@dataclass(frozen=True, kw_only=True)
class Features:
    """What a store holds."""

    array: np.ndarray  # float32 [clips, freq, time], memory-mapped, read-only
    usable: np.ndarray  # bool [clips]: whether the clip could be read
    skipped: tuple[Skipped, ...]  # those that could not, with the reason
    seconds: float  # what it took to build, all runs together
    built: int  # clips computed by this call; 0: all were there
    checksum: str  # of the numbers themselves: the same wherever the same files give the same features
    folder: Path


@dataclass(frozen=True)
class _Chunk:
    """What a worker says of a finished chunk; a line of the journal."""

    number: int
    checksum: int
    failures: dict[int, str]  # clip → reason
    seconds: float


def cache_folder() -> Path:
    """Where stores stand: ``SOUNDMARK_CACHE``, or the user's cache directory by the custom of the system.

    >>> cache_folder() == folder / "cache"  # the examples run with SOUNDMARK_CACHE
    True
    """
    if given := os.environ.get("SOUNDMARK_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "soundmark" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "soundmark"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "soundmark"


def build(
    dataset: Dataset,
    representation: Representation,
    *,
    jobs: int | None = None,
    fresh: bool = False,
    progress: Progress = workers.silent,
) -> Features:
    """The features of every clip of ``dataset``: read from the store, or computed into it.

    A clip that cannot be read is named in ``skipped`` and its row is zeros; the others are done. A killed call is gone
    on with by the next one.

    Raises:
        OutputError: the cache directory cannot be written.

    >>> from soundmark.spectrograms import Mel
    >>> store = build(city, Mel(), jobs=1)
    >>> store.array.shape, store.built, build(city, Mel()).built
    ((60, 64, 64), 60, 0)
    """
    folder = _folder(dataset, representation)
    with _only_one(folder, progress):
        _prepare(folder, _key(dataset, representation), (len(dataset.clips), *representation.shape), fresh)
        finished = _finished(folder)
        missing = [n for n in range(-(-len(dataset.clips) // CHUNK)) if n not in finished]
        todo = [_Task(folder, representation, n, dataset.clips[n * CHUNK : (n + 1) * CHUNK]) for n in missing]
        report = partial(progress, f"{representation.name} features")
        finished |= _compute(folder, todo, jobs, report, len(dataset.clips))
        array = np.load(folder / "features.npy", mmap_mode="r")
    failures = {clip: reason for chunk in finished.values() for clip, reason in chunk.failures.items()}
    usable = np.ones(len(dataset.clips), bool)
    usable[list(failures)] = False
    return Features(
        array=array,
        usable=usable,
        skipped=tuple(Skipped(dataset.relative_path(dataset.clips[i]), failures[i]) for i in sorted(failures)),
        seconds=sum(chunk.seconds for chunk in finished.values()),
        built=sum(len(task.clips) for task in todo),
        checksum=_checksum(finished),
        folder=folder,
    )


def spectrogram(clip: Clip, representation: Representation) -> np.ndarray:
    """The float32 ``[freq, time]`` of one clip, as a store holds it.

    Raises:
        AudioError: the clip cannot be read.

    >>> from soundmark.spectrograms import Mel
    >>> spectrogram(city.clips[0], Mel()).shape
    (64, 64)
    """
    sound = audio.read(clip.path, start_s=clip.start_s, stop_s=clip.stop_s)
    try:
        return representation(sound.samples, sound.rate_hz)
    except AudioError as error:
        raise AudioError(f'"{clip.path.name}": {error}') from error


@dataclass(frozen=True)
class _Task:
    folder: Path
    representation: Representation
    number: int
    clips: tuple[Clip, ...]


def _compute_chunk(task: _Task) -> _Chunk:
    """Compute one chunk straight into the store's array; only the journal's line travels back."""
    start = time.perf_counter()
    array = np.zeros((len(task.clips), *task.representation.shape), np.float32)
    failures: dict[int, str] = {}
    for row, clip in enumerate(task.clips):
        try:
            array[row] = spectrogram(clip, task.representation)
        except AudioError as error:
            failures[task.number * CHUNK + row] = str(error)
    store = np.load(task.folder / "features.npy", mmap_mode="r+")
    store[task.number * CHUNK :][: len(array)] = array
    store.flush()
    return _Chunk(task.number, zlib.crc32(array.data), failures, time.perf_counter() - start)


def _compute(folder: Path, todo: list[_Task], jobs: int | None, progress: Any, total: int) -> dict[int, _Chunk]:
    """Compute the chunks of ``todo`` and note each in the journal as it is done."""
    computed: dict[int, _Chunk] = {}
    if not todo:
        return computed
    done = total - sum(len(task.clips) for task in todo)
    progress(done, total, "clips")
    started, accounted = time.perf_counter(), 0.0
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
        for index, chunk in workers.each(_compute_chunk, todo, jobs=jobs):
            # What it took is told as wall time, shared out over the chunks, whatever the number of processes.
            elapsed = time.perf_counter() - started
            chunk, accounted = _Chunk(chunk.number, chunk.checksum, chunk.failures, elapsed - accounted), elapsed
            journal.write(json.dumps(vars(chunk)) + "\n")
            journal.flush()
            computed[chunk.number] = chunk
            done += len(todo[index].clips)
            progress(done, total, "clips")
    return computed


def _finished(folder: Path) -> dict[int, _Chunk]:
    """The chunks that the journal names, whose checksum the array still has, and in which no clip failed.

    A chunk with a failure is tried again: a file's permissions, or the network disk, may be as they should by now.
    """
    array = np.load(folder / "features.npy", mmap_mode="r")
    chunks = {}
    for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            failures = {int(clip): reason for clip, reason in entry["failures"].items()}
            chunk = _Chunk(entry["number"], entry["checksum"], failures, entry["seconds"])
        except (ValueError, KeyError, TypeError):
            continue  # a line that a kill, or a bad disk, cut short: its chunk is computed again
        rows = array[chunk.number * CHUNK : (chunk.number + 1) * CHUNK]
        if len(rows) and not failures and zlib.crc32(np.ascontiguousarray(rows).data) == chunk.checksum:
            chunks[chunk.number] = chunk
    return chunks


def _checksum(chunks: dict[int, _Chunk]) -> str:
    content = [(number, chunks[number].checksum, sorted(chunks[number].failures)) for number in sorted(chunks)]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _prepare(folder: Path, key: dict[str, Any], shape: tuple[int, ...], fresh: bool) -> None:
    """Make ``folder`` a store of ``key``: keep one that is, clear away anything else."""
    if not fresh and _holds(folder, key, shape):
        return
    try:
        for file in folder.glob("*.*"):
            if file.name != ".lock":
                file.unlink()
        _check_room(folder, 4 * int(np.prod(shape)))
        np.lib.format.open_memmap(folder / "features.npy", mode="w+", dtype=np.float32, shape=shape).flush()
        (folder / "journal.jsonl").touch()
    except OSError as error:
        raise atomic.cannot_write(folder, error) from error
    atomic.write_text(folder / "key.json", json.dumps(key))  # last: a store without its key is not one


def _holds(folder: Path, key: dict[str, Any], shape: tuple[int, ...]) -> bool:
    try:
        same = json.loads((folder / "key.json").read_text(encoding="utf-8")) == key
        array = np.load(folder / "features.npy", mmap_mode="r")
        return bool(same and array.shape == shape and array.dtype == np.float32 and (folder / "journal.jsonl").exists())
    except (OSError, ValueError):
        return False


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + 50_000_000:
        raise OutputError(
            f'the features need {size / 1e6:.0f} MB and "{folder}" has {free / 1e6:.0f} MB free. Free some, or set '
            "SOUNDMARK_CACHE to a folder with more room."
        )


def _folder(dataset: Dataset, representation: Representation) -> Path:
    """One folder per data set and representation, so that a changed data set replaces its own store."""
    identity = json.dumps([str(dataset.root.resolve()), dataset.name, representation.settings(), SCHEMA])
    name = f"{dataset.name}-{representation.name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    return atomic.make_folder(cache_folder() / "features" / name)


def _key(dataset: Dataset, representation: Representation) -> dict[str, Any]:
    digest = hashlib.sha256()
    for clip in dataset.clips:
        try:
            found = clip.path.stat()
            stamp = (found.st_size, found.st_mtime_ns)
        except OSError:
            stamp = (-1, -1)  # it went since the data set was opened: reading it will say so
        digest.update(repr((dataset.relative_path(clip), *stamp, clip.start_s, clip.stop_s)).encode())
    return {
        "schema": SCHEMA,
        "representation": representation.settings(),
        "version": representation.version,
        "clips": digest.hexdigest(),
        "dataset": str(dataset.root.resolve()),
    }


@contextmanager
def _only_one(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the store's lock; wait for another run that is building the same features, and say so."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("waiting for another run, which is building the same features", 0, 0, "")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

"""A data set × any ``samples → array`` to one array on disk: built in parallel, resumable, checked.

The stores stand in the user's cache directory, or where ``SOUNDMARK_CACHE`` points. A store's key covers the
representation with its parameters and every clip's path, size, modification time and cut.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from soundmark import audio
from soundmark.datasets.dataset import Clip, Dataset, Skipped
from soundmark.datasets.feature_store import CHUNK, REMEDY, Chunk, Rows, Store
from soundmark.errors import AudioError
from soundmark.runtime import atomic, parallel
from soundmark.runtime.cache import cache_folder
from soundmark.runtime.locks import exclusive
from soundmark.runtime.progress import Progress, no_progress
from soundmark.spectrograms import Representation

log = logging.getLogger("soundmark")


SCHEMA = 3


WAITING = "waiting for another run, which is building the same features"
NAMED = 5  # sounds that a warning names


@dataclass(frozen=True, kw_only=True, repr=False)
class Features:
    """What a store holds."""

    array: Rows  # float32 [clips, freq, time], on the disk; zeros where a clip could not be read
    usable: np.ndarray  # bool [clips]: whether the clip could be read
    skipped: tuple[Skipped, ...]  # those that could not, with the reason
    notes: tuple[str, ...]  # of those that were heard in part only
    seconds: float  # what it took to build, all runs together
    built: int  # clips computed by this call; 0: all were there
    checksum: str  # of the numbers themselves: the same wherever the same files give the same features
    folder: Path

    def __repr__(self) -> str:
        return f"Features(array={list(self.array.shape)}, skipped={len(self.skipped)}, checksum={self.checksum!r})"


def build(
    dataset: Dataset,
    representation: Representation,
    *,
    jobs: int | None = None,
    fresh: bool = False,
    progress: Progress = no_progress,
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
    clips = dataset.clips
    store = Store(folder, _key(dataset, representation), (len(clips), *representation.shape))
    with exclusive(folder, on_wait=partial(progress, WAITING, 0, 0, ""), remedy=REMEDY):
        store.lay_out(fresh=fresh)
        finished = store.finished()
        missing = [number for number in range(-(-len(clips) // CHUNK)) if number not in finished]
        todo = [_Task(store, representation, n, clips[n * CHUNK : (n + 1) * CHUNK]) for n in missing]
        finished |= _compute(store, todo, jobs, partial(progress, f"{representation.name} features"))
        array = store.rows()
    failures = {clip: reason for chunk in finished.values() for clip, reason in chunk.failures.items()}
    usable = np.ones(len(clips), bool)
    usable[list(failures)] = False
    return Features(
        array=array,
        usable=usable,
        skipped=tuple(Skipped(dataset.relative_path(clips[i]), failures[i]) for i in sorted(failures)),
        notes=tuple(note for number in sorted(finished) for note in finished[number].notes),
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
    return _read_and_compute(clip, representation)[0]


def warn_incomplete(notes: Iterable[str]) -> None:
    """Say of which sounds only a part was heard, the first few by name; each once.

    >>> warn_incomplete(['"street.wav" is cut off. What is there was heard.'])
    """
    told = list(dict.fromkeys(notes))
    for note in told[:NAMED]:
        log.warning("%s", note)
    if len(told) > NAMED:
        log.warning("%d more sounds were heard in part only: `soundmark inspect` names them all", len(told) - NAMED)


def warn_left_out(skipped: Sequence[Skipped]) -> None:
    """Name the clips that could not be read in one warning, the first few of them with the reason.

    >>> warn_left_out([Skipped("dog/1.wav", "it holds no samples")])
    """
    if not skipped:
        return
    named = "; ".join(f'"{item.path}": {item.reason}' for item in skipped[:NAMED])
    more = len(skipped) - NAMED
    log.warning(
        "%d %s left out, as %s cannot be read: %s%s",
        len(skipped),
        "clip is" if len(skipped) == 1 else "clips are",
        "it" if len(skipped) == 1 else "they",
        named,
        f"; and {more} more, which `soundmark inspect` names" if more > 0 else "",
    )


def _read_and_compute(clip: Clip, representation: Representation) -> tuple[np.ndarray, str]:
    """A clip's spectrogram, and what to say of it: "" where all of it was there."""
    sound = audio.read(clip.path, start_s=clip.start_s, stop_s=clip.stop_s)
    try:
        array = representation(sound.samples, sound.rate_hz)
    except AudioError as error:
        raise AudioError(f'"{clip.path.name}": {error}') from error
    return array, audio.incomplete_note(str(clip.path), sound.note) if sound.note else ""


@dataclass(frozen=True)
class _Task:
    store: Store
    representation: Representation
    number: int
    clips: tuple[Clip, ...]


def _compute_chunk(task: _Task) -> Chunk:
    """Compute one chunk straight into the store; only the journal's line travels back."""
    start = time.perf_counter()
    array = np.zeros((len(task.clips), *task.representation.shape), np.float32)
    failures: dict[int, str] = {}
    notes = []
    for row, clip in enumerate(task.clips):
        try:
            array[row], note = _read_and_compute(clip, task.representation)
            notes += [note] if note else []
        except AudioError as error:
            failures[task.number * CHUNK + row] = str(error)
    checksum = task.store.write(task.number, array)
    return Chunk(task.number, checksum, failures, notes, time.perf_counter() - start)


def _compute(store: Store, todo: list[_Task], jobs: int | None, progress: Any) -> dict[int, Chunk]:
    """Compute the chunks of ``todo`` and note each in the journal as it is done."""
    computed: dict[int, Chunk] = {}
    if not todo:
        return computed
    total = store.shape[0]
    done = total - sum(len(task.clips) for task in todo)
    progress(done, total, "clips")
    started, accounted = time.perf_counter(), 0.0
    for index, chunk in parallel.map_unordered(_compute_chunk, todo, jobs=jobs):
        # What it took is told as wall time, shared out over the chunks, whatever the number of processes.
        elapsed = time.perf_counter() - started
        chunk, accounted = replace(chunk, seconds=elapsed - accounted), elapsed
        store.note(chunk)
        computed[chunk.number] = chunk
        done += len(todo[index].clips)
        progress(done, total, "clips")
    return computed


def _checksum(chunks: dict[int, Chunk]) -> str:
    content = [(number, chunks[number].checksum, sorted(chunks[number].failures)) for number in sorted(chunks)]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _folder(dataset: Dataset, representation: Representation) -> Path:
    """One folder per data set and representation, so that a changed data set replaces its own store."""
    identity = json.dumps([str(dataset.root.resolve()), dataset.name, representation.settings(), SCHEMA])
    name = f"{dataset.name}-{representation.name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    return atomic.make_folder(cache_folder() / "features" / name, REMEDY)


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

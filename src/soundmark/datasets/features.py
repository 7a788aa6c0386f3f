"""Features of a data set: one array on disk per extractor, computed in parallel, resumable and checksummed.

An extractor is a representation, such as a mel spectrogram, or any other conversion of a sound to an array of a fixed
shape, such as the embeddings of a network.

The feature stores are in the user's cache directory or in the folder that ``SOUNDMARK_CACHE`` names. The key of a store
contains the extractor's settings, and each clip's path, file size, modification time, start and stop.

A row of the array is a window of a clip (``clip_windows``). Extractors that resize any sound to one size (the
notebook's representations) use each clip as a whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from soundmark import audio
from soundmark.datasets import feature_store
from soundmark.datasets.clip import length_s
from soundmark.datasets.clip_windows import ClipWindows, cut_clips, whole_clips
from soundmark.datasets.dataset import Clip, Dataset, Skipped
from soundmark.datasets.feature_store import CHUNK, REMEDY, Chunk, Rows, Store
from soundmark.datasets.inspection import SoundMeasure, measure, sound_warnings
from soundmark.errors import AudioError, processing
from soundmark.runtime import atomic, parallel
from soundmark.runtime.cache import cache_folder
from soundmark.runtime.locks import exclusive
from soundmark.runtime.parallel import same_files
from soundmark.runtime.parallel.same_files import Found
from soundmark.runtime.progress import Progress, no_progress

log = logging.getLogger("soundmark")


SCHEMA = 3


WAITING = "waiting for another process that is computing the same features"
MAX_LISTED = 5  # files that a warning lists by name


class Extractor(Protocol):
    """Converts sounds to arrays of one shape."""

    @property
    def name(self) -> str:
        """The name in messages and of the folder of the store."""

    @property
    def version(self) -> int:
        """A number that is increased when the same settings give different features."""

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the features of a sound."""

    @property
    def real_time(self) -> bool:
        """Whether the features of a longer sound would be other ones, so that long clips are cut into windows."""

    def settings(self) -> dict[str, Any]:
        """Return what the features depend on, as JSON values."""

    def __call__(self, samples: np.ndarray, rate_hz: int) -> np.ndarray:
        """Convert mono samples [n] to float32 features of ``shape``."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Features:
    """The features of a data set, as read from its store."""

    array: Rows  # float32 [windows, *shape], on disk; zeros for windows that could not be read
    windows: ClipWindows  # the rows of ``array``: one for each clip, unless clips were cut into windows
    readable: np.ndarray  # bool [windows]: whether the window could be read
    usable: np.ndarray  # bool [clips]: whether a window of the clip could be read
    skipped: tuple[Skipped, ...]  # clips that could not be read, with the reason
    notes: tuple[str, ...]  # notes on files that were decoded only in part
    seconds: float  # total computing time, over all runs
    built: int  # number of clips computed by this call; 0: all were stored
    sounds: tuple[SoundMeasure | None, ...]  # digest and level of each window; None if it was not measured
    checksum: str  # of the feature values, identical on every machine that computes the same values
    folder: Path

    def __repr__(self) -> str:
        return f"Features(array={list(self.array.shape)}, skipped={len(self.skipped)}, checksum={self.checksum!r})"

    def rows(self, clips: np.ndarray) -> np.ndarray:
        """Return the rows of the readable windows of ``clips``, int64 indices, in the order of ``clips``.

        >>> from soundmark.spectrograms import Mel
        >>> build(city, Mel(), jobs=1).rows(np.array([3, 1]))
        array([3, 1])
        """
        found = self.windows.rows(clips)
        return found[self.readable[found]]


def build(
    dataset: Dataset,
    extractor: Extractor,
    *,
    window_s: float | None = None,
    jobs: parallel.Jobs = None,
    fresh: bool = False,
    progress: Progress = no_progress,
) -> Features:
    """Return the features of every clip of ``dataset``: read from the store, or computed and stored.

    With ``window_s``, clips longer than 1.05 windows are cut into windows, a row for each, if the time axis of the
    extractor is real time; one that resizes any sound uses each clip as a whole.

    A clip that cannot be read is listed in ``skipped`` and its row is zeros; the other clips are unaffected. After an
    interruption, the next call resumes with the unfinished chunks.

    Raises:
        OutputError: the cache directory cannot be written.

    >>> from soundmark.spectrograms import Mel
    >>> store = build(city, Mel(), jobs=1)
    >>> store.array.shape, store.built, build(city, Mel()).built
    ((60, 64, 64), 60, 0)
    """
    folder, files = _folder(dataset, extractor), _file_stamps(dataset.clips)
    digest = _digest(dataset, files)
    with exclusive(folder, on_wait=partial(progress, WAITING, 0, 0, ""), remedy=REMEDY):
        if window_s and extractor.real_time:
            windows = _cut(dataset, window_s, folder, digest, fresh=fresh)
        else:
            windows = whole_clips(dataset)
        clips = windows.windows.clips
        digest = _digest(windows.windows, files) if windows.n_cut else digest
        store = Store(folder, _key(dataset, extractor, digest), (len(clips), *extractor.shape))
        store.prepare(fresh=fresh)
        finished = store.finished()
        missing = [number for number in range(-(-len(clips) // CHUNK)) if number not in finished]
        todo = [_Task(n, clips[n * CHUNK : (n + 1) * CHUNK]) for n in missing]
        cached = len(clips) - sum(len(task.clips) for task in todo)
        log.debug('%s features: %d of %d clips are cached in "%s"', extractor.name, cached, len(clips), folder)
        finished |= _compute(store, extractor, todo, jobs, partial(progress, f"{extractor.name} features"))
        array = store.rows()
    failures = {clip: reason for chunk in finished.values() for clip, reason in chunk.failures.items()}
    readable = np.ones(len(clips), bool)
    readable[list(failures)] = False
    usable = np.bincount(windows.clip_of, readable, len(dataset.clips)) > 0
    first = {int(windows.clip_of[i]): failures[i] for i in sorted(failures, reverse=True)}
    return Features(
        array=array,
        windows=windows,
        readable=readable,
        usable=usable,
        skipped=tuple(
            Skipped(dataset.relative_path(dataset.clips[i]), first[i]) for i in np.flatnonzero(~usable).tolist()
        ),
        notes=tuple(note for number in sorted(finished) for note in finished[number].notes),
        sounds=_sounds(finished, len(clips)),
        seconds=sum(chunk.seconds for chunk in finished.values()),
        built=sum(len(task.clips) for task in todo),
        checksum=_checksum(finished),
        folder=folder,
    )


def spectrogram(clip: Clip, extractor: Extractor) -> np.ndarray:
    """Compute the features of one clip, float32 ``[freq, time]``, identical to those in a store.

    Raises:
        AudioError: the clip cannot be read.

    >>> from soundmark.spectrograms import Mel
    >>> spectrogram(city.clips[0], Mel()).shape
    (64, 64)
    """
    return _read_and_compute(clip, extractor)[0]


def report_windows(stores: Iterable[Features]) -> None:
    """Report how many clips were cut into windows, once if several stores have the same windows.

    >>> from soundmark.spectrograms import Mel
    >>> report_windows([build(city, Mel(), jobs=1)])
    """
    for text in dict.fromkeys(store.windows.describe() for store in stores):
        if text:
            log.warning("%s", text)


def warn_suspicious(dataset: Dataset, store: Features, clips: Iterable[int]) -> None:
    """Warn about identical audio under different labels, classes with one recording, and very quiet clips.

    ``clips`` are the indices of the clips that are used. Silence that is background is no fault.

    >>> from soundmark.spectrograms import Mel
    >>> warn_suspicious(city, build(city, Mel(), jobs=1), range(60))
    """
    measured: dict[int, list[SoundMeasure]] = {}
    for clip, sound in zip(store.windows.clip_of.tolist(), store.sounds, strict=True):
        if sound is not None:
            measured.setdefault(clip, []).append(sound)
    used = [clip for clip in clips if clip in measured]
    sounds = [(dataset.clips[clip], measured[clip]) for clip in used]
    for text in sound_warnings(dataset, sounds):
        log.warning("%s", text)


def warn_longer(dataset: Dataset, name: str) -> None:
    """Warn if clips are longer than the window that spectrograms of the representation ``name`` cover.

    >>> warn_longer(city, "logmel")
    """
    n_longer = cut_clips(dataset, dataset.window_s).n_cut
    if n_longer:
        log.warning(
            "%s longer than the window of %g s: %s covers only the middle of %s. "
            "Dataset.windows() cuts clips into windows",
            "a clip is" if n_longer == 1 else f"{n_longer} of {len(dataset.clips)} clips are",
            dataset.window_s,
            name,
            "it" if n_longer == 1 else "each",
        )


def warn_incomplete(notes: Iterable[str]) -> None:
    """Warn of files that were decoded only in part: the first ``MAX_LISTED`` individually, without duplicates.

    >>> warn_incomplete(['"street.wav" is truncated. The decodable part was analysed.'])
    """
    unique = list(dict.fromkeys(notes))
    for note in unique[:MAX_LISTED]:
        log.warning("%s", note)
    if len(unique) > MAX_LISTED:
        log.warning("%d more files were decoded only in part: `soundmark inspect` lists them", len(unique) - MAX_LISTED)


def warn_skipped(skipped: Sequence[Skipped]) -> None:
    """Warn once of all clips that could not be read; list the first ``MAX_LISTED`` with the reason.

    >>> warn_skipped([Skipped("dog/1.wav", "it has no samples")])
    """
    if not skipped:
        return
    named = "; ".join(f'"{item.path}": {item.reason}' for item in skipped[:MAX_LISTED])
    more = len(skipped) - MAX_LISTED
    log.warning(
        "%d %s skipped because %s cannot be read: %s%s",
        len(skipped),
        "clip was" if len(skipped) == 1 else "clips were",
        "it" if len(skipped) == 1 else "they",
        named,
        f"; and {more} more, listed by `soundmark inspect`" if more > 0 else "",
    )


def _read_and_compute(clip: Clip, extractor: Extractor) -> tuple[np.ndarray, str, SoundMeasure]:
    """Return a clip's features, a note if its file was decoded only in part, else "", and its digest and level."""
    sound = audio.read(clip.path, start_s=clip.start_s, stop_s=clip.stop_s)
    try:
        array = extractor(sound.samples, sound.rate_hz)
    except AudioError as error:
        raise AudioError(f'"{clip.path.name}": {error}') from error
    note = audio.incomplete_note(str(clip.path), sound.note) if sound.note else ""
    return array, note, measure(sound.samples, sound.rate_hz)


@dataclass(frozen=True)
class _Task:
    number: int
    clips: tuple[Clip, ...]

    @property
    def description(self) -> str:
        return f'"{self.clips[0].path}" and the {len(self.clips) - 1} clips after it'


@dataclass(frozen=True)
class _Computed:
    """A chunk that a worker of an executor computed; ``array`` is not in the store yet."""

    chunk: Chunk
    array: np.ndarray
    found: Found


def _compute_chunk(shared: tuple[Store, Extractor], task: _Task) -> Chunk:
    """Compute one chunk and write it to the store; return only its journal entry, not the array."""
    store, extractor = shared
    chunk, array = _compute_array(extractor, task)
    return replace(chunk, checksum=store.write(task.number, array))


def _compute_remotely(extractor: Extractor, task: _Task) -> _Computed:
    """Compute one chunk on a machine that may have no access to the store."""
    return _Computed(*_compute_array(extractor, task), same_files.find(clip.path for clip in task.clips))


def _compute_array(extractor: Extractor, task: _Task) -> tuple[Chunk, np.ndarray]:
    start = time.perf_counter()
    array = np.zeros((len(task.clips), *extractor.shape), np.float32)
    failures: dict[int, str] = {}
    notes = []
    sounds: list[list[Any]] = [[] for _ in task.clips]
    for row, clip in enumerate(task.clips):
        try:
            with processing(f'"{clip.path}"'):
                array[row], note, measured = _read_and_compute(clip, extractor)
            sounds[row] = [measured.digest, measured.level_dbfs]
            notes += [note] if note else []
        except AudioError as error:
            failures[task.number * CHUNK + row] = str(error)
    return Chunk(task.number, 0, failures, notes, time.perf_counter() - start, sounds), array


def _compute(
    store: Store, extractor: Extractor, todo: list[_Task], jobs: parallel.Jobs, progress: Any
) -> dict[int, Chunk]:
    """Compute the chunks of ``todo``; record each in the journal when it is finished."""
    computed: dict[int, Chunk] = {}
    if not todo:
        return computed
    total = store.shape[0]
    done = total - sum(len(task.clips) for task in todo)
    progress(done, total, "clips")
    started, accounted = time.perf_counter(), 0.0
    for index, chunk in _computed(store, extractor, todo, jobs):
        # The seconds of all chunks add up to the wall time, for any number of processes.
        elapsed = time.perf_counter() - started
        chunk, accounted = replace(chunk, seconds=elapsed - accounted), elapsed
        store.record(chunk)
        computed[chunk.number] = chunk
        done += len(todo[index].clips)
        progress(done, total, "clips")
    return computed


def _computed(
    store: Store, extractor: Extractor, todo: list[_Task], jobs: parallel.Jobs
) -> Iterator[tuple[int, Chunk]]:
    """Yield the index and the journal entry of each chunk of ``todo``, whose array is in the store."""
    if not isinstance(jobs, Executor):
        yield from parallel.map_unordered(_compute_chunk, todo, jobs=jobs, shared=(store, extractor))
        return
    remote = [
        _Task(task.number, tuple(replace(clip, path=clip.path.absolute()) for clip in task.clips)) for task in todo
    ]
    for index, done in parallel.map_unordered(_compute_remotely, remote, jobs=jobs, shared=extractor):
        same_files.check([clip.path for clip in todo[index].clips], done.found)
        checksum = store.write(todo[index].number, done.array)
        yield index, replace(_as_given(todo[index], done.chunk), checksum=checksum)


def _as_given(task: _Task, chunk: Chunk) -> Chunk:
    """Return the entry of a worker's chunk with the paths in its messages as they were given."""

    def text_as_given(text: str) -> str:
        for clip in task.clips:
            text = same_files.as_given(text, clip.path)
        return text

    failures = {row: text_as_given(reason) for row, reason in chunk.failures.items()}
    return replace(chunk, failures=failures, notes=[text_as_given(note) for note in chunk.notes])


def _sounds(chunks: dict[int, Chunk], n: int) -> tuple[SoundMeasure | None, ...]:
    found: list[SoundMeasure | None] = [None] * n
    for chunk in chunks.values():
        for row, values in enumerate(chunk.sounds):
            found[chunk.start + row] = SoundMeasure(*values) if values else None
    return tuple(found)


def _checksum(chunks: dict[int, Chunk]) -> str:
    content = [(number, chunks[number].checksum, sorted(chunks[number].failures)) for number in sorted(chunks)]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _folder(dataset: Dataset, extractor: Extractor) -> Path:
    """Return the store's folder: one per data set and extractor, so a changed data set replaces its old store."""
    identity = json.dumps([str(dataset.root.resolve()), dataset.name, extractor.settings(), SCHEMA])
    name = f"{dataset.name}-{extractor.name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    return atomic.make_folder(cache_folder() / "features" / name, REMEDY)


def _cut(dataset: Dataset, window_s: float, folder: Path, digest: str, *, fresh: bool) -> ClipWindows:
    """Cut the clips into windows; the durations of unchanged files are read from the store, not from their headers."""
    known = None if fresh else feature_store.read_durations(folder, digest, len(dataset.clips))
    found = zip(dataset.clips, known or [None] * len(dataset.clips), strict=True)
    durations = [length_s(clip) if each is None else each for clip, each in found]
    if durations != known:
        feature_store.write_durations(folder, digest, durations)
    return cut_clips(dataset, window_s, durations)


FileStamps = dict[Path, tuple[int, int]]  # size in bytes and time of modification in ns of each file


def _file_stamps(clips: Iterable[Clip]) -> FileStamps:
    """Return the stamps of the files of ``clips``; (−1, −1) for one that was deleted after the data set was opened."""
    stamps: FileStamps = {}
    for path in dict.fromkeys(clip.path for clip in clips):
        try:
            found = os.stat(path)  # noqa: PTH116 - half the time of Path.stat
            stamps[path] = (found.st_size, found.st_mtime_ns)
        except OSError:
            stamps[path] = (-1, -1)  # reported when the clip is read
    return stamps


def _digest(dataset: Dataset, files: FileStamps) -> str:
    """Return a digest of the clips of ``dataset`` and their files."""
    digest = hashlib.sha256()
    for clip in dataset.clips:
        text = repr((dataset.relative_path(clip), *files[clip.path], clip.start_s, clip.stop_s))
        digest.update(text.encode())
    return digest.hexdigest()


def _key(dataset: Dataset, extractor: Extractor, digest: str) -> dict[str, Any]:
    """Return what the features depend on; ``digest`` is that of the windows."""
    return {
        "schema": SCHEMA,
        "representation": extractor.settings(),
        "version": extractor.version,
        "clips": digest,
        "dataset": str(dataset.root.resolve()),
    }

"""Statistics and problems of a data set: every clip is decoded once, in parallel processes.

``inspect`` measures. Definitions:

silent      no sample of the clip exceeds −80 dBFS (dB of full scale)
clipped     three or more consecutive samples of a channel are at full scale (the largest 16-bit value, or the largest
            8-bit value in an 8-bit file)
truncated   the file is shorter than its header declares, or the clip is more than 50 ms shorter than the metadata state
duplicate   two clips have the same mono samples at the same sample rate; silent clips are ignored

In reading order:

    tables  an inspection as text and tables
    figure  an inspection as a figure
"""

from __future__ import annotations

import filecmp
import hashlib
import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundmark import audio
from soundmark.audio import decoding, limits
from soundmark.datasets import description
from soundmark.datasets.dataset import Clip, Dataset, Skipped, with_background
from soundmark.datasets.leakage import recordings_in_names
from soundmark.errors import AudioError, processing
from soundmark.runtime import parallel
from soundmark.runtime.checks import check_jobs
from soundmark.runtime.progress import Progress
from soundmark.runtime.text import counted, listed

if TYPE_CHECKING:
    import pandas as pd

SILENCE_PEAK = 10 ** (-80 / 20)


MAX_NAMED = 5  # classes that a warning names


CLIPPED_SAMPLES = 3  # an unclipped peak at full scale is one or two samples wide


MISSING_S = 0.05


CHUNK = 32  # clips per task, to limit the communication between processes


QUIET_DBFS = -70.0  # a clip with a lower RMS level gives a warning: in 16 bits, fewer than 4 of them are used


MEASURED_SAMPLES = 1 << 22  # at once: squares in float64 take twice the memory of the sound


@dataclass(frozen=True)
class SoundMeasure:
    """A digest of the samples of a sound, and its RMS level in dB of full scale (−inf for digital silence)."""

    digest: str
    level_dbfs: float


def measure(samples: NDArray[np.float32], rate_hz: int) -> SoundMeasure:
    """Measure mono samples [n].

    >>> measure(np.full(8, 0.1, np.float32), 8000).level_dbfs
    -20.0
    """
    digest = hashlib.sha256(rate_hz.to_bytes(8, "little"))
    digest.update(np.ascontiguousarray(samples).data)
    blocks = (samples[at : at + MEASURED_SAMPLES] for at in range(0, len(samples), MEASURED_SAMPLES))
    power = sum(float(np.square(block, dtype=np.float64).sum()) for block in blocks) / max(1, len(samples))
    level = round(10 * math.log10(power), 1) if power > 0 else -math.inf
    return SoundMeasure(digest.hexdigest()[:16], level)


def sound_warnings(dataset: Dataset, sounds: Sequence[tuple[Clip, Sequence[SoundMeasure]]]) -> list[str]:
    """Warn about similar class names, identical audio under different labels, single recordings, and quiet clips.

    ``sounds`` are the clips in use with the measures of their windows. Clips of digital silence are not identical
    audio; clips of background may be quiet.

    >>> clips = [Clip(path=Path(name), label=name[:3]) for name in ("dog1.wav", "cat1.wav", "cat2.wav")]
    >>> data = Dataset(name="pets", root=Path("."), classes=("dog", "cat"), clips=tuple(clips))
    >>> for text in sound_warnings(data, [(clip, [SoundMeasure("same", -20.0)]) for clip in clips[:2]]):
    ...     print(text)
    1 sound has different labels: "dog1.wav" (dog) and "cat1.wav" (cat) are identical. Correct the labels.
    dog and cat have a single recording each: whether other recordings are recognised cannot be learned or tested.
    """
    labels_of: dict[str, dict[str, Clip]] = defaultdict(dict)
    for clip, measures in sounds:
        for one in measures:
            if one.level_dbfs > QUIET_DBFS:
                labels_of[one.digest].setdefault(clip.label, clip)
    conflicts = [list(clips.values()) for clips in labels_of.values() if len(clips) > 1]
    is_quiet = [all(one.level_dbfs < QUIET_DBFS for one in measures) for _, measures in sounds]
    negative = {*dataset.background, ""}  # "": a clip without a class, in multi-label data
    quiet = [clip for (clip, _), low in zip(sounds, is_quiet, strict=True) if low and clip.label not in negative]
    return [
        *_similar_classes(dataset.classes),
        *([_conflict_text(dataset, conflicts)] if conflicts else []),
        *_single_recordings(dataset, [clip for clip, _ in sounds]),
        *([_quiet_text(dataset, quiet)] if quiet else []),
    ]


def _similar_classes(classes: Sequence[str]) -> list[str]:
    """Warn about class names that differ only in upper and lower case."""
    names: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        names[name.casefold()].append(f'"{name}"')
    return [
        f"the classes {listed(same)} differ only in upper and lower case: give them one name if they are one class."
        for same in names.values()
        if len(same) > 1
    ]


def _conflict_text(dataset: Dataset, conflicts: Sequence[Sequence[Clip]]) -> str:
    first, second = (f'"{dataset.relative_path(clip)}" ({clip.label})' for clip in conflicts[0][:2])
    what = f"{counted(len(conflicts), 'sound')} {'has' if len(conflicts) == 1 else 'have'}"
    example = "" if len(conflicts) == 1 else "for example, "
    return f"{what} different labels: {example}{first} and {second} are identical. Correct the labels."


def _single_recordings(dataset: Dataset, clips: Sequence[Clip]) -> list[str]:
    recordings: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        for label in dataset.labels_of(clip):
            recordings[label].add(clip.source or dataset.relative_path(clip))
    single = [label for label in dataset.classes if len(recordings[label]) == 1]
    if not single:
        return []
    verb, each = ("has", "") if len(single) == 1 else ("have", " each")
    names = listed(single[:MAX_NAMED]) + (f", … ({len(single)} classes)" if len(single) > MAX_NAMED else "")
    return [
        f"{names} {verb} a single recording{each}: whether other recordings are recognised cannot be learned or tested."
    ]


def _quiet_text(dataset: Dataset, quiet: Sequence[Clip]) -> str:
    first = f'"{dataset.relative_path(quiet[0])}"'
    what, it = (
        (f"1 clip ({first}) has", "it") if len(quiet) == 1 else (f"{len(quiet)} clips (first: {first}) have", "them")
    )
    return (
        f"{what} an RMS level below −{-QUIET_DBFS:g} dBFS, which is almost silence: listen to {it}, or leave {it} out."
    )


@dataclass(frozen=True)
class Encoding:
    """An audio encoding and the number of clips that use it."""

    container: str
    subtype: str
    rate_hz: int
    channels: int
    clips: int

    def __str__(self) -> str:
        channels = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels")
        return f"{self.container} {self.subtype}, {self.rate_hz / 1000:g} kHz, {channels}"


@dataclass(frozen=True)
class Finding:
    """A clip with a problem; ``detail`` describes it."""

    path: str
    label: str
    fold: int | None
    detail: str


@dataclass(frozen=True)
class Duplicates:
    """A group of clips with identical samples."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    folds: tuple[int | None, ...]
    same_files: bool  # whether the files are identical byte for byte, not only in their samples

    @property
    def across(self) -> str:
        """Whether they are in several "classes", "folds" or "classes and folds"; "" if in neither."""
        groups = {"classes": self.labels, "folds": self.folds}
        return " and ".join(name for name, values in groups.items() if len(set(values)) > 1)


@dataclass(frozen=True)
class SharedRecording:
    """A recording with clips in more than one fold, and its label in each fold."""

    source: str
    folds: tuple[int, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Inspection:
    """Statistics and problems of a data set, as returned by ``inspect``; paths are relative to ``root``."""

    name: str
    root: Path
    share: str
    classes: tuple[str, ...]
    folds: tuple[int | None, ...]  # None: clips without a fold
    counts: NDArray[np.int64]  # clips, [classes, folds]; in multi-label data a clip counts in each of its classes
    clips: NDArray[np.int64]  # [folds], each clip counted once
    unlabelled: NDArray[np.int64]  # [folds], clips without a class (multi-label data only)
    durations_s: NDArray[np.float64]  # [clips], NaN if the clip cannot be read
    encodings: tuple[Encoding, ...]  # the most frequent first
    silent: tuple[Finding, ...]
    clipped: tuple[Finding, ...]
    truncated: tuple[Finding, ...]
    duplicates: tuple[Duplicates, ...]
    recordings_in_folds: tuple[SharedRecording, ...]
    recordings_and_class_in_folds: tuple[SharedRecording, ...]
    unreadable: tuple[Skipped, ...]
    skipped: tuple[Skipped, ...]  # files skipped when the data set was opened
    warnings: tuple[str, ...] = ()  # of `sound_warnings`, and recordings that file names suggest

    @property
    def faults(self) -> dict[str, int]:
        """The number of clips, groups or recordings with each kind of problem, in the order of the report."""
        return {
            "unreadable clips": len(self.unreadable),
            "truncated clips": len(self.truncated),
            "silent clips": len(self.silent),
            "clipped clips": len(self.clipped),
            "groups of identical clips": len(self.duplicates),
            "recordings across folds": len(self.recordings_in_folds),
            "recordings across folds in one class": len(self.recordings_and_class_in_folds),
            "skipped": len(self.skipped),
        }

    def __repr__(self) -> str:
        from soundmark.datasets.inspection import tables

        return tables.overview(self)

    def _repr_html_(self) -> str:
        from soundmark.datasets.inspection import tables

        return tables.to_html(self)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a DataFrame with one row per problem; columns: problem, path, label, fold, detail.

        A group of identical clips has one row per clip. A recording in several folds has one row, without a path.

        Raises:
            SettingsError: pandas is not installed.

        >>> list(inspect(city, jobs=1, quiet=True).to_dataframe().columns)
        ['problem', 'path', 'label', 'fold', 'detail']
        """
        from soundmark.datasets.inspection import tables

        return tables.to_dataframe(self)

    def plot(self) -> Any:
        """Plot clips per class and fold, durations, encodings and faults; return Matplotlib ``Axes`` [2, 2].

        Raises:
            SettingsError: Matplotlib is not installed.

        >>> inspect(city, jobs=1, quiet=True).plot().shape
        (2, 2)
        """
        from soundmark.datasets.inspection import figure

        return figure.plot(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the figure of ``plot``; the suffix determines the format: .png, .svg, .pdf.

        Raises:
            OutputError: the file cannot be written.
            SettingsError: Matplotlib does not support the format or is not installed.

        >>> inspect(city, jobs=1, quiet=True).save(folder / "city.svg")
        >>> (folder / "city.svg").stat().st_size > 10_000
        True
        """
        from soundmark.datasets.inspection import figure

        figure.draw(self, path)


@dataclass(frozen=True)
class _ClipCheck:
    """The measurements of one clip; ``error`` is the reason if it cannot be read, else ""."""

    error: str = ""
    duration_s: float = math.nan
    encoding: tuple[str, str, int, int] = ("", "", 0, 0)
    peak: float = 0.0
    clipped_runs: int = 0
    missing: str = ""
    digest: bytes = b""
    level_dbfs: float = -math.inf


def inspect(
    dataset: Dataset | str | os.PathLike[str],
    *,
    jobs: int | None = None,
    quiet: bool = False,
    progress: Progress | None = None,
) -> Inspection:
    """Decode every clip of a data set and report statistics and problems.

    Args:
        dataset: the data set or its path.
        jobs: parallel processes (default: all cores). They are spawned, so a script must guard its code with
            ``if __name__ == "__main__"``.
        quiet: no progress bar.
        progress: callback for every step, instead of the progress bar.

    Raises:
        DatasetError: the path is not a data set.

    >>> import tempfile
    >>> pets = Path(tempfile.mkdtemp())
    >>> (pets / "dog").mkdir()
    >>> audio.write(pets / "dog" / "rex.wav", 0.5 * np.sin(np.arange(8000)), 8000)
    >>> found = inspect(Dataset.open(pets), jobs=1)
    >>> found.counts, found.folds, found.durations_s, sum(found.faults.values())
    (array([[1]]), (None,), array([1.]), 0)
    """
    check_jobs(jobs)
    data = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    if progress is not None:
        return _inspection(data, _check_clips(data.clips, progress, jobs))
    from soundmark.runtime.progress_bars import progress_bars

    with progress_bars(quiet) as shown:
        return _inspection(data, _check_clips(data.clips, shown, jobs))


def _inspection(dataset: Dataset, checks: Sequence[_ClipCheck]) -> Inspection:
    """Combine the measurements of all clips."""
    counts = description.counts(dataset)
    encodings = Counter(one.encoding for one in checks if not one.error)
    unreadable = [(clip, one.error) for clip, one in zip(dataset.clips, checks, strict=True) if one.error]
    return Inspection(
        name=dataset.name,
        root=dataset.root,
        share=dataset.share,
        classes=dataset.classes,
        folds=counts.folds,
        counts=counts.by_class,
        clips=counts.clips,
        unlabelled=counts.unlabelled,
        durations_s=np.array([one.duration_s for one in checks], np.float64),
        encodings=tuple(Encoding(*encoding, clips) for encoding, clips in encodings.most_common()),
        silent=_findings(dataset, [_silence(one) for one in checks]),
        clipped=_findings(
            dataset, [f"clipped peaks: {one.clipped_runs}" if one.clipped_runs else "" for one in checks]
        ),
        truncated=_findings(dataset, [one.missing for one in checks]),
        duplicates=_duplicates(dataset, checks),
        recordings_in_folds=recordings_in_folds(dataset),
        recordings_and_class_in_folds=recordings_in_folds(dataset, same_class=True),
        unreadable=tuple(Skipped(dataset.relative_path(clip), reason) for clip, reason in unreadable),
        skipped=dataset.skipped,
        warnings=_warnings(with_background(dataset, "auto"), checks),
    )


def _warnings(dataset: Dataset, checks: Sequence[_ClipCheck]) -> tuple[str, ...]:
    sounds = [
        (clip, [SoundMeasure(one.digest.hex(), one.level_dbfs)])
        for clip, one in zip(dataset.clips, checks, strict=True)
        if not one.error
    ]
    return (*sound_warnings(dataset, sounds), *_recordings_warning(dataset))


def _recordings_warning(dataset: Dataset) -> list[str]:
    suggestion = recordings_in_names(dataset)
    advice = (
        "Clips of one recording must not be in training and test at once: name the recordings in a CSV table with the "
        "columns path, label and source."
    )
    return [f"{suggestion}. {advice}"] if suggestion else []


def recordings_in_folds(dataset: Dataset, *, same_class: bool = False) -> tuple[SharedRecording, ...]:
    """Find recordings with clips in more than one official fold; with ``same_class``, clips with the same label.

    UrbanSound8K has five such recordings, with a different label in each fold, and none with ``same_class``. In
    multi-label data ``same_class`` reports a recording once for each class that it has in several folds.

    >>> dog, cat = (Clip(path=Path(name), label=name, fold=i, source="7") for i, name in enumerate(["dog", "cat"], 1))
    >>> data = Dataset(name="pets", root=Path("."), classes=("dog", "cat"), clips=(dog, cat))
    >>> recordings_in_folds(data)
    (SharedRecording(source='7', folds=(1, 2), labels=('dog', 'cat')),)
    >>> recordings_in_folds(data, same_class=True)
    ()
    """
    label_by_fold: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for clip, source in zip(dataset.clips, dataset.sources.tolist(), strict=True):
        for label in dataset.labels_of(clip) if same_class else (clip.label,):
            if clip.fold is not None:
                label_by_fold[source, label if same_class else ""][clip.fold] = label
    return tuple(
        SharedRecording(source, tuple(sorted(folds)), tuple(folds[fold] for fold in sorted(folds)))
        for (source, _), folds in label_by_fold.items()
        if len(folds) > 1
    )


def _check_clips(clips: Sequence[Clip], progress: Progress, jobs: int | None) -> list[_ClipCheck]:
    chunks = [clips[start : start + CHUNK] for start in range(0, len(clips), CHUNK)]
    checks: list[list[_ClipCheck]] = [[] for _ in chunks]
    done = 0
    progress("inspecting", done, len(clips), "clips")
    for number, results in parallel.map_unordered(_check_chunk, chunks, jobs=jobs):
        checks[number] = results
        done += len(results)
        progress("inspecting", done, len(clips), "clips")
    return [one for results in checks for one in results]


def _check_chunk(clips: Sequence[Clip]) -> list[_ClipCheck]:
    checks = []
    for clip in clips:
        with processing(f'"{clip.path}"'):
            checks.append(_check_clip(clip))
    return checks


def _check_clip(clip: Clip) -> _ClipCheck:
    peak, n_samples, energy = 0.0, 0, 0.0
    try:
        info = audio.info(clip.path)
        runs = _ClippedRuns(info.subtype)
        digest = hashlib.sha256(info.rate_hz.to_bytes(8, "little"))
        with audio.stream(clip.path, start_s=clip.start_s, stop_s=clip.stop_s) as stream:
            for samples in stream:
                audio.check_samples(samples, f'"{clip.path}"')  # decodable, but values that no spectrogram accepts
                peak = max(peak, float(np.abs(samples).max()))
                n_samples += len(samples)
                energy += float(np.square(samples, dtype=np.float64).sum())
                digest.update(samples.tobytes())
                runs.add(samples[:, None])
    except AudioError as error:
        return _ClipCheck(error=str(error))
    duration_s = n_samples / info.rate_hz
    return _ClipCheck(
        duration_s=duration_s,
        encoding=(info.container, info.subtype, info.rate_hz, info.channels),
        peak=peak,
        clipped_runs=runs.count if info.channels == 1 else _clipped_runs(clip, info, n_samples, runs.count),
        missing=stream.note or _missing(clip, duration_s),
        digest=digest.digest(),
        level_dbfs=10 * math.log10(energy / n_samples) if energy > 0 else -math.inf,
    )


def _missing(clip: Clip, duration_s: float) -> str:
    if clip.expected_s is None or duration_s >= clip.expected_s - MISSING_S:
        return ""
    return f"lasts {duration_s:.3f} s; the metadata state {clip.expected_s:.3f} s"


class _ClippedRuns:
    """Counts the runs of at least ``CLIPPED_SAMPLES`` consecutive samples at full scale, over all channels.

    The samples arrive in blocks [n, channels]; a run may begin in one block and end in another.
    """

    def __init__(self, subtype: str) -> None:
        self.count = 0
        self._full_scale = 127 / 128 if subtype in ("PCM_U8", "PCM_S8") else 32767 / 32768
        self._length: NDArray[np.int64] | None = None  # [channels], of the runs that reach the end of the last block

    def add(self, samples: NDArray[np.float32]) -> None:
        flags = np.abs(samples) >= self._full_scale
        before = np.zeros(samples.shape[1], np.int64) if self._length is None else self._length
        self._length = np.array([self._add_channel(*one) for one in zip(flags.T, before.tolist(), strict=True)])

    def _add_channel(self, flags: NDArray[np.bool_], before: int) -> int:
        """Count the runs that reach ``CLIPPED_SAMPLES`` in this block; return the length of the one at its end."""
        if not flags.any():
            return 0
        edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
        lengths = edges[1::2] - edges[::2]
        carried = before if flags[0] else 0
        lengths[0] += carried
        self.count += int(np.count_nonzero(lengths >= CLIPPED_SAMPLES)) - (carried >= CLIPPED_SAMPLES)
        return int(lengths[-1]) if flags[-1] else 0


def _clipped_runs(clip: Clip, info: audio.AudioInfo, n_samples: int, in_mono: int) -> int:
    """Count the clipped runs in each channel: averaging channels would hide clipping in one of them."""
    import soundfile

    runs = _ClippedRuns(info.subtype)
    start, size = round(clip.start_s * info.rate_hz), limits.block_frames(info.rate_hz, info.channels)
    try:
        with soundfile.SoundFile(decoding.native_path(clip.path)) as file:
            file.seek(start)
            for done in range(0, n_samples, size):
                runs.add(file.read(min(size, n_samples - done), dtype="float32", always_2d=True))
    except soundfile.LibsndfileError:  # truncated file: use the mono mix of the decodable part
        return in_mono
    return runs.count


def _silence(check: _ClipCheck) -> str:
    if check.error or check.peak > SILENCE_PEAK:
        return ""
    return f"peak −{-20 * math.log10(check.peak):.0f} dBFS" if check.peak > 0 else "all samples are zero"


def _findings(dataset: Dataset, details: Sequence[str]) -> tuple[Finding, ...]:
    return tuple(
        Finding(dataset.relative_path(clip), clip.label, clip.fold, detail)
        for clip, detail in zip(dataset.clips, details, strict=True)
        if detail
    )


def _duplicates(dataset: Dataset, checks: Sequence[_ClipCheck]) -> tuple[Duplicates, ...]:
    groups: dict[bytes, list[Clip]] = defaultdict(list)
    for clip, one in zip(dataset.clips, checks, strict=True):
        if not one.error and one.peak > SILENCE_PEAK:
            groups[one.digest].append(clip)
    return tuple(
        Duplicates(
            paths=tuple(dataset.relative_path(clip) for clip in clips),
            labels=tuple(clip.label for clip in clips),
            folds=tuple(clip.fold for clip in clips),
            same_files=all(filecmp.cmp(clips[0].path, clip.path, shallow=False) for clip in clips[1:]),
        )
        for clips in groups.values()
        if len(clips) > 1
    )

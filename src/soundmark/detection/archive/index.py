"""``Index``: the windows of an archive, with their embeddings, scores and levels; search, and choose what to label.

>>> import soundmark as sm
>>> index = sm.Index.build([clip.path for clip in city.clips[:8]], embedder, folder / "index", quiet=True)
>>> len(index), len(index.recordings)
(8, 8)
>>> found = index.search(city.clips[0].path, n=3)
>>> found[0].similarity >= found[1].similarity
True
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundmark import audio
from soundmark.audio import Sound
from soundmark.detection import inputs as input_files
from soundmark.detection.archive import store, suggestions
from soundmark.detection.archive.corrections import Corrections
from soundmark.detection.archive.indexing import build_index, path_in_index
from soundmark.detection.archive.results_index import index_results
from soundmark.detection.archive.review_session import Review
from soundmark.detection.archive.store import Parameters, Recording
from soundmark.detection.inputs import Failure
from soundmark.detection.results_folder import is_results_folder
from soundmark.errors import BundleError, SettingsError, unknown_name
from soundmark.models.classifier import Model, load
from soundmark.models.pretrained.named_models import open_model
from soundmark.runtime.checks import check_jobs, check_path, check_paths, is_count
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.text import counted, duration, html_table, shortened

if TYPE_CHECKING:
    import pandas as pd

    from soundmark.audio import AudioSource
    from soundmark.datasets import Clip

REFERENCE = 20_000  # records, evenly spaced, whose mean and SD standardise the embeddings

BLOCK = 50_000  # records that are compared at once: 77 MB with an embedding of 384

SAME_S = 1e-3  # times of a window that are written with three decimals

CANDIDATES = 50_000  # windows, the most uncertain ones, that suggestions are chosen from


@dataclass(frozen=True, kw_only=True)
class FoundWindow:
    """A window of an archive: the class with the highest score, and the similarity to what was searched for."""

    file: str
    start_s: float
    stop_s: float
    label: str
    score: float
    level_dbfs: float
    similarity: float | None = None


class FoundWindows(Sequence[FoundWindow]):
    """Windows of an archive, the best first: a table in Jupyter, and with ``to_dataframe``."""

    def __init__(self, windows: Iterable[FoundWindow]) -> None:
        self._windows = tuple(windows)

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: Any) -> Any:
        return self._windows[index]

    def __repr__(self) -> str:
        return "\n".join(
            f"{shortened(window.file)} {window.start_s:.1f}-{window.stop_s:.1f} s: {window.label} {window.score:.2f}"
            for window in self
        )

    def _repr_html_(self) -> str:
        header = ("file", "start (s)", "stop (s)", "label", "score", "similarity")
        rows = [
            (
                window.file,
                f"{window.start_s:.1f}",
                f"{window.stop_s:.1f}",
                window.label,
                f"{window.score:.3f}",
                "" if window.similarity is None else f"{window.similarity:.3f}",
            )
            for window in self
        ]
        return html_table(rows, header=header)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row per window: file, start_s, stop_s, label, score, level_dbfs, similarity.

        Raises:
            SettingsError: pandas is not installed.
        """
        columns = list(FoundWindow.__dataclass_fields__)
        return import_pandas().DataFrame([asdict(window) for window in self], columns=columns)

    def to_csv(self) -> str:
        """Return a row per window, with an empty column for the label: once filled in, a table that ``train`` reads."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["path", "start", "end", "label", "predicted", "score", "level_dbfs", "similarity"])
        for window in self:
            similarity = "" if window.similarity is None else f"{window.similarity:.4f}"
            times = (f"{window.start_s:.3f}", f"{window.stop_s:.3f}")
            numbers = (f"{window.score:.4f}", f"{window.level_dbfs:.1f}", similarity)
            table.writerow([window.file, *times, "", window.label, *numbers])
        return text.getvalue()

    def to_json(self) -> str:
        """Return a list of objects with the fields of ``FoundWindow``."""
        return json.dumps([asdict(window) for window in self], indent=1, ensure_ascii=False) + "\n"


class Index:
    """The index of an archive; ``build`` makes one, ``open`` reads one, ``of_results`` is that of a results folder.

    ``recordings`` are the files in it. ``failures`` are the files that ``build`` or ``of_results`` could not read.
    """

    def __init__(
        self,
        folder: Path,
        parameters: Parameters,
        records: NDArray[np.void],
        recordings: Sequence[Recording],
        failures: Sequence[Failure] = (),
    ) -> None:
        self.folder, self.recordings, self.failures = folder, tuple(recordings), tuple(failures)
        self._parameters, self._records = parameters, records
        spans = [np.arange(recording.first, recording.first + recording.windows) for recording in self.recordings]
        self._rows = np.concatenate(spans) if spans else np.zeros(0, np.int64)
        self._recording_of = np.repeat(np.arange(len(spans)), [len(span) for span in spans])

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> Index:
        """Open the index in ``folder``.

        Raises:
            SettingsError: the folder is not an index, or a results folder, which ``of_results`` indexes.

        >>> Index.open(folder / "none")
        Traceback (most recent call last):
        soundmark.errors.SettingsError: "...none" is not an index: ... Make one with `soundmark index`.
        """
        folder = Path(check_path("the folder", folder))
        if not store.is_index(folder) and is_results_folder(folder):
            raise SettingsError(
                f'"{folder}" is a results folder of `soundmark classify`, not an index: give the model that indexes '
                "its recordings, with -m (in Python, Index.of_results)."
            )
        parameters = store.read_parameters(folder)
        records = store.read_records(folder, parameters)
        return cls(folder, parameters, records, store.read_recordings(folder, records))

    @classmethod
    def build(
        cls,
        archive: str | PathLike[str] | Iterable[str | PathLike[str]],
        model: Model | str | PathLike[str],
        folder: str | PathLike[str],
        *,
        overlap: float = 0.0,
        jobs: int | None = None,
        isolate: bool = False,
        fresh: bool = False,
        quiet: bool = False,
    ) -> Index:
        """Index the sound files in ``archive``: files, folders, or several; add to the index in ``folder``.

        The same call resumes an interrupted one, and adds recordings that are new or have changed. ``overlap`` is the
        overlap between consecutive windows, as a fraction of the window. ``jobs`` files are read in parallel (default:
        all cores). With ``isolate``, processes with limits decode the files. ``fresh`` discards an earlier index.

        Raises:
            SettingsError: the folder has an index of another model, or an argument is out of range.
            BundleError: the model cannot be read, or has no embedding output.
            OutputError: the folder cannot be written, or contains other files.

        >>> Index.build(city.clips[0].path, embedder, folder / "one", quiet=True).recordings[0].windows
        1
        """
        check_jobs(jobs)
        paths, folder = check_paths("the archive", archive), check_path("the folder", folder)
        input_files.check(paths, None)
        files, _ = input_files.without_repeats(input_files.files(paths))
        loaded = open_model(model)
        from soundmark.runtime.progress_bars import analysis_progress  # imports rich, which is slow

        with analysis_progress(quiet) as on_progress:
            done = build_index(
                files,
                loaded,
                Path(folder),
                overlap=overlap,
                jobs=jobs,
                isolate=isolate,
                fresh=fresh,
                on_progress=on_progress,
            )
        index = cls.open(folder)
        index.failures = tuple(done.failures)
        return index

    @classmethod
    def of_results(
        cls,
        results: str | PathLike[str],
        model: Model | str | PathLike[str],
        *,
        jobs: int | None = None,
        isolate: bool = False,
        quiet: bool = False,
    ) -> Index:
        """Index the recordings of a results folder, which ``analyze`` or `soundmark classify -o` wrote.

        The index is kept in the user's cache, or in the folder in ``SOUNDMARK_CACHE``: the same call opens it, and adds
        recordings that are new or have changed. Recordings that cannot be read are left out; see ``failures``. The
        other arguments are those of ``build``.

        Raises:
            SettingsError: the folder is not a results folder, or none of its recordings can be read.
            BundleError: the model cannot be read, or has no embedding output.
            OutputError: the cache cannot be written.

        >>> import soundmark as sm
        >>> _ = sm.analyze([clip.path for clip in city.clips[:8]], embedder, folder / "results", quiet=True)
        >>> Index.of_results(folder / "results", embedder, quiet=True)
        Index(8 recordings, 26 s, 8 windows)
        """
        check_jobs(jobs)
        loaded = open_model(model)
        from soundmark.runtime.progress_bars import analysis_progress  # imports rich, which is slow

        with analysis_progress(quiet) as on_progress:
            found = index_results(Path(results), loaded, jobs=jobs, isolate=isolate, on_progress=on_progress)
        index = cls.open(found.folder)
        kept = [recording for recording in index.recordings if recording.path in found.paths]
        return cls(found.folder, index._parameters, index._records, kept, found.failures)

    def __len__(self) -> int:
        """The number of windows."""
        return len(self._rows)

    def __repr__(self) -> str:
        total = duration(sum(recording.duration_s for recording in self.recordings))
        failed = f"; {counted(len(self.failures), 'file')} failed" if self.failures else ""
        return f"Index({counted(len(self.recordings), 'recording')}, {total}, {counted(len(self), 'window')}{failed})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the scores."""
        return self._parameters.classes

    @property
    def model_digest(self) -> str:
        """The digest of the model that computed the index: ``model.bundle.digest``."""
        return self._parameters.model

    @property
    def model(self) -> Model:
        """The model that computed the index.

        Raises:
            BundleError: it was deleted from the index, damaged, or replaced by another one.
        """
        found = load(self.folder / store.MODEL)
        if found.bundle.digest != self.model_digest or found.classes != self.classes:
            raise BundleError(
                f'"{store.MODEL}" is not the model that computed the index "{self.folder}": make it again with '
                "`soundmark index --fresh`."
            )
        return found

    def check_model(self, model: Model) -> None:
        """Check that ``model`` is the one that computed the index.

        Raises:
            SettingsError: it is another one.

        >>> Index.build(city.clips[0].path, embedder, folder / "one", quiet=True).check_model(embedder)
        """
        if self.model_digest != model.bundle.digest:
            raise SettingsError(
                f'the index "{self.folder}" was made with another model: leave out -m to use the model of the index, '
                "or index the recordings again with this one."
            )

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row per window: file, start_s, stop_s, level_dbfs, and the score of each class.

        Raises:
            SettingsError: pandas is not installed.

        >>> index = Index.build(city.clips[0].path, embedder, folder / "one", quiet=True)
        >>> index.to_dataframe().columns[:5].tolist()
        ['file', 'start_s', 'stop_s', 'level_dbfs', 'air_conditioner']
        """
        pd = import_pandas()
        records = self._records[self._rows]
        files = [self.recordings[number].path for number in self._recording_of.tolist()]
        table = {"file": files} | {name: records[name] for name in ("start_s", "stop_s", "level_dbfs")}
        return pd.DataFrame(table).join(pd.DataFrame(records["scores"], columns=list(self.classes)))

    def scores(self, label: str) -> NDArray[np.float32]:
        """Return the scores of a class that decide on events, ``[windows]``.

        Raises:
            SettingsError: there is no such class.

        >>> index = Index.build(city.clips[0].path, embedder, folder / "one", quiet=True)
        >>> index.scores("siren").shape
        (1,)
        """
        found: NDArray[np.float32] = self._records["scores"][self._rows, self._class(label)]
        return found

    def all_scores(self) -> NDArray[np.float32]:
        """Return the scores of all classes that decide on events, ``[windows, classes]``."""
        found: NDArray[np.float32] = self._records["scores"][self._rows]
        return found

    def windows_by_class(self, threshold: float) -> dict[str, int]:
        """Return the number of windows with a score of at least ``threshold``, by class.

        >>> index = Index.build(city.clips[0].path, embedder, folder / "one", quiet=True)
        >>> index.windows_by_class(0.0)["siren"], index.windows_by_class(1.1)["siren"]
        (1, 0)
        """
        counts = np.zeros(len(self.classes), np.int64)
        for first in range(0, len(self._rows), store.BLOCK):
            counts += (self._records["scores"][self._rows[first : first + store.BLOCK]] >= threshold).sum(axis=0)
        return dict(zip(self.classes, counts.tolist(), strict=True))

    def embeddings(self, numbers: Sequence[int] | NDArray[np.integer] | None = None) -> NDArray[np.float16]:
        """Return the embeddings of the windows with these ``numbers``, or of all, ``[windows, d]``."""
        rows = self._rows if numbers is None else self._rows[np.asarray(numbers, np.int64)]
        found: NDArray[np.float16] = self._records["embedding"][rows]
        return found

    def windows(self, numbers: Sequence[int] | NDArray[np.integer], label: str | None = None) -> FoundWindows:
        """Return the windows with these ``numbers``, 0 to ``len(index)`` − 1, with the score of ``label``.

        By default, the label is the class with the highest score.

        >>> index = Index.build(city.clips[0].path, embedder, folder / "one", quiet=True)
        >>> index.windows([0], "siren")[0].label
        'siren'
        """
        which = None if label is None else self._class(label)
        return FoundWindows(self._windows(self._rows[np.asarray(numbers, np.int64)], which=which))

    def number_of(self, path: str, start_s: float, stop_s: float) -> int | None:
        """Return the number of the window from ``start_s`` to ``stop_s`` of a recording, to 1 ms; None: there is none.

        >>> index = Index.build(city.clips[0].path, embedder, folder / "one", quiet=True)
        >>> window = index.windows([0])[0]
        >>> index.number_of(window.file, window.start_s, window.stop_s)
        0
        """
        first, n = self._span_of.get(path, (0, 0))
        records = self._records[self._rows[first : first + n]]
        same = np.abs(records["start_s"] - start_s) + np.abs(records["stop_s"] - stop_s) < SAME_S
        return first + int(np.argmax(same)) if same.any() else None

    @cached_property
    def _span_of(self) -> dict[str, tuple[int, int]]:
        """The first window and the number of windows of each recording, by path."""
        found, first = {}, 0
        for recording in self.recordings:
            found[recording.path] = (first, recording.windows)
            first += recording.windows
        return found

    def _class(self, label: str) -> int:
        if label not in self.classes:
            raise unknown_name("class", label, self.classes, owner="the index")
        return self.classes.index(label)

    def search(
        self,
        like: AudioSource | Sequence[AudioSource],
        rate_hz: float | None = None,
        *,
        n: int = 10,
        start_s: float | None = None,
        stop_s: float | None = None,
        same_file: bool = False,
    ) -> FoundWindows:
        """Return the ``n`` windows that are most similar to the sound ``like``, or to the nearest of several sounds.

        Similarity is the cosine of the embeddings, standardised over the index: 1 for the same sound, about 0 for
        unrelated ones. All windows are compared. A sound longer than the model's window is searched window by window.
        ``start_s`` and ``stop_s`` restrict a file to a part. Windows of the file that is searched for are left out,
        unless ``same_file``. ``rate_hz`` is the sample rate of samples.

        Raises:
            AudioError: a sound cannot be decoded, or the part is outside of it.
            SettingsError: ``n`` is not a whole number above 0, or a part of several sounds is searched for.
        """
        _check_n(n)
        several = isinstance(like, list | tuple) and rate_hz is None
        sounds: list[Any] = list(like) if several else [like]  # type: ignore[arg-type]
        model = self.model
        if start_s is None and stop_s is None:
            wanted = np.concatenate([model.embed(sound, rate_hz) for sound in sounds])
        else:
            wanted = model.embed(_part(sounds, start_s, stop_s))
        excluded = (
            set() if same_file else {path_in_index(sound) for sound in sounds if isinstance(sound, str | PathLike)}
        )
        return self.like(wanted, n, without=excluded)

    def like(self, embeddings: NDArray[np.float32], n: int, *, without: Container[str] = ()) -> FoundWindows:
        """Return the ``n`` windows that are most similar to the nearest of ``embeddings`` ``[k, d]``; see ``search``.

        Those of the recordings ``without`` are left out.

        >>> index = Index.build([clip.path for clip in city.clips[:8]], embedder, folder / "index", quiet=True)
        >>> index.like(index.embeddings([3]), 1)[0].file == index.windows([3])[0].file
        True
        """
        if embeddings.shape[1] != self._parameters.embedding_size:
            raise SettingsError(
                f'the index "{self.folder}" is damaged: its embeddings have {self._parameters.embedding_size} values, '
                f"those of its model {embeddings.shape[1]}. Make it again with `soundmark index --fresh`."
            )
        kept = np.array([recording.path not in without for recording in self.recordings], bool)
        rows = self._rows[kept[self._recording_of]] if len(self) else self._rows
        similarity = self._similarity(rows, embeddings)
        best = np.argsort(-similarity, kind="stable")[:n]
        return FoundWindows(self._windows(rows[best], similarity[best]))

    def suggest(self, n: int = 20, *, label: str | None = None, labelled: Iterable[Clip] | None = None) -> FoundWindows:
        """Return ``n`` windows that are worth labelling next: uncertain, and different from each other.

        ``label`` asks for windows of which it is uncertain whether they contain this class. ``labelled`` are clips that
        have a label already, such as a ``Dataset``: windows that they overlap are not returned, and windows that are
        unlike them come first.

        Raises:
            SettingsError: ``n`` is not a whole number above 0, or there is no such class.
        """
        _check_n(n)
        which = None if label is None else self._class(label)
        uncertainties = suggestions.uncertainty(self.all_scores(), which)
        return self.windows(self.suggested(n, uncertainties, labelled or ()))

    def suggested(self, n: int, uncertainties: NDArray[np.float64], labelled: Iterable[Clip]) -> NDArray[np.int64]:
        """Return the numbers of the windows that ``suggest`` chooses by their ``uncertainties``, 0 to 1 ``[windows]``.

        >>> index = Index.build([clip.path for clip in city.clips[:8]], embedder, folder / "index", quiet=True)
        >>> index.suggested(3, np.ones(8), []).shape
        (3,)
        """
        has_label = self._labelled(labelled)
        free = np.flatnonzero(~has_label)
        most = free[np.argsort(-uncertainties[free], kind="stable")[:CANDIDATES]]
        if not len(most):
            return most
        known = self._directions(self._rows[has_label]) if has_label.any() else None
        chosen = suggestions.choose(self._directions(self._rows[most]), uncertainties[most], n, labelled=known)
        return most[chosen]

    def review(
        self,
        label: str,
        *,
        wanted: float = 0.9,
        seed: int = 0,
        corrections: Corrections | str | PathLike[str] | None = None,
        reviewer: str = "",
    ) -> Review:
        """Begin to review detections of the class ``label``, to find a threshold with the ``wanted`` precision.

        With ``corrections``, a folder, the decisions in it count, and each new one is added to it.

        Raises:
            SettingsError: there is no such class, or ``wanted`` is not between 0 and 1.

        >>> index = Index.build([clip.path for clip in city.clips[:8]], embedder, folder / "index", quiet=True)
        >>> review = index.review("siren")
        >>> for window in review.next(3):
        ...     review.answer(window, contains=False)
        >>> review
        Review(siren: 3 windows reviewed, 0 contain it; no threshold has a precision of 90 % yet)
        """
        self._class(label)
        if not 0 < wanted < 1:
            raise SettingsError(f"wanted is {wanted!r}: expected a precision between 0 and 1, such as 0.9.")
        kept = Corrections(corrections) if isinstance(corrections, str | PathLike) else corrections
        return Review(self, label, wanted=wanted, seed=seed, corrections=kept, reviewer=reviewer)

    def _labelled(self, clips: Iterable[Clip]) -> NDArray[np.bool_]:
        """Return whether each window overlaps one of ``clips``."""
        found = np.zeros(len(self), bool)
        numbers = {recording.path: number for number, recording in enumerate(self.recordings)}
        for clip in clips:
            number = numbers.get(path_in_index(clip.path))
            if number is None:
                continue
            own = np.flatnonzero(self._recording_of == number)
            records = self._records[self._rows[own]]
            stop_s = np.inf if clip.stop_s is None else clip.stop_s
            found[own] |= (records["start_s"] < stop_s) & (records["stop_s"] > (clip.start_s or 0.0))
        return found

    def _similarity(self, rows: NDArray[np.int64], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the highest cosine similarity to one of the embeddings ``wanted`` ``[k, d]``, ``[rows]``."""
        found = np.zeros(len(rows), np.float32)
        if not len(rows):
            return found
        reference = self._reference()
        directions = suggestions.standardised(wanted, reference).T
        for start in range(0, len(rows), BLOCK):
            block = self._records["embedding"][rows[start : start + BLOCK]]
            found[start : start + BLOCK] = (suggestions.standardised(block, reference) @ directions).max(axis=1)
        return found

    def _directions(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return suggestions.standardised(self._records["embedding"][rows], self._reference())

    def _reference(self) -> NDArray[np.float32]:
        spaced = self._rows[np.linspace(0, len(self) - 1, min(len(self), REFERENCE)).astype(np.int64)]
        found: NDArray[np.float32] = self._records["embedding"][spaced].astype(np.float32)
        return found

    def _windows(
        self, rows: NDArray[np.int64], similarity: NDArray[np.float32] | None = None, *, which: int | None = None
    ) -> Iterator[FoundWindow]:
        firsts = np.array([recording.first for recording in self.recordings])
        order = np.argsort(firsts, kind="stable")  # a recording without windows begins where the next one does
        for position, row in enumerate(rows.tolist()):
            record = self._records[row]
            recording = self.recordings[order[np.searchsorted(firsts[order], row, side="right") - 1]]
            best = int(record["scores"].argmax()) if which is None else which
            yield FoundWindow(
                file=recording.path,
                start_s=float(record["start_s"]),
                stop_s=float(record["stop_s"]),
                label=self.classes[best],
                score=float(record["scores"][best]),
                level_dbfs=float(record["level_dbfs"]),
                similarity=None if similarity is None else float(similarity[position]),
            )


def _check_n(n: int) -> None:
    if not is_count(n):
        raise SettingsError(f"n is {n!r}: expected a whole number of windows, at least 1.")


def _part(sounds: Sequence[Any], start_s: float | None, stop_s: float | None) -> Sound:
    if len(sounds) != 1 or not isinstance(sounds[0], str | PathLike):
        raise SettingsError("start and stop are those of one file: give one sound, as a path.")
    return audio.read(sounds[0], start_s=start_s or 0.0, stop_s=stop_s)

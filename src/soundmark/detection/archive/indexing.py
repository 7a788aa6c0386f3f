"""Index recordings, in parallel: ``build_index`` adds those that are new or have changed, and resumes after a kill."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundmark.audio.level import power_db
from soundmark.detection.archive import store
from soundmark.detection.archive.store import IndexWriter, Parameters
from soundmark.detection.file_analysis import FileAnalysis, FileCallbacks
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import STANDARD_INPUT, Failure, Input
from soundmark.detection.journal import journal_key
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import OutputError, SettingsError
from soundmark.models.classifier import Model
from soundmark.models.streaming import WindowScores
from soundmark.runtime import atomic, output_folder
from soundmark.runtime.checks import is_folder, is_url, real_path
from soundmark.runtime.output_folder import OutputFolder
from soundmark.runtime.progress import AnalysisProgress
from soundmark.runtime.text import counted

HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """What a run of ``build_index`` did: recordings ``added`` and already ``known``, and files that failed."""

    folder: Path
    added: int
    known: int
    failures: Sequence[Failure]
    notes: Sequence[str]

    @property
    def summary_lines(self) -> list[str]:
        """Lines of text with the counts and the folder."""
        known = f"; {self.known:,} were indexed before" if self.known else ""
        failed = f" {counted(len(self.failures), 'file')} failed." if self.failures else ""
        return [f"Indexed {counted(self.added, 'recording')}{known}.{failed}", f"The index is in {self.folder}."]


def build_index(
    files: Sequence[Input | Failure],
    model: Model,
    folder: Path,
    *,
    overlap: float = 0.0,
    jobs: int | None = None,
    isolate: bool = False,
    fresh: bool = False,
    on_progress: Callable[[AnalysisProgress], None] = lambda state: None,
) -> Indexed:
    """Add the windows of ``files`` to the index in ``folder``, which is created if missing.

    Files that are in the index and unchanged since are not read again; the index keeps files that are not among
    ``files``. ``overlap`` is the overlap between consecutive windows, as a fraction of the window. ``fresh`` discards
    an earlier index. The other arguments are those of ``analyze_to_folder``.

    Raises:
        SettingsError: the folder has an index of another model or overlap, or a setting is out of range.
        BundleError: the model has no embedding output.
        OutputError: the folder cannot be written, is in use by another process, or contains other files.

    >>> files = [Input(str(clip.path), clip.path.name) for clip in city.clips[:2]]
    >>> done = build_index(files, embedder, folder / "index")
    >>> again = build_index(files, embedder, folder / "index")
    >>> (done.added, done.known), (again.added, again.known)
    ((2, 0), (0, 2))
    """
    settings = DetectionSettings(overlap=overlap)
    parameters = _parameters(model, overlap)
    _check_folder(folder)
    with output_folder.opened(folder) as output:
        _prepare(output, model, parameters, fresh=fresh)
        with store.writer(folder, parameters) as index:
            keys = {file.path: _key(file.path, parameters) for file in files if isinstance(file, Input)}
            missing = [file for file in files if isinstance(file, Failure) or keys[file.path] not in index.keys]
            known = len(files) - len(missing)
            parts: dict[str, list[WindowScores]] = {}
            analysis = FileAnalysis(
                model,
                missing,
                settings,
                jobs=jobs,
                isolate=isolate,
                on_progress=on_progress,
                callbacks=lambda path: FileCallbacks(embed=True, scores=parts.setdefault(path, []).append),
            )
            with analysis:
                added = _add(analysis, index, parameters, keys, parts, model)
            return Indexed(folder=folder, added=added, known=known, failures=analysis.failures, notes=analysis.notes)


def _add(
    analysis: FileAnalysis,
    index: IndexWriter,
    parameters: Parameters,
    keys: dict[str, str | None],
    parts: dict[str, list[WindowScores]],
    model: Model,
) -> int:
    """Add the recordings as they are analysed; return their number."""
    added = 0
    for found in analysis:
        scored = parts.pop(found.file, [])
        if isinstance(found, FileResult):
            # A pipe, or a file of a server that does not identify it, has no key: the next run indexes it again.
            key = keys[found.file] or f"{os.getpid()} {time.time_ns()}"
            records = _records(scored, parameters, model)
            index.add(key, path_in_index(found.file), records, found.duration_s, found.note)
            added += 1
    return added


def path_in_index(path: str | PathLike[str]) -> str:
    """Return the path under which an index has a file: absolute, without links; a URL is one.

    >>> path_in_index("s3://bucket/a.wav")
    's3://bucket/a.wav'
    """
    text = fspath(path)
    return text if is_url(text) else real_path(text)


def _records(parts: Sequence[WindowScores], parameters: Parameters, model: Model) -> NDArray[np.void]:
    """Return the windows of a recording as records."""
    records = np.zeros(sum(map(len, parts)), parameters.record_type)
    stop = 0
    for part in parts:
        own = records[stop : (stop := stop + len(part))]
        own["start_s"], own["stop_s"] = part.start_s, part.stop_s
        own["scores"] = part.event_scores(model.card.unknown)
        if part.embedding is not None:
            own["embedding"] = np.clip(part.embedding, -HALF_MAX, HALF_MAX)
        if part.power is not None:
            own["level_dbfs"] = [power_db(float(power)) for power in part.power]
    return records


def _parameters(model: Model, overlap: float) -> Parameters:
    model.check_embedding()
    card = model.card
    spectrogram = np.zeros((1, *card.representation.shape), np.float32)
    return Parameters(
        model=model.bundle.digest,
        classes=model.classes,
        window_s=card.window_s,
        overlap=float(overlap),
        embedding_size=model.bundle.run(spectrogram, "embedding").shape[1],
    )


def _key(path: str, parameters: Parameters) -> str | None:
    if path == STANDARD_INPUT:
        raise SettingsError('an index is of files: standard input ("-") cannot be indexed.')
    return journal_key(path, {"model": parameters.model, "overlap": parameters.overlap})


def _check_folder(folder: Path) -> None:
    """Check that ``folder`` is missing, empty, or an index; the first run may have ended after it wrote the model.

    Raises:
        OutputError: it contains other files.
    """
    names = [path.name for path in folder.glob("[!.]*") if path.name != store.MODEL] if is_folder(folder) else []
    if names and not store.is_index(folder):
        raise OutputError(f'"{folder}" is not an index: it contains "{sorted(names)[0]}". Choose a new folder with -o.')


def _prepare(output: OutputFolder, model: Model, parameters: Parameters, *, fresh: bool) -> None:
    """Write what all records have in common, or check that it is the same."""
    folder = output.folder
    output.check(store.PARAMETERS, store.MODEL)
    if fresh:
        output.remove(store.PARAMETERS)
    for name, head in ((store.RECORDS, store.HEADER), (store.JOURNAL, b'{"key": ')):
        output.growing(name, lambda path: False, head=head)
        if fresh:
            (folder / name).unlink(missing_ok=True)
    if (folder / store.PARAMETERS).is_file() and not fresh:
        _check_same(folder, store.read_parameters(folder), parameters)
        return
    model.save(folder / store.MODEL)
    atomic.write_text(folder / store.PARAMETERS, parameters.to_json())


def _check_same(folder: Path, found: Parameters, wanted: Parameters) -> None:
    if found.model != wanted.model:
        raise SettingsError(
            f'the index "{folder}" was made with another model: choose a new folder with -o, or discard it with '
            "--fresh."
        )
    if found != wanted:
        raise SettingsError(
            f'the index "{folder}" was made with overlap {found.overlap:g}: give the same overlap, choose a new folder '
            "with -o, or discard it with --fresh."
        )

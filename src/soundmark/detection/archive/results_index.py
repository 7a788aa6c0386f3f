"""The index of the recordings of a results folder, which has events only; it is kept in the user's cache.

    files.csv, or the journal of an unfinished run ─▶ recordings ─ build_index ─▶ CACHE/indexes/KEY

The key is a hash of the path of the results folder and of the model: each pair of them has a separate index.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundmark.detection import inputs
from soundmark.detection.archive import store
from soundmark.detection.archive.indexing import build_index, path_in_index
from soundmark.detection.inputs import STANDARD_INPUT, Failure, Input
from soundmark.detection.journal import earlier_key, journal_key, read_journal, read_keys
from soundmark.detection.results_folder import JOURNAL, PARAMETERS, is_results_folder
from soundmark.detection.results_reader import read_files
from soundmark.errors import OutputError, SettingsError
from soundmark.models.classifier import Model
from soundmark.runtime import atomic, locks
from soundmark.runtime.cache import cache_folder
from soundmark.runtime.checks import is_special, is_url, parse_json, real_path
from soundmark.runtime.progress import AnalysisProgress
from soundmark.runtime.text import counted, first_of

log = logging.getLogger("soundmark")

FOLDER = "indexes"  # in the cache

REMEDY = "Free disk space there, or set SOUNDMARK_CACHE to another folder."


@dataclass(frozen=True, kw_only=True)
class ResultsIndex:
    """An index in the cache: its ``folder``, the ``paths`` in it that the results name, and what was left out."""

    folder: Path
    paths: frozenset[str]
    failures: Sequence[Failure]


def index_results(
    results: Path,
    model: Model,
    *,
    jobs: int | None = None,
    isolate: bool = False,
    on_progress: Callable[[AnalysisProgress], None] = lambda state: None,
) -> ResultsIndex:
    """Index the recordings of the results folder ``results`` with ``model``; the options are those of ``build_index``.

    The next call reads only recordings that are new or have changed. Another process that is indexing them is waited
    for. Results of another model or of an unfinished run, and recordings that have changed, are logged as warnings.

    Raises:
        SettingsError: ``results`` is not a results folder, or none of its recordings can be read.
        BundleError: the model has no embedding output.
        OutputError: the cache cannot be written.

    >>> from soundmark.detection.analysis import analyze
    >>> _ = analyze([clip.path for clip in city.clips[:2]], embedder, folder / "results", quiet=True)
    >>> len(index_results(folder / "results", embedder).paths)
    2
    """
    if not is_results_folder(results):
        raise SettingsError(
            f'"{results}" is not a results folder: classify -o makes one, with "{PARAMETERS}", and `soundmark index` '
            "makes an index."
        )
    model.check_embedding()
    files = _recordings(results)
    _warn(results, files, model)
    folder = cache_folder() / FOLDER / _key(results, model)
    with _locked(folder, results):
        fresh = not _is_readable(folder)
        done = build_index(files, model, folder, jobs=jobs, isolate=isolate, fresh=fresh, on_progress=on_progress)
    failed = {failure.file for failure in done.failures}
    found = [file.path for file in files if isinstance(file, Input) and file.path not in failed]
    if not found:
        raise _none_left(results, done.failures)
    return ResultsIndex(folder=folder, paths=frozenset(map(path_in_index, found)), failures=done.failures)


def _recordings(results: Path) -> list[Input | Failure]:
    """Return the recordings of a results folder, each once; those that have no path as failures."""
    paths = read_files(results)
    if paths is None:
        paths = list(dict.fromkeys(found.file for found in read_journal(results / JOURNAL)))
        if paths:
            log.warning(
                '"%s" is unfinished: its %s so far are indexed. Run this again when classify has ended.',
                results,
                counted(len(paths), "recording"),
            )
    if not paths:
        raise SettingsError(f'"{results}" contains no recording that was classified: run classify again.')
    return inputs.without_repeats(_input(path, results) for path in paths)[0]


def _input(path: str, results: Path) -> Input | Failure:
    if path == STANDARD_INPUT:
        return Failure(path, f'a recording in "{results}" was read from standard input: it cannot be indexed.')
    if is_special(path):
        return Failure(path, f'"{path}" is not a file: it cannot be indexed.')
    return Input(path, Path(path).name)


def _warn(results: Path, files: Sequence[Input | Failure], model: Model) -> None:
    """Log in what the results and the index differ."""
    parameters = _parameters(results)
    if parameters.get("model", model.bundle.digest) != model.bundle.digest:
        log.warning(
            '"%s" was made with another model: its events are those of that model, the scores of windows those of this '
            "one.",
            results,
        )
    if changed := _changed(results, files, parameters):
        log.warning(
            '"%s": %s changed or moved since classify was run; the index has the current sound: %s.',
            results,
            counted(len(changed), "recording"),
            first_of([f'"{path}"' for path in changed]),
        )


def _parameters(results: Path) -> dict[str, Any]:
    """Return the settings of the results; none if their file is missing or damaged."""
    try:
        found: dict[str, Any] = parse_json((results / PARAMETERS).read_text(encoding="utf-8"))["parameters"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _changed(results: Path, files: Sequence[Input | Failure], parameters: dict[str, Any]) -> list[str]:
    """Return the recordings on this machine that are not those in the journal, by path, size, time and content."""
    if not parameters or not (known := read_keys(results / JOURNAL)):
        return []
    paths = [file.path for file in files if isinstance(file, Input) and not is_url(file.path)]
    return [
        path
        for path in paths
        if (key := journal_key(path, parameters)) and key not in known and earlier_key(path, parameters) not in known
    ]


def _key(results: Path, model: Model) -> str:
    identity = json.dumps([real_path(results), model.bundle.digest])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


@contextmanager
def _locked(folder: Path, results: Path) -> Iterator[None]:
    """Wait for another process that is writing the index; name the cache if it cannot be written."""

    def wait() -> None:
        log.warning('another process is indexing the recordings of "%s": waiting for it.', results)

    try:
        with locks.exclusive(folder, on_wait=wait, remedy=REMEDY):
            yield
    except OutputError as error:
        if isinstance(error.__cause__, OSError):
            raise atomic.cannot_write(folder, error.__cause__, REMEDY) from error
        raise


def _is_readable(folder: Path) -> bool:
    """Whether the index in ``folder`` can be added to; else it is made anew."""
    try:
        store.read_parameters(folder)
    except SettingsError:
        return False
    return True


def _none_left(results: Path, failures: Sequence[Failure]) -> SettingsError:
    first = failures[0]
    is_relative = not is_url(first.file) and not Path(first.file).is_absolute()
    hint = " Its paths are relative: run this in the folder in which classify was run." if is_relative else ""
    n = counted(len(failures), "recording")
    return SettingsError(f'none of the {n} in "{results}" can be indexed: {first.reason}{hint}')

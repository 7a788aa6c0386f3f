"""Analyse files and write a folder of results; an interrupted run resumes.

    results.<format>    the events of all files, in order
    files/…             the events of each file
    files.csv           a row per file: duration, start time, best class, number of events
    errors.csv          a row per file that could not be read, with the reason
    parameters.json     the model and all settings
    journal.jsonl       the journal of finished files, from which the next run with the same settings resumes
    shard.json          with --shard: which files of the list are in this folder, for ``merge``; written last

Results in the journal are not recomputed, even if the next run writes another format.

In reading order:

    merge        merge: the results folders of all shards to one
    destination  where results go: a folder, or a URL to which it is copied
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from soundmark.detection import output_formats
from soundmark.detection.earlier_folder import EarlierFolder, is_parameters
from soundmark.detection.file_analysis import FileAnalysis
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Failure, Input
from soundmark.detection.journal import Journal, JournalResults, earlier_key, is_journal, journal_key
from soundmark.detection.settings import DetectionSettings, Shard
from soundmark.errors import OutputError
from soundmark.models.classifier import Model
from soundmark.models.streaming import RecordingAggregator
from soundmark.runtime import atomic, checksums, output_folder, parallel, provenance
from soundmark.runtime.checks import is_folder
from soundmark.runtime.output_folder import OutputFolder
from soundmark.runtime.progress import AnalysisProgress
from soundmark.runtime.text import counted

log = logging.getLogger("soundmark")


MAX_NAME_BYTES = 200  # of a file's name, used for the name of its results file


FILES_COLUMNS = ("File", "Duration (s)", "Start (UTC)", "Label", "Confidence", "Events", "Note")


JOURNAL, PARAMETERS, SHARD = "journal.jsonl", "parameters.json", "shard.json"


@dataclass(frozen=True, kw_only=True)
class FolderResult:
    """The result of a run: counts of files and events, failures, notes on files, and the ``results``."""

    folder: Path | str  # str: a URL
    analyzed: int
    resumed: int  # of the analysed files, those from an earlier run
    events: int
    without_event: int  # files without an event
    failures: Sequence[Failure]
    notes: Sequence[str]
    results: Sequence[FileResult]

    @property
    def summary_lines(self) -> list[str]:
        """Lines of text with the counts and the path of the results."""
        resumed = f" ({self.resumed:,} of them in an earlier run)" if self.resumed else ""
        without = f"; {counted(self.without_event, 'file')} without events" if self.without_event else ""
        failed = f" {counted(len(self.failures), 'file')} failed: see errors.csv." if self.failures else ""
        files, events = counted(self.analyzed, "file"), counted(self.events, "event")
        return [f"Analysed {files}{resumed}: {events}{without}.{failed}", f"The results are in {self.folder}."]


def analyze_to_folder(
    model: Model,
    files: Sequence[Input | Failure],
    settings: DetectionSettings,
    folder: Path,
    *,
    form: str = "csv",
    timezone: str = "UTC",
    jobs: parallel.Jobs = None,
    isolate: bool = False,
    fresh: bool = False,
    shard: Shard | None = None,
    on_progress: Callable[[AnalysisProgress], None] = lambda state: None,
) -> FolderResult:
    """Analyse ``files`` with ``settings``, and write the results into ``folder`` in the format ``form``.

    With ``shard``, only its part of ``files`` is analysed; ``merge`` combines the folders of all shards.
    ``jobs`` is a number of threads, or an executor such as a cluster.
    ``timezone`` is the timezone of recording times in file names. ``isolate`` decodes in processes with limits.
    ``fresh`` discards the results of earlier runs.
    ``on_progress`` is called with the progress.

    Raises:
        OutputError: the folder cannot be written, is in use by another process, or is not a results folder.
        SettingsError: a setting does not fit the model.
        ImportError: the package that the format needs is not installed.

    >>> files = [Input(str(clip.path), clip.path.name) for clip in city.clips[:2]]
    >>> done = analyze_to_folder(model, files, DetectionSettings(), folder / "out")
    >>> again = analyze_to_folder(model, files, DetectionSettings(), folder / "out", form="jsonl")
    >>> (done.analyzed, done.resumed), (again.analyzed, again.resumed)
    ((2, 0), (2, 2))
    """
    settings = settings.for_model(model)
    parameters = {"model": model.bundle.digest, "timezone": timezone, **settings.to_json()}
    settings.threshold(model)
    output_formats.FORMATS[form].check()
    check_results_folder(folder)
    every, files = files, files if shard is None else [files[index] for index in shard.indices(len(files))]
    earlier = EarlierFolder(folder, folder / JOURNAL)
    with output_folder.opened(folder, recognised=earlier.is_of_soundmark) as output:
        open_results(output, form, fresh=fresh)
        _write_parameters(folder, model, settings, parameters, form)
        with Journal(folder / JOURNAL) as journal:
            work = FolderWork(files, [_key(file, parameters, journal) for file in files], journal)
            resumed = len(files) - len(work.missing)
            log.debug('%d of %d files are in the journal "%s"', resumed, len(files), folder / JOURNAL)
            work.analyze(model, settings, timezone=timezone, jobs=jobs, isolate=isolate, on_progress=on_progress)
            found = write_results(output, work, form, resumed=resumed)
            if shard is not None:
                _write_shard(folder / SHARD, shard, every, work)
            return found


def open_results(output: OutputFolder, form: str, *, fresh: bool) -> None:
    """Check that no foreign file is in the way; remove what is of an earlier run: the journal only if ``fresh``.

    >>> with output_folder.opened(folder / "out") as output:
    ...     open_results(output, "csv", fresh=True)
    """
    results = [f"results{each.suffix}" for each in _with_companion(output_formats.FORMATS[form])]
    output.check(PARAMETERS, SHARD, "files.csv", "errors.csv", *results)
    output.check_folder("files")
    output.growing(JOURNAL, is_journal, head=b'{"key": ')
    output.remove(SHARD)  # until this run is finished
    if fresh:
        (output.folder / JOURNAL).unlink(missing_ok=True)


def _key(file: Input | Failure, parameters: Mapping[str, Any], journal: Journal) -> str | None:
    """Return the key of a file's result: that of an earlier version if the journal has its result."""
    if isinstance(file, Failure):
        return None
    earlier = earlier_key(file.path, parameters)
    return earlier if earlier in journal else journal_key(file.path, parameters)


class FolderWork:
    """The files of a run, with their results in the journal under ``keys``; None: a file that has no key yet."""

    def __init__(self, files: Sequence[Input | Failure], keys: Sequence[str | None], journal: Journal) -> None:
        self.files, self.keys, self.journal = files, list(keys), journal
        self.missing = [index for index, key in enumerate(self.keys) if key not in journal]
        self.failures: dict[int, Failure] = {}

    def analyze(self, model: Model, settings: DetectionSettings, **options: Any) -> None:
        """Analyse the files that are not in the journal yet; ``options`` are those of ``FileAnalysis``."""
        files = [self.files[index] for index in self.missing]
        with FileAnalysis(model, files, settings, **options) as results:
            for place, found in results.unordered():
                index = self.missing[place]
                if isinstance(found, Failure):
                    self.failures[index] = found
                else:
                    # Standard input has no key: give it a unique one, so that no later run reuses its result.
                    self.keys[index] = key = self.keys[index] or f"{os.getpid()} {time.time_ns()}"
                    self.journal.add(key, found)

    def __iter__(self) -> Iterator[FileResult | Failure]:
        """Yield the result or the failure of each file, in order, with one at a time in memory."""
        for index, key in enumerate(self.keys):
            found = self.failures.get(index) or self.journal.find(key)
            if found is not None:
                yield found

    def results(self) -> JournalResults:
        """Return the results of the files that could be read, in order."""
        return self.journal.results([key for _, key in self._analyzed()])

    def named_results(self) -> Iterator[tuple[str, FileResult]]:
        """Yield each result with the name of its results file, with one at a time in memory."""
        names = unique_names(name for name, _ in self._analyzed())
        for name, (_, key) in zip(names, self._analyzed(), strict=True):
            if (found := self.journal.find(key)) is not None:
                yield name, found

    def _analyzed(self) -> Iterator[tuple[str, str]]:
        """Yield name and key of each file with a result in the journal."""
        for index, (file, key) in enumerate(zip(self.files, self.keys, strict=True)):
            if isinstance(file, Input) and key is not None and index not in self.failures and key in self.journal:
                yield file.name, key


def unique_names(names: Iterable[str]) -> Iterator[str]:
    """Yield a name of a results file for each of the ``names`` of files: short enough, and different from the others.

    Names that differ in case only are equal: file names are case-insensitive on Windows and macOS.

    >>> list(unique_names(["a.wav", "b.wav", "A.wav", "a.wav"]))
    ['a.wav', 'b.wav', 'A.wav~2', 'a.wav~3']
    """
    taken: set[str] = set()
    last: dict[str, int] = {}  # the last number given to each name: starting from 1 each time would be quadratic
    for own in names:
        short = name = _short(own)
        key = short.casefold()
        number = last.get(key, 1)
        while name.casefold() in taken:
            number += 1
            name = f"{short}~{number}"
        last[key] = number
        taken.add(name.casefold())
        yield name


def _short(name: str) -> str:
    """Shorten a file's name to leave room for a suffix: file systems allow at most 255 bytes."""
    *parents, own = name.split("/")
    if len(os.fsencode(own)) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(os.fsencode(own)).hexdigest()[:8]
    kept = os.fsencode(own)[: MAX_NAME_BYTES - 9].decode("utf-8", "ignore")
    return "/".join([*parents, f"{kept}-{digest}"])


class _FileRow(NamedTuple):
    """A row of files.csv, in the order of ``FILES_COLUMNS``."""

    file: str
    duration_s: str
    start_utc: str
    label: str
    confidence: str
    events: int
    note: str

    @classmethod
    def of(cls, found: FileResult) -> _FileRow:
        best, started = found.answer[0], found.started.isoformat() if found.started else ""
        score, length_s = f"{best['score']:.6g}", f"{found.duration_s:.3f}"
        return cls(found.file, length_s, started, best["label"], score, len(found.events), found.note or "")


def write_results(output: OutputFolder, work: FolderWork, form: str, *, resumed: int = 0) -> FolderResult:
    """Write the results of ``work``: all files of the folder but the parameters and the journal.

    >>> with output_folder.opened(folder / "out") as output, Journal(folder / "out" / JOURNAL) as journal:
    ...     write_results(output, FolderWork([], [], journal), "csv").summary_lines[0]
    'Analysed 0 files: 0 events.'
    """
    rows = _write(output, work, output_formats.FORMATS[form])
    return FolderResult(
        folder=output.folder,
        analyzed=len(rows),
        resumed=resumed,
        events=sum(row.events for row in rows),
        without_event=sum(not row.events for row in rows),
        failures=_failures(work),
        notes=[row.note for row in rows if row.note],
        results=work.results(),
    )


def _write(output: OutputFolder, work: FolderWork, form: output_formats.Format) -> list[_FileRow]:
    """Write all files of the folder; return the rows of files.csv."""
    folder = output.folder
    for other in output_formats.FORMATS.values():  # of other settings, other inputs or another format
        for each in _with_companion(other):
            output.remove(f"results{each.suffix}")
    for each in _with_companion(form):
        with atomic.replacing(folder / f"results{each.suffix}") as temporary, temporary.open("wb") as file:
            file.writelines(each.write(work))
    rows = _write_each(output, work, form)
    _write_csv(folder / "files.csv", FILES_COLUMNS, rows)
    failed = ([failure.file, failure.reason] for failure in _failures(work))
    _write_csv(folder / "errors.csv", ["File", "Reason"], failed)
    return rows


def _with_companion(form: output_formats.Format) -> list[output_formats.Format]:
    return [form, form.companion] if form.companion else [form]


def _write_each(output: OutputFolder, work: FolderWork, form: output_formats.Format) -> list[_FileRow]:
    """Write the results file of each input; return the rows of files.csv."""
    rows, written = [], set()
    for name, found in work.named_results():
        path = output.folder / "files" / f"{name}{form.suffix}"
        written.add(f"files/{name}{form.suffix}")
        rows.append(_FileRow.of(found))
        with atomic.replacing(path, durable=False) as temporary:
            temporary.write_bytes(b"".join(form.write([found])))
    for path in list((output.folder / "files").rglob("*")):  # rglob follows no links
        name = path.relative_to(output.folder).as_posix()
        if name not in written and not path.is_symlink() and path.is_file():
            output.remove(name)  # left by an earlier run
    return rows


def _failures(work: FolderWork) -> list[Failure]:
    return [work.failures[index] for index in sorted(work.failures)]


def is_results_folder(folder: Path) -> bool:
    """Whether ``folder`` is a results folder, finished or not.

    >>> is_results_folder(folder / "new")
    False
    """
    return is_parameters(folder / PARAMETERS) or is_journal(folder / JOURNAL)


def check_results_folder(folder: Path) -> None:
    """Check that ``folder`` is missing, empty, or a results folder.

    Raises:
        OutputError: it contains other files.

    >>> check_results_folder(folder / "new")
    """
    names = [path.name for path in folder.glob("*") if not path.name.startswith(".")] if is_folder(folder) else []
    if names and not is_results_folder(folder):
        raise OutputError(
            f'"{folder}" is not a results folder: it contains "{sorted(names)[0]}". Choose a new folder with -o.'
        )


def _write_parameters(
    folder: Path, model: Model, settings: DetectionSettings, parameters: Mapping[str, Any], form: str
) -> None:
    """Write the model and the settings of a run to parameters.json."""
    onset_thresholds = RecordingAggregator(model, **settings.stream_options(model)).tracker.thresholds.tolist()
    content = {
        "schema": 1,
        "format": form,
        "parameters": dict(parameters),
        "classes": list(model.classes),
        "window_s": model.card.window_s,
        "begins_at": dict(zip(model.classes, onset_thresholds, strict=True)),
        "trained_on": model.card.training.name,
        "versions": provenance.versions(),
    }
    atomic.write_text(folder / PARAMETERS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _write_shard(path: Path, shard: Shard, every: Sequence[Input | Failure], work: FolderWork) -> None:
    """Write which files of the complete list ``every`` are in this folder, each with the key of its result."""
    failures = [work.failures.get(index) for index in range(len(work.files))]
    items = [
        [file.name if isinstance(file, Input) else None, key, failure and [failure.file, failure.reason]]
        for file, key, failure in zip(work.files, work.keys, failures, strict=True)
    ]
    about = {"number": shard.number, "count": shard.count, "files": len(every), "list": _list_digest(every)}
    atomic.write_text(path, json.dumps(checksums.with_checksum({"schema": 1, **about, "items": items})) + "\n")


def _list_digest(files: Sequence[Input | Failure]) -> str:
    digest = hashlib.sha256()
    for file in files:
        identity = [file.path, file.name] if isinstance(file, Input) else [file.file]
        digest.update(json.dumps(identity).encode())
    return digest.hexdigest()[:16]


def write_files_table(path: Path, results: Iterable[FileResult]) -> None:
    """Write ``results`` to ``path`` in the format of files.csv: one row per file.

    >>> answer = [{"label": "dog", "score": 0.75}]
    >>> write_files_table(folder / "files.csv", [FileResult(file="a.wav", duration_s=4.0, answer=answer, events=[])])
    >>> print((folder / "files.csv").read_text(encoding="utf-8"), end="")
    File,Duration (s),Start (UTC),Label,Confidence,Events,Note
    a.wav,4.000,,dog,0.75,0,
    """
    _write_csv(path, FILES_COLUMNS, map(_FileRow.of, results))


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        file.write(output_formats.csv_row(header))
        file.writelines(map(output_formats.csv_row, rows))

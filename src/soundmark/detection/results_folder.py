"""Files to a folder of results, which an interrupted run resumes: one file for all, one for each, and the failures.

    results.<format>    the events of all files, in their order
    files/…             the same for each file
    files.csv           a row per file: duration, start time, best class
    errors.csv          a row per file that could not be read, and the reason
    parameters.json     the model and all settings
    journal.jsonl       the results so far; the next run with the same settings starts from them

Results in the journal are not computed again, whichever format is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from soundmark.detection import output_formats
from soundmark.detection.file_analysis import FileAnalysis
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Failure, Input
from soundmark.detection.journal import Journal, JournalResults, journal_key
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import OutputError
from soundmark.models.classifier import Model
from soundmark.models.streaming import RecordingAggregator
from soundmark.runtime import atomic, locks, provenance
from soundmark.runtime.progress import AnalysisProgress

LONGEST_NAME = 200  # bytes of a file's name that are used for the name of its results


FILES_COLUMNS = ("File", "Duration (s)", "Start (UTC)", "Label", "Confidence", "Events", "Note")


JOURNAL, PARAMETERS = "journal.jsonl", "parameters.json"


@dataclass(frozen=True, kw_only=True)
class FolderResult:
    """The outcome of a run: counts of files and events, failures, notes on files, and the ``results``."""

    folder: Path
    analyzed: int
    before: int  # of them, in an earlier run
    events: int
    without_event: int  # files
    failures: Sequence[Failure]
    notes: Sequence[str]
    results: Sequence[FileResult]

    @property
    def whereabouts(self) -> list[str]:
        """Lines of text: counts, and where the results are."""
        before = f" ({self.before:,} of them before)" if self.before else ""
        without = f"; {self.without_event:,} files without one" if self.without_event else ""
        failed = f" {len(self.failures):,} could not be heard: see errors.csv." if self.failures else ""
        return [
            f"{self.analyzed:,} files were heard{before}: {self.events:,} events{without}.{failed}",
            f"The results are in {self.folder}.",
        ]


def analyze_to_folder(
    model: Model,
    files: Sequence[Input | Failure],
    settings: DetectionSettings,
    folder: Path,
    *,
    form: str = "csv",
    timezone: str = "UTC",
    jobs: int | None = None,
    fresh: bool = False,
    tell: Callable[[AnalysisProgress], None] = lambda state: None,
) -> FolderResult:
    """Analyze ``files`` with ``settings``, and write the results into ``folder``.

    ``timezone`` is that of times in file names; ``tell`` is called with the progress.

    Raises:
        OutputError: the folder cannot be written, is written to by another process, or holds something else.
        SettingsError: a setting that does not suit the model.
        ImportError: the package that the format needs is not installed.

    >>> files = [Input(str(clip.path), clip.path.name) for clip in city.clips[:2]]
    >>> done = analyze_to_folder(model, files, DetectionSettings(), folder / "out")
    >>> again = analyze_to_folder(model, files, DetectionSettings(), folder / "out", form="jsonl")
    >>> (done.analyzed, done.before), (again.analyzed, again.before)
    ((2, 0), (2, 2))
    """
    parameters = {"model": _digest(model), "timezone": timezone, **settings.to_json()}
    settings.threshold(model)
    output_formats.FORMATS[form].check()
    _check(folder)
    with locks.exclusive(folder):
        for swept in (folder, *(path for path in (folder / "files").rglob("*") if path.is_dir()), folder / "files"):
            atomic.remove_partial_files(swept)
        if fresh:
            (folder / JOURNAL).unlink(missing_ok=True)
        _write_parameters(folder, model, settings, parameters, form)
        with Journal(folder / JOURNAL) as journal:
            work = _FolderWork(files, parameters, journal)
            before = len(files) - len(work.missing)
            work.analyze(model, settings, timezone, jobs, tell)
            return _folder_result(folder, work, before, _write(folder, work, output_formats.FORMATS[form]))


class _FolderWork:
    """The files of a run, and their results, which are in the journal."""

    def __init__(self, files: Sequence[Input | Failure], parameters: Mapping[str, Any], journal: Journal) -> None:
        self.files, self.journal = files, journal
        self.keys = [journal_key(file.path, parameters) if isinstance(file, Input) else None for file in files]
        self.missing = [place for place, key in enumerate(self.keys) if key not in journal]
        self.failures: dict[int, Failure] = {}

    def analyze(
        self,
        model: Model,
        settings: DetectionSettings,
        timezone: str,
        jobs: int | None,
        tell: Callable[[AnalysisProgress], None],
    ) -> None:
        """Analyze the files that are not in the journal yet."""
        wanted = [self.files[place] for place in self.missing]
        with FileAnalysis(model, wanted, settings, timezone=timezone, jobs=jobs, tell=tell) as results:
            for place, found in zip(self.missing, results, strict=True):
                if isinstance(found, Failure):
                    self.failures[place] = found
                else:
                    # Standard input has no key: it gets one that no later run finds.
                    self.keys[place] = key = self.keys[place] or f"{os.getpid()} {time.time_ns()}"
                    self.journal.add(key, found)

    def __iter__(self) -> Iterator[FileResult | Failure]:
        """The result or the failure of each file, in their order; one at a time in memory."""
        for place, key in enumerate(self.keys):
            found = self.failures.get(place) or self.journal.find(key)
            if found is not None:
                yield found

    def results(self) -> JournalResults:
        """The results of the files that could be read, in their order."""
        keys = [key for i, key in enumerate(self.keys) if key is not None and i not in self.failures]
        return self.journal.results([key for key in keys if key in self.journal])

    def named_results(self) -> Iterator[tuple[str, FileResult]]:
        """The results, each with the name of its own results file."""
        taken: set[str] = set()
        for place, file in enumerate(self.files):
            found = None if place in self.failures else self.journal.find(self.keys[place])
            if found is not None and isinstance(file, Input):
                name, number = _short(file.name), 1
                while name.casefold() in taken:  # Windows and macOS do not tell A.wav from a.wav
                    number += 1
                    name = f"{_short(file.name)}~{number}"
                taken.add(name.casefold())
                yield name, found


def _short(name: str) -> str:
    """A file's name, shortened to leave room for a suffix: file systems allow at most 255 bytes."""
    *above, own = name.split("/")
    if len(os.fsencode(own)) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(os.fsencode(own)).hexdigest()[:8]
    kept = os.fsencode(own)[: LONGEST_NAME - 9].decode("utf-8", "ignore")
    return "/".join([*above, f"{kept}-{digest}"])


class _Row(NamedTuple):
    """A row of files.csv, in the order of its columns."""

    file: str
    duration_s: str
    start_utc: str
    label: str
    confidence: str
    events: int
    note: str

    @classmethod
    def of(cls, found: FileResult) -> _Row:
        best, started = found.answer[0], found.started.isoformat() if found.started else ""
        score, length_s = f"{best['score']:.6g}", f"{found.duration_s:.3f}"
        return cls(found.file, length_s, started, best["label"], score, len(found.events), found.note or "")


def _write(folder: Path, work: _FolderWork, form: output_formats.Format) -> list[_Row]:
    """Write all files of the folder, and return the rows of files.csv."""
    for stale in folder.glob("results.*"):  # of other parameters, other files or another format
        if stale.name in {f"results{other.suffix}" for other in output_formats.FORMATS.values()}:
            stale.unlink(missing_ok=True)
    with atomic.replacing(folder / f"results{form.suffix}") as temporary, temporary.open("wb") as file:
        file.writelines(form.write(work))
    rows = _write_each(folder / "files", work, form)
    _write_table(folder / "files.csv", FILES_COLUMNS, rows)
    failed = ([failure.file, failure.reason] for failure in _failures(work))
    _write_table(folder / "errors.csv", ["File", "Reason"], failed)
    return rows


def _write_each(folder: Path, work: _FolderWork, form: output_formats.Format) -> list[_Row]:
    """Write the results of each file."""
    rows, written = [], set()
    for name, found in work.named_results():
        path = folder / f"{name}{form.suffix}"
        written.add(path)
        rows.append(_Row.of(found))
        with atomic.replacing(path, durable=False) as temporary:
            temporary.write_bytes(b"".join(form.write([found])))
    for path in list(folder.rglob("*")):
        if path not in written and path.is_file():  # stale as those of all
            path.unlink(missing_ok=True)
    return rows


def _folder_result(folder: Path, work: _FolderWork, before: int, rows: Sequence[_Row]) -> FolderResult:
    return FolderResult(
        folder=folder,
        analyzed=len(rows),
        before=before,
        events=sum(row.events for row in rows),
        without_event=sum(not row.events for row in rows),
        failures=_failures(work),
        notes=[row.note for row in rows if row.note],
        results=work.results(),
    )


def _failures(work: _FolderWork) -> list[Failure]:
    return [work.failures[place] for place in sorted(work.failures)]


def _check(folder: Path) -> None:
    """Refuse a folder that holds something other than results."""
    there = [path.name for path in folder.glob("*") if not path.name.startswith(".")] if folder.is_dir() else []
    if there and not {JOURNAL, PARAMETERS} & set(there):
        raise OutputError(f'"{folder}" holds something else ("{sorted(there)[0]}"). Choose a new folder with -o.')


def _digest(model: Model) -> str:
    return hashlib.sha256(model.bundle.graph + model.bundle.card_json.encode()).hexdigest()


def _write_parameters(
    folder: Path, model: Model, settings: DetectionSettings, parameters: Mapping[str, Any], form: str
) -> None:
    """Write the parameters of a run beside its results."""
    begins = RecordingAggregator(model, **settings.stream_options(model)).tracker.thresholds.tolist()
    about = {
        "schema": 1,
        "format": form,
        "parameters": dict(parameters),
        "classes": list(model.classes),
        "window_s": model.card.window_s,
        "begins_at": dict(zip(model.classes, begins, strict=True)),
        "trained_on": model.card.training.name,
        "versions": provenance.versions(),
    }
    atomic.write_text(folder / PARAMETERS, json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        file.write(output_formats.csv_row(header))
        file.writelines(map(output_formats.csv_row, rows))

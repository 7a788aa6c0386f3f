"""``analyze``: many files to an ``Analysis``, in memory or in a results folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundmark.detection import inputs as input_files
from soundmark.detection.file_analysis import FileAnalysis
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Failure
from soundmark.detection.output_formats import FORMATS
from soundmark.detection.results_folder import analyze_to_folder
from soundmark.detection.results_folder.destination import destination
from soundmark.detection.settings import DEFAULT_TIMEZONE, DetectionSettings, Shard, check_share, resolve_thresholds
from soundmark.errors import unknown_name
from soundmark.models.classifier import Model
from soundmark.models.events import RELEASE
from soundmark.models.pretrained.named_models import open_model
from soundmark.runtime import parallel
from soundmark.runtime.checks import check_jobs, check_path, check_paths
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.text import counted, duration, html_table

if TYPE_CHECKING:
    import pandas as pd


REPR_FILES = 5


HTML_EVENTS = 20


@dataclass(frozen=True, kw_only=True, repr=False)
class Analysis:
    """The results of several files, in order.

    ``failures`` are the files that could not be read. ``notes`` describe files that could be read only in part.
    ``folder`` is the results folder or its URL, or None if the results are only in memory.
    """

    results: Sequence[FileResult]
    failures: Sequence[Failure] = ()
    notes: Sequence[str] = ()
    folder: Path | str | None = None

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[FileResult]:
        return iter(self.results)

    def __getitem__(self, index: int) -> FileResult:
        return self.results[index]

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row per event: file, start_s, stop_s, label, confidence, peak, start_utc (NaT if unknown), levels.

        >>> from soundmark.detection.analysis import analyze
        >>> analyze(city.clips[0].path, model).to_dataframe().columns.tolist()
        ['file', 'start_s', 'stop_s', 'label', 'confidence', 'peak', 'start_utc', 'level_dbfs', 'level_dba']
        """
        pd = import_pandas()

        rows = [
            {
                "file": result.file,
                "start_s": event.start_s,
                "stop_s": event.stop_s,
                "label": event.label,
                "confidence": event.confidence,
                "peak": event.peak,
                "start_utc": result.started + timedelta(seconds=event.start_s) if result.started else None,
                "level_dbfs": event.level_dbfs,
                "level_dba": event.level_dba,
            }
            for result in self.results
            for event in result.events
        ]
        columns = ["file", "start_s", "stop_s", "label", "confidence", "peak", "start_utc", "level_dbfs", "level_dba"]
        return pd.DataFrame(rows, columns=columns).assign(
            start_utc=lambda table: pd.to_datetime(table["start_utc"], utc=True)
        )

    def _title(self) -> str:
        total = duration(sum(result.duration_s for result in self.results))
        events = counted(sum(len(result.events) for result in self.results), "event")
        failed = f"; {counted(len(self.failures), 'file')} failed" if self.failures else ""
        where = f'; written to "{str(self.folder)[-200:]}"' if self.folder else ""
        return f"{counted(len(self.results), 'file')}, {total}: {events}{failed}{where}"

    def __repr__(self) -> str:
        lines = [f"Analysis({self._title()})"]
        lines += [f"  {_short(result.file)}: {_best(result)}" for result in self.results[:REPR_FILES]]
        lines += ["  …"] if len(self.results) > REPR_FILES else []
        lines += [f"  failed: {failure.reason[:200]}" for failure in self.failures[:REPR_FILES]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        events = ((result, event) for result in self.results for event in result.events)
        rows = [
            (_short(result.file), f"{event.start_s:.1f}", f"{event.stop_s:.1f}", event.label, f"{event.confidence:.3f}")
            for _, (result, event) in zip(range(HTML_EVENTS), events, strict=False)
        ]
        return html_table(rows, header=("file", "start (s)", "stop (s)", "label", "confidence"), caption=self._title())


def _short(file: str) -> str:
    return file if len(file) <= 60 else f"…{file[-59:]}"


def _best(result: FileResult) -> str:
    best = f"{result.answer[0]['label'][:60]} {result.answer[0]['score']:.2f}" if result.answer else "no classes"
    return f"{best}; {counted(len(result.events), 'event')}"


def analyze(
    inputs: str | PathLike[str] | Iterable[str | PathLike[str]],
    model: Model | str | PathLike[str],
    folder: str | PathLike[str] | None = None,
    *,
    format: str = "csv",
    top_k: int = DetectionSettings.top_k,
    unknown: bool = DetectionSettings.unknown,
    overlap: float | None = DetectionSettings.overlap,
    threshold: float | None = DetectionSettings.min_confidence,
    thresholds: Mapping[str, float] | Sequence[float] | str | PathLike[str] | None = DetectionSettings.thresholds,
    release: float = RELEASE,
    merge_gap_s: float = DetectionSettings.merge_gap_s,
    calibration_db: float | None = DetectionSettings.calibration_db,
    timezone: str = DEFAULT_TIMEZONE,
    jobs: int | None = None,
    isolate: bool = False,
    fresh: bool = False,
    shard: str | Shard | None = None,
    cluster: Any = None,
    quiet: bool = False,
) -> Analysis:
    """Classify sound files, and all sound files in folders; detect events in each.

    ``inputs`` is one path or URL (s3://, gs://, http://, https://), or several.

    An event starts where the probability of a class reaches ``threshold`` (default:
    the model's own, or 0.5). ``thresholds`` sets other values for single classes: a mapping, a TOML or CSV file, or one
    number per class. The event ends where the probability falls below ``release`` × threshold. Events of a class
    separated by at most ``merge_gap_s`` are merged. ``overlap`` is the overlap between consecutive windows, as a
    fraction of the window (default: the model's). With ``calibration_db``, the sound pressure level of 0 dBFS, events
    have their level in dB(A) too. ``top_k`` classes are listed per file. ``unknown`` reports sounds unlike the training
    data as "unknown". ``timezone`` is the timezone of recording times in file names.

    With ``folder``, a path or the URL of a folder in an object store, results are written there in ``format`` ("csv",
    "jsonl", "json", "parquet", "audacity", "raven", "aoef"), and the same call resumes an interrupted analysis, unless
    ``fresh``. ``jobs`` files are analysed in parallel (default: all cores). With ``isolate``, processes with limits on
    memory and time decode the files: a file that crashes its decoder is a failure like others. ``shard="3/8"`` analyses
    the third of eight parts of the files, into ``folder``; ``merge`` combines the folders of all parts.

    Raises:
        SettingsError: there are no inputs; a setting is out of range, or does not fit the model.
        BundleError: the model cannot be read.
        OutputError: the folder cannot be written, or is not a results folder.

    >>> found = analyze([city.clips[0].path, city.clips[1].path], model, top_k=1)
    >>> len(found), len(found[0].answer), found.failures
    (2, 1, [])
    """
    check_share("threshold", threshold)
    if not isinstance(format, str) or format not in FORMATS:
        raise unknown_name("format", format, list(FORMATS))
    check_jobs(jobs)
    if shard is not None and not isinstance(shard, Shard):
        shard = Shard.parse(str(shard))
    loaded = open_model(model)
    settings = DetectionSettings(
        top_k=top_k,
        unknown=unknown,
        overlap=overlap,
        min_confidence=threshold,
        thresholds=resolve_thresholds(thresholds, loaded),
        release=release,
        merge_gap_s=merge_gap_s,
        calibration_db=calibration_db,
    )
    paths = check_paths("the input", inputs)
    input_files.check(paths, None)
    input_files.check_shard(paths, shard, folder)
    to = None if folder is None else check_path("the folder", folder)
    files, _ = input_files.without_repeats(input_files.files(paths))
    from soundmark.runtime.progress_bars import analysis_progress, progress_bars  # imports rich, which is slow

    options: dict[str, Any] = {"timezone": timezone, "isolate": isolate}
    if to is None:
        with (
            parallel.workers(cluster, jobs) as workers,
            analysis_progress(quiet) as on_progress,
            FileAnalysis(loaded, files, settings, **options, jobs=workers, on_progress=on_progress) as analysis,
        ):
            results = [found for found in analysis if isinstance(found, FileResult)]
        return Analysis(results=results, failures=analysis.failures, notes=analysis.notes)
    options |= {"form": format, "fresh": fresh, "shard": shard}
    with destination(to, fresh=fresh) as place:
        with parallel.workers(cluster, jobs) as workers, analysis_progress(quiet) as on_progress:
            written = analyze_to_folder(
                loaded, files, settings, place.folder, **options, jobs=workers, on_progress=on_progress
            )
        with progress_bars(quiet) as on_copied:
            written = place.publish(written, on_copied)
    return Analysis(results=written.results, failures=written.failures, notes=written.notes, folder=written.folder)

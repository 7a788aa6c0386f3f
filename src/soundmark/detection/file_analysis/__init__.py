"""Analyse sound files in parallel; return their results in the order of the files.

In reading order:

    parts       parts of a long recording, which several machines score
    on_cluster  files and parts of files as the work of an executor, such as a cluster
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from soundmark import audio
from soundmark.audio import timestamps
from soundmark.audio.decoding import UNNAMED
from soundmark.detection import inputs
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import STANDARD_INPUT, Failure, Input
from soundmark.errors import AudioError, as_line, processing
from soundmark.models.classifier import Model
from soundmark.models.streaming import RecordingAggregator, StreamClassifier, WindowScores, open_stream
from soundmark.runtime import parallel
from soundmark.runtime.checks import is_url
from soundmark.runtime.progress import AnalysisProgress, FileProgress

if TYPE_CHECKING:
    from soundmark.audio import Samples
    from soundmark.audio.decoding.isolation import Decoders
    from soundmark.detection.settings import DetectionSettings
    from soundmark.models.events import Event
    from soundmark.models.streaming import WindowScores


log = logging.getLogger("soundmark")


@dataclass(frozen=True, kw_only=True)
class FileCallbacks:
    """Functions that are called while a file is analysed; an exception that one raises stops the analysis.

    ``opened`` gets the duration in seconds that the header declares, and the sample rate of the windows; ``samples``
    the position in the recording and samples at that rate, before they are scored; ``scores`` the scores of windows, in
    order, with their embeddings if ``embed``; ``events`` the events that ended.
    """

    embed: bool = False

    opened: Callable[[float, int], None] = lambda duration_s, rate_hz: None
    samples: Callable[[int, Samples], None] = lambda start, samples: None
    scores: Callable[[WindowScores], None] = lambda part: None
    events: Callable[[Sequence[Event]], None] = lambda events: None


def analyze_file(
    model: Model,
    file: Input,
    settings: DetectionSettings,
    *,
    pool: Executor | None = None,
    decoders: Decoders | None = None,
    on_sound: Callable[[float, float], None] = lambda analyzed_s, of_s: None,
    callbacks: FileCallbacks = FileCallbacks(),
) -> FileResult | Failure:
    """Analyse ``file`` in constant memory, whatever its length; return a ``Failure`` if it cannot be read.

    ``pool`` has the threads, ``decoders`` the processes that decode it (None: this thread, this process).
    ``on_sound`` is called repeatedly with the seconds analysed and the duration declared in the header. An exception
    that it raises stops the analysis. ``callbacks`` give the results while they are computed.

    >>> from soundmark.detection.settings import DetectionSettings
    >>> found = analyze_file(model, Input(str(city.clips[0].path), "a.wav"), DetectionSettings(top_k=2))
    >>> len(found.answer), len(found.events), found.duration_s > 0
    (2, 1, True)
    """

    def report(part: WindowScores) -> None:
        callbacks.scores(part)
        on_sound(float(part.stop_s[-1]), stream.duration_s)

    piped = file.path == STANDARD_INPUT
    settings = settings.for_model(model)
    options = settings.stream_options(model)
    log.debug('analysing "%s"', file.path)
    try:
        with opened_input(file.path) as source, open_stream(source, None, None, pool, decoders) as stream:
            classifier = StreamClassifier(
                model,
                stream.rate_hz,
                overlap=settings.overlap,
                batched=True,
                embed=callbacks.embed,
                pool=pool,
                on_scores=report,
                on_samples=callbacks.samples,
                **options,
            )
            callbacks.opened(stream.duration_s, classifier.rate_hz)
            events = classifier.read(stream, callbacks.events)
    except OSError as error:
        return Failure(file.path, f"{'standard input' if piped else file.path}: {error.strerror or error}.")
    except AudioError as error:
        return Failure(file.path, _with_name("standard input" if piped else f'"{file.path}"', str(error)))
    log.debug('analysed "%s": %.1f s, %d events', file.path, classifier.analyzed_s, len(events))
    return result_of(model, file.path, classifier.aggregator, events, settings, note=stream.note)


def opened_input(path: str) -> AbstractContextManager[Path | BinaryIO]:
    """Return what is decoded, for a ``with`` block: a path, standard input ("-"), or an open file at a URL.

    >>> with opened_input("street.wav") as source:
    ...     source.name
    'street.wav'
    """
    if path == STANDARD_INPUT:
        return nullcontext(inputs.standard_input())
    if not is_url(path):
        return nullcontext(Path(path))
    from soundmark.audio import remote

    return remote.opened(path)


def result_of(
    model: Model,
    path: str,
    aggregator: RecordingAggregator,
    events: Sequence[Event],
    settings: DetectionSettings,
    *,
    note: str | None = None,
) -> FileResult:
    """Return the result of the recording at ``path``, all of whose windows were added to ``aggregator``.

    >>> from soundmark.detection.settings import DetectionSettings
    >>> classifier = StreamClassifier(model, 22050)
    >>> events = classifier.read([audio.read(city.clips[0].path).samples])
    >>> result_of(model, "a.wav", classifier.aggregator, events, DetectionSettings()).windows
    1
    """
    return FileResult(
        file=path,
        duration_s=aggregator.analyzed_s,
        answer=_answer(model, aggregator, settings),
        events=events,
        windows=aggregator.windows,
        note=audio.incomplete_note(path, note) if note else None,
    )


def _with_name(name: str, reason: str) -> str:
    name = as_line(name)  # as in the message
    reason = reason.replace(UNNAMED, name)
    return reason if name in reason else f"{name}: {reason}"


def analyze_files(
    model: Model,
    files: Iterable[Input | Failure],
    settings: DetectionSettings,
    *,
    jobs: int | None = None,
    isolate: bool = False,
    on_sound: Callable[[str, float, float], None] = lambda file, analyzed_s, of_s: None,
    callbacks: Callable[[str], FileCallbacks] = lambda path: FileCallbacks(),
) -> Generator[FileResult | Failure, None, None]:
    """Call ``analyze_file`` for each of ``files``, ``jobs`` at a time (default: all cores); yield results in order.

    One thread decodes a file while others compute its spectrograms and run the network, so one long file uses all
    cores, as many short files do. With ``isolate``, worker processes decode them. A ``Failure`` among
    ``files`` is yielded unchanged. ``on_sound`` is called from several threads with the path, the seconds
    analysed and the duration declared in the header. ``callbacks`` returns those of a path.

    >>> from soundmark.detection.settings import DetectionSettings
    >>> files = [Input(str(city.clips[0].path), "a.wav"), Input("none.wav", "none.wav")]
    >>> found = analyze_files(model, files, DetectionSettings())
    >>> [type(one).__name__ for one in found]
    ['FileResult', 'Failure']
    """
    jobs = jobs or parallel.available_cores()
    settings = settings.for_model(model)
    stopped = Flag()

    def one(file: Input | Failure) -> FileResult | Failure:
        if isinstance(file, Failure):
            return file
        with processing(f'"{file.path}"'):
            return analyze_file(
                model,
                file,
                settings,
                pool=pool if jobs > 1 else None,
                decoders=decoders,
                on_sound=partial(report, file.path),
                callbacks=callbacks(file.path),
            )

    def report(file: str, analyzed_s: float, of_s: float) -> None:
        if stopped.is_set():  # the caller stopped iterating: cancel the files that are still running
            raise CancelledError
        on_sound(file, analyzed_s, of_s)

    with decoders_of(isolate, jobs) as decoders, ThreadPoolExecutor(jobs) as pool, ThreadPoolExecutor(jobs) as readers:
        try:
            yield from parallel.map_ordered(one, files, readers if jobs > 1 else None)
        finally:
            stopped.set()


def decoders_of(isolate: bool, threads: int) -> AbstractContextManager[Decoders | None]:
    """Return the processes that decode files if ``isolate``; None: this process does.

    >>> with decoders_of(False, 1) as decoders:
    ...     decoders
    """
    if not isolate:
        return nullcontext()
    from soundmark.audio.decoding.isolation import Decoders  # imports subprocess

    return Decoders(threads)


class FileAnalysis:
    """An iterator over the results of ``files``, in order, for use in a ``with`` block.

    It adds the start time of each recording, if known. ``failures`` collects files that could not be read, ``notes``
    those that could be read only in part. ``on_progress`` is called with the progress. ``callbacks`` returns those of a
    path, which several threads call. ``jobs`` is a number of threads, or an executor such as a cluster, to which whole
    files and parts of long files are sent, and which calls no ``callbacks``.

    >>> from soundmark.detection.settings import DetectionSettings
    >>> with FileAnalysis(model, [Input("none.wav", "none.wav")], DetectionSettings()) as analysis:
    ...     [type(found).__name__ for found in analysis], len(analysis.failures)
    (['Failure'], 1)
    """

    def __init__(
        self,
        model: Model,
        files: Sequence[Input | Failure],
        settings: DetectionSettings,
        *,
        timezone: str = "UTC",
        jobs: parallel.Jobs = None,
        isolate: bool = False,
        on_progress: Callable[[AnalysisProgress], None] = lambda state: None,
        callbacks: Callable[[str], FileCallbacks] = lambda path: FileCallbacks(),
    ) -> None:
        self.failures: list[Failure] = []
        self.notes: list[str] = []
        timestamps.timezone_named(timezone)
        settings.threshold(model)  # check the settings before any file is read
        self._progress = FileProgress([file.path for file in files if isinstance(file, Input)], len(files), on_progress)
        if isinstance(jobs, Executor):
            from soundmark.detection.file_analysis.on_cluster import analyze_on

            self._found = analyze_on(
                jobs, model, files, settings, timezone=timezone, isolate=isolate, on_sound=self._progress.update
            )
        else:
            found = analyze_files(
                model,
                files,
                settings,
                jobs=jobs,
                isolate=isolate,
                on_sound=self._progress.update,
                callbacks=callbacks,
            )
            self._found = _numbered(found, timezone)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._found.close()  # stops the threads, even if not all results were read

    def unordered(self) -> Iterator[tuple[int, FileResult | Failure]]:
        """Yield the index and the result of each file as soon as it is known."""
        for index, found in self._found:
            if isinstance(found, Failure):
                self.failures.append(found)
                self._progress.finish(found.file)
            else:
                self.notes += [found.note] if found.note else []
                self._progress.finish(found.file, found.duration_s)
            yield index, found

    def __iter__(self) -> Iterator[FileResult | Failure]:
        waiting: dict[int, FileResult | Failure] = {}
        following = 0
        for index, found in self.unordered():
            waiting[index] = found
            while following in waiting:
                yield waiting.pop(following)
                following += 1


def with_start(found: FileResult | Failure, timezone: str) -> FileResult | Failure:
    """Add the start time of the recording, if known; ``timezone`` is that of times in file names.

    >>> with_start(FileResult(file="20240612_043000.wav", duration_s=1, answer=[], events=[]), "UTC").started.year
    2024
    """
    if isinstance(found, Failure):
        return found
    return replace(found, started=timestamps.recording_start(found.file, zone=timezone))


def _numbered(
    results: Generator[FileResult | Failure, None, None], timezone: str
) -> Generator[tuple[int, FileResult | Failure], None, None]:
    try:
        for index, found in enumerate(results):
            yield index, with_start(found, timezone)
    finally:
        results.close()  # stops the threads


def _answer(model: Model, aggregator: RecordingAggregator, settings: DetectionSettings) -> list[dict[str, Any]]:
    """Return the ``top_k`` classes of the complete recording, best first.

    A multi-label model also lists all other classes that are present.
    """
    if model.thresholds is None:
        return aggregator.answer(settings.top_k)
    thresholds: dict[str | None, float] = dict(zip(model.classes, model.thresholds.tolist(), strict=True))
    thresholds[model.unknown] = 0.0  # "unknown" is listed only if it applies, and does not count towards ``top_k``
    answer = aggregator.answer()
    entries = [entry | {"present": entry["score"] >= thresholds[entry["label"]]} for entry in answer]
    top_k = settings.top_k + (bool(answer) and answer[0]["label"] == model.unknown)
    return [entry for row, entry in enumerate(entries) if row < top_k or entry["present"]]

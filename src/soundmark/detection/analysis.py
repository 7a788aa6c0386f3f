"""Files to what is heard in each: several at a time, on all cores, in the order of the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from soundmark import audio
from soundmark.audio import timestamps
from soundmark.detection import inputs
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import STANDARD_INPUT, Failure, Input
from soundmark.errors import AudioError
from soundmark.models.classifier import Model
from soundmark.models.streaming import RecordingAggregator
from soundmark.runtime import parallel
from soundmark.runtime.progress import AnalysisProgress, FileProgress

if TYPE_CHECKING:
    from soundmark.detection.settings import DetectionSettings


def aggregator_for(model: Model, settings: DetectionSettings) -> RecordingAggregator:
    """What keeps account of one recording by these settings.

    >>> from soundmark.detection.settings import DetectionSettings
    >>> aggregator_for(model, DetectionSettings()).windows
    0
    """
    return RecordingAggregator(
        model,
        threshold=settings.threshold(model),
        release=settings.release,
        merge_gap_s=settings.merge_gap_s,
        unknown=settings.unknown,
    )


def analyze_file(
    model: Model,
    file: Input,
    settings: DetectionSettings,
    *,
    pool: Executor | None = None,
    on_sound: Callable[[float, float], None] = lambda heard_s, of_s: None,
) -> FileResult | Failure:
    """What ``model`` hears in ``file``, in constant memory however long it is; or why it cannot be heard.

    ``on_sound`` is told how many seconds of how many were heard, again and again; what it raises ends the hearing.

    >>> from soundmark.detection.settings import DetectionSettings
    >>> found = analyze_file(model, Input(str(city.clips[0].path), "a.wav"), DetectionSettings(top_k=2))
    >>> len(found.answer), len(found.events), found.duration_s > 0
    (2, 1, True)
    """
    piped = file.path == STANDARD_INPUT
    heard, events = aggregator_for(model, settings), []
    try:
        source = inputs.standard_input() if piped else Path(file.path)
        with model.listening(source, overlap=settings.overlap, pieces=True, pool=pool) as sound:
            for part in sound:
                events += heard.hear(part)
                on_sound(sound.duration_s, sound.declared_s)
    except OSError as error:
        return Failure(file.path, f"{'standard input' if piped else file.path}: {error.strerror or error}.")
    except AudioError as error:
        return Failure(file.path, _with_name("standard input" if piped else f'"{file.path}"', str(error)))
    return FileResult(
        file=file.path,
        duration_s=sound.duration_s,
        answer=_answer(model, heard, settings),
        events=heard.in_order([*events, *heard.end()]),
        windows=heard.windows,
        note=audio.incomplete_note(file.path, sound.note) if sound.note else None,
    )


def _with_name(name: str, reason: str) -> str:
    reason = reason.replace("the bytes", name)
    return reason if name in reason else f"{name}: {reason}"


def analyze_files(
    model: Model,
    files: Iterable[Input | Failure],
    settings: DetectionSettings,
    *,
    jobs: int | None = None,
    on_sound: Callable[[str, float, float], None] = lambda file, heard_s, of_s: None,
) -> Iterator[FileResult | Failure]:
    """``hear`` for each of ``files``, in their order: ``jobs`` of them at a time (all cores by default).

    A file is decoded by one thread while others compute its spectrograms and run the network, so that one long file
    keeps all cores busy as well as many short ones do. What is a ``Failure`` already is handed through. ``on_sound`` is
    told of each file how many seconds of how many were heard, by several threads.

    >>> from soundmark.detection.settings import DetectionSettings
    >>> files = [Input(str(city.clips[0].path), "a.wav"), Input("none.wav", "none.wav")]
    >>> found = analyze_files(model, files, DetectionSettings())
    >>> [type(one).__name__ for one in found]
    ['FileResult', 'Failure']
    """
    jobs = jobs or parallel.available_cores()
    settings.threshold(model)  # what cannot be meant is said before anything is heard
    halted = Event()

    def one(file: Input | Failure) -> FileResult | Failure:
        if isinstance(file, Failure):
            return file
        return analyze_file(model, file, settings, pool=pool if jobs > 1 else None, on_sound=partial(told, file.path))

    def told(file: str, heard_s: float, of_s: float) -> None:
        if halted.is_set():  # nobody wants it: an hour that is under way must not be heard to its end
            raise CancelledError
        on_sound(file, heard_s, of_s)

    with ThreadPoolExecutor(jobs) as pool, ThreadPoolExecutor(jobs) as readers:
        try:
            yield from parallel.map_ordered(one, files, readers if jobs > 1 else None)
        finally:
            halted.set()


class FileAnalysis:
    """What is heard in each of some files, in their order, to be gone through once: see ``each``.

    It knows when each recording was begun, where that can be told, and keeps the ``failures``, and the ``notes`` on
    files that were heard as far as they go.

    >>> from soundmark.detection.settings import DetectionSettings
    >>> hearing = FileAnalysis(model, [Input("none.wav", "none.wav")], DetectionSettings())
    >>> [type(found).__name__ for found in hearing], len(hearing.failures)
    (['Failure'], 1)
    """

    def __init__(
        self,
        model: Model,
        files: Sequence[Input | Failure],
        settings: DetectionSettings,
        *,
        timezone: str = "UTC",
        jobs: int | None = None,
        tell: Callable[[AnalysisProgress], None] = lambda state: None,
    ) -> None:
        self.failures: list[Failure] = []
        self.notes: list[str] = []
        timestamps.timezone_named(timezone)
        self._timezone, self._course = (
            timezone,
            FileProgress([file.path for file in files if isinstance(file, Input)], len(files), tell),
        )
        self._found = analyze_files(model, files, settings, jobs=jobs, on_sound=self._course.sound)

    def __iter__(self) -> Iterator[FileResult | Failure]:
        for found in self._found:
            if isinstance(found, Failure):
                self.failures.append(found)
                self._course.done(found.file)
                yield found
            else:
                self.notes += [found.note] if found.note else []
                self._course.done(found.file, found.duration_s)
                yield replace(found, began=timestamps.recording_start(found.file, zone=self._timezone))


def _answer(model: Model, heard: RecordingAggregator, settings: DetectionSettings) -> list[dict[str, Any]]:
    """The classes of the whole recording, best first; of a sigmoid all that are present, also beyond ``top_k``."""
    if model.thresholds is None:
        return heard.answer(settings.top_k)
    least: dict[str | None, float] = dict(zip(model.classes, model.thresholds.tolist(), strict=True))
    least[model.unknown] = 0.0  # where it is said, it is meant; and it counts for none of the ``top_k``
    answer = heard.answer()
    told = [entry | {"present": entry["score"] >= least[entry["label"]]} for entry in answer]
    top_k = settings.top_k + (bool(answer) and answer[0]["label"] == model.unknown)
    return [entry for place, entry in enumerate(told) if place < top_k or entry["present"]]

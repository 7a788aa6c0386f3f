"""Answers for short sounds, which processes analyse: see ``serving.analysis``."""

from __future__ import annotations

import itertools
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from soundmark.detection.settings import DetectionSettings
from soundmark.errors import OutputError, SoundmarkError
from soundmark.models.classifier import Model
from soundmark.runtime.checks import is_count, is_finite
from soundmark.runtime.parallel.worker_pool import Worker, WorkerFailed, WorkerPool, parsed
from soundmark.serving.analysis.worker import BODY, NOTHING, RESULT
from soundmark.serving.http.uploads import Upload

WORKER = ("-P", "-m", "soundmark.serving.analysis.worker")


SHORT_S = 30.0  # longest sound that is analysed here


MOST_BYTES = {RESULT: 1000, BODY: 1 << 24, NOTHING: 0}
"""The largest message of a worker, by its kind; the server analyses a sound with more results itself."""


log = logging.getLogger("soundmark")


@dataclass(frozen=True)
class Answer:
    """The body of a response, and what is counted of it."""

    body: bytes
    duration_s: float
    events: int


class ShortSounds:
    """Processes that analyse sounds of at most ``most_s``, started on demand, ended by ``close``.

    ``folder`` is for the files of the models. ``threads`` are ``jobs`` threads in which ``answer`` is called: one per
    process.
    """

    def __init__(self, folder: Path, jobs: int, most_s: float) -> None:
        self._folder, self._most_s = folder, min(SHORT_S, most_s)
        self._models: list[tuple[Model, Path]] = []  # the one in use is the last
        self._numbers = itertools.count(1)
        self._workers = WorkerPool(WORKER, MOST_BYTES)
        self.threads = ThreadPoolExecutor(jobs, "short")

    def close(self) -> None:
        """End all processes, including those that are busy."""
        self._workers.close()  # first: the threads that wait for a process continue
        self.threads.shutdown(cancel_futures=True)

    def use(self, model: Model) -> None:
        """Use another model; the files of the last two are kept, for requests under way."""
        path = self._folder / f"model-{next(self._numbers)}.onnx"
        try:
            model.save(path)
        except OutputError as error:
            log.warning("short sounds are analysed by the server itself, slower: %s", error)
            return
        self._models.append((model, path))
        for _, old in self._models[:-2]:
            old.unlink(missing_ok=True)
        del self._models[:-2]

    def answer(self, model: Model, upload: Upload, detection: DetectionSettings, form: str) -> Answer | None:
        """Return the answer in a format, of ``output_formats.FORMATS``; None if the sound is long or has an error."""
        path = next((str(path) for one, path in self._models if one is model), None)
        if path is None:
            return None
        request = {
            "name": upload.name,
            "model": path,
            "detection": detection.to_json(),
            "format": form,
            "most_s": self._most_s,
        }
        try:
            with upload.file() as file, self._workers.one() as worker:
                worker.request(request | {"path": str(file)})
                found = _received(worker)
                worker.is_idle = True
        except (WorkerFailed, SoundmarkError):
            return None
        return found


def _received(worker: Worker) -> Answer | None:
    kind, content = worker.receive()
    if kind == NOTHING:
        return None
    counts = parsed(content) if kind == RESULT else {}
    kind, body = worker.receive()
    is_valid = kind == BODY and isinstance(counts, dict)
    if not (is_valid and is_finite(counts.get("duration_s")) and is_count(counts.get("events"))):
        raise WorkerFailed("returned invalid data")
    return Answer(body.tobytes(), counts["duration_s"], counts["events"])

"""The process that analyses short sounds, under limits on memory and time: ``python -P -m …analysis.worker``.

A request has the path and ``name`` of a sound of at most ``most_s``, the path of a ``model``, the settings of the
``detection``, and the ``format`` of the answer. The answer is RESULT and BODY, or NOTHING: the sound is longer, or
cannot be analysed, or its decoder printed something. The server then analyses it itself, which gives the error or the
note.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from soundmark.detection.file_analysis import FileCallbacks
from soundmark.detection.file_result import FileResult
from soundmark.detection.output_formats import FORMATS
from soundmark.detection.settings import DetectionSettings
from soundmark.models import classifier
from soundmark.models.classifier import Model
from soundmark.runtime.parallel import worker
from soundmark.serving.analysis.upload_analysis import analyze_upload

RESULT, BODY, NOTHING = b"R", b"B", b"N"  # JSON: duration_s and the number of events · bytes · nothing


MODEL_BYTES = 4 << 30  # more address space, to load a model


CPU_S = 60.0  # most CPU time for one sound


class _LongSound(Exception):  # noqa: N818 - not an error
    pass


class ShortSoundAnalysis:
    """Answers requests with the model that they name, which is loaded when its path changes.

    >>> model.save(folder / "model.onnx")
    >>> request = {"path": str(city.clips[0].path), "name": "a.wav", "model": str(folder / "model.onnx"),
    ...            "detection": {}, "format": "csv", "most_s": 30.0}
    >>> (_, result), (_, body) = ShortSoundAnalysis()(request)
    >>> json.loads(result)["duration_s"] > 0, body[:9]
    (True, b'Start (s)')
    """

    def __init__(self) -> None:
        self._path: str | None = None
        self._model: Model | None = None

    def __call__(self, request: dict[str, Any]) -> Iterator[tuple[bytes, Any]]:
        """Yield the messages for one request."""
        worker.limit_cpu(CPU_S)
        messages: list[tuple[bytes, Any]] = [(NOTHING, b"")]
        with suppress(Exception):  # the server analyses the sound itself
            found = _analyzed(request, self._loaded(request["model"]))
            counts = {"duration_s": found.duration_s, "events": len(found.events)}
            body = b"".join(FORMATS[request["format"]].write([found]))
            messages = [(RESULT, json.dumps(counts).encode()), (BODY, body)]
        yield from [(NOTHING, b"")] if worker.printed() else messages  # a decoder prints errors

    def _loaded(self, path: str) -> Model:
        if self._model is None or path != self._path:
            worker.limit_more_memory(MODEL_BYTES)
            self._model, self._path = classifier.load(path), path
            worker.limit_more_memory(worker.MEMORY_BYTES)
        return self._model


def _analyzed(request: dict[str, Any], model: Model) -> FileResult:
    def opened(duration_s: float, rate_hz: int) -> None:
        if duration_s > request["most_s"]:
            raise _LongSound

    settings = DetectionSettings(**request["detection"])
    callbacks = FileCallbacks(opened=opened)
    found = analyze_upload(model, Path(request["path"]), request["name"], settings, callbacks=callbacks)
    if not isinstance(found, FileResult) or found.note:
        raise ValueError(found)
    return found


if __name__ == "__main__":
    worker.run(ShortSoundAnalysis())

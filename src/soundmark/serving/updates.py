"""Results as JSON values, while they are computed: the lines of ``format=updates``, and the messages of a WebSocket.

Each has a ``kind``. In a recording: ``opened``, then ``tile``, ``scores`` and ``events`` in any order, then ``result``
or ``error``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from soundmark.detection.output_formats import FORMATS, event_json
from soundmark.models.classifier import Model
from soundmark.models.events import Event
from soundmark.models.streaming import WindowScores
from soundmark.serving.rejections import Rejection
from soundmark.serving.spectrogram_tiles import SpectrogramTiles, Tile

Update = dict[str, Any]


def opened(
    name: str, model: Model, tiles: SpectrogramTiles | None, *, duration_s: float | None, thresholds: np.ndarray
) -> Update:
    """Return the first update: what the others refer to; ``duration_s`` is None for a stream.

    >>> opened("microphone", model, None, duration_s=None, thresholds=model.threshold())["thresholds"][:2]
    [0.5, 0.5]
    """
    background = [model.classes[row] for row in model.card.background_rows]
    return {
        "kind": "opened",
        "file": name,
        "duration_s": None if duration_s is None else round(duration_s, 6),
        "window_s": model.card.window_s,
        "classes": list(model.classes),
        "background": background,
        "thresholds": [round(float(value), 6) for value in thresholds],
        "unknown": model.unknown,
        "spectrogram": tiles.axis() if tiles else None,
    }


def tile(found: Tile) -> Update:
    """Return the update with a part of the spectrogram.

    >>> tile(Tile(0.0, 1.0, np.zeros((1, 3), np.uint8)))["kind"]
    'tile'
    """
    return {"kind": "tile", **found.to_json()}


def scores(part: WindowScores) -> Update:
    """Return the update with the probabilities of windows, ``[window][class]``, as exact as float32.

    >>> part = WindowScores(np.zeros(1), np.ones(1), np.array([[0.1, 0.9]], np.float32), None, [[]])
    >>> scores(part)["probabilities"]
    [[0.1, 0.9]]
    """
    familiarity = None if part.familiarity is None else exact(part.familiarity)
    return {
        "kind": "scores",
        "start_s": part.start_s.round(6).tolist(),
        "stop_s": part.stop_s.round(6).tolist(),
        "probabilities": [exact(row) for row in part.probabilities],
        "familiarity": familiarity,
    }


def exact(values: np.ndarray) -> list[float]:
    """Return float32 values as the shortest decimal numbers that are equal to them in float32.

    >>> exact(np.array([0.1, 1 / 3], np.float32))
    [0.1, 0.33333334]
    """
    return [float(str(value)) for value in np.asarray(values, np.float32)]


def events(name: str, found: Sequence[Event]) -> Update:
    """Return the update with the events that ended, as ``classify --format jsonl`` prints them.

    >>> event = Event(label="dog", start_s=0.0, stop_s=4.0, confidence=0.75, peak=0.75)
    >>> events("a.wav", [event])["events"][0]["label"]
    'dog'
    """
    return {"kind": "events", "events": [json.loads(event_json(event, name)) for event in found]}


def rejected(found: Sequence[Rejection]) -> Update:
    """Return the update with windows that are not detections.

    >>> rejected([Rejection("dog", 0.0, 4.0, 0.25, 0.5, "below the threshold")])["rejections"][0]["score"]
    0.25
    """
    return {
        "kind": "rejections",
        "rejections": [
            {
                "label": one.label,
                "start_s": round(one.start_s, 6),
                "stop_s": round(one.stop_s, 6),
                "score": float(f"{one.score:.6g}"),
                "threshold": one.threshold,
                "reason": one.reason,
            }
            for one in found
        ],
    }


def result(found: Any) -> Update:
    """Return the last update: the object of ``classify --format json``.

    >>> from soundmark.detection.file_result import FileResult
    >>> result(FileResult(file="a.wav", duration_s=4.0, answer=[], events=[]))["result"]["duration_s"]
    4.0
    """
    return {"kind": "result", "result": json.loads(b"".join(FORMATS["json"].write([found])))[0]}


def error(detail: str) -> Update:
    """Return the last update of an analysis that failed after its first update.

    >>> error("its decoder takes too long.")
    {'kind': 'error', 'detail': 'its decoder takes too long.'}
    """
    return {"kind": "error", "detail": detail}


def line(update: Update) -> bytes:
    r"""Return an update as a line of JSON.

    >>> line({"kind": "error"})
    b'{"kind":"error"}\n'
    """
    return json.dumps(update, separators=(",", ":"), allow_nan=False).encode() + b"\n"

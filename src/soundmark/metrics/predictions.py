"""``predictions.csv``: one row per test clip: path, fold, source, label, predicted, and the score of each class."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soundmark.datasets import Dataset
from soundmark.metrics.task import Task
from soundmark.runtime import atomic


def write_predictions(
    path: Path,
    dataset: Dataset,
    test: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray | Sequence[float] | None = None,
) -> str:
    """Write one row per test clip; return the SHA-256 of the file.

    Scores are written with nine digits, so that float32 values are read back exactly. In multi-label data, the
    predicted classes are those that reach their ``thresholds`` ([classes] or [n, classes], default 0.5): "dog;siren",
    or "" for none.

    Raises:
        OutputError: the file cannot be written.

    >>> _ = write_predictions(folder / "predictions.csv", city, np.array([0]), np.eye(10, dtype=np.float32)[[8]])
    >>> (folder / "predictions.csv").read_text().splitlines()[1].split(",")[3:]
    ['air_conditioner', 'siren', '0', '0', '0', '0', '0', '0', '0', '0', '1', '0']
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*clip_columns(dataset), *dataset.classes])
    predicted = Task.of(dataset.multi_label).predicted(probabilities, dataset.classes, thresholds)
    for index, row, label in zip(test, probabilities, predicted, strict=True):
        writer.writerow([*clip_values(dataset, int(index)), label, *(f"{p:.9g}" for p in row)])
    content = text.getvalue().encode(errors="surrogateescape")
    atomic.write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def clip_columns(dataset: Dataset) -> list[str]:
    """Return the columns before the scores; with ``start_s`` and ``stop_s`` if clips are sections of files.

    >>> clip_columns(city)
    ['path', 'fold', 'source', 'label', 'predicted']
    """
    times = ["start_s", "stop_s"] if _has_sections(dataset) else []
    return ["path", *times, "fold", "source", "label", "predicted"]


def clip_values(dataset: Dataset, index: int) -> list[str]:
    """Return the values of ``clip_columns`` for the clip at ``index``, without the prediction.

    >>> clip_values(city, 0)
    ['audio/fold1/1000-0-0-0.wav', '1', '1000', 'air_conditioner']
    """
    clip = dataset.clips[index]
    stop = "" if clip.stop_s is None else f"{clip.stop_s:g}"
    times = [f"{clip.start_s:g}", stop] if _has_sections(dataset) else []
    fold = "" if clip.fold is None else str(clip.fold)
    return [dataset.relative_path(clip), *times, fold, clip.source or "", clip.label]


def _has_sections(dataset: Dataset) -> bool:
    return any(clip.start_s or clip.stop_s is not None for clip in dataset.clips)


def read_predictions(path: Path, dataset: Dataset, test: np.ndarray, *, sha256: str) -> np.ndarray:
    """Read the probabilities of the ``test`` clips, float32 ``[n, classes]``, as written by ``write_predictions``.

    Raises:
        ValueError: the file contains other clips or classes, or its SHA-256 differs from ``sha256``.
        OSError: the file cannot be read.

    >>> scores = np.full((1, 10), 0.1, np.float32)
    >>> digest = write_predictions(folder / "predictions.csv", city, np.array([3]), scores)
    >>> bool((read_predictions(folder / "predictions.csv", city, np.array([3]), sha256=digest) == scores).all())
    True
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f'"{path}" was damaged or changed after it was written')
    header, *rows = list(csv.reader(io.StringIO(content.decode(errors="surrogateescape"), newline="")))
    expected = [clip_values(dataset, int(index)) for index in test]
    width = len(clip_columns(dataset))
    if header != [*clip_columns(dataset), *dataset.classes] or [row[: width - 1] for row in rows] != expected:
        raise ValueError(f'"{path}" contains the predictions of other clips')
    table = np.array([row[width:] for row in rows], np.float64).astype(np.float32)
    return table.reshape(len(rows), len(dataset.classes))

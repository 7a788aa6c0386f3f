"""``predictions.csv``: a line per test clip: path, fold, source, label, predicted, a column of scores per class."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from soundmark import atomic
from soundmark.datasets import Dataset


def write(path: Path, dataset: Dataset, test: np.ndarray, probabilities: np.ndarray) -> None:
    """Write a line per test clip; nine digits, so that the float32 numbers read back as they were.

    Raises:
        OutputError: the place cannot be written.

    >>> write(folder / "predictions.csv", city, np.array([0]), np.eye(10, dtype=np.float32)[[8]])
    >>> (folder / "predictions.csv").read_text().splitlines()[1].split(",")[3:]
    ['air_conditioner', 'siren', '0', '0', '0', '0', '0', '0', '0', '0', '1', '0']
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "fold", "source", "label", "predicted", *dataset.classes])
    for index, row in zip(test, probabilities, strict=True):
        clip = dataset.clips[index]
        known = [clip.fold if clip.fold is not None else "", clip.source or ""]
        predicted = dataset.classes[int(row.argmax())]
        writer.writerow([dataset.relative_path(clip), *known, clip.label, predicted, *(f"{p:.9g}" for p in row)])
    atomic.write_text(path, text.getvalue())


def read(path: Path, dataset: Dataset, test: np.ndarray) -> np.ndarray:
    """Probabilities float32 ``[n, classes]`` of the ``test`` clips from a file that ``write`` wrote.

    Raises:
        ValueError: the file is of other clips or classes.
        OSError: it cannot be read.

    >>> scores = np.full((1, 10), 0.1, np.float32)
    >>> write(folder / "predictions.csv", city, np.array([3]), scores)
    >>> bool((read(folder / "predictions.csv", city, np.array([3])) == scores).all())
    True
    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    if tuple(header[5:]) != dataset.classes or [row[0] for row in rows] != [
        dataset.relative_path(dataset.clips[i]) for i in test
    ]:
        raise ValueError(f'"{path}" is of other clips')
    return np.array([row[5:] for row in rows], np.float64).astype(np.float32).reshape(len(rows), len(dataset.classes))

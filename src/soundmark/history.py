"""``history.csv``: how a training went, a line per epoch."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from soundmark import atomic


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of ``history.csv``: mean cross entropies in nats and accuracies; training's own with dropout on."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


def write(path: Path, history: tuple[Epoch, ...]) -> None:
    """Write ``history.csv``: a line per epoch; numbers in full, so that they read back as they were.

    Raises:
        OutputError: the place cannot be written.

    >>> epoch = Epoch(
    ...     epoch=1, train_loss=0.7, train_accuracy=0.5, validation_loss=None, validation_accuracy=None, seconds=2.0
    ... )
    >>> write(folder / "history.csv", (epoch,))
    >>> (folder / "history.csv").read_text().splitlines()[1]
    '1,0.7,0.5,,,2.0'
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    atomic.write_text(path, text.getvalue())


def read(path: Path) -> tuple[Epoch, ...]:
    """The epochs in a ``history.csv`` that ``write`` wrote.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read.

    >>> epoch = Epoch(
    ...     epoch=1, train_loss=0.7, train_accuracy=0.5, validation_loss=None, validation_accuracy=None, seconds=2.0
    ... )
    >>> write(folder / "history.csv", (epoch,))
    >>> read(folder / "history.csv") == (epoch,)
    True
    """
    names = [field.name for field in fields(Epoch)]
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if header != names or any(len(row) != len(names) for row in rows):
        raise ValueError(f'"{path}" is no history')
    values = [[float(value) if value else None for value in row] for row in rows]
    epochs: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in values]
    return tuple(Epoch(**{**epoch, "epoch": int(epoch["epoch"])}) for epoch in epochs)

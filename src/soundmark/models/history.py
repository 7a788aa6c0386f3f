"""Loss and accuracy of each epoch: ``history.csv``, and a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from soundmark.errors import SettingsError, unknown_name
from soundmark.runtime import atomic, plotting

QUANTITIES = {"loss": "cross entropy (nats)", "accuracy": "accuracy"}


NAMES = {"train": "training", "validation": "validation"}


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of ``history.csv``: mean cross entropies in nats and accuracies; training's own with dropout on."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


def watched(history: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """The epochs with a validation loss, of a training that is then done again on everything; else, all of them.

    >>> def epoch(number, loss):
    ...     rest = {"train_loss": 0.7, "train_accuracy": 0.5, "validation_accuracy": None, "seconds": 2.0}
    ...     return Epoch(epoch=number, validation_loss=loss, **rest)
    >>> [one.epoch for one in watched([epoch(1, 0.8), epoch(2, 0.6), epoch(3, None), epoch(4, None)])]
    [1, 2]
    """
    return tuple(epoch for epoch in history if epoch.validation_loss is not None) or tuple(history)


def to_csv(history: tuple[Epoch, ...]) -> str:
    """The text of ``history.csv``: a line per epoch; numbers in full, so that they read back as they were.

    >>> epoch = Epoch(
    ...     epoch=1, train_loss=0.7, train_accuracy=0.5, validation_loss=None, validation_accuracy=None, seconds=2.0
    ... )
    >>> to_csv((epoch,)).splitlines()[1]
    '1,0.7,0.5,,,2.0'
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    return text.getvalue()


def write(path: Path, history: tuple[Epoch, ...]) -> None:
    """Write ``history.csv``.

    Raises:
        OutputError: the place cannot be written.

    >>> write(folder / "history.csv", ())
    >>> (folder / "history.csv").read_text()[:16]
    'epoch,train_loss'
    """
    atomic.write_text(path, to_csv(history))


def plot(history: Sequence[Epoch], ax: Any | None = None, *, quantity: str = "loss", title: str = "") -> Any:
    """Draw the loss or the accuracy by epoch, training dashed and validation solid; return the ``Axes``.

    Raises:
        SettingsError: the quantity is not known, there are no epochs, or Matplotlib is not installed.

    >>> plot(model.history, quantity="accuracy").get_ylabel()
    'accuracy'
    """
    if quantity not in QUANTITIES:
        raise unknown_name("quantity", quantity, QUANTITIES)
    if not history:
        raise SettingsError(
            "this model has no history to plot: it was not trained in epochs, as with the recipe transfer, whose "
            "linear head is fitted at once."
        )
    ax = plotting.axes_or_new(ax)
    for part, style in (("train", "--"), ("validation", "-")):
        points = [(epoch.epoch, getattr(epoch, f"{part}_{quantity}")) for epoch in history]
        points = [(epoch, value) for epoch, value in points if value is not None]
        if points:
            marker = "o" if len(points) == 1 else None
            ax.plot(*zip(*points, strict=True), style, color=plotting.BLUE, marker=marker, label=NAMES[part])
    ax.set(xlabel="epoch", ylabel=QUANTITIES[quantity])
    ax.set_title(title or f"{quantity.capitalize()} by epoch", parse_math=False)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return ax

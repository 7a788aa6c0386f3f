"""The training record of a model: data set, split, device, and the training history that is written to ``history.csv``.

Model files are untrusted input: a field of the wrong type is read as unknown (None).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from soundmark.errors import SettingsError, unknown_name
from soundmark.runtime import atomic, plotting


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of ``history.csv``: mean cross entropy in nats, and accuracy; the training values include dropout.

    A training with validation clips has the validation values. The notebook has no validation clips and watches the
    test clips: its recipes have the test values.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    test_loss: float | None = None
    test_accuracy: float | None = None

    @property
    def held_out_loss(self) -> float | None:
        """The validation loss, or the test loss of a training without validation clips."""
        return self.test_loss if self.validation_loss is None else self.validation_loss

    @property
    def held_out_accuracy(self) -> float | None:
        """The validation accuracy, or the test accuracy of a training without validation clips."""
        return self.test_accuracy if self.validation_accuracy is None else self.validation_accuracy

    def on_test_clips(self) -> Epoch:
        """Return the epoch with its validation values as test values; earlier versions had the latter in the former.

        >>> epoch = Epoch(epoch=1, train_loss=1, train_accuracy=1, validation_loss=2, validation_accuracy=0, seconds=1)
        >>> epoch.on_test_clips().validation_loss, epoch.on_test_clips().test_loss
        (None, 2)
        """
        loss, accuracy = self.held_out_loss, self.held_out_accuracy
        return replace(self, test_loss=loss, test_accuracy=accuracy, validation_loss=None, validation_accuracy=None)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object, the test values only if there are any."""
        return {key: value for key, value in asdict(self).items() if value is not None or not key.startswith("test_")}


def held_out_name(history: Sequence[Epoch]) -> str:
    """Return what the held-out values of a history were computed on: "validation" or "test".

    >>> held_out_name(())
    'validation'
    """
    return "test" if any(epoch.test_loss is not None for epoch in history) else "validation"


def epochs_with_validation(history: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """Return the epochs that have a validation or test loss; all epochs if none has one.

    A training that selects its number of epochs on validation clips then trains on all clips, without validation.

    >>> def epoch(number, loss):
    ...     rest = {"train_loss": 0.7, "train_accuracy": 0.5, "validation_accuracy": None, "seconds": 2.0}
    ...     return Epoch(epoch=number, validation_loss=loss, **rest)
    >>> [one.epoch for one in epochs_with_validation([epoch(1, 0.8), epoch(2, 0.6), epoch(3, None), epoch(4, None)])]
    [1, 2]
    """
    return tuple(epoch for epoch in history if epoch.held_out_loss is not None) or tuple(history)


def columns(held_out: str) -> tuple[str, ...]:
    """Return the columns of ``history.csv`` if the held-out clips are ``held_out``: "validation" or "test".

    >>> columns("test")
    ('epoch', 'train_loss', 'train_accuracy', 'test_loss', 'test_accuracy', 'seconds')
    """
    return ("epoch", "train_loss", "train_accuracy", f"{held_out}_loss", f"{held_out}_accuracy", "seconds")


def to_csv(history: tuple[Epoch, ...]) -> str:
    """Format a history as the text of ``history.csv``: one row per epoch, with all digits of the numbers.

    The held-out values are in columns with the name of what they were computed on: ``validation_loss``, ``test_loss``.

    >>> epoch = Epoch(
    ...     epoch=1, train_loss=0.7, train_accuracy=0.5, validation_loss=None, validation_accuracy=None, seconds=2.0
    ... )
    >>> to_csv((epoch,)).splitlines()[1]
    '1,0.7,0.5,,,2.0'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = columns(held_out_name(history))
    writer.writerow(names)
    writer.writerows([getattr(epoch, name) for name in names] for epoch in history)
    return text.getvalue()


def write(path: Path, history: tuple[Epoch, ...]) -> None:
    """Write ``history.csv``.

    Raises:
        OutputError: the file cannot be written.

    >>> write(folder / "history.csv", ())
    >>> (folder / "history.csv").read_text()[:16]
    'epoch,train_loss'
    """
    atomic.write_text(path, to_csv(history))


@dataclass(frozen=True, kw_only=True)
class EngineRecord:
    """How a network was trained: device, arithmetic precision, and number of threads."""

    device: str
    precision: str
    threads: int

    @classmethod
    def from_json(cls, value: object) -> EngineRecord | None:
        """Parse a record; return None if ``value`` is not a complete one."""
        known = _typed(value, {"device": str, "precision": str, "threads": int})
        return cls(**known) if len(known) == 3 else None


@dataclass(frozen=True, kw_only=True)
class Int8Record:
    """Comparison of an int8 model with the float32 model that it was quantised from; None for an unknown value."""

    calibrated_on: int | None = None  # number of clips
    scored: str | None = None  # description of the clips that both were scored on
    figure: str | None = None  # the metric in ``before`` and ``after``
    before: float | None = None
    after: float | None = None

    @classmethod
    def from_json(cls, value: object) -> Int8Record:
        """Parse a record; return an empty one if ``value`` is not a table."""
        types = {"calibrated_on": int, "scored": str, "figure": str, "before": float, "after": float}
        return cls(**_typed(value, types))

    def to_json(self) -> dict[str, Any]:
        """Return the known fields as a JSON object."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What a model's card records about its training; a field is None if unknown."""

    name: str | None = None  # of the data set
    fingerprint: str | None = None  # of the data set
    features: str | None = None  # checksum of the feature store
    protocol: str | None = None  # a name in ``datasets.protocols``
    test_fold: int | None = None  # None also if the protocol has no folds
    n_train: int | None = None  # number of training clips
    n_windows: int | None = None  # number of windows that the training clips were cut into; None if none was cut
    n_test: int | None = None  # number of test clips
    n_recordings: int | None = None  # number of recordings that the training clips were cut from
    trained_on: str | None = None  # checksum of the indices of the training clips
    licence: str | None = None  # of the data
    citation: str | None = None
    engine: EngineRecord | None = None
    calibrated_on: int | None = None  # number of clips
    nature: str | None = None  # recordings of nature that were examples of none of the classes
    weights: str | None = None  # licence of the pretrained weights
    history: tuple[Epoch, ...] | None = None
    training_s: float | None = None
    testing_s: float | None = None
    predictions_sha256: str | None = None
    int8: Int8Record | None = None  # int8 models only
    other: Mapping[str, Any] = field(default_factory=dict)  # fields of other versions: kept, but not interpreted

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingRecord:
        """Parse the table ``data`` of a card; a field of the wrong type is None.

        >>> record = TrainingRecord.from_json({"name": "city", "n_train": "many", "colour": "red"})
        >>> record.name, record.n_train, record.other
        ('city', None, {'colour': 'red'})
        """
        found = _typed(values, SCALARS)
        if "int8" in values:
            found["int8"] = Int8Record.from_json(values["int8"])
        known = {one.name for one in fields(cls)} - {"other"}
        return cls(
            **found,
            engine=EngineRecord.from_json(values.get("engine")),
            history=_history(values.get("history")),
            other={key: value for key, value in values.items() if key not in known},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the known fields as the table ``data`` of a card; with a protocol, ``test_fold`` is always included.

        >>> TrainingRecord(name="city", protocol="random").to_json()
        {'name': 'city', 'protocol': 'random', 'test_fold': None}
        """
        values: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "other"}
        values["engine"] = self.engine and asdict(self.engine)
        values["history"] = None if self.history is None else [epoch.to_json() for epoch in self.history]
        values["int8"] = None if self.int8 is None else self.int8.to_json()
        always = {"test_fold"} if self.protocol is not None else set()
        return {**{key: value for key, value in values.items() if value is not None or key in always}, **self.other}


SCALARS: Mapping[str, type] = {
    "name": str,
    "fingerprint": str,
    "features": str,
    "protocol": str,
    "test_fold": int,
    "n_train": int,
    "n_windows": int,
    "n_test": int,
    "n_recordings": int,
    "trained_on": str,
    "licence": str,
    "citation": str,
    "calibrated_on": int,
    "nature": str,
    "weights": str,
    "training_s": float,
    "testing_s": float,
    "predictions_sha256": str,
}


def _typed(value: object, types: Mapping[str, type]) -> dict[str, Any]:
    """Return the items of a table that have the expected type; an int counts as a float, a bool as neither."""
    if not isinstance(value, Mapping):
        return {}
    return {key: value[key] for key, kind in types.items() if key in value and _is_a(value[key], kind)}


def _is_a(value: object, kind: type) -> bool:
    accepted = (int, float) if kind is float else kind
    return isinstance(value, accepted) and not isinstance(value, bool)


def _history(value: object) -> tuple[Epoch, ...] | None:
    """Parse a list of epochs; return None if it is not a list of complete epochs."""
    types = {one.name: int if one.name == "epoch" else float for one in fields(Epoch)}
    if not isinstance(value, list):
        return None
    rows = [{**dict.fromkeys(OPTIONAL), **_typed(row, types)} for row in value]
    return tuple(Epoch(**row) for row in rows) if all(len(row) == len(types) for row in rows) else None


OPTIONAL = ("validation_loss", "validation_accuracy", "test_loss", "test_accuracy")


QUANTITIES = {"loss": "cross-entropy loss (nats)", "accuracy": "accuracy"}


def plot(history: Sequence[Epoch], ax: Any | None = None, *, quantity: str = "loss", title: str = "") -> Any:
    """Plot the loss or the accuracy by epoch, training dashed and validation (or test) solid; return the ``Axes``.

    Raises:
        SettingsError: the quantity is unknown, there are no epochs, or Matplotlib is not installed.

    >>> plot(model.history, quantity="accuracy").get_ylabel()
    'accuracy'
    """
    if quantity not in QUANTITIES:
        raise unknown_name("quantity", quantity, QUANTITIES)
    if not history:
        raise SettingsError(
            "this model has no training history to plot: it was not trained in epochs. The recipe transfer, for "
            "example, fits a linear head in one step."
        )
    ax = plotting.axes_or_new(ax)
    for part, style, name in (("train", "--", "training"), ("held_out", "-", held_out_name(history))):
        points = [(epoch.epoch, getattr(epoch, f"{part}_{quantity}")) for epoch in history]
        points = [(epoch, value) for epoch, value in points if value is not None]
        if points:
            marker = "o" if len(points) == 1 else None
            ax.plot(*zip(*points, strict=True), style, color=plotting.BLUE, marker=marker, label=name)
    ax.set(xlabel="epoch", ylabel=QUANTITIES[quantity])
    ax.set_title(title or f"{quantity.capitalize()} by epoch", parse_math=False)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return ax

"""The card of a model: classes, representation, window, how it was made, how good it was found to be."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from soundmark import spectrograms
from soundmark.errors import BundleError
from soundmark.metrics.task import TASKS, Task
from soundmark.models import legacy
from soundmark.models.training_record import TrainingRecord
from soundmark.runtime.checks import is_finite, is_whole
from soundmark.runtime.text import one_line
from soundmark.spectrograms import Representation

SCHEMA = 1


# What a card may ask for at most: a file from elsewhere shall not fill the memory.
LARGEST_SIDE = 4096  # of a spectrogram or a picture


LARGEST_WHOLE = 65_536  # any other whole number of a representation


LARGEST_RATE_HZ = 1_000_000


TABLES = ("recipe", "data", "scores", "versions")
DEEPEST = 20  # levels of a table: today's have three


@dataclass(frozen=True, kw_only=True, repr=False)
class Card:
    """What a model says of itself: what it listens for, how it was made, how good it was found to be."""

    classes: tuple[str, ...]
    representation: Representation
    window_s: float
    activation: str = "softmax"
    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None  # from which on a sigmoid's class is said to be there; None: 0.5
    unknown: float | None = None  # the familiarity below which the answer is "none of these"; None: no such answer
    recipe: dict[str, Any] = field(default_factory=dict)
    training: TrainingRecord = field(default_factory=TrainingRecord)  # "data" in the file
    scores: dict[str, Any] = field(default_factory=dict)  # with protocol and intervals
    versions: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = ", ".join(one_line(repr(label), 40) for label in self.classes[:4])
        more = ", …" if len(self.classes) > 4 else ""
        recipe, data = (one_line(repr(name), 100) for name in (self.recipe.get("name"), self.training.name))
        return (
            f"Card({len(self.classes)} classes: {names}{more}; representation={one_line(self.representation, 300)}, "
            f"window_s={self.window_s!r}, activation={one_line(repr(self.activation), 40)}, recipe={recipe}, "
            f"data={data})"
        )

    @property
    def task(self) -> Task:
        """Single-label or multi-label, with everything that differs between them."""
        return Task.named(self.activation)

    def to_json(self) -> str:
        """The card as it stands in the file."""
        names = {"training": "data"}
        values = {names.get(field.name, field.name): getattr(self, field.name) for field in fields(self)}
        values |= {"data": self.training.to_json()}
        values |= {"classes": list(self.classes), "representation": self.representation.settings()}
        return json.dumps({"schema": SCHEMA, **values}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, name: str) -> Card:
        """The card in ``text``, of the file called ``name``.

        Raises:
            BundleError: it is of a later schema, or is not what a card should be.
        """
        try:
            values = json.loads(text)
            check_schema(values.pop("schema"), name)
            values["classes"] = tuple(values["classes"]) if isinstance(values["classes"], list) else ()
            if isinstance(values.get("recipe"), dict):
                values["recipe"] = legacy.current_settings(values["recipe"])
            if isinstance(values.get("thresholds"), list):
                values["thresholds"] = tuple(values["thresholds"])
            for part in TABLES:
                _check_table(part, values.get(part, {}))
            values["training"] = TrainingRecord.from_json(values.pop("data", {}))
            values["representation"] = spectrograms.from_settings(values["representation"])
            card = cls(**{key: value for key, value in values.items() if key in cls.__dataclass_fields__})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = f"it says no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
            raise BundleError(
                f'"{name}" has a card that cannot be read: {why}. Train or fetch the model again.'
            ) from error
        card._check(name)
        return card

    def _check(self, name: str) -> None:
        wrong = self._wrong() or _too_large(self.representation)
        if wrong:
            raise BundleError(f'"{name}" has a card that cannot be used: {wrong}. Train or fetch the model again.')

    def _wrong(self) -> str | None:
        """What no model can have on its card, in words."""
        if not self.classes or not all(isinstance(label, str) for label in self.classes):
            return "its classes are not a list of names"
        if len(set(self.classes)) < len(self.classes):
            return "two of its classes have the same name"
        activations = [task.activation for task in TASKS.values()]
        if not isinstance(self.activation, str) or self.activation not in activations:
            return f'its activation is "{self.activation}", not one of {", ".join(activations)}'
        if not is_finite(self.window_s) or not 0 < self.window_s < 86_400:
            return f"its window_s is {self.window_s!r}"
        if not is_finite(self.temperature) or not self.temperature > 0:
            return f"its temperature is {self.temperature!r}"
        if self.thresholds is not None and (wrong := self._wrong_thresholds()):
            return wrong
        if self.unknown is not None and not is_finite(self.unknown):
            return f"its unknown is {self.unknown!r}"
        return None

    def _wrong_thresholds(self) -> str | None:
        if not self.task.has_thresholds:
            return f"it has thresholds, which are for sigmoid outputs, and its activation is {self.activation}"
        if not isinstance(self.thresholds, tuple) or len(self.thresholds) != len(self.classes):
            return f"its thresholds are {self.thresholds!r}, not one for each of {len(self.classes)} classes"
        if not all(is_finite(number) and 0 <= number <= 1 for number in self.thresholds):
            return f"its thresholds are {list(self.thresholds)}, not all between 0 and 1"
        return None


def _check_table(name: str, value: object) -> None:
    """Refuse what is not a table, or one nested so deep that it could not be written again.

    Raises:
        ValueError: in words.
    """
    if not isinstance(value, dict):
        raise ValueError(f"its {name} is {value!r}, not a table")
    level: list[object] = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
        ]
    if level:
        raise ValueError(f"its {name} is nested more than {DEEPEST} deep")


def check_schema(schema: object, name: str) -> None:
    """Refuse a card of another schema than this version reads.

    >>> check_schema(2, "model.onnx")
    Traceback (most recent call last):
    soundmark.errors.BundleError: "model.onnx" is a model of schema 2; this soundmark reads schema 1. Upgrade soundmark.
    """
    if schema == SCHEMA:
        return
    later = is_whole(schema) and schema > SCHEMA  # type: ignore[operator]
    remedy = "Upgrade soundmark" if later else "Train or fetch the model again"
    raise BundleError(f'"{name}" is a model of schema {schema}; this soundmark reads schema {SCHEMA}. {remedy}.')


def _too_large(representation: Representation) -> str | None:
    """The parameter of a representation that would fill the memory, in words."""
    for key, value in representation.settings().items():
        sides = value if isinstance(value, list) else []
        largest = LARGEST_SIDE if sides else LARGEST_RATE_HZ if key == "rate_hz" else LARGEST_WHOLE
        if any(is_whole(number) and number > largest for number in sides or [value]):
            return f"its {key} is {value!r}, and {largest} is the most that is read"
    return None

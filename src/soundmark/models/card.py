"""The model card: classes, representation, window, recipe, training data, scores."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from soundmark import spectrograms
from soundmark.errors import BundleError
from soundmark.metrics.task import TASKS, Task
from soundmark.models import legacy
from soundmark.models.training_record import TrainingRecord
from soundmark.runtime.checks import is_finite, is_whole, parse_json
from soundmark.runtime.text import counted, one_line
from soundmark.spectrograms import Representation, Waveform

SCHEMA = 1


# Limits on the parameters of a card, so that an untrusted file cannot exhaust memory.
LARGEST_SIDE = 4096  # height or width of a spectrogram or an image


LARGEST_WAVEFORM = 1 << 22  # samples of a waveform: 131 s at 32 kHz


LARGEST_INTEGER = 65_536  # any other integer parameter of a representation


LARGEST_RATE_HZ = 1_000_000


LARGEST_WINDOW = 1 << 25  # samples of a window: 25 minutes at 22050 Hz


SHORTEST_WINDOW_S = 0.01  # of shorter ones, an hour of sound would have millions


LARGEST_PRODUCT = 1 << 25  # frames × mels, mels × FFT size: 134 MB in float32


LARGEST_FRAMES = 1 << 28  # frames × FFT size of a window: a few seconds


ASSUMED_RATE_HZ = 48_000  # of sounds, where a representation keeps their sample rate


LOWEST_TEMPERATURE, LARGEST_TEMPERATURE = 1e-6, 1e6  # any logits divided by it are finite


TABLES = ("recipe", "data", "scores", "versions")
MAX_DEPTH = 20  # nesting levels of a table; soundmark writes three


@dataclass(frozen=True, kw_only=True, repr=False)
class Card:
    """The model card: the classes and input of a model, how it was trained, and its scores."""

    classes: tuple[str, ...]
    representation: Representation
    window_s: float
    activation: str = "softmax"
    temperature: float = 1.0
    background: tuple[str, ...] = ()  # labels that mean "none of these"; never reported as events
    thresholds: tuple[float, ...] | None = None  # detection threshold per class, sigmoid models only; None: 0.5
    event_thresholds: tuple[float, ...] | None = None  # per class, for events in recordings; None: as for clips
    unknown: float | None = None  # sounds with a familiarity below this are "unknown"; None: never
    recipe: dict[str, Any] = field(default_factory=dict)
    training: TrainingRecord = field(default_factory=TrainingRecord)  # the key "data" in the file
    scores: dict[str, Any] = field(default_factory=dict)  # with protocol and confidence intervals
    versions: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = ", ".join(one_line(repr(label), 40) for label in self.classes[:4])
        more = ", …" if len(self.classes) > 4 else ""
        recipe, data = (one_line(repr(name), 100) for name in (self.recipe.get("name"), self.training.name))
        return (
            f"Card({counted(len(self.classes), 'class')}: {names}{more}; "
            f"representation={one_line(self.representation, 300)}, "
            f"window_s={self.window_s!r}, activation={one_line(repr(self.activation), 40)}, recipe={recipe}, "
            f"data={data})"
        )

    @property
    def background_rows(self) -> tuple[int, ...]:
        """The indices of the background labels among the classes; multi-label models have none."""
        return tuple(row for row, label in enumerate(self.classes) if label in self.background)

    @property
    def task(self) -> Task:
        """The task of the model: single-label (softmax) or multi-label (sigmoid)."""
        return Task.named(self.activation)

    def to_json(self) -> str:
        """The JSON text of the card that a model file contains."""
        names = {"training": "data"}
        values = {names.get(field.name, field.name): getattr(self, field.name) for field in fields(self)}
        values |= {"data": self.training.to_json()}
        if not self.background:  # a field that earlier versions do not know
            del values["background"]
        values |= {"classes": list(self.classes), "representation": self.representation.settings()}
        return json.dumps({"schema": SCHEMA, **values}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, name: str) -> Card:
        """Parse the JSON text of a card; ``name`` is the file that error messages refer to.

        Raises:
            BundleError: the card has a later schema, or a value is missing or not allowed.
        """
        try:
            values = _parsed(text)
            check_schema(values.pop("schema"), name)
            values["classes"] = tuple(values["classes"]) if isinstance(values["classes"], list) else ()
            if isinstance(values.get("recipe"), dict):
                values["recipe"] = legacy.current_settings(values["recipe"])
            for key in ("background", "thresholds", "event_thresholds"):
                if isinstance(values.get(key), list):
                    values[key] = tuple(values[key])
            for part in TABLES:
                _check_table(part, values.get(part, {}))
            values["training"] = TrainingRecord.from_json(values.pop("data", {}))
            values["representation"] = spectrograms.from_settings(values["representation"])
            card = cls(**{key: value for key, value in values.items() if key in cls.__dataclass_fields__})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
            raise BundleError(
                f'the card of "{name}" cannot be read: {why}. Train or download the model again.'
            ) from error
        card._check(name)
        return card

    def _check(self, name: str) -> None:
        wrong = self._invalid_value() or too_large(self.representation, self.window_s)
        if wrong:
            raise BundleError(f'the card of "{name}" is invalid: {wrong}. Train or download the model again.')

    def _invalid_value(self) -> str | None:
        """Describe the first invalid value of the card; None if all are valid."""
        if not self.classes or not all(isinstance(label, str) for label in self.classes):
            return "its classes are not a list of names"
        if len(set(self.classes)) < len(self.classes):
            return "two of its classes have the same name"
        if not isinstance(self.background, tuple) or not all(isinstance(label, str) for label in self.background):
            return "its background is not a list of labels"
        activations = [task.activation for task in TASKS.values()]
        if not isinstance(self.activation, str) or self.activation not in activations:
            return f'its activation is "{self.activation}", not one of {", ".join(activations)}'
        if not is_finite(self.window_s) or not SHORTEST_WINDOW_S <= self.window_s < 86_400:
            return f"its window_s is {self.window_s!r}, not a number of seconds from {SHORTEST_WINDOW_S:g} to 86400"
        if isinstance(self.representation, Waveform) and not 0.5 <= self.representation.window_s / self.window_s <= 2:
            return f"its window_s is {self.window_s!r}, but its waveforms last {self.representation.window_s:g} s"
        if not is_finite(self.temperature) or not LOWEST_TEMPERATURE <= self.temperature <= LARGEST_TEMPERATURE:
            return (
                f"its temperature is {self.temperature!r}, not a number from {LOWEST_TEMPERATURE:g} to "
                f"{LARGEST_TEMPERATURE:g}"
            )
        if self.thresholds is not None and not self.task.has_thresholds:
            return f"it has thresholds, which need sigmoid outputs, but its activation is {self.activation}"
        for name in ("thresholds", "event_thresholds"):
            if wrong := self._invalid_thresholds(name):
                return wrong
        if self.unknown is not None and not is_finite(self.unknown):
            return f"its unknown is {self.unknown!r}, not a finite number"
        return None

    def _invalid_thresholds(self, name: str) -> str | None:
        values, text = getattr(self, name), name.replace("_", " ")
        if values is None:
            return None
        if not isinstance(values, tuple) or len(values) != len(self.classes):
            return f"its {text} are {values!r}, not one for each of {len(self.classes)} classes"
        if not all(is_finite(number) and 0 <= number <= 1 for number in values):
            return f"its {text} are {list(values)}, not all between 0 and 1"
        return None


def _parsed(text: str) -> Any:
    """Parse the JSON text of a card whose numbers and texts soundmark can write again.

    Raises:
        ValueError: with the reason.
    """
    values = parse_json(text)
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        code = f"U+{ord(error.object[error.start]):04X}"
        raise ValueError(f"it contains the character {code}, half of a surrogate pair, which is not text") from None
    return values


def _check_table(name: str, value: object) -> None:
    """Check that ``value`` is a table, and not nested too deeply to be written again.

    Raises:
        ValueError: with the reason.
    """
    if not isinstance(value, dict):
        raise ValueError(f"its {name} is {value!r}, not a table")
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
        ]
    if level:
        raise ValueError(f"its {name} is nested more than {MAX_DEPTH} levels deep")


def check_schema(schema: object, name: str) -> None:
    """Raise ``BundleError`` if this version of soundmark cannot read the schema of a card.

    >>> check_schema(2, "model.onnx")
    Traceback (most recent call last):
    soundmark.errors.BundleError: "model.onnx" has model schema 2, but this version reads schema 1. Upgrade soundmark.
    """
    if schema == SCHEMA:
        return
    later = is_whole(schema) and schema > SCHEMA  # type: ignore[operator]
    remedy = "Upgrade soundmark" if later else "Train or download the model again"
    raise BundleError(f'"{name}" has model schema {schema}, but this version reads schema {SCHEMA}. {remedy}.')


def too_large(representation: Representation, window_s: float) -> str | None:
    """Describe the first limit that a representation and a window exceed, so that no model with them can be loaded.

    Returns None if there is none.

    >>> from soundmark.spectrograms import LogMel
    >>> too_large(LogMel().for_window(4.0), 4.0)
    >>> too_large(LogMel().for_window(120.0), 120.0)
    'its size is [128, 12000]; the largest value allowed is 4096'
    """
    return _too_large(representation) or _too_large_product(representation, window_s)


def _too_large(representation: Representation) -> str | None:
    """Describe the first parameter of a representation that exceeds its limit; None if there is none."""
    for key, value in representation.settings().items():
        if key == "window_samples" and isinstance(representation, Waveform):
            if value > LARGEST_WAVEFORM:
                return f"its {key} is {value!r}; the largest value allowed is {LARGEST_WAVEFORM}"
            continue
        sides = value if isinstance(value, list) else []
        largest = LARGEST_SIDE if sides else LARGEST_RATE_HZ if key == "rate_hz" else LARGEST_INTEGER
        if any(is_whole(number) and number > largest for number in sides or [value]):
            return f"its {key} is {value!r}; the largest value allowed is {largest}"
    return None


def _too_large_product(representation: Representation, window_s: float) -> str | None:
    """Describe the first product of parameters that exceeds its limit; None if there is none."""
    settings = representation.settings()
    rate_hz = representation.input_rate_hz or ASSUMED_RATE_HZ
    n_fft = settings.get("n_fft") or settings.get("segment_samples") or 1
    hop = settings.get("hop_samples") or n_fft - (settings.get("overlap_samples") or 0)
    mels = settings.get("n_mels") or representation.shape[0]
    samples = window_s * rate_hz
    frames = 1 + samples / hop
    for what, found, most in (
        (f"window of {window_s:g} s at {rate_hz} Hz", samples, LARGEST_WINDOW),
        (f"spectrogram of {frames:.0f} frames × {mels} bands", frames * mels, LARGEST_PRODUCT),
        (f"filter bank of {mels} bands × n_fft {n_fft}", mels * n_fft, LARGEST_PRODUCT),
        (f"{frames:.0f} frames × n_fft {n_fft}", frames * n_fft, LARGEST_FRAMES),
    ):
        if found > most:
            return f"its {what} is {found:.3g} numbers; the largest number allowed is {most:.3g}"
    return None

"""``Recipe``: all settings of a training, with their defaults."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from soundmark import spectrograms
from soundmark.errors import SettingsError, unknown_name
from soundmark.models import card, legacy
from soundmark.models.pretrained.backbone import DESCRIPTIONS as BACKBONES
from soundmark.models.pretrained.backbone_file import NOT_IN_NAMES, is_file
from soundmark.runtime.checks import is_finite, parse_toml, python_number, use_python_numbers
from soundmark.runtime.text import counted
from soundmark.spectrograms import LogMel, Representation
from soundmark.training.networks import NETWORKS

SCHEDULES = ("constant", "one-cycle")


FRACTIONS = (
    "label_smoothing",
    "ema_decay",
    "validation_fraction",
    "known_quantile",
)


MAX_COUNT = 1_000_000  # of epochs, batches, or clips in a batch: a greater number is a typing error


OF_FILES = (
    "backbone_output",
    "backbone_sha256",
    "backbone_licence",
    "backbone_fixed_window",
)  # fields that only files have


WINDOW_S = 4.0  # the window for which the size of a recipe's spectrograms is checked, until the data set is known


# A recipe's name is the name of a folder, in the same folder as the files of the run.
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


RESERVED_NAMES = ("report.html", "metrics.json")


@dataclass(frozen=True, kw_only=True, repr=False)
class Augmentation:
    """Random augmentation of the clips in training, for ``logmel`` only. The defaults change nothing.

    Raises:
        SettingsError: a field has an invalid value.

    >>> Augmentation(gain_db=-6.0)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: gain_db is -6.0: expected a number of at least 0.
    """

    roll: bool = False  # rotate in time by a random amount
    gain_db: float = 0.0  # maximum gain, up or down
    stretch: float = 0.0  # maximum change of speed, as a fraction, faster or slower
    shift_bands: float = 0.0  # maximum shift in mel bands, up or down
    mixstyle: float = 0.0  # the α of Beta(α, α), from which the weight of a clip's own band statistics is drawn; 0: off
    mixstyle_probability: float = 1.0  # fraction of the batches with mixstyle
    mixup: float = 0.0  # the α of Beta(α, α), from which the weight of a clip itself is drawn; 0: off
    mixup_probability: float = 1.0  # fraction of the batches with mixup

    def __repr__(self) -> str:
        return _short_repr(self)

    def __post_init__(self) -> None:
        use_python_numbers(self)
        if not isinstance(self.roll, bool):
            raise SettingsError(f"roll is {self.roll!r}: expected true or false.")
        probabilities = ("mixstyle_probability", "mixup_probability")
        for name in ("gain_db", "stretch", "shift_bands", "mixstyle", "mixup", *probabilities):
            value = getattr(self, name)
            if not is_finite(value) or value < 0:
                raise SettingsError(f"{name} is {value!r}: expected a number of at least 0.")
            if name in probabilities and value > 1:
                raise SettingsError(f"{name} is {value!r}: expected a number from 0 to 1.")


@dataclass(frozen=True, kw_only=True, repr=False)
class Recipe:
    """All settings of a training. ``repr`` and Jupyter show the fields that differ from their defaults.

    Raises:
        SettingsError: a field has an invalid value or an unknown name.

    >>> from soundmark.spectrograms import Mel
    >>> Recipe(name="mine", representation=Mel(), epochs=5)
    Recipe(name='mine', representation=Mel(...), epochs=5)
    """

    name: str = ""  # default: that of the backbone's file
    representation: Representation = field(default_factory=LogMel)  # of a backbone's file: set when it is read
    backbone: str | None = None  # a frozen network on whose features a linear head is fitted: a name, or an .onnx file
    backbone_output: str | None = None  # of a file: the output that is the embedding
    backbone_sha256: str | None = None  # of a file; set when it is read
    backbone_licence: str | None = None  # of a file, if its metadata contain it; set when it is read
    backbone_fixed_window: bool = False  # of a file: it takes windows of one length; set when it is read
    network: str = "notebook_cnn"  # without a backbone: trained from random weights, with the next fields
    epochs: int = 20
    batch_size: int = 250
    learning_rate: float = 1e-3
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: float = 1e-7  # Keras' default; PyTorch's own is 1e-8
    seed: int = 0
    min_batches: int = 0  # train on a small data set for more epochs, until there were this many batches
    schedule: str = "constant"  # "one-cycle": linear warm-up in the first tenth, then cosine decay to 0
    weight_decay: float = 0.0  # decoupled, of all weights but biases and normalisations
    label_smoothing: float = 0.0
    ema_decay: float = 0.0  # decay of the exponential moving average of the weights; 0: no average
    validation_fraction: float = 0.0  # of the recordings, held out for calibration before training on all clips
    known_quantile: float = 0.95  # fraction of the validation clips that counts as known, not as "unknown"
    # The next three are for a backbone with softmax: they make events in long recordings reliable.
    partial_views: int = 0  # views of each clip in which only a part of it is audible, over a background
    backgrounds: int = 0  # synthetic backgrounds: examples of none of the classes
    recorded_backgrounds: int = 0  # variations of each recording of nature, as examples of none of the classes
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        use_python_numbers(self)
        if self.backbone is not None and not (isinstance(self.backbone, str) and is_file(self.backbone)):
            if not isinstance(self.backbone, str) or self.backbone not in BACKBONES:
                raise unknown_name("backbone", self.backbone, BACKBONES)
        elif self.backbone is not None and self.name == "":
            object.__setattr__(self, "name", NOT_IN_NAMES.sub("-", Path(self.backbone).stem)[:100])
        if not isinstance(self.network, str) or self.network not in NETWORKS:
            raise unknown_name("network", self.network, NETWORKS)
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name) or self.name.lower() in RESERVED_NAMES:
            raise SettingsError(
                f'the name of a recipe is "{self.name}": expected a folder name of letters, digits, "-", "_" and ".", '
                f"that starts with a letter or digit, of at most 100 characters, and not {' or '.join(RESERVED_NAMES)}."
            )
        if not isinstance(self.representation, Representation):
            raise SettingsError(
                f'the representation is {self.representation!r}: expected a name such as "mel", or a table with a name '
                "and parameters."
            )
        self._check_numbers()
        self._check_names()
        self._check_size(WINDOW_S)

    def __repr__(self) -> str:
        return _short_repr(self)

    def _repr_html_(self) -> str:
        """An HTML table for Jupyter: the network, and the fields that differ from their defaults."""
        rows = {**({} if self.backbone else {"network": self.network}), **_changed_fields(self)}
        cells = (
            f'<tr><th style="text-align:left">{html.escape(key)}</th>'
            f'<td style="text-align:left">{html.escape(value if isinstance(value, str) else repr(value))}</td></tr>'
            for key, value in rows.items()
            if key != "name"
        )
        return f"<table><caption>Recipe {html.escape(self.name)}</caption>{''.join(cells)}</table>"

    def with_changes(self, **changes: Any) -> Recipe:
        """Return a copy with ``changes`` to some fields; a field given as ``None`` is not changed.

        A representation is an object, a name, or a dict with its name and parameters. An augmentation is an object or a
        dict of its parameters. Field names of earlier versions are accepted. ``time_expansion`` and ``band`` (low and
        high, in Hz) change the representation.

        Raises:
            SettingsError: an unknown field (the message names the nearest one), or an invalid value.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> recipe_named("notebook-mel").with_changes(epoch=5)
        Traceback (most recent call last):
        soundmark.errors.SettingsError: there is no recipe field "epoch". Did you mean "epochs"? Known: name, ...
        """
        given = {key: value for key, value in changes.items() if value is not None}
        factor, band = given.pop("time_expansion", None), given.pop("band", None)
        changed = replace(self, **_field_values(given))
        if factor is not None:
            changed = replace(changed, representation=changed.representation.with_time_expansion(factor))
        if band is not None:
            changed = replace(changed, representation=changed.representation.with_band(*_band(band)))
        return changed

    def _check_size(self, window_s: float) -> None:
        """Raise an error if a model file could not be loaded that is trained with this recipe on windows this long."""
        if wrong := card.too_large(self.representation, window_s):
            raise SettingsError(f"the representation of the recipe {self.name} is too large: {wrong}.")

    def _check_numbers(self) -> None:
        for name, lowest, highest in (
            ("epochs", 1, MAX_COUNT),
            ("batch_size", 1, MAX_COUNT),
            ("seed", 0, 2**32 - 1),
            ("min_batches", 0, MAX_COUNT),
            ("partial_views", 0, 20),
            ("backgrounds", 0, MAX_COUNT),
            ("recorded_backgrounds", 0, 1000),
        ):
            _check_whole(name, getattr(self, name), lowest, highest)
        for name in ("learning_rate", "adam_epsilon"):
            value = getattr(self, name)
            if not is_finite(value) or not value > 0:
                raise SettingsError(f"{name} is {value!r}: expected a number above 0.")
        for name in FRACTIONS:
            value = getattr(self, name)
            if not is_finite(value) or not 0 <= value <= 1:
                raise SettingsError(f"{name} is {value!r}: expected a number from 0 to 1.")
        if not is_finite(self.weight_decay) or self.weight_decay < 0:
            raise SettingsError(f"weight_decay is {self.weight_decay!r}: expected a number of at least 0.")
        betas = self.adam_betas
        if not isinstance(betas, tuple) or len(betas) != 2 or not all(is_finite(b) and 0 <= b < 1 for b in betas):
            raise SettingsError(f"adam_betas is {betas!r}: expected two numbers, each at least 0 and below 1.")

    def _check_names(self) -> None:
        if not isinstance(self.schedule, str) or self.schedule not in SCHEDULES:
            raise unknown_name("schedule", self.schedule, SCHEDULES)
        name = self.representation.name
        is_named = self.backbone is not None and not self.has_backbone_file
        if name != "logmel" and (is_named or self.augmentation != Augmentation()):
            part = f'the backbone "{self.backbone}"' if is_named else "the augmentation"
            raise SettingsError(f'{part} of the recipe {self.name} needs the representation "logmel", not "{name}".')
        if name == "waveform" and self.backbone is None:
            raise SettingsError(
                f'the representation "waveform" of the recipe {self.name} needs a backbone from an .onnx file: add '
                "backbone, or choose another representation."
            )
        for key in ("backbone_output", "backbone_sha256", "backbone_licence"):
            value = getattr(self, key)
            if value is not None and not (isinstance(value, str) and value and self.has_backbone_file):
                raise SettingsError(f"{key} is {value!r}: expected a text, and a backbone from an .onnx file.")
        if not isinstance(self.backbone_fixed_window, bool):
            raise SettingsError(f"backbone_fixed_window is {self.backbone_fixed_window!r}: expected true or false.")

    @property
    def has_backbone_file(self) -> bool:
        """Whether the backbone is an ONNX file.

        >>> Recipe(backbone="perch_v2.onnx").has_backbone_file, Recipe(name="mine", backbone="mn04").has_backbone_file
        (True, False)
        """
        return self.backbone is not None and is_file(self.backbone)

    @property
    def fixed_window_s(self) -> float | None:
        """The only window that the backbone takes, in seconds; None: any.

        >>> from soundmark.spectrograms import Waveform
        >>> five_s = Waveform(rate_hz=32000, window_samples=160_000)
        >>> Recipe(backbone="perch_v2.onnx", representation=five_s, backbone_fixed_window=True).fixed_window_s
        5.0
        """
        kind = self.representation
        if not self.backbone_fixed_window or not kind.real_time:
            return None
        samples = kind.shape[1] * kind.settings().get("hop_samples", 1)
        return samples / (kind.input_rate_hz or 1)

    def ignores(self, option: str) -> str | None:
        """Return why a training with this recipe does not use an option, None if it does.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> recipe_named("transfer").ignores("epochs"), recipe_named("scratch").ignores("epochs")
        ('it fits a linear head on a frozen network, without epochs, batches or a learning rate', None)
        """
        if option in ("epochs", "batch_size", "learning_rate") and self.backbone:
            return "it fits a linear head on a frozen network, without epochs, batches or a learning rate"
        if option == "backbone" and self.backbone is None:
            return "it trains a network from random weights"
        if option in ("backbone_output", "backbone_rate_hz") and not self.has_backbone_file:
            return "its network is not read from an .onnx file"
        if option == "window_s" and not self.representation.real_time:
            return "it uses each clip as a whole, as the notebook does"
        return None

    def steps_for(self, n_train: int) -> int | None:
        """Return the number of training steps (batches) for ``n_train`` examples; None if it fits only a linear head.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> recipe_named("notebook-mel").steps_for(300), recipe_named("transfer").steps_for(300)
        (40, None)
        """
        return None if self.backbone else self.epochs_for(n_train) * -(-n_train // self.batch_size)

    @property
    def calibrates(self) -> bool:
        """Whether training calibrates the model on held-out training clips; then it has no access to test clips.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> recipe_named("transfer").calibrates, recipe_named("notebook-mel").calibrates
        (True, False)
        """
        return self.backbone is not None or self.validation_fraction > 0

    def epochs_for(self, n_train: int) -> int:
        """Return the number of epochs for ``n_train`` clips: ``epochs``, or more to reach ``min_batches``.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> recipe_named("notebook-mel").epochs_for(40)
        20
        """
        return max(self.epochs, -(-self.min_batches // -(-n_train // self.batch_size)))

    def for_window(self, window_s: float) -> Recipe:
        """Return the recipe for windows of ``window_s`` seconds, with a representation of matching width.

        Raises:
            SettingsError: the window is too long for a model file.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> recipe_named("transfer").for_window(5.0).representation.size
        (128, 500)
        """
        fixed_s = self.fixed_window_s
        if fixed_s is not None and abs(window_s - fixed_s) > 1e-3 * fixed_s:
            raise SettingsError(
                f"the recipe {self.name} cannot have windows of {window_s:g} s: its backbone takes windows of "
                f"{fixed_s:g} s. Omit --window."
            )
        fitted = self.representation if self.backbone_fixed_window else self.representation.for_window(window_s)
        if wrong := card.too_large(fitted, window_s):
            raise SettingsError(
                f"the recipe {self.name} cannot have windows of {window_s:g} s: {wrong}. Choose shorter windows, such "
                "as --window 10."
            )
        return replace(self, representation=fitted)

    def settings(self) -> dict[str, Any]:
        """Return all fields as plain JSON and TOML values; ``from_settings`` reads them back.

        A recipe has either a backbone or a network.
        """
        unused = "backbone" if self.backbone is None else "network"
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != unused}
        values = {key: value for key, value in values.items() if key not in OF_FILES or value}
        return {
            **values,
            "adam_betas": list(self.adam_betas),
            "augmentation": asdict(self.augmentation),
            "representation": self.representation.settings(),
        }

    def to_toml(self, *, original_names: bool = False) -> str:
        """Return the recipe as TOML text, which ``from_toml`` and ``--recipe FILE.toml`` read.

        ``original_names`` uses the field names of version 0.1.0, to recognise the files that it wrote.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> Recipe.from_toml(recipe_named("notebook-mel").to_toml()) == recipe_named("notebook-mel")
        True
        """
        settings = legacy.original_settings(self.settings()) if original_names else self.settings()
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not isinstance(value, dict)]
        for name in ("representation", "augmentation"):
            # TOML has no null: a field that is None is omitted, and is read as its default.
            table = [f"{key} = {json.dumps(value)}" for key, value in settings[name].items() if value is not None]
            lines += ["", f"[{name}]", *table]
        return "\n".join([*lines, ""])

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Recipe:
        """Create a recipe from ``settings``; missing fields take their defaults.

        Names of earlier versions are accepted. A field that was removed is accepted with its old default.

        Raises:
            SettingsError: an unknown field or an invalid value; a removed field with another value.

        >>> Recipe.from_settings({"name": "mine", "representation": "mel"}).representation.name
        'mel'
        """
        values = _field_values(settings)
        missing = [key for key in ("name", "representation") if key not in values]
        if missing and not is_file(str(values.get("backbone"))):
            raise SettingsError(
                f"the recipe has no {' and no '.join(missing)}: a recipe needs a name and a representation."
            )
        return cls(**values)

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """Read a recipe from TOML text, as ``to_toml`` writes it.

        Raises:
            SettingsError: the text is not TOML, or has an unknown field or an invalid value.
        """
        try:
            settings = parse_toml(text)
        except ValueError as error:
            raise SettingsError(f"the recipe is not TOML: {error}.") from error
        return cls.from_settings(settings)

    def describe(self) -> str:
        """Describe the recipe in one line."""
        size = "×".join(str(n) for n in self.representation.input_shape[-2:])
        network = Path(self.backbone).name if self.backbone else self.network
        model = f"{self.name}: {self.representation.name} {size} → {network}"
        if self.backbone:
            return f"{model} (frozen), linear head"
        at_least = f" (at least {self.min_batches:,} batches)" if self.min_batches else ""
        optimizer = f"{'AdamW' if self.weight_decay else 'Adam'} at {self.learning_rate:g}"
        twice = ", trained twice: for calibration, then on all clips" if self.validation_fraction else ""
        return f"{model}, {counted(self.epochs, 'epoch')} of batch {self.batch_size}{at_least}, {optimizer}{twice}"


def _field_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the field values of a ``Recipe`` from plain JSON and TOML values, or from objects."""
    settings = legacy.readable_settings(settings)
    known = [one.name for one in fields(Recipe)]
    for key in settings:
        if key not in known:
            raise unknown_name("recipe field", key, known)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    representation = values.get("representation")
    if isinstance(representation, str):
        representation = {"name": representation}
    if isinstance(representation, Mapping):
        values["representation"] = spectrograms.from_settings(representation)
    if "augmentation" in values and not isinstance(values["augmentation"], Augmentation):
        values["augmentation"] = _augmentation_of(values["augmentation"])
    return values


def _band(band: object) -> tuple[float, float]:
    """Return the limits of a frequency band in Hz.

    Raises:
        SettingsError: ``band`` is not a pair of numbers.
    """
    values = tuple(map(python_number, band)) if isinstance(band, list | tuple) else ()
    if len(values) != 2 or not all(is_finite(hz) for hz in values):
        raise SettingsError(f"the band is {band!r}: expected a pair of frequencies in Hz, such as (50, 8000).")
    return values


def _changed_fields(settings: Recipe | Augmentation) -> dict[str, Any]:
    """Return the fields that differ from their defaults, or have no default."""
    values = {one.name: (one.default, getattr(settings, one.name)) for one in fields(settings)}
    return {name: value for name, (default, value) in values.items() if default is MISSING or value != default}


def _short_repr(settings: Recipe | Augmentation) -> str:
    changed = ", ".join(f"{key}={value!r}" for key, value in _changed_fields(settings).items())
    return f"{type(settings).__name__}({changed})"


def _augmentation_of(settings: object) -> Augmentation:
    if not isinstance(settings, Mapping):
        raise SettingsError(f"the augmentation is {settings!r}: expected a table of parameters.")
    known = [one.name for one in fields(Augmentation)]
    for key in settings:
        if key not in known:
            raise unknown_name("augmentation parameter", key, known)
    return Augmentation(**settings)


def _check_whole(name: str, value: object, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise SettingsError(f"{name} is {value!r}: expected a whole number from {lowest} to {highest}.")

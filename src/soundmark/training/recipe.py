"""A recipe: everything that decides how a classifier is made. The only home of a default."""

from __future__ import annotations

import html
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from soundmark import spectrograms
from soundmark.errors import SettingsError, unknown_name
from soundmark.models import legacy
from soundmark.runtime.checks import is_finite
from soundmark.spectrograms import Representation
from soundmark.training.networks import NETWORKS, PRETRAINED

TRAINABLE = {
    "all": "every layer, epoch by epoch",
    "head": "a linear head alone, on what a pretrained network makes of each clip once",
}


SCHEDULES = ("constant", "one-cycle")


SHARES = (
    "layer_decay",
    "head_lr_scale",
    "label_smoothing",
    "ema_decay",
    "weight_interpolation",
    "validation_fraction",
    "known_quantile",
)


MOST = 1_000_000  # epochs, or clips in a batch: a greater number is a slip


# A recipe's name is a folder's, beside the files of the run.
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]*")


TAKEN = ("report.html", "metrics.json")


@dataclass(frozen=True, kw_only=True, repr=False)
class Augmentation:
    """How each clip is changed at random in every epoch; with the defaults, not at all. For ``logmel`` alone.

    Raises:
        SettingsError: a field has a value that is not allowed.

    >>> Augmentation(gain_db=-6.0)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: gain_db is -6.0: give a number of at least 0.
    """

    roll: bool = False  # rotate in time by a random amount
    gain_db: float = 0.0  # louder or quieter by up to this
    stretch: float = 0.0  # faster or slower by up to this share
    shift_bands: float = 0.0  # higher or lower by up to so many mel bands
    mixstyle: float = 0.0  # the α of Beta(α, α): how far each band's mean and spread move to another clip's; 0: off
    mixstyle_probability: float = 1.0  # share of the batches with mixstyle
    mixup: float = 0.0  # the α of Beta(α, α), from which the shares of two clips are drawn; 0: off
    mixup_probability: float = 1.0  # share of the batches with mixup

    def __repr__(self) -> str:
        return _short_repr(self)

    def __post_init__(self) -> None:
        if not isinstance(self.roll, bool):
            raise SettingsError(f"roll is {self.roll!r}: give true or false.")
        shares = ("mixstyle_probability", "mixup_probability")
        for name in ("gain_db", "stretch", "shift_bands", "mixstyle", "mixup", *shares):
            value = getattr(self, name)
            if not is_finite(value) or value < 0:
                raise SettingsError(f"{name} is {value!r}: give a number of at least 0.")
            if name in shares and value > 1:
                raise SettingsError(f"{name} is {value!r}: give a number from 0 to 1.")


@dataclass(frozen=True, kw_only=True, repr=False)
class Recipe:
    """How a classifier is made from labelled clips. ``repr`` and Jupyter show the fields that are not at their default.

    Raises:
        SettingsError: a field has a value that is not allowed, or names something unknown.

    >>> from soundmark.spectrograms import Mel
    >>> Recipe(name="mine", representation=Mel(), epochs=5)
    Recipe(name='mine', representation=Mel(...), epochs=5)
    """

    name: str
    representation: Representation
    network: str = "notebook_cnn"
    epochs: int = 20
    batch_size: int = 250
    learning_rate: float = 1e-3
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: float = 1e-7  # Keras' default; PyTorch's own is 1e-8
    seed: int = 0
    trainable: str = "all"  # one of TRAINABLE
    min_batches: int = 0  # a small data set is trained on for more epochs, until so many batches were seen
    schedule: str = "constant"  # "one-cycle": up in the first tenth, then down to nothing along a cosine
    weight_decay: float = 0.0  # decoupled from the gradient, of everything but biases and normalisations
    # The next two are factors of a pretrained network's learning rate.
    layer_decay: float = 1.0  # of each layer, relative to the one after it
    head_lr_scale: float = 1.0  # of its head, which starts fitted, relative to the last layer
    label_smoothing: float = 0.0
    ema_decay: float = 0.0  # share of the running mean of the weights that is kept at each batch; 0: no running mean
    weight_interpolation: float = 1.0  # result between a pretrained network's first weights, 0, and its last, 1
    refit_head: bool = False  # whether a head is fitted again after all layers of a pretrained network were trained
    validation_fraction: float = 0.0  # of the recordings: kept back to calibrate on, before training on all clips
    known_quantile: float = 0.95  # share of the validation clips that is taken as known; the rest would be "unknown"
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        if not isinstance(self.network, str) or self.network not in NETWORKS:
            raise unknown_name("network", self.network, NETWORKS)
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name) or self.name.lower() in TAKEN:
            raise SettingsError(
                f'a recipe is called "{self.name}": it names a folder beside {" and ".join(TAKEN)}, so begin with a '
                'letter or digit and go on with letters, digits, "-", "_" and ".".'
            )
        if not isinstance(self.representation, Representation):
            raise SettingsError(
                f'the representation is {self.representation!r}: give its name, as "mel", or a table of its name and '
                "its parameters."
            )
        self._check_numbers()
        self._check_names()

    def __repr__(self) -> str:
        return _short_repr(self)

    def _repr_html_(self) -> str:
        """A table for Jupyter: a row for each field that is not at its default, and for the network."""
        rows = {"network": self.network, **_changed_fields(self)}
        cells = (
            f'<tr><th style="text-align:left">{html.escape(key)}</th>'
            f'<td style="text-align:left">{html.escape(value if isinstance(value, str) else repr(value))}</td></tr>'
            for key, value in rows.items()
            if key != "name"
        )
        return f"<table><caption>Recipe {html.escape(self.name)}</caption>{''.join(cells)}</table>"

    def with_changes(self, **changes: Any) -> Recipe:
        """The recipe with other values of some fields; a field given as ``None`` stays as it is.

        A representation is an object, a name or a dict of its name and parameters; an augmentation is an object or a
        dict of its parameters. Names of earlier versions are accepted.

        Raises:
            SettingsError: there is no such field (with the nearest one), or a value is not allowed.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> recipe_named("notebook-mel").with_changes(epoch=5)
        Traceback (most recent call last):
        soundmark.errors.SettingsError: there is no field of a recipe "epoch". Did you mean "epochs"? Known: name, ...
        """
        return replace(self, **_field_values({key: value for key, value in changes.items() if value is not None}))

    def _check_numbers(self) -> None:
        whole = (("epochs", 1, MOST), ("batch_size", 1, MOST), ("seed", 0, 2**32 - 1), ("min_batches", 0, MOST))
        for name, least, most in whole:
            _check_whole(name, getattr(self, name), least, most)
        for name in ("learning_rate", "adam_epsilon"):
            value = getattr(self, name)
            if not is_finite(value) or not value > 0:
                raise SettingsError(f"{name} is {value!r}: give a number above 0.")
        for name in SHARES:
            value = getattr(self, name)
            if not is_finite(value) or not 0 <= value <= 1:
                raise SettingsError(f"{name} is {value!r}: give a number from 0 to 1.")
        if not isinstance(self.refit_head, bool):
            raise SettingsError(f"refit_head is {self.refit_head!r}: give true or false.")
        if not is_finite(self.weight_decay) or self.weight_decay < 0:
            raise SettingsError(f"weight_decay is {self.weight_decay!r}: give a number of at least 0.")
        betas = self.adam_betas
        if not isinstance(betas, tuple) or len(betas) != 2 or not all(is_finite(b) and 0 <= b < 1 for b in betas):
            raise SettingsError(f"adam_betas is {betas!r}: give two numbers, each at least 0 and below 1.")

    def _check_names(self) -> None:
        for field_name, known in (("trainable", TRAINABLE), ("schedule", SCHEDULES)):
            value = getattr(self, field_name)
            if not isinstance(value, str) or value not in known:
                raise unknown_name(field_name, value, known)
        if self.trainable == "head" and not self.is_pretrained:
            raise SettingsError(
                f'the recipe {self.name} trains the head alone of the network "{self.network}", which was trained on '
                f"nothing before: choose one of {', '.join(PRETRAINED)}, or train all of it."
            )
        if self.weight_interpolation < 1 and not self.is_pretrained:
            raise SettingsError(
                f'the recipe {self.name} blends its network "{self.network}" with where it began, which was trained on '
                "nothing before: leave weight_interpolation at 1."
            )
        if self.refit_head and (self.trainable == "head" or not self.is_pretrained):
            raise SettingsError(
                f"refit_head is true in the recipe {self.name}: a head is fitted anew where all layers of a pretrained "
                f'network ({", ".join(PRETRAINED)}) were trained, not with trainable = "{self.trainable}" and the '
                f'network "{self.network}".'
            )
        name = self.representation.name
        if name != "logmel" and (self.is_pretrained or self.augmentation != Augmentation()):
            asked = f'the network "{self.network}"' if self.is_pretrained else "the augmentation"
            raise SettingsError(f'{asked} of the recipe {self.name} needs the representation "logmel", not "{name}".')

    @property
    def is_pretrained(self) -> bool:
        """Whether the network starts from pretrained weights."""
        return self.network in PRETRAINED

    @property
    def decides(self) -> bool:
        """Whether validation clips decide anything but the weights: then no test clip is read before the end.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> recipe_named("transfer").decides, recipe_named("notebook-mel").decides
        (True, False)
        """
        return self.trainable == "head" or self.validation_fraction > 0

    def epochs_for(self, n_train: int) -> int:
        """Number of epochs on ``n_train`` clips: ``epochs``, or as many as give ``min_batches``.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> recipe_named("notebook-mel").epochs_for(40)
        20
        """
        return max(self.epochs, -(-self.min_batches // -(-n_train // self.batch_size)))

    def for_window(self, window_s: float) -> Recipe:
        """The recipe for sounds of ``window_s`` seconds: where the representation's time is real time, so many frames.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> recipe_named("transfer").for_window(5.0).representation.size
        (128, 500)
        """
        return replace(self, representation=self.representation.for_window(window_s))

    def settings(self) -> dict[str, Any]:
        """Every field as plain JSON and TOML values; ``from_settings`` reads them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            **values,
            "adam_betas": list(self.adam_betas),
            "augmentation": asdict(self.augmentation),
            "representation": self.representation.settings(),
        }

    def to_toml(self, *, original_names: bool = False) -> str:
        """The recipe as a TOML file that ``from_toml`` and ``--recipe FILE.toml`` read.

        With ``original_names``, as version 0.1.0 wrote it: a run's own file is compared with that, too.

        >>> from soundmark.training.named_recipes import recipe_named
        >>> Recipe.from_toml(recipe_named("notebook-mel").to_toml()) == recipe_named("notebook-mel")
        True
        """
        settings = legacy.original_settings(self.settings()) if original_names else self.settings()
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not isinstance(value, dict)]
        for name in ("representation", "augmentation"):
            # TOML has no null: a field that is None is left out, which means its default or None.
            table = [f"{key} = {json.dumps(value)}" for key, value in settings[name].items() if value is not None]
            lines += ["", f"[{name}]", *table]
        return "\n".join([*lines, ""])

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Recipe:
        """The recipe that ``settings`` describes; missing fields take their defaults.

        Names of earlier versions are read, and a field that no longer exists is accepted at its default.

        Raises:
            SettingsError: an unknown field or value, with the known ones; a removed field with another value.

        >>> Recipe.from_settings({"name": "mine", "representation": "mel"}).representation.name
        'mel'
        """
        values = _field_values(settings)
        missing = [key for key in ("name", "representation") if key not in values]
        if missing:
            raise SettingsError(f"the recipe says no {' and no '.join(missing)}: both are needed.")
        return cls(**values)

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """The recipe in a TOML text, as ``to_toml`` writes it.

        Raises:
            SettingsError: it is not TOML, or has an unknown field or value.
        """
        try:
            settings = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"the recipe is not TOML: {error}.") from error
        return cls.from_settings(settings)

    def describe(self) -> str:
        """One line for people."""
        size = "×".join(str(n) for n in self.representation.shape)
        made = f"{self.name}: {self.representation.name} {size} → {self.network}"
        if self.trainable == "head":
            return f"{made} as it is, and a linear head"
        least = f" (and at least {self.min_batches:,} batches)" if self.min_batches else ""
        optimizer = f"{'AdamW' if self.weight_decay else 'Adam'} at {self.learning_rate:g}"
        twice = ", first to calibrate and then on everything" if self.validation_fraction else ""
        return f"{made}, {self.epochs} epochs of batch {self.batch_size}{least}, {optimizer}{twice}"


def _field_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Values of fields of ``Recipe`` from plain JSON and TOML values, or from the objects themselves."""
    settings = legacy.readable_settings(settings)
    known = [field.name for field in fields(Recipe)]
    for key in settings:
        if key not in known:
            raise unknown_name("field of a recipe", key, known)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    representation = values.get("representation")
    if isinstance(representation, str):
        representation = {"name": representation}
    if isinstance(representation, Mapping):
        values["representation"] = spectrograms.from_settings(representation)
    if "augmentation" in values and not isinstance(values["augmentation"], Augmentation):
        values["augmentation"] = _augmentation_of(values["augmentation"])
    return values


def _changed_fields(settings: Recipe | Augmentation) -> dict[str, Any]:
    """The fields that are not at their default, or have none."""
    values = {field.name: (field.default, getattr(settings, field.name)) for field in fields(settings)}
    return {name: value for name, (default, value) in values.items() if default is MISSING or value != default}


def _short_repr(settings: Recipe | Augmentation) -> str:
    changed = ", ".join(f"{key}={value!r}" for key, value in _changed_fields(settings).items())
    return f"{type(settings).__name__}({changed})"


def _augmentation_of(settings: object) -> Augmentation:
    if not isinstance(settings, Mapping):
        raise SettingsError(f"the augmentation is {settings!r}: give a table of its parameters.")
    known = [field.name for field in fields(Augmentation)]
    for key in settings:
        if key not in known:
            raise unknown_name("parameter of augmentation", key, known)
    return Augmentation(**settings)


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SettingsError(f"{name} is {value!r}: give a whole number from {least} to {most}.")

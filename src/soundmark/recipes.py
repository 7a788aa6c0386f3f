"""A recipe: everything that decides how a classifier is made. The only home of a default.

The named recipes stand at the end. A further one is a line there, or a TOML file of the user's own:

>>> named("seed-mel").batch_size
250
>>> print(named("seed-mel").describe())
seed-mel: mel 64×64 → seed_cnn, 20 epochs of batch 250, Adam at 0.001
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from soundmark import spectrograms
from soundmark.errors import SettingsError, unknown_name
from soundmark.spectrograms import Representation
from soundmark.spectrograms.representation import is_finite

# Every network by name; each is built by the module of that name in soundmark.models, loaded when asked for.
NETWORKS = {
    "seed_cnn": "the notebook's six convolutions and two dense layers: 1 324 138 parameters for 64×64 and ten classes",
    "resnet": "three small residual networks that vote: 1.45 million parameters for ten classes",
    "mn04": "EfficientAT's MobileNetV3 of width 0.4, trained on AudioSet: 0.98 million parameters",
    "mn10": "EfficientAT's MobileNetV3 of width 1.0, trained on AudioSet: 4.88 million parameters",
}
PRETRAINED = ("mn04", "mn10")
TRAINS = {
    "all": "every layer, epoch by epoch",
    "head": "a linear head alone, on what a pretrained network makes of each clip once",
}
SCHEDULES = ("constant", "one-cycle")
SHARES = ("layer_decay", "head_rate", "label_smoothing", "averaging", "blend", "validation_share", "known_kept")
MOST = 1_000_000  # epochs, or clips in a batch: a greater number is a slip
# A recipe's name is a folder's, beside the files of the run.
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]*")
TAKEN = ("report.html", "metrics.json")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How each clip is changed whenever it is trained on; with its defaults, not at all. For ``logmel`` alone.

    Raises:
        SettingsError: a field has a value that cannot be meant.

    >>> Augmentation(gain_db=-6.0)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: gain_db is -6.0: give a number of at least 0.
    """

    roll: bool = False  # begin anywhere: the end is followed by the beginning
    gain_db: float = 0.0  # louder or quieter by up to that
    stretch: float = 0.0  # faster or slower by up to that share
    shift_bands: float = 0.0  # higher or lower by up to so many mel bands
    mixstyle: float = 0.0  # the α of Beta(α, α): how each band's mean and spread move to another sound's; 0: not at all
    mixstyle_share: float = 1.0  # of the batches in which they do
    mixup: float = 0.0  # the α of Beta(α, α), from which the shares of two sounds are drawn; 0: one sound at a time
    mixup_share: float = 1.0  # of the batches that are mixed

    def __post_init__(self) -> None:
        if not isinstance(self.roll, bool):
            raise SettingsError(f"roll is {self.roll!r}: give true or false.")
        shares = ("mixstyle_share", "mixup_share")
        for name in ("gain_db", "stretch", "shift_bands", "mixstyle", "mixup", *shares):
            value = getattr(self, name)
            if not is_finite(value) or value < 0:
                raise SettingsError(f"{name} is {value!r}: give a number of at least 0.")
            if name in shares and value > 1:
                raise SettingsError(f"{name} is {value!r}: give a number from 0 to 1.")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a classifier is made from labelled clips.

    Raises:
        SettingsError: a field has a value that cannot be meant, or names something unknown.
    """

    name: str
    representation: Representation
    network: str = "seed_cnn"
    epochs: int = 20
    batch_size: int = 250
    learning_rate: float = 1e-3
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: float = 1e-7  # Keras' default; PyTorch's own is 1e-8
    seed: int = 0
    trains: str = "all"  # one of TRAINS
    least_batches: int = 0  # a small data set is gone through more often, until so many batches were seen
    schedule: str = "constant"  # "one-cycle": up in the first tenth, then down to nothing along a cosine
    weight_decay: float = 0.0  # decoupled from the gradient, of everything but biases and normalisations
    layer_decay: float = 1.0  # of a pretrained network, what each layer learns slower than the one after it
    head_rate: float = (
        1.0  # of a pretrained network, what its head, which begins well, learns slower than the last layer
    )
    label_smoothing: float = 0.0
    averaging: float = 0.0  # the share of the running mean of the weights that is kept at each batch; 0: no mean
    blend: float = 1.0  # of a pretrained network, how far the result lies from where it began to what it became
    head_anew: bool = False  # of a pretrained network, whether a head is fitted on what all layers became
    validation_share: float = 0.0  # of the recordings, kept back to calibrate on; then all of it anew on everything
    known_kept: float = 0.95  # of the validation clips, the share that is taken as known: the rest would be "unknown"
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

    def _check_numbers(self) -> None:
        whole = (("epochs", 1, MOST), ("batch_size", 1, MOST), ("seed", 0, 2**32 - 1), ("least_batches", 0, MOST))
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
        if not isinstance(self.head_anew, bool):
            raise SettingsError(f"head_anew is {self.head_anew!r}: give true or false.")
        if not is_finite(self.weight_decay) or self.weight_decay < 0:
            raise SettingsError(f"weight_decay is {self.weight_decay!r}: give a number of at least 0.")
        betas = self.adam_betas
        if not isinstance(betas, tuple) or len(betas) != 2 or not all(is_finite(b) and 0 <= b < 1 for b in betas):
            raise SettingsError(f"adam_betas is {betas!r}: give two numbers, each at least 0 and below 1.")

    def _check_names(self) -> None:
        for field_name, known in (("trains", TRAINS), ("schedule", SCHEDULES)):
            value = getattr(self, field_name)
            if not isinstance(value, str) or value not in known:
                raise unknown_name(field_name, value, known)
        if self.trains == "head" and not self.is_pretrained:
            raise SettingsError(
                f'the recipe {self.name} trains the head alone of the network "{self.network}", which was trained on '
                f"nothing before: choose one of {', '.join(PRETRAINED)}, or train all of it."
            )
        if self.blend < 1 and not self.is_pretrained:
            raise SettingsError(
                f'the recipe {self.name} blends its network "{self.network}" with where it began, which was trained on '
                "nothing before: leave blend at 1."
            )
        if self.head_anew and (self.trains == "head" or not self.is_pretrained):
            raise SettingsError(
                f"head_anew is true in the recipe {self.name}: a head is fitted anew where all layers of a pretrained "
                f'network ({", ".join(PRETRAINED)}) were trained, not with trains = "{self.trains}" and the network '
                f'"{self.network}".'
            )
        name = self.representation.name
        if name != "logmel" and (self.is_pretrained or self.augmentation != Augmentation()):
            asked = f'the network "{self.network}"' if self.is_pretrained else "the augmentation"
            raise SettingsError(f'{asked} of the recipe {self.name} needs the representation "logmel", not "{name}".')

    @property
    def is_pretrained(self) -> bool:
        """Whether the network begins with weights that were trained before."""
        return self.network in PRETRAINED

    @property
    def decides(self) -> bool:
        """Whether anything but the weights is settled on validation clips: then no test clip is seen before the end.

        >>> named("transfer").decides, named("seed-mel").decides
        (True, False)
        """
        return self.trains == "head" or self.validation_share > 0

    def epochs_for(self, n_train: int) -> int:
        """How often ``n_train`` clips are gone through: ``epochs``, or until ``least_batches`` were seen.

        >>> named("seed-mel").epochs_for(40)
        20
        """
        return max(self.epochs, -(-self.least_batches // -(-n_train // self.batch_size)))

    def for_window(self, window_s: float) -> Recipe:
        """The recipe for sounds of ``window_s`` seconds: where the representation's time is real time, so many frames.

        >>> named("transfer").for_window(5.0).representation.size
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

    def to_toml(self) -> str:
        """The recipe as a TOML file that ``from_toml`` and ``--recipe FILE.toml`` read.

        >>> Recipe.from_toml(named("seed-mel").to_toml()) == named("seed-mel")
        True
        """
        settings = self.settings()
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not isinstance(value, dict)]
        for name in ("representation", "augmentation"):
            # TOML has no null: a field that is None is left out, which means its default or None.
            table = [f"{key} = {json.dumps(value)}" for key, value in settings[name].items() if value is not None]
            lines += ["", f"[{name}]", *table]
        return "\n".join([*lines, ""])

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Recipe:
        """The recipe that ``settings`` describes; missing fields take their defaults.

        Raises:
            SettingsError: an unknown field or value, with the known ones.

        >>> Recipe.from_settings({"name": "mine", "representation": "mel"}).representation.name
        'mel'
        """
        known = [field.name for field in fields(cls)]
        for key in settings:
            if key not in known:
                raise unknown_name("field of a recipe", key, known)
        missing = [key for key in ("name", "representation") if key not in settings]
        if missing:
            raise SettingsError(f"the recipe says no {' and no '.join(missing)}: both are needed.")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
        }
        representation = settings["representation"]
        if isinstance(representation, str):
            representation = {"name": representation}
        if isinstance(representation, Mapping):
            values["representation"] = spectrograms.from_settings(representation)
        if "augmentation" in settings:
            values["augmentation"] = _augmentation_of(settings["augmentation"])
        return cls(**values)

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """The recipe in a TOML text, as ``to_toml`` writes it.

        Raises:
            SettingsError: it is not TOML, or says something unknown.
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
        if self.trains == "head":
            return f"{made} as it is, and a linear head"
        least = f" (and at least {self.least_batches:,} batches)" if self.least_batches else ""
        optimizer = f"{'AdamW' if self.weight_decay else 'Adam'} at {self.learning_rate:g}"
        twice = ", first to calibrate and then on everything" if self.validation_share else ""
        return f"{made}, {self.epochs} epochs of batch {self.batch_size}{least}, {optimizer}{twice}"


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


def named(name: str) -> Recipe:
    """The recipe of that name, or the one in that ``.toml`` file.

    Raises:
        SettingsError: there is no such recipe, with the known names, or the file cannot be read.

    >>> named("seed-image-22k").representation.rate_hz
    22050
    """
    if name in RECIPES:
        return RECIPES[name]
    if not name.endswith(".toml"):
        raise unknown_name("recipe", name, RECIPES)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f'the recipe "{name}" cannot be read: {error.strerror}.') from error
    except ValueError as error:
        raise SettingsError(f'the recipe "{name}" cannot be read: it is not UTF-8 text.') from error
    try:
        return Recipe.from_toml(text)
    except SettingsError as error:
        raise SettingsError(f'the recipe "{name}" cannot be used: {error}') from error


_SCRATCH_HEARS = spectrograms.LogMel(
    rate_hz=22050,
    size=(64, 128),
    n_fft=2048,
    window_samples=1378,
    hop_samples=689,
    f_max_hz=11025.0,
    pre_emphasis=0.0,
)
_OTHERWISE_HEARD = Augmentation(roll=True, gain_db=12.0, stretch=0.3, shift_bands=5.0, mixup=1.0)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="seed-image", representation=spectrograms.Image()),
        Recipe(name="seed-mel", representation=spectrograms.Mel()),
        Recipe(name="seed-image-22k", representation=spectrograms.Image(rate_hz=22050)),
        Recipe(
            name="scratch",
            representation=_SCRATCH_HEARS,
            network="resnet",
            epochs=30,
            least_batches=1500,
            batch_size=32,
            learning_rate=3e-3,
            schedule="one-cycle",
            weight_decay=0.02,
            label_smoothing=0.1,
            averaging=0.998,
            validation_share=0.2,
            augmentation=_OTHERWISE_HEARD,
        ),
        Recipe(name="transfer", representation=spectrograms.LogMel(), network="mn04", trains="head"),
        Recipe(
            name="transfer-finetune",
            representation=spectrograms.LogMel(),
            network="mn04",
            epochs=4,
            batch_size=32,
            learning_rate=1e-4,
            schedule="one-cycle",
            layer_decay=0.95,
            head_rate=0.1,
            averaging=0.99,
            blend=0.75,
            head_anew=True,
            validation_share=0.2,
            augmentation=Augmentation(
                roll=True, gain_db=10.0, stretch=0.15, shift_bands=4.0, mixup=1.0, mixup_share=0.5
            ),
        ),
    )
}
"""The recipes that have a name: the notebook's two, its pictures at one rate for every file, and three of our own."""

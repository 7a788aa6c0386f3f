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
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from soundmark import spectrograms
from soundmark.errors import SettingsError, unknown_name
from soundmark.spectrograms import Representation
from soundmark.spectrograms.representation import is_finite

# Every network by name; each is built by the module of that name in soundmark.models, loaded when asked for.
NETWORKS = {
    "seed_cnn": "the notebook's six convolutions and two dense layers: 1 324 138 parameters for 64×64 and ten classes",
}
MOST = 1_000_000  # epochs, or clips in a batch: a greater number is a slip
# A recipe's name is a folder's, beside the files of the run.
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]*")
TAKEN = ("report.html", "metrics.json")


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
        for name, least, most in (("epochs", 1, MOST), ("batch_size", 1, MOST), ("seed", 0, 2**32 - 1)):
            _check_whole(name, getattr(self, name), least, most)
        for name in ("learning_rate", "adam_epsilon"):
            value = getattr(self, name)
            if not is_finite(value) or not value > 0:
                raise SettingsError(f"{name} is {value!r}: give a number above 0.")
        betas = self.adam_betas
        if not isinstance(betas, tuple) or len(betas) != 2 or not all(is_finite(b) and 0 <= b < 1 for b in betas):
            raise SettingsError(f"adam_betas is {betas!r}: give two numbers, each at least 0 and below 1.")

    def settings(self) -> dict[str, Any]:
        """Every field as plain JSON and TOML values; ``from_settings`` reads them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "adam_betas": list(self.adam_betas), "representation": self.representation.settings()}

    def to_toml(self) -> str:
        """The recipe as a TOML file that ``from_toml`` and ``--recipe FILE.toml`` read.

        >>> Recipe.from_toml(named("seed-mel").to_toml()) == named("seed-mel")
        True
        """
        settings = self.settings()
        representation = settings.pop("representation")
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        # TOML has no null: a field of a representation that is None is left out, which means its default or None.
        table = [f"{key} = {json.dumps(value)}" for key, value in representation.items() if value is not None]
        return "\n".join([*lines, "", "[representation]", *table, ""])

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
        return (
            f"{self.name}: {self.representation.name} {size} → {self.network}, {self.epochs} epochs of batch "
            f"{self.batch_size}, Adam at {self.learning_rate:g}"
        )


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


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="seed-image", representation=spectrograms.Image()),
        Recipe(name="seed-mel", representation=spectrograms.Mel()),
        Recipe(name="seed-image-22k", representation=spectrograms.Image(rate_hz=22050)),
    )
}
"""The recipes that have a name: the notebook's two, and its pictures at one rate for every file."""

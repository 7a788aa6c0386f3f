"""The built-in recipes. To add one, add it to ``RECIPES``; users write their own recipes as TOML files.

>>> recipe_named("notebook-mel").batch_size
250
>>> print(recipe_named("notebook-mel").describe())
notebook-mel: mel 64×64 → notebook_cnn, 20 epochs of batch 250, Adam at 0.001
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from soundmark import spectrograms
from soundmark.errors import SettingsError, unknown_name
from soundmark.models import legacy
from soundmark.runtime.text import listed, reason_unreadable
from soundmark.training.backbone_files import with_backbone
from soundmark.training.recipe import Augmentation, Recipe


def recipe(given: str | os.PathLike[str] | Recipe, /, **changes: Any) -> Recipe:
    """Return a recipe by name, from a ``.toml`` file, or as given, with ``changes`` to some fields.

    A field given as ``None`` is not changed. A ``backbone`` changes recipes that have one; ``check_used`` refuses it if
    none has. The file of a backbone is read: see ``with_backbone`` for ``backbone_output`` and ``backbone_rate_hz``.
    ``Recipe.with_changes`` describes the other values.

    Raises:
        SettingsError: an unknown recipe or field (the message names the nearest one), or an invalid value.
        BundleError: the file of a backbone cannot be read, or is not a backbone.

    >>> from soundmark.training import named_recipes
    >>> named_recipes.recipe("notebook-mel", epochs=5, learning_rate=3e-4)
    Recipe(name='notebook-mel', representation=Mel(...), epochs=5, learning_rate=0.0003)
    """
    if not isinstance(given, Recipe | str | os.PathLike):
        raise SettingsError(f"the recipe is {given!r}: expected the name of a recipe, a .toml file or a Recipe.")
    found = given if isinstance(given, Recipe) else recipe_named(os.fspath(given))
    options = [changes.pop(key, None) for key in ("backbone", "backbone_output", "backbone_rate_hz")]
    if found.backbone is not None:
        found = with_backbone(found, options[0], output=options[1], rate_hz=options[2])
    return found.with_changes(**changes)


def is_name(text: str) -> bool:
    """Return whether a text is the name of a recipe, or has the suffix of its file.

    >>> is_name("transfer"), is_name("mine.toml"), is_name("final")
    (True, True, False)
    """
    return text in RECIPES or text in legacy.RECIPES or text.endswith(".toml")


def recipe_named(name: str) -> Recipe:
    """Return the recipe with this name, or from this ``.toml`` file.

    Raises:
        SettingsError: an unknown recipe (the message lists the known names), or the file cannot be read.

    >>> recipe_named("notebook-image-22k").representation.rate_hz
    22050
    """
    name = legacy.RECIPES.get(name, name)
    if name in RECIPES:
        return RECIPES[name]
    if not name.endswith(".toml"):
        raise unknown_name("recipe", name, RECIPES)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f'the recipe "{name}" cannot be read: {reason_unreadable(error)}.') from error
    try:
        return Recipe.from_toml(text)
    except SettingsError as error:
        raise SettingsError(f'the recipe "{name}" is not valid: {error}') from error


OPTIONS = {
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "learning_rate": "--learning-rate",
    "backbone": "--backbone",
    "backbone_output": "--backbone-output",
    "backbone_rate_hz": "--backbone-rate",
    "window_s": "--window",
}


def changed_recipes(given: Iterable[str | os.PathLike[str] | Recipe], **changes: Any) -> list[Recipe]:
    """Return each recipe with ``changes``, as ``recipe`` does; at least one recipe must use each change.

    A ``window_s`` is only checked: ``prepare`` applies it to the data set.

    Raises:
        SettingsError: no recipe uses a change; see also ``recipe``.
        BundleError: the file of a backbone cannot be read, or is not a backbone.

    >>> [one.epochs for one in changed_recipes(["notebook-mel", "notebook-image"], epochs=5)]
    [5, 5]
    """
    used = {option: changes.get(option) for option in OPTIONS}
    changes.pop("window_s", None)
    found = [recipe(one, **changes) for one in given]
    check_used(found, **used)
    return found


def check_used(recipes: Sequence[Recipe], **options: Any) -> None:
    """Check that at least one of ``recipes`` uses each of the ``options``; one that is None was not given.

    Raises:
        SettingsError: no recipe uses an option.

    >>> check_used([recipe_named("transfer")], epochs=2)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the recipe transfer does not use --epochs: it fits a linear head on a frozen ...
    """
    for option, value in options.items():
        reasons = [recipe.ignores(option) for recipe in recipes]
        if value is not None and recipes and all(reasons):
            names = listed([recipe.name for recipe in recipes])
            remedy = f"choose another recipe, such as {'transfer' if option == 'backbone' else 'scratch'}"
            if option.startswith("backbone_"):
                remedy = "give a file with --backbone"
            raise SettingsError(
                f"the recipe {names} does not use {OPTIONS[option]}: {reasons[0]}. Omit it, or {remedy}."
            )


_SCRATCH_SPECTROGRAM = spectrograms.LogMel(
    rate_hz=22050,
    size=(64, 128),
    n_fft=2048,
    window_samples=1378,
    hop_samples=689,
    f_max_hz=11025.0,
    pre_emphasis=0.0,
)


_SCRATCH_AUGMENTATION = Augmentation(roll=True, gain_db=12.0, stretch=0.3, shift_bands=5.0, mixup=1.0)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="notebook-image", representation=spectrograms.Image()),
        Recipe(name="notebook-mel", representation=spectrograms.Mel()),
        Recipe(name="notebook-image-22k", representation=spectrograms.Image(rate_hz=22050)),
        Recipe(
            name="scratch",
            representation=_SCRATCH_SPECTROGRAM,
            network="resnet",
            epochs=30,
            min_batches=1500,
            batch_size=32,
            learning_rate=3e-3,
            schedule="one-cycle",
            weight_decay=0.02,
            label_smoothing=0.1,
            ema_decay=0.998,
            validation_fraction=0.2,
            augmentation=_SCRATCH_AUGMENTATION,
        ),
        Recipe(
            name="transfer",
            representation=spectrograms.LogMel(),
            backbone="mn04",
            partial_views=1,
            backgrounds=100,
            recorded_backgrounds=6,
        ),
    )
}
"""The built-in recipes: two of the notebook, its images at one sample rate for all files, and two by soundmark."""

"""Names of earlier versions, read as aliases: recipes, networks and fields of a recipe.

Models, run folders and recipe files that use old names can still be read. New files use the current names only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soundmark.errors import SettingsError

RECIPES = {
    "seed-mel": "notebook-mel",
    "seed-image": "notebook-image",
    "seed-image-22k": "notebook-image-22k",
}
NETWORKS = {"seed_cnn": "notebook_cnn"}
FIELDS = {
    "trains": "trainable",
    "least_batches": "min_batches",
    "head_rate": "head_lr_scale",
    "averaging": "ema_decay",
    "blend": "weight_interpolation",
    "head_anew": "refit_head",
    "validation_share": "validation_fraction",
    "known_kept": "known_quantile",
}
AUGMENTATION_FIELDS = {"mixstyle_share": "mixstyle_probability", "mixup_share": "mixup_probability"}
# Removed fields: last name → default value, and the last version that supports other values. The name of a field of the
# augmentation is "augmentation.NAME".
REMOVED_FIELDS: dict[str, tuple[Any, str]] = {
    "trainable": ("all", "0.1.0"),
    "layer_decay": (1.0, "0.1.0"),
    "head_lr_scale": (1.0, "0.1.0"),
    "weight_interpolation": (1.0, "0.1.0"),
    "refit_head": (False, "0.1.0"),
}
BACKBONES = ("mn04", "mn10")  # version 0.1 named them in the field "network"
# The fields of version 0.1 in its order, which a recipe's file and the key of a checkpoint depend on.
ORIGINAL_FIELDS = (
    *("name", "representation", "network", "epochs", "batch_size", "learning_rate", "adam_betas", "adam_epsilon"),
    *("seed", "trainable", "min_batches", "schedule", "weight_decay", "layer_decay", "head_lr_scale"),
    *("label_smoothing", "ema_decay", "weight_interpolation", "refit_head", "validation_fraction", "known_quantile"),
)


def current_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the old names in the settings of a recipe by the current ones.

    A pretrained network of which only the head was trained is a backbone.

    >>> current_settings({"name": "seed-mel", "network": "seed_cnn", "averaging": 0.99})
    {'name': 'notebook-mel', 'network': 'notebook_cnn', 'ema_decay': 0.99}
    """
    values = {FIELDS.get(key, key): value for key, value in settings.items()}
    for key, aliases in (("name", RECIPES), ("network", NETWORKS)):
        if isinstance(values.get(key), str):
            values[key] = aliases.get(values[key], values[key])
    if values.get("network") in BACKBONES and values.get("trainable") == "head":
        values = {key: value for key, value in values.items() if key not in ("network", "trainable")}
        values["backbone"] = settings["network"]
    augmentation = values.get("augmentation")
    if isinstance(augmentation, Mapping):
        values["augmentation"] = {AUGMENTATION_FIELDS.get(key, key): value for key, value in augmentation.items()}
    return values


def readable_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the old names in the settings of a recipe by the current ones, and drop removed fields.

    Raises:
        SettingsError: a removed field is not at its default, or all layers of a pretrained network are trained; the
            message names the version to use.

    >>> readable_settings({"name": "seed-mel", "trains": "all"})
    {'name': 'notebook-mel'}
    """
    kept, changed = split_removed(current_settings(settings))
    if kept.get("network") in BACKBONES:
        raise SettingsError(
            f'the recipe trains all layers of the pretrained network "{kept["network"]}", which was no better than a '
            f"linear head on it and was removed: use soundmark 0.1.0, or replace network by backbone = "
            f'"{kept["network"]}", as in the recipe transfer.'
        )
    for field, value in changed.items():
        default, version = REMOVED_FIELDS[field]
        raise SettingsError(
            f"the recipe has {field} = {value!r}, but this field was removed: use soundmark {version}, the last "
            f"version that supports it, or delete the field to use its default, {default!r}."
        )
    return kept


def split_removed(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the settings of a recipe into the current fields and the removed fields that are not at their default.

    >>> split_removed({"name": "mine", "epochs": 3})
    ({'name': 'mine', 'epochs': 3}, {})
    """
    kept, changed = dict(settings), {}
    for field, (default, _) in REMOVED_FIELDS.items():
        table, _, name = field.rpartition(".")
        values = kept.get(table) if table else kept
        if not isinstance(values, Mapping) or name not in values:
            continue
        if values[name] != default:
            changed[field] = values[name]
        without = {key: value for key, value in values.items() if key != name}
        kept = kept | {table: without} if table else without
    return kept, changed


# Fields that version 0.1 did not have, and the values that mean what it did.
ADDED_FIELDS = {"partial_views": 0, "backgrounds": 0, "recorded_backgrounds": 0}


def original_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe as version 0.1 wrote them; they identify its checkpoints.

    >>> original = original_settings({"name": "notebook-mel", "network": "notebook_cnn", "ema_decay": 0.99})
    >>> original["name"], original["network"], original["averaging"], original["trains"]
    ('seed-mel', 'seed_cnn', 0.99, 'all')

    Fields that were added later are left out if their value means what version 0.1 did.
    """
    fields, recipes, networks, augmentation = (
        {new: old for old, new in names.items()} for names in (FIELDS, RECIPES, NETWORKS, AUGMENTATION_FIELDS)
    )
    values = {name: default for name, (default, _) in REMOVED_FIELDS.items()} | dict(settings)
    if "backbone" in values:
        values |= {"network": values.pop("backbone"), "trainable": "head"}
    known = [name for name in ORIGINAL_FIELDS if name in values]
    later = [name for name in values if name not in known and values[name] != ADDED_FIELDS.get(name, ...)]
    values = {fields.get(name, name): values[name] for name in (*known, *later)}
    values["name"] = recipes.get(values["name"], values["name"])
    values["network"] = networks.get(values["network"], values["network"])
    if "augmentation" in values:
        values["augmentation"] = {augmentation.get(key, key): value for key, value in values["augmentation"].items()}
    return values

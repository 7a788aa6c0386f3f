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
# augmentation is "augmentation.NAME". No field has been removed yet.
REMOVED_FIELDS: dict[str, tuple[Any, str]] = {}


def current_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the old names in the settings of a recipe by the current ones.

    >>> current_settings({"name": "seed-mel", "network": "seed_cnn", "averaging": 0.99})
    {'name': 'notebook-mel', 'network': 'notebook_cnn', 'ema_decay': 0.99}
    """
    values = {FIELDS.get(key, key): value for key, value in settings.items()}
    for key, aliases in (("name", RECIPES), ("network", NETWORKS)):
        if isinstance(values.get(key), str):
            values[key] = aliases.get(values[key], values[key])
    augmentation = values.get("augmentation")
    if isinstance(augmentation, Mapping):
        values["augmentation"] = {AUGMENTATION_FIELDS.get(key, key): value for key, value in augmentation.items()}
    return values


def readable_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the old names in the settings of a recipe by the current ones, and drop removed fields.

    Raises:
        SettingsError: a removed field is not at its default; the message names the version to use.

    >>> readable_settings({"name": "seed-mel", "trains": "all"})
    {'name': 'notebook-mel', 'trainable': 'all'}
    """
    kept, changed = split_removed(current_settings(settings))
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


ADDED_FIELDS = {"partial_views": 0, "backgrounds": 0}  # fields that version 0.1 did not have, and what it did


def original_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the current names in the settings of a recipe by those of version 0.1, which identify checkpoints.

    >>> original_settings({"name": "notebook-mel", "network": "notebook_cnn", "ema_decay": 0.99})
    {'name': 'seed-mel', 'network': 'seed_cnn', 'averaging': 0.99}

    Fields that were added later are left out if their value means what version 0.1 did.
    """
    fields, recipes, networks, augmentation = (
        {new: old for old, new in names.items()} for names in (FIELDS, RECIPES, NETWORKS, AUGMENTATION_FIELDS)
    )
    values = {
        fields.get(key, key): value
        for key, value in settings.items()
        if key not in ADDED_FIELDS or value != ADDED_FIELDS[key]
    }
    values["name"] = recipes.get(values["name"], values["name"])
    values["network"] = networks.get(values["network"], values["network"])
    if "augmentation" in values:
        values["augmentation"] = {augmentation.get(key, key): value for key, value in values["augmentation"].items()}
    return values

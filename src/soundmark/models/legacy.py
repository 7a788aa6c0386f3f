"""Names of earlier versions, read as aliases: recipes, networks and fields of a recipe.

Models, run folders and recipe files that were written under the old names stay readable; what is written now has the
new ones.
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
# Fields that no longer exist, each with its default and the last version that reads another value; a field of the
# augmentation as "augmentation.NAME", all under their last names. None was removed yet.
REMOVED_FIELDS: dict[str, tuple[Any, str]] = {}


def current_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recipe under today's names; names that are not old ones stay.

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
    """The settings of a recipe under today's names, without the fields that no longer exist.

    Raises:
        SettingsError: a field that no longer exists has another value than its default; with the version to use.

    >>> readable_settings({"name": "seed-mel", "trains": "all"})
    {'name': 'notebook-mel', 'trainable': 'all'}
    """
    kept, changed = split_removed(current_settings(settings))
    for field, value in changed.items():
        default, version = REMOVED_FIELDS[field]
        raise SettingsError(
            f"the recipe has {field} = {value!r}, a field that no longer exists: use soundmark {version}, the last "
            f"version that reads it, or delete the field, which means its default, {default!r}."
        )
    return kept


def split_removed(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a recipe without the fields that no longer exist, and of those the ones not at their default.

    >>> split_removed({"name": "mine", "epochs": 3})
    ({'name': 'mine', 'epochs': 3}, {})
    """
    kept, changed = dict(settings), {}
    for field, (default, _) in REMOVED_FIELDS.items():
        table, _, name = field.rpartition(".")
        place = kept.get(table) if table else kept
        if not isinstance(place, Mapping) or name not in place:
            continue
        if place[name] != default:
            changed[field] = place[name]
        without = {key: value for key, value in place.items() if key != name}
        kept = kept | {table: without} if table else without
    return kept, changed


def original_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recipe under the names of the first version: what checkpoints are recognised by.

    >>> original_settings({"name": "notebook-mel", "network": "notebook_cnn", "ema_decay": 0.99})
    {'name': 'seed-mel', 'network': 'seed_cnn', 'averaging': 0.99}
    """
    fields, recipes, networks, augmentation = (
        {new: old for old, new in names.items()} for names in (FIELDS, RECIPES, NETWORKS, AUGMENTATION_FIELDS)
    )
    values = {fields.get(key, key): value for key, value in settings.items()}
    values["name"] = recipes.get(values["name"], values["name"])
    values["network"] = networks.get(values["network"], values["network"])
    if "augmentation" in values:
        values["augmentation"] = {augmentation.get(key, key): value for key, value in values["augmentation"].items()}
    return values

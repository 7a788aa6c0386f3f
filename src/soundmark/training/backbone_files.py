"""Recipes whose backbone is an ONNX file: what the file takes and gives becomes part of the recipe."""

from __future__ import annotations

from dataclasses import replace

from soundmark.errors import SettingsError
from soundmark.models.pretrained.backbone_file import is_file, read_backbone_file
from soundmark.spectrograms import LogMel, Waveform
from soundmark.training.recipe import Recipe


def with_backbone(
    recipe: Recipe, backbone: str | None = None, *, output: str | None = None, rate_hz: int | None = None
) -> Recipe:
    """Return a recipe with another ``backbone``, or its own if None; if it is an .onnx file, the file is read.

    ``output`` and ``rate_hz`` are the output and the sample rate of a file whose metadata do not contain them.

    Raises:
        BundleError: the file cannot be read, or is not a backbone.
        SettingsError: there is no such backbone, its output or sample rate are unknown, or the file changed.

    >>> from soundmark.training.named_recipes import recipe_named
    >>> with_backbone(recipe_named("transfer"), "mn10").backbone
    'mn10'
    """
    if backbone is not None and backbone != recipe.backbone:
        kind = recipe.representation
        if isinstance(kind, Waveform):
            kind = LogMel(time_expansion=kind.time_expansion)
        recipe = replace(
            recipe,
            backbone=backbone,
            representation=kind,
            backbone_output=None,
            backbone_sha256=None,
            backbone_licence=None,
            backbone_fixed_window=False,
        )
    if recipe.backbone is None or not is_file(recipe.backbone):
        return recipe
    kind = recipe.representation
    found = read_backbone_file(recipe.backbone, kind, output=output or recipe.backbone_output, rate_hz=rate_hz)
    if recipe.backbone_sha256 not in (None, found.sha256):
        raise SettingsError(
            f'the backbone "{recipe.backbone}" is not the file of the recipe {recipe.name}: its SHA-256 is '
            f"{found.sha256}, not {recipe.backbone_sha256}. Use that file, or remove backbone_sha256 from the recipe."
        )
    return replace(
        recipe,
        representation=replace(found.representation, time_expansion=kind.time_expansion),
        backbone_output=found.output,
        backbone_sha256=found.sha256,
        backbone_licence=found.licence,
        backbone_fixed_window=found.fixed_window,
    )

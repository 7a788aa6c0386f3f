"""Recipes and thresholds: TOML files as ``--recipe`` and ``--thresholds`` read them, and the JSON of a recipe."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from soundmark.detection.settings import read_thresholds
from soundmark.errors import BundleError, SettingsError
from soundmark.models.card import Card
from soundmark.runtime.checks import parse_json
from soundmark.training import named_recipes
from soundmark.training.recipe import Recipe
from support.fuzzing.mutators import NUMBERS, encoded, mutated_text, mutated_value, to_json
from support.fuzzing.target import Beat, Case, Target, expect

SMALL = 1 << 22  # frequencies × frames of a representation that is computed
SOUND = np.random.default_rng(0).normal(0, 0.1, 11_025).astype(np.float32)


class Recipes(Target):
    """Recipe files, and tables of thresholds."""

    name = "recipes"
    is_text = True

    def seeds(self) -> list[Case]:
        recipes = named_recipes.RECIPES.values()
        toml = [recipe.to_toml() for recipe in recipes] + [recipe.to_toml(original_names=True) for recipe in recipes]
        toml += ['name = "mine"\nrepresentation = "mel"\nepochs = 3\n']
        toml += ['name = "mine"\n[representation]\nname = "logmel"\nn_fft = 1024\n[augmentation]\nmixup = 0.5\n']
        cases = [Case({"recipe.toml": text.encode()}, "recipe.toml") for text in toml]
        cases += [Case({"recipe.json": json.dumps(r.settings()).encode()}, "recipe.json") for r in recipes]
        cases.append(Case({"limits.toml": b'siren = 0.7\n"dog bark" = 0.4\ncat = 1\n'}, "limits.toml"))
        cases.append(Case({"limits.csv": b'label,threshold\nsiren,0.7\n"dog, bark",0.4\n'}, "limits.csv"))
        return cases

    def mutated(self, seed: Case, rng: Random) -> Case:
        text = seed.data.decode()
        if seed.main.endswith("json"):
            return seed.with_data(encoded(to_json(mutated_value(json.loads(text), rng), rng), rng))
        if seed.main == "recipe.toml" and rng.random() < 0.6:
            text = _toml(mutated_value(tomllib.loads(text), rng), rng)
        if rng.random() < 0.5:
            text = mutated_text(text, rng)
        return seed.with_data(encoded(text, rng))

    def names(self, path: Path) -> tuple[str, ...]:
        return () if path.suffix == ".json" else (path.name,)

    def check(self, path: Path, rng: Random, beat: Beat) -> None:
        if path.name.startswith("limits"):
            for threshold in read_thresholds(path).values():
                expect(isinstance(threshold, float) and 0 <= threshold <= 1, f"a threshold of {threshold!r}")
            return
        recipe = _from_json(path) if path.suffix == ".json" else named_recipes.recipe(str(path))
        if recipe is None:
            return
        beat("describe")
        for text in (recipe.describe(), repr(recipe)):
            expect(text.isprintable() and len(text) < 3000, f"the description is {text[:200]!r}")
        recipe._repr_html_()
        beat("written")
        expect(Recipe.from_toml(recipe.to_toml()) == recipe, "the recipe differs after to_toml")
        expect(Recipe.from_settings(json.loads(json.dumps(recipe.settings()))) == recipe, "it differs after JSON")
        Recipe.from_toml(recipe.to_toml(original_names=True))
        beat("window")
        try:
            changed = recipe.for_window(0.5)
        except SettingsError as error:  # too large; the caller knows the file
            expect(recipe.name in str(error), f"a message about {recipe.name}: {error}")
            return
        expect(changed.epochs_for(1000) >= 1, "no epochs")
        beat("card")
        card = Card(classes=("a", "b"), representation=changed.representation, window_s=0.5, recipe=changed.settings())
        try:
            again = Card.from_json(card.to_json(), path.name)
        except BundleError as error:
            raise AssertionError(f"a model of an accepted recipe is refused: {error}") from error
        expect(again.representation == changed.representation, "the representation differs in the card")
        beat("representation")
        values = changed.representation.settings()
        if (values.get("n_fft") or 1) * np.prod(changed.representation.shape, dtype=float) < SMALL:
            spectrogram = changed.representation(SOUND, 22_050)
            expect(spectrogram.shape == changed.representation.shape, f"spectrogram: {spectrogram.shape}")
            expect(spectrogram.dtype == np.float32 and bool(np.isfinite(spectrogram).all()), "it is not finite")


def _from_json(path: Path) -> Recipe | None:
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # documented; the callers name the file
        return None
    return Recipe.from_settings(values) if isinstance(values, dict) else None


def _toml(value: Any, rng: Random) -> str:
    """Write a table as TOML, with values that TOML need not have."""
    if not isinstance(value, dict):
        return str(value)
    lines = [f"{_key(k)} = {_inline(v)}" for k, v in value.items() if not isinstance(v, dict)]
    for name, table in value.items():
        if isinstance(table, dict):
            lines += [f"[{_key(name)}]", *(f"{_key(k)} = {_inline(v)}" for k, v in table.items())]
    if rng.random() < 0.05:
        lines.insert(
            rng.randrange(len(lines) + 1),
            f"x = {rng.choice(('[' * 3000, '2024-01-01', '07:32:00', rng.choice(NUMBERS)))}",
        )
    return "\n".join(lines)


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").isalnum() else json.dumps(name)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return to_json(value, _NEVER)


class _Never(Random):
    def random(self) -> float:
        return 0.99


_NEVER = _Never()

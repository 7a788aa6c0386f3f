"""Small comparisons for the tests: recipes that train in seconds, and readers of the files of a run."""

import csv
import json
from dataclasses import replace
from pathlib import Path

from soundmark.datasets import Dataset
from soundmark.spectrograms import Image, Mel
from soundmark.training.named_recipes import recipe_named

SMALL_RECIPES = [
    replace(recipe_named("notebook-image"), representation=Image(size=(24, 24)), epochs=2, batch_size=16),
    replace(recipe_named("notebook-mel"), representation=Mel(size=(24, 24)), epochs=2, batch_size=16),
]
UNIT_FILES = {"model.onnx", "history.csv", "recipe.toml", "predictions.csv"}


def read_metrics(folder: Path) -> dict:
    """Read ``metrics.json`` without the computing times."""
    metrics = json.loads((folder / "metrics.json").read_text())
    for result in metrics["results"]:
        del result["seconds"]
    return metrics


def find_result(metrics: dict, recipe: str, protocol: str) -> dict:
    """Return the result of one recipe under one protocol."""
    return next(one for one in metrics["results"] if (one["recipe"], one["protocol"]) == (recipe, protocol))


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a CSV file with a header."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def with_clips(data: Dataset, **fields) -> Dataset:
    """Return the data set with some fields of all clips replaced."""
    return replace(data, clips=tuple(replace(clip, **fields) for clip in data.clips))

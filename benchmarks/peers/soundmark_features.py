"""Compute the feature store of a data set with all cores, including the start of worker processes."""

from __future__ import annotations

import sys
import time

import numpy as np
from json_server import serve

from soundmark.datasets import Dataset, features
from soundmark.training.named_recipes import recipe_named

RECIPES = {"mel": "notebook-mel", "image": "notebook-image"}


class Features:
    """The methods that the benchmark calls."""

    def __init__(self, dataset: str) -> None:
        self.dataset = Dataset.open(dataset)

    def files(self) -> dict[str, list[str]]:
        """Return the paths of the clips, in the order of the data set."""
        return {"files": [str(clip.path) for clip in self.dataset.clips]}

    def features(self, kind: str, out: str) -> dict[str, float]:
        """Recompute the features of all clips and save the array to ``out``; return the seconds."""
        start = time.perf_counter()
        store = features.build(self.dataset, recipe_named(RECIPES[kind]).representation, fresh=True)
        seconds = time.perf_counter() - start
        np.save(out, store.array)
        return {"seconds": seconds}


if __name__ == "__main__":
    serve(Features(sys.argv[1]), "soundmark", "numpy", "soxr", "soundfile", "ducc0")

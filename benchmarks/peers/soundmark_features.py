"""``soundmark.features`` as it is used: a data set to its store, with all the cores, workers started and all."""

from __future__ import annotations

import sys
import time

import numpy as np
from answering import answer

from soundmark.datasets import Dataset, features
from soundmark.training.named_recipes import recipe_named

RECIPES = {"mel": "notebook-mel", "image": "notebook-image"}


class Features:
    """What is asked for by name."""

    def __init__(self, dataset: str) -> None:
        self.dataset = Dataset.open(dataset)

    def files(self) -> dict[str, list[str]]:
        """The clips, in the order of the data set."""
        return {"files": [str(clip.path) for clip in self.dataset.clips]}

    def features(self, kind: str, out: str) -> dict[str, float]:
        """Every clip anew: the seconds it took; the array goes to ``out``."""
        start = time.perf_counter()
        store = features.build(self.dataset, recipe_named(RECIPES[kind]).representation, fresh=True)
        seconds = time.perf_counter() - start
        np.save(out, store.array)
        return {"seconds": seconds}


if __name__ == "__main__":
    answer(Features(sys.argv[1]), "soundmark", "numpy", "soxr", "soundfile", "ducc0")

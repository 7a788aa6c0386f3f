"""From the start of the process to the first batch of a training, on a data set whose features are there already.

    python soundmark_start.py DATASET STARTED [--epoch]

STARTED is the time at which the process was started; with ``--epoch`` one epoch is trained on all clips. Prints a line
of JSON: seconds since STARTED at each step, and the most memory that was in use.
"""

from __future__ import annotations

import sys
import time

loaded = {"python": time.time()}
import torch  # noqa: E402 - what a training costs before soundmark does anything

loaded["torch"] = time.time()

import json  # noqa: E402
import resource  # noqa: E402
from dataclasses import replace  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from soundmark.datasets import Dataset, features  # noqa: E402
from soundmark.training import loop  # noqa: E402
from soundmark.training.engine import choose_engine  # noqa: E402
from soundmark.training.named_recipes import recipe_named  # noqa: E402


class Watched:
    """Features that note when they are first asked for."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.shape, self.first = rows, rows.shape, 0.0

    def __getitem__(self, which: Any) -> np.ndarray:
        self.first = self.first or time.time()
        return self.rows[which]


def main() -> None:
    """Go as far as is asked, and tell."""
    started = float(sys.argv[2])
    marks = dict(loaded)
    dataset = Dataset.open(sys.argv[1])
    marks["data set opened"] = time.time()
    recipe = replace(recipe_named("notebook-mel"), epochs=1)
    store = features.build(dataset, recipe.representation)
    marks["features checked"] = time.time()
    watched = Watched(store.array)
    n = len(dataset.clips) if "--epoch" in sys.argv else 1
    data = loop.TrainingData(
        features=watched,  # type: ignore[arg-type]
        targets=dataset.targets,
        train=np.arange(n),
        validation=np.arange(0),
        sources=dataset.sources,
    )
    loop.train_network(data, recipe, engine=choose_engine("cpu"))
    marks["first batch"] = watched.first
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(
        json.dumps(
            {
                "clips": n,
                "built": store.built,
                "torch": torch.__version__,
                "seconds": {name: stamp - started for name, stamp in marks.items()},
                "peak_mb": peak / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()

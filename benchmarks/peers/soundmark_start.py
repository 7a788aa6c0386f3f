"""Measure the time from process start to the first training batch, for a data set whose features are stored already.

    python soundmark_start.py DATASET STARTED [--epoch]

STARTED is the time at which the process was started. ``--epoch``: train one epoch on all clips. Prints a line of JSON:
seconds from STARTED to each step, and the peak memory.
"""

from __future__ import annotations

import sys
import time

import_times = {"python": time.time()}
import torch  # noqa: E402 - its import is measured separately from soundmark

import_times["torch"] = time.time()

import json  # noqa: E402
import resource  # noqa: E402
from dataclasses import replace  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from soundmark.datasets import Dataset, features  # noqa: E402
from soundmark.training.epochs import loop  # noqa: E402
from soundmark.training.epochs.engine import choose_engine  # noqa: E402
from soundmark.training.named_recipes import recipe_named  # noqa: E402


class TimedRows:
    """Features that record the time of their first access."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.shape, self.first_access = rows, rows.shape, 0.0

    def __getitem__(self, index: Any) -> np.ndarray:
        self.first_access = self.first_access or time.time()
        return self.rows[index]


def main() -> None:
    """Train one batch, or one epoch, and print the times."""
    started = float(sys.argv[2])
    times = dict(import_times)
    dataset = Dataset.open(sys.argv[1])
    times["data set opened"] = time.time()
    recipe = replace(recipe_named("notebook-mel"), epochs=1)
    store = features.build(dataset, recipe.representation)
    times["features checked"] = time.time()
    rows = TimedRows(store.array)
    n = len(dataset.clips) if "--epoch" in sys.argv else 1
    data = loop.TrainingData(
        features=rows,  # type: ignore[arg-type]
        targets=dataset.targets,
        train=np.arange(n),
        validation=np.arange(0),
        sources=dataset.sources,
    )
    loop.train_network(data, recipe, engine=choose_engine("cpu"))
    times["first batch"] = rows.first_access
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(
        json.dumps(
            {
                "clips": n,
                "built": store.built,
                "torch": torch.__version__,
                "seconds": {name: at - started for name, at in times.items()},
                "peak_mb": peak / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()

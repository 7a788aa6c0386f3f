"""Train the original notebook's CNN with ``soundmark.training``, in a given precision."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
import torch
from json_server import serve
from torch.utils.flop_counter import FlopCounterMode

from soundmark.training.epochs import loop
from soundmark.training.epochs.engine import choose_engine
from soundmark.training.named_recipes import recipe_named

PRODUCTS = 10


class Training:
    """The methods that the benchmark calls."""

    def __init__(self, path: str, precision: str) -> None:
        with np.load(path) as data:
            self.x, self.labels = data["features"], data["labels"]
            self.train, self.test, self.timed = data["train"], data["test"], data["timed"]
        self.engine = replace(choose_engine("cpu"), precision=precision)

    def epoch(self, batch_size: int) -> dict[str, float]:
        """Train a new network for one epoch on the timed clips; return the seconds."""
        start = time.perf_counter()
        self._train(self.timed, np.arange(0), epochs=1, batch_size=batch_size)
        return {"seconds": time.perf_counter() - start}

    def multiplications(self, batch_size: int, side: int = 2048) -> dict[str, float]:
        """Return the seconds of an epoch's multiplications in float32, at the rate of a large matrix product."""
        batch = self.timed[:batch_size]
        with FlopCounterMode(display=False) as counted:
            self._train(batch, np.arange(0), epochs=1, batch_size=batch_size)
        matrix = torch.rand(side, side)
        matrix @ matrix  # starts the threads
        start = time.perf_counter()
        for _ in range(PRODUCTS):
            matrix @ matrix
        rate = PRODUCTS * 2 * side**3 / (time.perf_counter() - start)
        return {"seconds": counted.get_total_flops() / len(batch) * len(self.timed) / rate}

    def fit(self, seed: int, epochs: int, batch_size: int) -> dict[str, list[float | None]]:
        """Train as the recipe does; return the accuracy on the test clips after each epoch."""
        trained = self._train(self.train, self.test, seed=seed, epochs=epochs, batch_size=batch_size)
        return {"accuracies": [epoch.validation_accuracy for epoch in trained.history]}

    def _train(self, clips: np.ndarray, test: np.ndarray, **settings: int) -> loop.TrainedNetwork:
        data = loop.TrainingData(
            features=self.x,
            targets=np.eye(int(self.labels.max()) + 1, dtype=np.float32)[self.labels],
            train=clips,
            validation=test,
            sources=np.arange(len(self.labels)).astype(str),
        )
        return loop.train_network(data, replace(recipe_named("notebook-mel"), **settings), engine=self.engine)


if __name__ == "__main__":
    serve(Training(sys.argv[1], sys.argv[2]), "soundmark", "torch", "numpy")

"""Train the original notebook's CNN in float32 with a loop as PyTorch's tutorials write it."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from json_server import serve
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Training:
    """The methods that the benchmark calls."""

    def __init__(self, path: str) -> None:
        with np.load(path) as data:
            features, labels, timed = data["features"][data["timed"]], data["labels"][data["timed"]], data["timed"]
        images = torch.from_numpy(features.astype(np.float32)).reshape(len(timed), 1, *features.shape[-2:])
        self.data = TensorDataset(images, torch.from_numpy(labels.astype(np.int64)))
        self.n_classes = int(labels.max()) + 1

    def epoch(self, batch_size: int) -> dict[str, float]:
        """Train a new network for one epoch on the timed clips; return the seconds."""
        start = time.perf_counter()
        model, loss_of = network(self.n_classes), nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for images, labels in DataLoader(self.data, batch_size, shuffle=True):
            optimizer.zero_grad()
            loss_of(model(images), labels).backward()
            optimizer.step()
        return {"seconds": time.perf_counter() - start}


def network(n_classes: int) -> nn.Module:
    """The notebook's network for spectrograms of 64 × 64 values."""
    layers: list[nn.Module] = []
    for before, after in ((1, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(after, after, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)]
    layers += [nn.Flatten(), nn.Linear(64 * 6 * 6, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, n_classes)]
    return nn.Sequential(*layers)


if __name__ == "__main__":
    serve(Training(sys.argv[1]), "torch", "numpy")

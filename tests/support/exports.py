"""Representations that can be exported, and a small model for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.pretrained.graph import Graph
from soundmark.spectrograms import LogMel, Mel, Representation
from soundmark.training import calibration
from soundmark.training.epochs import onnx_export
from soundmark.training.networks import onnx_layers
from soundmark.training.networks.network import Network

REPRESENTATIONS = {
    "mel": Mel(),
    "mel-24": Mel(size=(24, 24)),
    "mel-odd": Mel(n_fft=1023, hop_samples=1000, size=(20, 48)),  # odd, composite FFT size; little overlap
    "mel-gaps": Mel(n_fft=31, hop_samples=100, size=(8, 100), n_mels=8),  # prime FFT size; gaps between frames
    "logmel": LogMel(),
    "logmel-scratch": LogMel(
        rate_hz=22050,
        size=(64, 128),
        n_fft=2048,
        window_samples=1378,
        hop_samples=689,
        f_max_hz=11025.0,
        pre_emphasis=0.0,
    ),
    "logmel-short": LogMel(size=(32, 2)),  # shorter than a frame
}
MEL_ENLARGED = Mel(n_mels=20)  # enlarged in frequency: can only be exported for a fixed length


class SmallNetwork(Network):
    """A network with an embedding whose outputs differ between sounds by much more than the tolerances of an export."""

    has_embedding = True

    def __init__(self, shape: tuple[int, int], n_classes: int) -> None:
        super().__init__()
        self.mean, self.scale = (-20.0, 20.0) if shape == (64, 64) else (0.0, 1.0)
        self.features = nn.Sequential(nn.Conv2d(1, 4, 5, stride=4), nn.ReLU())
        self.dense = nn.Linear(4, n_classes)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings ``[batch, 4]``."""
        return 8 * self.features((x - self.mean) / self.scale).mean((2, 3))

    def head(self, embedding: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.dense(embedding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(self.embed(x))

    def add_to(self, graph: Graph, x: str) -> tuple[str, str]:
        """Add it to an ONNX graph."""
        centred = graph.node("Sub", x, graph.constant("mean", self.mean))
        x = graph.node("Div", centred, graph.constant("scale", self.scale))
        x = graph.node("GlobalAveragePool", onnx_layers.sequence(graph, x, "features", self.features))
        embedding = graph.node("Mul", graph.node("Flatten", x, axis=1), graph.constant("eight", 8.0))
        return onnx_layers.dense(graph, embedding, "dense", self.dense), embedding


def small_model(representation: Representation, activation: str = "softmax", **fields: object) -> Model:
    """A model of three classes with familiarity; ``fields`` of the card replace the default ones."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = SmallNetwork(representation.shape, 3)
    rng = np.random.default_rng(0)
    familiarity = calibration.Familiarity.of(rng.normal(0.5, 0.3, (60, 4)), np.eye(3)[np.arange(60) % 3])
    card = {"classes": ("dog", "siren", "ärger"), "window_s": 4.0, "temperature": 0.7, "unknown": 0.2, **fields}
    return Model(
        Bundle(
            onnx_export.export_network(network, representation.shape, familiarity),
            Card(representation=representation, activation=activation, **card),  # type: ignore[arg-type]
        )
    )

"""The network of the notebook's Keras ``Sequential``: six convolutions and two dense layers.

    Conv 32 same, Conv 32 valid, MaxPool 2, Dropout 0.25
    Conv 64 same, Conv 64 valid, MaxPool 2, Dropout 0.25
    Conv 64 same, Conv 64 valid, MaxPool 2, Dropout 0.25
    Flatten, Dense 512, Dropout 0.5, Dense n_classes          (all kernels 3×3, ReLU between)

Two differences do not change the result. ReLU comes after max-pooling, which needs a quarter of the operations: both
are monotonic, so they commute. And the network ends in logits; their softmax is the notebook's output.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundmark.errors import SettingsError
from soundmark.models.pretrained.graph import Graph
from soundmark.training.networks.network import Network
from soundmark.training.networks.onnx_layers import convolution, dense

BLOCKS = ((1, 32), (32, 64), (64, 64))  # channels in, channels out


MIN_SIZE = 22  # rows or columns: a smaller input is empty before the last max-pooling


class NotebookCNN(Network):
    """The notebook's network, from spectrograms ``[batch, 1, freq, time]`` to logits ``[batch, n_classes]``."""

    def __init__(self, shape: tuple[int, int], n_classes: int) -> None:
        super().__init__()
        self.same = nn.ModuleList(nn.Conv2d(inside, out, 3, padding=1) for inside, out in BLOCKS)
        self.valid = nn.ModuleList(nn.Conv2d(out, out, 3) for _, out in BLOCKS)
        height, width = (_length_after_blocks(n) for n in shape)
        self.dense = nn.Linear(BLOCKS[-1][1] * height * width, 512)
        self.logits = nn.Linear(512, n_classes)
        self.apply(_initialise_as_keras)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[batch, n_classes]`` of spectrograms ``[batch, 1, freq, time]``."""
        for same, valid in zip(self.same, self.valid, strict=True):
            x = F.relu(same(x))
            x = F.relu(F.max_pool2d(valid(x), 2))
            x = dropout(x, 0.25, self.training)
        # Keras flattens [freq, time, channel], which is the order of channels-last memory.
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = dropout(F.relu(self.dense(x)), 0.5, self.training)
        logits: Tensor = self.logits(x)
        return logits

    def add_to(self, graph: Graph, x: str) -> tuple[str, None]:
        """Add the network to an ONNX graph."""
        for i, (same, valid) in enumerate(zip(self.same, self.valid, strict=True)):
            x = graph.node("Relu", convolution(graph, x, f"same.{i}", cast(nn.Conv2d, same)))
            x = convolution(graph, x, f"valid.{i}", cast(nn.Conv2d, valid))
            x = graph.node("Relu", graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
        x = graph.node("Flatten", graph.node("Transpose", x, perm=[0, 2, 3, 1]), axis=1)
        x = graph.node("Relu", dense(graph, x, "dense", self.dense))
        return dense(graph, x, "logits", self.logits), None


def build(name: str, shape: tuple[int, int], n_classes: int) -> NotebookCNN:
    """Build the network for spectrograms of ``shape`` (freq, time).

    Raises:
        SettingsError: the shape has fewer than 22 rows or columns.

    >>> build("notebook_cnn", (64, 64), 10)(torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 10])
    """
    if min(shape) < MIN_SIZE:
        raise SettingsError(
            f"the network notebook_cnn needs spectrograms of at least {MIN_SIZE} × {MIN_SIZE} values; the size is "
            f"{shape[0]} × {shape[1]}."
        )
    return NotebookCNN(shape, n_classes)


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """Set the fraction ``share`` of ``x`` to zero at random, and scale the rest to keep the mean; in training only.

    Equivalent to ``F.dropout`` for fractions that are multiples of 1/256. It draws one random byte per element, which
    is faster: ``F.dropout`` draws a float per element, which took a sixth of the training time.

    >>> kept = dropout(torch.ones(1000), 0.25, training=True)
    >>> sorted(set(kept.tolist())), dropout(kept, 0.25, training=False) is kept
    ([0.0, 1.3333333730697632], True)
    """
    if not training:
        return x
    if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
        x = x.contiguous()
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    bits = words.view(torch.uint8)[: x.numel()].as_strided(x.shape, x.stride())  # in the memory order of x
    return x * (bits >= round(256 * share)).to(x.dtype).mul_(1 / (1 - share))


def _length_after_blocks(n: int) -> int:
    """Return how many of ``n`` rows or columns remain: each block removes 2 (valid convolution), then halves."""
    for _ in BLOCKS:
        n = (n - 2) // 2
    return n


def _initialise_as_keras(layer: nn.Module) -> None:
    """Set Glorot-uniform weights (Glorot and Bengio 2010, eq. 16) and zero biases, Keras' defaults."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

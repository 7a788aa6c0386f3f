"""An ensemble of three small residual networks for log-mel spectrograms, with 1.45 million parameters.

    each member:  Conv 16 stride 2, [residual block 32 stride 2], [64 stride 2, 64], [100 stride 2, 100],
                  mean over time and frequency, Dropout 0.3, Dense n_classes         (BatchNorm after each convolution)

The output is the mean of the members' logits. With few recordings, two trainings of one network differ by several
points of accuracy, depending on the recordings that they overfit to; the mean of three is better than each.

Source: K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; the shortcut of a downsampling block is
average pooling and a 1×1 convolution (T. He et al., "Bag of Tricks", CVPR 2019, ResNet-D); L. Hansen and P. Salamon,
"Neural Network Ensembles", 1990.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundmark.models.pretrained.graph import Graph
from soundmark.training.networks.network import Network
from soundmark.training.networks.onnx_layers import dense, sequence, values

MEMBERS = 3


STEM = 16  # channels of the first convolution


WIDTHS = (32, 64, 100)


DEPTHS = (1, 2, 2)  # blocks of each width


DROPOUT = 0.3


class ResNet(Network):
    """An ensemble from spectrograms ``[batch, 1, freq, time]`` to logits ``[batch, n_classes]``.

    In training, the batch is split into ``n_members`` parts, one per member, so that the members are trained
    independently: repeat each clip ``n_members`` times.
    """

    has_embedding = True
    normalises_input = True
    mean: Tensor
    spread: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.n_members = MEMBERS
        self.members = nn.ModuleList(Member(n_classes) for _ in range(MEMBERS))

    def normalise(self, mean: float, spread: float) -> None:
        """Set the mean and SD by which every input is standardised."""
        self.mean.fill_(mean)
        self.spread.fill_(spread)

    def embed(self, x: Tensor) -> Tensor:
        """Compute the means of the members' last feature maps, ``[batch, 300]``."""
        x = (x - self.mean) / self.spread
        return torch.cat([member.embed(x) for member in self._each()], dim=1)

    def head(self, embedding: Tensor) -> Tensor:
        """Compute logits ``[batch, n_classes]`` from embeddings: the mean of the members' logits."""
        parts = embedding.chunk(self.n_members, dim=1)
        logits = [member.head(part) for member, part in zip(self._each(), parts, strict=True)]
        return torch.stack(logits).mean(0)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[batch, n_classes]``; in training, each member classifies its own part of the batch."""
        if not self.training:
            return self.head(self.embed(x))
        parts = ((x - self.mean) / self.spread).chunk(self.n_members)
        return torch.cat([member(part) for member, part in zip(self._each(), parts, strict=True)])

    def add_to(self, graph: Graph, x: str) -> tuple[str, str]:
        """Add the ensemble to an ONNX graph."""
        centred = graph.node("Sub", x, graph.constant("mean", values(self.mean)))
        x = graph.node("Div", centred, graph.constant("spread", values(self.spread)))
        each = [member.add_to(graph, x, f"members.{i}") for i, member in enumerate(self._each())]
        embedding = graph.node("Concat", *each, axis=1)
        return dense(graph, embedding, "logits", *(member.dense for member in self._each())), embedding

    def _each(self) -> list[Member]:
        return cast(list[Member], list(self.members))


class Member(nn.Module):
    """One residual network of the ensemble."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, STEM, 3, 2, 1, bias=False), nn.BatchNorm2d(STEM), nn.ReLU())
        blocks: list[nn.Module] = []
        inside = STEM
        for width, depth in zip(WIDTHS, DEPTHS, strict=True):
            blocks += [Residual(inside, width, stride=2), *(Residual(width, width, stride=1) for _ in range(1, depth))]
            inside = width
        self.blocks = nn.Sequential(*blocks)
        self.dense = nn.Linear(inside, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """Compute the mean of the last feature maps, ``[batch, 100]``."""
        maps: Tensor = self.blocks(self.stem(x))
        return maps.mean((2, 3))

    def add_to(self, graph: Graph, x: str, name: str) -> str:
        """Add the layers up to the embedding ``[batch, 100]`` to an ONNX graph; return its name."""
        x = sequence(graph, x, f"{name}.stem", self.stem)
        for i, block in enumerate(self.blocks):
            x = cast(Residual, block).add_to(graph, x, f"{name}.blocks.{i}")
        return graph.node("Flatten", graph.node("GlobalAveragePool", x), axis=1)

    def head(self, embedding: Tensor) -> Tensor:
        """Compute logits ``[batch, n_classes]`` from embeddings."""
        logits: Tensor = self.dense(F.dropout(embedding, DROPOUT, self.training))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[batch, n_classes]``."""
        return self.head(self.embed(x))


class Residual(nn.Module):
    """A residual block: two 3×3 convolutions, added to the input."""

    def __init__(self, inside: int, out: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inside, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        self.shortcut = nn.Sequential()
        if stride > 1 or inside != out:
            pooling = [nn.AvgPool2d(stride, ceil_mode=True)] if stride > 1 else []
            self.shortcut = nn.Sequential(*pooling, nn.Conv2d(inside, out, 1, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[batch, inside, freq, time]`` to ``[batch, out, ...]``."""
        return F.relu(self.shortcut(x) + self.second(self.first(x)))

    def add_to(self, graph: Graph, x: str, name: str) -> str:
        """Add the block to an ONNX graph; return the name of its output."""
        first = sequence(graph, x, f"{name}.first", self.first)
        second = sequence(graph, first, f"{name}.second", self.second)
        return graph.node("Relu", graph.node("Add", sequence(graph, x, f"{name}.shortcut", self.shortcut), second))


def build(name: str, shape: tuple[int, int], n_classes: int) -> ResNet:
    """Build the ensemble, which takes spectrograms of any ``shape`` (freq, time).

    >>> network = build("resnet", (64, 128), 10).eval()
    >>> network(torch.zeros(2, 1, 64, 128)).shape, sum(p.numel() for p in network.parameters()) < 1_500_000
    (torch.Size([2, 10]), True)
    """
    return ResNet(n_classes)

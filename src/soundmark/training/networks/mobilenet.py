"""EfficientAT's MobileNetV3 for audio in torch, for training: ``mn04`` (width 0.4) and ``mn10`` (width 1.0).

The layers, their source and the names of the weights are those of ``models.pretrained.mobilenet``, which builds the
same network as an ONNX graph without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundmark.models.pretrained.mobilenet import (
    BLOCKS,
    DENSE,
    EPSILON,
    FIRST,
    N_AUDIOSET,
    WIDTHS,
    Block,
    round_channels,
)
from soundmark.spectrograms.logmel import MIDDLE, QUIETEST, SPREAD
from soundmark.training.networks.network import Network

DROPOUT = 0.2


TARGET_POWER = 10**1.2  # 12 dB


MAX_GAIN = 10**4.0  # 40 dB: more would amplify rounding errors


SHIFT_BANDS = 2  # of 128 mel bands


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "hardswish": nn.Hardswish}


class MobileNet(nn.Module):
    """MobileNetV3, from ``logmel`` spectrograms ``[batch, 1, freq, time]`` to AudioSet logits ``[batch, 527]``."""

    def __init__(self, width: float) -> None:
        super().__init__()
        inside = round_channels(FIRST * width)
        layers: list[nn.Module] = [_convolution(1, inside, 3, stride=2, activation=nn.Hardswish)]
        for block in BLOCKS:
            layers.append(InvertedResidual(block, inside, width))
            inside = round_channels(block.out * width)
        self.width_of_embedding = 6 * inside
        layers.append(_convolution(inside, self.width_of_embedding, 1, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        dense = round_channels(DENSE * width)
        # Indices as in the original, where 0 and 1 are pooling and flattening, 3 the activation and 4 dropout.
        self.classifier = nn.ModuleDict(
            {"2": nn.Linear(self.width_of_embedding, dense), "5": nn.Linear(dense, N_AUDIOSET)}
        )

    def embed(self, x: Tensor) -> Tensor:
        """Compute the mean of the last feature maps, ``[batch, 384]`` for mn04 and ``[batch, 960]`` for mn10."""
        pooled: Tensor = self.features(x).mean((2, 3))
        return pooled

    def tags(self, embedding: Tensor) -> Tensor:
        """Compute AudioSet logits ``[batch, 527]`` from embeddings."""
        logits: Tensor = self.classifier["5"](F.hardswish(self.classifier["2"](embedding)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Compute AudioSet logits ``[batch, 527]``."""
        return self.tags(self.embed(x))


class TransferNetwork(Network):
    """A backbone pretrained on AudioSet, with a linear head for the classes of the data set.

    The embedding is the mean over two views: the sound as it is, and normalised to a fixed loudness. This makes it less
    dependent on the distance of the microphone. In training, one of the two views is chosen at random for each clip.
    The head's input is the embedding and the AudioSet logits computed from it. BatchNorm keeps the statistics of
    AudioSet: a few recordings are too few to estimate them.
    """

    has_embedding = True

    def __init__(self, backbone: MobileNet, n_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.dense = nn.Linear(backbone.width_of_embedding + N_AUDIOSET, n_classes)

    def load_pretrained(self, path: Path) -> None:
        """Load the backbone's weights from the file that EfficientAT released."""
        self.backbone.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def embed(self, x: Tensor) -> Tensor:
        """Compute the embedding, ``[batch, 384]`` for mn04."""
        if self.training:
            is_normalised = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            return self.backbone.embed(torch.where(is_normalised, normalise_loudness(x), x))
        return (self.backbone.embed(x) + self.backbone.embed(normalise_loudness(x))) / 2

    def embed_views(self, x: Tensor) -> Tensor:
        """Compute the embeddings of the four views that a head is fitted on, ``[4, batch, d]``.

        The views are the sound as it is, with normalised loudness, and shifted by two mel bands down and up. The output
        of ``embed`` is the mean over the first two.
        """
        views = (x, normalise_loudness(x), shift_bands(x, SHIFT_BANDS), shift_bands(x, -SHIFT_BANDS))
        return torch.stack([self.backbone.embed(view) for view in views])

    def head_features(self, embedding: Tensor) -> Tensor:
        """Compute the head's input: the embedding and its AudioSet logits, ``[batch, 911]`` for mn04."""
        return torch.cat([embedding, self.backbone.tags(embedding)], 1)

    def head(self, embedding: Tensor) -> Tensor:
        """Compute logits ``[batch, n_classes]`` from an embedding."""
        logits: Tensor = self.dense(F.dropout(self.head_features(embedding), DROPOUT, self.training))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[batch, n_classes]``."""
        return self.head(self.embed(x))

    def set_head(self, weights: Tensor, bias: Tensor) -> None:
        """Replace the head: ``weights`` ``[features, n_classes]``, ``bias`` ``[n_classes]``."""
        with torch.no_grad():
            self.dense.weight.copy_(weights.T)
            self.dense.bias.copy_(bias)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of all layers but BatchNorm, which stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def depths(self) -> list[int]:
        """Return the number of layers between each parameter and the logits, in the order of ``parameters()``."""
        last = len(self.backbone.features)
        names = [name.split(".") for name, _ in self.named_parameters()]
        return [last - int(parts[2]) if parts[:2] == ["backbone", "features"] else 0 for parts in names]


def normalise_loudness(x: Tensor) -> Tensor:
    """Normalise ``logmel`` spectrograms ``[batch, 1, freq, time]`` to a mean power of 12 dB, with at most 40 dB gain.

    >>> quiet, loud = torch.full((1, 1, 2, 2), 0.4), torch.full((1, 1, 2, 2), 1.4)
    >>> torch.allclose(normalise_loudness(quiet), normalise_loudness(loud), atol=0.01)
    True
    """
    power = (torch.exp(x * SPREAD + MIDDLE) - QUIETEST).clamp_min(0)
    gain = TARGET_POWER / (power.mean((1, 2, 3), keepdim=True) + TARGET_POWER / MAX_GAIN)
    return (torch.log(power * gain + QUIETEST) - MIDDLE) / SPREAD


def shift_bands(x: Tensor, bands: int) -> Tensor:
    """Shift spectrograms ``[batch, 1, freq, time]`` down by ``bands`` mel bands; the edge band is repeated.

    >>> x = torch.arange(4.0).reshape(1, 1, 4, 1)
    >>> shift_bands(x, 1).flatten().tolist(), shift_bands(x, -2).flatten().tolist()
    ([1.0, 2.0, 3.0, 3.0], [0.0, 0.0, 0.0, 1.0])
    """
    rows = (torch.arange(x.shape[2], device=x.device) + bands).clamp(0, x.shape[2] - 1)
    return x[:, :, rows]


class InvertedResidual(nn.Module):
    """An inverted residual block: 1×1 expansion, depthwise convolution, squeeze-excitation, 1×1 projection.

    The input is added to the output if both have the same shape.
    """

    def __init__(self, block: Block, inside: int, width: float) -> None:
        super().__init__()
        expanded, out = round_channels(block.expanded * width), round_channels(block.out * width)
        self.adds = block.stride == 1 and inside == out
        activation = ACTIVATIONS[block.activation]
        expands = expanded != inside
        layers: list[nn.Module] = [_convolution(inside, expanded, 1, activation=activation)] * expands
        layers.append(
            _convolution(expanded, expanded, block.kernel, stride=block.stride, groups=expanded, activation=activation)
        )
        if block.squeeze_excitation:
            layers.append(SqueezeExcitation(expanded))
        layers.append(_convolution(expanded, out, 1))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[batch, inside, freq, time]`` to ``[batch, out, ...]``."""
        y: Tensor = self.block(x)
        return x + y if self.adds else y


class SqueezeExcitation(nn.Module):
    """Weight each channel by a function of the means of all channels over frequency and time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = round_channels(channels / 4)
        layer = nn.ModuleDict({"fc1": nn.Linear(channels, squeezed), "fc2": nn.Linear(squeezed, channels)})
        self.conc_se_layers = nn.ModuleList([layer])  # a list, as in the original, which can also weight other axes

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ``[batch, channels, freq, time]`` with weighted channels."""
        (layer,) = self.conc_se_layers
        assert isinstance(layer, nn.ModuleDict)
        weights = layer["fc2"](F.relu(layer["fc1"](x.mean((2, 3))))).sigmoid()
        return x * weights[:, :, None, None]


def _convolution(
    inside: int,
    out: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = None,
) -> nn.Sequential:
    convolution = nn.Conv2d(inside, out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    layers = [convolution, nn.BatchNorm2d(out, eps=EPSILON, momentum=0.01)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def build(name: str, shape: tuple[int, int], n_classes: int) -> TransferNetwork:
    """Build the network called ``name`` with a head for ``n_classes``, and random weights, for any ``shape``.

    >>> build("mn04", (128, 400), 10)(torch.zeros(1, 1, 128, 400)).shape
    torch.Size([1, 10])
    """
    return TransferNetwork(MobileNet(WIDTHS[name]), n_classes)

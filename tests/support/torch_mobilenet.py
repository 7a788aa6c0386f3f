"""EfficientAT's MobileNetV3 for audio in torch, the reference of ``models.pretrained.mobilenet``."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from soundmark.models.pretrained.mobilenet import (
    BLOCKS,
    DENSE,
    EPSILON,
    FIRST,
    N_AUDIOSET,
    Block,
    round_channels,
)

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

"""EfficientAT's MobileNetV3 for sound, in torch alone: ``mn04`` (width 0.4) and ``mn10`` (width 1.0).

    Conv 16 stride 2, fifteen inverted residuals (``BLOCKS``), Conv 1×1 to 960, mean over time and frequency,
    Dense 1280, Dense 527                     (channels × width, rounded to 8; BatchNorm after each convolution)

Its input is the ``logmel`` representation. The mean before the dense layers is the *embedding*: 384 numbers for mn04.

Source: A. Howard et al., "Searching for MobileNetV3", ICCV 2019, table 1; F. Schmid, K. Koutini and G. Widmer,
"Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation", ICASSP 2023, whose code
(github.com/fschmid56/EfficientAT, ``models/mn/``, MIT licence) trained the weights; names are its own, so that these
load.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

N_AUDIOSET = 527  # classes


@dataclass(frozen=True)
class Block:
    """One row of MobileNetV3-Large, at width 1."""

    kernel: int
    expanded: int
    out: int
    squeezes: bool
    activation: type[nn.Module]
    stride: int


_RE, _HS = nn.ReLU, nn.Hardswish
BLOCKS = (
    Block(3, 16, 16, False, _RE, 1),
    Block(3, 64, 24, False, _RE, 2),
    Block(3, 72, 24, False, _RE, 1),
    Block(5, 72, 40, True, _RE, 2),
    Block(5, 120, 40, True, _RE, 1),
    Block(5, 120, 40, True, _RE, 1),
    Block(3, 240, 80, False, _HS, 2),
    Block(3, 200, 80, False, _HS, 1),
    Block(3, 184, 80, False, _HS, 1),
    Block(3, 184, 80, False, _HS, 1),
    Block(3, 480, 112, True, _HS, 1),
    Block(3, 672, 112, True, _HS, 1),
    Block(5, 672, 160, True, _HS, 2),
    Block(5, 960, 160, True, _HS, 1),
    Block(5, 960, 160, True, _HS, 1),
)
FIRST, LAST, DENSE = 16, 6 * 160, 1280  # channels: of the first convolution, of the last, of the dense layer


class MobileNet(nn.Module):
    """``logmel`` spectrograms ``[batch, 1, freq, time]`` to AudioSet logits ``[batch, 527]``."""

    def __init__(self, width: float) -> None:
        super().__init__()
        inside = _to_eights(FIRST * width)
        layers: list[nn.Module] = [_convolution(1, inside, 3, stride=2, activation=nn.Hardswish)]
        for block in BLOCKS:
            layers.append(InvertedResidual(block, inside, width))
            inside = _to_eights(block.out * width)
        self.width_of_embedding = 6 * inside
        layers.append(_convolution(inside, self.width_of_embedding, 1, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        dense = _to_eights(DENSE * width)
        # Numbered as in the original: 0 and 1 are its pooling and flattening, 3 its activation, 4 its dropout.
        self.classifier = nn.ModuleDict(
            {"2": nn.Linear(self.width_of_embedding, dense), "5": nn.Linear(dense, N_AUDIOSET)}
        )

    def embed(self, x: Tensor) -> Tensor:
        """The mean of the last feature maps, ``[batch, 384]`` for mn04 and ``[batch, 960]`` for mn10."""
        pooled: Tensor = self.features(x).mean((2, 3))
        return pooled

    def tags(self, embedding: Tensor) -> Tensor:
        """AudioSet logits ``[batch, 527]`` of embeddings."""
        logits: Tensor = self.classifier["5"](F.hardswish(self.classifier["2"](embedding)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """AudioSet logits ``[batch, 527]``."""
        return self.tags(self.embed(x))


class InvertedResidual(nn.Module):
    """Expand by 1×1, convolve each channel alone, weigh the channels, shrink by 1×1; add the input where it fits."""

    def __init__(self, block: Block, inside: int, width: float) -> None:
        super().__init__()
        expanded, out = _to_eights(block.expanded * width), _to_eights(block.out * width)
        self.adds = block.stride == 1 and inside == out
        activation = block.activation
        layers = [_convolution(inside, expanded, 1, activation=activation)] if expanded != inside else []
        layers.append(
            _convolution(expanded, expanded, block.kernel, stride=block.stride, groups=expanded, activation=activation)
        )
        if block.squeezes:
            layers.append(SqueezeExcitation(expanded))
        layers.append(_convolution(expanded, out, 1))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, inside, freq, time]`` to ``[batch, out, ...]``."""
        y: Tensor = self.block(x)
        return x + y if self.adds else y


class SqueezeExcitation(nn.Sequential):
    """Each channel weighed by what all channels hold in the mean over frequency and time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _to_eights(channels / 4)
        layer = nn.Module()
        layer.fc1, layer.fc2 = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)
        self.conc_se_layers = nn.ModuleList([layer])

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """``[batch, channels, freq, time]``, weighed."""
        layer = self.conc_se_layers[0]
        weights = layer.fc2(F.relu(layer.fc1(x.mean((2, 3))))).sigmoid()
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
    layers = [convolution, nn.BatchNorm2d(out, eps=0.001, momentum=0.01)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def _to_eights(channels: float) -> int:
    """The multiple of 8 nearest to a number of channels, and not more than a tenth below it (MobileNet's own rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded

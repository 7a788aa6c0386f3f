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
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundmark.models import weights
from soundmark.spectrograms.logmel import MIDDLE, QUIETEST, SPREAD
from soundmark.training.networks.network import Network

N_AUDIOSET = 527  # classes


DROPOUT = 0.2


LOUDNESS = 10**1.2  # mean power: 12 dB


MOST_GAIN = 10**4.0  # 40 dB: more would amplify rounding errors


SHIFT = 2  # mel bands, of 128


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


class Transferred(Network):
    """A backbone that was trained on AudioSet, and a linear head for the classes of the data set.

    The embedding is the mean of two views, the sound as loud as it is and brought to one loudness, so that less hangs
    on how far away the microphone stood; in training each clip is seen in one of the two. The head's input is the
    embedding and the AudioSet logits that follow from it. BatchNorm keeps AudioSet's statistics: a few recordings have
    none.
    """

    has_embedding = True

    def __init__(self, backbone: MobileNet, n_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.dense = nn.Linear(backbone.width_of_embedding + N_AUDIOSET, n_classes)

    def load_pretrained(self, path: Path) -> None:
        """Load the backbone's weights from EfficientAT's file."""
        self.backbone.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def embed(self, x: Tensor) -> Tensor:
        """The embedding, ``[batch, 384]`` for mn04."""
        if self.training:
            chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            return self.backbone.embed(torch.where(chosen, at_one_loudness(x), x))
        return (self.backbone.embed(x) + self.backbone.embed(at_one_loudness(x))) / 2

    def embed_views(self, x: Tensor) -> Tensor:
        """The embedding of each view that a head is fitted on, ``[4, batch, d]``; that of ``embed`` is the first two's.

        The sound as it is, at one loudness, and two mel bands lower and higher.
        """
        views = (x, at_one_loudness(x), shifted(x, SHIFT), shifted(x, -SHIFT))
        return torch.stack([self.backbone.embed(view) for view in views])

    def head_features(self, embedding: Tensor) -> Tensor:
        """The head's input: the embedding and its AudioSet logits, ``[batch, 911]`` for mn04."""
        return torch.cat([embedding, self.backbone.tags(embedding)], 1)

    def head(self, embedding: Tensor) -> Tensor:
        """Logits ``[batch, n_classes]`` of an embedding."""
        logits: Tensor = self.dense(F.dropout(self.head_features(embedding), DROPOUT, self.training))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[batch, n_classes]``."""
        return self.head(self.embed(x))

    def put_head(self, weights: Tensor, bias: Tensor) -> None:
        """Replace the head: ``weights`` ``[features, n_classes]``, ``bias`` ``[n_classes]``."""
        with torch.no_grad():
            self.dense.weight.copy_(weights.T)
            self.dense.bias.copy_(bias)

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but BatchNorm."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def depths(self) -> list[int]:
        """Number of layers between each parameter and the logits, in ``parameters()``'s order."""
        last = len(self.backbone.features)
        names = [name.split(".") for name, _ in self.named_parameters()]
        return [last - int(parts[2]) if parts[:2] == ["backbone", "features"] else 0 for parts in names]


class Tagger(Network):
    """A backbone with the head that it was released with: AudioSet's 527 classes."""

    has_embedding = True

    def __init__(self, backbone: MobileNet) -> None:
        super().__init__()
        self.backbone = backbone

    def embed(self, x: Tensor) -> Tensor:
        """The embedding, ``[batch, 384]`` for mn04."""
        return self.backbone.embed(x)

    def head(self, embedding: Tensor) -> Tensor:
        """AudioSet logits ``[batch, 527]`` of an embedding."""
        return self.backbone.tags(embedding)

    def forward(self, x: Tensor) -> Tensor:
        """AudioSet logits ``[batch, 527]``."""
        return self.head(self.embed(x))


def at_one_loudness(x: Tensor) -> Tensor:
    """``logmel`` spectrograms ``[batch, 1, freq, time]``, each made as loud as a mean power of 12 dB, by 40 dB at most.

    >>> quiet, loud = torch.full((1, 1, 2, 2), 0.4), torch.full((1, 1, 2, 2), 1.4)
    >>> torch.allclose(at_one_loudness(quiet), at_one_loudness(loud), atol=0.01)
    True
    """
    power = (torch.exp(x * SPREAD + MIDDLE) - QUIETEST).clamp_min(0)
    gain = LOUDNESS / (power.mean((1, 2, 3), keepdim=True) + LOUDNESS / MOST_GAIN)
    return (torch.log(power * gain + QUIETEST) - MIDDLE) / SPREAD


def shifted(x: Tensor, bands: int) -> Tensor:
    """Spectrograms ``[batch, 1, freq, time]``, ``bands`` mel bands lower; what is beyond the last band is like it.

    >>> bands = torch.arange(4.0).reshape(1, 1, 4, 1)
    >>> shifted(bands, 1).flatten().tolist(), shifted(bands, -2).flatten().tolist()
    ([1.0, 2.0, 3.0, 3.0], [0.0, 0.0, 0.0, 1.0])
    """
    rows = (torch.arange(x.shape[2], device=x.device) + bands).clamp(0, x.shape[2] - 1)
    return x[:, :, rows]


class InvertedResidual(nn.Module):
    """Expand by 1×1, convolve each channel alone, weigh the channels, shrink by 1×1; add the input where it fits."""

    def __init__(self, block: Block, inside: int, width: float) -> None:
        super().__init__()
        expanded, out = _to_eights(block.expanded * width), _to_eights(block.out * width)
        self.adds = block.stride == 1 and inside == out
        activation = block.activation
        widens = expanded != inside
        layers: list[nn.Module] = [_convolution(inside, expanded, 1, activation=activation)] * widens
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


class SqueezeExcitation(nn.Module):
    """Each channel weighed by what all channels hold in the mean over frequency and time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _to_eights(channels / 4)
        layer = nn.ModuleDict({"fc1": nn.Linear(channels, squeezed), "fc2": nn.Linear(squeezed, channels)})
        self.conc_se_layers = nn.ModuleList([layer])  # (the original may weigh along other axes, too)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, channels, freq, time]``, weighed."""
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
    layers = [convolution, nn.BatchNorm2d(out, eps=0.001, momentum=0.01)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def _to_eights(channels: float) -> int:
    """The multiple of 8 nearest to a number of channels, and not more than a tenth below it (MobileNet's own rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


WIDTHS = {"mn04": 0.4, "mn10": 1.0}


def build(name: str, shape: tuple[int, int], n_classes: int) -> Transferred:
    """The network called ``name`` with a head for ``n_classes``, untrained; it takes spectrograms of any ``shape``.

    >>> build("mn04", (128, 400), 10)(torch.zeros(1, 1, 128, 400)).shape
    torch.Size([1, 10])
    """
    return Transferred(MobileNet(WIDTHS[name]), n_classes)


def released(name: str) -> Tagger:
    """The network called ``name`` as EfficientAT released it, with its 527 AudioSet classes.

    Raises:
        WeightsError: the weights are not here and cannot be downloaded.

    >>> released("mn04")(torch.zeros(1, 1, 128, 1000)).shape  # doctest: +SKIP
    torch.Size([1, 527])
    """
    network = Tagger(MobileNet(WIDTHS[name]))
    network.backbone.load_state_dict(torch.load(weights.find(name), map_location="cpu", weights_only=True))
    return network.eval()

"""``[batch, 1, freq, time]`` to logits ``[batch, classes]``: one file per network, imported when it is built.

A network is a ``network.Network`` that contains any normalisation, so that its graph takes the spectrogram as it is.
Its module has ``build(name, shape, n_classes)``, and ``NETWORKS`` names it. Importing this package does not import
torch.

In reading order:

    network         the base classes: what the training loop needs
    notebook_cnn    the notebook's network
    resnet          three small residual networks
    mobilenet       EfficientAT's MobileNetV3
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from soundmark.errors import unknown_name

if TYPE_CHECKING:
    from soundmark.training.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class NetworkInfo:
    """A network that recipes can name."""

    name: str
    description: str
    module: str  # the file in this folder that builds it
    pretrained: bool = False  # whether ``models.weights`` has weights of this name


NETWORKS = {
    info.name: info
    for info in (
        NetworkInfo(
            name="notebook_cnn",
            description="the notebook's six convolutions and two dense layers: 1.32 million parameters for ten classes",
            module="notebook_cnn",
        ),
        NetworkInfo(
            name="resnet",
            description="three small residual networks that vote: 1.45 million parameters for ten classes",
            module="resnet",
        ),
        NetworkInfo(
            name="mn04",
            description="EfficientAT's MobileNetV3 of width 0.4, trained on AudioSet: 0.98 million parameters",
            module="mobilenet",
            pretrained=True,
        ),
        NetworkInfo(
            name="mn10",
            description="EfficientAT's MobileNetV3 of width 1.0, trained on AudioSet: 4.88 million parameters",
            module="mobilenet",
            pretrained=True,
        ),
    )
}


PRETRAINED = tuple(info.name for info in NETWORKS.values() if info.pretrained)


def build(name: str, *, shape: tuple[int, int], n_classes: int) -> Network:
    """The network called ``name`` for spectrograms of ``shape`` (freq, time), freshly initialised.

    Its weights are drawn from torch's global generator: seed that first.

    Raises:
        SettingsError: there is no such network, or the shape is too small for it.

    >>> network = build("notebook_cnn", shape=(64, 64), n_classes=10)
    >>> sum(parameter.numel() for parameter in network.parameters())
    1324138
    """
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    module = import_module(f"{__name__}.{NETWORKS[name].module}")
    network: Network = module.build(name, shape, n_classes)
    return network

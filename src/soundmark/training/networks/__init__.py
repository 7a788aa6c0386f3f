"""Networks from spectrograms ``[batch, 1, freq, time]`` to logits ``[batch, classes]``, one file per network.

A network is a ``network.Network``. It includes any normalisation, so that its graph takes unnormalised spectrograms.
Its module defines ``build(name, shape, n_classes)`` and is listed in ``NETWORKS``. The module is imported when the
network is built; importing this package does not import torch.

In reading order:

    network         the base class, with the interface that the training loop uses
    onnx_layers     add layers to the ONNX graph of a model file
    notebook_cnn    the notebook's network
    resnet          three small residual networks
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
    module: str  # the module in this package that builds it


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
            description="an ensemble of three small residual networks: 1.45 million parameters for ten classes",
            module="resnet",
        ),
    )
}


def build(name: str, *, shape: tuple[int, int], n_classes: int) -> Network:
    """Build the network called ``name`` for spectrograms of ``shape`` (freq, time), with random weights.

    The weights are drawn from torch's global generator: seed it first.

    Raises:
        SettingsError: an unknown network, or a shape that is too small for it.

    >>> network = build("notebook_cnn", shape=(64, 64), n_classes=10)
    >>> sum(parameter.numel() for parameter in network.parameters())
    1324138
    """
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    module = import_module(f"{__name__}.{NETWORKS[name].module}")
    network: Network = module.build(name, shape, n_classes)
    return network

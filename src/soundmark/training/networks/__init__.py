"""``[batch, 1, freq, time]`` to logits ``[batch, classes]``: one file per network, loaded when asked for.

A network is a ``torch.nn.Module`` that keeps any normalisation inside, so that its graph takes the spectrogram as it
is. Its module has ``build(shape, n_classes)``; its name stands in ``NETWORKS``. One that has an embedding offers it as
``embed(x)``, and what is made of it as ``head(embedding)``.

In reading order:

    notebook_cnn    the notebook's network
    resnet          three small residual networks
    mobilenet       EfficientAT's MobileNetV3
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from soundmark.errors import unknown_name

if TYPE_CHECKING:
    import torch


# Every network by name; each is built by the module of that name here, loaded when asked for.
NETWORKS = {
    "notebook_cnn": "the notebook's six convolutions and two dense layers: 1.32 million parameters for ten classes",
    "resnet": "three small residual networks that vote: 1.45 million parameters for ten classes",
    "mn04": "EfficientAT's MobileNetV3 of width 0.4, trained on AudioSet: 0.98 million parameters",
    "mn10": "EfficientAT's MobileNetV3 of width 1.0, trained on AudioSet: 4.88 million parameters",
}


PRETRAINED = ("mn04", "mn10")


def build(name: str, *, shape: tuple[int, int], n_classes: int) -> torch.nn.Module:
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
    if name in PRETRAINED:
        from soundmark.training.networks import mobilenet

        return mobilenet.build(name, n_classes)
    network: torch.nn.Module = import_module(f"soundmark.training.networks.{name}").build(shape, n_classes)
    return network

"""``[batch, 1, freq, time]`` to logits ``[batch, classes]``: one file per network, loaded when asked for.

A network is a ``torch.nn.Module`` that keeps any normalisation inside, so that its graph takes the spectrogram as it
is. Its module has ``build(shape, n_classes)``; its name stands in ``recipes.NETWORKS``. One that has an embedding
offers it as ``embed(x)``, and what is made of it as ``head(embedding)``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from soundmark.errors import unknown_name
from soundmark.recipes import NETWORKS, PRETRAINED

if TYPE_CHECKING:
    import torch


def build(name: str, *, shape: tuple[int, int], n_classes: int) -> torch.nn.Module:
    """The network called ``name`` for spectrograms of ``shape`` (freq, time), freshly initialised.

    Its weights are drawn from torch's global generator: seed that first.

    Raises:
        SettingsError: there is no such network, or the shape is too small for it.

    >>> network = build("seed_cnn", shape=(64, 64), n_classes=10)
    >>> sum(parameter.numel() for parameter in network.parameters())
    1324138
    """
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    if name in PRETRAINED:
        from soundmark.models import mobilenet

        return mobilenet.build(name, n_classes)
    network: torch.nn.Module = import_module(f"soundmark.models.{name}").build(shape, n_classes)
    return network

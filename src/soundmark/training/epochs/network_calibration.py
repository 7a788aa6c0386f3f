"""Calibrate a network that was trained epoch by epoch, on clips that it was not trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from soundmark.training import calibration
from soundmark.training.calibration import Calibration, Familiarity
from soundmark.training.epochs import onnx_export
from soundmark.training.epochs.engine import TrainingData
from soundmark.training.networks.network import Network
from soundmark.training.recipe import Recipe

BATCH = 32  # spectrograms per batch


@torch.no_grad()
def calibrate_network(network: Network, data: TrainingData, recipe: Recipe) -> Calibration:
    """Calibrate a trained network on the validation clips.

    >>> from soundmark.training import networks
    >>> data = TrainingData(
    ...     features=np.zeros((30, 24, 24), np.float32), targets=np.eye(2)[np.arange(30) % 2], train=np.arange(6),
    ...     validation=np.arange(6, 30), sources=np.arange(30).astype(str),
    ... )
    >>> calibrate_network(networks.build("notebook_cnn", shape=(24, 24), n_classes=2), data, recipe).clips
    24
    """
    targets = data.targets[data.validation]
    if not network.has_embedding:
        held_out = np.concatenate(
            [onnx_export.network_logits(network, data.features[batch]) for batch in _batches(data.validation)]
        )
        return calibration.calibrate(held_out, targets, data.activation)
    train, validation = (embed(network, data, clips) for clips in (data.train, data.validation))
    familiarity = Familiarity.of(train, data.targets[data.train])
    return calibration.calibrate(
        network.head(torch.from_numpy(validation)).numpy(),
        targets,
        data.activation,
        familiarity=familiarity,
        raw=familiarity.raw(validation),
        kept=recipe.known_quantile,
    )


def transfer_calibration(first: Calibration, network: Network, data: TrainingData) -> Calibration:
    """Apply the calibration of a ``first`` network to the refit ``network``, which was trained on all clips.

    ``Familiarity`` is fitted on the embeddings of ``network``; only its scale is taken from the validation clips of the
    first network.

    >>> from soundmark.training import networks
    >>> transfer_calibration(Calibration(temperature=1.5), networks.network.Network(), None).temperature
    1.5
    """
    if first.familiarity is None:
        return first
    refit = Familiarity.of(embed(network, data, data.train), data.targets[data.train])
    refit = replace(refit, middle=first.familiarity.middle, spread=first.familiarity.spread)
    return replace(first, familiarity=refit)


@torch.no_grad()
def embed(network: Network, data: TrainingData, chosen: np.ndarray) -> np.ndarray:
    """Compute the embeddings of the ``chosen`` clips, float32 ``[n, d]``, as the exported graph does.

    >>> from soundmark.training import networks
    >>> data = TrainingData(
    ...     features=np.zeros((3, 32, 32), np.float32), targets=np.eye(3), train=np.arange(3), validation=np.arange(0),
    ...     sources=np.arange(3).astype(str),
    ... )
    >>> embed(networks.build("resnet", shape=(32, 32), n_classes=3), data, data.train).shape
    (3, 300)
    """
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    outputs = []
    for batch in _batches(chosen):
        x = torch.from_numpy(data.features[batch])[:, None].contiguous(memory_format=torch.channels_last)
        outputs.append(network.embed(x).numpy())
    return np.concatenate(outputs)


def _batches(chosen: np.ndarray) -> list[np.ndarray]:
    return [chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH)]

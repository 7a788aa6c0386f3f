"""Models for the tests: one that detects tones without training, and one with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.spectrograms import Mel
from soundmark.training import networks, onnx_export
from soundmark.training.networks import mobilenet

TONE_CLASSES = ("low", "high", "background")


def write_random_mn04(path: Path, features: np.ndarray) -> Path:
    """Write random weights of mn04, with the BatchNorm statistics of ``features`` [n, freq, time]; return ``path``."""
    torch.manual_seed(0)
    network = mobilenet.MobileNet(0.4).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    network(torch.from_numpy(features)[:, None])
    torch.save(network.state_dict(), path)
    return path


def linear_graph(weights: np.ndarray, bias: np.ndarray) -> bytes:
    """A graph whose logits are ``weights`` [64, classes] times the 8×8 spectrogram plus ``bias`` [classes]."""
    nodes = [
        helper.make_node("Flatten", ["spectrogram"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(bias)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def tone_model(window_s: float = 1.0) -> Model:
    """A linear model for three classes: a low tone, a high tone, and background noise.

    The logit of "low" is half the level difference in dB between the lower and the upper bands; that of "high" is its
    negative. The logit of "background" is larger the closer all bands are to the loudest one.
    """
    weights = np.zeros((64, 3), np.float32)
    lower, upper = np.arange(64) < 32, np.arange(64) >= 32
    weights[:, 0] = (lower / 32 - upper / 32) / 2
    weights[:, 1] = -weights[:, 0]
    weights[:, 2] = 1 / 128
    data = linear_graph(weights, np.array([0, 0, 20], np.float32))
    return Model(Bundle(data, Card(classes=TONE_CLASSES, representation=Mel(size=(8, 8)), window_s=window_s)))


def random_model() -> Model:
    """A network with random weights, and a temperature of 0.02, so that its scores differ clearly."""
    torch.manual_seed(0)
    network = networks.build("notebook_cnn", shape=(32, 32), n_classes=3)
    card = Card(classes=("b", "a", "c"), representation=Mel(size=(32, 32)), window_s=1.0, temperature=0.02)
    return Model(Bundle(onnx_export.export_network(network, (32, 32)), card))

"""Models for the tests: one that detects tones without training, and one with random weights."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.pretrained.backbone import Backbone, build_backbone
from soundmark.models.pretrained.graph import Graph
from soundmark.spectrograms import Mel
from soundmark.training import networks
from soundmark.training.epochs import onnx_export
from soundmark.training.transfer.head_graph import model_graph
from soundmark.training.transfer.linear_head import fit_head
from support import torch_mobilenet

TONE_CLASSES = ("low", "high", "background")


def random_backbone(shape: tuple[int, int], spectrograms: np.ndarray | None = None) -> Backbone:
    """The backbone mn04 with random weights, and the BatchNorm statistics of ``spectrograms`` [n, freq, time]."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch_mobilenet.MobileNet(0.4).train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        network(torch.randn(8, 1, *shape) if spectrograms is None else torch.from_numpy(spectrograms)[:, None])
    return build_backbone("mn04", {name: value.numpy() for name, value in network.state_dict().items()}, shape)


def random_transfer_graph(shape: tuple[int, int], n_classes: int) -> bytes:
    """The graph of a model of the recipe transfer, with random weights."""
    backbone, rng = random_backbone(shape), np.random.default_rng(0)
    labels = np.arange(4 * n_classes) % n_classes
    features = rng.normal(size=(len(labels), backbone.n_features)).astype(np.float32)
    head = fit_head(features, np.eye(n_classes)[labels], np.arange(len(labels)).astype(str))
    return model_graph(backbone, head, n_classes)


def two_views_graph() -> bytes:
    """A graph that applies convolution and batch normalisation to two views, as the first models of transfer did."""
    graph, rng = Graph(), np.random.default_rng(0)
    x = graph.input("spectrogram", (1, 16, 20))
    kernel, bias = graph.constant("kernel", rng.normal(size=(8, 1, 3, 3))), graph.constant("bias", rng.normal(size=8))
    parts = {name: rng.uniform(0.5, 1.5, 8) for name in ("scale", "shift", "mean", "variance")}
    norm = [graph.constant(name, values) for name, values in parts.items()]
    weights = graph.constant("weights", rng.normal(size=(3, 8)))
    views = []
    for view in (x, graph.node("Div", x, graph.constant("two", 2.0))):
        y = graph.node("BatchNormalization", graph.node("Conv", view, kernel, bias), *norm, epsilon=1e-3)
        y = graph.node("Flatten", graph.node("GlobalAveragePool", graph.node("Relu", y)), axis=1)
        views.append(graph.node("Gemm", y, weights, transB=1))
    graph.output("logits", graph.node("Add", *views))
    return graph.to_bytes()


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


def tone_embedder(window_s: float = 1.0) -> Model:
    """``tone_model`` with its spectrogram, 64 values, as the embedding."""
    model = tone_model(window_s)
    graph = onnx.load_from_string(model.bundle.graph)
    graph.graph.node.append(helper.make_node("Identity", ["flat"], ["embedding"]))
    graph.graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 64]))
    return Model(Bundle(graph.SerializeToString(), model.card))


def random_model() -> Model:
    """A network with random weights, and a temperature of 0.02, so that its scores differ clearly."""
    torch.manual_seed(0)
    network = networks.build("notebook_cnn", shape=(32, 32), n_classes=3)
    card = Card(classes=("b", "a", "c"), representation=Mel(size=(32, 32)), window_s=1.0, temperature=0.02)
    return Model(Bundle(onnx_export.export_network(network, (32, 32)), card))

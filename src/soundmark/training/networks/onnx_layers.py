"""Add torch layers to an ONNX graph; each function takes and returns names of values in the graph.

The graph is written layer by layer, not by ``torch.onnx.export``: that needs another package, and seconds per network.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import numpy as np
from torch import Tensor, nn

from soundmark.models.pretrained.graph import Graph, fold_batch_norm


def sequence(graph: Graph, x: str, name: str, layers: nn.Sequential) -> str:
    """Add layers one after the other. A BatchNorm must follow a convolution, and is folded into it.

    The constants are called as in the state dict of a network that has the layers as ``name``.

    Raises:
        TypeError: another kind of layer.

    >>> graph = Graph()
    >>> layers = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    >>> sequence(graph, graph.input("spectrogram", (1, 8, 8)), "stem", layers)
    'relu_1'
    """
    before: nn.Module | None = None
    for number, (layer, after) in enumerate(pairwise((*layers, None))):
        if isinstance(layer, nn.Conv2d):
            norm = after if isinstance(after, nn.BatchNorm2d) else None
            x = convolution(graph, x, f"{name}.{number}", layer, norm)
        elif isinstance(layer, nn.ReLU):
            x = graph.node("Relu", x)
        elif isinstance(layer, nn.AvgPool2d):
            sides = [cast(int, layer.kernel_size)] * 2
            x = graph.node("AveragePool", x, kernel_shape=sides, strides=sides, ceil_mode=int(layer.ceil_mode))
        elif not (isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d)):
            raise TypeError(f"{name}.{number} is {layer}, which cannot be added to a graph")
        before = layer
    return x


def convolution(graph: Graph, x: str, name: str, layer: nn.Conv2d, norm: nn.BatchNorm2d | None = None) -> str:
    """Add a convolution, with the BatchNorm after it folded into it.

    >>> graph = Graph()
    >>> convolution(graph, graph.input("spectrogram", (1, 8, 8)), "first", nn.Conv2d(1, 4, 3, padding=1))
    'conv_1'
    """
    weights = values(layer.weight)
    bias = np.zeros(len(weights), np.float32) if layer.bias is None else values(layer.bias)
    if norm is not None:
        parts = [values(part) for part in (norm.weight, norm.bias, norm.running_mean, norm.running_var)]
        weights, bias = fold_batch_norm(weights, bias, parts, norm.eps)
    return graph.node(
        "Conv",
        x,
        graph.constant(f"{name}.weight", weights),
        graph.constant(f"{name}.bias", bias),
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=[int(pad) for pad in layer.padding] * 2,
    )


def dense(graph: Graph, x: str, name: str, *layers: nn.Linear) -> str:
    """Add a dense layer; or the mean of several ones, each of which takes its part of ``x``, as one dense layer.

    >>> graph = Graph()
    >>> dense(graph, graph.input("embedding", (6,)), "logits", nn.Linear(3, 2), nn.Linear(3, 2))
    'gemm_1'
    """
    weights = np.concatenate([values(layer.weight) for layer in layers], axis=1) / len(layers)
    bias = np.mean([values(layer.bias) for layer in layers], axis=0)
    constants = graph.constant(f"{name}.weight", weights), graph.constant(f"{name}.bias", bias)
    return graph.node("Gemm", x, *constants, transB=1)


def values(tensor: Tensor | None) -> np.ndarray:
    """Return the values of a parameter or buffer.

    >>> values(nn.Linear(2, 1).weight).shape
    (1, 2)
    """
    assert tensor is not None  # torch's type annotations allow None, for layers without them
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array

"""EfficientAT's MobileNetV3 for audio as an ONNX graph: ``mn04`` (width 0.4) and ``mn10`` (width 1.0).

    Conv 16 stride 2, fifteen inverted residuals (``BLOCKS``), Conv 1×1 to 960, mean over time and frequency,
    Dense 1280, Dense 527                     (channels × width, rounded to 8; BatchNorm after each convolution)

The input is the ``logmel`` representation. The mean before the dense layers is the *embedding*: 384 values for mn04.
The weights of each BatchNorm are folded into the convolution before it.

Source: A. Howard et al., "Searching for MobileNetV3", ICCV 2019, table 1; F. Schmid, K. Koutini and G. Widmer,
"Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation", ICASSP 2023, whose code
(github.com/fschmid56/EfficientAT, ``models/mn/``, MIT licence) trained the weights. The names of the weights are those
of that code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from soundmark.errors import WeightsError
from soundmark.models.pretrained.graph import Graph, fold_batch_norm

N_AUDIOSET = 527  # AudioSet classes


WIDTHS = {"mn04": 0.4, "mn10": 1.0}


EPSILON = 0.001  # of each BatchNorm


@dataclass(frozen=True)
class Block:
    """One row of the table of MobileNetV3-Large, at width 1."""

    kernel: int
    expanded: int
    out: int
    squeeze_excitation: bool
    activation: str  # "relu" or "hardswish"
    stride: int


_RE, _HS = "relu", "hardswish"


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


Tensors = Mapping[str, np.ndarray]


def round_channels(channels: float) -> int:
    """Round to the nearest multiple of 8 that is at most 10 % below ``channels`` (MobileNet's rule).

    >>> round_channels(16 * 0.4), round_channels(40 * 0.4)
    (8, 16)
    """
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def embedding_size(name: str) -> int:
    """Return the number of values of the embedding of the network called ``name``.

    >>> embedding_size("mn04"), embedding_size("mn10")
    (384, 960)
    """
    return 6 * round_channels(BLOCKS[-1].out * WIDTHS[name])


def check_tensors(name: str, tensors: Tensors) -> None:
    """Check that the weights are those of the network called ``name``.

    Raises:
        WeightsError: a tensor is missing, or has another shape.

    >>> check_tensors("mn04", {})
    Traceback (most recent call last):
    soundmark.errors.WeightsError: the weights are not those of mn04: the tensor "features.0.0.weight" is missing.
    """
    for key, shape in _shapes(WIDTHS[name]).items():
        found = tensors.get(key)
        if found is None:
            raise WeightsError(f'the weights are not those of {name}: the tensor "{key}" is missing.')
        if found.shape != shape or not np.issubdtype(found.dtype, np.floating) or not np.isfinite(found).all():
            raise WeightsError(
                f'the weights are not those of {name}: the tensor "{key}" is {found.dtype} {list(found.shape)}; '
                f"expected finite floats {list(shape)}."
            )


def _shapes(width: float) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor, in the order of the layers."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(key: str, out: int, inside: int, kernel: int) -> None:
        shapes[f"{key}.0.weight"] = (out, inside, kernel, kernel)
        shapes.update({f"{key}.1.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")})

    def dense(key: str, out: int, inside: int) -> None:
        shapes.update({f"{key}.weight": (out, inside), f"{key}.bias": (out,)})

    inside = round_channels(FIRST * width)
    convolution("features.0", inside, 1, 3)
    for n, block in enumerate(BLOCKS, 1):
        expanded, out, layer = round_channels(block.expanded * width), round_channels(block.out * width), 0
        if expanded != inside:
            convolution(f"features.{n}.block.0", expanded, inside, 1)
            layer = 1
        convolution(f"features.{n}.block.{layer}", expanded, 1, block.kernel)
        if block.squeeze_excitation:
            layer += 1
            squeezed, key = round_channels(expanded / 4), f"features.{n}.block.{layer}.conc_se_layers.0"
            dense(f"{key}.fc1", squeezed, expanded)
            dense(f"{key}.fc2", expanded, squeezed)
        convolution(f"features.{n}.block.{layer + 1}", out, expanded, 1)
        inside = out
    convolution(f"features.{len(BLOCKS) + 1}", 6 * inside, inside, 1)
    dense("classifier.2", round_channels(DENSE * width), 6 * inside)
    dense("classifier.5", N_AUDIOSET, round_channels(DENSE * width))
    return shapes


def add_embedding(graph: Graph, x: str, name: str, tensors: Tensors) -> str:
    """Add the network called ``name`` to a graph, from the spectrogram ``x`` ``[batch, 1, freq, time]``.

    Returns the name of the embedding ``[batch, d]``. It can be added several times: the weights are stored once.

    >>> random = np.random.default_rng(0)
    >>> tensors = {key: random.random(shape, np.float32) for key, shape in _shapes(0.4).items()}
    >>> graph = Graph()
    >>> add_embedding(graph, graph.input("spectrogram", (1, 128, 400)), "mn04", tensors)
    'flatten_1'
    """
    layers = _Layers(graph, tensors)
    width = WIDTHS[name]
    inside = round_channels(FIRST * width)
    x = layers.convolution(x, "features.0", _HS, stride=2)
    for n, block in enumerate(BLOCKS, 1):
        expanded, out = round_channels(block.expanded * width), round_channels(block.out * width)
        y = layers.inverted_residual(x, f"features.{n}.block", block, expands=expanded != inside)
        x = graph.node("Add", x, y) if block.stride == 1 and inside == out else y
        inside = out
    x = layers.convolution(x, f"features.{len(BLOCKS) + 1}", _HS)
    return graph.node("Flatten", graph.node("GlobalAveragePool", x), axis=1)


def add_tags(graph: Graph, embedding: str, tensors: Tensors) -> str:
    """Add the layers from an embedding ``[batch, d]`` to AudioSet logits ``[batch, 527]``; return their name.

    >>> shapes = {key: shape for key, shape in _shapes(0.4).items() if "classifier" in key}
    >>> graph = Graph()
    >>> embedding = graph.input("embedding", (384,))
    >>> add_tags(graph, embedding, {key: np.zeros(shape, np.float32) for key, shape in shapes.items()})
    'gemm_2'
    """
    layers = _Layers(graph, tensors)
    return layers.dense(layers.activation(layers.dense(embedding, "classifier.2"), _HS), "classifier.5")


def build(name: str, tensors: Tensors, shape: tuple[int, int]) -> tuple[Graph, str, str]:
    """Return the network called ``name`` as a graph, from ``spectrogram`` ``[batch, 1, *shape]``, without outputs yet.

    With it come the names of the embedding ``[batch, d]`` and of the AudioSet logits ``[batch, 527]``.

    Raises:
        WeightsError: ``tensors`` are not the weights of this network.

    >>> random = np.random.default_rng(0)
    >>> tensors = {key: random.random(size, np.float32) for key, size in _shapes(0.4).items()}
    >>> build("mn04", tensors, (128, 400))[1:]
    ('flatten_1', 'gemm_2')
    """
    check_tensors(name, tensors)
    graph = Graph()
    embedding = add_embedding(graph, graph.input("spectrogram", (1, *shape)), name, tensors)
    return graph, embedding, add_tags(graph, embedding, tensors)


@dataclass(frozen=True)
class _Layers:
    """Adds layers with the weights ``tensors`` to a ``graph``; each returns the name of its output."""

    graph: Graph
    tensors: Tensors

    def inverted_residual(self, x: str, key: str, block: Block, *, expands: bool) -> str:
        """1×1 expansion, depthwise convolution, squeeze-excitation, 1×1 projection."""
        layer = 0
        if expands:
            x = self.convolution(x, f"{key}.0", block.activation)
            layer = 1
        x = self.convolution(x, f"{key}.{layer}", block.activation, stride=block.stride, depthwise=True)
        if block.squeeze_excitation:
            layer += 1
            x = self.squeeze_excitation(x, f"{key}.{layer}.conc_se_layers.0")
        return self.convolution(x, f"{key}.{layer + 1}", None)

    def convolution(self, x: str, key: str, activation: str | None, *, stride: int = 1, depthwise: bool = False) -> str:
        """A convolution with its BatchNorm folded into it."""
        norm = [self.tensors[f"{key}.1.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        kernel, shift = fold_batch_norm(self.tensors[f"{key}.0.weight"], 0.0, norm, EPSILON)
        weights, bias = self.graph.constant(f"{key}.weight", kernel), self.graph.constant(f"{key}.bias", shift)
        pad = (kernel.shape[-1] - 1) // 2
        groups = len(kernel) if depthwise else 1
        kernel_shape = list(kernel.shape[2:])
        y = self.graph.node(
            "Conv", x, weights, bias, kernel_shape=kernel_shape, strides=[stride, stride], pads=[pad] * 4, group=groups
        )
        return y if activation is None else self.activation(y, activation)

    def squeeze_excitation(self, x: str, key: str) -> str:
        """Weight each channel by a function of the means of all channels over frequency and time."""
        mean = self.graph.node("GlobalAveragePool", x)
        squeezed = self.graph.node("Relu", self._pointwise(mean, f"{key}.fc1"))
        return self.graph.node("Mul", x, self.graph.node("Sigmoid", self._pointwise(squeezed, f"{key}.fc2")))

    def _pointwise(self, x: str, key: str) -> str:
        """A dense layer as a 1×1 convolution, which keeps the four axes."""
        weights = self.graph.constant(f"{key}.weight", self.tensors[f"{key}.weight"][:, :, None, None])
        bias = self.graph.constant(f"{key}.bias", self.tensors[f"{key}.bias"])
        return self.graph.node("Conv", x, weights, bias, kernel_shape=[1, 1])

    def dense(self, x: str, key: str) -> str:
        """A dense layer."""
        weights, bias = (
            self.graph.constant(f"{key}.{part}", self.tensors[f"{key}.{part}"]) for part in ("weight", "bias")
        )
        return self.graph.node("Gemm", x, weights, bias, transB=1)

    def activation(self, x: str, kind: str) -> str:
        """ReLU, or hardswish: x·min(max(x/6 + ½, 0), 1)."""
        if kind == _RE:
            return self.graph.node("Relu", x)
        return self.graph.node("Mul", x, self.graph.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))

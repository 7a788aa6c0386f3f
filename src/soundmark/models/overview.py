"""The ``repr`` of a model, and its table of layers.

A model card is untrusted input: every text from it is shortened to one printable line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from soundmark.errors import BundleError
from soundmark.models import card_text
from soundmark.runtime.text import aligned, counted, html_table, one_line, shortened

if TYPE_CHECKING:
    from soundmark.models.bundle import Bundle

MAX_BYTES = 2000  # of a repr


MAX_LAYERS = 15  # displayed; of more layers, the first 8 and the last 6


NAME_CHARACTERS = 26  # of a layer: a row of the table then fits into 80 columns


# ONNX operator → name in the table: layers with weights, and pooling layers.
WITH_WEIGHTS = {"Conv": "Conv", "Gemm": "Dense", "MatMul": "Dense", "BatchNormalization": "BatchNorm"}


POOLING = {
    "MaxPool": "MaxPool",
    "AveragePool": "AveragePool",
    "GlobalAveragePool": "GlobalAveragePool",
    "ReduceMean": "GlobalAveragePool",
}


FLOATS = (1, 10, 11, 16)  # onnx.TensorProto: float32, float16, float64, bfloat16


def lines(bundle: Bundle, columns: int = card_text.SUMMARY_COLUMNS) -> list[tuple[str, str]]:
    """Describe a model in at most nine rows of a heading and a short text: recipe, model card and size.

    Texts of the model card have at most ``columns`` columns.

    >>> dict(lines(model.bundle))["recipe"]
    'notebook-mel, network notebook_cnn'
    """
    card = bundle.card
    kind = "backbone" if "backbone" in card.recipe else "network"
    recipe, network = (one_line(card.recipe.get(key, "unknown"), 25) for key in ("name", kind))
    size = card_text.file_size(len(bundle.graph))
    with suppress(BundleError):  # the graph cannot be parsed
        size += f", {count_parameters(bundle.graph):,} parameters"
    return [("recipe", f"{recipe}, {kind} {network}"), *card_text.summary(card, columns), ("size", size)]


def as_text(bundle: Bundle) -> str:
    """The ``repr`` of a model: at most ten lines.

    >>> print(as_text(model.bundle).splitlines()[2])
      classes      10, single-label: air_conditioner, car_horn, … and 8 more
    """
    rows = (f"  {heading:<{card_text.HEADING_COLUMNS}}  {text}" for heading, text in lines(bundle))
    return "\n".join(["Model", *rows])


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of a network; ``shape`` of its output without the batch axis: [channels, freq, time] or [features]."""

    name: str
    kind: str
    shape: tuple[int | None, ...]
    n_parameters: int

    @property
    def cells(self) -> tuple[str, str, str, int]:
        """The layer as a row of a table."""
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return shortened(self.name, NAME_CHARACTERS), self.kind, f"[batch, {sides}]", self.n_parameters


@dataclass(frozen=True, repr=False)
class LayerTable:
    """The layers of a network from input to logits; print it, or display it in Jupyter.

    A layer that is applied several times with the same weights is listed once. ``n_parameters`` counts all weights that
    the logits depend on, including the statistics of batch normalisation. Of many layers, the first and the last ones
    are displayed, or all if ``complete``.
    """

    layers: tuple[Layer, ...]
    n_parameters: int
    complete: bool = False

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __str__(self) -> str:
        text = aligned([HEADER, *((*texts, f"{n:,}") for *texts, n in self._rows())], left=3)
        rule = "─" * len(text[0])
        return "\n".join([text[0], rule, *text[1:], rule, f"Total parameters: {self.n_parameters:,}"])

    def _rows(self) -> list[tuple[str, str, str, int]]:
        rows = [layer.cells for layer in self.layers]
        if self.complete or len(rows) <= MAX_LAYERS:
            return rows
        hidden = self.layers[8:-6]
        n_parameters = sum(layer.n_parameters for layer in hidden)
        return [*rows[:8], (f"… {len(hidden)} more layers", "", "", n_parameters), *rows[-6:]]

    def __repr__(self) -> str:
        text = str(self)
        if len(text.encode()) <= MAX_BYTES:
            return text
        return f"LayerTable({counted(len(self), 'layer')}, {self.n_parameters:,} parameters; print() shows them)"

    def _repr_html_(self) -> str:
        caption = f"{counted(len(self), 'layer')}, {self.n_parameters:,} parameters"
        return html_table(self._rows(), header=HEADER, caption=caption)


HEADER = ("layer", "type", "output shape", "parameters")


def layer_table(graph: bytes, *, complete: bool = False) -> LayerTable:
    """List the layers of an ONNX ``graph`` that its ``logits`` depend on; ``complete`` displays all of many layers.

    Raises:
        BundleError: the graph cannot be parsed.

    >>> [layer.kind for layer in layer_table(model.bundle.graph)][-1]
    'Dense'
    """
    parsed = _Graph(graph)
    layers: list[Layer] = []
    seen: set[str] = set()
    repeated: set[str] = set()  # outputs of a second pass through the same weights
    for node in parsed.nodes:
        own = parsed.weights_of(node)
        is_repetition = bool(own) and set(own) <= seen
        inputs = [name for name in node.input if name and name not in parsed.weights]
        if is_repetition or (inputs and not own and repeated.issuperset(inputs)):
            repeated.update(node.output)
            continue
        kind = parsed.kind(node)
        if kind:
            new = [name for name in own if name not in seen]
            n_parameters = sum(parsed.weights[name] for name in new)
            layers.append(
                Layer(name=_name(node, own, kind), kind=kind, shape=parsed.shape(node), n_parameters=n_parameters)
            )
        seen.update(own)
    return LayerTable(tuple(layers), sum(parsed.weights[name] for name in seen), complete)


def _name(node: Any, own: list[str], kind: str) -> str:
    """The name of a layer: that of its weights in the exported network, or that of its node."""
    if own:
        return own[0].rsplit(".", 1)[0].removeprefix("network.")
    return "flatten" if kind == "Flatten" else str(node.name.removeprefix("node_"))


def count_parameters(graph: bytes) -> int:
    """Count the weights of an ONNX ``graph`` that its ``logits`` depend on.

    Raises:
        BundleError: the graph cannot be parsed.

    >>> count_parameters(model.bundle.graph) == model.summary().n_parameters
    True
    """
    parsed = _Graph(graph, shapes=False)
    used = {name for node in parsed.nodes for name in parsed.weights_of(node)}
    return sum(parsed.weights[name] for name in used)


class _Graph:
    """A parsed ONNX graph: the nodes that the logits depend on, with their weights and shapes."""

    def __init__(self, graph: bytes, *, shapes: bool = True) -> None:
        model = _parsed(graph, shapes)
        self.weights = {tensor.name: prod(tensor.dims) for tensor in model.graph.initializer if tensor.dims}
        quantised = {tensor.name for tensor in model.graph.initializer if tensor.data_type not in FLOATS}
        self._origin = {name: name for name in self.weights if name not in quantised}
        for node in model.graph.node:  # int8 weights are converted to float32 by a separate node
            if node.op_type == "DequantizeLinear" and node.input[0] in self.weights:
                self._origin[node.output[0]] = node.input[0]
        self._shapes = {
            value.name: [side.dim_value or None for side in value.type.tensor_type.shape.dim]
            for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)
        }
        self.nodes = _ancestors(model.graph, "logits")

    def weights_of(self, node: Any) -> list[str]:
        """The names of the weights of a layer; empty for other nodes."""
        names = node.input if node.op_type in WITH_WEIGHTS else ()
        return list(dict.fromkeys(self._origin[name] for name in names if name in self._origin))

    def kind(self, node: Any) -> str | None:
        """The type of a layer; None for activations and arithmetic."""
        attributes = {attribute.name: attribute for attribute in node.attribute}
        rank = len(self._shapes.get(node.input[0], ())) if node.input else 0
        if node.op_type == "Flatten" or (node.op_type == "Reshape" and rank == 4 and len(self.shape(node)) == 1):
            return "Flatten"
        name = WITH_WEIGHTS.get(node.op_type) if self.weights_of(node) else POOLING.get(node.op_type)
        if name is None or (node.op_type == "ReduceMean" and (rank, len(self.shape(node))) != (4, 1)):
            return None
        kernel = "×".join(map(str, attributes["kernel_shape"].ints)) if "kernel_shape" in attributes else ""
        grouped = node.op_type == "Conv" and "group" in attributes and attributes["group"].i > 1
        return " ".join(part for part in (name, kernel, "grouped" if grouped else "") if part)

    def shape(self, node: Any) -> tuple[int | None, ...]:
        """The shape of a node's output without the batch axis."""
        return tuple(self._shapes.get(node.output[0], ())[1:])


def _parsed(graph: bytes, shapes: bool) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_from_string(graph)
    except DecodeError as error:
        raise BundleError("the model's graph cannot be parsed as ONNX. Train or download the model again.") from error
    return onnx.shape_inference.infer_shapes(model) if shapes else model


def _ancestors(graph: Any, output: str) -> list[Any]:
    """The nodes that an output depends on, in the order of the graph."""
    needed, nodes = {output}, []
    for node in reversed(graph.node):  # ONNX sorts nodes topologically
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    return nodes[::-1]

"""A model in ten lines, and the table of its layers.

The lines come from a card that anybody may have written: every text is one_line and made printable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from soundmark.errors import BundleError, SettingsError
from soundmark.runtime.text import aligned, html_table, one_line, percent

if TYPE_CHECKING:
    from soundmark.models.bundle import Bundle
    from soundmark.models.card import Card

MOST_BYTES = 2000  # of the repr of anything


WEIGHED = {"Conv": "Conv", "Gemm": "Dense", "MatMul": "Dense", "BatchNormalization": "BatchNorm"}


POOLS = {
    "MaxPool": "MaxPool",
    "AveragePool": "AveragePool",
    "GlobalAveragePool": "GlobalAveragePool",
    "ReduceMean": "GlobalAveragePool",
}


FLOATS = (1, 10, 11, 16)  # onnx.TensorProto: float32, float16, float64, bfloat16


def lines(bundle: Bundle) -> list[tuple[str, str]]:
    """What a model is, as pairs of a heading and a short text: about ten.

    >>> dict(lines(model.bundle))["representation"]
    'mel 24×24 at 22050 Hz'
    """
    card, record = bundle.card, bundle.card.training
    shape, rate_hz = card.representation.shape, card.representation.rate_hz
    at = f" at {rate_hz} Hz" if rate_hz else ""
    n_train = "" if record.n_train is None else f", {record.n_train:,} clips"
    try:
        parameters = [("parameters", _count(count_parameters(bundle.graph)))]
    except (SettingsError, BundleError):
        parameters = []
    found = [
        ("classes", _classes(card)),
        ("task", f"{card.task.name} ({card.activation})"),
        ("representation", f"{card.representation.name} {shape[0]}×{shape[1]}{at}"),
        ("window", f"{card.window_s:g} s"),
        ("recipe", f"{card.recipe.get('name', 'unknown')}, network {card.recipe.get('network', 'unknown')}"),
        ("trained on", f"{record.name or 'unknown'}{n_train}"),
        *_scores(card.scores),
        ("licence", record.licence or "unknown"),
        *parameters,
        ("file size", f"{len(bundle.graph) / 1e6:.1f} MB"),
    ]
    return [(heading, one_line(text, 150)) for heading, text in found]


def _classes(card: Card) -> str:
    names = [one_line(label, 30) for label in card.classes]
    return f"{len(names)}: {', '.join(names[:4])}{', …' if len(names) > 4 else ''}"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"


def _scores(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headline figure with its protocol and interval; nothing where none was measured."""
    if not scores:
        return [("accuracy", "not measured: no clips were held out")]
    key = "mean_average_precision" if "mean_average_precision" in scores else "accuracy"
    ends = scores.get(f"{key}_interval")
    interval = ""
    if isinstance(ends, list | tuple) and len(ends) == 2:
        interval = f" (95 % interval {percent(ends[0])} to {percent(ends[1])})"
    n_test = f", {_count(scores['n_test'])} clips" if "n_test" in scores else ""
    heading = "mAP" if key == "mean_average_precision" else "accuracy"
    return [(heading, f"{percent(scores.get(key))} %{interval}, protocol {scores.get('protocol', 'unknown')}{n_test}")]


def as_text(bundle: Bundle) -> str:
    """A model in about ten lines: what its ``repr`` is.

    >>> print(as_text(model.bundle).splitlines()[1])
      classes         10: air_conditioner, car_horn, children_playing, dog_bark, …
    """
    return "\n".join(["Model", *(f"  {heading:<14}  {text}" for heading, text in lines(bundle))])


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of a network: its output's shape after the batch, as [channels, freq, time] or [features]."""

    name: str
    kind: str
    shape: tuple[int | None, ...]
    n_parameters: int

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The layer as a row of text."""
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return one_line(self.name, 56), self.kind, f"[batch, {sides}]", f"{self.n_parameters:,}"


@dataclass(frozen=True, repr=False)
class LayerTable:
    """The layers of a network from input to logits, each set of weights once. ``print`` it, or display it in Jupyter.

    ``n_parameters`` counts every weight on the way to the logits, statistics of batch normalisation included.
    """

    layers: tuple[Layer, ...]
    n_parameters: int

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __str__(self) -> str:
        rows = [HEADER, *(layer.cells for layer in self.layers)]
        text = aligned(rows, left=3)
        rule = "─" * len(text[0])
        return "\n".join([text[0], rule, *text[1:], rule, f"Total parameters: {self.n_parameters:,}"])

    def __repr__(self) -> str:
        text = str(self)
        if len(text.encode()) <= MOST_BYTES:
            return text
        return f"LayerTable({len(self)} layers, {self.n_parameters:,} parameters; print() shows them)"

    def _repr_html_(self) -> str:
        caption = f"{len(self)} layers, {self.n_parameters:,} parameters"
        rows = [[*layer.cells[:3], layer.n_parameters] for layer in self.layers]
        return html_table(rows, header=HEADER, caption=caption)


HEADER = ("layer", "type", "output shape", "parameters")


def layer_table(graph: bytes) -> LayerTable:
    """The layers of an ONNX ``graph`` on the way to its ``logits``.

    Raises:
        SettingsError: the package onnx is not installed.
        BundleError: the graph cannot be read.

    >>> [layer.kind for layer in layer_table(model.bundle.graph)][-1]
    'Dense'
    """
    parsed = _Graph(graph)
    layers: list[Layer] = []
    seen: set[str] = set()
    repeated: set[str] = set()  # what a second pass through the same weights gives
    for node in parsed.nodes:
        own = parsed.weights_of(node)
        again = bool(own) and set(own) <= seen
        inputs = [name for name in node.input if name and name not in parsed.weights]
        if again or (inputs and not own and repeated.issuperset(inputs)):
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
    return LayerTable(tuple(layers), sum(parsed.weights[name] for name in seen))


def _name(node: Any, own: list[str], kind: str) -> str:
    """A layer's name: that of its weights in the network that was exported, else that of its node."""
    if own:
        return own[0].rsplit(".", 1)[0].removeprefix("network.")
    return "flatten" if kind == "Flatten" else str(node.name.removeprefix("node_"))


def count_parameters(graph: bytes) -> int:
    """How many weights an ONNX ``graph`` has on the way to its ``logits``.

    Raises:
        SettingsError: the package onnx is not installed.
        BundleError: the graph cannot be read.

    >>> count_parameters(model.bundle.graph) == model.summary().n_parameters
    True
    """
    parsed = _Graph(graph, shapes=False)
    used = {name for node in parsed.nodes for name in parsed.weights_of(node)}
    return sum(parsed.weights[name] for name in used)


class _Graph:
    """What the table needs of an ONNX graph: the nodes before the logits, the weights of each, and shapes."""

    def __init__(self, graph: bytes, *, shapes: bool = True) -> None:
        model = _parsed(graph, shapes)
        self.weights = {tensor.name: prod(tensor.dims) for tensor in model.graph.initializer if tensor.dims}
        quantised = {tensor.name for tensor in model.graph.initializer if tensor.data_type not in FLOATS}
        self._origin = {name: name for name in self.weights if name not in quantised}
        for node in model.graph.node:  # weights in 8 bits are made floats by a node of their own
            if node.op_type == "DequantizeLinear" and node.input[0] in self.weights:
                self._origin[node.output[0]] = node.input[0]
        self._shapes = {
            value.name: [side.dim_value or None for side in value.type.tensor_type.shape.dim]
            for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)
        }
        self.nodes = _ancestors(model.graph, "logits")

    def weights_of(self, node: Any) -> list[str]:
        """The names of a layer's own weights; none for what is no layer."""
        names = node.input if node.op_type in WEIGHED else ()
        return list(dict.fromkeys(self._origin[name] for name in names if name in self._origin))

    def kind(self, node: Any) -> str | None:
        """What a layer is called; None for activations and arithmetic."""
        given = {attribute.name: attribute for attribute in node.attribute}
        rank = len(self._shapes.get(node.input[0], ())) if node.input else 0
        if node.op_type == "Flatten" or (node.op_type == "Reshape" and rank == 4 and len(self.shape(node)) == 1):
            return "Flatten"
        name = WEIGHED.get(node.op_type) if self.weights_of(node) else POOLS.get(node.op_type)
        if name is None or (node.op_type == "ReduceMean" and (rank, len(self.shape(node))) != (4, 1)):
            return None
        kernel = "×".join(map(str, given["kernel_shape"].ints)) if "kernel_shape" in given else ""
        grouped = node.op_type == "Conv" and "group" in given and given["group"].i > 1
        return " ".join(part for part in (name, kernel, "grouped" if grouped else "") if part)

    def shape(self, node: Any) -> tuple[int | None, ...]:
        """The shape of a node's output after the batch."""
        return tuple(self._shapes.get(node.output[0], ())[1:])


def _parsed(graph: bytes, shapes: bool) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError as error:
        raise SettingsError('the layers of a model are read with onnx: pip install "soundmark[export]".') from error
    try:
        model = onnx.load_from_string(graph)
    except DecodeError as error:
        raise BundleError("the model's graph cannot be read as ONNX. Train or fetch the model again.") from error
    return onnx.shape_inference.infer_shapes(model) if shapes else model


def _ancestors(graph: Any, output: str) -> list[Any]:
    """The nodes that an output is computed from, in the order of the graph."""
    wanted, kept = {output}, []
    for node in reversed(graph.node):  # a node stands behind those that it takes from
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]

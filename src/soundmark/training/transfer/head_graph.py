"""Add a linear head, familiarity and presence to the graph of a backbone: the graph of a model file."""

from __future__ import annotations

import numpy as np

from soundmark.models.pretrained.backbone import Backbone
from soundmark.models.pretrained.graph import Graph
from soundmark.training import calibration
from soundmark.training.calibration import Familiarity, Presence, Standard
from soundmark.training.transfer.linear_head import LinearHead


def model_graph(
    backbone: Backbone,
    head: LinearHead,
    n_classes: int,
    familiarity: Familiarity | None = None,
    presence: Presence | None = None,
) -> bytes:
    """Return an ONNX file with the outputs ``logits`` ``[batch, n_classes]`` and ``embedding`` ``[batch, d]``.

    With ``familiarity`` and ``presence``, which requires it, there are outputs of these names, ``[batch]``. Classes of
    the head after the first ``n_classes`` are left out: the groups of backgrounds.

    >>> graph = Graph()
    >>> graph.output("embedding", graph.input("spectrogram", (2,)))
    >>> graph.output("features", graph.node("Neg", "spectrogram"))
    >>> backbone = Backbone(name="test", graph=graph.to_bytes(), n_features=2, embedding_size=2)
    >>> from soundmark.training.transfer.linear_head import fit_head
    >>> head = fit_head(np.eye(2)[[0, 1, 0, 1]], np.eye(2)[[0, 1, 0, 1]], np.array(["a", "b", "c", "d"]))
    >>> len(model_graph(backbone, head, 2)) > len(backbone.graph)
    True
    """
    graph = Graph.of(backbone.graph, "head/")
    weights = graph.constant("head.weights", head.weights[:, :n_classes])
    bias = graph.constant("head.bias", head.bias[:n_classes])
    graph.output("logits", graph.node("Gemm", "features", weights, bias))
    graph.output("embedding", "embedding")
    if familiarity is not None:
        raw = add_familiarity(graph, familiarity)
        if presence is not None:
            graph.output("presence", _presence(graph, presence, raw, n_classes))
    return graph.to_bytes()


def add_familiarity(graph: Graph, fitted: Familiarity) -> str:
    """Add the output ``familiarity`` ``[batch]``, computed from ``embedding``; return the name of its raw value.

    >>> graph = Graph()
    >>> x = graph.input("embedding", (4,))
    >>> fitted = Familiarity.of(np.random.default_rng(0).normal(size=(60, 4)), np.eye(3)[np.arange(60) % 3])
    >>> add_familiarity(graph, fitted)
    'sub_2'
    """
    raw = _raw_familiarity(graph, fitted)
    scaled = _standardised(graph, raw, "familiarity/scaled", Standard(fitted.middle, fitted.spread))
    graph.output("familiarity", graph.node("Sigmoid", scaled))
    return raw


def _raw_familiarity(graph: Graph, fitted: Familiarity) -> str:
    """Add ``Familiarity.raw`` of the embedding, ``[batch]``."""

    def constant(name: str, values: np.ndarray) -> str:
        return graph.constant(f"familiarity/{name}", values)

    offset = graph.node("Sub", "embedding", constant("mean", fitted.mean))
    z = graph.node("Mul", offset, constant("scale", fitted.scale))
    to_origin = _sum(graph, graph.node("Mul", graph.node("MatMul", z, constant("overall", fitted.overall)), z))
    products = graph.node("MatMul", z, constant("within", fitted.within))
    means = fitted.classes.astype(np.float64)
    squares = constant("squares", (means @ fitted.within * means).sum(1))
    shared = graph.node("MatMul", products, constant("classes", -2 * means.T))
    # (z − m)ᵀA(z − m) = zᵀAz − 2·zᵀAm + mᵀAm; the first term is the same for all classes
    nearest = _smallest(graph, graph.node("Add", shared, squares))
    distance = graph.node("Add", _sum(graph, graph.node("Mul", products, z)), nearest)
    return graph.node("Sub", to_origin, distance)


def _presence(graph: Graph, fitted: Presence, raw: str, n_classes: int) -> str:
    """Add ``Presence`` of the logits, the features and the raw familiarity, ``[batch]``."""
    temperature = graph.constant("presence/temperature", fitted.temperature)
    weights = graph.constant("presence/weights", fitted.weights)
    gemm = graph.node("Gemm", "features", weights, graph.constant("presence/bias", fitted.bias))
    backgrounds = graph.node("Div", gemm, temperature)  # [batch, groups]
    z = graph.node("Div", "logits", temperature)
    if fitted.background_rows:
        sounds = np.setdiff1d(np.arange(n_classes), fitted.background_rows)
        own = graph.node("Gather", z, graph.constant("background/rows", np.array(fitted.background_rows)), axis=1)
        backgrounds = graph.node("Concat", own, backgrounds, axis=1)
        z = graph.node("Gather", z, graph.constant("background/others", sounds), axis=1)
    background = _log_sum(graph, backgrounds, _largest(graph, backgrounds))
    largest = _largest(graph, z)
    odds = graph.node("Sub", _log_sum(graph, z, largest), background)
    margin = graph.node("Sub", largest, background)
    known = graph.node(
        "Add",
        _standardised(graph, raw, "presence/familiarity", fitted.familiarity),
        _standardised(graph, margin, "presence/margin", fitted.margin),
    )
    if fitted.novelty is not None:
        scaled = graph.node("Mul", "features", graph.constant("novelty/scale", fitted.novelty.scale))
        excess = graph.node("Add", scaled, graph.constant("novelty/shift", fitted.novelty.shift))
        novelty = _standardised(graph, _largest(graph, excess), "presence/novelty", fitted.novelty_standard)
        known = graph.node("Sub", known, novelty)
    known = graph.node("Div", known, graph.constant("presence/spread", fitted.spread))
    steeper = graph.node("Mul", odds, graph.constant("presence/slope", calibration.ODDS_SLOPE))
    shifted = graph.node("Sub", steeper, graph.constant("presence/offset", calibration.ODDS_OFFSET))
    return graph.node("Mul", graph.node("Sigmoid", shifted), graph.node("Sigmoid", known))


def _standardised(graph: Graph, x: str, name: str, by: Standard) -> str:
    """Add (x − mean) / spread."""
    offset = graph.node("Sub", x, graph.constant(f"{name}/mean", by.mean))
    return graph.node("Div", offset, graph.constant(f"{name}/spread", by.spread))


def _log_sum(graph: Graph, x: str, largest: str) -> str:
    """Add ln Σ exp(x) over the columns, without overflow: ``largest`` is the maximum of each row."""
    column = graph.node("Unsqueeze", largest, graph.constant("axis", np.array([1])))
    total = _sum(graph, graph.node("Exp", graph.node("Sub", x, column)))
    return graph.node("Add", graph.node("Log", total), largest)


def _sum(graph: Graph, x: str) -> str:
    return graph.node("ReduceSum", x, graph.constant("axis", np.array([1])), keepdims=0)


def _largest(graph: Graph, x: str) -> str:
    return graph.node("ReduceMax", x, graph.constant("axis", np.array([1])), keepdims=0)


def _smallest(graph: Graph, x: str) -> str:
    return graph.node("ReduceMin", x, graph.constant("axis", np.array([1])), keepdims=0)

"""The parts of a model's graph: the backbone, to fit another head on; and what follows the embedding, to score it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.errors import BundleError
from soundmark.models import bundle
from soundmark.models.bundle import Bundle
from soundmark.models.pretrained.backbone import Backbone
from soundmark.models.streaming import WindowScores

if TYPE_CHECKING:
    import onnx

ROWS = 4096  # embeddings that are scored at a time


def backbone_of(model: Bundle) -> Backbone:
    """Return the backbone of a model: its graph up to the features of the head, or up to the embedding.

    Raises:
        BundleError: the model has no embedding output.

    >>> backbone_of(embedder.bundle)
    Backbone('backbone', 576 features)
    """
    found = _parsed(model)
    produced = {output for node in found.graph.node for output in node.output}
    if "embedding" not in produced:
        raise BundleError(f'"{model.name}" has no embedding output, so no other head can be fitted on it.')
    if "features" not in produced:
        _add_identity(found, "embedding", "features")
    part = _part(found, (), ("embedding", "features"))
    card = model.card
    shape = (1, *card.representation.shape)
    zeros = card.representation.batch(np.zeros(shape, np.float32))
    embedding, features = bundle.session(part, threads=1).run(
        ["embedding", "features"], {card.representation.input_name: zeros}
    )
    return Backbone(
        name=str(card.recipe.get("backbone") or "backbone"),
        graph=part,
        n_features=features.shape[1],
        embedding_size=embedding.shape[1],
        input_name=card.representation.input_name,
        rows_per_run=model.checked.rows_per_run,
    )


class EmbeddingScorer:
    """Scores windows of which only the embedding is known, such as those of an index.

    Raises:
        BundleError: the model's scores depend on more than its embedding.

    >>> scorer = EmbeddingScorer(embedder.bundle)
    Traceback (most recent call last):
    soundmark.errors.BundleError: the scores of "the model" cannot be computed from its embeddings.
    """

    def __init__(self, model: Bundle) -> None:
        found = _parsed(model)
        self._model = model
        self._names = [output.name for output in found.graph.output if output.name != "embedding"]
        part = _part(found, ("embedding",), self._names)
        if {value.name for value in _load(part).graph.input} != {"embedding"}:
            raise BundleError(f'the scores of "{model.name}" cannot be computed from its embeddings.')
        self._session = bundle.session(part, threads=1)

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the scores that decide on events, float32 ``[n, classes]``, of ``embeddings`` ``[n, d]``."""
        parts = [self._scores(embeddings[at : at + ROWS]) for at in range(0, len(embeddings), ROWS)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self._model.card.classes)), np.float32)

    def _scores(self, embeddings: np.ndarray) -> np.ndarray:
        values = self._session.run(self._names, {"embedding": np.ascontiguousarray(embeddings, np.float32)})
        found = dict(zip(self._names, values, strict=True))
        times = np.zeros(len(embeddings))
        card = self._model.card
        scored = WindowScores(
            times,
            times,
            self._model.activate(found["logits"]),
            None if card.unknown is None else found.get("familiarity"),
            [[]] * len(embeddings),
            found.get("presence"),
        )
        return scored.event_scores(card.unknown)


def _parsed(model: Bundle) -> onnx.ModelProto:
    _ = model.checked  # a graph that is not allowed is not read
    return _load(model.graph)


def _load(data: bytes) -> onnx.ModelProto:
    import onnx

    return onnx.load_from_string(data)


def _add_identity(model: onnx.ModelProto, value: str, name: str) -> None:
    from onnx import helper

    model.graph.node.append(helper.make_node("Identity", [value], [name], name=name))


def _part(model: onnx.ModelProto, inputs: tuple[str, ...], outputs: Any) -> bytes:
    """Return the part of a graph from ``inputs`` to ``outputs``; what else it needs of the model's input remains one.

    An input that is a copy of a value replaces the value.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    producer = {output: node for node in graph.node for output in node.output}
    given = set(inputs)
    copies = []
    for name in inputs:
        node = producer.get(name)
        if node is not None and node.op_type == "Identity":
            copies.append(helper.make_node("Identity", [name], [node.input[0]], name=f"{name}/copy"))
            given.add(node.input[0])
    wanted, needed = [name for name in outputs if name not in given], set()
    while wanted:
        name = wanted.pop()
        if name not in needed and name not in given:
            needed.add(name)
            if name in producer:
                wanted += producer[name].input
    nodes = [node for node in graph.node if needed.intersection(node.output)]
    own = [value for value in graph.input if value.name in needed]
    own += [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", None]) for name in inputs]
    part = helper.make_graph(
        [*copies, *nodes],
        "soundmark",
        own,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [tensor for tensor in graph.initializer if tensor.name in needed],
    )
    made = helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    data: bytes = made.SerializeToString(deterministic=True)
    return data

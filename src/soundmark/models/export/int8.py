"""Static int8 quantisation of a model's graph: 8-bit weights and arithmetic."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.datasets.feature_store import Rows
from soundmark.models.export import onnx_graph

BATCH = 16  # spectrograms per calibration batch: the range of a tensor is the mean over the ranges of the batches


def quantise_graph(graph: bytes, spectrograms: np.ndarray | Rows, chosen: np.ndarray) -> bytes:
    """Quantise a graph to int8, calibrated on ``spectrograms[chosen]``, of ``[n, freq, time]``.

    >>> silence = np.zeros((2, 24, 24), np.float32)
    >>> len(model.bundle.graph) / len(quantise_graph(model.bundle.graph, silence, np.arange(2))) > 2
    True
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = onnx.load_from_string(onnx_graph.with_folded_batch_norm(graph))
    quantised = _large_convolutions(model.graph)
    if not quantised:
        return onnx_graph.with_int8_weights(model.SerializeToString())
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            str(path),
            _FirstClip(spectrograms, chosen),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=quantised,
            extra_options={"TensorQuantOverrides": _ranges(model, quantised, spectrograms, chosen)},
        )
        return onnx_graph.with_int8_weights(onnx_graph.without_metadata(path.read_bytes()))


def _ranges(
    model: Any, convolutions: list[str], spectrograms: np.ndarray | Rows, chosen: np.ndarray
) -> dict[str, list[dict[str, np.ndarray]]]:
    """Measure the range of inputs and outputs of ``convolutions``: the mean over the batches, so that one loud clip has
    less influence.

    ONNX Runtime's own calibration computes a batch at once and keeps all its tensors: 0.7 GB for windows of 4 s. Here,
    one spectrogram is computed at once.
    """
    import onnx
    import onnxruntime

    nodes = [node for node in model.graph.node if node.name in convolutions]
    names = sorted({name for node in nodes for name in (node.input[0], node.output[0])} - {"spectrogram"})
    traced = onnx.ModelProto()
    traced.CopyFrom(model)
    del traced.graph.output[:]
    traced.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(traced.SerializeToString(), options, providers=["CPUExecutionProvider"])
    lowest, highest = [], []  # per batch, [tensors]
    for batch in np.array_split(chosen, -(-len(chosen) // BATCH)):
        ranges = [_range_of_each(session, names, spectrograms[[index]]) for index in batch]
        lowest.append(np.min([low for low, _ in ranges], axis=0))
        highest.append(np.max([high for _, high in ranges], axis=0))
    means = zip(np.mean(lowest, axis=0), np.mean(highest, axis=0), strict=True)
    found = [{"rmin": np.array(low), "rmax": np.array(high)} for low, high in means]
    return {name: [limits] for name, limits in zip(["spectrogram", *names], found, strict=True)}


def _range_of_each(session: Any, names: list[str], spectrogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the minimum and the maximum, float32 [1 + tensors], of a spectrogram [1, freq, time] and the tensors."""
    batch = np.ascontiguousarray(spectrogram[:, np.newaxis], np.float32)
    tensors = [batch, *session.run(names, {"spectrogram": batch})]
    return np.array([tensor.min() for tensor in tensors]), np.array([tensor.max() for tensor in tensors])


def _large_convolutions(graph: Any) -> list[str]:
    """The names of the large convolutions that mix channels; a convolution without a name gets one."""
    names = []
    for number, node in enumerate(graph.node):
        groups = {each.name: each.i for each in node.attribute}.get("group", 1)
        if (
            node.op_type == "Conv"
            and groups == 1
            and onnx_graph.constant(graph, node.input[1]).size >= onnx_graph.MIN_WEIGHTS
        ):
            node.name = node.name or f"convolution_{number}"
            names.append(node.name)
    return names


class _FirstClip:
    """The reader that ONNX Runtime's calibration needs: it returns one spectrogram, then None."""

    def __init__(self, spectrograms: np.ndarray | Rows, chosen: np.ndarray) -> None:
        self.batches = iter([np.ascontiguousarray(spectrograms[chosen[:1]][:, np.newaxis], np.float32)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"spectrogram": batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the advice that the quantiser logs to the root logger."""
    root, handler = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)

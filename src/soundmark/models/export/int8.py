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

BATCH = 16  # spectrograms per calibration batch


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
            _Clips(spectrograms, chosen),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=quantised,
            extra_options={"CalibMovingAverage": True},  # mean over the batches' ranges: less influence of a loud clip
        )
        return onnx_graph.with_int8_weights(onnx_graph.without_metadata(path.read_bytes()))


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


class _Clips:
    """The reader that ONNX Runtime's calibration needs: it returns the next batch, or None after the last."""

    def __init__(self, spectrograms: np.ndarray | Rows, chosen: np.ndarray) -> None:
        parts = np.array_split(chosen, -(-len(chosen) // BATCH))
        self.batches = (np.ascontiguousarray(spectrograms[part][:, np.newaxis], np.float32) for part in parts)

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

"""The graph of a model with 8-bit weights and arithmetic (static quantisation)."""

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

BATCH = 16  # spectrograms that the graph is given at a time while it is calibrated


def quantise_graph(graph: bytes, spectrograms: np.ndarray | Rows, chosen: np.ndarray) -> bytes:
    """The graph of a model in 8 bits, calibrated on the ``chosen`` of ``spectrograms`` ``[n, freq, time]``.

    >>> silence = np.zeros((2, 24, 24), np.float32)
    >>> len(model.bundle.graph) / len(quantise_graph(model.bundle.graph, silence, np.arange(2))) > 2
    True
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = onnx.load_from_string(onnx_graph.with_folded_batch_norm(graph))
    computed = _mixing(model.graph)
    if not computed:
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
            nodes_to_quantize=computed,
            extra_options={"CalibMovingAverage": True},  # the mean of the batches' bounds: one loud clip counts less
        )
        return onnx_graph.with_int8_weights(onnx_graph.without_metadata(path.read_bytes()))


def _mixing(graph: Any) -> list[str]:
    """The names of the large convolutions that mix channels, which are given one where they have none."""
    names = []
    for number, node in enumerate(graph.node):
        groups = {each.name: each.i for each in node.attribute}.get("group", 1)
        if (
            node.op_type == "Conv"
            and groups == 1
            and onnx_graph.constant(graph, node.input[1]).size >= onnx_graph.SMALLEST
        ):
            node.name = node.name or f"convolution_{number}"
            names.append(node.name)
    return names


class _Clips:
    """Spectrograms as ONNX Runtime's calibration asks for them: the next batch, or None after the last."""

    def __init__(self, spectrograms: np.ndarray | Rows, chosen: np.ndarray) -> None:
        parts = np.array_split(chosen, -(-len(chosen) // BATCH))
        self.batches = (np.ascontiguousarray(spectrograms[part][:, np.newaxis], np.float32) for part in parts)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"spectrogram": batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice, which it gives to the root logger, from whoever listens there."""
    root, nobody = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(nobody)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(nobody)

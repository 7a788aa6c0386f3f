"""Export any torch network with torch's own exporter, as models of version 0.1 were."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from soundmark.models.export import onnx_graph


def torch_export(network: nn.Module, shape: tuple[int, int]) -> bytes:
    """Export ``network``: input ``spectrogram`` ``[batch, 1, *shape]``, output ``logits``. Takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # raised by the exporter itself
        program = torch.onnx.export(
            network.eval(),
            (torch.zeros(2, 1, *shape),),
            dynamo=True,
            verbose=False,
            input_names=["spectrogram"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    return onnx_graph.without_metadata(program.model_proto.SerializeToString())

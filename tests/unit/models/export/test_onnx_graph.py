"""Changes to ONNX graphs: folded batch normalisation, and no metadata of the machine."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from soundmark.models import bundle
from soundmark.models.export import onnx_graph
from support import torch_mobilenet
from support.torch_export import torch_export

pytestmark = pytest.mark.slow


def test_folding_batch_normalisation_keeps_the_output():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch_mobilenet.TwoViews()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.1)
    original = torch_export(network, (64, 100))
    folded = onnx_graph.with_folded_batch_norm(original)
    operators = [node.op_type for node in onnx.load_from_string(folded).graph.node]
    assert "BatchNormalization" not in operators
    assert len(folded) < len(original)
    x = {"spectrogram": np.random.default_rng(0).normal(0, 1, (2, 1, 64, 100)).astype(np.float32)}
    before, after = (bundle.session(each).run(["logits"], x)[0] for each in (original, folded))
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)


def test_a_graph_without_metadata_contains_no_paths_of_the_machine():
    graph = torch_export(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), (4, 4))  # removes them
    assert b"stack_trace" not in graph
    assert b".py" not in graph

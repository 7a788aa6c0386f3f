"""Changes to ONNX graphs: folded batch normalisation, and no metadata of the machine."""

import numpy as np
import onnx
import pytest
from torch import nn

from soundmark.models import bundle
from soundmark.models.export import onnx_graph
from support.models import two_views_graph
from support.torch_export import torch_export

pytestmark = pytest.mark.slow


def test_folding_batch_normalisation_keeps_the_output():
    original = two_views_graph()
    folded = onnx_graph.with_folded_batch_norm(original)
    operators = [node.op_type for node in onnx.load_from_string(folded).graph.node]
    assert "BatchNormalization" not in operators
    assert len(folded) < len(original)
    x = {"spectrogram": np.random.default_rng(0).normal(0, 1, (2, 1, 16, 20)).astype(np.float32)}
    before, after = (bundle.session(each).run(["logits"], x)[0] for each in (original, folded))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    assert np.ptp(before) > 1


def test_a_graph_without_metadata_contains_no_paths_of_the_machine():
    graph = torch_export(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), (4, 4))  # removes them
    assert b"stack_trace" not in graph
    assert b".py" not in graph

"""The measured filter resamples as soxr does."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from soundmark import audio
from soundmark.models import bundle
from soundmark.models.export.front_end import Nodes
from soundmark.models.export.resampling import add_resampling, polyphase_filter

RATES = [(48_000, 32_000), (48_000, 22_050), (44_100, 22_050), (44_100, 32_000), (16_000, 22_050), (96_000, 22_050)]


def resampled(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    nodes, found = Nodes("r"), polyphase_filter(from_hz, to_hz)
    result = add_resampling(nodes, "x", samples.shape[1], found)
    graph = helper.make_graph(
        nodes.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", samples.shape[1]])],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)], nodes.constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bundle.session(model.SerializeToString()).run(None, {"x": samples})[0]


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("rest", [0, 7, 401])
def test_noise_is_resampled_as_by_soxr(from_hz, to_hz, rest):
    samples = np.random.default_rng(0).uniform(-1, 1, (2, from_hz // 2 + rest)).astype(np.float32)
    found = resampled(samples, from_hz, to_hz)
    expected = np.stack([audio.resample(row, from_hz, to_hz) for row in samples])
    assert found.shape == expected.shape
    atol = 5e-4 if from_hz == 96_000 else 2e-6  # at 96 kHz, the first twenty samples differ by up to −70 dB
    np.testing.assert_allclose(found, expected, atol=atol)


@pytest.mark.parametrize("at", [0, 1, 3, 4_799, 4_798])
def test_clicks_at_the_ends(at):
    samples = np.zeros((1, 4_800), np.float32)
    samples[0, at] = 1
    np.testing.assert_allclose(
        resampled(samples, 48_000, 22_050)[0], audio.resample(samples[0], 48_000, 22_050), atol=2e-6
    )

"""A model that takes waveforms: the page shows a mel spectrogram, and explains scores on its frequencies."""

import base64
import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.spectrograms import Waveform
from support.serving import running
from support.sounds import RATE_HZ, pcm

RATE = 16_000


def waveform_model() -> Model:
    """A model of windows of 1 s whose logit of "loud" is 20 times the mean magnitude, less 1, without an embedding."""
    weights = np.stack([np.full(RATE, 20 / RATE), np.zeros(RATE)], axis=1).astype(np.float32)
    bias = np.array([-1, 0], np.float32)
    nodes = [
        helper.make_node("Abs", ["waveform"], ["magnitude"]),
        helper.make_node("Gemm", ["magnitude", "weights", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "loudness",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", RATE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    representation = Waveform(rate_hz=RATE, window_samples=RATE)
    card = Card(classes=("loud", "quiet"), representation=representation, window_s=1.0)
    return Model(Bundle(model.SerializeToString(), card))


@pytest.fixture(scope="module")
def server():
    with running(waveform_model()) as found:
        yield found


def test_a_recording_has_tiles_of_the_frequencies_that_are_declared(server, sound):
    updates = [json.loads(line) for line in server.classify(sound, format="updates").text.splitlines()]
    tiles = [each for each in updates if each["kind"] == "tile"]
    rows = len(updates[0]["spectrogram"]["frequencies_hz"])
    assert {tile["rows"] for tile in tiles} == {rows}
    assert tiles[-1]["stop_s"] == pytest.approx(12.0, abs=1e-3)
    assert updates[-1]["kind"] == "result"


def test_live_sound_has_tiles(server, samples):
    messages = server.listen(pcm(samples), rate=RATE_HZ, spectrogram="true")
    assert sum(message["kind"] == "tile" for message in messages) == pytest.approx(48, abs=1)
    assert messages[-1]["kind"] == "ended"


def test_a_part_is_explained(server, sound):
    found = server.post("/v1/explain", sound, params={"start": 3, "stop": 4}).json()
    assert (found["start_s"], found["stop_s"]) == (3.0, 4.0)
    assert len(base64.b64decode(found["importance"])) == found["rows"] * found["columns"]
    assert all(3.0 <= region["start_s"] < region["stop_s"] <= 4.01 for region in found["regions"])

"""The contract of OpenSoundscape 0.13.2: what ``ONNXModel.__init__``, ``batch_forward`` and ``predict`` read and do."""

import json

import numpy as np
import onnxruntime
import pytest

from soundmark.models.export.targets.opensoundscape import build
from support.exports import REPRESENTATIONS, small_model

pytestmark = pytest.mark.slow


class Loaded:
    """``ONNXModel`` without torch: the same reads of the same metadata, the same input and outputs."""

    def __init__(self, path: str) -> None:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
        self.sample_rate = int(metadata["sample_rate"])
        self.sample_duration = float(metadata["sample_duration"])
        self.classes = json.loads(metadata["classes"])
        self.class_outputs_key = metadata["class_outputs_key"]
        self.embedding_outputs_key = metadata.get("embedding_outputs_key")
        self.session, self.output_names = session, [output.name for output in session.get_outputs()]

    def batch_forward(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        stacked = np.stack([samples[np.newaxis, :] for samples in windows])  # add_channel_dim
        outputs = self.session.run(None, {self.session.get_inputs()[0].name: stacked})
        return dict(zip(self.output_names, outputs, strict=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["mel", "logmel"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_it_loads_the_file_and_gets_the_probabilities(name, activation, tmp_path):
    model = small_model(REPRESENTATIONS[name], activation, unknown=None)
    (tmp_path / "model.onnx").write_bytes(build(model)[""])
    loaded = Loaded(str(tmp_path / "model.onnx"))
    assert (loaded.sample_rate, loaded.sample_duration) == (model.card.representation.input_rate_hz, 4.0)
    assert loaded.classes == ["dog", "siren", "ärger"]
    n = round(loaded.sample_rate * loaded.sample_duration)
    windows = np.random.default_rng(0).normal(0, 0.1, (3, n)).astype(np.float32)
    outputs = loaded.batch_forward(windows)
    logits = outputs[loaded.class_outputs_key]
    found = softmax(logits) if activation == "softmax" else 1 / (1 + np.exp(-logits))
    for window, row in zip(windows, found, strict=True):
        np.testing.assert_allclose(row, model.scores(window, loaded.sample_rate).mean(), atol=1e-4)
    embedding = outputs[loaded.embedding_outputs_key]
    spectrograms = np.stack([model.card.representation(window, loaded.sample_rate) for window in windows])
    np.testing.assert_allclose(embedding, model.bundle.run(spectrograms, "embedding"), atol=1e-4)


def test_soundmark_takes_the_file_as_a_backbone(tmp_path):
    from soundmark.models.pretrained.backbone_file import read_backbone_file

    model = small_model(REPRESENTATIONS["mel"])
    (tmp_path / "model.onnx").write_bytes(build(model)[""])
    found = read_backbone_file(str(tmp_path / "model.onnx"), model.card.representation)
    assert (found.output, found.representation.rate_hz, found.representation.window_samples) == (
        "embedding",
        22050,
        88200,
    )

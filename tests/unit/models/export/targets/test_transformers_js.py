"""The contract of transformers.js 4.3: the files that its pipeline reads, and what it does with them."""

import json

import numpy as np
import onnxruntime
import pytest

from soundmark.errors import SettingsError
from soundmark.models.export.targets.transformers_js import build
from support.exports import REPRESENTATIONS, small_model

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["mel", "logmel"])
@pytest.mark.parametrize("seconds", [0.01, 1.0, 4.0, 4.19, 4.3, 11.3])
def test_the_pipeline_returns_the_classes_of_the_model(name, seconds):
    model = small_model(REPRESENTATIONS[name])
    files = build(model)
    preprocessor, config = (json.loads(files[f"{file}.json"]) for file in ("preprocessor_config", "config"))
    assert (preprocessor["feature_extractor_type"], preprocessor["do_normalize"]) == ("Wav2Vec2FeatureExtractor", False)
    assert (config["model_type"], config["transformers.js_config"]["dtype"]) == ("wav2vec2", "fp32")
    samples = np.random.default_rng(0).normal(0, 0.1, max(1, int(seconds * preprocessor["sampling_rate"])))
    session = onnxruntime.InferenceSession(files["onnx/model.onnx"], providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input_values": samples[None].astype(np.float32)})
    scores = np.exp(logits[0]) / np.exp(logits[0]).sum()
    found = {config["id2label"][str(row)]: score for row, score in enumerate(scores)}
    expected = model.classify(samples.astype(np.float32), preprocessor["sampling_rate"], unknown=False)
    assert found == pytest.approx({entry["label"]: entry["score"] for entry in expected}, abs=1e-4)


def test_sure_answers_stay_finite():
    model = small_model(REPRESENTATIONS["mel"], temperature=1e-3)
    session = onnxruntime.InferenceSession(build(model)["onnx/model.onnx"], providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input_values": np.zeros((1, 88200), np.float32)})
    assert np.isfinite(logits).all()


def test_multi_label_models_are_refused():
    with pytest.raises(SettingsError, match="multi-label, but transformers.js applies a softmax.*--page"):
        build(small_model(REPRESENTATIONS["mel"], "sigmoid", unknown=None))

"""The contract of BirdNET-Go: how it detects a model, reads labels, and turns the output into confidences."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from soundmark import audio
from soundmark.errors import SettingsError
from soundmark.models.export.targets.birdnet_go import build, label_text
from soundmark.models.pretrained import named_models
from soundmark.spectrograms import LogMel, Mel
from support.exports import REPRESENTATIONS, small_model

pytestmark = pytest.mark.slow


def confidences(files: dict, samples: np.ndarray, sensitivity: float = 1.0) -> dict[str, float]:
    """What detection.go, classifier.go, labels.go and analyze.go do with three seconds at 48 kHz."""
    session = onnxruntime.InferenceSession(files["model.onnx"], providers=["CPUExecutionProvider"])
    (graph_input,), outputs = session.get_inputs(), session.get_outputs()
    assert len(graph_input.shape) >= 2
    assert graph_input.shape[-1] == 144_000  # BirdNET 2.4, with one output: the logits
    assert len(outputs) == 1
    assert outputs[0].shape[-1] != 1024  # that would be an embedding
    labels = [line.strip() for line in files["labels.txt"].decode().split("\n") if line.strip()]
    assert len(labels) == outputs[0].shape[-1]
    assert all(len(label.split("_")) == 2 for label in labels)  # scientific name and common name
    (logits,) = session.run(None, {graph_input.name: samples.reshape(1, 144_000)})
    return dict(zip(labels, 1 / (1 + np.exp(-sensitivity * logits[0].astype(float))), strict=True))


@pytest.mark.parametrize("name", ["mel", "logmel", "logmel-scratch"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("window_s", [0.7, 4.0])
def test_its_confidences_are_the_probabilities_of_the_model(name, activation, window_s):
    model = small_model(REPRESENTATIONS[name], activation, unknown=None, window_s=window_s)
    files = build(model)
    rng = np.random.default_rng(0)
    for samples in (rng.normal(0, 0.1, 144_000), np.sin(np.arange(144_000) / 9) * np.linspace(0, 1, 144_000)):
        found = confidences(files, samples.astype(np.float32))
        expected = model.scores(samples.astype(np.float32), 48_000).mean()
        np.testing.assert_allclose(list(found.values()), expected, atol=1e-4)
    assert list(found) == ["dog_dog", "siren_siren", "ärger_ärger"]


def test_a_real_siren(mn04_weights, shared):
    model = named_models.load("audioset")
    (source,) = (shared / "urbansound8k" / "flac").glob("fold*/157867-8-0-0.*")
    sound = audio.read(source)
    samples = audio.resample(sound.samples, sound.rate_hz, 48_000)[:144_000]
    samples = np.pad(samples, (0, 144_000 - len(samples)))
    found = confidences(build(model), samples)
    np.testing.assert_allclose(list(found.values()), model.scores(samples, 48_000).mean(), atol=1e-4)
    assert "iren" in max(found, key=found.get)


def test_sure_answers_stay_finite():
    model = small_model(Mel(), temperature=1e-3)
    found = confidences(build(model), np.zeros(144_000, np.float32))
    assert max(found.values()) == pytest.approx(1, abs=1e-6)
    assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("car_horn", "car horn_car horn"),
        ("dog", "dog_dog"),
        ("Turdus merula_Eurasian Blackbird", "Turdus merula_Eurasian Blackbird"),
        ("two\nlines_and_more", "two lines and more_two lines and more"),
        ("_", "(no name)_(no name)"),
        ("Turdus merula_Eurasian\nBlackbird", "Turdus merula_Eurasian Blackbird"),
        ("a\x1b[31m\0", "a\ufffd[31m\ufffd_a\ufffd[31m\ufffd"),
    ],
)
def test_labels(name, label):
    assert label_text(name) == label


def test_classes_that_would_have_the_same_label_are_refused():
    for classes in (("car_horn", "car horn", "dog"), ("", "_", "dog")):
        with pytest.raises(SettingsError, match=f'"{classes[0]}" and "{classes[1]}" have the same name in BirdNET-Go'):
            build(small_model(Mel(), classes=classes))


def test_models_that_it_would_misunderstand_are_refused():
    model = small_model(Mel())
    many = replace(model, bundle=replace(model.bundle, card=replace(model.card, classes=tuple(map(str, range(1024))))))
    with pytest.raises(SettingsError, match="has 1024 classes, and BirdNET-Go takes an output of exactly this size"):
        build(many)
    bats = small_model(LogMel(rate_hz=96_000, f_max_hz=45_000.0))
    with pytest.raises(SettingsError, match="needs audio at 96000 Hz, but BirdNET-Go records at 48000 Hz"):
        build(bats)

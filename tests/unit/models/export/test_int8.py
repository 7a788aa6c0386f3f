"""int8 models: size, calibration clips, scores, and the refusal of a loss in accuracy."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime.quantization
import pytest
import torch

from soundmark import audio
from soundmark.datasets import Dataset
from soundmark.errors import BundleError, DatasetError, SettingsError
from soundmark.evaluation import quantisation
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model, load
from soundmark.models.export import int8, waveform
from soundmark.models.training_record import TrainingRecord
from soundmark.spectrograms import LogMel, Mel, Representation
from soundmark.training import networks
from soundmark.training.epochs import onnx_export
from support.commands import run_soundmark
from support.exports import REPRESENTATIONS
from support.memory import run_measured
from support.models import random_transfer_graph

pytestmark = pytest.mark.slow


def untrained(name: str, r: Representation, city: Dataset, **record: object) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "mn04":
            graph = random_transfer_graph(r.shape, 10)
        else:
            graph = onnx_export.export_network(networks.build(name, shape=r.shape, n_classes=10), r.shape)
    record = {"name": city.name, "fingerprint": city.fingerprint, "protocol": "folds", "test_fold": 3, **record}
    card = Card(
        classes=city.classes,
        representation=r,
        window_s=4.0,
        training=TrainingRecord.from_json(record),
        scores={"protocol": "folds", "n_test": 20},
    )
    return Model(Bundle(graph, card))


@pytest.mark.parametrize(
    ("name", "representation"),
    [("notebook_cnn", Mel()), ("resnet", REPRESENTATIONS["logmel-scratch"]), ("mn04", LogMel(size=(128, 100)))],
)
def test_int8_model_has_at_most_a_third_of_the_size(name, representation, city, cache, tmp_path, monkeypatch):
    calibration_clips = []
    quantise_graph = int8.quantise_graph
    monkeypatch.setattr(
        int8, "quantise_graph", lambda g, s, chosen: calibration_clips.append(chosen) or quantise_graph(g, s, chosen)
    )
    monkeypatch.setattr(quantisation, "MAX_LOSS", 1.0)  # the model is untrained
    model = untrained(name, representation, city)
    small = quantisation.quantise(model, city, jobs=1)
    assert small.size[0] / small.size[1] >= 3
    assert set(city.fold_of[calibration_clips[0]].tolist()) == {1, 2}  # no test clips
    assert small.note == "fold 3, which was held out from the model's training"
    assert small.after.n == 20
    assert small.bundle.card.scores == {"protocol": "folds", **small.after.brief()}  # not those of the float32 model
    small.bundle.write(tmp_path / "small.onnx")
    loaded = load(tmp_path / "small.onnx")
    assert loaded.card.training.int8.calibrated_on == 40
    operators = {node.op_type for node in onnx.load_from_string(loaded.bundle.graph).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    clip = city.clips[0].path
    probabilities = [each.scores(clip).probabilities for each in (model, loaded)]
    assert 0 < np.abs(probabilities[0] - probabilities[1]).max() < 0.1
    agreement = waveform.check_export(
        loaded, waveform.with_front_end(loaded), [audio.read(clip, rate_hz=representation.rate_hz).samples]
    )
    assert agreement.probability < waveform.INT8_TOLERANCE
    assert agreement.spectrogram < waveform.SPECTROGRAM_TOLERANCE
    with pytest.raises(SettingsError, match="is already int8"):
        quantisation.quantise(loaded, city)


@pytest.mark.parametrize(
    ("protocol", "note"),
    [
        ("all", "all clips except those used for calibration; the model was trained on all of them"),
        ("x", "all clips except those used for calibration; the model was trained on"),
    ],
)
def test_note_says_if_no_clips_were_held_out(protocol, note, city, cache, monkeypatch):
    monkeypatch.setattr(quantisation, "MAX_LOSS", 1.0)
    small = quantisation.quantise(untrained("notebook_cnn", Mel(size=(24, 24)), city, protocol=protocol), city, jobs=1)
    assert small.note.startswith(note)
    assert (small.calibrated_on, small.after.n) == (30, 30)


def test_loss_of_accuracy_and_unknown_classes_are_refused(city, cache):
    model = untrained("notebook_cnn", Mel(size=(24, 24)), city)
    high, low = (
        type("Summary", (), {"n": 1000, "headline": type("H", (), {"value": v, "name": "accuracy"})})
        for v in (0.8, 0.78)
    )
    with pytest.raises(BundleError, match="loses 2.0 points of accuracy .allowed: 1. and is not written"):
        quantisation.check_loss(high, low)
    quantisation.check_loss(high, high)
    with pytest.raises(DatasetError, match='has the class "owl"'):
        quantisation.quantise(model, replace(city, classes=(*city.classes, "owl")))


def test_command_reports_the_accuracy_of_the_int8_model(city, cache, tmp_path):
    untrained("notebook_cnn", Mel(size=(24, 24)), city).bundle.write(tmp_path / "model.onnx")
    options = ("--int8", "--calibrate", city.root, "--quiet")
    done = run_soundmark("export", tmp_path / "model.onnx", *options, env={"COLUMNS": 100})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'model-int8.onnx'}: ")
    assert "accuracy" in done.stdout


@pytest.mark.parametrize(
    ("name", "representation"), [("notebook_cnn", Mel()), ("resnet", Mel()), ("mn04", LogMel(size=(128, 100)))]
)
def test_ranges_are_those_of_onnx_runtimes_calibration(name, representation, city, tmp_path, monkeypatch):
    """One spectrogram is computed at once; the model is the same as if whole batches were, which take 0.7 GB."""
    graph = untrained(name, representation, city).bundle.graph
    spectrograms = np.random.default_rng(0).normal(0, 1, (40, *representation.shape)).astype(np.float32)
    chosen = np.arange(1, 40)  # three batches, of 13 each
    found = int8.quantise_graph(graph, spectrograms, chosen)
    batches = iter(np.split(spectrograms[chosen][:, None], 3))

    class Batches:
        def get_next(self):
            batch = next(batches, None)
            return None if batch is None else {"spectrogram": batch}

    quantize_static = onnxruntime.quantization.quantize_static

    def calibrated(model, path, _, *, extra_options, op_types_to_quantize, **options):
        quantize_static(model, path, Batches(), extra_options={"CalibMovingAverage": True}, **options)

    monkeypatch.setattr(onnxruntime.quantization, "quantize_static", calibrated)
    tensors, expected = (
        {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(each).graph.initializer}
        for each in (found, int8.quantise_graph(graph, spectrograms, chosen))
    )
    assert tensors.keys() == expected.keys()
    for key, array in expected.items():  # scales differ by rounding errors, so that 32-bit biases do, too
        allowed = 1 if array.dtype == np.int32 else 0
        np.testing.assert_allclose(tensors[key], array, rtol=1e-5, atol=allowed, err_msg=key)


def test_calibration_with_windows_of_4_s_takes_little_memory(city, tmp_path):
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(untrained("mn04", LogMel(), city).bundle.graph)
    before, peak = (
        run_measured(
            "import numpy as np, onnx, onnxruntime.quantization\n"
            "from pathlib import Path\n"
            "from soundmark.models.export import int8\n"
            "spectrograms = np.random.default_rng(0).normal(0, 1, (32, 128, 400)).astype(np.float32)\n"
            f"int8.quantise_graph(Path({str(graph)!r}).read_bytes(), spectrograms, np.arange({n}))"
        )[1]
        for n in (1, 32)
    )
    assert peak < before + 50
    assert peak < 280

"""A waveform export returns the same probabilities as soundmark, and is not written otherwise."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from soundmark import audio
from soundmark.errors import BundleError, OutputError, SettingsError
from soundmark.models import bundle
from soundmark.models.bundle import Bundle
from soundmark.models.classifier import Model, load
from soundmark.models.export import waveform
from soundmark.models.export.waveform import ExportOptions
from soundmark.spectrograms import LogMel, Mel
from support.commands import run_soundmark
from support.exports import REPRESENTATIONS, small_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["mel", "logmel", "logmel-scratch"])
def model(request) -> Model:
    return small_model(REPRESENTATIONS[request.param])


@pytest.fixture(scope="module", params=[False, True], ids=["fixed", "dynamic"])
def exported(request, model) -> bytes:
    return waveform.with_front_end(model, dynamic=request.param)


def test_export_agrees_with_the_model(model, exported):
    found = waveform.check_export(model, exported)
    assert found.probability < waveform.TOLERANCE
    assert found.familiarity < waveform.FAMILIARITY_TOLERANCE
    onnx.checker.check_model(onnx.load_from_string(exported), full_check=True)


def test_dynamic_export_returns_the_scores_of_the_model(model):
    rate_hz = model.card.representation.rate_hz
    session = bundle.session(waveform.with_front_end(model, dynamic=True))
    for seconds in (0.3, 4.0, 4.1):
        samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate_hz)).astype(np.float32)
        scores = model.scores(samples, rate_hz)
        probabilities, familiarity = session.run(["probabilities", "familiarity"], {"waveform": samples[None]})
        np.testing.assert_allclose(probabilities, scores.probabilities, atol=1e-4)
        np.testing.assert_allclose(familiarity, scores.familiarity, atol=1e-3)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("representation", [Mel(size=(32, 32)), LogMel()], ids=["mel", "logmel"])
def test_export_of_a_model_with_time_expansion_and_a_band(representation, dynamic):
    bats = representation.with_time_expansion(10).with_band(20_000, 90_000).for_window(0.4)
    model = small_model(bats, window_s=0.4)
    exported = waveform.with_front_end(model, dynamic=dynamic)
    assert waveform.check_export(model, exported).probability < waveform.TOLERANCE
    session = bundle.session(exported)
    metadata = json.loads(session.get_modelmeta().custom_metadata_map["soundmark_export"])
    assert (metadata["rate_hz"], metadata["window_samples"]) == (bats.input_rate_hz, round(0.4 * bats.input_rate_hz))
    samples = audio.resample(
        np.random.default_rng(0).normal(0, 0.1, 153_600).astype(np.float32), 384_000, bats.input_rate_hz
    )
    (probabilities, _) = session.run(None, {"waveform": np.resize(samples, (1, metadata["window_samples"]))})
    expected = model.scores(np.resize(samples, metadata["window_samples"]), bats.input_rate_hz).probabilities
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)


def test_metadata_contain_everything_that_a_program_needs(model, exported):
    session = bundle.session(exported)
    metadata = json.loads(session.get_modelmeta().custom_metadata_map["soundmark_export"])
    r, dynamic = model.card.representation, metadata["dynamic"]
    assert metadata["classes"] == ["dog", "siren", "ärger"]
    assert (metadata["rate_hz"], metadata["window_samples"]) == (r.rate_hz, 4 * r.rate_hz)
    assert metadata["inside"] == [r.name, "temperature", "softmax"]
    assert metadata["unknown"] == 0.2
    assert metadata["whole_samples"] == (int(4.2 * r.rate_hz) if dynamic else 4 * r.rate_hz)
    (input_,) = session.get_inputs()
    assert (input_.name, input_.type, isinstance(input_.shape[1], str)) == ("waveform", "tensor(float)", dynamic)
    assert [output.name for output in session.get_outputs()] == ["probabilities", "familiarity"]


def test_sigmoid_models_are_exported_with_their_thresholds():
    model = small_model(Mel(), "sigmoid", thresholds=(0.1, 0.5, 0.9), unknown=None)
    exported = waveform.with_front_end(model)
    assert waveform.check_export(model, exported).probability < 1e-4
    metadata = waveform.export_metadata(model, dynamic=False)
    assert (metadata["thresholds"], metadata["activation"]) == ([0.1, 0.5, 0.9], "sigmoid")
    assert metadata["unknown"] is None
    (probabilities, _) = bundle.session(exported).run(None, {"waveform": waveform.signals(88200, 22050)})
    assert np.abs(probabilities.sum(axis=1) - 1).max() > 0.01


def test_long_recordings_are_compared_in_windows_and_short_ones_padded():
    window = 1000
    recordings = [np.ones(n, np.float32) for n in (10, window, window + 1, 3 * window)]
    fixed = list(waveform.split_recordings(recordings, window, dynamic=False))
    assert [part.shape for part in fixed] == [(1, window)] * 7
    assert fixed[0].sum() == 10
    dynamic = waveform.split_recordings(recordings, window, dynamic=True)
    assert [part.shape[1] for part in dynamic] == [10, window, window + 1, *[window] * 3]


def test_sounds_are_read_from_files_folders_and_tables(tmp_path):
    for i, name in enumerate(("a/0.wav", "a/b/1.wav", "2.wav")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(tmp_path / name, np.full(800 * (i + 1), 0.1), 8000)
    (tmp_path / "a" / "notes.wav").write_text("rain")
    (tmp_path / "cuts.csv").write_text("path,label,start,end\n2.wav,x,0.1,0.2\n2.wav,y,0,0.05\n")
    skipped: list = []
    calls: list = []
    paths = [tmp_path / "a", tmp_path / "cuts.csv", tmp_path / "2.wav", tmp_path / "none.wav"]
    found = list(waveform.sounds(paths, 16_000, skipped, lambda *progress: calls.append(progress)))
    assert [len(samples) for samples in found] == [1600, 3200, 1600, 800, 4800]
    assert [Path(item.path).name for item in skipped] == ["notes.wav", "none.wav"]
    assert calls[-1][1:] == (7, 7, "sounds")


@pytest.mark.parametrize("part", ["spectrogram", "probability", "familiarity"])
def test_export_that_differs_is_not_written(model, part, tmp_path, monkeypatch):
    if part == "spectrogram":
        wrong = replace(model.card.representation, hop_samples=model.card.representation.hop_samples - 1)
    else:
        proto = onnx.load_from_string(model.bundle.graph)
        name = {"probability": "dense.bias", "familiarity": "familiarity/classes"}[part]
        tensor = next(t for t in proto.graph.initializer if t.name == name)
        values = numpy_helper.to_array(tensor)
        error = np.linspace(0, 0.1, values.size, dtype=np.float32).reshape(values.shape)
        tensor.CopyFrom(numpy_helper.from_array(values + error, name))
    other = (
        Model(Bundle(model.bundle.graph, replace(model.card, representation=wrong)))
        if part == "spectrogram"
        else Model(Bundle(proto.SerializeToString(), model.card))
    )
    exported = waveform.with_front_end(other)
    monkeypatch.setattr(waveform, "with_front_end", lambda *_, **__: exported)
    with pytest.raises(BundleError, match=f"differs from the model by .* in .*{part} .*not written"):
        waveform.export_waveform_model(model, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_export_cannot_be_loaded_and_replaces_no_file_unless_told_to(tmp_path):
    small_model(Mel()).bundle.write(tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx")
    options = ExportOptions(front_end=True)
    path = waveform.output_path(tmp_path / "model.onnx", None, options)
    waveform.export_waveform_model(model, path)
    with pytest.raises(BundleError, match="is an export for other programs"):
        load(path)
    with pytest.raises(OutputError, match="exists already. Choose another file with -o, or replace it with --overwri"):
        waveform.output_path(tmp_path / "model.onnx", None, options)
    assert waveform.output_path(tmp_path / "model.onnx", None, options, overwrite=True) == path
    with pytest.raises(OutputError, match="is the model itself"):
        waveform.output_path(tmp_path / "model.onnx", tmp_path / "." / "model.onnx", options, overwrite=True)
    (tmp_path / "other.onnx").write_bytes(b'{"int8": {}}')
    with pytest.raises(OutputError, match="other.onnx. exists already"):
        waveform.output_path(tmp_path / "model.onnx", tmp_path / "other.onnx", options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"front_end": True, "int8": True}, "For both, export with --int8 first"),
        (
            {"int8": True, "calibrate": Path("a"), "dynamic": True},
            "--dynamic can only be used with --with-front-end: remove it",
        ),
        (
            {"int8": True, "calibrate": Path("a"), "check": [Path("a")]},
            "--check can only be used with --with-front-end: remove it",
        ),
    ],
)
def test_contradictory_options_are_refused(options, match):
    with pytest.raises(SettingsError, match=match):
        ExportOptions(**options)


def test_command_reports_the_export_and_its_agreement(tmp_path):
    small_model(Mel()).bundle.write(tmp_path / "model.onnx")
    options = ("--with-front-end", "--dynamic", "--quiet")
    done = run_soundmark("export", tmp_path / "model.onnx", *options, env={"COLUMNS": 100})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'model-waveform.onnx'}: includes mel, temperature and softmax")
    assert "Largest difference from soundmark on" in done.stdout

"""An exported file says what soundmark says: its front end as NumPy's, the whole as the model, in Python and in JS."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from soundmark import audio
from soundmark.datasets import Dataset
from soundmark.errors import BundleError, DatasetError, OutputError, SettingsError
from soundmark.evaluation import quantisation
from soundmark.models import bundle, card_text
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model, load
from soundmark.models.export import front_end, int8, onnx_graph, waveform
from soundmark.models.export.waveform import ExportOptions
from soundmark.models.training_record import TrainingRecord
from soundmark.spectrograms import Image, LogMel, Mel, Representation
from soundmark.training import calibration, networks, onnx_export
from soundmark.training.networks.network import Network

EXAMPLES = Path(__file__).parents[3] / "examples"
ONNXRUNTIME_WEB = "onnxruntime-web@1.27.0"
REPRESENTATIONS = {
    "mel": Mel(),
    "mel-24": Mel(size=(24, 24)),
    "mel-odd": Mel(n_fft=1023, hop_samples=1000, size=(20, 48)),  # odd and not prime; frames that do not overlap much
    "mel-apart": Mel(n_fft=31, hop_samples=100, size=(8, 100), n_mels=8),  # prime; frames that do not touch
    "logmel": LogMel(),
    "logmel-scratch": LogMel(
        rate_hz=22050,
        size=(64, 128),
        n_fft=2048,
        window_samples=1378,
        hop_samples=689,
        f_max_hz=11025.0,
        pre_emphasis=0.0,
    ),
    "logmel-short": LogMel(size=(32, 2)),  # less than a frame
}
ENLARGED = Mel(n_mels=20)  # in frequency; of fixed length only
SECONDS = (0.5, 4.0, 5.0, 9.0)


def lengths(r: Representation) -> list[int]:
    """On both sides of a frame, of a window and of the fewest frames that fill the columns."""
    n_fft, hop = r.n_fft, r.hop_samples  # type: ignore[attr-defined]
    filled = (r.size[1] - 1) * hop
    edges = (1, 2, n_fft // 2, n_fft - 1, n_fft, n_fft + 1, filled - 1, filled, 4 * r.rate_hz - 1, 4 * r.rate_hz + 1)
    return sorted({n for n in (*edges, *(round(s * r.rate_hz) for s in SECONDS)) if n > 0})


def front(r: Representation, samples: int | None, opset: int = 20) -> onnxruntime.InferenceSession:
    """The front end alone as a graph, which ONNX's own checker has accepted."""
    nodes = front_end.Nodes("front_end")
    out = front_end.build(r, nodes, "waveform", samples)
    whole = helper.make_graph(
        nodes.nodes,
        "front",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", samples or "samples"])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["batch", 1, *r.shape])],
        nodes.constants,
    )
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bundle.session(model.SerializeToString())


def hold(session: onnxruntime.InferenceSession, r: Representation, waveforms: np.ndarray) -> None:
    (said,) = session.run(None, {"waveform": waveforms})
    expected = np.stack([r(waveform, r.rate_hz) for waveform in waveforms])
    assert said.shape == (len(waveforms), 1, *r.shape)
    np.testing.assert_allclose(said[:, 0], expected, atol=1e-3)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_the_front_end_of_any_length_is_numpys(name):
    r = REPRESENTATIONS[name]
    session = front(r, None)
    for n in lengths(r):
        hold(session, r, waveform.signals(n, r.rate_hz))


@pytest.mark.parametrize("name", [*REPRESENTATIONS, "mel-enlarged"])
def test_the_front_end_of_a_fixed_length_is_numpys(name):
    r = REPRESENTATIONS.get(name, ENLARGED)
    for n in lengths(r):
        hold(front(r, n), r, waveform.signals(n, r.rate_hz))


@pytest.mark.parametrize("name", ["mel", "logmel", "logmel-scratch"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_on_real_clips_too(shared, name, dynamic):
    r = REPRESENTATIONS[name]
    clips = sorted((shared / "urbansound8k" / "flac" / "fold1").glob("*.flac"))[::100]
    session = front(r, None if dynamic else 4 * r.rate_hz)
    for clip in clips:
        sound = audio.read(clip, rate_hz=r.rate_hz).samples
        hold(session, r, (sound if dynamic else np.resize(sound, 4 * r.rate_hz))[None])


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
def test_the_front_end_is_of_every_opset_from_13_on(opset):
    for name in ("mel", "logmel"):
        r = REPRESENTATIONS[name]
        hold(front(r, None, opset), r, waveform.signals(30_000, r.rate_hz))


def test_a_clips_spectrogram_does_not_depend_on_its_neighbours():
    r = REPRESENTATIONS["mel"]
    session, waveforms = front(r, None), waveform.signals(20_000, r.rate_hz)
    (together,) = session.run(None, {"waveform": waveforms})
    alone = np.concatenate([session.run(None, {"waveform": waveform[None]})[0] for waveform in waveforms])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("n", [4, 31, 32, 45, 1024, 2048])
def test_the_transform_is_numpys(n):
    nodes = front_end.Nodes("dft")
    window = np.hanning(n + 2)[1:-1].astype(np.float32)
    out = front_end._power(nodes, "frames", window)
    places = front_end._places(n)
    value = helper.make_tensor_value_info
    whole = helper.make_graph(
        nodes.nodes,
        "dft",
        [value("frames", TensorProto.FLOAT, ["batch", "count", n])],
        [value(out, TensorProto.FLOAT, ["batch", "count", len(places)])],
        nodes.constants,
    )
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    frames = np.random.default_rng(0).normal(size=(2, 3, n)).astype(np.float32)
    (power,) = bundle.session(model.SerializeToString()).run(None, {"frames": frames})
    expected = np.abs(np.fft.rfft(frames.astype(np.float64) * window)) ** 2
    np.testing.assert_allclose(power, expected[..., places], rtol=1e-4, atol=1e-4 * n)
    assert set(places) == set(range(n // 2 + 1))


# ── the whole ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Listener(Network):
    """A network whose answers differ from sound to sound by much more than they may differ between programs."""

    has_embedding = True

    def __init__(self, shape: tuple[int, int], n_classes: int) -> None:
        super().__init__()
        self.level = nn.BatchNorm2d(1)
        self.features = nn.Conv2d(1, 4, 5, stride=4)
        self.dense = nn.Linear(4, n_classes)
        self.level.running_mean.fill_(-20.0 if shape == (64, 64) else 0.0)
        self.level.running_var.fill_(400.0 if shape == (64, 64) else 1.0)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """``[batch, 4]``."""
        return torch.relu(self.features(self.level(x))).mean((2, 3))

    def head(self, embedding: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.dense(8 * embedding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(self.embed(x))


def listener(r: Representation, activation: str = "softmax", **more: object) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = Listener(r.shape, 3)
    rng = np.random.default_rng(0)
    familiar = calibration.Familiarity.of(rng.normal(0.5, 0.3, (60, 4)), np.eye(3)[np.arange(60) % 3])
    told = {"classes": ("dog", "siren", "ärger"), "window_s": 4.0, "temperature": 0.7, "unknown": 0.2, **more}
    return Model(
        Bundle(
            onnx_export.export_network(network, r.shape, familiar),
            Card(representation=r, activation=activation, **told),  # type: ignore[arg-type]
        )
    )


@pytest.fixture(scope="module", params=["mel", "logmel", "logmel-scratch"])
def model(request) -> Model:
    return listener(REPRESENTATIONS[request.param])


@pytest.fixture(scope="module", params=[False, True], ids=["fixed", "dynamic"])
def exported(request, model) -> bytes:
    return waveform.with_front_end(model, dynamic=request.param)


def test_the_whole_says_what_the_model_says(model, exported):
    found = waveform.check_export(model, exported)
    assert found.probability < waveform.TOLERANCE
    assert found.familiarity < waveform.FAMILIARITY_TOLERANCE
    onnx.checker.check_model(onnx.load_from_string(exported), full_check=True)


def test_a_file_is_scored_alike(model):
    rate_hz = model.card.representation.rate_hz
    session = bundle.session(waveform.with_front_end(model, dynamic=True))
    for seconds in (0.3, 4.0, 4.1):
        sound = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate_hz)).astype(np.float32)
        scores = model.scores(sound, rate_hz)
        probabilities, familiarity = session.run(["probabilities", "familiarity"], {"waveform": sound[None]})
        np.testing.assert_allclose(probabilities, scores.probabilities, atol=1e-4)
        np.testing.assert_allclose(familiarity, scores.familiarity, atol=1e-3)


def test_a_program_finds_all_it_needs_in_the_file(model, exported):
    session = bundle.session(exported)
    about = json.loads(session.get_modelmeta().custom_metadata_map["soundmark_export"])
    r = model.card.representation
    assert about["classes"] == ["dog", "siren", "ärger"]
    assert (about["rate_hz"], about["window_samples"]) == (r.rate_hz, 4 * r.rate_hz)
    assert about["inside"] == [r.name, "temperature", "softmax"]
    assert about["unknown"] == 0.2
    assert about["whole_samples"] == (int(4.2 * r.rate_hz) if about["dynamic"] else 4 * r.rate_hz)
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, isinstance(taken.shape[1], str)) == ("waveform", "tensor(float)", about["dynamic"])
    assert [output.name for output in session.get_outputs()] == ["probabilities", "familiarity"]


def test_sigmoids_and_their_thresholds_come_along():
    model = listener(Mel(), "sigmoid", thresholds=(0.1, 0.5, 0.9), unknown=None)
    exported = waveform.with_front_end(model)
    assert waveform.check_export(model, exported).probability < 1e-4
    about = waveform.export_metadata(model, dynamic=False)
    assert (about["thresholds"], about["activation"], about["unknown"]) == ([0.1, 0.5, 0.9], "sigmoid", None)
    (probabilities, _) = bundle.session(exported).run(None, {"waveform": waveform.signals(88200, 22050)})
    assert np.abs(probabilities.sum(axis=1) - 1).max() > 0.01


def test_a_long_sound_is_checked_in_windows_and_a_short_one_with_silence(model):
    window = waveform.window_samples(model)
    heard = [np.ones(n, np.float32) for n in (10, window, window + 1, 3 * window)]
    parts = list(waveform._stretches(heard, window, dynamic=False))
    assert [part.shape for part in parts] == [(1, window)] * 7
    assert parts[0].sum() == 10
    assert [part.shape[1] for part in waveform._stretches(heard, window, dynamic=True)] == [
        10,
        window,
        window + 1,
        *[window] * 3,
    ]


def test_sounds_are_found_in_files_folders_and_tables(tmp_path):
    for i, name in enumerate(("a/0.wav", "a/b/1.wav", "2.wav")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(tmp_path / name, np.full(800 * (i + 1), 0.1), 8000)
    (tmp_path / "a" / "notes.wav").write_text("rain")
    (tmp_path / "cuts.csv").write_text("path,label,start,end\n2.wav,x,0.1,0.2\n2.wav,y,0,0.05\n")
    skipped: list = []
    told: list = []
    given = [tmp_path / "a", tmp_path / "cuts.csv", tmp_path / "2.wav", tmp_path / "none.wav"]
    found = list(waveform.sounds(given, 16_000, skipped, lambda *progress: told.append(progress)))
    assert [len(sound) for sound in found] == [1600, 3200, 1600, 800, 4800]
    assert [Path(item.path).name for item in skipped] == ["notes.wav", "none.wav"]
    assert told[-1][1:] == (7, 7, "sounds")


def test_card_and_front_end_agree_on_what_can_be_exported():
    for kind in REPRESENTATIONS.values():
        nodes = front_end.Nodes("x")
        if kind.name in card_text.EXPORTED:
            assert front_end.build(kind.of({}), nodes, "waveform", 1000)
        else:
            with pytest.raises(SettingsError, match="cannot be exported"):
                front_end.build(kind.of({}), nodes, "waveform", 1000)


@pytest.mark.parametrize("part", ["spectrogram", "probability", "familiarity"])
def test_what_says_something_else_is_not_written(model, part, tmp_path, monkeypatch):
    if part == "spectrogram":
        wrong = replace(model.card.representation, hop_samples=model.card.representation.hop_samples - 1)
    else:
        proto = onnx.load_from_string(model.bundle.graph)
        name = {"probability": "network.dense.bias", "familiarity": "classes"}[part]
        tensor = next(t for t in proto.graph.initializer if t.name == name)
        values = numpy_helper.to_array(tensor)
        slip = np.linspace(0, 0.1, values.size, dtype=np.float32).reshape(values.shape)
        tensor.CopyFrom(numpy_helper.from_array(values + slip, name))
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


def test_what_has_no_such_graph_is_refused():
    with pytest.raises(SettingsError, match="a model of image spectrograms cannot be exported with its front end"):
        waveform.with_front_end(listener(Image()))
    with pytest.raises(SettingsError, match="cannot be exported for any length: leave out --dynamic"):
        waveform.with_front_end(listener(ENLARGED), dynamic=True)
    model = listener(Mel())
    proto = onnx.load_from_string(model.bundle.graph)
    proto.opset_import[0].version = 12
    with pytest.raises(BundleError, match="operators 12, and 13 or later"):
        waveform.with_front_end(Model(Bundle(proto.SerializeToString(), model.card)))


def test_an_export_is_no_model_and_lies_in_nobodys_place(tmp_path):
    listener(Mel()).bundle.write(tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx")
    wish = ExportOptions(front_end=True)
    place = waveform.output_path(tmp_path / "model.onnx", None, wish)
    waveform.export_waveform_model(model, place)
    with pytest.raises(BundleError, match="is an export for other programs"):
        load(place)
    assert waveform.output_path(tmp_path / "model.onnx", None, wish) == place  # it may be written again
    with pytest.raises(OutputError, match="is the model itself"):
        waveform.output_path(tmp_path / "model.onnx", tmp_path / "." / "model.onnx", wish)
    shutil.copy(tmp_path / "model.onnx", tmp_path / "other.onnx")
    with pytest.raises(OutputError, match="is there already, and is no export"):
        waveform.output_path(tmp_path / "model.onnx", tmp_path / "other.onnx", wish)


@pytest.mark.parametrize(
    ("wish", "match"),
    [
        ({"front_end": True, "int8": True}, "for both, export the int8 model with its front end"),
        ({"int8": True, "calibrate": Path("a"), "dynamic": True}, "--dynamic is for --with-front-end"),
        ({"int8": True, "calibrate": Path("a"), "check": [Path("a")]}, "--check is for --with-front-end"),
    ],
)
def test_what_cannot_be_wished_for_is_refused(wish, match):
    with pytest.raises(SettingsError, match=match):
        ExportOptions(**wish)


# ── 8 bits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def untrained(name: str, r: Representation, city: Dataset, **data: object) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = networks.build(name, shape=r.shape, n_classes=10)
    about = {"name": city.name, "fingerprint": city.fingerprint, "protocol": "folds", "test_fold": 3, **data}
    card = Card(
        classes=city.classes,
        representation=r,
        window_s=4.0,
        training=TrainingRecord.from_json(about),
        scores={"protocol": "folds", "n_test": 20},
    )
    return Model(Bundle(onnx_export.export_network(network, r.shape), card))


@pytest.mark.parametrize(
    ("name", "representation"),
    [("notebook_cnn", Mel()), ("resnet", REPRESENTATIONS["logmel-scratch"]), ("mn04", LogMel(size=(128, 100)))],
)
def test_a_model_of_8_bits_is_a_model_of_a_third_of_the_size(name, representation, city, cache, tmp_path, monkeypatch):
    seen = []
    real = int8.quantise_graph
    monkeypatch.setattr(int8, "quantise_graph", lambda g, s, chosen: seen.append(chosen) or real(g, s, chosen))
    monkeypatch.setattr(quantisation, "LOST", 1.0)  # it was never trained
    model = untrained(name, representation, city)
    small = quantisation.quantise(model, city, jobs=1)
    assert small.size[0] / small.size[1] >= 3
    assert set(city.fold_of[seen[0]].tolist()) == {1, 2}  # never test clips
    assert small.note == "fold 3, which was kept back from the model's training"
    assert small.after.n == 20
    assert small.bundle.card.scores == {"protocol": "folds", **small.after.brief()}  # its own, not the larger model's
    small.bundle.write(tmp_path / "small.onnx")
    again = load(tmp_path / "small.onnx")
    assert again.card.training.int8.calibrated_on == 40
    kinds = {node.op_type for node in onnx.load_from_string(again.bundle.graph).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    clip = city.clips[0].path
    probabilities = [each.scores(clip).probabilities for each in (model, again)]
    assert 0 < np.abs(probabilities[0] - probabilities[1]).max() < 0.1
    found = waveform.check_export(
        again, waveform.with_front_end(again), [audio.read(clip, rate_hz=representation.rate_hz).samples]
    )
    assert found.probability < waveform.INT8_TOLERANCE
    assert found.spectrogram < waveform.SPECTROGRAM_TOLERANCE
    with pytest.raises(SettingsError, match="is int8 already"):
        quantisation.quantise(again, city)


@pytest.mark.parametrize(
    ("protocol", "note"),
    [
        ("all", "those it was not calibrated on, of the model was trained"),
        ("x", "those it was not calibrated on, of all"),
    ],
)
def test_where_nothing_was_kept_back_it_is_said(protocol, note, city, cache, monkeypatch):
    monkeypatch.setattr(quantisation, "LOST", 1.0)
    small = quantisation.quantise(untrained("notebook_cnn", Mel(size=(24, 24)), city, protocol=protocol), city, jobs=1)
    assert small.note.startswith(note)
    assert (small.calibrated_on, small.after.n) == (30, 30)


def test_a_model_that_lost_its_hearing_is_refused(city, cache):
    model = untrained("notebook_cnn", Mel(size=(24, 24)), city)
    high, low = (
        type("Summary", (), {"n": 1000, "headline": type("H", (), {"value": v, "name": "accuracy"})})
        for v in (0.8, 0.78)
    )
    with pytest.raises(BundleError, match="loses 2.0 points of accuracy .allowed: 1.; it is not written"):
        quantisation._check_loss(high, low)
    quantisation._check_loss(high, high)
    with pytest.raises(DatasetError, match='has the class "owl"'):
        quantisation.quantise(model, replace(city, classes=(*city.classes, "owl")))


def test_folding_changes_no_answer():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = networks.build("mn04", shape=(128, 100), n_classes=4)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.1)
    whole = onnx_export.export_network(network, (128, 100))
    folded = onnx_graph.with_folded_batch_norm(whole)
    kinds = [node.op_type for node in onnx.load_from_string(folded).graph.node]
    assert "BatchNormalization" not in kinds
    assert len(folded) < len(whole)
    x = {"spectrogram": np.random.default_rng(0).normal(0, 1, (2, 1, 128, 100)).astype(np.float32)}
    before, after = (bundle.session(each).run(["logits"], x)[0] for each in (whole, folded))
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)


def test_a_model_carries_no_paths_of_the_machine_it_was_trained_on():
    whole = onnx_export.export_network(networks.build("notebook_cnn", shape=(22, 22), n_classes=3), (22, 22))
    assert b"stack_trace" not in whole
    assert b".py" not in whole


# ── other programs ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Three seconds at the rate of ``mel``, two channels."""
    path = tmp_path_factory.mktemp("sound") / "street.wav"
    rng = np.random.default_rng(0)
    t = np.arange(3 * 22050) / 22050
    samples = 0.3 * np.sin(2 * np.pi * 880 * t)[:, None] + rng.normal(0, 0.05, (len(t), 2))
    audio.write(path, samples, 22050)
    return path


@pytest.fixture(scope="module")
def heard(sound, tmp_path_factory) -> tuple[Path, dict[str, float]]:
    """An exported model, and what soundmark itself says with it."""
    model = listener(Mel())
    path = tmp_path_factory.mktemp("exported") / "model-waveform.onnx"
    waveform.export_waveform_model(model, path, dynamic=True)
    return path, {entry["label"]: entry["score"] for entry in model.classify(sound, unknown=False)}


def answers(printed: str) -> dict[str, float]:
    return {label: float(score) for score, label in (line.split(" ", 1) for line in printed.splitlines())}


def test_python_says_the_same_without_soundmark(heard, sound, tmp_path):
    path, expected = heard
    script = EXAMPLES / "classify.py"
    assert "import soundmark" not in script.read_text()
    done = subprocess.run(
        [sys.executable, script, path, sound], capture_output=True, encoding="utf-8", check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    said = answers(done.stdout)
    assert list(said) == list(expected)
    assert said == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="session")
def node(tmp_path_factory) -> Path:
    """A folder with onnxruntime-web in it. Where CI says that it is one, it has to be installed."""
    folder = tmp_path_factory.mktemp("node")
    if not shutil.which("npm"):
        _missing("there is no npm here: Node.js runs the example in JavaScript")
    typed = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", ONNXRUNTIME_WEB]
    done = subprocess.run(typed, capture_output=True, text=True, timeout=300)
    if done.returncode:
        _missing(f"{ONNXRUNTIME_WEB} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return folder


def _missing(why: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def test_javascript_says_the_same(node, heard, sound):
    path, expected = heard
    shutil.copy(EXAMPLES / "classify.mjs", node)
    done = subprocess.run(
        ["node", "classify.mjs", path, sound], capture_output=True, encoding="utf-8", cwd=node, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said = answers(done.stdout)
    assert list(said) == list(expected)
    assert said == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("options", [["--with-front-end", "--dynamic"], ["--int8", "--calibrate", "{city}"]])
def test_the_command_says_what_it_wrote(options, city, cache, tmp_path):
    listener(Mel(), classes=("dog", "siren", "ärger")).bundle.write(tmp_path / "model.onnx")
    if "--int8" in options:
        untrained("notebook_cnn", Mel(size=(24, 24)), city).bundle.write(tmp_path / "model.onnx")
    typed = [option.format(city=city.root) for option in options]
    done = subprocess.run(
        [sys.executable, "-m", "soundmark.cli", "export", str(tmp_path / "model.onnx"), *typed, "--quiet"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    name = "model-int8.onnx" if "--int8" in options else "model-waveform.onnx"
    assert done.stdout.startswith(f"{tmp_path / name}: ")
    assert ("accuracy" if "--int8" in options else "It agrees with soundmark to") in done.stdout

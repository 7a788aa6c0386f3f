"""The model file: it is read as it was written, and other files are refused with a clear message."""

import copy
import json
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from scipy.special import softmax

from soundmark.errors import BundleError, OutputError
from soundmark.models import bundle, card
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.training_record import TrainingRecord
from soundmark.spectrograms import Image, Mel
from soundmark.training import networks
from soundmark.training.epochs import onnx_export
from soundmark.training.named_recipes import recipe_named

CARD = Card(
    classes=("dog", "siren", "ärger"),
    representation=Mel(size=(32, 32)),
    window_s=4.0,
    recipe=recipe_named("notebook-mel").settings(),
    training=TrainingRecord.from_json({"name": "city", "fingerprint": "0123456789abcdef"}),
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return networks.build("notebook_cnn", shape=(32, 32), n_classes=3)


@pytest.fixture(scope="module")
def model(network) -> Bundle:
    return Bundle(onnx_export.export_network(network, (32, 32)), CARD)


@pytest.fixture
def path(model, tmp_path):
    model.write(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture(scope="module")
def examples():
    return np.random.default_rng(0).normal(-40, 20, (300, 32, 32)).astype(np.float32)


def test_model_is_read_as_it_was_written(model, path):
    loaded = bundle.read_bundle(path)
    assert loaded == model
    assert loaded.card.classes == ("dog", "siren", "ärger")
    assert loaded.outputs == ("logits",)


def test_file_is_valid_for_the_onnx_checker(path):
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    card = json.loads({entry.key: entry.value for entry in proto.metadata_props}["soundmark"])
    assert card["schema"] == 1
    assert set(card) >= {
        "classes",
        "representation",
        "window_s",
        "activation",
        "temperature",
        "unknown",
        "recipe",
        "data",
        "scores",
        "versions",
    }
    assert [i.name for i in proto.graph.input] == ["spectrogram"]
    dimensions = proto.graph.input[0].type.tensor_type.shape.dim
    assert dimensions[0].dim_param
    assert [d.dim_value for d in dimensions[1:]] == [1, 32, 32]


@pytest.mark.parametrize("n", [1, 2, 250, 300])
def test_graph_agrees_with_the_network_for_any_batch_size(network, model, examples, n):
    expected = softmax(onnx_export.network_logits(network, examples[:n]), axis=1)
    assert bundle.check_agreement(model, expected, examples[:n]) <= 1e-4
    torch_logits = network(torch.from_numpy(examples[:n])[:, None]).detach().numpy()
    np.testing.assert_allclose(model.run(examples[:n]), torch_logits, rtol=1e-4, atol=1e-3)


def test_graph_that_differs_from_the_network_is_refused(network, model, examples):
    expected = softmax(onnx_export.network_logits(network, examples[:4]), axis=1)
    with pytest.raises(BundleError, match="differs from the trained network by"):
        bundle.check_agreement(model, expected[::-1], examples[:4])
    with pytest.raises(BundleError, match="differs from the trained network by nan"):
        bundle.check_agreement(model, expected * np.float32("nan"), examples[:4])


def test_probabilities_use_temperature_and_activation_of_the_card(model):
    logits = np.array([[1.0, 2.0, 4.0], [800.0, 0.0, -800.0]], np.float32)
    e = np.exp([1.0, 2.0, 4.0])
    np.testing.assert_allclose(model.activate(logits)[0], e / e.sum(), rtol=1e-6)
    np.testing.assert_array_equal(model.activate(logits)[1], [1, 0, 0])
    softened = Bundle(model.graph, replace(CARD, temperature=2.0))
    e = np.exp([0.5, 1.0, 2.0])
    np.testing.assert_allclose(softened.activate(logits)[0], e / e.sum(), rtol=1e-6)
    sigmoid = Bundle(model.graph, replace(CARD, activation="sigmoid"))
    np.testing.assert_allclose(sigmoid.activate(logits)[0], [0.73105858, 0.88079708, 0.98201379], rtol=1e-6)
    np.testing.assert_array_equal(sigmoid.activate(logits)[1], [1, 0.5, 0])


@pytest.mark.parametrize("position", [10, 1000, -1, -200, -2000])
def test_changed_byte_is_detected(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(BundleError, match=re.escape(str(path))):
        bundle.read_bundle(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"RIFF" + bytes(100)])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"x\.onnx"):
        bundle.read_bundle(path)


def test_truncated_model_is_refused(path):
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    with pytest.raises(BundleError, match="is not a model"):
        bundle.read_bundle(path)


def test_onnx_file_of_another_program_is_refused(model, tmp_path):
    (tmp_path / "other.onnx").write_bytes(model.graph)
    with pytest.raises(BundleError, match="without a soundmark model card"):
        bundle.read_bundle(tmp_path / "other.onnx")


def test_later_schema_asks_to_upgrade_soundmark(model, tmp_path, monkeypatch):
    monkeypatch.setattr(card, "SCHEMA", 2)
    model.write(tmp_path / "later.onnx")
    monkeypatch.undo()
    with pytest.raises(BundleError, match="has model schema 2, but this version reads schema 1. Upgrade"):
        bundle.read_bundle(tmp_path / "later.onnx")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"classes": ()}, "classes"),
        ({"activation": "relu"}, 'activation is "relu"'),
        ({"window_s": -1.0}, "window_s is -1.0"),
        ({"window_s": 1e-9}, "window_s is 1e-09, not a number of seconds from 0.01 to 86400"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"temperature": True}, "temperature is True"),
        ({"temperature": 1e-320}, "temperature is 1e-320, not a number from 1e-06 to 1e[+]06"),
        ({"unknown": "x"}, "unknown is 'x'"),
        ({"classes": ("a", "b", "a")}, "two of its classes"),
        ({"recipe": [1]}, r"recipe is \[1\], not a table"),
        ({"scores": None}, "scores is None, not a table"),
        ({"versions": None}, "versions is None, not a table"),
        (
            {"representation": Image(size=(32, 32), image_shape=(4096, 4097))},
            r"image_shape is \[4096, 4097\]; the largest value allowed is 4096",
        ),
        ({"representation": Mel(size=(32, 32), n_fft=65_537)}, "n_fft is 65537; the largest value allowed is 65536"),
        (
            {"representation": Mel(size=(32, 32), rate_hz=1_000_001)},
            "rate_hz is 1000001; the largest value allowed is 1000000",
        ),
        (
            {"representation": Mel(size=(32, 32), rate_hz=1_000_000), "window_s": 80_000.0},
            "window of 80000 s at 1000000 Hz is 8e[+]10 numbers",
        ),
        (
            {"representation": Mel(size=(32, 32), hop_samples=1, n_mels=60_000)},
            "spectrogram of 88201 frames × 60000 bands is 5.29e[+]09 numbers",
        ),
        (
            {"representation": Mel(size=(32, 32), hop_samples=60_000, n_mels=60_000, n_fft=65_536)},
            "filter bank of 60000 bands × n_fft 65536 is 3.93e[+]09 numbers",
        ),
        (
            {"representation": Mel(size=(32, 32), hop_samples=1, n_fft=65_536)},
            "88201 frames × n_fft 65536 is 5.78e[+]09 numbers",
        ),
    ],
)
def test_invalid_card_is_refused(model, tmp_path, change, match):
    Bundle(model.graph, replace(CARD, **change)).write(tmp_path / "odd.onnx")
    with pytest.raises(BundleError, match=match):
        bundle.read_bundle(tmp_path / "odd.onnx")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"classes": ("dog", "siren")}, "32×32 spectrograms and 2 classes, the graph has .*'logits': .*3"),
        ({"classes": tuple("abcde")}, "5 classes, the graph has"),
        ({"representation": Mel(size=(30, 30))}, "30×30 spectrograms and .* the inputs .*32, 32"),
    ],
)
def test_card_that_does_not_match_its_graph_is_refused(model, tmp_path, change, match):
    Bundle(model.graph, replace(CARD, **change)).write(tmp_path / "odd.onnx")
    with pytest.raises(BundleError, match=match):
        bundle.read_bundle(tmp_path / "odd.onnx")


def test_classes_given_as_a_string_are_refused():
    with pytest.raises(BundleError, match="classes are not a list of names"):
        Card.from_json(json.dumps(json.loads(CARD.to_json()) | {"classes": "abc"}), "odd.onnx")


def test_session_is_created_once(path, monkeypatch, examples):
    created = []
    session = bundle.session
    monkeypatch.setattr(bundle, "session", lambda *args, **kwargs: created.append(args) or session(*args, **kwargs))
    loaded = bundle.read_bundle(path)
    loaded.run_for(examples[:1], ("logits",), single_thread=True)
    assert len(created) == 1
    assert copy.deepcopy(loaded) == loaded  # copied like for another process, without the session


def test_message_names_a_missing_file_and_a_folder(path, tmp_path):
    with pytest.raises(BundleError, match="does not exist"):
        bundle.read_bundle(tmp_path / "none.onnx")
    with pytest.raises(BundleError, match=r"is a folder; .* Models in it: .*model\.onnx"):
        bundle.read_bundle(tmp_path)


def test_model_is_written_atomically(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        model.write(tmp_path / "file" / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]

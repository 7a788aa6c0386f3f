"""A model in one file: what it holds comes back, and what is no model is refused in a sentence."""

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
from soundmark.training import networks, onnx_export
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
def made(network) -> Bundle:
    return Bundle(onnx_export.export_network(network, (32, 32)), CARD)


@pytest.fixture
def path(made, tmp_path):
    made.write(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture(scope="module")
def examples():
    return np.random.default_rng(0).normal(-40, 20, (300, 32, 32)).astype(np.float32)


def test_comes_back_as_it_was(made, path):
    again = bundle.read_bundle(path)
    assert again == made
    assert again.card.classes == ("dog", "siren", "ärger")
    assert again.outputs == ("logits",)


def test_is_an_onnx_file_that_onnx_itself_accepts(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    card = json.loads({entry.key: entry.value for entry in model.metadata_props}["soundmark"])
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
    assert [i.name for i in model.graph.input] == ["spectrogram"]
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    assert dimensions[0].dim_param
    assert [d.dim_value for d in dimensions[1:]] == [1, 32, 32]


@pytest.mark.parametrize("n", [1, 2, 250, 300])
def test_the_graph_says_what_the_network_says_for_any_batch(network, made, examples, n):
    expected = softmax(onnx_export.network_logits(network, examples[:n]), axis=1)
    assert bundle.check_agreement(made, expected, examples[:n]) <= 1e-4
    torch_logits = network(torch.from_numpy(examples[:n])[:, None]).detach().numpy()
    np.testing.assert_allclose(made.run(examples[:n]), torch_logits, rtol=1e-4, atol=1e-3)


def test_a_graph_that_differs_is_refused(network, made, examples):
    expected = softmax(onnx_export.network_logits(network, examples[:4]), axis=1)
    with pytest.raises(BundleError, match="differs from the trained network by"):
        bundle.check_agreement(made, expected[::-1], examples[:4])
    with pytest.raises(BundleError, match="differs from the trained network by nan"):
        bundle.check_agreement(made, expected * np.float32("nan"), examples[:4])


def test_probabilities_are_those_of_the_card(made):
    logits = np.array([[1.0, 2.0, 4.0], [800.0, 0.0, -800.0]], np.float32)
    e = np.exp([1.0, 2.0, 4.0])
    np.testing.assert_allclose(made.activate(logits)[0], e / e.sum(), rtol=1e-6)
    np.testing.assert_array_equal(made.activate(logits)[1], [1, 0, 0])
    warm = Bundle(made.graph, replace(CARD, temperature=2.0))
    e = np.exp([0.5, 1.0, 2.0])
    np.testing.assert_allclose(warm.activate(logits)[0], e / e.sum(), rtol=1e-6)
    apart = Bundle(made.graph, replace(CARD, activation="sigmoid"))
    np.testing.assert_allclose(apart.activate(logits)[0], [0.73105858, 0.88079708, 0.98201379], rtol=1e-6)
    np.testing.assert_array_equal(apart.activate(logits)[1], [1, 0.5, 0])


@pytest.mark.parametrize("place", [10, 1000, -1, -200, -2000])
def test_a_flipped_byte_is_noticed(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(BundleError, match=re.escape(str(path))):
        bundle.read_bundle(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"RIFF" + bytes(100)])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"x\.onnx"):
        bundle.read_bundle(path)


def test_half_a_model_is_refused(path):
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    with pytest.raises(BundleError, match="is not a model"):
        bundle.read_bundle(path)


def test_somebody_elses_onnx_is_refused(made, tmp_path):
    (tmp_path / "other.onnx").write_bytes(made.graph)
    with pytest.raises(BundleError, match="without a soundmark card"):
        bundle.read_bundle(tmp_path / "other.onnx")


def test_a_later_schema_asks_for_a_later_soundmark(made, tmp_path, monkeypatch):
    monkeypatch.setattr(card, "SCHEMA", 2)
    made.write(tmp_path / "later.onnx")
    monkeypatch.undo()
    with pytest.raises(BundleError, match="schema 2; this soundmark reads schema 1. Upgrade"):
        bundle.read_bundle(tmp_path / "later.onnx")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"classes": ()}, "classes"),
        ({"activation": "relu"}, 'activation is "relu"'),
        ({"window_s": -1.0}, "window_s is -1.0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"temperature": True}, "temperature is True"),
        ({"unknown": "x"}, "unknown is 'x'"),
        ({"classes": ("a", "b", "a")}, "two of its classes"),
        ({"recipe": [1]}, r"recipe is \[1\], not a table"),
        ({"scores": None}, "scores is None, not a table"),
        ({"versions": None}, "versions is None, not a table"),
        (
            {"representation": Image(size=(32, 32), image_shape=(4096, 4097))},
            r"image_shape is \[4096, 4097\], and 4096",
        ),
        ({"representation": Mel(size=(32, 32), n_fft=65_537)}, "n_fft is 65537, and 65536"),
        ({"representation": Mel(size=(32, 32), rate_hz=1_000_001)}, "rate_hz is 1000001, and 1000000"),
    ],
)
def test_a_card_that_cannot_be_used_is_refused(made, tmp_path, change, match):
    Bundle(made.graph, replace(CARD, **change)).write(tmp_path / "odd.onnx")
    with pytest.raises(BundleError, match=match):
        bundle.read_bundle(tmp_path / "odd.onnx")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"classes": ("dog", "siren")}, "32×32 spectrograms and 2 classes, and a graph that .*'logits': .*3"),
        ({"classes": tuple("abcde")}, "5 classes, and a graph"),
        ({"representation": Mel(size=(30, 30))}, "30×30 spectrograms and .* takes .*32, 32"),
    ],
)
def test_a_card_of_another_graph_is_refused(made, tmp_path, change, match):
    Bundle(made.graph, replace(CARD, **change)).write(tmp_path / "odd.onnx")
    with pytest.raises(BundleError, match=match):
        bundle.read_bundle(tmp_path / "odd.onnx")


def test_classes_that_are_one_string_are_refused():
    with pytest.raises(BundleError, match="classes are not a list of names"):
        Card.from_json(json.dumps(json.loads(CARD.to_json()) | {"classes": "abc"}), "odd.onnx")


def test_a_graph_is_made_ready_once(path, monkeypatch, examples):
    made_ready = []
    session = bundle.session
    monkeypatch.setattr(bundle, "session", lambda *made, **how: made_ready.append(made) or session(*made, **how))
    model = bundle.read_bundle(path)
    model.run_for(examples[:1], ("logits",), alone=True)
    assert len(made_ready) == 1
    assert copy.deepcopy(model) == model  # as for another process: without the session


def test_a_missing_file_and_a_folder_are_named(path, tmp_path):
    with pytest.raises(BundleError, match="cannot be read: No such file"):
        bundle.read_bundle(tmp_path / "none.onnx")
    with pytest.raises(BundleError, match=r"is a folder; .* There is .*model\.onnx"):
        bundle.read_bundle(tmp_path)


def test_is_written_whole_or_not_at_all(made, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        made.write(tmp_path / "file" / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]

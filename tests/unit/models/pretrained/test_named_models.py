"""pretrained: load("audioset") has AudioSet's class names in their order, and the logits of EfficientAT."""

import os
import subprocess
import sys

import numpy as np
import pytest

import soundmark
from soundmark import audio
from soundmark.errors import BundleError, SettingsError, WeightsError
from soundmark.models.pretrained import named_models as pretrained
from soundmark.models.pretrained import weights

EXPECTED = {  # UrbanSound8K class number → AudioSet classes, one of which should be among the top five
    1: {"Vehicle horn, car horn, honking", "Toot", "Car", "Vehicle"},
    2: {"Speech"},
    3: {"Dog", "Bark"},
    7: {"Jackhammer"},
    8: {"Siren", "Emergency vehicle"},
    9: {"Music"},
}


@pytest.fixture(scope="module")
def model(mn04_weights):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDMARK_WEIGHTS", str(mn04_weights.parent))
        yield soundmark.load("audioset")


def clip(shared, name):
    return shared / "urbansound8k" / "flac" / "fold1" / str(name)


def test_the_class_names_are_in_the_order_of_the_logits(efficientat):
    names = np.array(pretrained.audioset_classes())
    assert len(set(names)) == 527
    checked = set()
    for name, logits in zip(efficientat["clips"], efficientat["logits"], strict=True):
        expected = EXPECTED.get(number := int(str(name).split("-")[1]))
        if expected:
            assert expected & set(names[np.argsort(-logits)[:5]]), name
            checked.add(number)
    assert checked == set(EXPECTED)


@pytest.mark.slow
def test_real_clips_are_classified(model, shared, efficientat):
    for name in efficientat["clips"]:
        expected = EXPECTED.get(int(str(name).split("-")[1]))
        if expected:
            labels = {answer["label"] for answer in model.classify(clip(shared, name), top_k=5)}
            assert expected & labels, name


@pytest.mark.slow
def test_the_logits_are_close_to_those_of_efficientat(model, shared, efficientat):
    """Here, clips of 4 s are repeated to a window of 10 s; EfficientAT used them without repetition."""
    for name, expected in zip(efficientat["clips"], efficientat["logits"], strict=True):
        samples = audio.read(clip(shared, name), rate_hz=32_000).samples
        logits = model.bundle.run(model.card.representation(samples, 32_000)[None])[0]
        assert np.corrcoef(logits, expected)[0, 1] > 0.92, name
        assert np.abs(logits - expected).mean() < 0.6, name


@pytest.mark.slow
def test_the_model_has_the_documented_properties(model):
    assert model.classes[:2] == ("Speech", "Male speech, man speaking")
    assert model.card.activation == "sigmoid"
    assert model.card.window_s == 10.0
    assert model.bundle.outputs == ("logits", "embedding")
    assert model.card.representation.shape == (128, 1000)
    assert len(repr(model).encode()) < 2000
    assert "CC BY 4.0" in repr(model)
    assert model.embed(np.zeros(32_000 * 25), 32_000).shape == (3, 384)


@pytest.mark.slow
def test_the_model_is_built_once_and_again_if_the_file_is_damaged(model, monkeypatch):
    def fail():
        raise AssertionError("built again")

    monkeypatch.setattr(pretrained, "build_audioset", fail)
    assert soundmark.load("audioset").card == model.card
    (path,) = (pretrained.cache_folder() / "models").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr(pretrained, "build_audioset", lambda: model.bundle)
    assert soundmark.load("audioset").classes == model.classes
    assert pretrained.bundle.read_bundle(path).card == model.card


@pytest.mark.slow
def test_a_file_named_audioset_does_not_shadow_the_model(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audioset").write_text("a list")
    assert len(soundmark.load("audioset").classes) == 527
    with pytest.raises(BundleError, match='audioset" .* is not a model'):
        soundmark.load(tmp_path / "audioset")


def test_the_model_is_built_and_used_without_torch(mn04_weights, shared, tmp_path):
    sound = clip(shared, "106905-8-0-0.flac")
    code = (
        "import sys; sys.modules['torch'] = None; import soundmark; "
        f"found = soundmark.load('audioset').classify({str(sound)!r}); "
        "print(found[0]['label'], any(name.startswith('soundmark.training') for name in sys.modules))"
    )
    environment = os.environ | {"SOUNDMARK_WEIGHTS": str(mn04_weights.parent), "SOUNDMARK_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "Emergency vehicle False\n", done.stderr


def test_offline_on_first_use_one_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path))
    monkeypatch.delenv("SOUNDMARK_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "RELEASE", "http://127.0.0.1:9/")
    with pytest.raises(
        WeightsError, match=r"the weights of mn04 .* Download http://127\.0\.0\.1:9/mn04_as_mAP_432\.pt"
    ):
        soundmark.load("audioset")


@pytest.mark.slow
def test_classes_restrict_the_model_without_changing_their_probabilities(model, shared):
    few = pretrained.with_classes(model, "siren, Vehicle horn, car horn, honking,Dog")
    assert few.classes == ("Siren", "Vehicle horn, car horn, honking", "Dog")
    sound = clip(shared, "106905-8-0-0.flac")
    scores, all_scores = few.scores(sound), model.scores(sound)
    rows = [model.classes.index(name) for name in few.classes]
    np.testing.assert_allclose(scores.probabilities, all_scores.probabilities[:, rows], atol=1e-6)
    assert few.thresholds.tolist() == [pretrained.THRESHOLD] * 3
    np.testing.assert_array_equal(few.embed(sound), model.embed(sound))


@pytest.mark.slow
def test_unknown_classes_are_refused_with_the_nearest_names(model):
    with pytest.raises(SettingsError, match='no class "sirn". Did you mean "Siren"') as caught:
        pretrained.with_classes(model, ["sirn"])
    assert len(str(caught.value)) < 200, "527 names are not listed"
    with pytest.raises(SettingsError, match="no classes are given"):
        pretrained.with_classes(model, " , ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("audio-set", 'the model "audio-set" does not exist. Did you mean "audioset"?'),
        ("audoset", 'the model "audoset" does not exist. Did you mean "audioset"?'),
        ("7", 'the model "7" does not exist.'),
        ("model.onxn", 'the model "model.onxn" does not exist; did you mean "model.onnx"?'),
        ("finl/x.onnx", 'the model "finl/x.onnx" does not exist: "." contains no "finl"; did you mean "final"?'),
        ("final", 'the model "final" is a folder; a model is one .onnx file. Models in it: final/birds.onnx.'),
    ],
)
def test_the_message_for_a_missing_model_names_the_nearest(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").touch()
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "birds.onnx").touch()
    with pytest.raises(BundleError) as caught:
        soundmark.load(name)
    assert str(caught.value) == message

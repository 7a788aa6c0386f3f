"""Backbones from ONNX files, from training to every use of the model; mn04 with its front end on the real clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import soundmark
from soundmark import audio
from soundmark.datasets import Dataset
from soundmark.errors import OutputError, SettingsError
from soundmark.evaluation.comparison import compare
from soundmark.evaluation.curve_run import learning_curve
from soundmark.evaluation.label_check import check_labels
from soundmark.evaluation.quantisation import quantise
from soundmark.models.classifier import Model, load
from soundmark.models.export.waveform import check_export, export_metadata, with_front_end
from soundmark.models.pretrained.backbone import load_backbone
from soundmark.models.streaming import StreamClassifier
from soundmark.training import named_recipes
from soundmark.training.methods import extractor_of
from soundmark.training.recipe import Recipe
from soundmark.training.single_model import train
from support.backbones import write_mn04, write_small
from support.commands import run_soundmark

WINDOWS = {  # another sample rate and window than mn04's
    "1 s at 16 kHz": {"rate_hz": 16000, "samples": 16_000},
    "5 s at 24 kHz, one window at a time": {"rate_hz": 24000, "samples": 120_000, "batch": 1, "channel": True},
    "any window at 8 kHz": {"rate_hz": 8000, "samples": "samples"},
}


@pytest.fixture(scope="module", params=WINDOWS)
def trained(request, city: Dataset, tmp_path_factory) -> tuple[Model, Path]:
    """A model for the synthetic city, and its file; the file of its backbone is gone."""
    folder = tmp_path_factory.mktemp("waveform")
    path = write_small(folder / "backbone.onnx", **WINDOWS[request.param])
    model = train(city, "transfer", folder / "run", backbone=str(path), test_fold=3, quiet=True)
    path.unlink()
    return model, folder / "run" / "model.onnx"


def test_the_model_is_one_file_for_waveforms(trained):
    model, path = trained
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    samples = model.card.representation.window_samples
    assert (given.name, given.shape[1:]) == ("waveform", [samples])
    assert model.card.window_s == samples / model.card.representation.rate_hz
    assert {"logits", "embedding", "familiarity", "presence"} <= set(model.bundle.outputs)
    assert model.card.recipe["backbone"] == "backbone.onnx"
    assert "backbone.onnx (SHA-256 " in str(model.card.training.weights)


def test_it_classifies_better_than_chance(trained, city):
    assert trained[0].card.scores["accuracy"] > 0.3  # ten classes


def test_saved_and_loaded_it_is_the_same(trained, city, tmp_path):
    model, _ = trained
    model.save(tmp_path / "copy.onnx")
    path = city.clips[0].path
    assert load(tmp_path / "copy.onnx").classify(path) == model.classify(path)


def test_clips_are_scored_as_in_training(trained, city):
    """The store of an evaluation and ``classify`` compute the same inputs."""
    from soundmark.datasets import features

    model, _ = trained
    store = features.build(city, model.card.representation, window_s=model.card.window_s, jobs=1)
    found = model.clip_probabilities(store, np.array([0, 31]))
    for row, clip in zip(found, (0, 31), strict=True):
        scores = model.scores(city.clips[clip].path)
        np.testing.assert_allclose(scores.mean(), row, atol=2e-5)


def test_a_stream_gives_the_scores_and_events_of_the_file(trained, city, tmp_path):
    model, _ = trained
    sounds = [city.clips[i].read() for i in (0, 7, 20, 33, 48)]
    samples = np.concatenate([sound.samples for sound in sounds])
    audio.write(tmp_path / "long.wav", samples, sounds[0].rate_hz)
    expected = model.scores(tmp_path / "long.wav", overlap=model.overlap)
    decoded = audio.read(tmp_path / "long.wav")
    for n_blocks in (7, 301):
        parts = []
        stream = StreamClassifier(model, decoded.rate_hz, pieces=False, on_scores=parts.append)
        events = [event for block in np.array_split(decoded.samples, n_blocks) for event in stream.push(block)]
        events += stream.finish()
        found = np.concatenate([part.probabilities for part in parts])
        np.testing.assert_allclose(found, expected.probabilities, atol=2e-5)
        assert len(events) == len(model.events(tmp_path / "long.wav"))


def test_listening_and_detecting_on_the_command_line(trained, city, tmp_path):
    _, path = trained
    sound = city.clips[3].path
    classified = run_soundmark("classify", sound, "-m", path, cwd=tmp_path)
    assert classified.returncode == 0, classified.stderr
    pcm = (np.clip(audio.read(sound).samples, -1, 1) * 32767).astype("<i2").tobytes()
    rate = str(audio.read(sound).rate_hz)
    listened = run_soundmark("listen", "-", "--rate", rate, "-m", path, cwd=tmp_path, input=pcm)
    assert listened.returncode == 0, listened.stderr
    shown = run_soundmark("show", path, cwd=tmp_path)
    assert "waveform" in shown.stdout
    assert shown.returncode == 0, shown.stderr


def test_explanations_cover_times(trained, city):
    model, _ = trained
    found = model.explain(city.clips[3].path)
    assert found.importance.shape == (1, model.card.representation.window_samples)
    assert found.picture.pixels.ndim == 2
    assert np.isfinite(found.pixel_importance()).all()
    assert "s" in found.sentence()


def test_its_export_agrees(trained):
    model, _ = trained
    dynamic = model.card.representation.rate_hz == 8000
    exported = with_front_end(model, dynamic=dynamic)
    assert check_export(model, exported).segments >= 6
    assert export_metadata(model, dynamic=dynamic)["inside"] == ["temperature", "softmax"]


def test_eight_bits_are_refused(trained, city):
    with pytest.raises(SettingsError, match="computes its own spectrogram from the waveform, which is too inaccurate"):
        quantise(trained[0], city)


def test_embeddings_and_evaluation(trained, city, tmp_path):
    model, path = trained
    assert model.embed(city.clips[0].path).shape[1] == 64
    evaluated = run_soundmark("evaluate", city.root, "-m", path, cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "accuracy" in evaluated.stdout


def test_training_resumes_only_with_the_same_file(city, tmp_path, caplog):
    path = write_small(tmp_path / "backbone.onnx")
    first = train(city, "transfer", tmp_path / "run", backbone=str(path), quiet=True)
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "backbone.onnx")
    again = train(city, "transfer", tmp_path / "run", backbone=str(moved), quiet=True)
    assert again.card == first.card
    assert "recreated" not in caplog.text
    write_small(moved, metadata={"sample_rate": "16000", "license": "MIT"})
    with pytest.raises(OutputError, match=r"another run: it differs in recipe.backbone_sha256"):
        train(city, "transfer", tmp_path / "run", backbone=str(moved), quiet=True)


def test_the_recipe_of_a_run_names_the_file(city, tmp_path):
    path = write_small(tmp_path / "backbone.onnx")
    train(city, "transfer", tmp_path / "run", backbone=str(path), quiet=True)
    text = (tmp_path / "run" / "recipe.toml").read_text()
    recipe = named_recipes.recipe(tmp_path / "run" / "recipe.toml")
    assert Recipe.from_toml(text) == recipe
    write_small(path, samples=8000)
    with pytest.raises(SettingsError, match=r"is not the file of the recipe transfer: its SHA-256 is"):
        named_recipes.recipe(tmp_path / "run" / "recipe.toml")


def test_compare_curve_and_labels_use_it(city, tmp_path):
    path = write_small(tmp_path / "backbone.onnx")
    found = compare(city, ["transfer"], tmp_path / "run", protocols="folds", backbone=str(path), quiet=True)
    assert (tmp_path / "run" / "report.html").exists()
    assert found.results[0].recipe.backbone_sha256
    curve = learning_curve(city, "transfer", tmp_path / "curve", backbone=str(path), draws=1, quiet=True)
    assert len(curve.points) == 2
    assert len(check_labels(city, "transfer", backbone=str(path), quiet=True).suspects) == 30


@pytest.mark.parametrize("command", ["train", "compare", "curve", "inspect"])
def test_the_commands_take_a_file(command, city, tmp_path):
    write_small(tmp_path / "backbone.onnx", metadata={})
    chosen = ("--backbone", "backbone.onnx", "--backbone-rate", "16000", "--backbone-output", "scores")
    more = {"compare": ("--recipe", "transfer", "--protocol", "folds"), "curve": ("--draws", "1")}
    output = ("--labels", "transfer", "-o", "labels.csv") if command == "inspect" else ("-o", "run")
    done = run_soundmark(command, city.root, *output, *chosen, *more.get(command, ()), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ("labels.csv" if command == "inspect" else "run")).exists()
    if command == "train":
        assert load(tmp_path / "run" / "model.onnx").embed(city.clips[0].path).shape[1] == 5


def test_a_recipe_may_be_its_backbone(city, tmp_path):
    path = write_small(tmp_path / "my backbone.onnx")
    recipe = Recipe(backbone=str(path))
    assert recipe.name == "my-backbone"
    model = soundmark.train(city, recipe, tmp_path / "run", quiet=True)
    assert model.card.representation.rate_hz == 16000


def test_features_are_stored_by_the_digest_of_the_file(tmp_path):
    keys = []
    for licence in ("MIT", "Apache-2.0"):
        path = write_small(tmp_path / "backbone.onnx", metadata={"sample_rate": "16000", "license": licence})
        keys.append(extractor_of(named_recipes.recipe("transfer", backbone=str(path))).settings())
    assert keys[0] != keys[1]
    assert {key: value for key, value in keys[0].items() if value != keys[1][key]}.keys() == {"backbone"}


def test_a_time_expansion_applies_to_waveforms(city, tmp_path):
    path = write_small(tmp_path / "backbone.onnx")
    model = train(city, "transfer", tmp_path / "run", backbone=str(path), time_expansion=2.0, quiet=True)
    assert (model.card.window_s, model.card.representation.input_rate_hz) == (0.5, 32000)
    assert model.classify(city.clips[0].path, top_k=1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"window_s": 2.0}, "cannot have windows of 2 s: its backbone takes windows of 1 s. Omit --window"),
        ({"band": (50, 4000)}, "cannot be set for a backbone that takes waveforms"),
    ],
)
def test_settings_that_the_backbone_does_not_allow_are_refused(city, tmp_path, options, match):
    path = write_small(tmp_path / "backbone.onnx")
    with pytest.raises(SettingsError, match=match):
        train(city, "transfer", tmp_path / "run", backbone=str(path), quiet=True, **options)


def test_backbones_with_different_windows_are_compared_separately(city, tmp_path):
    recipes = []
    for name, samples in (("one", 16_000), ("two", 8_000)):
        path = write_small(tmp_path / f"{name}.onnx", samples=samples)
        recipes.append(replace(named_recipes.recipe("transfer", backbone=str(path)), name=name))
    with pytest.raises(SettingsError, match=r"windows of different lengths \(one: 1 s and two: 0.5 s\)"):
        compare(city, recipes, tmp_path / "run", protocols="folds", quiet=True)


@pytest.mark.long(300)
def test_mn04_with_its_front_end_is_as_accurate_on_real_clips(urbansound8k, mn04_weights, tmp_path):
    """The features of complete clips are equal to 1e-4 of the largest; the accuracy on a held-out fold to a point."""
    path = write_mn04(tmp_path / "mn04_waveform.onnx", load_backbone("mn04", (128, 400)), 4.0)
    data = Dataset.open(urbansound8k)
    named, waveform = (named_recipes.recipe("transfer", backbone=name).for_window(4.0) for name in ("mn04", str(path)))
    for clip in data.clips[::211]:
        sound = clip.read()
        expected, found = (extractor_of(one)(sound.samples, sound.rate_hz)[0] for one in (named, waveform))
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    accuracies = [
        train(data, "transfer", tmp_path / name, backbone=backbone, test_fold=10, quiet=True).card.scores["accuracy"]
        for name, backbone in (("named", "mn04"), ("waveform", str(path)))
    ]
    assert abs(accuracies[0] - accuracies[1]) < 0.01

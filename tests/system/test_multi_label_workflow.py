"""Multi-label data from the CSV table to the report: training, thresholds, evaluation and detection."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.cli import tables
from soundmark.datasets import Dataset
from soundmark.datasets.splits import Split
from soundmark.detection.file_analysis import analyze_file, analyze_files
from soundmark.detection.inputs import Failure, Input
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import BundleError
from soundmark.evaluation import comparison, model_evaluation, report
from soundmark.evaluation.plan import make_plan
from soundmark.evaluation.results import Evaluation
from soundmark.models import bundle, card_text
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model, load
from soundmark.spectrograms import LogMel, Mel
from soundmark.training.named_recipes import recipe_named
from soundmark.training.recipe import Recipe
from soundmark.training.run_folder import with_figures_checksum
from soundmark.training.single_model import comparison_scores
from soundmark.training.unit import Outcome, Unit
from support.models import linear_graph

CLASSES = ("low", "high", "loud")


def graph() -> bytes:
    """A graph whose logits are the mean levels of the lower bands, the upper bands and all, in 10 dB above −50 dB."""
    weights = np.zeros((64, 3), np.float32)
    weights[:32, 0], weights[32:, 1], weights[:, 2] = 1 / 320, 1 / 320, 1 / 640
    return linear_graph(weights, np.full(3, 5, np.float32))


def model(**card) -> Model:
    settings = {"classes": CLASSES, "representation": Mel(size=(8, 8)), "window_s": 0.5, "activation": "sigmoid"}
    return Model(Bundle(graph(), Card(**(settings | card))))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Eight clips from four recordings: a low tone, a high tone, both, and near silence, twice each."""
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    t = np.arange(4000) / 8000
    low, high = 0.3 * np.sin(2 * np.pi * 200 * t), 0.3 * np.sin(2 * np.pi * 3000 * t)
    sounds = {"low": low, "high": high, "low;high;loud": low + high, "": 1e-6 * high}
    rows = ["path,label,fold,source"]
    for i, (label, samples) in enumerate([*sounds.items()] * 2):
        audio.write(tmp_path / f"{i}.wav", samples, 8000)
        rows.append(f"{i}.wav,{label},{1 + i // 4},r{i // 2}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    return Dataset.open(tmp_path / "t.csv")


def test_thresholds_are_saved_with_the_model_and_default_to_one_half(tmp_path: Path):
    saved = model(thresholds=(0.25, 0.5, 0.75)).bundle
    saved.write(tmp_path / "m.onnx")
    loaded = bundle.read_bundle(tmp_path / "m.onnx")
    assert loaded == saved
    assert Model(loaded).thresholds.tolist() == [0.25, 0.5, 0.75]
    older = json.loads(saved.card.to_json())  # a card of an earlier version
    del older["thresholds"]
    assert Card.from_json(json.dumps(older), "m.onnx").thresholds is None
    assert model().thresholds.tolist() == [0.5, 0.5, 0.5]
    assert model(activation="softmax").thresholds is None


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"thresholds": (0.5, 0.5)}, r"its thresholds are \(0.5, 0.5\), not one for each of 3 classes"),
        ({"thresholds": (0.5, 0.5, 1.5)}, r"its thresholds are \[0.5, 0.5, 1.5\], not all between 0 and 1"),
        ({"thresholds": (0.5, "high", None)}, "not all between 0 and 1"),
        ({"thresholds": "half"}, "not one for each of 3 classes"),
        ({"thresholds": (0.5, 0.5, 0.5), "activation": "softmax"}, "which need sigmoid outputs"),
    ],
)
def test_invalid_thresholds_are_rejected(changes, match):
    with pytest.raises(BundleError, match=match):
        Card.from_json(model(**changes).card.to_json(), "m.onnx")


def test_a_sigmoid_model_predicts_the_classes_above_their_thresholds(data: Dataset, capsys):
    path = data.clips[2].path
    scores = {entry["label"]: entry["score"] for entry in model().classify(path)}
    sigmoid = model(thresholds=(scores["low"], np.nextafter(scores["high"], 1), 0.0))
    files = [Input(str(path), path.name), Input(str(path.with_name("none.wav")), "none.wav")]
    result, failed = analyze_files(sigmoid, files, DetectionSettings(top_k=1))
    present = {entry["label"]: entry["present"] for entry in result.answer}
    assert present.get("low") is True
    assert present.get("loud") is True
    assert present.get("high", False) is False
    assert sorted(event.label for event in result.events) == ["loud", "low"]
    assert isinstance(failed, Failure)
    tables.show_results([result])
    assert capsys.readouterr().out.count("present") == 2
    softmax = analyze_file(model(activation="softmax"), files[0], DetectionSettings(top_k=1))
    assert "present" not in softmax.answer[0]


def test_a_model_is_evaluated_on_multi_label_data(data: Dataset, tmp_path: Path, capsys):
    tested = model_evaluation.evaluate_model(model(thresholds=(0.5, 0.5, 1.0)), data, folder=tmp_path / "out", jobs=1)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["mean_average_precision"] == tested.summary.mean_average_precision
    assert [one["threshold"] for one in metrics["per_class"]] == [0.5, 0.5, 1.0]
    assert [one["support"] for one in metrics["per_class"]] == [4, 4, 2]
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == ["low", "high", "low;high;loud", ""] * 2
    for row in rows:
        predicted = [name for name in ("low", "high") if float(row[name]) >= 0.5]
        assert row["predicted"] == ";".join(predicted)
    tables.show_scored(tested)
    out = capsys.readouterr().out
    assert f"mAP {100 * tested.summary.mean_average_precision:.1f} %" in out
    assert "threshold" in out


def test_a_comparison_of_multi_label_data_reports_map(data: Dataset, tmp_path: Path, capsys):
    rng = np.random.default_rng(0)
    outcomes = []
    for name, noise in (("notebook-mel", 0.1), ("notebook-image", 0.9)):
        for fold in (1, 2):
            test = np.flatnonzero(data.fold_of == fold)
            unit = Unit(
                recipe=recipe_named(name),
                protocol="folds",
                split=Split(np.flatnonzero(data.fold_of != fold), test, fold),
                folder=tmp_path,
            )
            p = (1 - noise) * data.targets[test] + noise * rng.random((len(test), 3), np.float32)
            engine = {"threads": 1, "precision": "float32", "device": "cpu"}
            thresholds = (0.5, 0.5, 0.2 * fold)
            outcomes.append(
                Outcome(
                    unit=unit, history=(), engine=engine, probabilities=p.astype(np.float32), training_s=1, testing_s=1,
                    thresholds=thresholds,
                )
            )  # fmt: skip
    results = [comparison.pool_outcomes(data, pair, features_s=1.0) for pair in (outcomes[:2], outcomes[2:])]
    assert results[0].summary.mean_average_precision == 1.0
    assert results[0].thresholds[:, 2].tolist() == [0.2] * 4 + [0.4] * 4
    found = Evaluation(
        dataset=data,
        seed=0,
        results=tuple(results),
        comparisons=(comparison.compare_results(data, *results),),
        skipped=(),
        versions={},
        machine={},
    )
    metrics = json.loads(json.dumps(with_figures_checksum(found.to_json()), allow_nan=False))
    assert metrics["results"][0]["mean_average_precision"] == 1.0
    assert metrics["results"][0]["folds"][0]["mean_average_precision"] == 1.0
    assert metrics["comparisons"][0]["difference"] > 0
    assert "accuracy" not in metrics["results"][0]
    tables.show_evaluation(found)
    assert "mAP % [95 %]" in capsys.readouterr().out
    page = report.render(found)
    assert "Mean average precision (mAP) with 95 % intervals" in page
    assert "reached the highest mAP on the official folds: 100.0 %" in page
    assert "Not available for multi-label data: a clip can have several classes." in page
    assert "predicted class" not in page
    assert "McNemar’s test does not apply" in page


def test_a_card_contains_the_map_of_a_comparison(data: Dataset, tmp_path: Path):
    recipe = recipe_named("notebook-mel")
    result = {
        "recipe": "notebook-mel", "settings": recipe.settings(), "protocol": "folds", "n_test": 8, "macro_f1": 0.5,
        "mean_average_precision": 0.75, "mean_average_precision_interval": [0.6, 0.9], "ece": 0.1, "fold_mean": 0.7,
        "fold_sd": 0.1, "folds": [{"fold": 1}, {"fold": 2}],
    }  # fmt: skip
    found = with_figures_checksum({"dataset": {"fingerprint": data.fingerprint}, "results": [result]})
    (tmp_path / "metrics.json").write_text(json.dumps(found))
    scores = comparison_scores(tmp_path, recipe, data)
    assert scores["mean_average_precision"] == 0.75
    assert dict(card_text.card_lines(model(scores=scores).card))["scores"].startswith(
        "mAP 75.0 % (95 % interval 60.0 to 90.0) on 8 clips: cross-validation of the recipe in a comparison"
    )


def test_multi_label_data_can_be_trained_on_and_classified(data, tmp_path):
    tiny = Recipe(
        name="tiny",
        representation=LogMel(
            rate_hz=8000, size=(32, 32), n_fft=512, window_samples=400, hop_samples=200, f_max_hz=4000.0
        ),
        network="resnet",
        epochs=60,
        batch_size=4,
        learning_rate=3e-3,
        schedule="one-cycle",
    )
    found = comparison.run_plan(make_plan(data, [tiny], protocols=["folds"]), tmp_path / "run")
    (result,) = found.results
    assert result.summary.headline.key == "mean_average_precision"
    assert result.summary.mean_average_precision > 0.9  # four sounds, each also in the training set
    trained = load(tmp_path / "run" / "tiny" / "folds" / "fold-1" / "model.onnx")
    assert trained.card.activation == "sigmoid"
    both = trained.scores(tmp_path / "2.wav").probabilities[0]
    neither = trained.scores(tmp_path / "3.wav").probabilities[0]
    assert both.sum() > 2  # low, high and loud: the probabilities do not sum to one
    assert neither.sum() < 1

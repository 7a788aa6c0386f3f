"""comparison: the files of a run, scores against scikit-learn, resuming, and data leakage."""

import itertools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss
from sklearn.model_selection import train_test_split

from soundmark import audio
from soundmark.cli import tables
from soundmark.datasets import Dataset, splits
from soundmark.datasets.protocols import PROTOCOLS
from soundmark.errors import OutputError
from soundmark.evaluation import comparison, report
from soundmark.evaluation.plan import leakage_warnings, make_plan
from soundmark.evaluation.results import result_to_json
from soundmark.metrics import calibration_error, single_label
from soundmark.metrics.predictions import read_predictions, write_predictions
from soundmark.models import bundle
from soundmark.models.classifier import load
from soundmark.training.epochs import engine
from soundmark.training.epochs.engine import Engine
from soundmark.training.run_folder import exclusive_run
from soundmark.training.unit import Outcome, Unit
from support.comparisons import SMALL_RECIPES, UNIT_FILES, find_result, read_metrics, read_table, with_clips

pytestmark = pytest.mark.slow


def write_table_with_folds(folder: Path, data: Dataset, fold_of) -> Dataset:
    """Write a CSV table of two clips per recording, in consecutive rows; row i has the fold ``fold_of(i)``."""
    by_source = sorted(data.clips, key=lambda clip: (clip.source, str(clip.path)))
    pairs = [clip for _, group in itertools.groupby(by_source, lambda clip: clip.source) for clip in [*group][:2]]
    rows = [f"{clip.path},{clip.label},{fold_of(i)},{clip.source}" for i, clip in enumerate(pairs)]
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("\n".join(["path,label,fold,source", *rows, ""]))
    return Dataset.open(folder / "labels.csv")


def make_outcome(data, fold, probabilities, folder, **more) -> Outcome:
    """Return the outcome of a training with the given test probabilities, without training."""
    test = np.flatnonzero(data.fold_of == fold)
    split = splits.Split(np.flatnonzero(data.fold_of != fold), test, fold)
    unit = Unit(recipe=SMALL_RECIPES[1], protocol="folds", split=split, folder=folder)
    engine = {"threads": 1, "precision": "float32", "device": "cpu"}
    return Outcome(
        unit=unit, history=(), engine=engine, probabilities=probabilities[test], training_s=1, testing_s=1, **more
    )


def test_a_run_has_the_documented_files(comparison_run):
    for recipe in ("notebook-image", "notebook-mel"):
        for unit in ("random", "folds/fold-1", "folds/fold-2", "folds/fold-3"):
            names = {path.name for path in (comparison_run / recipe / unit).iterdir()}
            assert names == UNIT_FILES
        assert (comparison_run / recipe / "folds" / "predictions.csv").is_file()


def test_predictions_contain_each_test_clip_once(comparison_run, sibling_city):
    rows = read_table(comparison_run / "notebook-mel" / "folds" / "predictions.csv")
    assert list(rows[0]) == ["path", "fold", "source", "label", "predicted", *sibling_city.classes]
    assert [row["path"] for row in rows] == [sibling_city.relative_path(clip) for clip in sibling_city.clips]
    for row, clip in zip(rows, sibling_city.clips, strict=True):
        assert (row["fold"], row["source"], row["label"]) == (str(clip.fold), clip.source, clip.label)
        scores = [float(row[name]) for name in sibling_city.classes]
        assert sum(scores) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == sibling_city.classes[int(np.argmax(scores))]


def test_the_random_split_matches_scikit_learn(comparison_run, sibling_city):
    _, test = train_test_split(np.arange(len(sibling_city.clips)), test_size=0.33, random_state=42)
    expected = [sibling_city.relative_path(sibling_city.clips[i]) for i in sorted(test)]
    rows = read_table(comparison_run / "notebook-mel" / "random" / "predictions.csv")
    assert [row["path"] for row in rows] == expected


@pytest.mark.parametrize("protocol", ["random", "folds"])
@pytest.mark.parametrize("recipe", ["notebook-image", "notebook-mel"])
def test_scores_match_scikit_learn_on_the_predictions(comparison_run, sibling_city, recipe, protocol):
    result = find_result(read_metrics(comparison_run), recipe, protocol)
    rows = read_table(comparison_run / recipe / protocol / "predictions.csv")
    truth = [row["label"] for row in rows]
    predicted = [row["predicted"] for row in rows]
    p = np.array([[float(row[name]) for name in sibling_city.classes] for row in rows])
    order = sorted(sibling_city.classes)
    columns = [sibling_city.classes.index(name) for name in order]
    assert result["n_test"] == len(rows)
    assert result["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert result["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
    assert result["log_loss"] == pytest.approx(log_loss(truth, p[:, columns], labels=order), rel=1e-6)
    assert result["confusion"] == confusion_matrix(truth, predicted, labels=sibling_city.classes).tolist()
    assert result["accuracy_interval"][0] <= result["accuracy"] <= result["accuracy_interval"][1]


def test_metrics_json_has_the_documented_keys(comparison_run, sibling_city):
    found = json.loads((comparison_run / "metrics.json").read_text())
    assert found["schema"] == 1
    assert found["dataset"] == {
        "name": sibling_city.name,
        "path": str(sibling_city.root),
        "clips": len(sibling_city.clips),
        "classes": list(sibling_city.classes),
        "fingerprint": sibling_city.fingerprint,
    }
    assert {"soundmark", "versions", "machine", "seed", "skipped", "results", "comparisons"} <= set(found)
    keys = "recipe protocol n_train n_test accuracy accuracy_interval macro_f1 log_loss ece per_class per_salience "
    keys += "confusion folds fold_mean fold_sd leak seconds"
    assert set(keys.split()) <= set(found["results"][0])
    assert set(found["results"][0]["leak"]) == {"recording", "recording_and_class", "lookup_accuracy"}
    assert set(found["results"][0]["seconds"]) == {"features", "training", "testing"}
    assert {c["protocol"] for c in found["comparisons"]} == {"random", "folds"}
    for pair in found["comparisons"]:
        by_recipe = {r["recipe"]: r["accuracy"] for r in found["results"] if r["protocol"] == pair["protocol"]}
        assert pair["recipes"] == ["notebook-image", "notebook-mel"]
        assert pair["difference"] == pytest.approx(by_recipe["notebook-image"] - by_recipe["notebook-mel"])


def test_the_saved_model_reproduces_its_predictions(comparison_run, sibling_city):
    unit = comparison_run / "notebook-image" / "folds" / "fold-2"
    model = load(unit / "model.onnx")
    for row in read_table(unit / "predictions.csv")[::9]:
        scores = model.scores(sibling_city.root / row["path"]).probabilities[0]
        np.testing.assert_allclose(scores, [float(row[name]) for name in sibling_city.classes], atol=1e-5)


def test_the_same_seed_gives_the_same_predictions(comparison_run, sibling_city, tmp_path):
    comparison.run_plan(make_plan(sibling_city, SMALL_RECIPES[1:], protocols=["folds"]), tmp_path / "again")
    for path in ("folds/predictions.csv", "folds/fold-3/predictions.csv"):
        first, second = (run / "notebook-mel" / path for run in (comparison_run, tmp_path / "again"))
        assert second.read_bytes() == first.read_bytes()


def test_a_second_call_trains_nothing_and_gives_the_same_metrics(comparison_run, sibling_city, tmp_path, monkeypatch):
    folder = shutil.copytree(comparison_run, tmp_path / "run")
    monkeypatch.setattr("soundmark.training.epochs.loop.train_network", None)
    comparison.run_plan(make_plan(sibling_city, SMALL_RECIPES), folder)
    first, second = (json.loads((run / "metrics.json").read_text()) for run in (comparison_run, folder))
    assert second == first


def test_resuming_uses_the_precision_and_threads_of_finished_units(comparison_run, sibling_city, tmp_path, monkeypatch):
    folder = shutil.copytree(comparison_run, tmp_path / "run")
    (folder / "notebook-mel" / "folds" / "fold-2" / "model.onnx").unlink()
    other = Engine(device="cpu", precision="float32", threads=1)
    monkeypatch.setattr(engine, "choose_engine", lambda _="auto": other)
    comparison.run_plan(make_plan(sibling_city, SMALL_RECIPES), folder)
    assert read_metrics(folder) == read_metrics(comparison_run)


@pytest.mark.parametrize("lost", ["model.onnx", "predictions.csv", "history.csv"])
def test_missing_or_damaged_files_of_a_unit_are_recomputed(comparison_run, sibling_city, tmp_path, lost):
    folder = shutil.copytree(comparison_run, tmp_path / "run")
    (folder / "notebook-mel" / "random" / lost).unlink()
    damaged = folder / "notebook-mel" / "folds" / "fold-1" / "model.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    comparison.run_plan(make_plan(sibling_city, SMALL_RECIPES), folder)
    assert read_metrics(folder) == read_metrics(comparison_run)
    assert (folder / "notebook-mel/random/predictions.csv").read_bytes() == (
        comparison_run / "notebook-mel/random/predictions.csv"
    ).read_bytes()


def test_the_folder_of_another_run_is_rejected(comparison_run, sibling_city, tmp_path):
    folder = shutil.copytree(comparison_run, tmp_path / "run")
    other = [replace(SMALL_RECIPES[1], learning_rate=0.5)]
    with pytest.raises(OutputError, match=r"contains another run: it differs in recipe\.learning_rate.*--fresh"):
        comparison.run_plan(make_plan(sibling_city, other), folder)
    with pytest.raises(OutputError, match="contains another run: of synthetic city"):
        comparison.run_plan(make_plan(sibling_city.without([0]), SMALL_RECIPES), folder)
    assert read_metrics(folder) == read_metrics(comparison_run)


def test_fresh_starts_over_and_keeps_other_files(comparison_run, sibling_city, tmp_path):
    folder = shutil.copytree(comparison_run, tmp_path / "run")
    (folder / "notes.txt").write_text("mine")
    other = [replace(SMALL_RECIPES[1], seed=3)]
    comparison.run_plan(make_plan(sibling_city, other, protocols=["random"]), folder, fresh=True)
    assert bundle.read_bundle(folder / "notebook-mel" / "random" / "model.onnx").card.recipe["seed"] == 3
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_unreadable_clip_is_skipped_and_the_split_is_unchanged(comparison_run, sibling_city_folder, tmp_path):
    data = Dataset.open(shutil.copytree(sibling_city_folder, tmp_path / "city"))
    data.clips[10].path.write_bytes(b"RIFF")
    found = comparison.run_plan(make_plan(data, SMALL_RECIPES[1:], protocols=["random"]), tmp_path / "run")
    name = data.relative_path(data.clips[10])
    assert [item.path for item in found.skipped] == [name]
    assert [item["path"] for item in json.loads((tmp_path / "run" / "metrics.json").read_text())["skipped"]] == [name]
    before = {row["path"] for row in read_table(comparison_run / "notebook-mel" / "random" / "predictions.csv")}
    after = {row["path"] for row in read_table(tmp_path / "run" / "notebook-mel" / "random" / "predictions.csv")}
    assert after == before - {name}
    fold = found.results[0].folds[0]
    assert fold.n_train + fold.n_test == len(data.clips) - 1


def test_leakage_warnings_are_logged_before_training_and_not_for_a_finished_run(sibling_city, tmp_path, caplog):
    plan = make_plan(sibling_city, SMALL_RECIPES[1:], protocols=["random"])
    comparison.run_plan(plan, tmp_path / "run")
    assert [message for message in caplog.messages if message.startswith("random: ")] == leakage_warnings(
        plan, np.ones(len(sibling_city.clips), bool)
    )
    caplog.clear()
    comparison.run_plan(plan, tmp_path / "run")
    assert caplog.messages == []


def test_folds_that_split_recordings_give_a_warning_with_the_leakage(sibling_city, tmp_path, caplog):
    """Every other recording has one clip in each of two folds."""
    leaky = write_table_with_folds(tmp_path / "leaky", sibling_city, lambda i: 1 + i % 2 if i % 4 < 2 else 1)
    found = comparison.run_plan(make_plan(leaky, SMALL_RECIPES[1:], protocols=["folds"]), tmp_path / "run")
    text = found.results[0].leak.in_words()
    assert text.startswith("50.0 % of the test clips come from a recording")
    assert f"folds: {text}{PROTOCOLS['folds'].leakage_note}" in caplog.messages
    leak = read_metrics(tmp_path / "run")["results"][0]["leak"]
    assert (leak["recording"], leak["recording_and_class"]) == (0.5, 0.5)
    assert found.results[0].leak.lookup_accuracy >= 0.5
    assert f"These folds do not keep recordings together: {text}" in report.render(found)
    clean = write_table_with_folds(tmp_path / "clean", sibling_city, lambda i: 1 + i // 2 % 2)
    assert leakage_warnings(make_plan(clean, SMALL_RECIPES, protocols=["folds"]), np.ones(len(clean.clips), bool)) == []


def test_a_recording_with_another_class_in_each_fold_is_reported_without_a_warning(sibling_city, tmp_path, caplog):
    """Five recordings of UrbanSound8K are like this: clips of different classes in different folds."""
    first, other = sibling_city.classes[:2]
    shared = {i for i, clip in enumerate(sibling_city.clips) if (clip.label, clip.fold) in ((first, 1), (other, 2))}
    clips = tuple(replace(clip, source="both") if i in shared else clip for i, clip in enumerate(sibling_city.clips))
    data = replace(sibling_city, clips=clips)
    found = comparison.run_plan(make_plan(data, SMALL_RECIPES[1:], protocols=["folds"]), tmp_path / "run")
    leak = read_metrics(tmp_path / "run")["results"][0]["leak"]
    assert (leak["recording"], leak["recording_and_class"]) == (len(shared) / len(clips), 0.0)
    assert [message for message in caplog.messages if message.startswith("folds: ")] == []
    assert found.results[0].leak.in_words() in tables.leak_lines(found)[0]
    assert "do not keep recordings together" not in report.render(found)


def test_grouped_has_the_same_files_as_folds(grouped_run, sibling_city):
    folder = grouped_run / "notebook-mel" / "grouped"
    assert sorted(path.name for path in folder.iterdir()) == [*(f"fold-{k}" for k in range(1, 6)), "predictions.csv"]
    tested = [row["path"] for row in read_table(folder / "predictions.csv")]
    assert tested == [sibling_city.relative_path(clip) for clip in sibling_city.clips]
    for k in range(1, 6):
        assert {path.name for path in (folder / f"fold-{k}").iterdir()} == UNIT_FILES
        sources = {row["source"] for row in read_table(folder / f"fold-{k}" / "predictions.csv")}
        others = [
            row["source"] for j in range(1, 6) if j != k for row in read_table(folder / f"fold-{j}/predictions.csv")
        ]
        assert not sources & set(others)
    result = find_result(read_metrics(grouped_run), "notebook-mel", "grouped")
    assert result["leak"]["recording"] == 0
    assert [fold["fold"] for fold in result["folds"]] == [1, 2, 3, 4, 5]


def test_two_processes_cannot_write_to_the_same_folder(sibling_city, tmp_path):
    with ThreadPoolExecutor(1) as other, exclusive_run(tmp_path / "run"):
        second = other.submit(comparison.run_plan, make_plan(sibling_city, SMALL_RECIPES), tmp_path / "run")
        with pytest.raises(OutputError, match="another soundmark process is writing"):
            second.result()


def test_without_recordings_the_leakage_is_unknown(sibling_city, tmp_path):
    unknown = with_clips(sibling_city, source=None)
    found = comparison.run_plan(make_plan(unknown, SMALL_RECIPES[1:], protocols=["random"]), tmp_path / "run")
    assert found.results[0].leak is None
    assert set(read_metrics(tmp_path / "run")["results"][0]["leak"].values()) == {None}


def test_damaged_predictions_are_recomputed_without_training(comparison_run, sibling_city, tmp_path, monkeypatch):
    folder = shutil.copytree(comparison_run, tmp_path / "run")
    path = folder / "notebook-mel" / "random" / "predictions.csv"
    path.write_text(path.read_text() + "\n")
    monkeypatch.setattr("soundmark.training.epochs.loop.train_network", None)
    comparison.run_plan(make_plan(sibling_city, SMALL_RECIPES), folder)
    assert path.read_bytes() == (comparison_run / "notebook-mel" / "random" / "predictions.csv").read_bytes()


def test_predictions_distinguish_clips_of_one_file(sibling_city, tmp_path):
    clip = sibling_city.clips[0]
    clips = tuple(replace(clip, start_s=0.1 * i, stop_s=0.1 * i + 0.2) for i in range(3))
    data = replace(sibling_city, clips=clips)
    scores = np.eye(10, dtype=np.float32)[:3]
    digest = write_predictions(tmp_path / "p.csv", data, np.arange(3), scores)
    assert [(row["start_s"], row["stop_s"]) for row in read_table(tmp_path / "p.csv")] == [
        ("0", "0.2"),
        ("0.1", "0.3"),
        ("0.2", "0.4"),
    ]
    np.testing.assert_array_equal(read_predictions(tmp_path / "p.csv", data, np.arange(3), sha256=digest), scores)
    with pytest.raises(ValueError, match="contains the predictions of other clips"):
        read_predictions(tmp_path / "p.csv", data, np.array([0, 2, 1]), sha256=digest)


def test_a_silent_clip_is_not_skipped(sibling_city_folder, tmp_path):
    data = Dataset.open(shutil.copytree(sibling_city_folder, tmp_path / "city"))
    audio.write(data.clips[0].path, np.zeros(1, np.float32), 8000)
    found = comparison.run_plan(make_plan(data, SMALL_RECIPES[:1], protocols=["random"]), tmp_path / "run")
    assert found.skipped == ()


def test_the_ece_before_temperature_scaling_is_that_of_the_unscaled_probabilities(sibling_city, tmp_path):
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(len(sibling_city.clips), len(sibling_city.classes)))

    def softmax(z):
        return (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)).astype(np.float32)

    temperatures = {1: 0.5, 2: 2.0, 3: 8.0}  # of the model of each fold
    outcomes = [
        make_outcome(sibling_city, fold, softmax(logits / t), tmp_path, temperature=t, n_validation=30)
        for fold, t in temperatures.items()
    ]
    result = comparison.pool_outcomes(sibling_city, outcomes, features_s=1.0)
    raw = softmax(logits)[result.test]
    assert result.ece_uncalibrated == pytest.approx(single_label.ece(result.labels, raw), abs=1e-6)
    assert abs(result.ece_uncalibrated - result.summary.ece) > 0.05
    assert result.ece_if_calibrated == calibration_error.ece_if_calibrated(result.probabilities)
    written = result_to_json(result)
    assert written["ece_uncalibrated"] == result.ece_uncalibrated
    assert written["ece_if_calibrated"] == result.ece_if_calibrated.mean < written["ece_if_calibrated_high"]
    assert [(fold["temperature"], fold["calibrated_on"]) for fold in written["folds"]] == [(0.5, 30), (2, 30), (8, 30)]


def test_without_calibration_there_is_no_ece_before_calibration(comparison_run):
    for result in read_metrics(comparison_run)["results"]:
        assert result["ece_uncalibrated"] is None
        assert 0 < result["ece_if_calibrated"] < result["ece_if_calibrated_high"] < 1

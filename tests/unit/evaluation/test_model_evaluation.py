"""model_evaluation: a model is evaluated on the clips that it was not trained on."""

import json
from dataclasses import replace

import numpy as np
import pytest

from soundmark.datasets import Dataset, synthetic
from soundmark.errors import DatasetError, OutputError
from soundmark.evaluation import comparison
from soundmark.evaluation.model_evaluation import evaluate_model
from soundmark.evaluation.plan import make_plan
from soundmark.models.classifier import load
from soundmark.training.single_model import train_model
from support.comparisons import SMALL_RECIPES, read_table, with_clips

pytestmark = pytest.mark.slow


def test_a_model_of_a_grouped_fold_is_evaluated_on_that_fold(grouped_run, sibling_city):
    without_folds = with_clips(sibling_city, fold=None)
    fold_2 = grouped_run / "notebook-mel" / "grouped" / "fold-2"
    rows = read_table(fold_2 / "predictions.csv")
    tested = evaluate_model(load(fold_2 / "model.onnx"), without_folds)
    assert tested.summary.n == len(rows) < len(sibling_city.clips)
    assert tested.summary.accuracy == pytest.approx(np.mean([row["label"] == row["predicted"] for row in rows]))
    assert tested.note == "the recordings of fold 2, which were held out from the model's training"


def test_a_split_with_another_seed_is_not_mistaken_for_the_models_split(sibling_city, tmp_path):
    without_folds = with_clips(sibling_city, fold=None)
    comparison.run_plan(
        make_plan(without_folds, SMALL_RECIPES[1:], protocols=["grouped"], split_seed=7), tmp_path / "run"
    )
    model = load(tmp_path / "run" / "notebook-mel" / "grouped" / "fold-2" / "model.onnx")
    tested = evaluate_model(model, without_folds)
    assert tested.summary.n == len(sibling_city.clips)
    assert "the scores are too high (data leakage)" in tested.note


def test_only_held_out_clips_are_evaluated(sibling_city, comparison_run):
    fold_1, random = comparison_run / "notebook-mel" / "folds" / "fold-1", comparison_run / "notebook-mel" / "random"
    rows = read_table(fold_1 / "predictions.csv")
    tested = evaluate_model(load(fold_1 / "model.onnx"), sibling_city)
    assert tested.summary.n == len(rows)
    assert tested.summary.accuracy == pytest.approx(np.mean([row["label"] == row["predicted"] for row in rows]))
    tested = evaluate_model(load(random / "model.onnx"), sibling_city)
    assert tested.summary.n == len(read_table(random / "predictions.csv"))


def test_the_training_data_are_identified_by_content_not_by_name(sibling_city, comparison_run):
    n_fold_1 = int((sibling_city.fold_of == 1).sum())
    model = load(comparison_run / "notebook-mel" / "folds" / "fold-1" / "model.onnx")
    renamed = replace(sibling_city, name="elsewhere")
    assert evaluate_model(model, renamed).summary.n == n_fold_1
    rotated = replace(sibling_city, clips=tuple(replace(clip, fold=1 + clip.fold % 3) for clip in sibling_city.clips))
    tested = evaluate_model(model, rotated)  # its fold 1 is not the held-out fold 1 of the model
    assert tested.summary.n == len(sibling_city.clips)
    assert "the scores are too high (data leakage)" in tested.note


def test_all_clips_of_another_data_set_are_evaluated(sibling_city, comparison_run, tmp_path):
    other = Dataset.open(synthetic.write(tmp_path / "other", recordings_per_class=3, clips_per_recording=1, seed=9))
    other = replace(other, name="other", classes=tuple(reversed(other.classes)))
    model = load(comparison_run / "notebook-mel" / "random" / "model.onnx")
    tested = evaluate_model(model, other, folder=tmp_path / "out")
    assert tested.summary.n == len(other.clips)
    assert list(tested.classes) == list(sibling_city.classes)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["n_test"] == len(other.clips)
    assert len(read_table(tmp_path / "out" / "predictions.csv")) == len(other.clips)


def test_a_data_set_without_held_out_clips_or_with_other_classes_is_rejected(sibling_city, comparison_run, tmp_path):
    trained = train_model(sibling_city, SMALL_RECIPES[1], tmp_path / "all")
    with pytest.raises(DatasetError, match="the model was trained on all of them"):
        evaluate_model(load(trained.model), sibling_city)
    other = replace(sibling_city, classes=(*sibling_city.classes, "owl"))
    with pytest.raises(DatasetError, match='has the class "owl", which is not a class of the model'):
        evaluate_model(load(trained.model), other)


@pytest.mark.parametrize("name", ["predictions.csv", "metrics.json"])
def test_a_foreign_file_in_the_output_folder_is_kept(grouped_run, sibling_city, tmp_path, name):
    (tmp_path / name).write_text("mine")
    model = load(grouped_run / "notebook-mel" / "grouped" / "fold-2" / "model.onnx")
    with pytest.raises(OutputError, match="Choose another folder"):
        evaluate_model(model, with_clips(sibling_city, fold=None), folder=tmp_path)
    assert (tmp_path / name).read_text() == "mine"

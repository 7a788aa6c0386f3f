"""single_model: a trained model takes the scores of its recipe from a comparison."""

import shutil
from dataclasses import replace

import pytest

from soundmark.errors import SettingsError
from soundmark.evaluation import comparison
from soundmark.evaluation.plan import make_plan
from soundmark.models import bundle
from soundmark.training.named_recipes import recipe_named
from soundmark.training.single_model import comparison_scores, train_model
from support.comparisons import SMALL_RECIPES, find_result, read_metrics, with_clips

pytestmark = pytest.mark.slow


def test_grouped_scores_take_precedence_over_the_random_split(grouped_run, sibling_city):
    scores = comparison_scores(grouped_run, SMALL_RECIPES[1], with_clips(sibling_city, fold=None))
    assert (scores["protocol"], scores["n_test"]) == ("grouped", len(sibling_city.clips))


def test_scores_are_means_over_seeds(sibling_city, seeded_run, tmp_path):
    with pytest.raises(SettingsError, match="tested only some of the folds"):
        comparison_scores(seeded_run, SMALL_RECIPES[1], sibling_city)
    comparison.run_plan(make_plan(sibling_city, SMALL_RECIPES[1:], protocols=["random"], seeds=2), tmp_path / "run")
    scores = comparison_scores(tmp_path / "run", SMALL_RECIPES[1], sibling_city)
    assert scores["accuracy"] == find_result(read_metrics(seeded_run), "notebook-mel", "random")["accuracy"]


def test_train_uses_all_clips_and_takes_the_scores_of_a_comparison(sibling_city, comparison_run, tmp_path):
    card = train_model(sibling_city, SMALL_RECIPES[1], tmp_path / "all", scores=comparison_run).card
    assert card.training.n_train == len(sibling_city.clips)
    assert card.scores["cross_validated"]
    assert card.training.n_recordings == 30
    assert card.scores["leak"]["recording"] == 0.0
    assert card.scores["accuracy"] == find_result(read_metrics(comparison_run), "notebook-mel", "folds")["accuracy"]
    assert bundle.read_bundle(tmp_path / "all" / "model.onnx").card == card
    again = train_model(sibling_city, SMALL_RECIPES[1], tmp_path / "all")  # trains nothing
    assert again.card.scores == card.scores


def test_training_with_a_test_fold_gives_the_same_predictions_as_the_comparison(sibling_city, comparison_run, tmp_path):
    trained = train_model(sibling_city, SMALL_RECIPES[1], tmp_path / "model", test_fold=2)
    predictions = (tmp_path / "model" / "predictions.csv").read_bytes()
    assert predictions == (comparison_run / "notebook-mel/folds/fold-2/predictions.csv").read_bytes()
    assert trained.card.scores["test_fold"] == 2
    assert trained.card.training.n_recordings == 20
    assert trained.card.scores["leak"]["recording_and_class"] == 0.0


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), "is not the result of a comparison"),
        (lambda folder: (folder / "metrics.json").write_text("[1]"), "is not the result of a comparison"),
    ],
)
def test_scores_that_do_not_match_are_rejected(sibling_city, comparison_run, tmp_path, damage, match):
    folder = shutil.copytree(comparison_run, tmp_path / "run")
    damage(folder)
    with pytest.raises(SettingsError, match=match):
        train_model(sibling_city, SMALL_RECIPES[1], tmp_path / "all", scores=folder)
    with pytest.raises(SettingsError, match="does not include the recipe notebook-image-22k"):
        comparison_scores(comparison_run, recipe_named("notebook-image-22k"), sibling_city)
    with pytest.raises(SettingsError, match="used other data"):
        comparison_scores(comparison_run, SMALL_RECIPES[1], sibling_city.without([0]))
    with pytest.raises(SettingsError, match="is not the same recipe: it differs in epochs"):
        comparison_scores(comparison_run, replace(SMALL_RECIPES[1], epochs=9), sibling_city)
    with pytest.raises(SettingsError, match="use either --test-fold or --scores"):
        train_model(sibling_city, SMALL_RECIPES[1], tmp_path / "x", scores=comparison_run, test_fold=1)


def test_scores_of_some_folds_only_are_rejected(sibling_city, comparison_run, tmp_path):
    folder = shutil.copytree(comparison_run, tmp_path / "run")
    comparison.run_plan(make_plan(sibling_city, SMALL_RECIPES[1:], folds=[1]), folder)
    with pytest.raises(SettingsError, match="tested only some of the folds"):
        comparison_scores(folder, SMALL_RECIPES[1], sibling_city)

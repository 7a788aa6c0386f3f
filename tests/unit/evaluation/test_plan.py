"""plan: default protocols, invalid arguments, leakage warnings and the estimated time."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundmark.cli import choices
from soundmark.datasets import Dataset, splits
from soundmark.errors import DatasetError, SettingsError
from soundmark.evaluation import PRESETS
from soundmark.evaluation.plan import (
    HEAD_S,
    VALIDATION_COST,
    describe_cost,
    leakage_warnings,
    make_plan,
    preset_or,
    training_time_s,
)
from soundmark.training.named_recipes import recipe_named
from support.comparisons import SMALL_RECIPES, with_clips


def leakage_percent(data: Dataset, split) -> float:
    """The percentage of test clips whose recording is in the training set."""
    trained = {data.clips[i].source for i in split.train}
    return 100 * sum(data.clips[i].source in trained for i in split.test) / len(split.test)


def test_folds_selects_test_folds_not_training_folds(sibling_city):
    plan = make_plan(sibling_city, SMALL_RECIPES, protocols=["folds"], folds=[2])
    (split,) = plan.splits["folds"]
    assert (split.fold, len(split.train)) == (2, int((sibling_city.fold_of != 2).sum()))
    assert plan.trainings == 2


def test_without_folds_the_default_is_grouped_if_recordings_are_known(sibling_city):
    without_folds = with_clips(sibling_city, fold=None)
    assert {name: len(splits) for name, splits in make_plan(without_folds, SMALL_RECIPES).splits.items()} == {
        "random": 1,
        "grouped": 5,
    }
    with pytest.raises(DatasetError, match="no official folds"):
        make_plan(without_folds, SMALL_RECIPES, protocols=["folds"])
    assert list(make_plan(with_clips(sibling_city, fold=1), SMALL_RECIPES).splits) == ["random", "grouped"]
    assert list(make_plan(with_clips(without_folds, source="one"), SMALL_RECIPES).splits) == ["random"]


def test_without_folds_and_recordings_only_the_random_protocol_is_available(sibling_city):
    unknown = with_clips(sibling_city, fold=None, source=None)
    assert list(make_plan(unknown, SMALL_RECIPES).splits) == ["random"]
    with pytest.raises(DatasetError, match='90 of the 90 clips of .* have no known recording .*column "source"'):
        make_plan(unknown, SMALL_RECIPES, protocols=["grouped"])
    partly = replace(unknown, clips=(*sibling_city.clips[:30], *unknown.clips[30:]))
    with pytest.raises(DatasetError, match="60 of the 90 clips of .* have no known recording"):
        make_plan(partly, SMALL_RECIPES, protocols=["grouped"])


def test_with_folds_the_default_is_random_and_folds(sibling_city):
    assert list(make_plan(sibling_city, SMALL_RECIPES).splits) == ["random", "folds"]
    assert list(make_plan(sibling_city, SMALL_RECIPES, protocols=["grouped"]).splits) == ["grouped"]


def test_the_leakage_of_the_random_split_is_reported(sibling_city):
    usable = np.ones(len(sibling_city.clips), bool)
    (warning,) = leakage_warnings(make_plan(sibling_city, SMALL_RECIPES), usable)
    leak = leakage_percent(sibling_city, make_plan(sibling_city, SMALL_RECIPES).splits["random"][0])
    assert warning == (
        f"random: {leak:.1f} % of the test clips come from a recording that is also in the training set ({leak:.1f} % "
        "with the same class): this score overestimates the performance on new recordings (data leakage)"
    )
    assert leakage_warnings(make_plan(sibling_city, SMALL_RECIPES, protocols=["folds"]), usable) == []
    assert leakage_warnings(make_plan(sibling_city, SMALL_RECIPES, protocols=["grouped"]), usable) == []


def test_unknown_recordings_give_a_warning(sibling_city):
    unknown = with_clips(sibling_city, fold=None, source=None)
    usable = np.ones(len(sibling_city.clips), bool)
    (warning,) = leakage_warnings(make_plan(unknown, SMALL_RECIPES), usable)
    assert warning.startswith("random: the data set does not say which clips come from the same recording")
    assert "may reflect data leakage" in warning
    named = with_clips(sibling_city, fold=None, source=None)
    names = [clip.path.with_name(f"rec{i // 2}_{i % 2}.wav") for i, clip in enumerate(named.clips)]
    named = replace(named, clips=tuple(replace(clip, path=path) for clip, path in zip(named.clips, names, strict=True)))
    (warning,) = leakage_warnings(make_plan(named, SMALL_RECIPES), usable)
    n = len(named.clips)
    assert f"data leakage; the file names suggest that {n} of {n} clips come from {n // 2} recordings (" in warning
    with_folds = with_clips(sibling_city, source=None)
    assert leakage_warnings(make_plan(with_folds, SMALL_RECIPES), usable) == []  # the folds keep recordings apart


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"protocols": ["fold"]}, 'no protocol "fold". Did you mean "folds"'),
        ({"folds": [7]}, "has no fold 7. Available folds: 1, 2, 3"),
        ({"folds": [1], "protocols": ["random"]}, 'fold numbers were given, but not the protocol "folds"'),
        ({"folds": [1], "protocols": ["grouped"]}, 'fold numbers were given, but not the protocol "folds"'),
        ({"seeds": 0}, "seeds is 0: expected a whole number from 1 to 20"),
        ({"seeds": 21}, "seeds is 21: expected a whole number from 1 to 20"),
        (
            {"seeds": 3, "recipes": [replace(SMALL_RECIPES[0], seed=2**32 - 2)]},
            "seed is 4294967296: expected a whole number from 0",
        ),
        ({"recipes": []}, "the recipes are none"),
        ({"recipes": [SMALL_RECIPES[0], SMALL_RECIPES[0]]}, "no duplicates"),
    ],
)
def test_invalid_arguments_are_rejected(sibling_city, change, match):
    arguments = {"recipes": SMALL_RECIPES, **change}
    with pytest.raises(SettingsError, match=match):
        make_plan(sibling_city, **arguments)


def test_a_single_class_is_rejected(sibling_city):
    name = sibling_city.classes[0]
    clips = tuple(clip for clip in sibling_city.clips if clip.label == name)
    with pytest.raises(DatasetError, match="at least two classes"):
        make_plan(replace(sibling_city, classes=(name,), clips=clips), SMALL_RECIPES)


def test_the_estimated_time_includes_the_final_training():
    split = splits.Split(np.arange(100), np.arange(100, 150))
    scratch = replace(recipe_named("scratch"), epochs=3, min_batches=0, validation_fraction=0.2)
    first = 3 * (80 + VALIDATION_COST * 20)  # 3 epochs on 80 clips, with 20 validation clips
    assert training_time_s(scratch, split, example_s=1) == pytest.approx(first + 3 * 100)
    notebook = recipe_named("notebook-mel")  # 20 epochs with the 50 test clips as validation clips
    assert training_time_s(notebook, split, example_s=1) == pytest.approx(20 * (100 + VALIDATION_COST * 50))
    assert training_time_s(recipe_named("transfer"), split, example_s=0) == pytest.approx(100 * HEAD_S)


@pytest.mark.slow
def test_the_cost_counts_trainings_and_estimates_their_time(sibling_city):
    text = describe_cost(make_plan(sibling_city, SMALL_RECIPES), Path("nowhere"))
    assert "8 trainings (random × 1, folds × 3, for each recipe)" in text
    assert re.search(r"(about [\d.]+ (s|min)|less than a second) on \d+ cores?", text)


@pytest.mark.slow
def test_the_remaining_work_is_described(comparison_run, sibling_city, tmp_path):
    plan = make_plan(sibling_city, SMALL_RECIPES)
    assert describe_cost(plan, comparison_run).endswith(
        "8 trainings (random × 1, folds × 3, for each recipe), all finished."
    )
    folder = shutil.copytree(comparison_run, tmp_path / "run")
    (folder / "notebook-mel" / "random" / "model.onnx").unlink()
    assert "finished" not in describe_cost(plan, comparison_run, fresh=True)
    assert ", 7 already finished: " in describe_cost(plan, folder)


# --- Recipes of a comparison ------------------------------------------------------------------------------------------


def test_by_default_transfer_is_compared_with_the_mel_recipe_of_the_notebook():
    assert preset_or(None, None) == ("transfer", "notebook-mel")
    assert preset_or(None, "notebook") == ("notebook-image", "notebook-mel")
    assert preset_or(["scratch"], None) == ["scratch"]
    assert preset_or([], None) == []  # refused by make_plan


def test_a_preset_must_exist_and_cannot_be_combined_with_recipes():
    with pytest.raises(SettingsError, match='there is no preset "notebok". Did you mean "notebook"'):
        preset_or(None, "notebok")
    with pytest.raises(SettingsError, match="already names the recipes notebook-image and notebook-mel"):
        preset_or(["scratch"], "notebook")


def test_the_presets_of_the_command_line_exist():
    assert set(choices.PRESETS) == set(PRESETS)

"""Comparisons and reports that several test modules use; each is computed once."""

import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from soundmark.datasets import Skipped
from soundmark.evaluation import comparison, report
from soundmark.evaluation.plan import make_plan
from soundmark.evaluation.results import Comparison, Evaluation
from soundmark.metrics import calibration_error
from soundmark.metrics.intervals import Interval
from soundmark.metrics.verdicts import judge
from soundmark.training.named_recipes import recipe_named
from support.comparisons import SMALL_RECIPES, with_clips
from support.reports import HOSTILE, make_dataset, make_difference, make_evaluation


@pytest.fixture(scope="session")
def comparison_run(sibling_city, tmp_path_factory) -> Path:
    """Two recipes under the random split and the official folds."""
    folder = tmp_path_factory.mktemp("run") / "run"
    comparison.run_plan(make_plan(sibling_city, SMALL_RECIPES), folder)
    return folder


@pytest.fixture(scope="session")
def grouped_run(sibling_city, tmp_path_factory) -> Path:
    """One recipe on data without official folds: under the random split and folds by recording."""
    folder = tmp_path_factory.mktemp("grouped") / "run"
    comparison.run_plan(make_plan(with_clips(sibling_city, fold=None), SMALL_RECIPES[1:]), folder)
    return folder


@pytest.fixture(scope="session")
def seeded_run(sibling_city, tmp_path_factory) -> Path:
    """Two recipes with two seeds, under the random split and two of the official folds."""
    folder = tmp_path_factory.mktemp("seeded") / "run"
    comparison.run_plan(make_plan(sibling_city, SMALL_RECIPES, folds=[1, 2], seeds=2), folder)
    return folder


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Evaluation:
    """An evaluation whose class names, file names and messages contain markup."""
    data = make_dataset(tmp_path_factory.mktemp("hostile"), HOSTILE, per_class=6)
    skipped = [
        Skipped("fold1/<img src=x onerror=alert(2)>.wav", 'it is "broken" & <odd>'),
        Skipped("a\udcff.wav", "odd"),
    ]
    return make_evaluation(data, skipped=skipped)


@pytest.fixture(scope="session")
def hostile_page(hostile) -> str:
    """The report of ``hostile``."""
    return report.render(hostile)


FIVE = ("notebook-image", "notebook-mel", "scratch", "transfer", "scratch-long")


@pytest.fixture(scope="session")
def five_recipes(tmp_path_factory) -> Evaluation:
    """Five recipes under two protocols, all pairs compared; three were calibrated, and transfer has no epochs."""
    data = make_dataset(tmp_path_factory.mktemp("five"), ["air_conditioner", "children_playing", "siren"], per_class=8)
    found = make_evaluation(data, (*FIVE[:4], replace(recipe_named("scratch"), name=FIVE[4])))
    results = [
        replace(
            one,
            folds=tuple(replace(f, history=() if one.recipe.name == "transfer" else f.history) for f in one.folds),
            ece_uncalibrated=0.0414 if one.recipe.name in FIVE[2:] else math.nan,
            ece_if_calibrated=calibration_error.ExpectedEce(0.0172, 0.03),
            summary=replace(one.summary, ece=0.0139),
        )
        for one in found.results
    ]
    pairs = [
        Comparison(
            protocol=a.protocol,
            recipes=(a.recipe.name, b.recipe.name),
            difference=make_difference(-0.06, -0.02),
            verdict=judge(make_difference(-0.06, -0.02), Interval(0.8, 0.9), Interval(0.8, 0.9), pairs=10),
        )
        for a, b in combinations(results, 2)
        if a.protocol == b.protocol
    ]
    return replace(found, results=tuple(results), comparisons=tuple(pairs))

"""What the examples in the docstrings find ready: a small city, a model of it, and an empty folder."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "agg")  # figures are drawn without a display


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def example_city(tmp_path_factory: pytest.TempPathFactory):
    """``city``: 60 clips or so, ten classes, three folds."""
    from soundmark.datasets import Dataset, synthetic

    root = synthetic.write(tmp_path_factory.mktemp("city") / "city", recordings_per_class=3, clips_per_recording=1)
    return Dataset.open(root)


@pytest.fixture(scope="session")
def example_recipe():
    """``recipe``: one that takes a second."""
    from soundmark.spectrograms import Mel
    from soundmark.training.named_recipes import recipe_named

    return replace(recipe_named("notebook-mel"), representation=Mel(size=(24, 24)), epochs=1, batch_size=30)


@pytest.fixture(scope="session")
def example_model(example_city, example_recipe, tmp_path_factory: pytest.TempPathFactory):
    """``model``: of that recipe, trained on two folds of that city."""
    from soundmark.models.classifier import load
    from soundmark.training.single_model import train_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load(train_model(example_city, example_recipe, tmp_path_factory.mktemp("model"), test_fold=3).model)


@pytest.fixture(scope="session")
def example_city_run(example_city, example_recipe, tmp_path_factory: pytest.TempPathFactory):
    """``city_run``: the evaluation of that recipe on that city, on a random split."""
    from soundmark.evaluation.comparison import compare

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder = tmp_path_factory.mktemp("run")
        yield compare(example_city, example_recipe, folder, protocols="random", quiet=True)


NEEDS = ("city", "recipe", "model", "city_run")


@pytest.fixture(autouse=True)
def _no_figures_left_open():
    """Figures that examples drew are closed: Matplotlib warns of many open ones."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True)
def _ready(request: pytest.FixtureRequest, doctest_namespace: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    doctest_namespace["folder"] = tmp_path
    source = (
        "".join(example.source for example in request.node.dtest.examples) if hasattr(request.node, "dtest") else ""
    )
    for name in NEEDS:  # a model takes seconds: only for the examples that speak of it
        if name in source:
            doctest_namespace[name] = request.getfixturevalue(f"example_{name}")

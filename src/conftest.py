"""Names available to docstring examples: `folder`, `city`, `recipe`, `model`, `embedder` and `city_run`."""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "agg")  # draw figures without a display


@pytest.fixture(autouse=True)
def _close_figures():
    """Close the figures that an example drew: Matplotlib warns about many open figures."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def example_city(tmp_path_factory: pytest.TempPathFactory):
    """``city``: a synthetic data set with about 60 clips, ten classes and three folds."""
    from soundmark.datasets import Dataset, synthetic

    root = synthetic.write(tmp_path_factory.mktemp("city") / "city", recordings_per_class=3, clips_per_recording=1)
    return Dataset.open(root)


@pytest.fixture(scope="session")
def example_recipe():
    """``recipe``: a recipe that trains in about a second."""
    from soundmark.spectrograms import Mel
    from soundmark.training.named_recipes import recipe_named

    return replace(recipe_named("notebook-mel"), representation=Mel(size=(24, 24)), epochs=1, batch_size=30)


@pytest.fixture(scope="session")
def example_model(example_city, example_recipe, tmp_path_factory: pytest.TempPathFactory):
    """``model``: trained with ``recipe`` on two of the three folds of ``city``."""
    from soundmark.models.classifier import load
    from soundmark.training.single_model import train_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load(train_model(example_city, example_recipe, tmp_path_factory.mktemp("model"), test_fold=3).model)


@pytest.fixture(scope="session")
def example_embedder(example_model):
    """``embedder``: ``model`` with the spectrogram as its embedding."""
    import onnx

    from soundmark.models.bundle import Bundle
    from soundmark.models.classifier import Model

    graph = onnx.load_from_string(example_model.bundle.graph)
    graph.graph.node.append(onnx.helper.make_node("Flatten", ["spectrogram"], ["embedding"]))
    graph.graph.output.append(onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["batch", 576]))
    return Model(Bundle(graph.SerializeToString(), example_model.card))


@pytest.fixture(scope="session")
def example_city_run(example_city, example_recipe, tmp_path_factory: pytest.TempPathFactory):
    """``city_run``: the evaluation of ``recipe`` on ``city`` with a random split."""
    from soundmark.evaluation.comparison import compare

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder = tmp_path_factory.mktemp("run")
        yield compare(example_city, example_recipe, folder, protocols="random", quiet=True)


EXPENSIVE = ("city", "recipe", "model", "embedder", "city_run")


@pytest.fixture(autouse=True)
def _names(request: pytest.FixtureRequest, doctest_namespace: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    doctest_namespace["folder"] = tmp_path
    source = (
        "".join(example.source for example in request.node.dtest.examples) if hasattr(request.node, "dtest") else ""
    )
    for name in EXPENSIVE:  # a model takes seconds: create it only for the examples that use it
        if re.search(rf"\b{name}\b", source):
            doctest_namespace[name] = request.getfixturevalue(f"example_{name}")

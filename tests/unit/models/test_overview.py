"""The repr of a model, and its layers with the parameter counts of Keras."""

import dataclasses

import numpy as np
import pytest

from soundmark.errors import BundleError
from soundmark.models import overview
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.export import int8, onnx_graph
from soundmark.models.pretrained.graph import Graph
from soundmark.spectrograms import LogMel
from support.models import random_transfer_graph, two_views_graph

pytestmark = pytest.mark.slow


def test_repr_describes_a_model_in_at_most_ten_lines(notebook_model):
    shown = repr(notebook_model)
    assert shown.splitlines() == [
        "Model",
        "  recipe       notebook-mel, network notebook_cnn",
        "  classes      10, single-label: air_conditioner, car_horn, … and 8 more",
        "  trained on   UrbanSound8K: 7,000 clips",
        "  accuracy     70.1 % (95 % interval 68.0–72.0), protocol folds, 837 clips",
        "  input        4 s windows at 22,050 Hz, mel 64×64",
        "  calibration  not calibrated, no unknown threshold",
        "  licence      CC BY-NC 3.0",
        f"  size         {len(notebook_model.bundle.graph) / 1e6:.1f} MB, 1,324,138 parameters",
    ]
    assert max(map(len, shown.splitlines())) <= 80
    html = notebook_model._repr_html_()
    assert html.startswith("<table>")
    assert "1,324,138 parameters" in html


def test_html_is_escaped(notebook_model):
    card = dataclasses.replace(notebook_model.card, classes=("<script>alert(1)</script>", *"abcdefghi"))
    html = Model(Bundle(notebook_model.bundle.graph, card))._repr_html_()
    assert "<script" not in html
    assert "&lt;script" in html


def test_layers_of_the_notebooks_network(notebook_model):
    table = notebook_model.summary()
    kinds = [layer.kind for layer in table]
    assert kinds == [*(["Conv 3×3", "Conv 3×3", "MaxPool 2×2"] * 3), "Flatten", "Dense", "Dense"]
    assert [layer.shape for layer in table][::3] == [(32, 64, 64), (64, 31, 31), (64, 14, 14), (2304,)]
    # Keras: (3·3·inputs + 1)·outputs of a convolution, (inputs + 1)·outputs of a dense layer.
    parameters = [layer.n_parameters for layer in table]
    assert parameters == [320, 9248, 0, 18_496, 36_928, 0, 36_928, 36_928, 0, 0, 1_180_160, 5130]
    assert table.n_parameters == sum(parameters) == 1_324_138


def test_layer_table_is_printed_and_displayed(notebook_model):
    table = notebook_model.summary()
    lines = str(table).splitlines()
    assert lines[0].split() == ["layer", "type", "output", "shape", "parameters"]
    assert lines[-1] == "Total parameters: 1,324,138"
    assert len({len(line) for line in lines[:-1]}) == 1
    assert repr(table) == str(table)
    assert len(repr(table).encode()) < 2000
    assert table._repr_html_().count("<tr>") == 1 + 12


def test_shared_weights_are_counted_once():
    """Models of the recipe transfer of version 0.1 applied the same layers to two views of the input."""
    graph = Graph()
    x, weights = graph.input("spectrogram", (1, 8, 8)), graph.constant("weights", np.ones((10, 64)))
    flat = graph.node("Flatten", x)
    views = [graph.node("Gemm", view, weights, transB=1) for view in (flat, graph.node("Relu", flat))]
    graph.output("logits", graph.node("Add", *views))
    card = Card(classes=tuple("abcdefghij"), representation=LogMel(size=(8, 8)), window_s=0.08)
    table = Model(Bundle(graph.to_bytes(), card)).summary()
    assert table.n_parameters == 640 == overview.count_parameters(graph.to_bytes())
    assert len({layer.name for layer in table}) == len(table)


def test_layers_of_a_transfer_model():
    card = Card(classes=tuple("abcdefghij"), representation=LogMel(size=(128, 100)), window_s=1.0)
    table = Model(Bundle(random_transfer_graph((128, 100), 10), card)).summary()
    assert {layer.kind for layer in table} >= {"Dense", "Conv 1×1"}
    lines = str(table).splitlines()
    assert len(lines) == 2 + 15 + 2
    assert max(map(len, lines)) <= 80
    assert lines[10].split()[:4] == ["…", str(len(table) - 14), "more", "layers"]
    assert repr(table) == str(table)
    assert len(repr(table).encode()) < 2000
    assert table._repr_html_().count("<tr>") == 1 + 15
    complete = dataclasses.replace(table, complete=True)
    assert len(str(complete).splitlines()) == 2 + len(table) + 2
    assert complete._repr_html_().count("<tr>") == 1 + len(table)


def test_layers_of_folded_and_int8_graphs(notebook_model):
    exported = two_views_graph()
    assert "BatchNorm" in {layer.kind for layer in overview.layer_table(exported)}
    folded = overview.layer_table(onnx_graph.with_folded_batch_norm(exported))
    assert "BatchNorm" not in {layer.kind for layer in folded}
    spectrograms = np.random.default_rng(0).random((4, 64, 64)).astype(np.float32)
    for small in (
        onnx_graph.with_int8_weights(notebook_model.bundle.graph),
        int8.quantise_graph(notebook_model.bundle.graph, spectrograms, np.arange(4)),
    ):
        assert overview.layer_table(small) == notebook_model.summary()


def test_invalid_graph_is_refused(notebook_model):
    with pytest.raises(BundleError, match="graph cannot be parsed"):
        Model(Bundle(b"no graph", notebook_model.card)).summary()

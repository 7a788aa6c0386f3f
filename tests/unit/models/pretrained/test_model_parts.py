"""The parts of a model: its backbone gives the features of its head, and its embeddings give its scores."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from soundmark.errors import BundleError
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.pretrained.model_parts import EmbeddingScorer, backbone_of
from soundmark.models.streaming import WindowScores
from soundmark.spectrograms import LogMel
from soundmark.training.calibration import Familiarity, Presence, Standard
from soundmark.training.transfer.head_graph import model_graph
from soundmark.training.transfer.linear_head import fit_head
from support.models import random_backbone, tone_embedder, tone_model

SHAPE = (32, 48)


def transfer_bundle(kind: str) -> tuple[Bundle, object]:
    """A model on a random backbone: plain, with familiarity, or with presence too; and the backbone."""
    backbone, rng = random_backbone(SHAPE), np.random.default_rng(0)
    targets = np.eye(4)[np.arange(32) % 4]
    features = backbone.features(rng.normal(size=(32, *SHAPE)).astype(np.float32))
    head = fit_head(features, targets, np.arange(32).astype(str))
    familiarity = presence = None
    unknown = None
    if kind != "plain":
        familiarity = replace(Familiarity.of(features[:, : backbone.embedding_size], targets), middle=0.1, spread=3.0)
        noise = np.random.default_rng(2).normal(size=(40, *SHAPE)).astype(np.float32)
        unknown = float(np.median(familiarity(backbone.features(noise)[:, : backbone.embedding_size])))
    if kind == "presence":
        presence = Presence(
            temperature=1.5, weights=head.weights[:, -1:], bias=np.array([0.2]), familiarity=Standard(0.1, 2.0),
            margin=Standard(0.0, 1.0), spread=1.2,
        )  # fmt: skip
    card = Card(
        classes=("a", "b", "c"),
        representation=LogMel(size=SHAPE),
        window_s=1.0,
        temperature=2.0,
        unknown=unknown,
    )
    return Bundle(model_graph(backbone, head, 3, familiarity, presence), card), backbone


@pytest.mark.parametrize("kind", ["plain", "familiarity", "presence"])
def test_the_backbone_of_a_model_is_the_one_that_it_was_made_of(kind):
    bundle, backbone = transfer_bundle(kind)
    found = backbone_of(bundle)
    noise = np.random.default_rng(1).normal(size=(5, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(found.features(noise), backbone.features(noise), rtol=1e-5, atol=1e-5)
    assert (found.n_features, found.embedding_size) == (backbone.n_features, backbone.embedding_size)
    assert b"head/" not in found.graph  # nothing of the earlier head remains


@pytest.mark.parametrize("kind", ["plain", "familiarity", "presence"])
def test_scores_from_embeddings_are_those_of_the_model(kind):
    bundle, _ = transfer_bundle(kind)
    noise = np.random.default_rng(2).normal(size=(40, *SHAPE)).astype(np.float32)
    outputs = [name for name in ("logits", "familiarity", "presence") if name in bundle.outputs]
    found = dict(zip(outputs, bundle.run_for(noise, outputs), strict=True))
    times = np.zeros(40)
    expected = WindowScores(
        times, times, bundle.activate(found["logits"]), found.get("familiarity"), [[]] * 40, found.get("presence")
    ).event_scores(bundle.card.unknown)
    scores = EmbeddingScorer(bundle)(bundle.run(noise, "embedding"))
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    if kind == "familiarity":
        unknown = (expected == 0).all(axis=1)
        assert 0 < unknown.sum() < 40


def test_a_model_whose_head_is_on_the_embedding_has_that_as_features():
    bundle = tone_embedder().bundle
    found = backbone_of(bundle)
    noise = np.random.default_rng(1).normal(size=(5, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(found.features(noise), noise.reshape(5, 64))
    assert (found.n_features, found.embedding_size) == (64, 64)
    np.testing.assert_allclose(
        EmbeddingScorer(bundle)(noise.reshape(5, 64)), bundle.activate(bundle.run(noise)), atol=1e-6
    )


def test_no_windows_have_no_scores():
    assert EmbeddingScorer(tone_embedder().bundle)(np.zeros((0, 64), np.float16)).shape == (0, 3)


def test_a_model_without_embedding_is_refused():
    with pytest.raises(BundleError, match="has no embedding output"):
        backbone_of(tone_model().bundle)


def test_a_model_whose_scores_depend_on_more_than_the_embedding_is_refused():
    graph = onnx.load_from_string(tone_model().bundle.graph)
    graph.graph.node.append(helper.make_node("ReduceMean", ["flat"], ["embedding"], axes=[1], keepdims=1))
    graph.graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 1]))
    with pytest.raises(BundleError, match="cannot be computed from its embeddings"):
        EmbeddingScorer(Bundle(graph.SerializeToString(), tone_model().card))

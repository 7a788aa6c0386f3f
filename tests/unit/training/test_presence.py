"""Presence: backgrounds as one more class, partial views, and the graph's output against the formula in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.pretrained import weights
from soundmark.spectrograms.logmel import FLOOR, MIDDLE, QUIETEST, SPREAD
from soundmark.training import linear_head, loop, onnx_export
from soundmark.training.augmentation import partial_views
from soundmark.training.named_recipes import recipe_named
from support.models import write_random_mn04

SHAPE, CLASSES, CLIPS = (32, 64), 3, 45
RECIPE = replace(
    recipe_named("transfer"),
    representation=replace(recipe_named("transfer").representation, size=SHAPE),
    partial_views=1,
    backgrounds=24,
)


@pytest.fixture(scope="module")
def data() -> loop.TrainingData:
    """Clips of three classes, each loud in other bands."""
    rng = np.random.default_rng(0)
    labels = np.arange(CLIPS) % CLASSES
    features = rng.normal(-0.6, 0.2, (CLIPS, *SHAPE)).astype(np.float32)
    for clip, label in zip(features, labels, strict=True):
        clip[8 * label : 8 * label + 8] += 1.0
    return loop.TrainingData(
        features=features,
        targets=np.eye(CLASSES, dtype=np.float32)[labels],
        train=np.arange(CLIPS),
        validation=np.arange(0),
        sources=(np.arange(CLIPS) // 2).astype(str),
    )


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> loop.TrainedNetwork:
    path = write_random_mn04(tmp_path_factory.mktemp("weights") / "mn04.pt", data.features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "find", lambda *_: path)
        patch.setattr(linear_head, "SHRINKAGES", (0.8, 0.9))
        return loop.train_network(data, RECIPE)


def test_the_graph_computes_presence_as_numpy_does(trained, data):
    fitted = trained.calibration
    assert fitted.presence is not None
    graph = onnx_export.export_network(trained.network, SHAPE, fitted.familiarity, fitted.presence)
    card = Card(classes=("a", "b", "c"), representation=RECIPE.representation, window_s=0.64)
    logits, embedding, presence = Bundle(graph, card).run_for(data.features, ("logits", "embedding", "presence"))
    features = trained.network.head_features(torch.from_numpy(embedding)).detach().numpy()
    background = features @ fitted.presence.weights + fitted.presence.bias
    expected = fitted.presence(logits, background, fitted.familiarity.raw(embedding))
    np.testing.assert_allclose(presence, expected, atol=2e-3)
    assert np.ptp(presence) > 0.05


def test_backgrounds_are_no_class_of_the_network_and_clips_are_classified(trained, data):
    assert trained.network.dense.out_features == CLASSES
    assert trained.calibration.event_thresholds == (0.37,) * CLASSES
    with torch.no_grad():
        predicted = trained.network.eval()(torch.from_numpy(data.features)[:, None]).argmax(1).numpy()
    assert (predicted == data.targets.argmax(1)).mean() > 0.8


def test_a_model_with_presence_overlaps_windows_and_scores_no_pieces(trained, data):
    fitted = trained.calibration
    graph = onnx_export.export_network(trained.network, SHAPE, fitted.familiarity, fitted.presence)
    card = Card(
        classes=("a", "b", "c"),
        representation=RECIPE.representation,
        window_s=0.64,
        unknown=fitted.unknown,
        event_thresholds=fitted.event_thresholds,
    )
    model = Model(Bundle(graph, card))
    assert (model.has_presence, model.overlap, model.threshold().tolist()) == (True, 0.25, [0.37, 0.37, 0.37])
    samples = np.random.default_rng(0).normal(0, 0.1, 32000 * 4).astype(np.float32)
    assert model.events(samples, 32000) == model.events(samples, 32000, overlap=0.25)
    silent = model.events(np.zeros(32000 * 4, np.float32), 32000)
    assert all(event.level_dbfs == -160.0 for event in silent)


def test_a_multi_label_model_has_no_backgrounds(data):
    several = replace(data, activation="sigmoid")
    assert len(linear_head._backgrounds(several, RECIPE)) == 0
    single = replace(data, sources=np.full(CLIPS, "one"))
    assert len(linear_head._backgrounds(single, RECIPE)) == 0
    assert len(linear_head._backgrounds(data, RECIPE)) == 24


def test_a_partial_view_has_a_part_of_the_clip_and_nothing_louder_than_clip_and_background():
    rng = np.random.default_rng(0)
    clip = np.full((1, 4, 100), 1.0, np.float32)
    silence = np.full((1, 4, 100), FLOOR, np.float32)
    for _ in range(20):
        (view,) = partial_views(clip, silence, rng)
        audible = (view > 0.99).all(0)
        assert 30 <= audible.sum() <= 100
        assert np.ptp(np.flatnonzero(audible)) == audible.sum() - 1  # in one piece
        assert view.max() <= 1.001
    noise = np.full((1, 4, 100), 0.5, np.float32)
    powers = [np.exp(partial_views(clip, noise, rng) * SPREAD + MIDDLE) - QUIETEST for _ in range(20)]
    quietest = [10 * np.log10(power.min() / np.exp(SPREAD + MIDDLE)) for power in powers]
    assert -61 < min(quietest) < max(quietest) <= 3.1  # 0 to 60 dB below the clip

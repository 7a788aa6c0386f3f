"""A head on a backbone: its graph against the formulas in NumPy, backgrounds as one more class, calibration."""

from dataclasses import replace

import numpy as np
import pytest

from soundmark.models.bundle import Bundle, graph_check
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.pretrained import backbone
from soundmark.training.named_recipes import recipe_named
from soundmark.training.transfer import head_training
from soundmark.training.transfer.backgrounds import Backgrounds
from soundmark.training.transfer.embeddings import Embeddings, background_spectrogram
from support.models import random_backbone

SHAPE, CLASSES, CLIPS = (32, 64), 3, 45
RECIPE = replace(
    recipe_named("transfer"),
    representation=replace(recipe_named("transfer").representation, size=SHAPE),
    backgrounds=24,
)
TARGETS = np.eye(CLASSES)[np.arange(CLIPS) % CLASSES]
SOURCES = (np.arange(CLIPS) // 2).astype(str)


@pytest.fixture(scope="module")
def spectrograms() -> np.ndarray:
    """Clips of three classes, each loud in other bands."""
    rng = np.random.default_rng(0)
    spectrograms = rng.normal(-0.6, 0.2, (CLIPS, *SHAPE)).astype(np.float32)
    for clip, label in zip(spectrograms, TARGETS.argmax(1), strict=True):
        clip[8 * label : 8 * label + 8] += 1.0
    return spectrograms


@pytest.fixture(scope="module")
def network(spectrograms) -> backbone.Backbone:
    return random_backbone(SHAPE, spectrograms)


@pytest.fixture(scope="module")
def views(network, spectrograms) -> np.ndarray:
    features = network.features(spectrograms)
    return np.stack([features, features + np.random.default_rng(1).normal(0, 0.01, features.shape)])


@pytest.fixture(scope="module")
def backgrounds(network) -> Backgrounds:
    noises = network.features(np.stack([background_spectrogram(RECIPE.representation, n) for n in range(24)]))
    return Backgrounds(features=noises, groups=np.array(["synthetic"] * 24))


@pytest.fixture(scope="module")
def two_groups(backgrounds) -> Backgrounds:
    return replace(backgrounds, groups=np.array(["synthetic"] * 16 + ["rain"] * 8))


@pytest.fixture(scope="module")
def trained(network, views, backgrounds) -> head_training.TransferModel:
    return head_training.train_head(views, TARGETS, SOURCES, network, RECIPE, backgrounds=backgrounds)


def model_of(trained: head_training.TransferModel) -> Model:
    found = trained.calibration
    card = Card(
        classes=("a", "b", "c"),
        representation=RECIPE.representation,
        window_s=0.64,
        temperature=found.temperature,
        unknown=found.unknown,
        event_thresholds=found.event_thresholds,
    )
    return Model(Bundle(trained.graph(), card))


def test_the_graph_computes_logits_familiarity_and_presence_as_numpy_does(network, views, spectrograms, two_groups):
    trained = head_training.train_head(views, TARGETS, SOURCES, network, RECIPE, backgrounds=two_groups)
    fitted = trained.calibration
    assert fitted.familiarity is not None
    assert fitted.presence is not None
    outputs = ("logits", "embedding", "familiarity", "presence")
    logits, embedding, familiarity, presence = model_of(trained).bundle.run_for(spectrograms, outputs)
    features = views[0]
    np.testing.assert_allclose(embedding, features[:, : network.embedding_size], atol=1e-5)
    np.testing.assert_allclose(logits, trained.logits(features), atol=1e-3)
    np.testing.assert_allclose(familiarity, fitted.familiarity(embedding), atol=2e-3)
    groups = features @ fitted.presence.weights + fitted.presence.bias
    assert groups.shape == (CLIPS, 2)
    assert (fitted.nature, fitted.event_thresholds) == (("rain and water",), (0.32,) * CLASSES)
    assert fitted.presence.novelty is not None
    raw, novelties = fitted.familiarity.raw(embedding), fitted.presence.novelty(features)
    expected = fitted.presence(logits, groups, raw, novelties)
    np.testing.assert_allclose(presence, expected, atol=2e-3)
    assert np.ptp(presence) > 0.05


@pytest.fixture(scope="module")
def with_background(network, views, backgrounds) -> head_training.TransferModel:
    """A model whose class "b" is background."""
    return head_training.train_head(
        views, TARGETS, SOURCES, network, RECIPE, backgrounds=backgrounds, background_rows=[1]
    )


def test_clips_of_a_background_class_are_no_sounds_that_are_present(trained, with_background, spectrograms):
    """Before, the background class was one of the classes: its clips had the same presence as the others."""
    (before,) = model_of(trained).bundle.run_for(spectrograms, ("presence",))
    (presence,) = model_of(with_background).bundle.run_for(spectrograms, ("presence",))
    background = TARGETS[:, 1] == 1
    assert np.median(before[background]) > 0.95 * np.median(before[~background])
    assert np.median(presence[background]) < 0.8 * np.median(presence[~background])


def test_the_graph_computes_presence_with_a_background_class_as_numpy_does(network, views, spectrograms, two_groups):
    trained = head_training.train_head(
        views, TARGETS, SOURCES, network, RECIPE, backgrounds=two_groups, background_rows=[1]
    )
    fitted, logits = trained.calibration, trained.logits(views[0]).astype(np.float64)
    (presence,) = model_of(trained).bundle.run_for(spectrograms, ("presence",))
    decides = fitted.presence
    assert decides is not None
    groups = views[0] @ decides.weights + decides.bias
    raw = fitted.familiarity.raw(views[0][:, :384])
    expected = decides(logits, groups, raw, decides.novelty(views[0]))
    np.testing.assert_allclose(presence, expected, atol=2e-3)
    z = np.column_stack([logits, groups]) / decides.temperature
    sounds, background = z[:, [0, 2]], np.log(np.exp(z[:, [1, 3, 4]]).sum(1))
    odds = 2 * (np.log(np.exp(sounds).sum(1)) - background) - 1
    known = decides.familiarity(raw) + decides.margin(sounds.max(1) - background)
    known -= decides.novelty_standard(decides.novelty(views[0]))
    np.testing.assert_allclose(expected, 1 / (1 + np.exp(-odds)) / (1 + np.exp(-known / decides.spread)), rtol=1e-6)


def test_sounds_of_one_recording_beside_many_backgrounds_have_a_presence(network, views, backgrounds, spectrograms):
    """Held out, they have no familiarity that could be standardised: then the presence was 0 everywhere."""
    targets = np.eye(2)[(np.arange(CLIPS) >= 25).astype(int)]
    sources = np.where(targets[:, 0] == 1, "one", np.arange(CLIPS).astype(str))
    found = head_training.train_head(
        views, targets, sources, network, RECIPE, backgrounds=backgrounds, background_rows=[1]
    )
    (presence,) = Bundle(found.graph(), model_of(found).bundle.card).run_for(spectrograms, ("presence",))
    assert np.ptp(presence[:25]) > 0.01
    assert np.median(presence[:25]) > 0.05  # S(2·odds − 1) is lower than S(odds), which was above 0.1


def test_a_background_class_without_training_clips_counts_as_none(network, views, backgrounds, trained):
    targets = np.pad(TARGETS, ((0, 0), (0, 1)))
    found = head_training.train_head(
        views, targets, SOURCES, network, RECIPE, backgrounds=backgrounds, background_rows=[3]
    )
    assert found.calibration.presence.background_rows == ()
    assert found.calibration.event_thresholds == (0.4,) * 4


def test_the_graph_with_a_background_class_passes_the_check_of_untrusted_models(with_background):
    assert with_background.calibration.event_thresholds == (0.4,) * CLASSES
    checked = graph_check.check(with_background.graph(), "model.onnx")
    assert checked.outputs["presence"] == (1,)


def test_the_graph_passes_the_check_of_untrusted_models(trained):
    checked = graph_check.check(trained.graph(), "model.onnx")
    assert checked.inputs == {"spectrogram": (1, 1, *SHAPE)}
    assert checked.outputs == {"logits": (1, 3), "embedding": (1, 384), "familiarity": (1,), "presence": (1,)}


def test_backgrounds_are_no_class_of_the_model_and_clips_are_classified(trained, views):
    assert trained.head.weights.shape == (911, CLASSES + 1)
    assert trained.calibration.event_thresholds == (0.4,) * CLASSES
    assert (trained.logits(views[0]).argmax(1) == TARGETS.argmax(1)).mean() > 0.8


def test_the_same_clips_give_the_same_model(trained, network, views, backgrounds):
    again = head_training.train_head(views, TARGETS, SOURCES, network, RECIPE, backgrounds=backgrounds)
    assert again.graph() == trained.graph()
    assert again.calibration.temperature == trained.calibration.temperature


def test_a_model_with_presence_overlaps_windows_and_scores_no_pieces(trained):
    model = model_of(trained)
    assert (model.has_presence, model.overlap, model.threshold().tolist()) == (True, 0.25, [0.4, 0.4, 0.4])
    samples = np.random.default_rng(0).normal(0, 0.1, 32000 * 4).astype(np.float32)
    assert model.events(samples, 32000) == model.events(samples, 32000, overlap=0.25)
    silent = model.events(np.zeros(32000 * 4, np.float32), 32000)
    assert all(event.level_dbfs == -160.0 for event in silent)


@pytest.mark.parametrize(("sources", "activation"), [(SOURCES, "sigmoid"), (np.full(CLIPS, "one"), "softmax")])
def test_several_labels_or_a_single_recording_have_no_presence(network, views, backgrounds, sources, activation):
    found = head_training.train_head(
        views, TARGETS, sources, network, RECIPE, backgrounds=backgrounds, activation=activation
    )
    assert found.head.weights.shape == (911, CLASSES)
    assert found.calibration.presence is None
    assert (found.calibration.unknown is None) == (sources is not SOURCES)


def test_embeddings_depend_on_the_sound_only(network):
    extractor = Embeddings(representation=RECIPE.representation, backbone=network, partial_views=2)
    rng = np.random.default_rng(0)
    first, second = (rng.normal(0, 0.1, 24000).astype(np.float32) for _ in range(2))
    expected = extractor(first, 32000)
    assert expected.shape == extractor.shape == (3, 911)
    assert not np.array_equal(extractor(second, 32000), expected)
    np.testing.assert_array_equal(extractor(first, 32000), expected)
    np.testing.assert_array_equal(expected[0], network.features(RECIPE.representation(first, 32000)[None])[0])
    assert not np.array_equal(expected[1], expected[2])
    whole = replace(extractor, partial_views=0)
    np.testing.assert_allclose(whole(first, 32000)[0], expected[0], atol=1e-5)
    assert whole.settings() != extractor.settings()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"\0" * len(data), lambda data: b""])
def test_features_of_backgrounds_are_stored_and_damage_is_noticed(network, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path))
    extractor = Embeddings(representation=RECIPE.representation, backbone=network)
    first = extractor.of_backgrounds(40, jobs=1).features
    (stored,) = (tmp_path / "features").glob("backgrounds-*")
    data = stored.read_bytes()
    stored.write_bytes(damage(data))
    np.testing.assert_array_equal(extractor.of_backgrounds(40, jobs=1).features, first)
    assert stored.read_bytes() == data
    monkeypatch.setattr(backbone.Backbone, "features", None)  # read from the cache: nothing is computed
    np.testing.assert_array_equal(extractor.of_backgrounds(40, jobs=1).features, first)


@pytest.mark.parametrize("with_backgrounds", [True, False])
def test_an_uncalibrated_head_is_the_same_head(network, views, backgrounds, with_backgrounds):
    used = backgrounds if with_backgrounds else None
    model = head_training.train_head(views, TARGETS, SOURCES, network, RECIPE, backgrounds=used)
    head = head_training.train_uncalibrated(views, TARGETS, SOURCES, backgrounds=used, seed=RECIPE.seed)
    given = head_training.train_uncalibrated(views, TARGETS, SOURCES, backgrounds=used, shrinkage=head.shrinkage)
    assert head.shrinkage == model.head.shrinkage
    np.testing.assert_array_equal(head.logits(views[0]), model.logits(views[0]))
    np.testing.assert_allclose(given.logits(views[0]), head.logits(views[0]), rtol=1e-6, atol=1e-6)

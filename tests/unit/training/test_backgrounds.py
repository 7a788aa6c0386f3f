"""Backgrounds: their weights, and the recordings that are left out because a class sounds like them."""

from dataclasses import replace

import numpy as np
import pytest

from soundmark.audio import nature
from soundmark.models.pretrained.named_models import audioset_classes
from soundmark.training.moments import Moments
from soundmark.training.named_recipes import recipe_named
from soundmark.training.transfer import linear_head
from soundmark.training.transfer.backgrounds import FAMILIES, Backgrounds
from soundmark.training.transfer.embeddings import Embeddings
from support.models import random_backbone

GROUPS = ("synthetic", *dict.fromkeys(nature.recording_groups()))
ALL = Backgrounds(features=np.zeros((len(GROUPS), 530), np.float32), groups=np.array(GROUPS))
TARGETS, SOURCES = np.eye(2)[[0, 0, 0, 1]], np.array(["a", "a", "b", "c"])


def clips(*probable: tuple[int, str, float]) -> np.ndarray:
    """Features of four clips: three numbers, and AudioSet's logits, of which some are probable."""
    features = np.full((4, 530), -9.0)
    for clip, name, p in probable:
        features[clip, 3 + audioset_classes().index(name)] = np.log(p / (1 - p))
    return features


def left_out(*classes: str, features: np.ndarray | None = None, background_rows: tuple[int, ...] = ()) -> set[str]:
    """The families that are left out."""
    names = (*classes, "other")[:2]
    found = ALL.suited_to(
        names, clips() if features is None else features, TARGETS, SOURCES, background_rows=background_rows
    ).names
    assert found[0] == "synthetic"
    return {family.name for family in FAMILIES if not set(family.groups) & set(found)}


def test_each_group_of_recordings_belongs_to_one_family_and_the_audioset_classes_exist():
    assert sorted(group for family in FAMILIES for group in family.groups) == sorted(set(nature.recording_groups()))
    assert {name for family in FAMILIES for name in family.audioset} <= set(audioset_classes())


@pytest.mark.parametrize(
    ("label", "family"),
    [
        ("rain", "rain and water"),
        ("Sea waves", "rain and water"),
        ("sea_waves", "rain and water"),
        ("THUNDERSTORM", "rain and water"),
        ("water_drops", "rain and water"),
        ("wind", "wind"),
        ("crackling_fire", "fire"),
        ("chirping_birds", "animals"),
        ("Crickets", "animals"),
        ("hen", "animals"),
        ("clock_tick", "clock"),
        ("CampFire", "fire"),
        ("seaWaves", "rain and water"),
        ("Rain1", "rain and water"),
        ("Wind (strong)", "wind"),
    ],
)
def test_a_class_with_the_name_of_a_family_leaves_it_out(label, family):
    assert left_out(label) == {family}


@pytest.mark.parametrize(
    "label", ["dog_bark", "air_conditioner", "engine_idling", "fireworks", "window_breaking", "siren", "firetruck", ""]
)
def test_other_names_leave_nothing_out(label):
    assert left_out(label) == set()


def test_a_class_in_which_the_network_finds_a_family_leaves_it_out():
    birds = [(clip, "Chirp, tweet", 0.2) for clip in range(3)]
    assert left_out("Turdus merula", features=clips(*birds)) == {"animals"}
    assert left_out("Turdus merula", features=clips(*birds), background_rows=(0,)) == set()
    assert left_out("rain", features=clips(*birds)) == {"animals", "rain and water"}


def test_each_recording_counts_once():
    """Recording "a" has two of the three clips of the class."""
    assert left_out("street", features=clips((0, "Bird", 0.25), (1, "Bird", 0.25))) == set()
    assert left_out("street", features=clips((2, "Bird", 0.25))) == set()
    assert left_out("street", features=clips((2, "Bird", 0.35))) == {"animals"}


def test_a_family_counts_by_its_likeliest_class_and_a_class_without_clips_leaves_nothing_out():
    several = [(clip, name, 0.1) for clip in range(3) for name in ("Rain", "Stream", "Ocean", "Water")]
    assert left_out("a", features=clips(*several)) == set()
    empty = np.eye(2)[[1, 1, 1, 1]]
    assert ALL.suited_to(["a", "b"], clips(), empty, SOURCES) is ALL


def test_recorded_backgrounds_count_four_times_and_all_of_them_in_every_view():
    rng = np.random.default_rng(0)
    noises = Backgrounds(features=rng.normal(size=(3, 2)), groups=np.array(["synthetic", "rain", "rain"]))
    rows, targets = noises.features[[0, *[1, 2] * 4]], np.eye(4)[[2, *[3, 3] * 4]]
    expected = Moments.of(np.stack([rows, rows]), targets)
    np.testing.assert_allclose(noises.moments(2, 2).products, expected.products)


@pytest.fixture(scope="module")
def extractor() -> Embeddings:
    representation = replace(recipe_named("transfer").representation, size=(32, 200))
    return Embeddings(representation=representation, backbone=random_backbone((32, 200)))


def test_backgrounds_of_an_audioset_network_contain_variations_of_each_recording(extractor, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path))
    found = extractor.of_backgrounds(40, 2, jobs=1)
    assert found.features.shape == (40 + 2 * 76, 911)
    assert found.groups.tolist() == ["synthetic"] * 40 + [
        g for group in nature.recording_groups() for g in (group,) * 2
    ]
    assert len(np.unique(found.features[40:], axis=0)) == 2 * 76
    np.testing.assert_array_equal(found.features[:40], extractor.of_backgrounds(40, jobs=1).features)


def test_where_the_network_recognises_no_rain_there_are_synthetic_backgrounds_alone(extractor, tmp_path, monkeypatch):
    """At another speed, in a band, in short windows, and without AudioSet's classes."""
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path))
    usual = extractor.representation
    slow = replace(extractor, representation=usual.with_time_expansion(2))
    assert slow.of_backgrounds(3, 2, jobs=1).names == ("synthetic",)
    assert slow.of_backgrounds(0, 2, jobs=1).features.shape == (0, 911)
    assert not replace(extractor, representation=usual.with_band(100, 4000)).can_use_recordings
    assert not replace(extractor, representation=replace(usual, size=(32, 199))).can_use_recordings
    assert not replace(extractor, backbone=replace(extractor.backbone, embedding_size=911)).can_use_recordings
    assert extractor.can_use_recordings


def test_other_recordings_are_not_taken_from_the_cache(extractor, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path))
    extractor.of_backgrounds(2, 1, jobs=1)
    monkeypatch.setattr(nature, "digest", lambda: "0" * 16)
    extractor.of_backgrounds(2, 1, jobs=1)
    assert len(list((tmp_path / "features").glob("backgrounds-*"))) == 2


def test_backgrounds_are_in_every_training_set_of_the_cross_validation():
    """Against a plain loop over the folds."""
    rng = np.random.default_rng(0)
    targets, sources = np.eye(2)[np.arange(40) % 2], np.arange(40).astype(str)
    views = rng.normal(size=(2, 40, 3)) + 2 * targets[:, :1]
    others = Backgrounds(features=rng.normal(size=(9, 3)), groups=np.array(["rain"] * 9)).moments(2, 2)
    head = linear_head.fit_head(views[0], targets, sources, views=views, others=others)
    assert head.weights.shape == (3, 3)
    assert head.held_out.shape == (40, 3)
    for fold in np.unique(head.fold_of):
        test = head.fold_of == fold
        weights, bias = linear_head.fit_weights(views[:, ~test], targets[~test], head.shrinkage, others=others)
        np.testing.assert_allclose(head.held_out[test], views[0][test] @ weights + bias, rtol=1e-4, atol=1e-5)

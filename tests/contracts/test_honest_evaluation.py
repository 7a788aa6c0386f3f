"""Honest evaluation: training has no access to test clips, leakage is reported, and shuffled labels score at chance.

Splits with a known amount of data leakage are tested in test_splits.py.
"""

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from soundmark import audio
from soundmark.datasets import Dataset, feature_store, features, leakage, splits, synthetic
from soundmark.datasets.features import Features
from soundmark.datasets.splits import Split
from soundmark.errors import SettingsError
from soundmark.evaluation import comparison
from soundmark.evaluation.plan import leakage_warnings, make_plan
from soundmark.models import bundle
from soundmark.spectrograms import LogMel, Mel
from soundmark.training import networks
from soundmark.training.epochs import loop, onnx_export
from soundmark.training.methods import build_features
from soundmark.training.named_recipes import RECIPES, recipe_named
from soundmark.training.recipe import Recipe
from soundmark.training.transfer import head_training, linear_head
from soundmark.training.unit import Outcome, Unit, train_unit

SMALL = LogMel(
    rate_hz=8000, size=(32, 32), n_fft=1024, window_samples=1024, hop_samples=1000, f_max_hz=4000.0, pre_emphasis=0.0
)
TINY = Recipe(
    name="tiny",
    representation=SMALL,
    network="resnet",
    epochs=2,
    batch_size=16,
    learning_rate=3e-3,
    schedule="one-cycle",
    validation_fraction=0.3,
)
CALIBRATING = [recipe for recipe in RECIPES.values() if recipe.calibrates]
REFUSAL = "requested: test clips must not influence the model"


@pytest.fixture(scope="module")
def city(tmp_path_factory) -> Dataset:
    """150 clips, enough for accuracies to differ: six recordings per class with two or three clips each."""
    folder = tmp_path_factory.mktemp("city") / "city"
    return Dataset.open(synthetic.write(folder, recordings_per_class=6, clips_per_recording=2))


@pytest.fixture(scope="module")
def fold_1(city) -> Split:
    return splits.official_folds(city, only=[1])[0]


@pytest.fixture(scope="module")
def stored(city) -> Features:
    return features.build(city, SMALL)


def unit_of(recipe: Recipe, split: Split, folder: Path) -> Unit:
    return Unit(recipe=recipe, protocol="folds", split=split, folder=folder)


class Captured(Exception):
    """Raised instead of training; contains the training data."""


def capture(data: loop.TrainingData, *_: object, **__: object) -> None:
    raise Captured(data)


def training_data(recipe: Recipe, split: Split, dataset: Dataset, stored: Features, folder: Path) -> loop.TrainingData:
    """The training data that ``train_unit`` passes to the training loop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_network", capture)
        with pytest.raises(Captured) as captured:
            train_unit(unit_of(recipe, split, folder), dataset, stored)
    return captured.value.args[0]


# --- Training has no access to test clips -----------------------------------------------------------------------------


def test_the_recipes_that_calibrate():
    assert [recipe.name for recipe in CALIBRATING] == ["scratch", "transfer"]


@pytest.mark.parametrize("protocol", ["random", "folds", "grouped"])
def test_training_data_contain_no_features_or_labels_of_test_clips(city, tmp_path, monkeypatch, protocol):
    monkeypatch.setattr(loop, "train_network", capture)
    plan = make_plan(city, [recipe_named("scratch")], protocols=[protocol])
    with pytest.raises(Captured) as captured:
        comparison.run_plan(plan, tmp_path / "run")
    data: loop.TrainingData = captured.value.args[0]
    test = plan.splits[protocol][0].test
    for i in test:
        for index in (i, i - len(city.clips), slice(i, i + 1), [i], np.arange(len(city.clips)) == i):
            with pytest.raises(SettingsError, match=REFUSAL):
                data.features[index]
    with pytest.raises(SettingsError, match=f"{len(test)} hidden rows were {REFUSAL}"):
        np.asarray(data.features)
    with pytest.raises(SettingsError, match=REFUSAL):
        data.features.hide(np.arange(0))[test]
    assert np.isnan(data.targets[test]).all()
    others = np.setdiff1d(np.arange(len(city.clips)), test)
    np.testing.assert_array_equal(data.targets[others], city.targets[others])
    assert sorted([*data.train, *data.validation]) == others.tolist()
    assert np.isfinite(data.features[others]).all()


def test_a_head_is_fitted_on_features_and_labels_of_training_clips_only(city, fold_1, tmp_path, monkeypatch):
    weights_or_skip()
    recipe = replace(recipe_named("transfer"), representation=LogMel(size=(128, 100)))
    stored = build_features(city, recipe)
    train, given, read = head_training.train_head, [], []

    def train_and_record(views: np.ndarray, targets: np.ndarray, sources: np.ndarray, *rest: object, **options: object):
        given.append((views, targets, sources))
        return train(views, targets, sources, *rest, **options)

    def get_and_record(rows: feature_store.Rows, index: np.ndarray) -> np.ndarray:
        read.append((len(given), np.arange(len(rows))[index]))
        return get(rows, index)

    get = feature_store.Rows.__getitem__
    monkeypatch.setattr(head_training, "train_head", train_and_record)
    monkeypatch.setattr(feature_store.Rows, "__getitem__", get_and_record)
    train_unit(unit_of(recipe, fold_1, tmp_path / "unit"), city, stored)
    before = np.concatenate([rows for fitted, rows in read if not fitted])
    assert set(before.tolist()) == set(fold_1.train.tolist())
    ((views, targets, sources),) = given
    np.testing.assert_array_equal(views[0], get(stored.array, fold_1.train)[:, 0])
    np.testing.assert_array_equal(targets, city.targets[fold_1.train])
    np.testing.assert_array_equal(sources, city.sources[fold_1.train])


def test_training_reads_the_features_of_training_clips_only(city, stored, fold_1, tmp_path, monkeypatch):
    read: list[int] = []
    train, get = loop.train_network, feature_store.Rows.__getitem__

    def train_and_record(*args: object, **options: object) -> loop.TrainedNetwork:
        with pytest.MonkeyPatch.context() as patch:

            def get_and_record(rows: feature_store.Rows, index: np.ndarray) -> np.ndarray:
                read.extend(np.arange(len(rows))[index].tolist())
                return get(rows, index)

            patch.setattr(feature_store.Rows, "__getitem__", get_and_record)
            return train(*args, **options)

    monkeypatch.setattr(loop, "train_network", train_and_record)
    train_unit(unit_of(TINY, fold_1, tmp_path / "unit"), city, stored)
    assert set(read) == set(fold_1.train.tolist())


def test_validation_on_test_clips_is_an_error(city, stored, fold_1, tmp_path, monkeypatch):
    """For example for early stopping on the test loss, a common source of data leakage."""
    train = loop.train_network

    def validate_on_test_clips(data, recipe, **options):
        return train(replace(data, validation=fold_1.test), recipe, **options)

    monkeypatch.setattr(loop, "train_network", validate_on_test_clips)
    with pytest.raises(SettingsError, match=f"16 hidden rows were {REFUSAL}"):
        train_unit(unit_of(TINY, fold_1, tmp_path / "unit"), city, stored)
    assert not (tmp_path / "unit" / "model.onnx").exists()


def test_evaluating_test_clips_in_a_callback_is_an_error(city, stored, fold_1, tmp_path, monkeypatch):
    train = loop.train_network

    def train_with_callback(data, recipe, **options):
        def evaluate(history: object) -> None:
            onnx_export.network_logits(
                networks.build("resnet", shape=(32, 32), n_classes=10), data.features[fold_1.test]
            )

        return train(data, recipe, **{**options, "on_epoch": evaluate})

    monkeypatch.setattr(loop, "train_network", train_with_callback)
    with pytest.raises(SettingsError, match=f"{len(fold_1.test)} hidden rows were {REFUSAL}"):
        train_unit(unit_of(TINY, fold_1, tmp_path / "unit"), city, stored)


def test_overlapping_sets_of_a_split_are_an_error():
    with pytest.raises(SettingsError, match="2 test clips are also in the validation set"):
        Split(np.array([0, 1]), np.array([2, 3, 4]), validation=np.array([3, 4]))
    with pytest.raises(SettingsError, match="1 test clip is also in the training set"):
        Split(np.array([0, 1, 2]), np.array([2, 3]))


# --- The labels of the test clips have no influence on the model ------------------------------------------------------


def relabelled(dataset: Dataset, indices: np.ndarray) -> Dataset:
    """The same clips; those at ``indices`` have the label of the next class."""
    following = dict(zip(dataset.classes, [*dataset.classes[1:], dataset.classes[0]], strict=True))
    clips = list(dataset.clips)
    for i in indices:
        clips[i] = replace(clips[i], label=following[clips[i].label])
    return replace(dataset, clips=tuple(clips))


def without_seconds(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def train_with_true_and_false_labels(
    city: Dataset, recipe: Recipe, split: Split, folder: Path
) -> tuple[Outcome, Outcome]:
    """Train twice: with the true labels, and with wrong labels of the test clips."""
    stored = build_features(city, recipe)
    return (
        train_unit(unit_of(recipe, split, folder / "true"), city, stored),
        train_unit(unit_of(recipe, split, folder / "false"), relabelled(city, split.test), stored),
    )


def assert_only_the_score_differs(true: Outcome, false: Outcome) -> None:
    models = [bundle.read_bundle(outcome.model) for outcome in (true, false)]
    assert models[0].graph == models[1].graph  # weights and familiarity statistics
    for field in ("temperature", "unknown", "thresholds"):
        assert getattr(models[0].card, field) == getattr(models[1].card, field)
    assert models[0].card.temperature != 1.0
    assert 0 < models[0].card.unknown < 1
    np.testing.assert_array_equal(true.probabilities, false.probabilities)
    histories = [without_seconds(outcome.unit.folder / "history.csv") for outcome in (true, false)]
    assert histories[0] == histories[1]
    scores = [model.card.scores["accuracy"] for model in models]
    assert scores[0] != scores[1]


def test_wrong_labels_of_test_clips_change_only_the_score(city, fold_1, tmp_path):
    true, false = train_with_true_and_false_labels(city, TINY, fold_1, tmp_path)
    assert_only_the_score_differs(true, false)
    assert len(true.history) == 2 * TINY.epochs


def test_wrong_labels_of_test_clips_do_not_change_a_head_on_a_pretrained_network(city, fold_1, tmp_path):
    weights_or_skip()
    short = replace(recipe_named("transfer"), representation=LogMel(size=(128, 100)))
    assert_only_the_score_differs(*train_with_true_and_false_labels(city, short, fold_1, tmp_path))


def weights_or_skip() -> None:
    folder = os.environ.get("SOUNDMARK_WEIGHTS", "")
    if not folder or not (Path(folder) / "mn04_as_mAP_432.pt").exists():
        pytest.skip("the pretrained weights are missing: set SOUNDMARK_WEIGHTS to their folder")


def test_validation_figures_are_computed_on_the_validation_clips(city, stored, fold_1, tmp_path):
    split = splits.hold_out_validation(city, fold_1, TINY.validation_fraction, seed=TINY.seed)
    true = training_data(TINY, fold_1, city, stored, tmp_path / "unit")
    np.testing.assert_array_equal(true.validation, split.validation)
    false = replace(true, targets=true.targets.copy())
    false.targets[split.validation] = np.roll(true.targets[split.validation], 1, axis=1)
    for row, other in zip(loop.train_network(true, TINY).history, loop.train_network(false, TINY).history, strict=True):
        if row.epoch > TINY.epochs:  # the refit on all clips has no validation clips
            assert (row.validation_loss, row.validation_accuracy) == (None, None)
            continue
        assert (row.train_loss, row.train_accuracy) == (other.train_loss, other.train_accuracy)
        assert row.validation_loss != other.validation_loss
        n_correct = row.validation_accuracy * len(split.validation)  # a whole number for this number of clips only
        assert n_correct == pytest.approx(round(n_correct), abs=1e-6)


# --- Validation clips come from other recordings of the training set --------------------------------------------------


@pytest.mark.parametrize("share", [0.15, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_validation_and_training_clips_share_no_recording(city, seed, share):
    chosen = [
        *splits.official_folds(city),
        *splits.folds_by_recording(city),
        splits.random_split(len(city.clips)),
    ]
    for split in chosen:
        held_out = splits.hold_out_validation(city, split, share, seed=seed)
        assert len(held_out.validation) >= 5
        assert not set(city.sources[held_out.validation]) & set(city.sources[held_out.train])
        assert sorted([*held_out.train, *held_out.validation]) == sorted(split.train.tolist())
        np.testing.assert_array_equal(held_out.test, split.test)
        if split in chosen[:3]:
            assert split.fold not in city.fold_of[held_out.validation]
            assert split.fold not in city.fold_of[held_out.train]


def test_the_cross_validation_of_a_linear_head_keeps_recordings_together(city, fold_1):
    x = np.random.default_rng(0).normal(size=(len(fold_1.train), 4))
    head = linear_head.fit_head(x, city.targets[fold_1.train], city.sources[fold_1.train])
    folds_of = {source: set() for source in city.sources[fold_1.train]}
    for source, fold in zip(city.sources[fold_1.train], head.fold_of, strict=True):
        folds_of[source].add(int(fold))
    assert {len(folds) for folds in folds_of.values()} == {1}
    assert set(head.fold_of) == {1, 2, 3, 4, 5}


# --- Shuffled labels score at chance ----------------------------------------------------------------------------------


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """The data set with the labels shuffled between recordings; all clips of a recording get the same label."""
    names = np.unique(dataset.sources)
    label_of = {clip.source: clip.label for clip in dataset.clips}
    permuted = np.random.default_rng(seed).permutation([label_of[name] for name in names])
    new = dict(zip(names, permuted.tolist(), strict=True))
    return replace(dataset, clips=tuple(replace(clip, label=new[clip.source]) for clip in dataset.clips))


def chance_range(dataset: Dataset, level: float = 0.999) -> tuple[float, float]:
    """The range that contains the accuracy of guessing with probability ``level``.

    The lower end is that of always guessing the rarest class, the upper end that of always guessing the most frequent
    class. The clips of a recording are predicted alike, so there are as many independent trials as recordings.
    """
    n, frequencies = splits.count_recordings(dataset), np.bincount(dataset.labels) / len(dataset.clips)
    return binom.interval(level, n, frequencies.min())[0] / n, binom.interval(level, n, frequencies.max())[1] / n


LEARNING_RECIPES = {
    "logmel": replace(TINY, epochs=12, validation_fraction=0.15),
    "mel": replace(TINY, representation=Mel(size=(32, 32)), epochs=12, validation_fraction=0.0),
}


def cross_validated_accuracy(dataset: Dataset, recipe: Recipe, chosen: list[Split], folder: Path) -> float:
    """The accuracy over the test clips of all splits, computed from the logits of the trained networks."""
    stored, n_correct, n = features.build(dataset, recipe.representation), 0, 0
    for number, split in enumerate(chosen):
        data = training_data(recipe, split, dataset, stored, folder / str(number))
        logits = onnx_export.network_logits(loop.train_network(data, recipe).network, stored.array[split.test])
        n_correct += int((logits.argmax(1) == dataset.labels[split.test]).sum())
        n += len(logits)
    return n_correct / n


@pytest.mark.parametrize("name", ["mel", pytest.param("logmel", marks=pytest.mark.long(200))])
def test_shuffled_labels_score_at_chance_and_true_labels_above(city, tmp_path, name):
    low, high = chance_range(city)
    assert (round(low, 3), round(high, 3)) == (0.0, 0.25)  # 60 recordings, ten classes
    recipe, folds = LEARNING_RECIPES[name], splits.official_folds(city)
    assert low <= cross_validated_accuracy(shuffled(city, seed=0), recipe, folds, tmp_path / "shuffled") <= high
    assert cross_validated_accuracy(city, recipe, folds, tmp_path / "true") > high


@pytest.mark.long(600)
def test_shuffled_labels_of_real_clips_score_at_chance_with_a_pretrained_network(urbansound8k, tmp_path):
    """145 recordings (15 per class, 10 of jackhammers) with one clip each, in three official folds."""
    weights_or_skip()
    complete = Dataset.open(urbansound8k)
    first: dict[tuple[str, str], list] = {}
    for clip in complete.clips:
        first.setdefault((clip.label, clip.source), clip)
    chosen = [[clip for (label, _), clip in first.items() if label == name][:15] for name in complete.classes]
    data = replace(complete, clips=tuple(clip for clips in chosen for clip in clips))
    assert len(data.clips) == 145
    transfer = recipe_named("transfer")
    low, high = chance_range(data)
    scored = [
        comparison.run_plan(make_plan(each, [transfer], protocols=["folds"]), tmp_path / str(number)).results[0]
        for number, each in enumerate((shuffled(data, seed=0), data))
    ]
    accuracies = [result.summary.accuracy for result in scored]
    assert low <= accuracies[0] <= high < 0.25
    assert accuracies[1] > 0.5


# --- A split with data leakage ----------------------------------------------------------------------------------------


def near_copies(folder: Path, *, recordings: int = 24, copies: int = 10) -> Dataset:
    """Chords with random classes, ten nearly identical copies of each; two folds keep the copies together."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["path,label,source,fold"]
    t = np.arange(4000) / 8000
    for recording in range(recordings):
        chord = np.sin(2 * np.pi * np.outer(rng.uniform(100, 3800, 3), t)).sum(0) / 6
        for copy in range(copies):
            name = f"{recording}-{copy}.wav"
            audio.write(folder / name, (chord + 0.02 * rng.normal(size=t.size)).astype(np.float32), 8000)
            rows.append(f"{name},{'abcd'[recording % 4]},{recording},{1 + recording // 4 % 2}")
    (folder / "labels.csv").write_text("\n".join([*rows, ""]))
    return Dataset.open(folder / "labels.csv")


@pytest.mark.long(600)
def test_leakage_raises_the_score_of_a_random_split_but_not_of_folds(tmp_path):
    data = near_copies(tmp_path / "copies")
    # Without validation clips, the random split trains on every recording.
    small = replace(SMALL, hop_samples=125)
    recipe = replace(LEARNING_RECIPES["logmel"], representation=small, validation_fraction=0.0)
    plan = make_plan(data, [recipe], protocols=["random", "folds"])
    (warning,) = leakage_warnings(plan, np.ones(len(data.clips), bool))
    assert warning.startswith(
        "random: 100.0 % of the test clips come from a recording that is also in the training set (100.0 % with the "
        "same class)"
    )
    leaks = {protocol: leakage.measure_leakage(data, chosen) for protocol, chosen in plan.splits.items()}
    assert (leaks["random"].lookup_accuracy, leaks["folds"].recording) == (1.0, 0.0)
    low, high = chance_range(data)
    scores = {
        protocol: cross_validated_accuracy(data, recipe, chosen, tmp_path / protocol)
        for protocol, chosen in plan.splits.items()
    }
    assert scores["random"] > 0.9
    assert low <= scores["folds"] <= high < 0.7

"""The protocol cannot be cheated: what peeks at the test clips is refused, a leak is told, labels of no sense say so.

(Splits that leak by a known share are in test_evaluation.py and test_splits.py.)
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
from soundmark.models import bundle, weights
from soundmark.spectrograms import LogMel, Mel
from soundmark.training import linear_head, loop, networks, onnx_export
from soundmark.training.named_recipes import RECIPES, recipe_named
from soundmark.training.recipe import Recipe
from soundmark.training.unit import Outcome, Unit, _training_data, train_unit

HEARS = LogMel(
    rate_hz=8000, size=(32, 32), n_fft=1024, window_samples=1024, hop_samples=1000, f_max_hz=4000.0, pre_emphasis=0.0
)
TINY = Recipe(
    name="tiny",
    representation=HEARS,
    network="resnet",
    epochs=2,
    batch_size=16,
    learning_rate=3e-3,
    schedule="one-cycle",
    validation_fraction=0.3,
)
DECIDING = [recipe for recipe in RECIPES.values() if recipe.decides]
REFUSAL = "asked for: nothing may be decided by a test clip"


@pytest.fixture(scope="module")
def city(tmp_path_factory) -> Dataset:
    """Large enough for accuracies to differ: 12 clips of each class, two from each recording."""
    folder = tmp_path_factory.mktemp("city") / "city"
    return Dataset.open(synthetic.write(folder, recordings_per_class=6, clips_per_recording=2))


@pytest.fixture(scope="module")
def fold_1(city) -> Split:
    return splits.official_folds(city, only=[1])[0]


@pytest.fixture(scope="module")
def heard(city) -> Features:
    return features.build(city, HEARS)


def unit_of(recipe: Recipe, split: Split, folder: Path) -> Unit:
    return Unit(recipe=recipe, protocol="folds", split=split, folder=folder)


class Seen(Exception):
    """Thrown instead of training, with what would have been trained on."""


# --- A test clip picks nothing ----------------------------------------------------------------------------------------


def test_the_recipes_that_decide_are_these():
    assert [recipe.name for recipe in DECIDING] == ["scratch", "transfer", "transfer-finetune"]


@pytest.mark.parametrize("protocol", ["random", "folds", "grouped"])
@pytest.mark.parametrize("recipe", DECIDING, ids=lambda recipe: recipe.name)
def test_who_decides_is_given_neither_sound_nor_label_of_a_test_clip(city, tmp_path, monkeypatch, recipe, protocol):
    def spy(data: loop.TrainingData, *_: object, **__: object) -> None:
        raise Seen(data)

    monkeypatch.setattr(loop, "train_network", spy)
    monkeypatch.setattr(weights, "find", lambda *_: None)  # nothing is trained
    plan = make_plan(city, [recipe], protocols=[protocol])
    with pytest.raises(Seen) as seen:
        comparison.run_plan(plan, tmp_path / "run")
    data: loop.TrainingData = seen.value.args[0]
    test = plan.splits[protocol][0].test
    for i in test:
        for asked in (i, i - len(city.clips), slice(i, i + 1), [i], np.arange(len(city.clips)) == i):
            with pytest.raises(SettingsError, match=REFUSAL):
                data.features[asked]
    with pytest.raises(SettingsError, match=f"{len(test)} rows that are hidden were {REFUSAL}"):
        np.asarray(data.features)
    with pytest.raises(SettingsError, match=REFUSAL):
        data.features.hiding(np.arange(0))[test]
    assert np.isnan(data.targets[test]).all()
    given = np.setdiff1d(np.arange(len(city.clips)), test)
    np.testing.assert_array_equal(data.targets[given], city.targets[given])
    assert sorted([*data.train, *data.validation]) == given.tolist()
    assert np.isfinite(data.features[given]).all()


def test_training_reads_what_it_was_given_and_nothing_else(city, heard, fold_1, tmp_path, monkeypatch):
    read: list[int] = []
    train, look = loop.train_network, feature_store.Rows.__getitem__

    def spying(*args: object, **options: object) -> loop.TrainedNetwork:
        with pytest.MonkeyPatch.context() as patch:

            def noted(rows: feature_store.Rows, which: np.ndarray) -> np.ndarray:
                read.extend(np.arange(len(rows))[which].tolist())
                return look(rows, which)

            patch.setattr(feature_store.Rows, "__getitem__", noted)
            return train(*args, **options)

    monkeypatch.setattr(loop, "train_network", spying)
    train_unit(unit_of(TINY, fold_1, tmp_path / "unit"), city, heard)
    assert set(read) == set(fold_1.train.tolist())


def test_an_early_stopping_rule_that_watches_the_test_clips_is_refused(city, heard, fold_1, tmp_path, monkeypatch):
    """As somebody would write it: after each epoch the loss of the test clips, and the epoch of the least is kept."""
    validate = loop._validate

    def watch_the_test_clips(network, data, *rest):
        return validate(network, replace(data, validation=fold_1.test), *rest)

    monkeypatch.setattr(loop, "_validate", watch_the_test_clips)
    with pytest.raises(SettingsError, match=f"16 rows that are hidden were {REFUSAL}"):
        train_unit(unit_of(TINY, fold_1, tmp_path / "unit"), city, heard)
    assert not (tmp_path / "unit" / "model.onnx").exists()


def test_a_rule_that_asks_after_each_epoch_is_refused(city, heard, fold_1, tmp_path, monkeypatch):
    train = loop.train_network

    def stopping(data, recipe, **options):
        def look(history: object) -> None:
            onnx_export.network_logits(
                networks.build("resnet", shape=(32, 32), n_classes=10), data.features[fold_1.test]
            )

        return train(data, recipe, **{**options, "on_epoch": look})

    monkeypatch.setattr(loop, "train_network", stopping)
    with pytest.raises(SettingsError, match=f"{len(fold_1.test)} rows that are hidden were {REFUSAL}"):
        train_unit(unit_of(TINY, fold_1, tmp_path / "unit"), city, heard)


def test_a_split_that_decides_by_a_test_clip_is_refused():
    with pytest.raises(SettingsError, match="2 clips to test on would be decided by, too: a test clip picks nothing"):
        Split(np.array([0, 1]), np.array([2, 3, 4]), validation=np.array([3, 4]))
    with pytest.raises(SettingsError, match="1 clip to test on would be trained on, too"):
        Split(np.array([0, 1, 2]), np.array([2, 3]))


# --- Nothing hangs on the labels of the test clips --------------------------------------------------------------------


def relabelled(dataset: Dataset, which: np.ndarray) -> Dataset:
    """The same sounds; each clip of ``which`` is called by the name of the next class."""
    following = dict(zip(dataset.classes, [*dataset.classes[1:], dataset.classes[0]], strict=True))
    clips = list(dataset.clips)
    for i in which:
        clips[i] = replace(clips[i], label=following[clips[i].label])
    return replace(dataset, clips=tuple(clips))


def without_seconds(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def made_twice(city: Dataset, recipe: Recipe, split: Split, folder: Path) -> tuple[Outcome, Outcome]:
    heard = features.build(city, recipe.representation)
    return (
        train_unit(unit_of(recipe, split, folder / "true"), city, heard),
        train_unit(unit_of(recipe, split, folder / "false"), relabelled(city, split.test), heard),
    )


def assert_only_the_score_differs(true: Outcome, false: Outcome) -> None:
    cards = [bundle.read_bundle(outcome.model) for outcome in (true, false)]
    assert cards[0].graph == cards[1].graph  # every weight, and what is familiar
    for field in ("temperature", "unknown", "thresholds"):
        assert getattr(cards[0].card, field) == getattr(cards[1].card, field)
    assert cards[0].card.temperature != 1.0
    assert 0 < cards[0].card.unknown < 1
    np.testing.assert_array_equal(true.probabilities, false.probabilities)
    tables = [without_seconds(outcome.unit.folder / "history.csv") for outcome in (true, false)]
    assert tables[0] == tables[1]
    scores = [card.card.scores["accuracy"] for card in cards]
    assert scores[0] != scores[1]


def test_other_labels_of_the_test_clips_change_the_score_alone(city, fold_1, tmp_path):
    true, false = made_twice(city, TINY, fold_1, tmp_path)
    assert_only_the_score_differs(true, false)
    assert len(true.history) == 2 * TINY.epochs


def test_nor_do_they_change_a_head_on_a_pretrained_network(city, fold_1, tmp_path):
    weights_or_skip()
    short = replace(recipe_named("transfer"), representation=LogMel(size=(128, 100)))
    assert_only_the_score_differs(*made_twice(city, short, fold_1, tmp_path))


def weights_or_skip() -> None:
    folder = os.environ.get("SOUNDMARK_WEIGHTS", "")
    if not folder or not (Path(folder) / "mn04_as_mAP_432.pt").exists():
        pytest.skip("the pretrained weights are not here: SOUNDMARK_WEIGHTS names their folder")


def test_the_curve_of_history_is_that_of_the_kept_back_clips(city, heard, fold_1, tmp_path):
    kept = splits.hold_out_validation(city, fold_1, TINY.validation_fraction, seed=TINY.seed)
    true = _training_data(unit_of(TINY, fold_1, tmp_path), kept, city, heard)
    false = replace(true, targets=true.targets.copy())
    false.targets[kept.validation] = np.roll(true.targets[kept.validation], 1, axis=1)
    for row, other in zip(loop.train_network(true, TINY).history, loop.train_network(false, TINY).history, strict=True):
        if row.epoch > TINY.epochs:  # trained again on everything: nothing is left to watch
            assert (row.validation_loss, row.validation_accuracy) == (None, None)
            continue
        assert (row.train_loss, row.train_accuracy) == (other.train_loss, other.train_accuracy)
        assert row.validation_loss != other.validation_loss
        right = row.validation_accuracy * len(kept.validation)  # so many clips, and no others, were asked
        assert right == pytest.approx(round(right), abs=1e-6)


# --- What is decided by lies on the training side ---------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.15, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_kept_back_shares_no_recording_with_what_is_trained_on(city, seed, share):
    chosen = [
        *splits.official_folds(city),
        *splits.folds_by_recording(city),
        splits.random_split(len(city.clips)),
    ]
    for split in chosen:
        kept = splits.hold_out_validation(city, split, share, seed=seed)
        assert len(kept.validation) >= 5
        assert not set(city.sources[kept.validation]) & set(city.sources[kept.train])
        assert sorted([*kept.train, *kept.validation]) == sorted(split.train.tolist())
        np.testing.assert_array_equal(kept.test, split.test)
        if split in chosen[:3]:
            assert split.fold not in city.fold_of[kept.validation]
            assert split.fold not in city.fold_of[kept.train]


def test_a_heads_cross_validation_keeps_recordings_together(city, fold_1):
    x = np.random.default_rng(0).normal(size=(len(fold_1.train), 4))
    head = linear_head.fit_head(x, city.targets[fold_1.train], city.sources[fold_1.train])
    folds_of = {source: set() for source in city.sources[fold_1.train]}
    for source, fold in zip(city.sources[fold_1.train], head.fold_of, strict=True):
        folds_of[source].add(int(fold))
    assert {len(folds) for folds in folds_of.values()} == {1}
    assert set(head.fold_of) == {1, 2, 3, 4, 5}


# --- Labels of no sense fall to chance --------------------------------------------------------------------------------


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """The labels dealt anew to the recordings, each of which keeps one for all its clips."""
    names = np.unique(dataset.sources)
    label_of = {clip.source: clip.label for clip in dataset.clips}
    dealt = np.random.default_rng(seed).permutation([label_of[name] for name in names])
    new = dict(zip(names, dealt.tolist(), strict=True))
    return replace(dataset, clips=tuple(replace(clip, label=new[clip.source]) for clip in dataset.clips))


def band(dataset: Dataset, share: float = 0.999) -> tuple[float, float]:
    """Between what accuracies a guess lies in ``share`` of all cases, at most as lucky as to guess the commonest class.

    The clips of a recording are told alike, so there are no more throws than recordings.
    """
    n, of = splits.count_recordings(dataset), np.bincount(dataset.labels) / len(dataset.clips)
    return binom.interval(share, n, of.min())[0] / n, binom.interval(share, n, of.max())[1] / n


LEARNS = {
    "logmel": replace(TINY, epochs=12, validation_fraction=0.15),
    "mel": replace(TINY, representation=Mel(size=(32, 32)), epochs=12, validation_fraction=0.0),
}


def score(dataset: Dataset, recipe: Recipe, chosen: list[Split], folder: Path) -> float:
    """The share of all test clips that is right, by the trained networks themselves: their graphs say the same."""
    heard, right, n = features.build(dataset, recipe.representation), 0, 0
    for split in chosen:
        kept = splits.hold_out_validation(dataset, split, recipe.validation_fraction, seed=recipe.seed)
        data = _training_data(unit_of(recipe, split, folder), kept, dataset, heard)
        said = onnx_export.network_logits(loop.train_network(data, recipe).network, heard.array[split.test])
        right, n = right + int((said.argmax(1) == dataset.labels[split.test]).sum()), n + len(said)
    return right / n


@pytest.mark.parametrize("name", LEARNS)
def test_shuffled_labels_fall_to_chance_and_true_ones_do_not(city, tmp_path, name):
    low, high = band(city)
    assert (round(low, 3), round(high, 3)) == (0.0, 0.25)  # 60 recordings, ten classes
    folds = splits.official_folds(city)
    assert low <= score(shuffled(city, seed=0), LEARNS[name], folds, tmp_path) <= high
    assert score(city, LEARNS[name], folds, tmp_path) > high


def test_shuffled_labels_of_real_clips_fall_to_chance_with_a_pretrained_network(urbansound8k, tmp_path):
    """145 recordings, 15 of each class (10 of jackhammers), a clip of each, in three official folds."""
    weights_or_skip()
    whole = Dataset.open(urbansound8k)
    first: dict[tuple[str, str], list] = {}
    for clip in whole.clips:
        first.setdefault((clip.label, clip.source), clip)
    chosen = [[clip for (label, _), clip in first.items() if label == name][:15] for name in whole.classes]
    data = replace(whole, clips=tuple(clip for clips in chosen for clip in clips))
    assert len(data.clips) == 145
    transfer = recipe_named("transfer")
    low, high = band(data)
    scored = [
        comparison.run_plan(make_plan(each, [transfer], protocols=["folds"]), tmp_path / str(number)).results[0]
        for number, each in enumerate((shuffled(data, seed=0), data))
    ]
    accuracies = [result.summary.accuracy for result in scored]
    assert low <= accuracies[0] <= high < 0.25
    assert accuracies[1] > 0.5


# --- A split that leaks -----------------------------------------------------------------------------------------------


def near_copies(folder: Path, *, recordings: int = 24, copies: int = 10) -> Dataset:
    """Hums, ten near-copies of each, in two folds that keep them together; which class a hum is of has no reason."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["path,label,source,fold"]
    t = np.arange(4000) / 8000
    for recording in range(recordings):
        hum = np.sin(2 * np.pi * np.outer(rng.uniform(100, 3800, 3), t)).sum(0) / 6
        for copy in range(copies):
            name = f"{recording}-{copy}.wav"
            audio.write(folder / name, (hum + 0.02 * rng.normal(size=t.size)).astype(np.float32), 8000)
            rows.append(f"{name},{'abcd'[recording % 4]},{recording},{1 + recording // 4 % 2}")
    (folder / "labels.csv").write_text("\n".join([*rows, ""]))
    return Dataset.open(folder / "labels.csv")


def test_near_copies_are_known_again_by_a_random_split_and_not_by_recording(tmp_path):
    data = near_copies(tmp_path / "copies")
    # Nothing kept back, so that the random split trains on every recording.
    recipe = replace(LEARNS["logmel"], representation=replace(HEARS, hop_samples=125), validation_fraction=0.0)
    plan = make_plan(data, [recipe], protocols=["random", "folds"])
    (told,) = leakage_warnings(plan, np.ones(len(data.clips), bool))
    assert told.startswith(
        "random: 100.0 % of the test clips come from a recording that is also trained on (100.0 % under the same class)"
    )
    leaks = {protocol: leakage.measure_leakage(data, chosen) for protocol, chosen in plan.splits.items()}
    assert (leaks["random"].lookup_accuracy, leaks["folds"].recording) == (1.0, 0.0)
    low, high = band(data)
    scores = {protocol: score(data, recipe, chosen, tmp_path) for protocol, chosen in plan.splits.items()}
    assert scores["random"] > 0.9
    assert low <= scores["folds"] <= high < 0.7

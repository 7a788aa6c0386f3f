"""Splits and leakage, compared with scikit-learn, small examples and simple reference code."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from soundmark.datasets import Clip, Dataset
from soundmark.datasets.leakage import Leakage, measure_leakage
from soundmark.datasets.splits import (
    Split,
    check_classes,
    folds_by_recording,
    grouped_folds,
    hold_out_validation,
    official_folds,
    random_split,
    untrained_classes,
)
from soundmark.errors import DatasetError, SettingsError


def dataset(*rows: tuple[str, str | None, int | None], classes: tuple[str, ...] | None = None) -> Dataset:
    """A data set of clips with (label, source, fold)."""
    clips = tuple(
        Clip(path=Path(f"{i}.wav"), label=label, source=source, fold=fold)
        for i, (label, source, fold) in enumerate(rows)
    )
    known = classes or tuple(sorted({clip.label for clip in clips}))
    return Dataset(name="pets", root=Path(), classes=known, clips=clips)


@pytest.fixture(scope="module")
def real(shared: Path) -> Dataset:
    """All 8 732 rows of UrbanSound8K's metadata, without sound files."""
    with (shared / "urbansound8k" / "UrbanSound8K.csv").open() as file:
        return dataset(*((row["class"], row["fsID"], int(row["fold"])) for row in csv.DictReader(file)))


def random_dataset(n: int, seed: int) -> Dataset:
    """Random clips: recordings of different sizes, some with several classes, four folds."""
    rng = np.random.default_rng(seed)
    labels, sources = rng.integers(0, 5, n), rng.integers(0, max(2, n // 4), n)
    folds = rng.integers(1, 5, n)
    return dataset(*((f"class {y}", f"r{s}", int(f)) for y, s, f in zip(labels, sources, folds, strict=True)))


# --- Random split -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 7, 10, 100, 101, 300, 999, 2097, 8731, 8732])
@pytest.mark.parametrize("test_share", [0.1, 0.2, 0.25, 0.33, 0.5, 2 / 3])
@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
def test_random_split_equals_that_of_scikit_learn(n: int, test_share: float, seed: int):
    train, test = train_test_split(np.arange(n), test_size=test_share, random_state=seed)
    split = random_split(n, test_share=test_share, seed=seed)
    np.testing.assert_array_equal(split.train, train)
    np.testing.assert_array_equal(split.test, test)
    assert split.train.dtype == split.test.dtype == np.int64


def test_the_default_random_split_is_that_of_the_notebook():
    train, test = train_test_split(np.arange(8732), test_size=0.33, random_state=42)
    split = random_split(8732)
    np.testing.assert_array_equal(split.train, train)
    np.testing.assert_array_equal(split.test, test)
    assert (len(split.train), len(split.test), split.fold) == (5850, 2882, None)


@pytest.mark.parametrize("test_share", [0, 1, -0.1, 1.5, float("nan")])
def test_an_invalid_test_share_is_an_error(test_share: float):
    with pytest.raises(SettingsError, match=rf"test_share is {test_share}: expected a number between 0 and 1"):
        random_split(10, test_share=test_share)


@pytest.mark.parametrize(("n", "test_share"), [(0, 0.33), (1, 0.33), (2, 0.6), (10, 0.95)])
def test_a_random_split_with_an_empty_set_is_an_error(n: int, test_share: float):
    with pytest.raises(
        DatasetError, match=rf"{n} clips? cannot be split with test_share={test_share}: the training or"
    ):
        random_split(n, test_share=test_share)


# --- Official folds ---------------------------------------------------------------------------------------------------


def test_each_fold_is_tested_once_and_all_others_are_for_training():
    data = dataset(("cat", None, 3), ("dog", None, 1), ("cat", None, 10), ("dog", None, 3))
    assert [(s.fold, s.train.tolist(), s.test.tolist()) for s in official_folds(data)] == [
        (1, [0, 2, 3], [1]),
        (3, [1, 2], [0, 3]),
        (10, [0, 1, 3], [2]),
    ]


def test_only_restricts_the_tested_folds_but_not_the_training_clips():
    data = dataset(("cat", None, 1), ("cat", None, 2), ("cat", None, 3))
    assert [(s.fold, s.train.tolist()) for s in official_folds(data, only=(3, 1, 3))] == [(1, [1, 2]), (3, [0, 1])]


def test_official_folds_of_urbansound8k(real: Dataset):
    splits = official_folds(real)
    assert [split.fold for split in splits] == list(range(1, 11))
    assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(8732))
    assert all(len(split.train) + len(split.test) == 8732 for split in splits)


def test_a_data_set_without_folds_is_an_error():
    with pytest.raises(DatasetError, match="pets has no official folds: use a random split"):
        official_folds(dataset(("cat", None, None), ("dog", None, None)))


def test_a_single_fold_is_an_error():
    with pytest.raises(DatasetError, match="pets has only fold 7: testing on it leaves no training clips"):
        official_folds(dataset(("cat", None, 7), ("dog", None, 7)))


def test_a_clip_without_a_fold_is_an_error():
    data = dataset(("cat", None, 1), ("cat", None, None), ("dog", None, 2))
    with pytest.raises(DatasetError, match=r'1 of the 3 clips of pets have no fold \(first: "1.wav"\)'):
        official_folds(data)


def test_an_unknown_fold_is_an_error():
    data = dataset(("cat", None, 1), ("dog", None, 3))
    with pytest.raises(SettingsError, match=r"pets has no fold 2. Available folds: 1, 3"):
        official_folds(data, only=[1, 2])
    with pytest.raises(SettingsError, match=r"no test fold was given. Available folds: 1, 3"):
        official_folds(data, only=[])


def test_untrained_classes_have_no_training_clips():
    data = dataset(("cat", None, 1), ("dog", None, 1), ("dog", None, 2), classes=("fox", "cat", "dog"))
    assert [untrained_classes(data, split) for split in official_folds(data)] == [("fox", "cat"), ("fox",)]


# --- Grouped folds ----------------------------------------------------------------------------------------------------


def test_grouped_folds_keep_recordings_together(real: Dataset):
    splits = grouped_folds(real, k=5)
    assert [split.fold for split in splits] == [1, 2, 3, 4, 5]
    assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(8732))
    for split in splits:
        assert not set(real.sources[split.test].tolist()) & set(real.sources[split.train].tolist())
        assert len(split.train) + len(split.test) == 8732
    assert measure_leakage(real, splits).recording == 0


def test_grouped_folds_are_as_balanced_as_those_of_scikit_learn(real: Dataset):
    """Compare the standard deviation over folds of each class's fraction with StratifiedGroupKFold."""

    def spread(tests: list[np.ndarray]) -> float:
        counts = np.array([np.bincount(real.labels[test], minlength=10) for test in tests])
        return float((counts / counts.sum(axis=0)).std(axis=0).max())

    theirs = StratifiedGroupKFold(n_splits=5).split(np.zeros(8732), real.labels, real.sources)
    ours = spread([split.test for split in grouped_folds(real, k=5)])
    assert ours <= 1.1 * spread([test for _, test in theirs])
    assert ours < 0.01


def test_grouped_folds_depend_on_the_seed():
    data = random_dataset(200, seed=1)
    first, again, other = (grouped_folds(data, k=4, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a.test, b.test) for a, b in zip(first, other, strict=True))


def test_an_invalid_number_of_grouped_folds_is_an_error():
    data = dataset(("cat", "a", None), ("cat", "a", None), ("dog", "b", None))
    assert len(grouped_folds(data, k=2)) == 2
    with pytest.raises(DatasetError, match=r"pets has 2 recordings, too few for k=3 folds"):
        grouped_folds(data, k=3)
    with pytest.raises(SettingsError, match=r"k is 1: expected at least 2 folds"):
        grouped_folds(data, k=1)


@pytest.mark.parametrize(("recordings", "folds"), [(2, 2), (4, 4), (5, 5), (30, 5)])
def test_there_are_five_folds_by_recording_or_one_per_recording(recordings: int, folds: int):
    data = dataset(*(("cat", f"r{i % recordings}", None) for i in range(60)))
    splits = folds_by_recording(data)
    assert [split.fold for split in splits] == list(range(1, folds + 1))
    assert measure_leakage(data, splits).recording == 0
    assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(60))


def test_the_default_seed_of_folds_by_recording_is_42():
    data = random_dataset(200, seed=1)
    for ours, theirs in zip(folds_by_recording(data), grouped_folds(data, k=5, seed=42), strict=True):
        np.testing.assert_array_equal(ours.test, theirs.test)


@pytest.mark.parametrize("sources", [(None, None, None), ("a", None, "b")])
def test_folds_by_recording_with_unknown_recordings_are_an_error(sources):
    data = dataset(*(("cat", source, 1) for source in sources))
    n, first = sources.count(None), sources.index(None)
    with pytest.raises(
        DatasetError, match=rf'{n} of the 3 clips of pets have no known recording \(first: "{first}.wav"\)'
    ):
        folds_by_recording(data)


def test_folds_by_recording_of_one_recording_are_an_error():
    with pytest.raises(DatasetError, match="pets has only 1 recording: testing on it leaves no training clips"):
        folds_by_recording(dataset(("cat", "a", None), ("dog", "a", None)))


# --- Leakage ----------------------------------------------------------------------------------------------------------


def reference_leakage(data: Dataset, splits: list[Split]) -> Leakage:
    """The definition, computed clip by clip."""
    same_recording, same_class, correct, total = 0, 0, 0, 0
    for split in splits:
        trained = [(data.sources[i], data.clips[i].label) for i in split.train]
        for i in split.test:
            source, label = data.sources[i], data.clips[i].label
            total += 1
            same_recording += source in {s for s, _ in trained}
            same_class += (source, label) in trained
            votes = Counter(y for s, y in trained if s == source) or Counter(y for _, y in trained)
            most = max(votes.values())
            correct += label == next(name for name in data.classes if votes[name] == most)
    return Leakage(same_recording / total, same_class / total, correct / total)


def test_leakage_of_a_small_example():
    """Training labels of recording A: cat, cat, dog; of B: dog; of C: none, so the lookup predicts dog overall."""
    data = dataset(
        ("cat", "A", None), ("cat", "A", None), ("dog", "A", None), ("dog", "B", None), ("dog", "D", None),
        ("cat", "A", None), ("dog", "A", None), ("cat", "B", None), ("dog", "C", None), ("fox", "C", None),
    )  # fmt: skip
    split = Split(np.arange(5), np.arange(5, 10))
    # Same recording: A, A, B of 5. Same class: A cat, A dog. Lookup: A cat and C dog are correct; A dog, B cat and
    # C fox are wrong.
    assert measure_leakage(data, split) == Leakage(recording=3 / 5, recording_and_class=2 / 5, lookup_accuracy=2 / 5)


def test_a_recording_with_different_classes_in_two_folds_does_not_count_as_the_same_class():
    """As for five recordings of UrbanSound8K: the clips of one class are in one fold, those of the other in another."""
    data = dataset(
        ("siren", "A", 1), ("siren", "A", 1), ("street", "A", 2),
        ("siren", "B", 2), ("siren", "B", 2), ("street", "C", 1), ("street", "C", 1), ("street", "C", 1),
    )  # fmt: skip
    # Same recording: all three clips of A; same class: none. Lookup on fold 1, trained on (street A, siren B, siren B):
    # A street, C siren. On fold 2, trained on (siren A, siren A, street C × 3): A siren, B street. All are wrong.
    assert measure_leakage(data, official_folds(data)) == Leakage(
        recording=3 / 8, recording_and_class=0.0, lookup_accuracy=0.0
    )


def test_leakage_is_pooled_over_test_clips_not_over_splits():
    data = dataset(("cat", "A", 1), ("cat", "A", 2), ("cat", "B", 2), ("cat", "C", 2))
    # Fold 1: its only clip has a training recording; fold 2: one of three clips.
    assert measure_leakage(data, official_folds(data)) == Leakage(
        recording=0.5, recording_and_class=0.5, lookup_accuracy=1.0
    )


def test_lookup_ties_go_to_the_first_class():
    rows = (("dog", "A", None), ("cat", "A", None), ("cat", "A", None), ("dog", "B", None))
    split = Split(np.array([0, 1]), np.array([2, 3]))
    # B has no training clips. The lookup predicts the first class for both: one of two is correct.
    assert measure_leakage(dataset(*rows, classes=("cat", "dog")), split).lookup_accuracy == 0.5
    assert measure_leakage(dataset(*rows, classes=("dog", "cat")), split).lookup_accuracy == 0.5
    only_a = Split(np.array([0, 1]), np.array([2]))
    assert measure_leakage(dataset(*rows, classes=("cat", "dog")), only_a).lookup_accuracy == 1.0
    assert measure_leakage(dataset(*rows, classes=("dog", "cat")), only_a).lookup_accuracy == 0.0


@pytest.mark.parametrize("seed", range(12))
def test_leakage_equals_the_reference(seed: int):
    data = random_dataset(40 + 10 * seed, seed)
    random, folds = random_split(len(data.clips), seed=seed), official_folds(data)
    assert measure_leakage(data, random) == reference_leakage(data, [random])
    assert measure_leakage(data, folds) == reference_leakage(data, folds)
    assert measure_leakage(data, grouped_folds(data, k=3)) == reference_leakage(data, grouped_folds(data, k=3))


def test_leakage_without_training_clips_is_zero():
    data = dataset(("cat", "A", None), ("dog", "A", None))
    assert measure_leakage(data, Split(np.array([], np.int64), np.array([0, 1]))) == Leakage(0, 0, 0)


def test_leakage_without_test_clips_is_an_error():
    data = dataset(("cat", "A", None))
    with pytest.raises(DatasetError, match="the split of pets has no test clips"):
        measure_leakage(data, [])
    with pytest.raises(DatasetError, match="the split of pets has no test clips"):
        measure_leakage(data, Split(np.array([0]), np.array([], np.int64)))


def test_leakage_of_the_notebooks_split_and_of_the_official_folds_of_urbansound8k(real: Dataset):
    """2 753 of 2 882 test clips share their recording with a training clip; the folds split only five recordings."""
    random = measure_leakage(real, random_split(len(real.clips)))
    assert random == Leakage(recording=2753 / 2882, recording_and_class=2753 / 2882, lookup_accuracy=2748 / 2882)
    folds = measure_leakage(real, official_folds(real))
    assert folds == Leakage(recording=152 / 8732, recording_and_class=0.0, lookup_accuracy=878 / 8732)


# --- Multi-label data -------------------------------------------------------------------------------------------------


def multi_label_dataset(*rows: tuple[str, str | None]) -> Dataset:
    """A data set with the classes a, b and c of clips with (labels, source)."""
    clips = tuple(Clip(path=Path(f"{i}.wav"), label=label, source=source) for i, (label, source) in enumerate(rows))
    return Dataset(name="city", root=Path(), classes=("a", "b", "c"), clips=clips, multi_label=True)


def test_one_common_label_counts_as_the_same_class():
    data = multi_label_dataset(("a;b", "r"), ("b;c", "r"), ("c", "r"), ("", "r"), ("a;b", "s"), ("a;b", "r"))
    split = Split(train=np.array([0]), test=np.array([1, 2, 3, 4, 5]))
    # Clips 1, 2, 3 and 5 are from recording r; 1 (b) and 5 (a, b) share a label with the training clip. The lookup
    # predicts a;b for all, which is correct for 4 and 5.
    assert measure_leakage(data, split) == Leakage(recording=4 / 5, recording_and_class=2 / 5, lookup_accuracy=2 / 5)


def test_the_lookup_predicts_the_most_frequent_set_of_labels():
    data = multi_label_dataset(
        ("a", "r"), ("a;b", "r"), ("a;b", "r"), ("c", "s"), ("c", "s"), ("c", "s"), ("a;b", "r"), ("c", "t")
    )
    split = Split(train=np.arange(6), test=np.array([6, 7]))
    assert measure_leakage(data, split).lookup_accuracy == 1.0


def test_with_one_label_per_clip_the_leakage_equals_that_of_single_label_data():
    single = random_dataset(200, seed=3)
    multi = Dataset(name="x", root=Path(), classes=single.classes, clips=single.clips, multi_label=True)
    splits = official_folds(single)
    assert measure_leakage(multi, splits) == measure_leakage(single, splits)


def test_grouped_folds_balance_all_labels_and_the_unlabelled_clips():
    rng = np.random.default_rng(0)
    labels = [";".join(name for name in "abc" if rng.random() < 0.3) for _ in range(600)]
    data = multi_label_dataset(*((label, f"r{i // 4}") for i, label in enumerate(labels)))
    unlabelled = ~data.targets.any(axis=1)
    for split in grouped_folds(data, k=5):
        assert not set(data.sources[split.train]) & set(data.sources[split.test])
        np.testing.assert_allclose(data.targets[split.test].sum(axis=0), data.targets.sum(axis=0) / 5, rtol=0.1)
        assert unlabelled[split.test].sum() == pytest.approx(unlabelled.sum() / 5, rel=0.1)


def test_untrained_classes_of_multi_label_data():
    data = multi_label_dataset(("a;b", "r"), ("b;c", "r"), ("", "r"))
    assert untrained_classes(data, Split(train=np.array([0, 2]), test=np.array([1]))) == ("c",)


def test_identical_labels_on_every_clip_are_an_error():
    with pytest.raises(DatasetError, match="all clips of city have the same labels: a classifier needs clips with"):
        check_classes(multi_label_dataset(("a;b", "r"), ("b;a", "s")))
    check_classes(multi_label_dataset(("a", "r"), ("", "s")))  # one class, present or absent
    with pytest.raises(DatasetError, match="city has no clips"):
        check_classes(multi_label_dataset())


# --- Validation set ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test", "validation", "message"),
    [
        ([0, 1], [2, 3], [3, 4], r"1 test clip is also in the validation set \(data leakage\): each clip must be in"),
        ([0, 1], [2, 3], [2, 3], "2 test clips are also in the validation set"),
        ([0, 1], [1, 2], [], "1 test clip is also in the training set"),
        ([0, 1], [1, 0, 2], [3], "2 test clips are also in the training set"),
        ([0, 1], [2], [3, 1], "1 validation clip is also in the training set"),
    ],
)
def test_a_clip_in_two_sets_is_an_error(train, test, validation, message):
    train, test, validation = (np.array(indices, np.int64) for indices in (train, test, validation))
    with pytest.raises(SettingsError, match=message):
        Split(train, test, validation=validation)


def check_validation(data: Dataset, split: Split, held_out: Split) -> None:
    """Check that no clip is lost or duplicated, the test set is unchanged, and recordings and classes are complete."""
    assert sorted([*held_out.train, *held_out.validation]) == sorted(split.train)
    np.testing.assert_array_equal(held_out.test, split.test)
    assert held_out.fold == split.fold
    assert not set(data.sources[held_out.train]) & set(data.sources[held_out.validation])
    assert untrained_classes(data, held_out) == untrained_classes(data, split)


@pytest.mark.parametrize("fold", [1, 5, 10])
def test_the_validation_set_of_urbansound8k_has_about_the_requested_size(real: Dataset, fold: int):
    (split,) = official_folds(real, only=[fold])
    held_out = hold_out_validation(real, split, 0.15)
    check_validation(real, split, held_out)
    shares = np.bincount(real.labels[held_out.validation], minlength=10) / np.bincount(real.labels[split.train])
    np.testing.assert_allclose(shares, 1 / 7, atol=0.05)  # a fold of entire recordings, one of round(1 / 0.15) = 7
    again, other = hold_out_validation(real, split, 0.15), hold_out_validation(real, split, 0.15, seed=1)
    np.testing.assert_array_equal(again.validation, held_out.validation)
    assert not np.array_equal(other.validation, held_out.validation)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n", [12, 40, 200])
def test_entire_recordings_are_held_out_and_every_class_keeps_training_clips(seed: int, n: int):
    data = random_dataset(n, seed)
    for split in official_folds(data):
        check_validation(data, split, hold_out_validation(data, split, 0.2, seed=seed))


def test_a_recording_stays_in_the_training_set_if_it_is_the_only_one_of_a_class():
    """The class fox occurs only in the largest recording, which is assigned first; its cat clips stay with it."""
    rows = [("cat", "A", 1), ("cat", "A", 1), ("fox", "A", 1), ("cat", "B", 1), ("cat", "C", 1), ("cat", "D", 1)]
    data = dataset(*rows, ("cat", "E", 2))
    (split,) = official_folds(data, only=[2])
    check_validation(data, split, hold_out_validation(data, split, 0.25))


@pytest.mark.parametrize(("sources", "share"), [("AAAA", 0.2), ("AABB", 0.2), ("ABCD", 0.0)])
def test_there_is_no_validation_set_with_fewer_than_three_recordings_or_share_zero(sources: str, share: float):
    data = dataset(*(("cat", source, 1) for source in sources), ("cat", "T", 2))
    (split,) = official_folds(data, only=[2])
    held_out = hold_out_validation(data, split, share)
    np.testing.assert_array_equal(held_out.train, [0, 1, 2, 3])
    assert len(held_out.validation) == 0

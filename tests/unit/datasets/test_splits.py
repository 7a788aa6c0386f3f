"""Splits: scikit-learn as the oracle of the random one, written-out folds, and a slow twin of the leak."""

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
    """Clips of (label, source, fold)."""
    clips = tuple(
        Clip(path=Path(f"{i}.wav"), label=label, source=source, fold=fold)
        for i, (label, source, fold) in enumerate(rows)
    )
    known = classes or tuple(sorted({clip.label for clip in clips}))
    return Dataset(name="pets", root=Path(), classes=known, clips=clips)


@pytest.fixture(scope="module")
def real(shared: Path) -> Dataset:
    """All 8 732 rows of UrbanSound8K, without their sound."""
    with (shared / "urbansound8k" / "UrbanSound8K.csv").open() as file:
        return dataset(*((row["class"], row["fsID"], int(row["fold"])) for row in csv.DictReader(file)))


def many(n: int, seed: int) -> Dataset:
    """Clips at random: recordings of uneven size, some of several classes, four folds."""
    rng = np.random.default_rng(seed)
    labels, sources = rng.integers(0, 5, n), rng.integers(0, max(2, n // 4), n)
    folds = rng.integers(1, 5, n)
    return dataset(*((f"class {y}", f"r{s}", int(f)) for y, s, f in zip(labels, sources, folds, strict=True)))


# --- Random -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 7, 10, 100, 101, 300, 999, 2097, 8731, 8732])
@pytest.mark.parametrize("test_share", [0.1, 0.2, 0.25, 0.33, 0.5, 2 / 3])
@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
def test_random_split_is_scikit_learns(n: int, test_share: float, seed: int):
    train, test = train_test_split(np.arange(n), test_size=test_share, random_state=seed)
    split = random_split(n, test_share=test_share, seed=seed)
    np.testing.assert_array_equal(split.train, train)
    np.testing.assert_array_equal(split.test, test)
    assert split.train.dtype == split.test.dtype == np.int64


def test_random_split_is_the_notebooks_by_default():
    train, test = train_test_split(np.arange(8732), test_size=0.33, random_state=42)
    split = random_split(8732)
    np.testing.assert_array_equal(split.train, train)
    np.testing.assert_array_equal(split.test, test)
    assert (len(split.train), len(split.test), split.fold) == (5850, 2882, None)


@pytest.mark.parametrize("test_share", [0, 1, -0.1, 1.5, float("nan")])
def test_random_split_refuses_a_share(test_share: float):
    with pytest.raises(SettingsError, match=rf"test_share={test_share} must lie between 0 and 1"):
        random_split(10, test_share=test_share)


@pytest.mark.parametrize(("n", "test_share"), [(0, 0.33), (1, 0.33), (2, 0.6), (10, 0.95)])
def test_random_split_refuses_an_empty_side(n: int, test_share: float):
    with pytest.raises(DatasetError, match=rf"{n} clips cannot be split with test_share={test_share}: one side"):
        random_split(n, test_share=test_share)


# --- Official folds ---------------------------------------------------------------------------------------------------


def test_each_fold_is_tested_once_and_trained_on_all_others():
    data = dataset(("cat", None, 3), ("dog", None, 1), ("cat", None, 10), ("dog", None, 3))
    assert [(s.fold, s.train.tolist(), s.test.tolist()) for s in official_folds(data)] == [
        (1, [0, 2, 3], [1]),
        (3, [1, 2], [0, 3]),
        (10, [0, 1, 3], [2]),
    ]


def test_only_restricts_what_is_tested_not_what_is_trained_on():
    data = dataset(("cat", None, 1), ("cat", None, 2), ("cat", None, 3))
    assert [(s.fold, s.train.tolist()) for s in official_folds(data, only=(3, 1, 3))] == [(1, [1, 2]), (3, [0, 1])]


def test_official_folds_of_the_real_table(real: Dataset):
    splits = official_folds(real)
    assert [split.fold for split in splits] == list(range(1, 11))
    assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(8732))
    assert all(len(split.train) + len(split.test) == 8732 for split in splits)


def test_a_data_set_without_folds_is_refused():
    with pytest.raises(DatasetError, match="pets has no official folds: use a random split"):
        official_folds(dataset(("cat", None, None), ("dog", None, None)))


def test_a_single_fold_is_refused():
    with pytest.raises(DatasetError, match="pets has only fold 7 here: there is nothing to train on"):
        official_folds(dataset(("cat", None, 7), ("dog", None, 7)))


def test_a_clip_in_no_fold_is_refused():
    data = dataset(("cat", None, 1), ("cat", None, None), ("dog", None, 2))
    with pytest.raises(DatasetError, match=r'1 of the 3 clips of pets are in no fold, "1.wav" first'):
        official_folds(data)


def test_an_unknown_fold_is_refused():
    data = dataset(("cat", None, 1), ("dog", None, 3))
    with pytest.raises(SettingsError, match=r"pets has no fold 2 here. Known: 1, 3"):
        official_folds(data, only=[1, 2])
    with pytest.raises(SettingsError, match=r"no fold was chosen to test on. Known: 1, 3"):
        official_folds(data, only=[])


def test_classes_that_are_not_trained_are_named():
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


def test_grouped_folds_are_as_even_as_scikit_learns(real: Dataset):
    """The spread of each class's share over the folds, against an independent way of dealing."""

    def spread(tests: list[np.ndarray]) -> float:
        counts = np.array([np.bincount(real.labels[test], minlength=10) for test in tests])
        return float((counts / counts.sum(axis=0)).std(axis=0).max())

    theirs = StratifiedGroupKFold(n_splits=5).split(np.zeros(8732), real.labels, real.sources)
    ours = spread([split.test for split in grouped_folds(real, k=5)])
    assert ours <= 1.1 * spread([test for _, test in theirs])
    assert ours < 0.01


def test_grouped_folds_are_seeded():
    data = many(200, seed=1)
    first, again, other = (grouped_folds(data, k=4, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a.test, b.test) for a, b in zip(first, other, strict=True))


def test_grouped_folds_refuse():
    data = dataset(("cat", "a", None), ("cat", "a", None), ("dog", "b", None))
    assert len(grouped_folds(data, k=2)) == 2
    with pytest.raises(DatasetError, match=r"pets has 2 recordings, too few for k=3 folds"):
        grouped_folds(data, k=3)
    with pytest.raises(SettingsError, match=r"k=1 folds are no folds"):
        grouped_folds(data, k=1)


@pytest.mark.parametrize(("recordings", "folds"), [(2, 2), (4, 4), (5, 5), (30, 5)])
def test_there_are_five_folds_by_recording_or_as_many_as_there_are_recordings(recordings: int, folds: int):
    data = dataset(*(("cat", f"r{i % recordings}", None) for i in range(60)))
    made = folds_by_recording(data)
    assert [split.fold for split in made] == list(range(1, folds + 1))
    assert measure_leakage(data, made).recording == 0
    assert sorted(np.concatenate([split.test for split in made]).tolist()) == list(range(60))


def test_folds_by_recording_are_those_of_seed_42():
    data = many(200, seed=1)
    for ours, theirs in zip(folds_by_recording(data), grouped_folds(data, k=5, seed=42), strict=True):
        np.testing.assert_array_equal(ours.test, theirs.test)


@pytest.mark.parametrize("sources", [(None, None, None), ("a", None, "b")])
def test_folds_by_recording_need_the_recordings(sources):
    data = dataset(*(("cat", source, 1) for source in sources))
    n, first = sources.count(None), sources.index(None)
    with pytest.raises(DatasetError, match=rf'does not say of {n} of its 3 clips .* "{first}.wav" first'):
        folds_by_recording(data)


def test_one_recording_makes_no_folds():
    with pytest.raises(DatasetError, match="pets has only 1 recording: while it is tested, there is nothing to train"):
        folds_by_recording(dataset(("cat", "a", None), ("dog", "a", None)))


# --- The leak ---------------------------------------------------------------------------------------------------------


def naive_leak(data: Dataset, splits: list[Split]) -> Leakage:
    """The definition, clip by clip."""
    seen, alike, right, total = 0, 0, 0, 0
    for split in splits:
        trained = [(data.sources[i], data.clips[i].label) for i in split.train]
        for i in split.test:
            source, label = data.sources[i], data.clips[i].label
            total += 1
            seen += source in {s for s, _ in trained}
            alike += (source, label) in trained
            votes = Counter(y for s, y in trained if s == source) or Counter(y for _, y in trained)
            most = max(votes.values())
            right += label == next(name for name in data.classes if votes[name] == most)
    return Leakage(seen / total, alike / total, right / total)


def test_leak_written_out():
    """Recording A is trained on as cat, cat, dog; B as dog; C not at all: dog, the most frequent, is answered."""
    data = dataset(
        ("cat", "A", None), ("cat", "A", None), ("dog", "A", None), ("dog", "B", None), ("dog", "D", None),
        ("cat", "A", None), ("dog", "A", None), ("cat", "B", None), ("dog", "C", None), ("fox", "C", None),
    )  # fmt: skip
    split = Split(np.arange(5), np.arange(5, 10))
    # seen: A, A, B of 5; with its class: A cat, A dog; looked up: right are A cat and C dog, wrong A dog, B and C fox
    assert measure_leakage(data, split) == Leakage(recording=3 / 5, recording_and_class=2 / 5, lookup_accuracy=2 / 5)


def test_a_recording_of_two_classes_in_two_folds_leaks_its_sound_and_not_its_class():
    """As five recordings of UrbanSound8K: one class's clips in one fold, the other's in another."""
    data = dataset(
        ("siren", "A", 1), ("siren", "A", 1), ("street", "A", 2),
        ("siren", "B", 2), ("siren", "B", 2), ("street", "C", 1), ("street", "C", 1), ("street", "C", 1),
    )  # fmt: skip
    # seen: all three of A; under its class: none. Looked up: fold 1, trained on (street A, siren B, siren B), answers A
    # street, C siren; fold 2, trained on (siren A, siren A, street C × 3), answers A siren, B street: nothing is right.
    assert measure_leakage(data, official_folds(data)) == Leakage(
        recording=3 / 8, recording_and_class=0.0, lookup_accuracy=0.0
    )


def test_leak_pools_the_test_clips_not_the_splits():
    data = dataset(("cat", "A", 1), ("cat", "A", 2), ("cat", "B", 2), ("cat", "C", 2))
    # fold 1: one clip, seen; fold 2: three clips, one of them seen
    assert measure_leakage(data, official_folds(data)) == Leakage(
        recording=0.5, recording_and_class=0.5, lookup_accuracy=1.0
    )


def test_a_tie_goes_to_the_first_class():
    rows = (("dog", "A", None), ("cat", "A", None), ("cat", "A", None), ("dog", "B", None))
    split = Split(np.array([0, 1]), np.array([2, 3]))
    assert (
        measure_leakage(dataset(*rows, classes=("cat", "dog")), split).lookup_accuracy == 0.5
    )  # A: cat; B, unseen: cat
    assert (
        measure_leakage(dataset(*rows, classes=("dog", "cat")), split).lookup_accuracy == 0.5
    )  # A: dog; B, unseen: dog
    only_a = Split(np.array([0, 1]), np.array([2]))
    assert measure_leakage(dataset(*rows, classes=("cat", "dog")), only_a).lookup_accuracy == 1.0
    assert measure_leakage(dataset(*rows, classes=("dog", "cat")), only_a).lookup_accuracy == 0.0


@pytest.mark.parametrize("seed", range(12))
def test_leak_equals_its_slow_twin(seed: int):
    data = many(40 + 10 * seed, seed)
    random, folds = random_split(len(data.clips), seed=seed), official_folds(data)
    assert measure_leakage(data, random) == naive_leak(data, [random])
    assert measure_leakage(data, folds) == naive_leak(data, folds)
    assert measure_leakage(data, grouped_folds(data, k=3)) == naive_leak(data, grouped_folds(data, k=3))


def test_leak_without_training_clips_is_none():
    data = dataset(("cat", "A", None), ("dog", "A", None))
    assert measure_leakage(data, Split(np.array([], np.int64), np.array([0, 1]))) == Leakage(0, 0, 0)


def test_leak_without_test_clips_is_refused():
    data = dataset(("cat", "A", None))
    with pytest.raises(DatasetError, match="pets was split without a test clip"):
        measure_leakage(data, [])
    with pytest.raises(DatasetError, match="pets was split without a test clip"):
        measure_leakage(data, Split(np.array([0]), np.array([], np.int64)))


def test_the_notebooks_split_of_the_real_table_leaks(real: Dataset):
    """2 753 of 2 882 test clips share their recording with a training clip; the folds part all but five recordings."""
    random = measure_leakage(real, random_split(len(real.clips)))
    assert random == Leakage(recording=2753 / 2882, recording_and_class=2753 / 2882, lookup_accuracy=2748 / 2882)
    folds = measure_leakage(real, official_folds(real))
    assert folds == Leakage(recording=152 / 8732, recording_and_class=0.0, lookup_accuracy=878 / 8732)


# --- Several labels to a clip -----------------------------------------------------------------------------------------


def tagged(*rows: tuple[str, str | None]) -> Dataset:
    """Clips of (labels, source) in the classes a, b and c."""
    clips = tuple(Clip(path=Path(f"{i}.wav"), label=label, source=source) for i, (label, source) in enumerate(rows))
    return Dataset(name="city", root=Path(), classes=("a", "b", "c"), clips=clips, multi_label=True)


def test_a_recording_leaks_a_class_where_one_of_its_labels_is_trained_on():
    data = tagged(("a;b", "r"), ("b;c", "r"), ("c", "r"), ("", "r"), ("a;b", "s"), ("a;b", "r"))
    split = Split(train=np.array([0]), test=np.array([1, 2, 3, 4, 5]))
    # Of recording r are 1, 2, 3 and 5; 1 (b) and 5 (a, b) share a label with what is trained on. The look-up says a;b
    # of all, and is right on 4 and 5.
    assert measure_leakage(data, split) == Leakage(recording=4 / 5, recording_and_class=2 / 5, lookup_accuracy=2 / 5)


def test_the_look_up_takes_the_commonest_set_of_labels():
    data = tagged(("a", "r"), ("a;b", "r"), ("a;b", "r"), ("c", "s"), ("c", "s"), ("c", "s"), ("a;b", "r"), ("c", "t"))
    split = Split(train=np.arange(6), test=np.array([6, 7]))
    assert measure_leakage(data, split).lookup_accuracy == 1.0


def test_one_label_to_each_clip_leaks_as_ever():
    one = many(200, seed=3)
    several = Dataset(name="x", root=Path(), classes=one.classes, clips=one.clips, multi_label=True)
    splits = official_folds(one)
    assert measure_leakage(several, splits) == measure_leakage(one, splits)


def test_grouped_folds_deal_each_label_and_the_clips_without_one_evenly():
    rng = np.random.default_rng(0)
    labels = [";".join(name for name in "abc" if rng.random() < 0.3) for _ in range(600)]
    data = tagged(*((label, f"r{i // 4}") for i, label in enumerate(labels)))
    none = ~data.targets.any(axis=1)
    for split in grouped_folds(data, k=5):
        assert not set(data.sources[split.train]) & set(data.sources[split.test])
        np.testing.assert_allclose(data.targets[split.test].sum(axis=0), data.targets.sum(axis=0) / 5, rtol=0.1)
        assert none[split.test].sum() == pytest.approx(none.sum() / 5, rel=0.1)


def test_a_label_that_is_nowhere_trained_on_is_named():
    data = tagged(("a;b", "r"), ("b;c", "r"), ("", "r"))
    assert untrained_classes(data, Split(train=np.array([0, 2]), test=np.array([1]))) == ("c",)


def test_labels_must_differ_from_clip_to_clip():
    with pytest.raises(DatasetError, match="city has the same labels on every clip: there is nothing to tell apart"):
        check_classes(tagged(("a;b", "r"), ("b;a", "s")))
    check_classes(tagged(("a", "r"), ("", "s")))  # whether one class is there can be told
    with pytest.raises(DatasetError, match="city has no clips"):
        check_classes(tagged())


# --- What is kept back to decide by -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test", "validation", "says"),
    [
        ([0, 1], [2, 3], [3, 4], "1 clip to test on would be decided by, too: a test clip picks nothing"),
        ([0, 1], [2, 3], [2, 3], "2 clips to test on would be decided by, too"),
        ([0, 1], [1, 2], [], "1 clip to test on would be trained on, too: what was heard before is no test"),
        ([0, 1], [1, 0, 2], [3], "2 clips to test on would be trained on, too"),
        ([0, 1], [2], [3, 1], "1 clip to decide by would be trained on, too: what was heard before decides nothing"),
    ],
)
def test_a_clip_stands_on_one_side(train, test, validation, says):
    train, test, validation = (np.array(part, np.int64) for part in (train, test, validation))
    with pytest.raises(SettingsError, match=says):
        Split(train, test, validation=validation)


def check_kept_back(data: Dataset, split: Split, kept: Split) -> None:
    """The laws of it: nothing lost, nothing twice, the test part as it was, whole recordings, every class trained."""
    assert sorted([*kept.train, *kept.validation]) == sorted(split.train)
    assert sorted(kept.learned) == sorted(split.train)
    np.testing.assert_array_equal(kept.test, split.test)
    assert kept.fold == split.fold
    assert not set(data.sources[kept.train]) & set(data.sources[kept.validation])
    assert untrained_classes(data, kept) == untrained_classes(data, split)


@pytest.mark.parametrize("fold", [1, 5, 10])
def test_about_the_share_is_kept_back_of_the_real_table(real: Dataset, fold: int):
    (split,) = official_folds(real, only=[fold])
    kept = hold_out_validation(real, split, 0.15)
    check_kept_back(real, split, kept)
    shares = np.bincount(real.labels[kept.validation], minlength=10) / np.bincount(real.labels[split.train])
    np.testing.assert_allclose(shares, 1 / 7, atol=0.05)  # whole recordings
    again, other = hold_out_validation(real, split, 0.15), hold_out_validation(real, split, 0.15, seed=1)
    np.testing.assert_array_equal(again.validation, kept.validation)
    assert not np.array_equal(other.validation, kept.validation)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n", [12, 40, 200])
def test_whole_recordings_are_kept_back_and_every_class_is_still_trained(seed: int, n: int):
    data = many(n, seed)
    for split in official_folds(data):
        check_kept_back(data, split, hold_out_validation(data, split, 0.2, seed=seed))


def test_a_recording_of_two_classes_stays_whole_where_one_of_them_would_be_lost():
    """The fox is heard in the largest recording alone, which is dealt first: its cats must stay with it."""
    rows = [("cat", "A", 1), ("cat", "A", 1), ("fox", "A", 1), ("cat", "B", 1), ("cat", "C", 1), ("cat", "D", 1)]
    data = dataset(*rows, ("cat", "E", 2))
    (split,) = official_folds(data, only=[2])
    check_kept_back(data, split, hold_out_validation(data, split, 0.25))


@pytest.mark.parametrize(("sources", "share"), [("AAAA", 0.2), ("AABB", 0.2), ("ABCD", 0.0)])
def test_of_fewer_than_three_recordings_nothing_is_kept_back(sources: str, share: float):
    data = dataset(*(("cat", source, 1) for source in sources), ("cat", "T", 2))
    (split,) = official_folds(data, only=[2])
    kept = hold_out_validation(data, split, share)
    np.testing.assert_array_equal(kept.train, [0, 1, 2, 3])
    assert len(kept.validation) == 0

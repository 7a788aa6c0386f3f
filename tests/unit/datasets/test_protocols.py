"""Protocols are one registry: whatever depends on the protocol is read from its entry."""

from pathlib import Path

import numpy as np
import pytest

from soundmark.datasets import Clip, Dataset, splits
from soundmark.datasets.protocols import ALL, PROTOCOLS, default_protocols, preferred_protocols, protocol_of


def pets(n: int = 12, *, folds: int = 3, sources: bool = True) -> Dataset:
    clips = tuple(
        Clip(
            path=Path(f"{i}.wav"),
            label="dc"[i % 2],
            fold=1 + i % folds if folds else None,
            source=f"r{i % 6}" if sources else None,
        )
        for i in range(n)
    )
    return Dataset(name="pets", root=Path(), classes=("d", "c"), clips=clips)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_every_split_is_found_again_and_tests_other_clips_than_it_trains_on(protocol):
    data = pets()
    for split in protocol.splits(data):
        assert sorted([*split.train, *split.test]) == list(range(12))
        again = protocol.find(data, split.fold)
        assert np.sort(again.test).tolist() == np.sort(split.test).tolist()
        if protocol.keeps_recordings_apart and protocol.name != "folds":
            assert not set(data.sources[split.train]) & set(data.sources[split.test])


def test_splits_are_those_of_the_functions():
    data = pets()
    assert PROTOCOLS["random"].splits(data, seed=7)[0].test.tolist() == splits.random_split(12, seed=7).test.tolist()
    assert [split.fold for split in PROTOCOLS["folds"].splits(data, folds=[3, 1])] == [1, 3]
    assert len(PROTOCOLS["grouped"].splits(data)) == 5
    assert ALL.find(data, None).test.size == 0


def test_an_official_fold_is_found_where_it_is_the_only_one():
    assert PROTOCOLS["folds"].find(pets(folds=1), 1).test.size == 12
    assert PROTOCOLS["folds"].find(pets(), 9) is None
    assert PROTOCOLS["folds"].find(pets(), None) is None


@pytest.mark.parametrize(
    ("data", "folds", "expected"),
    [
        (pets(), None, ("random", "folds")),
        (pets(folds=0), None, ("random", "grouped")),
        (pets(folds=0), [1], ("random", "folds")),
        (pets(folds=1), None, ("random", "grouped")),
        (pets(folds=0, sources=False), None, ("random",)),
    ],
)
def test_the_default_is_the_notebooks_split_and_one_that_keeps_recordings_apart(data, folds, expected):
    assert default_protocols(data, folds) == expected


def test_the_score_to_believe_is_the_one_that_keeps_recordings_apart():
    assert preferred_protocols() == ("folds", "grouped", "random")


def test_words_for_a_fold_and_for_an_unknown_protocol():
    assert protocol_of("grouped").unit.format(fold=2) == "fold 2 by recording"
    assert protocol_of("all").kept_back == "nothing kept back"
    assert protocol_of("by-city").kept_back.format(fold=None) == "fold None kept back"
    assert protocol_of("by-city").find(pets(), 1) is None

"""Evaluation protocols: their splits, defaults and texts."""

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
def test_find_returns_the_split_of_a_fold_and_training_and_test_clips_are_disjoint(protocol):
    data = pets()
    for split in protocol.splits(data):
        assert sorted([*split.train, *split.test]) == list(range(12))
        found = protocol.find(data, split.fold)
        assert np.sort(found.test).tolist() == np.sort(split.test).tolist()
        if protocol.keeps_recordings_apart and protocol.name != "folds":
            assert not set(data.sources[split.train]) & set(data.sources[split.test])


def test_protocols_use_the_split_functions():
    data = pets()
    assert PROTOCOLS["random"].splits(data, seed=7)[0].test.tolist() == splits.random_split(12, seed=7).test.tolist()
    assert [split.fold for split in PROTOCOLS["folds"].splits(data, folds=[3, 1])] == [1, 3]
    assert len(PROTOCOLS["grouped"].splits(data)) == 5
    assert ALL.find(data, None).test.size == 0


def test_find_accepts_a_data_set_with_one_official_fold():
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
def test_the_defaults_are_the_random_split_and_a_protocol_that_keeps_recordings_apart(data, folds, expected):
    assert default_protocols(data, folds) == expected


def test_protocols_that_keep_recordings_apart_are_preferred():
    assert preferred_protocols() == ("folds", "grouped", "random")


def test_texts_of_a_fold_and_of_an_unknown_protocol():
    assert protocol_of("grouped").unit.format(fold=2) == "fold 2 by recording"
    assert protocol_of("all").held_out == "no clips held out"
    assert protocol_of("by-city").held_out.format(fold=None) == "fold None held out"
    assert protocol_of("by-city").find(pets(), 1) is None

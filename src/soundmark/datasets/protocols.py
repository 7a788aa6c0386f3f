"""Evaluation protocols: how a comparison splits the clips into training and test clips.

Each protocol is one entry of ``PROTOCOLS``. Plans, trainings, run folders, model cards and the report read everything
that depends on the protocol from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from soundmark.datasets import splits
from soundmark.datasets.dataset import Dataset
from soundmark.datasets.splits import Split

if TYPE_CHECKING:
    from soundmark.datasets.leakage import Leakage

SPLIT_SEED = 42  # default seed of random splits


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """An evaluation protocol: a way to split the clips of a data set, and its texts in tables and reports.

    ``split`` returns the splits for a data set, the folds to test (None: all) and a seed. ``find`` returns the split
    that tests a given fold of a data set, or None if the fold does not exist.
    """

    name: str
    summary: str  # for the help text
    title: str
    description: str  # for the report, about two sentences
    condition: str  # completes "70 % of the clips {condition}"
    unit: str  # name of one training, with {fold}
    held_out: str  # short text: which clips were held out from training, with {fold}
    test_clips: str  # which clips a score was measured on, with {fold}
    keeps_recordings_apart: bool  # whether each recording should be in one part only; leakage is then a data problem
    leakage_note: str = ""  # effect of leakage on the score
    is_official: bool = False  # the folds are defined by the data set and can be chosen by number
    is_random: bool = True  # the split depends on a seed; two splits are compared by their training clips
    split: Callable[[Dataset, Sequence[int] | None, int], Sequence[Split]]
    find: Callable[[Dataset, int | None], Split | None]
    is_available: Callable[[Dataset], bool] = lambda dataset: True

    @property
    def leakage_measure(self) -> str:
        """The field of ``Leakage`` that raises a score under this protocol.

        Where recordings should be kept apart, a recording in training and test helps only if it has the same class.

        >>> PROTOCOLS["random"].leakage_measure, PROTOCOLS["folds"].leakage_measure
        ('recording', 'recording_and_class')
        """
        return "recording_and_class" if self.keeps_recordings_apart else "recording"

    def relevant_leakage(self, leak: Leakage) -> float:
        """Return the fraction of test clips whose leakage raises a score under this protocol."""
        return float(getattr(leak, self.leakage_measure))

    def splits(self, dataset: Dataset, folds: Sequence[int] | None = None, seed: int = SPLIT_SEED) -> tuple[Split, ...]:
        """Split ``dataset``; ``folds`` restricts which official folds are tested.

        Raises:
            SettingsError: ``folds`` contains a fold that the data set does not have.
            DatasetError: the data set has no folds, unknown recordings, or too few clips.

        >>> [len(split.test) for split in PROTOCOLS["folds"].splits(city, folds=[1])]
        [20]
        """
        return tuple(self.split(dataset, folds, seed))


def _folds_by_recording(dataset: Dataset, fold: int | None) -> Split | None:
    return next((split for split in splits.folds_by_recording(dataset) if split.fold == fold), None)


def _official_fold(dataset: Dataset, fold: int | None) -> Split | None:
    """Return the split that tests one official fold, even if the data set contains no other fold."""
    if fold not in dataset.folds:
        return None
    return Split(np.flatnonzero(dataset.fold_of != fold), np.flatnonzero(dataset.fold_of == fold), fold)


def _all_clips(dataset: Dataset) -> Split:
    return Split(np.arange(len(dataset.clips)), np.arange(0))


RANDOM = Protocol(
    name="random",
    summary="a random third of the clips is tested, as in the notebook",
    title="Random split",
    description="A random third of the clips is held out for testing, as in the notebook. Clips from the same "
    "recording can be in both the training and the test set, and a network can then score well by recognising the "
    "recording (data leakage).",
    condition="under a random split",
    unit="random split",
    held_out="a random third held out",
    test_clips="the random third that was held out from the model's training",
    keeps_recordings_apart=False,
    leakage_note=": this score overestimates the performance on new recordings (data leakage)",
    split=lambda dataset, folds, seed: (splits.random_split(len(dataset.clips), seed=seed),),
    find=lambda dataset, fold: splits.random_split(len(dataset.clips)),
)


FOLDS = Protocol(
    name="folds",
    summary="cross-validation on the official folds: each is tested once, the others are for training",
    title="Official folds",
    description="Each official fold of the data set is tested once by a network trained on the other folds. Official "
    "folds usually keep all clips of a recording together, so the score measures performance on new recordings.",
    condition="on the official folds",
    unit="fold {fold}",
    held_out="fold {fold} held out",
    test_clips="fold {fold}, which was held out from the model's training",
    keeps_recordings_apart=True,
    leakage_note=": these folds split recordings between training and test, so their score overestimates the "
    "performance on new recordings (data leakage)",
    is_official=True,
    is_random=False,
    split=lambda dataset, folds, seed: splits.official_folds(dataset, only=folds),
    find=_official_fold,
    is_available=lambda dataset: len(dataset.folds) > 1,
)


GROUPED = Protocol(
    name="grouped",
    summary="cross-validation on folds computed by soundmark, which keep each recording in one fold",
    title="Folds by recording",
    description="The recordings are assigned to folds such that all clips of a recording are in the same fold and the "
    "classes are balanced. Each fold is tested once by a network trained on the others. The score measures performance "
    "on new recordings.",
    condition="on folds by recording",
    unit="fold {fold} by recording",
    held_out="the recordings of fold {fold} held out",
    test_clips="the recordings of fold {fold}, which were held out from the model's training",
    keeps_recordings_apart=True,
    split=lambda dataset, folds, seed: splits.folds_by_recording(dataset, seed),
    find=_folds_by_recording,
    is_available=lambda dataset: dataset.sources_known and splits.count_recordings(dataset) > 1,
)


PROTOCOLS = {protocol.name: protocol for protocol in (RANDOM, FOLDS, GROUPED)}


# Not for comparisons: a final model is trained on every clip.
ALL = Protocol(
    name="all",
    summary="training on every clip",
    title="All clips",
    description="",
    condition="on all clips",
    unit="all clips",
    held_out="no clips held out",
    test_clips="the model was trained on all of them; `soundmark compare` evaluates its recipe",
    keeps_recordings_apart=True,
    is_random=False,
    split=lambda dataset, folds, seed: (_all_clips(dataset),),
    find=lambda dataset, fold: _all_clips(dataset),
)


def protocol_of(name: str) -> Protocol:
    """Return the protocol called ``name``; for an unknown name (of another version), one titled with the name.

    >>> protocol_of("random").title, protocol_of("by-city").title, protocol_of("by-city").condition
    ('Random split', 'by-city', 'under by-city')
    """
    if name == ALL.name:
        return ALL
    return PROTOCOLS.get(name) or Protocol(
        name=name,
        summary=name,
        title=name,
        description="",
        condition=f"under {name}",
        unit="fold {fold}",
        held_out="fold {fold} held out",
        test_clips="fold {fold}, which was held out from the model's training",
        keeps_recordings_apart=True,
        split=lambda dataset, folds, seed: (),
        find=lambda dataset, fold: None,
    )


def default_protocols(dataset: Dataset, folds: Sequence[int] | None = None) -> tuple[str, ...]:
    """Return the default protocols of a comparison: the notebook's random split, and one that separates recordings.

    The latter is the first one that the data set supports, or the official folds if fold numbers were given.

    >>> default_protocols(city)
    ('random', 'folds')
    """
    apart = [
        protocol.name
        for protocol in PROTOCOLS.values()
        if protocol.keeps_recordings_apart
        and (protocol.is_available(dataset) or (protocol.is_official and bool(folds)))
    ]
    return (RANDOM.name, *apart[:1])


def preferred_protocols() -> tuple[str, ...]:
    """Return all protocol names, most trustworthy first: those that keep recordings apart avoid data leakage.

    >>> preferred_protocols()
    ('folds', 'grouped', 'random')
    """
    return tuple(sorted(PROTOCOLS, key=lambda name: not PROTOCOLS[name].keeps_recordings_apart))


def most_trusted(names: Iterable[str]) -> str:
    """Return the most trustworthy of at least one protocol; names of other versions come last.

    >>> most_trusted(["random", "grouped"]), most_trusted(["by-city", "random"])
    ('grouped', 'random')
    """
    ranked = preferred_protocols()
    return min(names, key=lambda name: ranked.index(name) if name in ranked else len(ranked))

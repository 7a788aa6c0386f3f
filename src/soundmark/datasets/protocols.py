"""The protocols by which recipes are compared: how clips are split into training and test clips.

A protocol is one entry of ``PROTOCOLS``: plans, trainings, run folders, model cards and the report read everything that
depends on it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from soundmark.datasets import splits
from soundmark.datasets.dataset import Dataset
from soundmark.datasets.splits import Split

SPLIT_SEED = 42  # of the splits that are drawn


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to split the clips of a data set, and the words for it.

    ``split`` makes the splits from a data set, the folds to test (None: all) and a seed. ``find`` gives the split of
    one fold again, from a data set and the fold's number; None where there is no such fold.
    """

    name: str
    summary: str  # half a sentence
    title: str
    description: str  # two sentences
    condition: str  # as in "70 % of the clips {condition}"
    unit: str  # what one training is called, with {fold}
    kept_back: str  # which clips a model was not trained on, with {fold}
    held_out: str  # the same as a sentence about scored clips, with {fold}
    keeps_recordings_apart: bool  # whether no recording shall be on both sides: leakage is then a fault of the data
    leakage_note: str = ""  # what leakage means for the score
    is_official: bool = False  # the folds are the data set's own, known from its name, and can be chosen by number
    is_drawn: bool = True  # the split depends on a seed: only the training clips tell whether two are the same
    split: Callable[[Dataset, Sequence[int] | None, int], Sequence[Split]]
    find: Callable[[Dataset, int | None], Split | None]
    is_available: Callable[[Dataset], bool] = lambda dataset: True

    def splits(self, dataset: Dataset, folds: Sequence[int] | None = None, seed: int = SPLIT_SEED) -> tuple[Split, ...]:
        """The splits of ``dataset``; ``folds`` restricts which official folds are tested.

        Raises:
            SettingsError: ``folds`` names a fold that the data set does not have.
            DatasetError: the data set has no folds, unknown recordings, or too few clips.

        >>> [len(split.test) for split in PROTOCOLS["folds"].splits(city, folds=[1])]
        [20]
        """
        return tuple(self.split(dataset, folds, seed))


def _folds_by_recording(dataset: Dataset, fold: int | None) -> Split | None:
    return next((split for split in splits.folds_by_recording(dataset) if split.fold == fold), None)


def _official_fold(dataset: Dataset, fold: int | None) -> Split | None:
    """The split of one official fold, also where it is the only fold that is present."""
    if fold not in dataset.folds:
        return None
    return Split(np.flatnonzero(dataset.fold_of != fold), np.flatnonzero(dataset.fold_of == fold), fold)


RANDOM = Protocol(
    name="random",
    summary="a third of the clips, drawn at random, as the notebook does it",
    title="Random split",
    description="A third of all clips is set aside, whatever recording they were cut from, as in the notebook: clips "
    "of one recording may stand on both sides, and a network can then score by knowing the recording again.",
    condition="under a random split",
    unit="random split",
    kept_back="a random third kept back",
    held_out="the random third that was kept back from the model's training",
    keeps_recordings_apart=False,
    leakage_note=": this score is too good for recordings never heard",
    split=lambda dataset, folds, seed: (splits.random_split(len(dataset.clips), seed=seed),),
    find=lambda dataset, fold: splits.random_split(len(dataset.clips)),
)


FOLDS = Protocol(
    name="folds",
    summary="each official fold tested once, trained on all the others",
    title="Official folds",
    description="Each of the data set’s own folds is tested once by a network trained on the others. Such folds are "
    "made to keep recordings together, so that what is scored is whether the class is known in recordings never heard.",
    condition="on the official folds",
    unit="fold {fold}",
    kept_back="fold {fold} kept back",
    held_out="fold {fold}, which was kept back from the model's training",
    keeps_recordings_apart=True,
    leakage_note=": these folds tear recordings apart, and their score is too good for recordings never heard",
    is_official=True,
    is_drawn=False,
    split=lambda dataset, folds, seed: splits.official_folds(dataset, only=folds),
    find=_official_fold,
    is_available=lambda dataset: len(dataset.folds) > 1,
)


GROUPED = Protocol(
    name="grouped",
    summary="the same with folds that are made here and keep each recording together",
    title="Folds by recording",
    description="The recordings are dealt to folds, each whole and with about the same share of every class; each fold "
    "is tested once by a network trained on the others. What is scored is whether the class is known in recordings "
    "never heard.",
    condition="on folds by recording",
    unit="fold {fold} by recording",
    kept_back="the recordings of fold {fold} kept back",
    held_out="the recordings of fold {fold}, which were kept back from the model's training",
    keeps_recordings_apart=True,
    split=lambda dataset, folds, seed: splits.folds_by_recording(dataset, seed),
    find=_folds_by_recording,
    is_available=lambda dataset: dataset.sources_known and splits.count_recordings(dataset) > 1,
)


PROTOCOLS = {protocol.name: protocol for protocol in (RANDOM, FOLDS, GROUPED)}


# Not a way to compare recipes: a final model is trained on every clip.
ALL = Protocol(
    name="all",
    summary="every clip trained on",
    title="All clips",
    description="",
    condition="on all clips",
    unit="all clips",
    kept_back="nothing kept back",
    held_out="the model was trained on every one; `soundmark compare` says how good its recipe is",
    keeps_recordings_apart=True,
    is_drawn=False,
    split=lambda dataset, folds, seed: (Split(np.arange(len(dataset.clips)), np.arange(0)),),
    find=lambda dataset, fold: Split(np.arange(len(dataset.clips)), np.arange(0)),
)


def protocol_of(name: str) -> Protocol:
    """The protocol called ``name``; for a name that this version does not know, one that is titled by its name.

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
        kept_back="fold {fold} kept back",
        held_out="fold {fold}, which was kept back from the model's training",
        keeps_recordings_apart=True,
        split=lambda dataset, folds, seed: (),
        find=lambda dataset, fold: None,
    )


def default_protocols(dataset: Dataset, folds: Sequence[int] | None = None) -> tuple[str, ...]:
    """The protocols of a comparison that names none: the notebook's own, and one that keeps recordings apart.

    The latter is the first that the data set allows; official folds where fold numbers were given.

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
    """All protocols, those that keep recordings apart first: of several scores, the first is the one to believe.

    >>> preferred_protocols()
    ('folds', 'grouped', 'random')
    """
    return tuple(sorted(PROTOCOLS, key=lambda name: not PROTOCOLS[name].keeps_recordings_apart))

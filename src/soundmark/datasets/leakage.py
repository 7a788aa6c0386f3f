"""Data leakage: test clips from recordings that are also in the training set."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from soundmark.datasets.dataset import Clip, Dataset
from soundmark.datasets.splits import Indices, Split
from soundmark.errors import DatasetError

CLIP_NUMBER = re.compile(r"(.*\d.*?)[ _-]+\d{1,4}", re.ASCII)  # "rec12_003", but neither "dog_003" nor "r1_043000"


ENDS_WITH_DATE = re.compile(
    r"(?:^|\D)(?:19|20)\d\d(?:[T _-]?\d\d){0,4}$", re.ASCII
)  # the number after it is a day or time


MIN_SHARE = 0.1  # of the clips: fewer names that look alike are a coincidence


@dataclass(frozen=True)
class Leakage:
    """Leakage measures, each a fraction of the test clips from 0 to 1.

    >>> Leakage(recording=0.9, recording_and_class=0.9, lookup_accuracy=0.88).recording
    0.9
    """

    recording: float  # test clips whose recording is also in the training set
    recording_and_class: float  # of these, with the same label in the training set; multi-label: at least one in common
    lookup_accuracy: float  # accuracy of a lookup of the recording's training label, without using the sound

    def in_words(self) -> str:
        """Return the first two fractions as text.

        >>> Leakage(recording=0.017, recording_and_class=0.0, lookup_accuracy=0.1).in_words()
        '1.7 % of the test clips come from a recording that is also in the training set (0.0 % with the same class)'
        """
        return (
            f"{100 * self.recording:.1f} % of the test clips come from a recording that is also in the training set "
            f"({100 * self.recording_and_class:.1f} % with the same class)"
        )


def to_json(leak: Leakage | None) -> dict[str, float | None]:
    """Return the measures by name; None for each if the recordings are unknown.

    >>> to_json(None)
    {'recording': None, 'recording_and_class': None, 'lookup_accuracy': None}
    """
    return {measure.name: getattr(leak, measure.name, None) for measure in fields(Leakage)}


def measure_leakage(dataset: Dataset, splits: Split | Sequence[Split]) -> Leakage:
    """Measure data leakage, pooled over the test clips of all splits.

    The lookup predicts for each test clip the most frequent training label of its recording, or, for a recording
    without training clips, the most frequent training label overall. Ties go to the class that comes first in class
    order. In multi-label data the label is the set of all classes of a clip, and a prediction is correct only if the
    entire set is correct.

    Raises:
        DatasetError: there are no test clips.

    >>> from pathlib import Path
    >>> from soundmark.datasets.dataset import Clip
    >>> clips = tuple(Clip(path=Path(f"{i}.wav"), label="dog", source=s) for i, s in enumerate("AAB"))
    >>> data = Dataset(name="pets", root=Path("."), classes=("dog",), clips=clips)
    >>> measure_leakage(data, Split(np.array([0]), np.array([1, 2])))
    Leakage(recording=0.5, recording_and_class=0.5, lookup_accuracy=1.0)
    """
    splits = [splits] if isinstance(splits, Split) else list(splits)
    labels, source_of = _label_sets(dataset), np.unique(dataset.sources, return_inverse=True)[1].astype(np.int64)
    has = dataset.targets > 0
    n_test, same_recording, same_class, correct = 0, 0, 0, 0
    for split in splits:
        predicted = _look_up(source_of, labels, split)
        trained = np.zeros((source_of.max(initial=-1) + 1, has.shape[1]), bool)  # the training classes per recording
        np.logical_or.at(trained, source_of[split.train], has[split.train])
        n_test += len(split.test)
        same_recording += int(np.isin(source_of[split.test], source_of[split.train]).sum())
        same_class += int((trained[source_of[split.test]] & has[split.test]).any(axis=1).sum())
        correct += int((predicted == labels[split.test]).sum())
    if not n_test:
        raise DatasetError(f"the split of {dataset.name} has no test clips: data leakage cannot be measured.")
    return Leakage(same_recording / n_test, same_class / n_test, correct / n_test)


def _label_sets(dataset: Dataset) -> Indices:
    """Return a number per clip that identifies its class, or in multi-label data its set of classes, int64 [n]."""
    if not dataset.multi_label:
        return dataset.labels
    # Negated, so that sets are ordered by their first class, like single classes.
    _, number = np.unique(-dataset.targets, axis=0, return_inverse=True)
    return number.reshape(-1).astype(np.int64)


def _look_up(source_of: Indices, labels: Indices, split: Split) -> Indices:
    """Predict each test clip's label from its recording alone, int64 [test]; −1 if there are no training clips."""
    label_counts = np.bincount(labels[split.train], minlength=1)
    answer = np.full(source_of.max(initial=-1) + 1, label_counts.argmax() if len(split.train) else -1)
    pairs, counts = np.unique(np.stack([source_of[split.train], labels[split.train]]), axis=1, return_counts=True)
    sources, candidates = pairs
    order = np.lexsort((-candidates, counts))  # the last write wins: the most frequent label, then the first class
    answer[sources[order]] = candidates[order]
    return answer[source_of[split.test]]


def recordings_in_names(dataset: Dataset) -> str:
    """Say how many clips seem to come from how many recordings, by file names like "rec12_003.wav"; "" if none do.

    Such a name ends with a separator and the number of the clip, of at most four digits; the rest contains a digit and
    does not end with a date. A name that all clips of a class share is that of the class. Only names that several clips
    share count, in data sets whose recordings are unknown.

    >>> from pathlib import Path
    >>> clips = [Clip(path=Path(name), label=name[0]) for name in ("d/r1_1.wav", "d/r1_2.wav", "d/r2_1.wav", "c/1.wav")]
    >>> recordings_in_names(Dataset(name="pets", root=Path("."), classes=("d", "c"), clips=tuple(clips)))
    'the file names suggest that 2 of 4 clips come from 1 recording ("d/r1_1.wav" and "d/r1_2.wav")'
    """
    if dataset.sources_known:
        return ""
    named: dict[str, list[Clip]] = defaultdict(list)
    for clip in dataset.clips:
        match = CLIP_NUMBER.fullmatch(clip.path.stem)
        if match and not ENDS_WITH_DATE.search(match[1]):
            named[match[1]].append(clip)
    sizes = Counter(clip.label for clip in dataset.clips)
    shared = [clips for clips in named.values() if len(clips) > 1 and len(clips) < max(sizes[c.label] for c in clips)]
    number = sum(map(len, shared))
    if number < max(1, MIN_SHARE * len(dataset.clips)):
        return ""
    first, second = (f'"{dataset.relative_path(clip)}"' for clip in shared[0][:2])
    recordings = "1 recording" if len(shared) == 1 else f"{len(shared)} recordings"
    example = f"{first} and {second}" if len(shared) == 1 else f"{first} and {second} from one"
    return f"the file names suggest that {number} of {len(dataset.clips)} clips come from {recordings} ({example})"

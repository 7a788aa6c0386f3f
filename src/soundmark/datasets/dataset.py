"""``Dataset``, ``Clip`` and ``Skipped``: labelled stretches of sound files, and the classes they belong to."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark import audio
from soundmark.audio.folders import SUFFIXES, UNREAD, FolderListing
from soundmark.errors import AudioError, DatasetError

SEPARATOR = ";"  # between the names in a label that holds several


LONGEST_WINDOW_S = 30.0  # a single longer clip would make every window of a model as long


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One labelled stretch of one file.

    ``source`` names the recording that it was cut from (UrbanSound8K's ``fsID``): clips that share it sound alike. In
    multi-label data ``label`` holds any number of names, "dog;siren" or "": ``Dataset.labels_of`` takes it apart.

    >>> Clip(path=Path("dog/1.wav"), label="dog").stop_s is None
    True
    """

    path: Path
    label: str
    start_s: float = 0.0
    stop_s: float | None = None  # None: to the end of the file
    fold: int | None = None
    source: str | None = None
    salience: str | None = None  # "foreground" or "background"
    time: str | None = None  # when it was recorded, ISO 8601
    expected_s: float | None = None  # how long the table says it is; a file that is shorter was cut off


@dataclass(frozen=True)
class Skipped:
    """Something that the data set names and that could not be used, with the reason.

    >>> Skipped("audio/fold1/7061-6-0-0.wav", "row 5: it is not there").path
    'audio/fold1/7061-6-0-0.wav'
    """

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Clips, the classes they belong to (in the data set's own order), and what was not there.

    The arrays have one entry per clip, in the clips' order, and cannot be written to. In multi-label data a clip has
    any number of classes, also none; ``targets`` holds them, and there are no ``labels``.

    Raises:
        DatasetError: a class is named twice, or a clip's label is not among the classes.

    >>> clips = (Clip(path=Path("a.wav"), label="dog", fold=2), Clip(path=Path("b.wav"), label="cat", fold=1))
    >>> data = Dataset(name="pets", root=Path("."), classes=("cat", "dog"), clips=clips)
    >>> data.labels, data.folds, data.share
    (array([1, 0]), (1, 2), '2 of 2 clips (100 %)')
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    multi_label: bool = False  # whether a clip's label holds any number of classes, as "dog;siren"
    skipped: tuple[Skipped, ...] = ()  # named by the table, not on the disk
    complete_size: int | None = None  # clips in a complete copy, where that is known
    window_s: float = 4.0  # the length that a model trained on these clips listens to at once
    licence: str = "unknown"
    citation: str = ""

    def __post_init__(self) -> None:
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise DatasetError(f'class "{twice[0]}" stands twice in the classes of {self.name}: name each once.')
        foreign = {name for clip in self.clips for name in self.labels_of(clip)} - set(self.classes)
        if foreign:
            raise DatasetError(
                f'label "{min(foreign)}" is not a class of {self.name}. Known: {", ".join(self.classes)}.'
            )

    @staticmethod
    def open(
        path: str | os.PathLike[str], *, subset: str | None = None, classes: Sequence[str] | None = None
    ) -> Dataset:
        """The data set at ``path``, whose layout is recognised: UrbanSound8K, ESC-50, a CSV table, a folder per class.

        Args:
            path: the root of the data set, or its table. One level off is found, too.
            subset: "esc10" for ESC-50's ten classes of a freer licence.
            classes: for a CSV table or class folders, their order; any other label is then an error.

        Raises:
            DatasetError: nothing is there, it is no data set, or a row of its table cannot be meant.
            SettingsError: an option that this layout does not have.

        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("dog/fold1/rex.wav", "cat/fold2/mia.wav"):
        ...     (root / name).parent.mkdir(parents=True)
        ...     (root / name).touch()
        >>> data = Dataset.open(root)
        >>> data.classes, data.folds, [data.relative_path(clip) for clip in data.clips]
        (('cat', 'dog'), (1, 2), ['cat/fold2/mia.wav', 'dog/fold1/rex.wav'])
        """
        from soundmark.datasets.layouts import WHAT_TO_GIVE, open_layout  # layouts make data sets

        if not os.fspath(path):
            raise DatasetError(f'the data set is "". {WHAT_TO_GIVE}')
        path = Path(path).expanduser()
        given: dict[str, Any] = {"subset": subset, "classes": classes}
        try:
            data = open_layout(path, {name: value for name, value in given.items() if value is not None})
        except OSError as error:
            place = error.filename or path
            raise DatasetError(f'"{place}" cannot be read: {error.strerror}. Look at its permissions.') from error
        if data is not None:
            return data
        sound = "a sound file, " if path.suffix.lower() in (*SUFFIXES, *UNREAD) else ""
        raise DatasetError(f'"{path}" is {sound}not a data set. {WHAT_TO_GIVE}')

    def labels_of(self, clip: Clip) -> tuple[str, ...]:
        """The names of the clip's classes: one, or in multi-label data any number.

        >>> data = Dataset(name="city", root=Path("."), classes=("dog", "siren"), clips=(), multi_label=True)
        >>> [data.labels_of(Clip(path=Path("a.wav"), label=label)) for label in ("siren; dog", "")]
        [('siren', 'dog'), ()]
        """
        return names_in(clip.label) if self.multi_label else (clip.label,)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The class of each clip as an index into ``classes``, int64 [n].

        Raises:
            DatasetError: the data is multi-label, so that a clip has not one class but any number.

        >>> Dataset(name="city", root=Path("."), classes=("dog", "siren"), clips=(), multi_label=True).labels
        Traceback (most recent call last):
        soundmark.errors.DatasetError: city is multi-label: its clips have any number of classes. Ask for ...
        """
        if self.multi_label:
            raise DatasetError(
                f"{self.name} is multi-label: its clips have any number of classes. Ask for `targets`, [n, classes]."
            )
        index = {name: i for i, name in enumerate(self.classes)}
        return _read_only(np.array([index[clip.label] for clip in self.clips], np.int64))

    @cached_property
    def targets(self) -> NDArray[np.float32]:
        """Which classes each clip has, float32 [n, classes]: 1 for those that it has, 0 for the others.

        >>> clips = (Clip(path=Path("a.wav"), label="dog;siren"), Clip(path=Path("b.wav"), label=""))
        >>> Dataset(name="city", root=Path("."), classes=("dog", "siren"), clips=clips, multi_label=True).targets
        array([[1., 1.], [0., 0.]], dtype=float32)
        """
        index = {name: i for i, name in enumerate(self.classes)}
        has = np.zeros((len(self.clips), len(self.classes)), np.float32)
        for row, clip in zip(has, self.clips, strict=True):
            row[[index[name] for name in self.labels_of(clip)]] = 1
        return _read_only(has)

    @cached_property
    def sources(self) -> NDArray[np.str_]:
        """The recording that each clip was cut from, str [n]; the clip's own path where that is not known."""
        return _read_only(np.array([clip.source or self.relative_path(clip) for clip in self.clips], np.str_))

    @property
    def sources_known(self) -> bool:
        """Whether it is known of every clip which recording it was cut from: else no leak can be measured.

        >>> tagged, bare = Clip(path=Path("a.wav"), label="dog", source="7"), Clip(path=Path("b.wav"), label="dog")
        >>> data = Dataset(name="pets", root=Path("."), classes=("dog",), clips=(tagged, bare))
        >>> data.select([0]).sources_known, data.sources_known
        (True, False)
        """
        return all(clip.source is not None for clip in self.clips)

    @cached_property
    def fold_of(self) -> NDArray[np.int64]:
        """The official fold of each clip, int64 [n]; 0 where a clip has none."""
        return _read_only(np.array([clip.fold or 0 for clip in self.clips], np.int64))

    @property
    def folds(self) -> tuple[int, ...]:
        """The official folds that there are, in ascending order."""
        return tuple(sorted({clip.fold for clip in self.clips if clip.fold is not None}))

    @property
    def share(self) -> str:
        """What share of the data set is there, in words: "2 097 of 8 732 clips (24 %)"."""
        there = len(self.clips)
        whole = max(self.complete_size or 0, there + len(self.skipped))
        percent = 100 * there // whole if whole else 100  # rounded down: only a whole copy is 100 %
        return f"{there:,} of {whole:,} clips ({percent or '< 1'} %)".replace(",", " ")

    @property
    def is_partial(self) -> bool:
        """Whether this is a part of a data set whose full size is known: what is absent is then no fault."""
        return self.complete_size is not None and len(self.clips) < self.complete_size

    def faults(self, skipped: Sequence[Skipped]) -> tuple[Skipped, ...]:
        """Those of ``skipped`` that somebody must look at: all but what a partial copy does not have.

        >>> absent, broken = Skipped("a.wav", "row 2: it is not there"), Skipped("b.wav", "it holds no samples")
        >>> data = Dataset(name="x", root=Path("."), classes=(), clips=(), skipped=(absent,), complete_size=9)
        >>> data.faults([absent, broken])
        (Skipped(path='b.wav', reason='it holds no samples'),)
        """
        absent = set(self.skipped) if self.is_partial else set()
        return tuple(item for item in skipped if item not in absent)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for the clips and their order.

        Two copies on two machines have the same; another file size, label, fold, recording or class changes it.
        Other contents of the same size do not: who keeps something computed from them looks at the files' times, too.
        The files are looked at when this is first asked for.
        """
        listing = FolderListing()
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        digest.update(b"multi-label" if self.multi_label else b"")
        for clip in self.clips:
            stretch = (clip.start_s, clip.stop_s, clip.label, clip.fold, clip.source)
            digest.update(json.dumps([self.relative_path(clip), listing.size(clip.path), *stretch]).encode())
        return digest.hexdigest()[:16]

    def relative_path(self, clip: Clip) -> str:
        """The clip's path as it is on every machine: relative to the root, with forward slashes.

        >>> data = Dataset(name="pets", root=Path("pets"), classes=("cat",), clips=())
        >>> data.relative_path(Clip(path=Path("pets/cat/1.wav"), label="cat"))
        'cat/1.wav'
        """
        return relative(clip.path, self.root)

    def select(self, indices: ArrayLike) -> Dataset:
        """The data set with only the clips at ``indices``, in that order; classes and all else stay.

        >>> clips = (Clip(path=Path("a.wav"), label="dog"), Clip(path=Path("b.wav"), label="cat"))
        >>> data = Dataset(name="pets", root=Path("."), classes=("cat", "dog"), clips=clips)
        >>> data.select([1]).clips[0].label, len(data.without([1]).clips)
        ('cat', 1)
        """
        return replace(self, clips=tuple(self.clips[int(i)] for i in np.asarray(indices, np.int64)))

    def without(self, indices: ArrayLike) -> Dataset:
        """The data set without the clips at ``indices``; the order of the others stays."""
        keep = np.ones(len(self.clips), bool)
        keep[np.asarray(indices, np.int64)] = False
        return self.select(np.flatnonzero(keep))


def names_in(label: str) -> tuple[str, ...]:
    """The names that a label of multi-label data holds, each once, without blanks around them; none in an empty one.

    >>> names_in("dog; siren;dog"), names_in(" ; ")
    (('dog', 'siren'), ())
    """
    return tuple(dict.fromkeys(name.strip() for name in label.split(SEPARATOR) if name.strip()))


def relative(path: Path, root: Path) -> str:
    """``path`` seen from ``root``, with forward slashes; as it is where no way leads there (another drive).

    >>> relative(Path("a/b.wav"), Path("a")), relative(Path("b.wav"), Path("a"))
    ('b.wav', '../b.wav')
    """
    text, prefix = str(path), str(root) + os.sep
    if text.startswith(prefix) and ".." not in path.parts:
        return text[len(prefix) :].replace(os.sep, "/")
    try:
        return os.path.relpath(path, root).replace(os.sep, "/")
    except ValueError:  # Windows: no relative path leads to another drive
        return path.as_posix()


def typical_length_s(clips: Sequence[Clip], *, sample: int = 200) -> float:
    """The length in seconds that a model of these clips should listen to: the longest clip's, rounded up to a tenth.

    So clips are classified whole, as they were trained on. Where one lasts longer than ``LONGEST_WINDOW_S``, it is the
    length that 95 % do not exceed. At most ``sample`` clips, evenly spaced, are looked at, and only at their headers. A
    thousandth of a second is
    forgiven, as files run over by a sample. Where no file can be read it is ``Dataset``'s default.

    >>> typical_length_s([Clip(path=Path("a.wav"), label="dog", start_s=1.0, stop_s=2.55)])
    1.6
    """
    chosen = np.linspace(0, len(clips) - 1, min(len(clips), sample)).round().astype(np.int64)
    lengths_s = [length for i in chosen if (length := _length_s(clips[i])) is not None]
    if not lengths_s:
        return Dataset.window_s
    longest_s = max(lengths_s)
    length_s = longest_s if longest_s <= LONGEST_WINDOW_S else float(np.percentile(lengths_s, 95))
    tenths = round(length_s * 10, 2)
    return max(1, math.ceil(tenths)) / 10


def _length_s(clip: Clip) -> float | None:
    if clip.stop_s is not None:
        return clip.stop_s - clip.start_s
    try:
        return max(0.0, audio.info(clip.path).duration_s - clip.start_s)
    except AudioError:  # whoever reads the clip will name it; here it has no say
        return None


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array

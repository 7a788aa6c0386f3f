"""``Dataset``: clips, the classes that they belong to, and everything that is asked of them together."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark import audio
from soundmark.audio.folders import SUFFIXES, UNREAD, FolderListing
from soundmark.datasets.clip import Clip, Skipped, relative
from soundmark.errors import AudioError, DatasetError
from soundmark.runtime.text import count, shortened

if TYPE_CHECKING:
    import pandas as pd

    from soundmark.datasets.spectrogram_images import SavedImages
    from soundmark.spectrograms import Representation

__all__ = ["SEPARATOR", "Clip", "ClipIndexError", "Dataset", "Skipped", "names_in", "relative", "typical_length_s"]

SEPARATOR = ";"  # between the names in a label that holds several


LONGEST_WINDOW_S = 30.0  # a single longer clip would make every window of a model as long


class ClipIndexError(DatasetError, IndexError):
    """A data set has no clip at this index, or the index is not one."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Dataset:
    """Labelled clips, their classes in the data set's own order, and the clips that were left out.

    ``data[3]`` is a clip; ``data[:100]``, ``data[[0, 7]]`` and ``data[mask]`` are data sets of some of the clips. The
    arrays have one entry per clip, in the clips' order, and are read-only. In multi-label data a clip has any number
    of classes, also none: ``targets`` holds them, and there are no ``labels``.

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
        return f"{count(there, ' ')} of {count(whole, ' ')} clips ({percent or '< 1'} %)"

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
        """The data set with only the clips at ``indices`` (or of a mask), in that order; classes and all else stay.

        Raises:
            ClipIndexError: an index is out of range, or not a whole number.

        >>> clips = (Clip(path=Path("a.wav"), label="dog"), Clip(path=Path("b.wav"), label="cat"))
        >>> data = Dataset(name="pets", root=Path("."), classes=("cat", "dog"), clips=clips)
        >>> data.select([1]).clips[0].label, len(data.without([1]).clips)
        ('cat', 1)
        """
        return replace(self, clips=tuple(self.clips[i] for i in _positions(indices, self)))

    def without(self, indices: ArrayLike) -> Dataset:
        """The data set without the clips at ``indices`` (or of a mask); the order of the others stays.

        >>> len(city), len(city.without([0, -1]))
        (60, 58)
        """
        keep = np.ones(len(self.clips), bool)
        keep[_positions(indices, self)] = False
        return self.select(np.flatnonzero(keep))

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> Clip: ...

    @overload
    def __getitem__(self, index: slice | ArrayLike) -> Dataset: ...

    def __getitem__(self, index: Any) -> Clip | Dataset:
        """A clip by its number, or a data set of the clips of a slice, a list of numbers or a mask.

        Raises:
            ClipIndexError: an index is out of range, or of another type.

        >>> city[-1].label, len(city[:5]), len(city[city.fold_of == 1])
        ('street_music', 5, 20)
        >>> city[60]
        Traceback (most recent call last):
        soundmark.datasets.dataset.ClipIndexError: there is no clip 60: synthetic city has 60 clips, 0 to 59.
        """
        if isinstance(index, slice):
            return replace(self, clips=self.clips[index])
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            return self.clips[_positions(np.array([index]), self)[0]]
        return self.select(index)

    def __repr__(self) -> str:
        from soundmark.datasets import description

        return description.overview(self)

    def _repr_html_(self) -> str:
        from soundmark.datasets import description

        return description.to_html(self)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per clip: path (relative to ``root``), label, start_s, stop_s, fold, source, salience, time.

        ``stop_s`` is NaN where a clip ends with its file. In multi-label data ``label`` holds all names, "dog;siren",
        and a column ``labels`` the same as tuples, for ``explode``.

        Raises:
            SettingsError: pandas is not installed.

        >>> city.to_dataframe().groupby("fold").size().tolist()
        [20, 20, 20]
        """
        from soundmark.datasets import description

        return description.to_dataframe(self)

    def summary(self) -> str:
        """Text for people: numbers of clips, classes, folds and recordings, durations, and what was left out.

        >>> print(city.summary())
        synthetic city: 60 clips...
        classes     10, with 6 to 6 clips each
        folds       1 (20 clips), 2 (20), 3 (20)
        recordings  30
        durations   ...
        """
        from soundmark.datasets import description

        return description.summary(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw the number of clips of each class as bars, divided by fold; returns Matplotlib ``Axes``.

        Args:
            ax: the Axes to draw on; by default those of a new figure.

        Raises:
            SettingsError: Matplotlib is not installed.

        >>> city.plot().get_xlabel()
        'clips'
        """
        from soundmark.datasets import description

        return description.plot(self, ax)

    def features(
        self,
        representation: str | dict[str, Any] | Representation = "mel",
        *,
        jobs: int | None = None,
        fresh: bool = False,
        quiet: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Spectrograms and labels as arrays, from the feature store: computed once, then read from disk.

        Clips that cannot be read are left out of both arrays, and one warning names them.

        Args:
            representation: its name, settings, or object; "logmel" gets frames for ``window_s`` seconds.
            jobs: parallel processes (default: all cores).
            fresh: compute again what is stored already.
            quiet: no progress bar.

        Returns:
            X: float32 [clips, freq, time]
            y: int64 [clips], indices into ``classes``; in multi-label data float32 [clips, classes]

        Raises:
            OutputError: the cache folder cannot be written.
            SettingsError: there is no such representation.

        >>> X, y = city.features("mel", jobs=1, quiet=True)
        >>> X.shape, y.shape
        ((60, 64, 64), (60,))
        """
        from soundmark.datasets import features
        from soundmark.runtime.progress_bars import progress_bars
        from soundmark.spectrograms import representation_named

        chosen = representation_named(representation).for_window(self.window_s)
        with progress_bars(quiet) as progress:
            store = features.build(self, chosen, jobs=jobs, fresh=fresh, progress=progress)
        features.warn_incomplete(store.notes)
        features.warn_left_out(store.skipped)
        return store.array[store.usable], (self.targets if self.multi_label else self.labels)[store.usable]

    def save_spectrograms(
        self,
        folder: str | os.PathLike[str],
        representation: str | dict[str, Any] | Representation = "image",
        *,
        colours: str | None = None,
        axes: bool = False,
        jobs: int | None = None,
        quiet: bool = False,
    ) -> SavedImages:
        """Write a PNG of every clip, one folder per class; the pictures of an earlier, equal call are kept.

        Args:
            folder: where the folders of the classes go.
            representation: its name, settings, or object.
            colours: a Matplotlib colour map (by default grey pictures without axes: those that features are made of).
            axes: whether to draw axes in seconds and hertz.
            jobs: parallel processes (default: all cores).
            quiet: no progress bar.

        Raises:
            OutputError: the folder cannot be written, or holds other pictures.
            SettingsError: there is no such representation or colour map.

        >>> city[:2].save_spectrograms(folder / "pictures", jobs=1, quiet=True)
        SavedImages(count=2, skipped=0, notes=0)
        """
        from soundmark.datasets import spectrogram_images
        from soundmark.runtime.progress_bars import progress_bars
        from soundmark.spectrograms import representation_named

        chosen = representation_named(representation)
        with progress_bars(quiet) as progress:
            return spectrogram_images.save_images(
                self, chosen, Path(folder), colours=colours, axes=axes, jobs=jobs, progress=progress
            )


def names_in(label: str) -> tuple[str, ...]:
    """The names that a label of multi-label data holds, each once, without blanks around them; none in an empty one.

    >>> names_in("dog; siren;dog"), names_in(" ; ")
    (('dog', 'siren'), ())
    """
    return tuple(dict.fromkeys(name.strip() for name in label.split(SEPARATOR) if name.strip()))


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


def _positions(indices: ArrayLike, dataset: Dataset) -> NDArray[np.int64]:
    """Clip numbers 0 to n − 1 [k], of numbers that may count from the end, or of a mask [n]."""
    n = len(dataset.clips)
    array = np.asarray(indices)
    if array.ndim == 1 and array.dtype == bool:
        if len(array) != n:
            raise ClipIndexError(
                f"a mask has {len(array)} values, and {dataset.name} has {n} clips: give one for each."
            )
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ClipIndexError(
            f"{shortened(repr(indices))} is no index of clips: give a whole number, a slice, a list of whole numbers "
            "or a mask of booleans."
        )
    outside = array[(array < -n) | (array >= n)]
    if outside.size:
        raise ClipIndexError(
            f"there is no clip {outside[0]}: {dataset.name} has {n} clips{f', 0 to {n - 1}' if n else ''}."
        )
    return array.astype(np.int64) % max(n, 1)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array

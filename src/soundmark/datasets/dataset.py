"""``Dataset``: labelled clips and their classes, with methods to select, describe, plot and convert them."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.audio.folders import SUFFIXES, UNSUPPORTED, FolderListing
from soundmark.datasets.clip import DEFAULT_WINDOW_S, Clip, Skipped, relative, typical_length_s
from soundmark.errors import DatasetError, processing, unknown_name
from soundmark.runtime.checks import check_path
from soundmark.runtime.text import count, counted, shortened

if TYPE_CHECKING:
    import pandas as pd

    from soundmark.datasets.spectrogram_images import SavedImages
    from soundmark.spectrograms import Representation

__all__ = ["SEPARATOR", "Clip", "ClipIndexError", "Dataset", "Skipped", "relative", "split_label", "typical_length_s"]

BACKGROUND = "background"  # the label of sections without annotations, of corrections "none", and of rejections


AUTOMATIC, NO_BACKGROUND = "auto", "none"  # values of ``with_background`` that are not labels


NEGATIVE_LABELS = ("background", "noise", "none", "silence")  # labels of negative classes, in any case


SEPARATOR = ";"  # between the class names in a multi-label label


class ClipIndexError(DatasetError, IndexError):
    """A clip index is out of range or has the wrong type."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Dataset:
    """Labelled clips, their classes in the data set's order, and the clips that were skipped.

    ``data[3]`` is a clip; ``data[:100]``, ``data[[0, 7]]`` and ``data[mask]`` are smaller data sets. The arrays have
    one entry per clip, in the order of the clips, and are read-only. In multi-label data a clip has zero or more
    classes: use ``targets`` instead of ``labels``.

    Raises:
        DatasetError: the classes contain duplicates, or a clip's label is not one of the classes.

    >>> clips = (Clip(path=Path("a.wav"), label="dog", fold=2), Clip(path=Path("b.wav"), label="cat", fold=1))
    >>> data = Dataset(name="pets", root=Path("."), classes=("cat", "dog"), clips=clips)
    >>> data.labels, data.folds, data.share
    (array([1, 0]), (1, 2), '2 of 2 clips (100 %)')
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    multi_label: bool = False  # whether a clip can have any number of classes, as "dog;siren"
    skipped: tuple[Skipped, ...] = ()  # listed in the metadata but missing or unusable
    complete_size: int | None = None  # number of clips in a complete copy, if known
    background: tuple[str, ...] = ()  # negative classes, "none of these": see ``with_background``
    window_s: float = DEFAULT_WINDOW_S  # window length of a model trained on these clips
    licence: str = "unknown"
    citation: str = ""

    def __post_init__(self) -> None:
        duplicates = [name for name, n in Counter(self.classes).items() if n > 1]
        if duplicates:
            raise DatasetError(f'duplicate class "{duplicates[0]}" in {self.name}: list each class once.')
        unknown = {name for clip in self.clips for name in self.labels_of(clip)} - set(self.classes)
        if unknown:
            raise DatasetError(
                f'label "{min(unknown)}" is not a class of {self.name}. Known: {", ".join(self.classes)}.'
            )

    @staticmethod
    def open(
        path: str | os.PathLike[str],
        *,
        subset: str | None = None,
        classes: Sequence[str] | None = None,
        complete: bool = False,
    ) -> Dataset:
        """Open a data set; its layout is detected.

        Layouts are UrbanSound8K, ESC-50, one folder per class, a CSV table, and annotated recordings: with label files
        of Raven, Audacity or Whombat, or a table with the usual column names.

        Args:
            path: the root folder of the data set or its table; a path one level above or below also works.
            subset: "esc10" for the ten classes of ESC-50 with a less restrictive licence.
            classes: class order, except for UrbanSound8K and ESC-50; any other label is an error.
            complete: everything of interest in annotated recordings is annotated: sections of the rest become clips of
                the class "background".

        Raises:
            DatasetError: the path does not exist or is not a data set, or a row of the table is invalid.
            SettingsError: the path is not a path, or the layout does not support an option.

        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("dog/fold1/rex.wav", "cat/fold2/mia.wav"):
        ...     (root / name).parent.mkdir(parents=True)
        ...     (root / name).touch()
        >>> data = Dataset.open(root)
        >>> data.classes, data.folds, [data.relative_path(clip) for clip in data.clips]
        (('cat', 'dog'), (1, 2), ['cat/fold2/mia.wav', 'dog/fold1/rex.wav'])
        """
        from soundmark.datasets.layouts import SUPPORTED_LAYOUTS, open_layout  # layouts import this module

        if not check_path("the path of the data set", path):
            raise DatasetError(f'the path of the data set is "". {SUPPORTED_LAYOUTS}')
        path = Path(path).expanduser()
        options: dict[str, Any] = {"subset": subset, "classes": classes, "complete": complete or None}
        try:
            with processing(f'"{path}"'):
                data = open_layout(path, {name: value for name, value in options.items() if value is not None})
        except OSError as error:
            unreadable = error.filename or path
            raise DatasetError(f'"{unreadable}" cannot be read: {error.strerror}. Check its permissions.') from error
        if data is not None:
            return data
        sound = "a sound file, " if path.suffix.lower() in (*SUFFIXES, *UNSUPPORTED) else ""
        raise DatasetError(f'"{path}" is {sound}not a data set. {SUPPORTED_LAYOUTS}')

    def labels_of(self, clip: Clip) -> tuple[str, ...]:
        """Return the clip's class names: one, or any number in multi-label data.

        >>> data = Dataset(name="city", root=Path("."), classes=("dog", "siren"), clips=(), multi_label=True)
        >>> [data.labels_of(Clip(path=Path("a.wav"), label=label)) for label in ("siren; dog", "")]
        [('siren', 'dog'), ()]
        """
        return split_label(clip.label) if self.multi_label else (clip.label,)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The class of each clip as an index into ``classes``, int64 [n].

        Raises:
            DatasetError: the data set is multi-label; use ``targets``.

        >>> Dataset(name="city", root=Path("."), classes=("dog", "siren"), clips=(), multi_label=True).labels
        Traceback (most recent call last):
        soundmark.errors.DatasetError: city is multi-label: a clip has any number of classes. Use `targets` ...
        """
        if self.multi_label:
            raise DatasetError(
                f"{self.name} is multi-label: a clip has any number of classes. Use `targets` ([n, classes]) instead "
                "of `labels`."
            )
        index = {name: i for i, name in enumerate(self.classes)}
        return _read_only(np.array([index[clip.label] for clip in self.clips], np.int64))

    @cached_property
    def targets(self) -> NDArray[np.float32]:
        """The classes of each clip as a float32 indicator matrix [n, classes]: 1 if the clip has the class, else 0.

        >>> clips = (Clip(path=Path("a.wav"), label="dog;siren"), Clip(path=Path("b.wav"), label=""))
        >>> Dataset(name="city", root=Path("."), classes=("dog", "siren"), clips=clips, multi_label=True).targets
        array([[1., 1.], [0., 0.]], dtype=float32)
        """
        index = {name: i for i, name in enumerate(self.classes)}
        has = np.zeros((len(self.clips), len(self.classes)), np.float32)
        for row, clip in zip(has, self.clips, strict=True):
            row[[index[name] for name in self.labels_of(clip)]] = 1
        return _read_only(has)

    @property
    def background_rows(self) -> tuple[int, ...]:
        """The indices of the background labels among the classes.

        >>> data = Dataset(name="pets", root=Path("."), classes=("dog", "none"), clips=(), background=("none",))
        >>> data.background_rows
        (1,)
        """
        return tuple(row for row, label in enumerate(self.classes) if label in self.background)

    @cached_property
    def sources(self) -> NDArray[np.str_]:
        """The recording that each clip was cut from, str [n]; the clip's path if the recording is unknown."""
        return _read_only(np.array([clip.source or self.relative_path(clip) for clip in self.clips], np.str_))

    @property
    def sources_known(self) -> bool:
        """Whether the recording of every clip is known; otherwise data leakage cannot be measured.

        >>> tagged, bare = Clip(path=Path("a.wav"), label="dog", source="7"), Clip(path=Path("b.wav"), label="dog")
        >>> data = Dataset(name="pets", root=Path("."), classes=("dog",), clips=(tagged, bare))
        >>> data.select([0]).sources_known, data.sources_known
        (True, False)
        """
        return all(clip.source is not None for clip in self.clips)

    @cached_property
    def fold_of(self) -> NDArray[np.int64]:
        """The official fold of each clip, int64 [n]; 0 for a clip without a fold."""
        return _read_only(np.array([clip.fold or 0 for clip in self.clips], np.int64))

    @property
    def folds(self) -> tuple[int, ...]:
        """The official folds that occur among the clips, in ascending order."""
        return tuple(sorted({clip.fold for clip in self.clips if clip.fold is not None}))

    @property
    def share(self) -> str:
        """The number of available clips as text, "2 097 of 8 732 clips (24 %)"."""
        available = len(self.clips)
        total = max(self.complete_size or 0, available + len(self.skipped))
        percent = 100 * available // total if total else 100  # rounded down: only a complete copy is 100 %
        return f"{count(available, ' ')} of {counted(total, 'clip', ' ')} ({percent or '< 1'} %)"

    @property
    def is_partial(self) -> bool:
        """Whether clips of a data set of known size are missing; missing clips are then not reported as faults."""
        return self.complete_size is not None and len(self.clips) < self.complete_size

    def faults(self, skipped: Sequence[Skipped]) -> tuple[Skipped, ...]:
        """Return the items of ``skipped`` that need attention: all except clips missing from a partial copy.

        >>> missing, broken = Skipped("a.wav", "row 2: the file does not exist"), Skipped("b.wav", "it has no samples")
        >>> data = Dataset(name="x", root=Path("."), classes=(), clips=(), skipped=(missing,), complete_size=9)
        >>> data.faults([missing, broken])
        (Skipped(path='b.wav', reason='it has no samples'),)
        """
        missing = set(self.skipped) if self.is_partial else set()
        return tuple(item for item in skipped if item not in missing)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the clips and their order, 16 hexadecimal digits.

        It is the same for two copies on different machines. It depends on file sizes, labels, folds, recordings and
        classes, but not on file contents: caches of computed features must also compare modification times. The file
        sizes are read on first access.
        """
        listing = FolderListing()
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        digest.update(b"multi-label" if self.multi_label else b"")
        for clip in self.clips:
            fields = (clip.start_s, clip.stop_s, clip.label, clip.fold, clip.source)
            digest.update(json.dumps([self.relative_path(clip), listing.size(clip.path), *fields]).encode())
        return digest.hexdigest()[:16]

    def relative_path(self, clip: Clip) -> str:
        """Return the clip's path relative to the root with forward slashes, the same on every machine.

        >>> data = Dataset(name="pets", root=Path("pets"), classes=("cat",), clips=())
        >>> data.relative_path(Clip(path=Path("pets/cat/1.wav"), label="cat"))
        'cat/1.wav'
        """
        return relative(clip.path, self.root)

    def select(self, indices: ArrayLike) -> Dataset:
        """Return the data set with only the clips at ``indices`` (or where a mask is true), in that order.

        The classes and all other fields are unchanged.

        Raises:
            ClipIndexError: an index is out of range or not a whole number.

        >>> clips = (Clip(path=Path("a.wav"), label="dog"), Clip(path=Path("b.wav"), label="cat"))
        >>> data = Dataset(name="pets", root=Path("."), classes=("cat", "dog"), clips=clips)
        >>> data.select([1]).clips[0].label, len(data.without([1]).clips)
        ('cat', 1)
        """
        return replace(self, clips=tuple(self.clips[i] for i in _positions(indices, self)))

    def without(self, indices: ArrayLike) -> Dataset:
        """Return the data set without the clips at ``indices`` (or where a mask is true); the order is kept.

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
        """Return the clip at a whole number, or a data set for a slice, a list of whole numbers or a mask.

        Raises:
            ClipIndexError: an index is out of range or has the wrong type.

        >>> city[-1].label, len(city[:5]), len(city[city.fold_of == 1])
        ('street_music', 5, 20)
        >>> city[60]
        Traceback (most recent call last):
        soundmark.datasets.dataset.ClipIndexError: clip index 60 is out of range: synthetic city has 60 clips (0 to 59).
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
        """Return a DataFrame with one row per clip.

        Columns: path (relative to ``root``), label, start_s, stop_s, fold, source, salience, time. ``stop_s`` is NaN
        if the clip extends to the end of its file. In multi-label data ``label`` contains all class names ("dog;siren")
        and an additional column ``labels`` contains them as tuples, for ``explode``.

        Raises:
            SettingsError: pandas is not installed.

        >>> city.to_dataframe().groupby("fold").size().tolist()
        [20, 20, 20]
        """
        from soundmark.datasets import description

        return description.to_dataframe(self)

    def summary(self) -> str:
        """Return a text with the numbers of clips, classes, folds and recordings, the durations, and skipped files.

        >>> print(city.summary())
        synthetic city: 60 clips...
        classes     10, with 6 clips each
        folds       1 (20 clips), 2 (20), 3 (20)
        recordings  30
        durations   ...
        """
        from soundmark.datasets import description

        return description.summary(self)

    def plot(self, ax: Any = None) -> Any:
        """Plot the number of clips per class as bars, divided by fold; return Matplotlib ``Axes``.

        Args:
            ax: the Axes to draw on (default: a new figure).

        Raises:
            SettingsError: Matplotlib is not installed.

        >>> city.plot().get_xlabel()
        'clips'
        """
        from soundmark.datasets import description

        return description.plot(self, ax)

    def windows(self, window_s: float | None = None) -> Dataset:
        """Return the data set with clips longer than 1.05 windows cut into windows, as ``train`` does.

        ``window_s`` are the seconds of a window; default: the data set's. A window has its clip's label and recording.

        Raises:
            SettingsError: the window is not a number of seconds above 0.

        >>> cut = city.windows(1.0)
        >>> len(city), len(cut) > 100, cut.window_s
        (60, True, 1.0)
        """
        from soundmark.datasets.clip_windows import cut_clips, with_window

        fitted = with_window(self, window_s)
        return cut_clips(fitted, fitted.window_s).windows

    def features(
        self,
        representation: str | dict[str, Any] | Representation = "mel",
        *,
        jobs: int | None = None,
        cluster: Any = None,
        fresh: bool = False,
        quiet: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return spectrograms and labels as arrays; they are computed once and then read from the feature store.

        Clips that cannot be read are skipped in both arrays and listed in one warning.

        Args:
            representation: name, settings or object of the representation; "logmel" covers ``window_s`` seconds, the
                middle of a longer clip, with a warning: see ``windows``.
            jobs: parallel processes (default: all cores).
            cluster: a Dask cluster for the work: the address of its scheduler, "local", or a ``distributed.Client``.
            fresh: recompute stored features.
            quiet: no progress bar.

        Returns:
            X: float32 [clips, freq, time]
            y: int64 [clips], indices into ``classes``; in multi-label data float32 [clips, classes]

        Raises:
            OutputError: the cache folder cannot be written.
            SettingsError: the representation is unknown.

        >>> X, y = city.features("mel", jobs=1, quiet=True)
        >>> X.shape, y.shape
        ((60, 64, 64), (60,))
        """
        from soundmark.datasets import features
        from soundmark.runtime import parallel
        from soundmark.runtime.progress_bars import progress_bars
        from soundmark.spectrograms import representation_named

        given = representation_named(representation)
        chosen = given.for_window(self.window_s)
        if chosen != given:
            features.warn_longer(self, chosen.name)
        with parallel.workers(cluster, jobs) as workers, progress_bars(quiet) as progress:
            store = features.build(self, chosen, jobs=workers, fresh=fresh, progress=progress)
        features.warn_incomplete(store.notes)
        features.warn_skipped(store.skipped)
        return store.array[store.usable], (self.targets if self.multi_label else self.labels)[store.usable]

    def save_spectrograms(
        self,
        folder: str | os.PathLike[str],
        representation: str | dict[str, Any] | Representation = "image",
        *,
        colours: str | None = None,
        axes: bool = False,
        jobs: int | None = None,
        cluster: Any = None,
        quiet: bool = False,
    ) -> SavedImages:
        """Write a PNG of every clip, in one folder per class; images from an earlier, identical call are kept.

        Args:
            folder: output folder, which will contain one folder per class.
            representation: name, settings or object of the representation.
            colours: a Matplotlib colour map (default: plain grey images, the ones that features are computed from).
            axes: whether to draw axes in seconds and hertz.
            jobs: parallel processes (default: all cores).
            cluster: a Dask cluster for the work: the address of its scheduler, "local", or a ``distributed.Client``.
            quiet: no progress bar.

        Raises:
            OutputError: the folder cannot be written or contains other images.
            SettingsError: the representation or colour map is unknown.

        >>> city[:2].save_spectrograms(folder / "images", jobs=1, quiet=True)
        SavedImages(count=2, skipped=0, notes=0)
        """
        from soundmark.datasets import spectrogram_images
        from soundmark.runtime import parallel
        from soundmark.runtime.progress_bars import progress_bars
        from soundmark.spectrograms import representation_named

        chosen = representation_named(representation)
        with parallel.workers(cluster, jobs) as workers, progress_bars(quiet) as progress:
            return spectrogram_images.save_images(
                self,
                chosen,
                Path(check_path("the folder", folder)),
                colours=colours,
                axes=axes,
                jobs=workers,
                progress=progress,
            )


def with_background(dataset: Dataset, names: str | Sequence[str]) -> Dataset:
    """Mark labels of ``dataset`` as background, "none of these": trained as negatives, never reported as an event.

    By default these are the labels called background, noise, none or silence, in any case. In multi-label data a clip
    with such a label has no class, and the label is removed from the classes.

    Args:
        dataset: the data set.
        names: "auto", "none" for no background, or the label or labels that are background.

    Raises:
        SettingsError: a name is not one of the labels.

    >>> clips = (Clip(path=Path("a.wav"), label="dog"), Clip(path=Path("b.wav"), label="Noise"))
    >>> data = Dataset(name="pets", root=Path("."), classes=("dog", "Noise"), clips=clips)
    >>> [with_background(data, names).background for names in ("auto", "none", "dog")]
    [('Noise',), (), ('dog',)]
    """
    found: tuple[str, ...]
    if not isinstance(names, str):
        found = tuple(names) if isinstance(names, Iterable) else (names,)
    elif names == AUTOMATIC:
        found = tuple(name for name in dataset.classes if name.strip().casefold() in NEGATIVE_LABELS)
    else:
        found = () if names == NO_BACKGROUND else (names,)
    for name in found:
        if not isinstance(name, str) or name not in dataset.classes:
            raise unknown_name("label", name, dataset.classes, owner=dataset.name)
    if not dataset.multi_label or not found:
        return replace(dataset, background=found)
    clips = tuple(
        replace(clip, label=SEPARATOR.join(name for name in split_label(clip.label) if name not in found))
        if set(found) & set(split_label(clip.label))
        else clip
        for clip in dataset.clips
    )
    classes = tuple(name for name in dataset.classes if name not in found)
    return replace(dataset, background=found, classes=classes, clips=clips)


def split_label(label: str) -> tuple[str, ...]:
    """Split a multi-label label into its class names, without duplicates and surrounding blanks.

    >>> split_label("dog; siren;dog"), split_label(" ; ")
    (('dog', 'siren'), ())
    """
    return tuple(dict.fromkeys(name.strip() for name in label.split(SEPARATOR) if name.strip()))


def _positions(indices: ArrayLike, dataset: Dataset) -> NDArray[np.int64]:
    """Convert indices (negative ones count from the end) or a mask [n] to clip indices 0 to n − 1, int64 [k]."""
    n = len(dataset.clips)
    array = np.asarray(indices)
    if np.issubdtype(array.dtype, np.integer):
        array = np.atleast_1d(array)
    if array.ndim == 1 and array.dtype == bool:
        if len(array) != n:
            raise ClipIndexError(
                f"the mask has {len(array)} values but {dataset.name} has {n} clips: give one value per clip."
            )
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ClipIndexError(
            f"{shortened(repr(indices))} is not a valid clip index: expected a whole number, a slice, a list of whole "
            "numbers or a boolean mask."
        )
    outside = array[(array < -n) | (array >= n)]
    if outside.size:
        raise ClipIndexError(
            f"clip index {outside[0]} is out of range: {dataset.name} has {n} clips{f' (0 to {n - 1})' if n else ''}."
        )
    return array.astype(np.int64) % max(n, 1)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array

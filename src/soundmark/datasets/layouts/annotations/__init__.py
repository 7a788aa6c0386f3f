"""Annotated recordings: sections of sound files with labels, in the formats of the programs that people annotate with.

    label file or table ─ one module per format ─▶ Annotations ─ recordings ─▶ Clips (─ background)

A label file belongs to the sound file of the same name beside it; a table names its sound files. A folder with either
is one data set. In reading order:

    annotation  Annotation: labels of a section of a sound file; reading label files
    columns     CSV, TSV and JSON lines with the usual column names: DCASE, FSD50K, BirdCLEF, audiofolder, …
    one_hot     tables with a column of 0 and 1 for each class, of OpenSoundscape
    raven       selection tables of Raven
    audacity    label files of Audacity
    audioset    segment lists of AudioSet
    aoef        JSON of Whombat
    recordings  find the sound files that annotations name
    background  the rest of completely annotated recordings

To support another format, add a module here and its name to ``FORMATS``. It defines ``matches(text)`` and
``read(text)``.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Protocol, cast

from soundmark.audio.folders import in_class_folders, walk
from soundmark.datasets.dataset import BACKGROUND, SEPARATOR, Clip, Dataset, Skipped, relative, typical_length_s
from soundmark.datasets.layouts.annotations.annotation import (
    Annotation,
    LabelFile,
    read_head,
    read_label_file,
    too_large,
)
from soundmark.datasets.layouts.annotations.background import background_clips
from soundmark.datasets.layouts.annotations.recordings import Recordings, is_sound, sound_beside
from soundmark.errors import DatasetError, unknown_name
from soundmark.runtime.text import counted, listed, shortened

KIND = "a set of annotated recordings"


OPTIONS = ("classes", "complete")


FORMATS = (
    "raven",
    "aoef",
    "audioset",
    "columns",
    "one_hot",
    "audacity",
)  # tried in this order, the most specific first


SUFFIXES = (".txt", ".tsv", ".csv", ".json", ".jsonl")


class Format(Protocol):
    """The interface of a format module."""

    matches: Callable[[LabelFile], bool]
    read: Callable[[LabelFile], Iterable[Annotation]]


def find(path: Path) -> Path | None:
    """Return ``path`` if it is a label file or a table of a known format, or a folder with such files; else None.

    >>> find(Path(__file__)) is None
    True
    """
    if path.is_file():
        return path if path.suffix.lower() in SUFFIXES and recognised(path) else None
    return path if path.is_dir() and _label_files(path) else None


def load(location: Path, *, classes: Sequence[str] | None = None, complete: bool = False) -> Dataset:
    r"""Load the annotated sections, ordered by file and time; classes by name, unless ``classes`` is given.

    Sections of one file belong to one recording, the file. A section with several labels makes the data multi-label.
    A section that is annotated as without any class becomes a clip of the class "background" (of no class, in
    multi-label data).
    With ``complete``, everything of interest is annotated: sections of the rest become clips of the class
    "background" (of no class, in multi-label data).

    Raises:
        DatasetError: a label file is invalid, or none of the sound files exists.

    >>> import tempfile
    >>> from soundmark import audio
    >>> root = Path(tempfile.mkdtemp())
    >>> audio.write(root / "dawn.wav", [0.1] * 80_000, 8000)
    >>> _ = (root / "dawn.txt").write_text("1.0\t2.5\twren\n4.0\t5.0\trobin\n")
    >>> [(clip.path.name, clip.start_s, clip.stop_s, clip.label) for clip in load(root)]
    [('dawn.wav', 1.0, 2.5, 'wren'), ('dawn.wav', 4.0, 5.0, 'robin')]
    """
    root = location if location.is_dir() else location.parent
    files = _label_files(location) if location.is_dir() else [location]
    recordings = Recordings(root)
    found, label_sets, skipped = _clips_of(files, recordings)
    several = any(len(labels) > 1 for labels in label_sets)
    names = sorted({name for labels in label_sets for name in labels}, key=lambda name: (name.casefold(), name))
    if classes is not None and (unknown := [name for name in names if name not in classes]):
        raise DatasetError(f'"{location}": {unknown_name("class", unknown[0], classes)}')
    if several and (joint := [name for name in names if SEPARATOR in name]):
        raise DatasetError(
            f'"{location}": the class "{shortened(joint[0])}" contains a semicolon, which separates classes in '
            "multi-label data. Rename it."
        )
    known = list(names if classes is None else classes)
    if not several and () in label_sets:
        found = [clip if clip.label else replace(clip, label=BACKGROUND) for clip in found]
        known += [] if BACKGROUND in known else [BACKGROUND]
    if complete:
        all_looked_through = location.is_dir() and all(sound_beside(file) is not None for file in files)
        empty = recordings.all() if all_looked_through else []  # a table may leave out recordings
        found += background_clips(found, empty, label="" if several else BACKGROUND)
        known += [] if several or BACKGROUND in known else [BACKGROUND]
    found.sort(key=lambda clip: (clip.path, clip.start_s, clip.stop_s or 0.0))
    return Dataset(
        name=location.resolve().stem,
        root=root,
        classes=tuple(known),
        clips=tuple(found),
        multi_label=several,
        skipped=tuple(skipped),
        window_s=typical_length_s(found),
    )


def recognised(path: Path) -> tuple[Format, LabelFile] | None:
    """Return a label file and its format; None if it has none of ``FORMATS``.

    Raises:
        DatasetError: it is of a known format, and too large.

    >>> recognised(Path(__file__)) is None
    True
    """
    text = read_label_file(path)
    if text is None:
        head = read_head(path)
        if head is not None and any(each.matches(head) for each in _formats()):
            raise too_large(path)
        return None
    return next(((each, text) for each in _formats() if each.matches(text)), None)


def _formats() -> Iterable[Format]:
    for name in FORMATS:
        yield cast(Format, importlib.import_module(f"{__name__}.{name}"))


def _label_files(folder: Path) -> list[Path]:
    """Return the label files of a folder: those beside sound files, else its table; none if it has neither.

    Raises:
        DatasetError: it has several tables.
    """
    entries = [folder.joinpath(*entry.parts) for entry in walk(str(folder)) if not entry.is_folder]
    sounds = [path for path in entries if is_sound(path)]
    texts = [path for path in entries if path.suffix.lower() in SUFFIXES]
    if not sounds or not texts:
        return []
    near = [path for path in texts if len(path.relative_to(folder).parts) <= 2]
    if found := [path for path in near if path.stem == "metadata" and recognised(path)]:
        return found
    if found := [path for path in texts if sound_beside(path) is not None and recognised(path)]:
        return found
    if in_class_folders(path.relative_to(folder).parts for path in sounds):
        return []
    recordings = Recordings(folder)
    found = [path for path in near if _names_sounds(path, recordings)]
    if len(found) > 1:
        names = listed([f'"{relative(path, folder)}"' for path in found])
        raise DatasetError(f'"{folder}" has several tables of annotations: {names}. Give the path of one of them.')
    return found


def _names_sounds(path: Path, recordings: Recordings) -> bool:
    """Return whether a table is of a known format and its first rows name some of the ``recordings``."""
    found = recognised(path)
    if found is None:
        return False
    known, text = found
    named = [annotation.file for annotation in islice(known.read(text), 20) if annotation.file is not None]
    return any(recordings.find(name) is not None for name in named)


_Section = tuple[Path, float, float | None]


def _clips_of(
    files: Sequence[Path], recordings: Recordings
) -> tuple[list[Clip], Collection[tuple[str, ...]], list[Skipped]]:
    """Return the clips, the sets of labels that they have, and the annotations that cannot be used, with the reason."""
    sections: dict[_Section, tuple[str | None, int | None, tuple[str, ...]]] = {}  # source, fold and labels
    skipped: list[Skipped] = []
    for file in files:
        found = recognised(file)
        if found is None:
            raise DatasetError(f'"{file}" is not a label file of a known format.')
        known, text = found
        beside = sound_beside(file)
        for annotation in known.read(text):
            path = recordings.find(annotation.file) if annotation.file is not None else beside
            where = f'"{file.name}", row {annotation.row}'
            if path is None:
                name = annotation.file or file.stem
                skipped.append(Skipped(name, f"{where}: the sound file does not exist"))
                continue
            reason, stop_s = recordings.fitted(path, annotation)
            if reason:
                skipped.append(Skipped(relative(path, recordings.root), f"{where}: {reason}"))
                continue
            key = (path, annotation.start_s, stop_s)
            source, fold, labels = sections.get(key, (annotation.source, annotation.fold, ()))
            sections[key] = source, fold, (*labels, *annotation.labels)
    if not sections:
        raise DatasetError(_nothing_usable(files, skipped))
    texts: dict[tuple[str, ...], str] = {}  # of each set of labels, kept once
    clips = []
    while sections:
        key, (source, fold, labels) = sections.popitem()
        labels = tuple(sorted(set(labels)))
        clips.append(_clip(key, texts.setdefault(labels, SEPARATOR.join(labels)), source, fold, recordings.root))
    return clips[::-1], texts, skipped


def _clip(section: _Section, label: str, source: str | None, fold: int | None, root: Path) -> Clip:
    path, start_s, stop_s = section
    is_slice = start_s > 0 or stop_s is not None
    source = source or (relative(path, root) if is_slice else None)
    return Clip(path=path, label=label, start_s=start_s, stop_s=stop_s, fold=fold, source=source)


def _nothing_usable(files: Sequence[Path], skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return f'"{files[0] if files else "the folder"}" contains no annotations.'
    reasons = Counter(item.reason.split(": ", 1)[-1] for item in skipped)
    reason, n = reasons.most_common(1)[0]
    return (
        f'none of the {counted(len(skipped), "annotation")} in "{files[0]}" can be used; {n} times: {reason} '
        f'("{skipped[0].path}"). Put the table or label files beside the sound files, or correct the names in them.'
    )

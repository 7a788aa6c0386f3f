"""Join data sets, such as one to train on and the corrections of its model."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from soundmark.datasets.clip import length_s
from soundmark.datasets.dataset import SEPARATOR, Clip, Dataset
from soundmark.datasets.layouts import corrections
from soundmark.datasets.layouts.corrections import Correction
from soundmark.errors import AudioError, DatasetError
from soundmark.runtime.text import counted

log = logging.getLogger("soundmark")

COVERED = 0.5  # of a clip: a correction of at least this share replaces it


_Clips = dict[tuple[object, ...], tuple[Dataset, Clip]]  # by file and section, with the data set that they are from


def joined(datasets: Sequence[Dataset]) -> Dataset:
    """Return the clips of several data sets as one; name, root, window and order of classes are those of the first.

    Recordings of different data sets are different recordings, whatever their names. Corrections are the exception: a
    correction of a file that another data set has belongs to the recording and fold of that clip, so that no split
    divides them, and it replaces the clip if it covers at least half of it. A clip that occurs again is used once.

    Raises:
        DatasetError: there are no data sets, or one is multi-label and a class of another contains a semicolon.

    >>> from dataclasses import replace
    >>> both = joined([city, replace(city.select([0]), name="more")])
    >>> both.name, len(both)
    ('synthetic city + more', 60)
    """
    if not datasets:
        raise DatasetError("there is no data set: give at least one.")
    if len(datasets) == 1:
        return datasets[0]
    several = any(data.multi_label for data in datasets)
    for name in [name for data in datasets for name in data.classes if several and SEPARATOR in name]:
        raise DatasetError(f'the class "{name}" contains a semicolon, which separates classes in multi-label data.')
    clips: _Clips = {}
    skipped = [item for data in datasets if not data.is_partial for item in data.skipped]
    names = _distinct([data.name for data in datasets])
    name_of_all = " + ".join(names)
    for number, (data, name) in enumerate(zip(datasets, names, strict=True)):
        for clip in data.clips:
            key = (clip.path.resolve(), clip.start_s, clip.stop_s)
            if key not in clips:
                clips[key] = data, clip if number == 0 or _is_corrections(data) else _apart(clip, name)
    n_different = len(clips)
    for data in datasets:
        if _is_corrections(data):
            _apply(data, clips)
    if repeated := sum(map(len, datasets)) - n_different:
        log.warning("%s: %s in more than one data set, used once.", name_of_all, counted(repeated, "clip"))
    if replaced := n_different - len(clips):
        log.warning("%s: corrections replace %s.", name_of_all, counted(replaced, "clip"))
    first = datasets[0]
    return replace(
        first,
        name=name_of_all,
        classes=tuple(dict.fromkeys(name for data in datasets for name in data.classes)),
        clips=tuple(clip for _, clip in clips.values()),
        multi_label=several,
        skipped=tuple(skipped),
        complete_size=None,
    )


def _distinct(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return found


def _apart(clip: Clip, name: str) -> Clip:
    return clip if clip.source is None else replace(clip, source=f"{name}/{clip.source}")


def _is_corrections(data: Dataset) -> bool:
    return corrections.find(data.root) is not None


def _apply(data: Dataset, clips: _Clips) -> None:
    """Give corrections the recording and fold of the clips that they are about; remove those that they replace."""
    found = corrections.read(data.root / corrections.TABLE).corrections.values()
    rows = {(data.root / each.path).resolve(): each for each in found if each.path}
    about = _clips_about({each.source for each in rows.values()}, data, clips)
    for key, (owner, clip) in list(clips.items()):
        row = rows.get(clip.path.resolve()) if owner is data else None
        if row is None:
            continue
        for target, (other, replaced) in about.get(row.source, {}).items():
            source = replaced.source or other.relative_path(replaced)
            clips[key] = owner, replace(clip, source=source, fold=replaced.fold)
            if target in clips and _covers(row, replaced):
                del clips[target]


def _clips_about(sources: set[str], data: Dataset, clips: _Clips) -> dict[str, _Clips]:
    """Return the clips of other data sets by the name that corrections give to their recording, for ``sources``."""
    files = {source.rpartition(" ")[0] for source in sources}
    found: dict[str, _Clips] = {}
    names: dict[Path, str] = {}
    for key, (owner, clip) in clips.items():
        if owner is not data and clip.path.name in files:
            with suppress(AudioError):  # reported when it is read
                if clip.path not in names:
                    names[clip.path] = corrections.source_name(clip.path)
                found.setdefault(names[clip.path], {})[key] = owner, clip
    return found


def _covers(row: Correction, clip: Clip) -> bool:
    """Return whether a correction covers at least half of a clip."""
    duration_s = length_s(clip)
    if not duration_s:
        return False
    start_s, stop_s = max(row.source_start_s, clip.start_s), min(row.source_end_s, clip.start_s + duration_s)
    return stop_s - start_s >= COVERED * duration_s

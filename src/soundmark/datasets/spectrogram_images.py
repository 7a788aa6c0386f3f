"""A data set and a representation to PNGs, a folder per class, as the notebook has them; or coloured, with axes.

The plain grey picture of ``image`` is the very one that its features are read back from: see ``read``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundmark import audio
from soundmark.datasets.dataset import Clip, Dataset, Skipped
from soundmark.errors import AudioError, OutputError
from soundmark.runtime import atomic, locks, parallel
from soundmark.runtime.progress import Progress, no_progress
from soundmark.spectrograms import Image, Representation
from soundmark.spectrograms.drawing import check_colour_map, draw, save_pixels

CHUNK = 16  # clips that one worker takes at a time


ABOUT = "spectrograms.json"  # what the pictures of a folder are of; its being there tells that a run began


@dataclass(frozen=True, kw_only=True, repr=False)
class SavedImages:
    """The number of pictures in the folder, the clips that could not be drawn, and notes on clips that were cut off."""

    count: int
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SavedImages(count={self.count}, skipped={len(self.skipped)}, notes={len(self.notes)})"


@dataclass(frozen=True)
class _Task:
    clips: tuple[tuple[Clip, Path], ...]
    representation: Representation
    colours: str | None
    axes: bool


def save_images(
    dataset: Dataset,
    representation: Representation,
    folder: Path,
    *,
    colours: str | None = None,
    axes: bool = False,
    jobs: int | None = None,
    progress: Progress = no_progress,
) -> SavedImages:
    """A PNG of every clip at ``folder/<class>/<name>.png``; those that an earlier, equal call wrote are kept.

    Where a setting, or the time or size of any file, is another than then, all are drawn again.

    Raises:
        OutputError: the folder cannot be written, is written to by another process, or holds the pictures of another
            data set or of somebody else.
        SettingsError: there is no colour map of that name.

    >>> save_images(city.select([0]), Image(), folder / "pictures", jobs=1).count
    1
    >>> [path.parent.name for path in (folder / "pictures").rglob("*.png")]
    ['air_conditioner']
    """
    if colours is not None:
        check_colour_map(colours)
    places = [(clip, folder / name) for clip, name in zip(dataset.clips, image_names(dataset), strict=True)]
    about = {
        "dataset": [str(dataset.root.resolve()), dataset.name],
        "drawn": [representation.settings(), colours, axes],
        "clips": _stamp(places),
    }
    with locks.exclusive(folder):
        _begin(folder, about, [path for _, path in places])
        todo = [place for place in places if not _is_drawn(place[1])]
        tasks = [_Task(tuple(todo[i : i + CHUNK]), representation, colours, axes) for i in range(0, len(todo), CHUNK)]
        drawn: dict[int, _ChunkResult] = {}
        done = len(places) - len(todo)
        for index, chunk in parallel.map_unordered(_draw_chunk, tasks, jobs=jobs):
            drawn[index] = chunk
            done += len(tasks[index].clips)
            progress("pictures", done, len(places), "clips")
    chunks = [drawn[index] for index in sorted(drawn)]
    skipped = tuple(Skipped(dataset.relative_path(clip), why) for chunk in chunks for clip, why in chunk.failures)
    notes = tuple(note for chunk in chunks for note in chunk.notes)
    return SavedImages(count=len(places) - len(skipped), skipped=skipped, notes=notes)


def read_image(path: str | os.PathLike[str], representation: Image) -> np.ndarray:
    """A grey picture of ``write``'s, as the notebook reads it: float32 ``[freq, time]``, bit for bit the features.

    >>> from soundmark.datasets import features
    >>> _ = save_images(city.select([0]), Image(), folder, jobs=1)
    >>> path = next(folder.rglob("*.png"))
    >>> bool((read_image(path, Image()) == features.spectrogram(city.clips[0], Image())).all())
    True
    """
    from PIL import Image as Pillow

    with Pillow.open(path) as picture:
        return representation.from_pixels(np.asarray(picture))


def image_names(dataset: Dataset) -> list[Path]:
    """Where each clip's picture stands: ``<class>/<file name>.png``, with a number where two would be one.

    Labels come from outside: whatever is no letter, digit, space, dot, hyphen or underscore becomes an underscore. In
    multi-label data there is a folder for each set of classes, "dog_siren", and "none" for clips without one.

    >>> from dataclasses import replace
    >>> strange = replace(city.clips[0], path=Path("a.wav"), label="../etc")
    >>> twice = Dataset(name="x", root=Path("."), classes=("../etc",), clips=(strange, strange))
    >>> [name.as_posix() for name in image_names(twice)]
    ['_etc/a.png', '_etc/a_2.png']
    """
    taken: set[str] = set()
    result = []
    for clip in dataset.clips:
        cut = f"_{clip.start_s:g}" if clip.start_s else ""
        first = place = Path(_safe(clip.label or "none"), f"{_safe(clip.path.stem + cut)}.png")
        number = 1
        while (key := place.as_posix().casefold()) in taken:  # on some systems "A.png" is "a.png"
            number += 1
            place = first.with_name(f"{first.stem}_{number}.png")
        taken.add(key)
        result.append(place)
    return result


def _safe(name: str) -> str:
    return re.sub(r"[^\w .-]", "_", name).strip(" .") or "_"


def _stamp(places: Sequence[tuple[Clip, Path]]) -> str:
    """A digest of which files the pictures are of, as they are now, and of where each picture stands."""
    digest = hashlib.sha256()
    for clip, place in places:
        try:
            found = clip.path.stat()
            file = (str(clip.path), found.st_size, found.st_mtime_ns)
        except OSError:
            file = (str(clip.path), -1, -1)  # it went since the data set was opened: reading it will say so
        digest.update(repr((file, clip.start_s, clip.stop_s, place.parts[-2:])).encode(errors="surrogatepass"))
    return digest.hexdigest()


def _is_drawn(path: Path) -> bool:
    """Whether a picture is drawn; a power cut may have left its name and nothing in it."""
    return path.exists() and path.stat().st_size > 0


def _begin(folder: Path, about: dict[str, Any], paths: Sequence[Path]) -> None:
    """Make ``folder`` one for pictures as ``about`` has them: what an unlike call drew there is removed first."""
    there = _about(folder)
    if there.get("dataset", about["dataset"]) != about["dataset"]:
        root, name = there["dataset"]
        raise OutputError(
            f'"{folder}" holds the pictures of another data set, {name} in "{root}". Choose an empty folder.'
        )
    if not there and (foreign := next((path for path in paths if path.exists()), None)):
        raise OutputError(f'"{foreign}" is there already, and soundmark did not write it. Choose an empty folder.')
    for parent in sorted({path.parent for path in paths} | {folder}):
        atomic.remove_partial_files(atomic.make_folder(parent))
    if there != about:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise atomic.cannot_write(path, error) from error
        atomic.write_text(folder / ABOUT, json.dumps(about) + "\n")  # after it, whatever is there is of this call


def _about(folder: Path) -> dict[str, Any]:
    """What the pictures in ``folder`` are of, as JSON has it; empty where that is not told."""
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class _ChunkResult:
    """The clips of a chunk that there is no picture of, with the reason, and what to say of others."""

    failures: list[tuple[Clip, str]]
    notes: list[str]


def _draw_chunk(task: _Task) -> _ChunkResult:
    """Draw the pictures of a chunk."""
    drawn = _ChunkResult([], [])
    for clip, path in task.clips:
        try:
            sound = audio.read(clip.path, start_s=clip.start_s, stop_s=clip.stop_s)
            audio.check_samples(sound.samples, f'"{clip.path}"')
            with atomic.replacing(path, durable=False) as temporary:  # a wait a picture is too much for thousands
                _draw_one(task, clip, sound, temporary)
        except AudioError as error:
            drawn.failures.append((clip, str(error)))
        else:
            if sound.note:
                drawn.notes.append(audio.incomplete_note(str(clip.path), sound.note))
    return drawn


def _draw_one(task: _Task, clip: Clip, sound: audio.Sound, path: Path) -> None:
    if not (task.axes or task.colours):
        save_pixels(_grey(task.representation, sound), path)
        return
    picture = task.representation.picture(sound.samples, sound.rate_hz)
    title = f"{clip.label}: {clip.path.name}"
    draw(picture, path, colours=task.colours or "magma", axes=task.axes, title=title)


def _grey(representation: Representation, sound: audio.Sound) -> np.ndarray:
    if isinstance(representation, Image):
        return representation.png_pixels(sound.samples, sound.rate_hz)
    return 255 - representation.picture(sound.samples, sound.rate_hz).image  # loud is dark, as in the notebook's

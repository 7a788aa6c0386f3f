"""Spectrogram images of a data set: one PNG per clip in one folder per class, as in the notebook.

Images are plain and grey, or optionally coloured and with axes. A plain image of the representation ``image`` contains
exactly the clip's features: ``read_image`` reads them back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from soundmark import audio
from soundmark.datasets.dataset import Clip, Dataset, Skipped
from soundmark.errors import AudioError, OutputError, SettingsError, processing
from soundmark.runtime import atomic, output_folder, parallel
from soundmark.runtime.checks import parse_json
from soundmark.runtime.output_folder import OutputFolder
from soundmark.runtime.parallel import same_files
from soundmark.runtime.parallel.same_files import Found
from soundmark.runtime.progress import Progress, no_progress
from soundmark.spectrograms import Image, Representation, Waveform
from soundmark.spectrograms.drawing import check_colour_map, draw, save_pixels

CHUNK = 16  # clips per task of a worker


MAX_NAME_BYTES = 200  # of a folder or image, without suffixes: file systems allow at most 255


_one_at_a_time = threading.Lock()


METADATA = "spectrograms.json"  # data set and settings of the images in a folder; written when a run starts


@dataclass(frozen=True, kw_only=True, repr=False)
class SavedImages:
    """The number of images in the folder, the clips that were skipped, and notes on truncated files."""

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
    current: Path = field(default_factory=Path.cwd)  # the folder that relative paths begin at


def save_images(
    dataset: Dataset,
    representation: Representation,
    folder: Path,
    *,
    colours: str | None = None,
    axes: bool = False,
    jobs: parallel.Jobs = None,
    progress: Progress = no_progress,
) -> SavedImages:
    """Write a PNG of every clip to ``folder/<class>/<name>.png``; images from an earlier, identical call are kept.

    If a setting or the modification time or size of any file has changed, all images are drawn again.

    Raises:
        OutputError: the folder cannot be written, is in use by another process, or contains images of another data set
            or of another program.
        SettingsError: the colour map is unknown, or the representation is a waveform.

    >>> save_images(city.select([0]), Image(), folder / "images", jobs=1).count
    1
    >>> [path.parent.name for path in (folder / "images").rglob("*.png")]
    ['air_conditioner']
    """
    if colours is not None:
        check_colour_map(colours)
    if isinstance(representation, Waveform):
        raise SettingsError(
            "a waveform has no frequencies to draw: choose another representation, such as image, mel or logmel."
        )
    outputs = [(clip, folder / name) for clip, name in zip(dataset.clips, image_names(dataset), strict=True)]
    metadata = {
        "dataset": [str(dataset.root.resolve()), dataset.name],
        "drawn": [representation.settings(), colours, bool(axes)],
        "clips": _digest(outputs),
    }
    with output_folder.opened(folder, recognised=_is_of_earlier_version, remedy="Choose an empty folder.") as output:
        _prepare(output, metadata, [path for _, path in outputs])
        todo = [one for one in outputs if not _is_drawn(one[1])]
        tasks = [_Task(tuple(todo[i : i + CHUNK]), representation, colours, axes) for i in range(0, len(todo), CHUNK)]
        drawn: dict[int, _ChunkResult] = {}
        done = len(outputs) - len(todo)
        draw_chunk = _draw_remotely if isinstance(jobs, Executor) else _draw_chunk
        for index, chunk in parallel.map_unordered(draw_chunk, tasks, jobs=jobs):
            drawn[index] = _written(tasks[index], chunk)
            output.add(*(path.relative_to(folder).as_posix() for _, path in tasks[index].clips))
            done += len(tasks[index].clips)
            progress("images", done, len(outputs), "clips")
    chunks = [drawn[index] for index in sorted(drawn)]
    skipped = tuple(Skipped(dataset.relative_path(clip), reason) for chunk in chunks for clip, reason in chunk.failures)
    notes = tuple(note for chunk in chunks for note in chunk.notes)
    return SavedImages(count=len(outputs) - len(skipped), skipped=skipped, notes=notes)


def read_image(path: str | os.PathLike[str], representation: Image) -> np.ndarray:
    """Read a grey image written by ``save_images``: float32 ``[freq, time]``, bit for bit equal to the features.

    >>> from soundmark.datasets import features
    >>> _ = save_images(city.select([0]), Image(), folder, jobs=1)
    >>> path = next(folder.rglob("*.png"))
    >>> bool((read_image(path, Image()) == features.spectrogram(city.clips[0], Image())).all())
    True
    """
    from PIL import Image as Pillow

    with Pillow.open(path) as image:
        return representation.from_pixels(np.asarray(image))


def image_names(dataset: Dataset) -> list[Path]:
    """Return the path of each clip's image, ``<class>/<file name>.png``, with a number appended to avoid duplicates.

    Labels are untrusted input: every character other than letters, digits, space, dot, hyphen and underscore is
    replaced by an underscore, and a name of more than ``MAX_NAME_BYTES`` is shortened. In multi-label data there is one
    folder per set of classes, "dog_siren", and "none" for clips without a class.

    >>> from dataclasses import replace
    >>> unsafe = replace(city.clips[0], path=Path("a.wav"), label="../etc")
    >>> data = Dataset(name="x", root=Path("."), classes=("../etc",), clips=(unsafe, unsafe))
    >>> [name.as_posix() for name in image_names(data)]
    ['_etc/a.png', '_etc/a_2.png']
    """
    used: set[str] = set()
    result = []
    for clip in dataset.clips:
        start = f"_{clip.start_s:g}" if clip.start_s else ""
        first = path = Path(_safe(clip.label or "none"), f"{_safe(clip.path.stem + start)}.png")
        number = 1
        while (key := path.as_posix().casefold()) in used:  # case-insensitive file systems: "A.png" equals "a.png"
            number += 1
            path = first.with_name(f"{first.stem}_{number}.png")
        used.add(key)
        result.append(path)
    return result


def _safe(name: str) -> str:
    safe = re.sub(r"[^\w .-]", "_", name).strip(" .") or "_"
    if len(safe.encode(errors="replace")) <= MAX_NAME_BYTES:
        return safe
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{safe.encode(errors='replace')[: MAX_NAME_BYTES - 9].decode(errors='ignore')}-{digest}"


def _digest(outputs: Sequence[tuple[Clip, Path]]) -> str:
    """Return a hash of the paths, sizes and modification times of the sound files and of the image paths."""
    digest = hashlib.sha256()
    for clip, path in outputs:
        try:
            found = clip.path.stat()
            file = (str(clip.path), found.st_size, found.st_mtime_ns)
        except OSError:
            file = (str(clip.path), -1, -1)  # deleted after the data set was opened; reported when the clip is read
        digest.update(repr((file, clip.start_s, clip.stop_s, path.parts[-2:])).encode(errors="surrogatepass"))
    return digest.hexdigest()


def _is_drawn(path: Path) -> bool:
    """Return whether an image exists and is not empty (a power failure can leave an empty file)."""
    return path.exists() and path.stat().st_size > 0


def _prepare(output: OutputFolder, metadata: dict[str, Any], paths: Sequence[Path]) -> None:
    """Create the folders and write ``metadata``; first remove images of an earlier call with other settings."""
    folder = output.folder
    existing = _read_metadata(folder)
    if existing.get("dataset", metadata["dataset"]) != metadata["dataset"]:
        root, name = existing["dataset"]
        raise OutputError(
            f'"{folder}" contains the spectrogram images of another data set, {name} in "{root}". Choose an empty '
            "folder."
        )
    names = [path.relative_to(folder).as_posix() for path in paths]
    output.check(METADATA, *names)
    for parent in sorted({path.parent for path in paths}):
        atomic.make_folder(parent)
    is_same = existing == metadata
    output.clear(name for name, path in zip(names, paths, strict=True) if not (is_same and _is_drawn(path)))
    if not is_same:
        atomic.write_text(folder / METADATA, json.dumps(metadata) + "\n")  # from now on all images are of this call


def _is_of_earlier_version(path: Path) -> bool:
    """Whether ``path`` is a file of a version up to 0.1: the metadata, or an image in a folder with metadata."""
    if path.name == METADATA:
        return _read_metadata(path.parent).keys() == {"dataset", "drawn", "clips"}
    with path.open("rb") as file:
        return file.read(4) == b"\x89PNG" and _is_of_earlier_version(path.parent.parent / METADATA)


def _read_metadata(folder: Path) -> dict[str, Any]:
    """Return the metadata of the images in ``folder``; empty if missing or unreadable."""
    try:
        found = parse_json((folder / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class _ChunkResult:
    """The clips of a chunk that could not be drawn, with the reason, and notes on truncated files."""

    failures: list[tuple[Clip, str]]
    notes: list[str]
    contents: list[bytes | None] = field(default_factory=list)  # of the images, if the calling process writes them
    found: Found | None = None  # the files that a worker of an executor found


def _draw_chunk(task: _Task) -> _ChunkResult:
    """Draw the images of a chunk."""
    result = _ChunkResult([], [])
    for clip, path in task.clips:
        try:
            with processing(f'"{clip.path}"'):
                sound = audio.read(clip.path, start_s=clip.start_s, stop_s=clip.stop_s)
                audio.check_samples(sound.samples, f'"{clip.path}"')
                with atomic.replacing(path, durable=False) as temporary:  # syncing thousands of images would be slow
                    _draw_one(task, clip, sound, temporary)
        except AudioError as error:
            result.failures.append((clip, str(error)))
        else:
            if sound.note:
                result.notes.append(audio.incomplete_note(str(clip.path), sound.note))
    return result


def _draw_remotely(task: _Task) -> _ChunkResult:
    """Draw the images of a chunk on a machine that may have no access to the folder; return their content."""
    with tempfile.TemporaryDirectory() as folder, _one_at_a_time:  # Matplotlib is not made for threads
        images = [Path(folder) / f"{number}.png" for number in range(len(task.clips))]
        sounds = [replace(clip, path=task.current / clip.path) for clip, _ in task.clips]
        result = _draw_chunk(replace(task, clips=tuple(zip(sounds, images, strict=True))))
        contents = [path.read_bytes() if path.exists() else None for path in images]
    return replace(result, contents=contents, found=same_files.find(sound.path for sound in sounds))


def _written(task: _Task, chunk: _ChunkResult) -> _ChunkResult:
    """Write the images that a worker of an executor drew; return its result with the paths as they were given."""
    if chunk.found is None:
        return chunk
    clips = [clip for clip, _ in task.clips]
    same_files.check([clip.path for clip in clips], chunk.found)
    for (_, path), content in zip(task.clips, chunk.contents, strict=True):
        if content is not None:
            with atomic.replacing(path, durable=False) as temporary:
                temporary.write_bytes(content)
    given = {str(task.current / clip.path): clip for clip in clips}
    failures = [(given[str(clip.path)], reason) for clip, reason in chunk.failures]
    notes = chunk.notes
    for clip in clips:
        failures = [(one, same_files.as_given(reason, clip.path)) for one, reason in failures]
        notes = [same_files.as_given(note, clip.path) for note in notes]
    return replace(chunk, failures=failures, notes=notes)


def _draw_one(task: _Task, clip: Clip, sound: audio.Sound, path: Path) -> None:
    if not (task.axes or task.colours):
        save_pixels(_grey(task.representation, sound), path)
        return
    spectrogram = task.representation.render(sound.samples, sound.rate_hz)
    title = f"{clip.label}: {clip.path.name}"
    draw(spectrogram, path, colours=task.colours or "magma", axes=task.axes, title=title)


def _grey(representation: Representation, sound: audio.Sound) -> np.ndarray:
    if isinstance(representation, Image):
        return representation.png_pixels(sound.samples, sound.rate_hz)
    return 255 - representation.render(sound.samples, sound.rate_hz).pixels  # loud is dark, as in the notebook

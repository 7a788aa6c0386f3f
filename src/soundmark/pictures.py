"""A data set and a representation to PNGs, a folder per class, as the notebook has them; or coloured, with axes.

The plain grey picture of ``image`` is the very one that its features are read back from: see ``read``.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundmark import atomic, audio, workers
from soundmark.datasets import Clip, Dataset, Skipped
from soundmark.errors import AudioError, unknown_name
from soundmark.spectrograms import Image, Picture, Representation
from soundmark.workers import Progress

CHUNK = 16  # clips that one worker takes at a time
ABOUT = "spectrograms.json"  # what the pictures of a folder are of; its being there tells that a run began


@dataclass(frozen=True, kw_only=True)
class Written:
    """How many pictures are there now, and of which clips there is none."""

    count: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class _Task:
    clips: tuple[tuple[Clip, Path], ...]
    representation: Representation
    colours: str | None
    axes: bool


def write(
    dataset: Dataset,
    representation: Representation,
    folder: Path,
    *,
    colours: str | None = None,
    axes: bool = False,
    jobs: int | None = None,
    progress: Progress = workers.silent,
) -> Written:
    """A PNG of every clip at ``folder/<class>/<name>.png``; those that an earlier, equal call wrote are kept.

    Raises:
        OutputError: the folder cannot be written.
        SettingsError: there is no colour map of that name.

    >>> write(city.select([0]), Image(), folder / "pictures", jobs=1).count
    1
    >>> [path.parent.name for path in (folder / "pictures").rglob("*.png")]
    ['air_conditioner']
    """
    if colours is not None:
        _check_colours(colours)
    about = [representation.settings(), dataset.fingerprint, colours, axes]
    keep = _begun(folder, about)
    places = [(clip, folder / name) for clip, name in zip(dataset.clips, names(dataset), strict=True)]
    for parent in sorted({path.parent for _, path in places}):
        atomic.make_folder(parent)
    atomic.write_text(folder / ABOUT, json.dumps(about) + "\n")
    todo = [place for place in places if not (keep and place[1].exists())]
    tasks = [_Task(tuple(todo[i : i + CHUNK]), representation, colours, axes) for i in range(0, len(todo), CHUNK)]
    failures: dict[int, list[tuple[Clip, str]]] = {}
    done = len(places) - len(todo)
    for index, failed in workers.each(_draw_chunk, tasks, jobs=jobs):
        failures[index] = failed
        done += len(tasks[index].clips)
        progress("pictures", done, len(places), "clips")
    skipped = [
        Skipped(dataset.relative_path(clip), reason) for index in sorted(failures) for clip, reason in failures[index]
    ]
    return Written(count=len(places) - len(skipped), skipped=tuple(skipped))


def read(path: str | os.PathLike[str], representation: Image) -> np.ndarray:
    """A grey picture of ``write``'s, as the notebook reads it: float32 ``[freq, time]``, bit for bit the features.

    >>> from soundmark import features
    >>> _ = write(city.select([0]), Image(), folder, jobs=1)
    >>> path = next(folder.rglob("*.png"))
    >>> bool((read(path, Image()) == features.spectrogram(city.clips[0], Image())).all())
    True
    """
    from PIL import Image as Pillow

    with Pillow.open(path) as picture:
        return representation.from_pixels(np.asarray(picture))


def names(dataset: Dataset) -> list[Path]:
    """Where each clip's picture stands: ``<class>/<file name>.png``, with a number where two would be one.

    Labels come from outside: whatever is no letter, digit, space, dot, hyphen or underscore becomes an underscore.

    >>> from dataclasses import replace
    >>> strange = replace(city.clips[0], path=Path("a.wav"), label="../etc")
    >>> twice = Dataset(name="x", root=Path("."), classes=("../etc",), clips=(strange, strange))
    >>> [name.as_posix() for name in names(twice)]
    ['_etc/a.png', '_etc/a_2.png']
    """
    given: Counter[Path] = Counter()
    result = []
    for clip in dataset.clips:
        cut = f"_{clip.start_s:g}" if clip.start_s else ""
        place = Path(_safe(clip.label), _safe(clip.path.stem + cut))
        given[place] += 1
        number = f"_{given[place]}" if given[place] > 1 else ""
        result.append(place.with_name(f"{place.name}{number}.png"))
    return result


def _safe(name: str) -> str:
    return re.sub(r"[^\w .-]", "_", name).strip(" .") or "_"


def _begun(folder: Path, about: list[Any]) -> bool:
    """Whether the pictures in ``folder`` are of the same clips, drawn the same way."""
    try:
        return bool(json.loads((folder / ABOUT).read_text(encoding="utf-8")) == json.loads(json.dumps(about)))
    except (OSError, ValueError):
        return False


def _draw_chunk(task: _Task) -> list[tuple[Clip, str]]:
    """Draw the pictures of a chunk; the clips that there is none of, with the reason."""
    failures = []
    for clip, path in task.clips:
        try:
            sound = audio.read(clip.path, start_s=clip.start_s, stop_s=clip.stop_s)
        except AudioError as error:
            failures.append((clip, str(error)))
            continue
        with atomic.whole(path) as temporary:
            if task.axes or task.colours:
                picture = task.representation.picture(sound.samples, sound.rate_hz)
                draw(
                    picture,
                    temporary,
                    colours=task.colours or "magma",
                    axes=task.axes,
                    title=f"{clip.label}: {clip.path.name}",
                )
            else:
                _save(_grey(task.representation, sound), temporary)
    return failures


def _grey(representation: Representation, sound: audio.Sound) -> np.ndarray:
    if isinstance(representation, Image):
        return representation.png_pixels(sound.samples, sound.rate_hz)
    return 255 - representation.picture(sound.samples, sound.rate_hz).image  # loud is dark, as in the notebook's


def _save(pixels: np.ndarray, path: Path) -> None:
    from PIL import Image as Pillow

    Pillow.fromarray(pixels).save(path, format="PNG")


def draw(picture: Picture, path: Path, *, colours: str, axes: bool, title: str = "") -> None:
    """One picture for people: in colour, and with axes in seconds and hertz where they are wanted.

    >>> picture = Image().picture(np.zeros(22050, np.float32), 22050)
    >>> draw(picture, folder / "silence.png", colours="magma", axes=True, title="silence")
    >>> (folder / "silence.png").read_bytes()[1:4]
    b'PNG'
    """
    import matplotlib

    if not axes:
        rgba = matplotlib.colormaps[colours](picture.image)
        _save((255 * rgba[..., :3]).round().astype(np.uint8), path)
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.add_subplot()
    height = len(picture.image)
    shown = panel.imshow(
        np.asarray(picture.image) / 255 * (picture.db_max - picture.db_min) + picture.db_min,
        cmap=colours,
        aspect="auto",
        extent=(0, picture.duration_s, height - 0.5, -0.5),
        interpolation="nearest",
    )
    ticks = [hz for hz in _round_frequencies(picture) if hz <= picture.f_max_hz]
    panel.set_yticks([picture.row_of(hz) for hz in ticks], [f"{hz:g}" for hz in ticks])
    panel.set(xlabel="time (s)", ylabel=f"frequency (Hz{', mel scale' if picture.scale == 'mel' else ''})", title=title)
    figure.colorbar(shown, label="level (dB)")
    figure.savefig(path, format="png", dpi=110)


def _round_frequencies(picture: Picture) -> list[float]:
    if picture.scale == "mel":
        return [0, 250, 500, 1000, 2000, 4000, 8000, 16000]
    step = 10 ** np.floor(np.log10(picture.f_max_hz / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if picture.f_max_hz / (step * factor) <= 7)
    return [float(hz) for hz in np.arange(0, picture.f_max_hz + 1, step)]


def _check_colours(name: str) -> None:
    import matplotlib

    if name not in matplotlib.colormaps:
        raise unknown_name("colour map", name, ("magma", "viridis", "cividis", "inferno", "plasma", "gray"))

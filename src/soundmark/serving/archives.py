"""Archives: indexes, also those of results folders, and the sound and spectrogram of their windows.

    folders ─ open_archives ─▶ Archive ─ excerpt ─▶ where to read ─ wav, picture ─▶ the page

Clients name an archive and the number of a window: no path comes from outside.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from soundmark import audio
from soundmark.audio import Sound
from soundmark.detection.archive.index import FoundWindow, Index
from soundmark.detection.archive.review import THRESHOLDS
from soundmark.detection.archive.store import is_index
from soundmark.errors import SettingsError
from soundmark.models.classifier import Model
from soundmark.runtime.checks import is_url, real_path
from soundmark.serving.spectrogram_tiles import COLUMNS_PER_S, SpectrogramTiles
from soundmark.spectrograms import Representation

UNNAMED = "archive"


LOUD = 0.9  # the peak of a sound with equal loudness


MOST_GAIN = 1000.0  # 60 dB: silence remains quiet


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """A window of an archive, and the part of its recording around it: from ``start_s`` to ``stop_s``."""

    number: int
    window: FoundWindow
    name: str  # of the recording, below the folder that all recordings of the archive are in
    start_s: float
    stop_s: float

    def to_json(self) -> dict[str, Any]:
        """Return the excerpt as JSON values; the scores are those of its class.

        >>> window = FoundWindow(file="/a/b.wav", start_s=4.0, stop_s=8.0, label="dog", score=0.5, level_dbfs=-20.0)
        >>> Excerpt(number=1, window=window, name="b.wav", start_s=3.0, stop_s=9.0).to_json()["window"]["start_s"]
        4.0
        """
        return {
            "number": self.number,
            "file": self.name,
            "start_s": round(self.start_s, 6),
            "stop_s": round(self.stop_s, 6),
            "window": {
                "start_s": round(self.window.start_s, 6),
                "stop_s": round(self.window.stop_s, 6),
                "label": self.window.label,
                "score": float(f"{self.window.score:.6g}"),
                "level_dbfs": round(self.window.level_dbfs, 2),
            },
        }


class Archive:
    """An index under the ``name`` by which clients select it."""

    def __init__(self, name: str, index: Index) -> None:
        self.name, self.index = name, index
        self._durations = {recording.path: recording.duration_s for recording in index.recordings}
        local = [str(Path(path).parent) for path in self._durations if not is_url(path)]
        self._folder = Path(_common(local)) if local else None

    @cached_property
    def revision(self) -> str:
        """A text that changes when windows get other numbers: when recordings were changed, or indexed afresh."""
        digest = hashlib.sha256(self.index.model_digest.encode())
        for recording in self.index.recordings:
            digest.update(f"{recording.key} {recording.path} {recording.windows}\n".encode(errors="surrogatepass"))
        return digest.hexdigest()[:16]

    @cached_property
    def likely_windows(self) -> dict[str, int]:
        """The number of windows whose score is at least the lowest threshold of a review, by class, the most first."""
        counts = self.index.windows_by_class(float(THRESHOLDS[0]))
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def first_class(self, background: Sequence[str] = ()) -> str:
        """Return the class with the most likely windows that is not a ``background`` class: reviews start with it."""
        return next((label for label in self.likely_windows if label not in background), self.index.classes[0])

    def shown(self, path: str) -> str:
        """Return how the recording at ``path`` is called on the page: its path below the folder of all recordings."""
        if self._folder is None or is_url(path) or not Path(path).is_relative_to(self._folder):
            return path
        return Path(path).relative_to(self._folder).as_posix()

    def excerpt(self, number: int, *, label: str | None = None, margin_s: float = 0.0) -> Excerpt | None:
        """Return the window ``number`` with the part around it; None: there is no such window.

        ``label`` is the class whose score the window has; by default the class with the highest score.

        Raises:
            SettingsError: there is no such class.
        """
        if not 0 <= number < len(self.index):
            return None
        window = self.index.windows([number], label)[0]
        stop_s = min(window.stop_s + margin_s, max(window.stop_s, self._durations[window.file]))
        start_s = max(0.0, window.start_s - margin_s)
        return Excerpt(number=number, window=window, name=self.shown(window.file), start_s=start_s, stop_s=stop_s)

    def to_json(self) -> dict[str, Any]:
        """Return what the archive contains, as JSON values."""
        return {
            "name": self.name,
            "recordings": len(self.index.recordings),
            "windows": len(self.index),
            "duration_s": round(sum(self._durations.values()), 3),
            "classes": list(self.index.classes),
            "likely_windows": self.likely_windows,
            "revision": self.revision,
        }


def _common(folders: Sequence[str]) -> str:
    try:
        return os.path.commonpath(folders)
    except ValueError:  # two drives
        return ""


def open_archives(
    folders: Sequence[Path], model: Model | None = None, *, jobs: int | None = None
) -> tuple[Archive, ...]:
    """Open the indexes in ``folders``, checksums included; archives of the same name get numbers.

    With ``model``, the recordings of results folders are indexed with it, by ``jobs`` workers; see
    ``Index.of_results``.

    Raises:
        SettingsError: a folder is neither an index nor a results folder, is given twice, or the indexes are of
            different models.

    >>> open_archives([folder / "none"])
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "...none" is not an index: ... Make one with `soundmark index`.
    """
    _check_no_repeats(folders)
    results = [folder for folder in folders if model is not None and not is_index(folder)]
    indexes = {folder: Index.open(folder) for folder in folders if folder not in results}
    _check_one_model(list(indexes.values()), model)
    if model is not None:
        indexes |= {folder: Index.of_results(folder, model, jobs=jobs) for folder in results}
    found: list[Archive] = []
    for folder in folders:
        name = Path(real_path(folder)).name or UNNAMED
        names = {archive.name for archive in found}
        found.append(Archive(next(name for name in _numbered(name) if name not in names), indexes[folder]))
    return tuple(found)


def _check_no_repeats(folders: Sequence[Path]) -> None:
    first: set[str] = set()
    for folder in folders:
        if real_path(folder) in first:
            raise SettingsError(f'"{folder}" is given twice: give it once.')
        first.add(real_path(folder))


def _check_one_model(indexes: Sequence[Index], model: Model | None) -> None:
    for index in indexes:
        if index.model_digest != indexes[0].model_digest:
            raise SettingsError(
                f'the indexes "{indexes[0].folder}" and "{index.folder}" are of different models: serve them one by '
                "one, or index both with the same model."
            )
        if model is not None:
            index.check_model(model)


def _numbered(name: str) -> Any:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def check_model(archives: Sequence[Archive], model: Model) -> None:
    """Check that the archives were indexed with ``model``.

    Raises:
        SettingsError: one was indexed with another model.

    >>> check_model([], model)
    """
    for archive in archives:
        archive.index.check_model(model)


def wav(sound: Sound, *, equal_loudness: bool = False) -> bytes:
    """Return a sound as a WAV file of 16 bits; ``equal_loudness`` scales its peak to ``LOUD``.

    >>> wav(Sound(np.zeros(8000, np.float32), 8000))[:4]
    b'RIFF'
    """
    import soundfile

    samples = sound.samples
    if equal_loudness and samples.size:
        peak = float(np.abs(samples).max())
        samples = samples * min(LOUD / max(peak, 1e-9), MOST_GAIN)
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, sound.rate_hz, format="WAV", subtype="PCM_16")
    return encoded.getvalue()


def picture(sound: Sound, representation: Representation, start_s: float) -> dict[str, Any]:
    """Return the spectrogram of a sound that begins at ``start_s``: its axis and one tile, as JSON values.

    >>> from soundmark.spectrograms import Mel
    >>> found = picture(Sound(np.zeros(22050, np.float32), 22050), Mel(), start_s=4.0)
    >>> found["tiles"][0]["start_s"], found["tiles"][0]["stop_s"], found["spectrogram"]["scale"]
    (4.0, 5.0, 'mel')
    """
    rate_hz = representation.input_rate_hz or sound.rate_hz  # that of the samples which the model gets
    samples = audio.resample(sound.samples, sound.rate_hz, rate_hz)
    tiles = SpectrogramTiles(representation, rate_hz, step_s=len(samples) / rate_hz, columns_per_s=COLUMNS_PER_S)
    found = [*tiles.push(0, samples), *tiles.end()]
    shifted = [replace(tile, start_s=tile.start_s + start_s, stop_s=tile.stop_s + start_s) for tile in found]
    return {"spectrogram": tiles.axis(), "tiles": [tile.to_json() for tile in shifted]}

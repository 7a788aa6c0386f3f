"""Find the sound files that annotations name, and fit annotations to their duration."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import Path, PurePosixPath

from soundmark import audio
from soundmark.audio.folders import SUFFIXES, FolderListing, walk
from soundmark.datasets.layouts.annotations.annotation import Annotation
from soundmark.errors import AudioError

# Folders beside the folder of a table that may hold its sound files.
SOUND_FOLDERS = ("audio", "wav", "wavs", "recordings", "sounds", "train_audio")


TOLERANCE_S = 0.05  # an annotation may end later than its file by this much: the programs round


def is_sound(path: Path) -> bool:
    """Return whether a path has the suffix of a sound file.

    >>> is_sound(Path("dawn.FLAC")), is_sound(Path("dawn.txt"))
    (True, False)
    """
    return path.suffix.lower() in SUFFIXES


def sounds_in(folder: Path) -> list[Path]:
    """Return the sound files in a folder and the folders below it.

    >>> sounds_in(Path(__file__).parent)
    []
    """
    paths = (folder.joinpath(*entry.parts) for entry in walk(str(folder)) if not entry.is_folder)
    return [path for path in paths if is_sound(path)]


def sound_beside(label_file: Path) -> Path | None:
    """Return the sound file that a label file belongs to: of the same name, but for what follows a full stop.

    >>> sound_beside(Path("nowhere/dawn.Table.1.selections.txt")) is None
    True
    """
    stem = label_file.name
    while "." in stem:
        stem = stem.rpartition(".")[0]
        found = _beside(label_file.parent, stem)
        if found is not None:
            return found
    return None


def _beside(folder: Path, stem: str) -> Path | None:
    if is_sound(Path(stem)) and (folder / stem).is_file():
        return folder / stem
    return next((path for suffix in SUFFIXES for path in _cases(folder, stem, suffix) if path.is_file()), None)


def _cases(folder: Path, stem: str, suffix: str) -> tuple[Path, Path]:
    return folder / f"{stem}{suffix}", folder / f"{stem}{suffix.upper()}"


class Recordings:
    """The sound files below the folder ``root`` of a table or of label files.

    A name in a table is a path relative to the folder, or the name of a file below it, with or without its suffix and
    its folders. A name that several files have is not found without its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listing = FolderListing()
        self._found: dict[str, Path | None] = {}
        self._durations: dict[Path, float | None] = {}

    def find(self, name: str) -> Path | None:
        """Return the sound file that a table calls ``name``; None if there is none, or if there are several."""
        if name not in self._found:
            self._found[name] = self._search(name.replace("\\", "/"))
        return self._found[name]

    def _search(self, name: str) -> Path | None:
        if "\0" in name or not name.strip("/. "):
            return None
        direct = self.root / name
        if self._listing.has(direct) and is_sound(direct):
            return direct
        parts = PurePosixPath(name)
        candidates = self._by_name.get(parts.name.casefold(), [])
        if not candidates:
            stem = parts.name.casefold()
            candidates = self._by_stem.get(stem, []) or self._by_stem.get(f"y{stem}", [])
        if len(candidates) > 1:
            candidates = [path for path in candidates if path.as_posix().casefold().endswith(f"/{name}".casefold())]
        return candidates[0] if len(candidates) == 1 else None

    def all(self) -> list[Path]:
        """Return all sound files, in order."""
        return sorted(path for paths in self._by_name.values() for path in paths)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        beside = [folder for name in SOUND_FOLDERS if (folder := self.root.parent / name).is_dir()]
        for path in sounds_in(self.root) or [path for folder in beside for path in sounds_in(folder)]:
            found[path.name.casefold()].append(path)
        return found

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        """The files by their name without suffix, and without what follows an underscore and a number (AudioSet)."""
        found: dict[str, list[Path]] = defaultdict(list)
        for paths in self._by_name.values():
            for path in paths:
                stem = path.stem.casefold()
                found[stem].append(path)
                shorter = stem.rpartition("_")[0]
                while shorter:
                    found[shorter].append(path)
                    shorter = shorter.rpartition("_")[0]
        return found

    def fitted(self, path: Path, annotation: Annotation) -> tuple[str | None, float | None]:
        """Return the reason why an annotation does not fit its file, or None; and its stop, at most the file's end."""
        if annotation.stop_s is None and annotation.start_s == 0:
            return None, None
        duration_s = self._duration_s(path)
        if duration_s is None:
            return None, annotation.stop_s  # reading the clip reports why the file cannot be opened
        if annotation.start_s >= duration_s:
            return f"it starts at {annotation.start_s:g} s, after the end of the file at {duration_s:.3f} s", None
        if annotation.stop_s is None:
            return None, None
        if annotation.stop_s > duration_s + TOLERANCE_S:
            return f"it ends at {annotation.stop_s:g} s, after the end of the file at {duration_s:.3f} s", None
        return None, min(annotation.stop_s, duration_s)

    def _duration_s(self, path: Path) -> float | None:
        if path not in self._durations:
            try:
                self._durations[path] = audio.info(path).duration_s
            except AudioError:
                self._durations[path] = None
        return self._durations[path]

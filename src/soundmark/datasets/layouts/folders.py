"""One folder per class: ``dog/a.wav``; with folds: ``dog/fold1/a.wav``, ``dog/1/a.wav`` or ``fold1/dog/a.wav``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from soundmark.audio.folders import SUFFIXES, UNSUPPORTED, walk
from soundmark.datasets.dataset import Clip, Dataset, Skipped, typical_length_s
from soundmark.datasets.layouts.table_reader import MAX_FOLD
from soundmark.errors import DatasetError, unknown_name

KIND = "a folder with one folder per class"


OPTIONS = ("classes",)


# Below a class folder. A bare number of more than four digits is a date or an id: dog/20230115/x.wav has no fold.
FOLD_OF_CLASS = re.compile(r"(?:fold[ _-]?|(?=\d{1,4}$))(\d+)", re.ASCII | re.IGNORECASE)


# Above the class folders. A bare number is not a fold here, because it can be the name of a class.
FOLD_ON_TOP = re.compile(r"fold[ _-]?(\d+)", re.ASCII | re.IGNORECASE)


def find(path: Path) -> Path | None:
    """Return ``path`` if it is a folder, else None.

    >>> find(Path(__file__)) is None
    True
    """
    return path if path.is_dir() else None


def load(root: Path, *, classes: Sequence[str] | None = None) -> Dataset:
    """Load the sound files in the class folders, in natural sort order ("take2" before "take10").

    Hidden files, system files and files that are not sound files are ignored. Class folders without sound files, sound
    files outside class folders, and sound files in unsupported formats are listed in ``skipped``.

    Raises:
        DatasetError: no class folder contains a sound file, a folder name is not among ``classes``, or a fold number is
            out of range.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("dog/fold1", "dog/fold2", "cat"):
    ...     (root / name).mkdir(parents=True)
    >>> for name in ("dog/fold1/10.wav", "dog/fold1/9.wav", "dog/fold2/a.flac"):
    ...     _ = (root / name).write_bytes(b"")
    >>> data = load(root)
    >>> [(data.relative_path(clip), clip.fold) for clip in data.clips]
    [('dog/fold1/9.wav', 1), ('dog/fold1/10.wav', 1), ('dog/fold2/a.flac', 2)]
    >>> data.skipped
    (Skipped(path='cat', reason='the class folder contains no sound files'),)
    """
    tree = _walk(root)
    by_fold = bool(tree.top_folders) and all(FOLD_ON_TOP.fullmatch(name) for name in tree.top_folders)
    clips, skipped = [], []
    for file in tree.sounds:
        clip = _clip(root, file, by_fold)
        if clip is None:
            skipped.append(
                Skipped("/".join(file), "it is not in a class folder: move it to a folder with the name of its class")
            )
        elif clip.path.suffix.lower() in UNSUPPORTED:
            skipped.append(
                Skipped("/".join(file), f"{clip.path.suffix} files are not supported: convert it to WAV or FLAC")
            )
        else:
            clips.append(clip)
    if not clips:
        raise DatasetError(_no_clips(root, tree, skipped))
    names = sorted({clip.label for clip in clips}, key=_natural)
    if classes is not None and (unknown := [name for name in names if name not in classes]):
        raise DatasetError(f'"{root}": {unknown_name("class", unknown[0], classes)}')
    empty = sorted(tree.folders_at(1 + by_fold) - set(names), key=_natural)
    return Dataset(
        name=root.resolve().name,
        root=root,
        classes=tuple(names if classes is None else classes),
        clips=tuple(clips),
        skipped=(
            *skipped,
            *(Skipped(name, "the class folder contains no sound files") for name in empty),
            *(Skipped(name, f'it is the folder "{path}", which is read once') for name, path in tree.repeated.items()),
        ),
        window_s=typical_length_s(clips),
    )


def _clip(root: Path, file: tuple[str, ...], by_fold: bool) -> Clip | None:
    """Return the clip at ``fold/class/…`` or ``class/fold/…``; None if the file is not in a class folder."""
    folders = file[:-1]
    if len(folders) <= by_fold:
        return None
    fold = FOLD_ON_TOP.fullmatch(folders[0]) if by_fold else FOLD_OF_CLASS.fullmatch("".join(folders[1:2]))
    if fold is not None and not 1 <= int(fold[1]) <= MAX_FOLD:
        raise DatasetError(
            f'"{root.joinpath(*folders)}": the fold number in "{fold[0]}" must be a whole number from 1 to {MAX_FOLD}: '
            "rename the folder."
        )
    return Clip(path=root.joinpath(*file), label=folders[by_fold], fold=int(fold[1]) if fold else None)


@dataclass(frozen=True)
class _Tree:
    """The sound files and folders below a folder, as parts of relative paths."""

    sounds: list[tuple[str, ...]]  # in natural sort order
    folders: list[tuple[str, ...]]
    repeated: dict[str, str]  # links to folders that were read before, with the paths under which they were read

    @property
    def top_folders(self) -> list[str]:
        return [folder[0] for folder in self.folders if len(folder) == 1]

    def folders_at(self, depth: int) -> set[str]:
        """Return the names of the folders at a depth; 1: directly below the root."""
        return {folder[-1] for folder in self.folders if len(folder) == depth}


def _walk(root: Path) -> _Tree:
    sounds: list[tuple[str, ...]] = []
    folders: list[tuple[str, ...]] = []
    repeated: dict[str, str] = {}
    for entry in walk(str(root)):
        if entry.same_as is not None:
            repeated["/".join(entry.parts)] = entry.same_as
        elif entry.is_folder:
            folders.append(entry.parts)
        elif PurePath(entry.parts[-1]).suffix.lower() in (*SUFFIXES, *UNSUPPORTED):
            sounds.append(entry.parts)
    return _Tree(sorted(sounds, key=lambda parts: [_natural(part) for part in parts]), folders, repeated)


def _natural(name: str) -> tuple[list[str | int], str]:
    """Return a natural sort key: ``take2`` before ``take10``. Text and numbers alternate, so keys are comparable."""
    pieces = re.split(r"([0-9]+)", name.casefold())
    return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], name


def _no_clips(root: Path, tree: _Tree, skipped: Sequence[Skipped]) -> str:
    """Explain why a folder is not a data set, from its contents."""
    tables = sorted(root.glob("*.csv"))
    if tables:
        return (
            f'"{root}" has no class folders with sound files. If "{tables[0].name}" is its table, give "{tables[0]}".'
        )
    if tree.sounds and not tree.top_folders:
        return (
            f'"{root}" contains sound files but no class folders; it looks like the folder of a single class. Give its '
            f'parent folder, "{root.resolve().parent}".'
        )
    if skipped:
        return f'"{root}" contains no usable sound files. "{skipped[0].path}": {skipped[0].reason}.'
    found = ", ".join(sorted(tree.top_folders, key=_natural)[:10]) or "none"
    return f'"{root}" has no class folders with sound files. Folders found: {found}.'

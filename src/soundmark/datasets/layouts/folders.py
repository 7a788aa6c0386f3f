"""A folder with a folder per class: ``dog/a.wav``; folds: ``dog/fold1/a.wav``, ``dog/1/a.wav``, ``fold1/dog/a.wav``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from soundmark.audio.folders import SUFFIXES, UNREAD, walk
from soundmark.datasets.dataset import Clip, Dataset, Skipped, typical_length_s
from soundmark.datasets.layouts.table_reader import MOST_FOLDS
from soundmark.errors import DatasetError, unknown_name

KIND = "a folder with a folder per class"


OPTIONS = ("classes",)


# A bare number of more than four digits is a date or an id: dog/20230115/x.wav is in no fold.
FOLD_OF_CLASS = re.compile(r"(?:fold[ _-]?|(?=\d{1,4}$))(\d+)", re.ASCII | re.IGNORECASE)


FOLD_ON_TOP = re.compile(r"fold[ _-]?(\d+)", re.ASCII | re.IGNORECASE)  # a bare number may be the name of a class here


def find(path: Path) -> Path | None:
    """``path`` itself where it is a folder.

    >>> find(Path(__file__)) is None
    True
    """
    return path if path.is_dir() else None


def load(root: Path, *, classes: Sequence[str] | None = None) -> Dataset:
    """The sound files under the class folders; names that hold numbers are in the order of the numbers.

    Hidden files, what systems leave behind and files that are no sounds are passed over. In ``skipped`` stand class
    folders without a sound, sounds outside any class folder, and sounds in formats that cannot be read.

    Raises:
        DatasetError: no class folder holds a sound, a folder's name is not among ``classes``, or a fold is numbered 0.

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
    (Skipped(path='cat', reason='the class folder holds no sound file'),)
    """
    tree = _walk(root)
    by_fold = bool(tree.tops) and all(FOLD_ON_TOP.fullmatch(name) for name in tree.tops)
    clips, skipped = [], []
    for file in tree.sounds:
        clip = _clip(root, file, by_fold)
        if clip is None:
            skipped.append(
                Skipped("/".join(file), "it stands in no class folder: put it in one that is named as its class")
            )
        elif clip.path.suffix.lower() in UNREAD:
            skipped.append(
                Skipped("/".join(file), f"{clip.path.suffix} files cannot be read: convert it to WAV or FLAC")
            )
        else:
            clips.append(clip)
    if not clips:
        raise DatasetError(_nothing(root, tree, skipped))
    names = sorted({clip.label for clip in clips}, key=_natural)
    if classes is not None and (foreign := [name for name in names if name not in classes]):
        raise DatasetError(f'"{root}": {unknown_name("class", foreign[0], classes)}')
    empty = sorted(tree.folders_at(1 + by_fold) - set(names), key=_natural)
    return Dataset(
        name=root.resolve().name,
        root=root,
        classes=tuple(names if classes is None else classes),
        clips=tuple(clips),
        skipped=(*skipped, *(Skipped(name, "the class folder holds no sound file") for name in empty)),
        window_s=typical_length_s(clips),
    )


def _clip(root: Path, file: tuple[str, ...], by_fold: bool) -> Clip | None:
    """The clip at ``fold/class/…`` or ``class/fold/…``; None where no folder gives it a class."""
    above = file[:-1]
    if len(above) <= by_fold:
        return None
    fold = FOLD_ON_TOP.fullmatch(above[0]) if by_fold else FOLD_OF_CLASS.fullmatch("".join(above[1:2]))
    if fold is not None and not 1 <= int(fold[1]) <= MOST_FOLDS:
        raise DatasetError(
            f'"{root.joinpath(*above)}": the fold of "{fold[0]}" must be a whole number from 1 to {MOST_FOLDS}: '
            "rename the folder."
        )
    return Clip(path=root.joinpath(*file), label=above[by_fold], fold=int(fold[1]) if fold else None)


@dataclass(frozen=True)
class _Tree:
    """What lies under a folder, as parts of paths relative to it."""

    sounds: list[tuple[str, ...]]  # in natural order
    folders: list[tuple[str, ...]]

    @property
    def tops(self) -> list[str]:
        return [folder[0] for folder in self.folders if len(folder) == 1]

    def folders_at(self, depth: int) -> set[str]:
        """The names of the folders so many steps down."""
        return {folder[-1] for folder in self.folders if len(folder) == depth}


def _walk(root: Path) -> _Tree:
    sounds: list[tuple[str, ...]] = []
    folders: list[tuple[str, ...]] = []
    for parts, is_inner in walk(str(root)):
        if is_inner:
            folders.append(parts)
        elif PurePath(parts[-1]).suffix.lower() in (*SUFFIXES, *UNREAD):
            sounds.append(parts)
    return _Tree(sorted(sounds, key=lambda parts: [_natural(part) for part in parts]), folders)


def _natural(name: str) -> tuple[list[str | int], str]:
    """A key that sorts ``take2`` before ``take10``; text and numbers alternate, so that like meets like."""
    pieces = re.split(r"([0-9]+)", name.casefold())
    return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], name


def _nothing(root: Path, tree: _Tree, skipped: Sequence[Skipped]) -> str:
    """Why a folder is no data set, from what is there instead."""
    tables = sorted(root.glob("*.csv"))
    if tables:
        return (
            f'"{root}" has no class folders with sound files; if "{tables[0].name}" is its table, give "{tables[0]}".'
        )
    if tree.sounds and not tree.tops:
        return (
            f'"{root}" holds sound files and no folders: this looks like the folder of one class. Give its parent, '
            f'"{root.resolve().parent}".'
        )
    if skipped:
        return f'"{root}" holds no sound file that can be used: "{skipped[0].path}": {skipped[0].reason}.'
    there = ", ".join(sorted(tree.tops, key=_natural)[:10]) or "none"
    return f'"{root}" has no class folders with sound files in them. Folders there: {there}.'

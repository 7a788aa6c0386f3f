"""Sound files in folders: which file names are sounds, and everything below a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from soundmark.errors import DatasetError

SUFFIXES = (
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3",
    ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
)  # fmt: skip
"""How the names of sound files end that libsndfile reads."""


UNREAD = (".aac", ".amr", ".m4a", ".mp4", ".webm", ".wma")  # sounds, too, but not for libsndfile


# What systems leave behind; on a Mac, each file of an unpacked archive stands in __MACOSX once more, as no sound.
LITTER = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")


class FolderListing:
    """Which files there are and how big, from one look at each folder: thousands of single questions would be slow.

    >>> FolderListing().size(Path(__file__).with_name("no such file")) is None
    True
    """

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, os.DirEntry[str]]] = {}

    def has(self, path: Path) -> bool:
        """Whether ``path`` is a file."""
        return self._entry(path) is not None

    def size(self, path: Path) -> int | None:
        """The size of the file in bytes; None where there is none."""
        entry = self._entry(path)
        return None if entry is None else entry.stat().st_size

    def _entry(self, path: Path) -> os.DirEntry[str] | None:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = files_in(folder)
        return self._folders[folder].get(os.path.normcase(name))


def files_in(folder: str) -> dict[str, os.DirEntry[str]]:
    """The files of a folder by name; none where there is no such folder.

    Raises:
        DatasetError: the folder cannot be read.

    >>> files_in("nowhere")
    {}
    """
    try:
        with os.scandir(folder or ".") as entries:
            return {os.path.normcase(entry.name): entry for entry in entries if is_file(entry)}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DatasetError(
            f'the folder "{folder}" cannot be read: {error.strerror}. Look at its permissions.'
        ) from error


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a file, or a link that ends at one; a link that leads in circles is not.

    >>> with os.scandir(Path(__file__).parent) as entries:
    ...     Path(__file__).name in [entry.name for entry in entries if is_file(entry)]
    True
    """
    try:
        return entry.is_file()
    except OSError:
        return False


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a folder that somebody put there, or a link to one: not hidden, no ``LITTER``.

    >>> with os.scandir(Path(__file__).parent) as entries:
    ...     Path(__file__).name in [entry.name for entry in entries if is_folder(entry)]
    False
    """
    try:
        return entry.is_dir() and not entry.name.startswith(".") and entry.name.casefold() not in LITTER
    except OSError:
        return False


def _raise_unreadable(folder: str, error: OSError) -> None:
    raise DatasetError(f'the folder "{folder}" cannot be read: {error.strerror}. Look at its permissions.') from error


def walk(
    folder: str,
    parts: tuple[str, ...] = (),
    above: frozenset[str] = frozenset(),
    *,
    unreadable: Callable[[str, OSError], None] = _raise_unreadable,
) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Everything below ``folder``, as parts of a path, and whether it is a folder; nothing hidden, no ``LITTER``.

    Links are followed, unless they lead back to a folder above; a link that leads nowhere is there, for whoever opens
    it to say so. ``unreadable`` is told of folders that this user may not read.

    Raises:
        DatasetError: such a folder, unless ``unreadable`` was given.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "dog").mkdir()
    >>> (root / "dog" / "rex.wav").touch()
    >>> list(walk(str(root)))
    [(('dog',), True), (('dog', 'rex.wav'), False)]
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as found:
            there = [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        unreadable(folder, error)
        return
    for entry in there:
        place = (*parts, entry.name)
        if is_folder(entry):
            yield place, True
            yield from walk(entry.path, place, above | {real}, unreadable=unreadable)
        elif is_file(entry) or entry.is_symlink():
            yield place, False

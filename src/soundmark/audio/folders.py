"""Find sound files in folders: the supported suffixes, and a recursive walk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundmark.errors import DatasetError

SUFFIXES = (
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3",
    ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
)  # fmt: skip
"""The file name suffixes of the formats that libsndfile decodes."""


UNSUPPORTED = (".aac", ".amr", ".m4a", ".mp4", ".webm", ".wma")  # audio formats that libsndfile does not decode


# Folders that operating systems create. macOS archives duplicate each file in __MACOSX, without its sound.
SYSTEM_FOLDERS = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")


class FolderListing:
    """Look up files and their sizes. Each folder is listed once: one system call per file would be slow.

    >>> FolderListing().size(Path(__file__).with_name("no such file")) is None
    True
    """

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, os.DirEntry[str]]] = {}

    def has(self, path: Path) -> bool:
        """Return whether ``path`` is an existing file."""
        return self._entry(path) is not None

    def size(self, path: Path) -> int | None:
        """Return the size of the file in bytes, or None if it does not exist."""
        entry = self._entry(path)
        return None if entry is None else entry.stat().st_size

    def _entry(self, path: Path) -> os.DirEntry[str] | None:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = files_in(folder)
        return self._folders[folder].get(os.path.normcase(name))


def in_class_folders(files: Iterable[Sequence[str]]) -> bool:
    """Return whether sound files, given as parts of paths below a folder, are in several folders, and none beside them.

    >>> in_class_folders([("dog", "1.wav"), ("cat", "1.wav")]), in_class_folders([("dog", "1.wav"), ("1.wav",)])
    (True, False)
    """
    tops = {parts[0] if len(parts) > 1 else "" for parts in files}
    return len(tops) > 1 and "" not in tops


def files_in(folder: str) -> dict[str, os.DirEntry[str]]:
    """Return the files of a folder by name; an empty dict if the folder does not exist.

    Raises:
        DatasetError: the folder cannot be read.

    >>> files_in("nowhere")
    {}
    """
    try:
        with os.scandir(folder or ".") as entries:
            return {os.path.normcase(entry.name): entry for entry in entries if is_file(entry)}
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL character in the path
        return {}
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):  # no folder can have this path
            return {}
        raise DatasetError(f'the folder "{folder}" cannot be read: {error.strerror}. Check its permissions.') from error


def is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether a folder entry is a file or a link to a file. A circular link is not.

    >>> with os.scandir(Path(__file__).parent) as entries:
    ...     Path(__file__).name in [entry.name for entry in entries if is_file(entry)]
    True
    """
    try:
        return entry.is_file()
    except OSError:
        return False


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether a folder entry is a folder, or a link to one, that is neither hidden nor in ``SYSTEM_FOLDERS``.

    >>> with os.scandir(Path(__file__).parent) as entries:
    ...     Path(__file__).name in [entry.name for entry in entries if is_folder(entry)]
    False
    """
    try:
        return entry.is_dir() and not entry.name.startswith(".") and entry.name.casefold() not in SYSTEM_FOLDERS
    except OSError:
        return False


def _raise_unreadable(folder: str, error: OSError) -> None:
    raise DatasetError(f'the folder "{folder}" cannot be read: {error.strerror}. Check its permissions.') from error


def is_sound_entry(entry: os.DirEntry[str]) -> bool:
    """Return whether a walk yields an entry that is not a folder: a regular file, a link to one, or a broken link.

    Pipes, devices and sockets are not yielded, nor are links to them: opening one can wait forever.

    >>> with os.scandir(Path(__file__).parent) as entries:
    ...     Path(__file__).name in [entry.name for entry in entries if is_sound_entry(entry)]
    True
    """
    return is_file(entry) or (entry.is_symlink() and not Path(entry.path).exists())


@dataclass(frozen=True)
class Found:
    """An entry below a folder: the ``parts`` of its relative path, and whether it is a folder.

    ``same_as`` is the path of a folder that was walked before under another name; this one is not walked again.
    """

    parts: tuple[str, ...]
    is_folder: bool
    same_as: str | None = None


def walk(folder: str, *, unreadable: Callable[[str, OSError], None] = _raise_unreadable) -> Iterator[Found]:
    """Walk ``folder`` recursively; yield its files and folders.

    Hidden entries and ``SYSTEM_FOLDERS`` are skipped. Each folder is walked once: first the folders themselves, then
    the links to folders, in the order of their paths. A link to a folder that was walked before has ``same_as``. A
    broken link is yielded, so that opening it raises a clear error. ``unreadable`` is called for a folder that cannot
    be read.

    Raises:
        DatasetError: a folder cannot be read, and ``unreadable`` was not given.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "dog").mkdir()
    >>> (root / "dog" / "rex.wav").touch()
    >>> [(found.parts, found.is_folder) for found in walk(str(root))]
    [(('dog',), True), (('dog', 'rex.wav'), False)]
    """
    walked: dict[str, str] = {}  # the real path of each folder: the path under which it was walked
    links: list[tuple[str, tuple[str, ...]]] = [(folder, ())]
    while links:
        path, parts = links.pop(0)
        real = os.path.realpath(path)
        if parts:
            is_loop = f"{os.path.realpath(Path(path).parent)}{os.sep}".startswith(real.rstrip(os.sep) + os.sep)
            yield Found(parts, True, same_as=None if is_loop else walked.get(real))
        if real in walked:
            continue
        more: list[tuple[str, tuple[str, ...]]] = []
        below = [(path, parts, real)]
        while below:
            path, parts, real = below.pop()
            walked[real] = path
            for entry in _visible(path, unreadable):
                inner = (*parts, entry.name)
                if is_folder(entry):
                    target = os.path.realpath(entry.path)
                    if target in walked or target != os.path.join(real, entry.name):  # noqa: PTH118 - one call for each
                        more.append((entry.path, inner))
                    else:
                        yield Found(inner, True)
                        below.append((entry.path, inner, target))
                elif is_sound_entry(entry):
                    yield Found(inner, False)
        links += sorted(more, key=lambda link: link[1])


def _visible(folder: str, unreadable: Callable[[str, OSError], None]) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        unreadable(folder, error)
        return []

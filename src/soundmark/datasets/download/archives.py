"""Unpack a tar.gz or zip archive from an untrusted source into a new folder.

Refused: paths outside the data set's folder, links, devices, encrypted or duplicate members, names that are not plain
on every system, and archives with more files or bytes than expected. Hidden files (``.DS_Store``) are left out.
Unpacking again into the folder of a killed run completes it: each file is written under a temporary name and renamed.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from soundmark.errors import DatasetError
from soundmark.runtime import atomic
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import one_line

BLOCK_BYTES = 1 << 18

HEADER_BYTES = 1 << 20  # longest single read of a tar header; a longer one is a memory bomb

MAX_DEPTH = 8

# Line ends, of which a list of digests has one per name; bytes that are not UTF-8; what Windows does not allow.
UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff<>:"|?*\\]|[. ]$')

RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


class _BoundError(Exception):
    """More is read than an archive of the expected content needs."""


# What the modules raise for a damaged, encrypted (RuntimeError) or unreadable archive.
DAMAGE = (_BoundError, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OSError)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may contain: files below the folder ``root`` of the archive."""

    root: str
    max_files: int
    max_bytes: int


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive; ``open`` gives its content."""

    name: str
    size: int
    is_folder: bool
    open: Callable[[], Any]


def unpack(archive: Path, folder: Path, limits: Limits, progress: Progress = no_progress) -> dict[str, str]:
    """Unpack the files below ``limits.root`` into ``folder``; return the SHA-256 of each by its path there.

    Raises:
        DatasetError: the archive is damaged, or contains what is refused.
        OutputError: a file cannot be written.

    >>> with zipfile.ZipFile(folder / "pets.zip", "w") as pets:
    ...     pets.writestr("pets/dog/rex.txt", "woof")
    >>> digests = unpack(folder / "pets.zip", folder / "new", Limits(root="pets", max_files=9, max_bytes=99))
    >>> list(digests), (folder / "new" / "dog" / "rex.txt").read_text()
    (['dog/rex.txt'], 'woof')
    """
    digests: dict[str, str] = {}
    names: set[str] = set()
    folders: set[str] = set()
    total, archive_mb = 0, archive.stat().st_size // 1_000_000
    with archive.open("rb") as file, _opened(archive, file, limits) as members:
        for number, member in enumerate(members, start=1):
            _check_amount(archive, limits, number, total + member.size)
            path = _checked_path(archive, member.name, limits.root)
            if member.is_folder or any(part.startswith(".") for part in path.parts):
                continue
            total += member.size
            name, parents = _comparable(path), set(map(_comparable, list(path.parents)[:-1]))
            if name in names or not path.parts:
                raise _refused(archive, f'two members are called "{one_line(member.name)}"')
            names.add(name)
            folders |= parents
            if name in folders or not names.isdisjoint(parents):
                raise _refused(archive, f'"{one_line(member.name)}" has the name of a file and a folder')
            digests[path.as_posix()] = _write(member, folder, path)
            progress(f"unpacking {limits.root}", min(archive_mb, file.tell() // 1_000_000), archive_mb, "MB")
    _check_no_other_files(folder, digests)
    return digests


@contextmanager
def _opened(archive: Path, file: BinaryIO, limits: Limits) -> Iterator[Iterator[Member]]:
    try:
        if ".zip" in archive.suffixes:
            _check_directory(file, limits)
            with zipfile.ZipFile(file) as opened:
                yield _zip_members(archive, opened)
        else:
            with gzip.open(file) as content:
                bounded: Any = _BoundedReader(content, limits.max_bytes + 2048 * limits.max_files)
                with tarfile.open(fileobj=bounded, mode="r:") as opened_tar:
                    yield _tar_members(archive, opened_tar)
    except DAMAGE as error:
        raise _refused(archive, one_line(str(error) or type(error).__name__, 200)) from error


def _tar_members(archive: Path, opened: tarfile.TarFile) -> Iterator[Member]:
    for info in opened:
        if not (info.isfile() or info.isdir()) or info.issparse():
            kind = "a link" if info.islnk() or info.issym() else "not a regular file"
            raise _refused(archive, f'"{one_line(info.name)}" is {kind}')
        tarfile.data_filter(info, str(archive.parent))  # raises a TarError
        yield Member(info.name, info.size, info.isdir(), partial(opened.extractfile, info))


def _check_directory(file: BinaryIO, limits: Limits) -> None:
    """Refuse a zip whose directory is too large before it is read into memory."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 65_600))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        raise zipfile.BadZipFile("it is not a complete zip file")
    if int.from_bytes(tail[end + 12 : end + 16], "little") > 600 * limits.max_files or tail[:end][-20:-16] == b"PK\6\7":
        raise _BoundError(f"it contains more than {limits.max_files} files")


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Iterator[Member]:
    for info in opened.infolist():
        mode = stat.S_IFMT(info.external_attr >> 16)
        if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "a link" if mode == stat.S_IFLNK else "not a regular file"
            raise _refused(archive, f'"{one_line(info.filename)}" is {kind}')
        yield Member(info.filename, info.file_size, info.is_dir(), partial(opened.open, info))


def _checked_path(archive: Path, name: str, root: str) -> Path:
    """Return the path of a member below ``root``, if it is safe on every system."""
    parts = PurePosixPath(name).parts
    inside = bool(parts) and parts[0] == root and not name.startswith("/") and ".." not in parts
    if not inside or not all(map(_is_plain, parts)) or len(parts) > MAX_DEPTH:
        raise _refused(archive, f'"{one_line(name)}" is not a plain path below "{root}"')
    return Path(*parts[1:])


def _comparable(path: Path) -> str:
    """Return what is equal for paths that are one file on some systems: case and the form of accents do not count."""
    return unicodedata.normalize("NFC", path.as_posix()).casefold()


def _is_plain(part: str) -> bool:
    return len(os.fsencode(part)) <= 200 and not UNSAFE.search(part) and not RESERVED.fullmatch(part)


def _check_amount(archive: Path, limits: Limits, files: int, total: int) -> None:
    if files > limits.max_files:
        raise _refused(archive, f"it contains more than {limits.max_files} files")
    if total > limits.max_bytes:
        raise _refused(archive, f"its files have more than {limits.max_bytes / 1e6:,.1f} MB")


def _write(member: Member, folder: Path, path: Path) -> str:
    """Write a member, unless the same content is there; return its SHA-256."""
    target = folder / path
    _check_folders(folder, path)
    found, written = hashlib.sha256(), 0
    content: IO[bytes]
    with atomic.replacing(target, durable=False) as temporary, member.open() as content:
        with temporary.open("wb") as file:
            while block := _read(content, member.name):
                written += len(block)
                found.update(block)
                file.write(block)
        if written != member.size:
            raise EOFError(f'"{one_line(member.name)}" is incomplete')
    return found.hexdigest()


def _read(content: IO[bytes], name: str) -> bytes:
    """Read a block; an ``OSError`` here is damage of the archive, not of the disk that is written to."""
    try:
        return content.read(BLOCK_BYTES)
    except OSError as error:
        raise EOFError(f'"{one_line(name)}" is damaged: {error}') from error


def _check_folders(folder: Path, path: Path) -> None:
    """Refuse links in the folder that is unpacked into."""
    for parent in (folder, *(folder / part for part in list(path.parents)[:-1]), folder / path):
        if parent.is_symlink():
            raise DatasetError(
                f'"{parent}" is a symbolic link: soundmark unpacks only into folders that it made. Remove it.'
            )


def _check_no_other_files(folder: Path, expected: dict[str, str]) -> None:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if atomic.PART.fullmatch(path.name) and not path.is_dir():
            path.unlink()  # of a killed run
        elif not path.is_dir() and name not in expected:
            raise DatasetError(f'"{path}" is not in the archive: move it, then run the same command again.')


def _refused(archive: Path, reason: str) -> DatasetError:
    return DatasetError(
        f'"{archive}" was not unpacked: {reason}. Delete it and run the same command again; if this message stays, '
        "report it."
    )


class _BoundedReader:
    """Reads at most a number of bytes, and never a large block at once."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, most: int) -> None:
        self.file, self.most = file, most

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes."""
        if size < 0 or size > HEADER_BYTES:
            raise _BoundError("a header is too large")
        self._check(self.file.tell() + size)
        return self.file.read(size)

    def seek(self, position: int) -> int:
        """Go to a position, forward."""
        self._check(position)
        return self.file.seek(position)

    def tell(self) -> int:
        """Return the position in the expanded content."""
        return self.file.tell()

    def _check(self, position: int) -> None:
        if position > self.most:
            raise _BoundError("it expands to more than expected")

"""Resolve inputs (paths, folders, lists of files, standard input) to sound files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from errno import EBADF
from os import fsdecode
from pathlib import Path
from typing import BinaryIO

from soundmark.errors import SettingsError
from soundmark.runtime.checks import forget_folders, is_url, real_path_of_one
from soundmark.runtime.text import reason_unreadable

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Input:
    """A sound file to analyse: its ``path``, and the ``name`` of its results in a results folder."""

    path: str
    name: str


@dataclass(frozen=True)
class Failure:
    """A file that could not be analysed, and the reason as a sentence."""

    file: str
    reason: str


def files(paths: Iterable[str]) -> Iterator[Input | Failure]:
    """Yield the sound files for ``paths``, in order: files, "-" for standard input, and all sound files in folders.

    A URL is a file, a pattern or a folder: see ``audio.remote``. Folders are searched recursively.
    An unreadable folder, a folder without sound files, and a file in an unsupported
    format each yield a ``Failure``.

    Raises:
        SettingsError: a path is the empty string, which would mean the current folder; a URL is not supported, or
            matches no files.

    >>> from soundmark import audio
    >>> audio.write(folder / "pets" / "rex.wav", [0.0], 8000)
    >>> [found.name for found in files(["street.wav", str(folder / "pets")])]
    ['street.wav', 'rex.wav']
    """
    for text in paths:
        if not text:
            raise SettingsError('an input is "": give the path of a sound file or folder; the current folder is ".".')
        if is_url(text):
            from soundmark.audio import remote

            yield from (Input(url, name) for url, name in remote.listed(text))
        elif text != STANDARD_INPUT and _is_folder(Path(text)):
            yield from _sounds_below(Path(text))
        else:
            yield Input(text, Path(text).name)


def without_repeats(found: Iterable[Input | Failure]) -> tuple[list[Input | Failure], int]:
    """Return each file once, under the first of its paths, and the number of repeats.

    >>> found, repeats = without_repeats([Input("a.wav", "a.wav"), Input("./a.wav", "a.wav")])
    >>> [item.path for item in found], repeats
    (['a.wav'], 1)
    """
    items = list(found)
    forget_folders()  # links may have changed since the last call
    first: dict[tuple[type, str], Input | Failure] = {}
    for item in items:
        path = item.path if isinstance(item, Input) else item.file
        is_name = path == STANDARD_INPUT or is_url(path)
        first.setdefault((type(item), path if is_name else real_path_of_one(path)), item)
    return list(first.values()), len(items) - len(first)


def read_file_list(path: str) -> Iterator[str]:
    r"""Yield the file names in a list, one per line or separated by NUL bytes; "-" reads standard input.

    Empty lines are ignored.

    Raises:
        SettingsError: the list cannot be read.

    >>> from soundmark.runtime import atomic
    >>> atomic.write_text(folder / "list.txt", "a.wav\n\nb c.wav\n")
    >>> list(read_file_list(str(folder / "list.txt")))
    ['a.wav', 'b c.wav']
    """
    try:
        data = standard_input().read() if path == STANDARD_INPUT else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise SettingsError(f'the list of files "{path}" cannot be read: {reason_unreadable(error)}.') from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16, as Windows PowerShell writes it
        data = data.decode("utf-16", "replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    for line in data.split(b"\0" if b"\0" in data else b"\n"):
        if name := fsdecode(line.removesuffix(b"\r")):
            yield name


def standard_input() -> BinaryIO:
    """Return standard input as a binary file.

    Raises:
        OSError: standard input is closed.

    >>> standard_input().read()  # doctest: +SKIP
    b'RIFF...'
    """
    if sys.stdin is None:
        raise OSError(EBADF, "standard input is closed")
    return sys.stdin.buffer


def check(paths: Sequence[str], list_path: str | None) -> None:
    """Check that the ``paths`` and the list of files at ``list_path`` can be used together.

    Raises:
        SettingsError: there is no input, or standard input is used twice.

    >>> check(["-"], "-")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: standard input ("-") is given twice: use it for one sound or for the list of files.
    """
    if list_path == "":
        raise SettingsError('the list of files is "": give a path, or "-" for standard input.')
    if not paths and list_path is None:
        raise SettingsError(
            'no input was given: name sound files or folders, "-" for standard input, or a list with --files-from.'
        )
    count = paths.count(STANDARD_INPUT)
    if count + (list_path == STANDARD_INPUT) > 1:
        raise SettingsError('standard input ("-") is given twice: use it for one sound or for the list of files.')


def check_shard(paths: Sequence[str], shard: object, folder: object) -> None:
    """Check that a ``shard`` of ``paths`` can be analysed: with a ``folder`` for the results, and not from a pipe.

    Raises:
        SettingsError: it cannot.

    >>> check_shard(["a.wav"], "1/2", None)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: a shard needs a folder for its results: add -o. soundmark merge combines ... shards.
    """
    if shard is not None and folder is None:
        raise SettingsError(
            "a shard needs a folder for its results: add -o. soundmark merge combines the folders of all shards."
        )
    if shard is not None and STANDARD_INPUT in paths:
        raise SettingsError('standard input ("-") cannot be divided into shards: name files or folders.')


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # reported when the file is read
        return False


def _sounds_below(folder: Path) -> Iterator[Input | Failure]:
    """Yield the failures in ``folder``, then its sound files, sorted by path."""
    from soundmark.audio.folders import SUFFIXES, UNSUPPORTED, walk

    failures: list[Failure] = []

    def unreadable(path: str, error: OSError) -> None:
        reason = f'the folder "{path}" cannot be read: {error.strerror}. Check its permissions.'
        failures.append(Failure(path, reason))

    entries = walk(str(folder), unreadable=unreadable)
    found = [folder.joinpath(*entry.parts) for entry in entries if not entry.is_folder]
    for path in sorted(path for path in found if path.suffix.lower() in UNSUPPORTED):
        reason = f'"{path}": {path.suffix} files are not supported: convert it to WAV or FLAC.'
        failures.append(Failure(str(path), reason))
    sounds = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
    if not sounds and not failures:
        reason = f'the folder "{folder}" contains no sound files ({", ".join(SUFFIXES)}).'
        failures.append(Failure(str(folder), reason))
    yield from failures
    yield from (Input(str(path), path.relative_to(folder).as_posix()) for path in sounds)

"""What was typed to what is to be heard: sound files, those below folders, those of a list, and what is none."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from errno import EBADF
from os import fsdecode
from pathlib import Path

from soundmark.errors import SettingsError

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Input:
    """A sound file to hear: its ``path`` as it was typed or found, and what its results are called in a folder."""

    path: str
    name: str


@dataclass(frozen=True)
class Failure:
    """A file that could not be heard, and the sentence that says why."""

    file: str
    reason: str


def files(typed: Iterable[str]) -> Iterator[Input | Failure]:
    """The sound files that are meant, in order: a file as it is, "-" for standard input, of a folder all below it.

    What cannot be looked into, or is in no format that is read, is a ``Failure``.

    Raises:
        SettingsError: an input is the empty string, which would mean the current folder.

    >>> from soundmark import audio
    >>> audio.write(folder / "pets" / "rex.wav", [0.0], 8000)
    >>> [found.name for found in files(["street.wav", str(folder / "pets")])]
    ['street.wav', 'rex.wav']
    """
    for text in typed:
        if not text:
            raise SettingsError('an input is "": give the path of a sound file or folder; the current folder is ".".')
        if text != STANDARD_INPUT and _is_folder(Path(text)):
            yield from _sounds_below(Path(text))
        else:
            yield Input(text, Path(text).name)


def listed(path: str) -> Iterator[str]:
    r"""The names in a file that lists them, a line each; "-" reads standard input. Empty lines count nothing.

    Raises:
        SettingsError: the list cannot be read.

    >>> from soundmark.runtime import atomic
    >>> atomic.write_text(folder / "list.txt", "a.wav\n\nb c.wav\n")
    >>> list(listed(str(folder / "list.txt")))
    ['a.wav', 'b c.wav']
    """
    try:
        data = standard_input() if path == STANDARD_INPUT else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SettingsError(f'the list of files "{path}" cannot be read: {why}.') from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as Windows PowerShell redirects
        data = data.decode("utf-16", "replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    for line in data.split(b"\0" if b"\0" in data else b"\n"):
        if name := fsdecode(line.removesuffix(b"\r")):
            yield name


def standard_input() -> bytes:
    """All that comes on standard input.

    Raises:
        OSError: it is closed, or cannot be read.

    >>> standard_input()  # doctest: +SKIP
    b'RIFF...'
    """
    if sys.stdin is None:
        raise OSError(EBADF, "standard input is closed")
    return sys.stdin.buffer.read()


def check(typed: Sequence[str], list_path: str | None) -> None:
    """Refuse inputs that cannot be meant together.

    Raises:
        SettingsError: nothing to hear was given, or standard input twice.

    >>> check(["-"], "-")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: standard input is given twice: as a sound, or as the list of files, but not both.
    """
    if list_path == "":
        raise SettingsError('the list of files is "": give a path, or "-" for standard input.')
    if not typed and list_path is None:
        raise SettingsError('nothing to hear was given: name sound files or folders, "-", or a list with --files-from.')
    count = typed.count(STANDARD_INPUT)
    if count + (list_path == STANDARD_INPUT) > 1:
        raise SettingsError("standard input is given twice: as a sound, or as the list of files, but not both.")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # reading it will say so
        return False


def _sounds_below(folder: Path) -> Iterator[Input | Failure]:
    """The sound files below a folder, by name, after what is wrong there."""
    from soundmark.audio.folders import SUFFIXES, UNREAD, walk

    failures: list[Failure] = []

    def unreadable(place: str, error: OSError) -> None:
        reason = f'the folder "{place}" cannot be read: {error.strerror}. Look at its permissions.'
        failures.append(Failure(place, reason))

    found = [folder.joinpath(*parts) for parts, is_inner in walk(str(folder), unreadable=unreadable) if not is_inner]
    for path in sorted(path for path in found if path.suffix.lower() in UNREAD):
        reason = f'"{path}": {path.suffix} files cannot be read: convert it to WAV or FLAC.'
        failures.append(Failure(str(path), reason))
    sounds = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
    if not sounds and not failures:
        reason = f'the folder "{folder}" has no sound files ({", ".join(SUFFIXES)}) in it.'
        failures.append(Failure(str(folder), reason))
    yield from failures
    yield from (Input(str(path), path.relative_to(folder).as_posix()) for path in sounds)

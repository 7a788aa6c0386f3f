"""Check that a worker on another machine finds the same files as this machine, under the same paths.

Workers have another current folder, so they get absolute paths; in what they return, paths are as they were given.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike

from soundmark.errors import SettingsError
from soundmark.runtime.checks import is_url


@dataclass(frozen=True)
class Found:
    """The sizes of files that a worker on ``host`` found, in bytes; None: there is no such file."""

    host: str
    sizes: Sequence[int | None]


def find(paths: Iterable[str | PathLike[str]]) -> Found:
    """Return what this machine finds.

    >>> (folder / "a.wav").write_bytes(b"1234")
    4
    >>> find([folder / "a.wav", folder / "b.wav"]).sizes
    [4, None]
    """
    return Found(platform.node(), [size(path) for path in paths])


def check(paths: Sequence[str | PathLike[str]], found: Found) -> None:
    """Check that a worker ``found`` the files that this machine finds.

    Raises:
        SettingsError: it did not.

    >>> check(["a.wav"], Found("node7", [44]))
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the worker on node7 finds 44 bytes in "a.wav", which does not exist on this ...
    """
    for path, of_worker in zip(paths, found.sizes, strict=True):
        own = size(path)
        if own != of_worker:
            finds = "does not find" if of_worker is None else f"finds {of_worker:,} bytes in"
            here = "does not exist" if own is None else f"has {own:,} bytes"
            raise SettingsError(
                f'the worker on {found.host} {finds} "{os.fspath(path)}", which {here} on this machine: mount the same '
                "folder under the same path on all machines, and give absolute paths."
            )


def absolute(path: str) -> str:
    """Return an absolute path, without resolving links; a URL is one.

    >>> absolute("a.wav") == os.path.join(os.getcwd(), "a.wav")
    True
    """
    return path if is_url(path) else os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - a path of any bytes


def as_given(text: str, path: str | PathLike[str]) -> str:
    """Return a message of a worker with ``path`` as it was given, instead of as an absolute path.

    >>> as_given(f'"{absolute("a.wav")}" is empty', "a.wav")
    '"a.wav" is empty'
    """
    given = os.fspath(path)
    if given == absolute(given):
        return text
    return re.sub(rf'(?<![^"]){re.escape(absolute(""))}', "", text)  # only where a path begins: it may be "/"


def size(path: str | PathLike[str]) -> int | None:
    """Return the size of a file in bytes; None if it cannot be found.

    >>> size("none.wav") is None
    True
    """
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a path of any bytes
    except (OSError, ValueError):
        return None

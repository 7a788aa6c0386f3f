"""Validation of numbers, paths and settings from users and files."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import lru_cache
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from soundmark.errors import SettingsError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_DIGITS = 30  # of a whole number in a file; a longer one cannot be converted to a float, or even be printed


TOO_LONG = f"it contains a whole number of more than {MAX_DIGITS} digits"


def is_whole(value: object) -> bool:
    """Return whether a value from a file or recipe is a whole number above 0: a Python ``int``.

    >>> [is_whole(value) for value in (1, 0, 2.0, True, None)]
    [True, False, False, False, False]
    """
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_count(value: object) -> bool:
    """Return whether an argument is a whole number above 0, from Python or NumPy.

    >>> import numpy as np
    >>> [is_count(value) for value in (1, np.int64(2), 0, 2.0, True, None)]
    [True, True, False, False, False, False]
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0


def check_jobs(jobs: int | None) -> None:
    """Raise ``SettingsError`` for an invalid number of parallel workers.

    Raises:
        SettingsError: ``jobs`` is neither None nor a whole number of at least 1.

    >>> check_jobs(0)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: jobs is 0: expected a whole number of at least 1; omit it to use all cores.
    """
    if jobs is not None and not is_count(jobs):
        raise SettingsError(f"jobs is {jobs!r}: expected a whole number of at least 1; omit it to use all cores.")


def use_python_numbers(settings: DataclassInstance) -> None:
    """Replace the NumPy scalars in the fields of a frozen dataclass by Python numbers, which JSON and TOML can store.

    Call it in ``__post_init__``.

    >>> import numpy as np
    >>> from soundmark.spectrograms import Mel
    >>> Mel(n_mels=np.int64(40)).n_mels
    40
    """
    for each in fields(settings):
        object.__setattr__(settings, each.name, python_number(getattr(settings, each.name)))


def python_number(value: Any) -> Any:
    """Return a NumPy scalar as a number of Python, and any other value as it is.

    >>> import numpy as np
    >>> python_number(np.int64(3)), python_number(np.float32(0.5)), python_number("three")
    (3, 0.5, 'three')
    """
    is_scalar = type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0
    return value.item() if is_scalar else value


def check_path(what: str, value: object) -> str:
    """Return the text of a path that is an argument; ``what`` begins the message.

    Raises:
        SettingsError: it is not a path.

    >>> check_path("the folder", None)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the folder is None: expected a path.
    """
    if not isinstance(value, str | PathLike):
        raise SettingsError(f"{what} is {value_text(value)}: expected a path.")
    return fspath(value)


def check_paths(what: str, values: object) -> list[str]:
    """Return the texts of one path or of several; ``what`` begins the message.

    Raises:
        SettingsError: one is not a path.

    >>> check_paths("the input", ["a.wav", 3])
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the input is 3: expected a path.
    """
    if isinstance(values, str | bytes | PathLike) or not isinstance(values, Iterable):
        return [check_path(what, values)]
    return [check_path(what, value) for value in values]


def value_text(value: object) -> str:
    """Return the ``repr`` of a value for a message, or its type if that is long.

    >>> value_text(3), value_text("x" * 100)
    ('3', 'a value of the type str')
    """
    text = repr(value)
    return text if len(text) <= 60 and text.isprintable() else f"a value of the type {type(value).__name__}"


def is_url(text: str) -> bool:
    """Return whether ``text`` is a URL, of any scheme, and no path.

    >>> is_url("s3://bucket/a.wav"), is_url("C:/a.wav"), is_url("a.wav")
    (True, False, False)
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def is_finite(value: object) -> bool:
    """Return whether a value is a finite real number, of Python or NumPy.

    >>> [is_finite(value) for value in (1, -80.0, math.inf, 10**400, "80", None)]
    [True, True, False, False, False, False]
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of a float
        return False


def check_digits(value: object) -> None:
    """Raise ``ValueError`` if a table or list from a file contains a whole number of more than ``MAX_DIGITS`` digits.

    >>> check_digits({"seeds": [1, 10**400]})
    Traceback (most recent call last):
    ValueError: it contains a whole number of more than 30 digits
    """
    parts: list[object] = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, dict | list):
            parts += part.values() if isinstance(part, dict) else part
        elif isinstance(part, int) and abs(part) >= 10**MAX_DIGITS:
            raise ValueError(TOO_LONG)


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML text from a user; see ``check_digits``.

    Raises:
        ValueError: it is not valid TOML, it is nested too deeply, or a number is too long; with the reason.

    >>> parse_toml("dog = 0.7")
    {'dog': 0.7}
    >>> parse_toml("dog = " + "9" * 5000)
    Traceback (most recent call last):
    ValueError: it contains a whole number of more than 30 digits
    """
    import tomllib

    return _parsed(text, tomllib.loads, (tomllib.TOMLDecodeError,))


def parse_json(text: str | bytes) -> Any:
    """Parse JSON text from an untrusted file; see ``check_digits``.

    Raises:
        ValueError: it is not valid JSON, a number is too long, or it is nested too deeply; with the reason.

    >>> parse_json('{"classes": ["dog"]}')
    {'classes': ['dog']}
    """
    return _parsed(text, json.loads, (json.JSONDecodeError, UnicodeDecodeError))


def _parsed(text: Any, load: Callable[[Any], Any], syntax_errors: tuple[type[ValueError], ...]) -> Any:
    try:
        values = load(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except syntax_errors:  # it names the line or the character
        raise
    except ValueError:  # Python converts at most 4300 digits
        raise ValueError(TOO_LONG) from None
    check_digits(values)
    return values


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a folder; False if the system cannot say.

    ``Path.is_dir`` raises ``OSError`` of a name that is too long, or in a folder that may not be searched. So this
    function is for paths that users give: what is done next with the path names the reason.

    >>> is_folder("/"), is_folder("x" * 300)
    (True, False)
    """
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a regular file, or of a link to one; False if the system cannot say.

    >>> is_file(__file__), is_file("x" * 300)
    (True, False)
    """
    return os.path.isfile(path)  # noqa: PTH113


def real_path(path: str | os.PathLike[str]) -> str:
    """Return an absolute path without links; what cannot be resolved, such as a loop of links, stays in it.

    >>> real_path("/tmp/../x" + "y" * 300) == "/x" + "y" * 300
    True
    """
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # no current folder, or a NUL character: reported when the file is read
        return os.fspath(path)


def real_path_of_one(path: str | os.PathLike[str]) -> str:
    """Return ``real_path`` of one of many files in few folders: links to folders are followed once.

    ``os.path.realpath`` takes 40 µs per file. Folders are kept until ``forget_folders``.

    >>> real_path_of_one("/tmp/../x.wav")
    '/x.wav'
    """
    folder, name = os.path.split(path)
    try:
        is_plain = name not in ("", ".", "..") and not os.path.islink(path)  # noqa: PTH114 - a path of any bytes
        return os.path.join(_real_folder(os.getcwd(), folder), name) if is_plain else os.path.realpath(path)  # noqa: PTH109, PTH118
    except (OSError, ValueError):  # no current folder, or a NUL character: reported when the file is read
        return os.fspath(path)


@lru_cache(maxsize=1000)
def _real_folder(current: str, folder: str) -> str:
    return os.path.realpath(os.path.join(current, folder))  # noqa: PTH118 - a path of any bytes


forget_folders = _real_folder.cache_clear


def is_special(path: str) -> bool:
    """Return whether a path leads to a folder, pipe or device: a missing file, or one at a URL, is not special.

    A pipe would be waited for, and a device may never end.

    >>> is_special("/"), is_special("missing.wav"), is_special(__file__)
    (True, False, False)
    """
    return not is_url(path) and os.path.exists(path) and not is_file(path)  # noqa: PTH110


def open_regular(path: Path) -> BinaryIO:
    """Open a file of an untrusted folder to read it: a pipe would be waited for, and a device may never end.

    Raises:
        OSError: it cannot be opened, or is not a regular file; a link to one is.

    >>> with open_regular(Path(__file__)) as file:
    ...     len(file.read(10))
    10
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return path.open("rb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a file of an untrusted folder.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.

    >>> read_regular(Path(__file__), 10)
    Traceback (most recent call last):
    OSError: [Errno 27] it has more than 10 bytes
    """
    with open_regular(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")
    return data

"""Sound files at URLs: listed, identified, and read by ranges, so that none is downloaded as a whole.

    s3://bucket/2024/*.flac ─ listed ─▶ URL, name ─ opened ─▶ a file that fetches what is read ─▶ decoding

In reading order:

    range_file  an open file whose blocks are fetched when they are read
    http_file   files of HTTP servers
    store       files of object stores, through fsspec

Names from outside never become local paths: a URL has one of ``SCHEMES``, a redirect cannot leave HTTP, and the name of
a result has no ``..`` and no root.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from urllib.parse import urlsplit

from soundmark.audio.folders import SUFFIXES
from soundmark.audio.remote import http_file, store
from soundmark.audio.remote.range_file import RangeFile
from soundmark.errors import AudioError, SettingsError
from soundmark.runtime.text import shortened

SCHEMES = ("s3", "gs", "http", "https")


GLOB = frozenset("*[")


@contextmanager
def opened(url: str) -> Iterator[BinaryIO]:
    """Open the sound file at ``url``. Errors of the network end the reading, and are raised at the end of the block.

    Raises:
        AudioError: it does not exist, cannot be read, or changed while it was read.
        SettingsError: the scheme of the URL is not supported.

    >>> with opened("ftp://example.org/a.wav"):
    ...     pass
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "ftp://example.org/a.wav" is not a supported URL: give s3://…, gs://…, http://… ...
    """
    check(url)
    with _errors(url):
        file = http_file.open_http(url) if _is_http(url) else store.open_object(url)
    with file:
        try:
            yield file  # type: ignore[misc]
        finally:
            if isinstance(file, RangeFile):  # libsndfile sees the end of the file instead of an error
                _check(url, file)


def _check(url: str, file: RangeFile) -> None:
    try:
        file.check()
    except Exception as error:  # of any library below
        raise _unreadable(url, error) from error


@contextmanager
def _errors(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise _unreadable(url, error) from error


def _unreadable(url: str, error: BaseException) -> AudioError:
    if isinstance(error, FileNotFoundError):
        return AudioError(f'"{url}" does not exist.')
    if isinstance(error, PermissionError):
        return AudioError(f'"{url}" cannot be read (permission denied): check the credentials.')
    reason = " ".join(str(getattr(error, "reason", None) or error or type(error).__name__).split())
    return AudioError(f'"{url}" cannot be read: {shortened(reason, 200).rstrip(".")}.')


def identity(url: str) -> list[str] | None:
    """Return what identifies the content at ``url``: its size, and its ETag or time; None if that is unknown.

    >>> identity("http://127.0.0.1:9/a.wav") is None
    True
    """
    check(url)
    try:
        found = http_file.identity(url) if _is_http(url) else store.identity(url)
    except (OSError, ValueError):
        return None  # reported when it is read
    return found


def listed(url: str) -> Iterator[tuple[str, str]]:
    """Yield the URLs of the sound files at ``url``, sorted, each with a name for its results.

    A pattern (``s3://bucket/2024/*.flac``) selects what matches; a URL that ends with a slash, all sound files
    below it. Any other URL is a file, and so is a pattern that matches nothing, but is the name of a file.

    Raises:
        SettingsError: the scheme is not supported, or has no lists; the store cannot be read, or nothing matches.

    >>> list(listed("https://example.org/day/../a.wav"))
    [('https://example.org/day/../a.wav', 'a.wav')]
    """
    check(url)
    path = urlsplit(url).path if _is_http(url) else url
    is_pattern, is_folder = bool(GLOB & set(path)), path.endswith("/")
    if not is_pattern and not is_folder:
        yield url, safe_name(path.rpartition("/")[2])
        return
    if _is_http(url):
        raise SettingsError(
            f'"{url}" is a pattern or a folder, but HTTP servers have no lists of files: name each file, for example '
            "in a list for --files-from."
        )
    base = url.split("*")[0].split("[")[0].rpartition("/")[0] + "/"
    try:
        found = store.find(url, pattern=is_pattern)
    except (OSError, ValueError) as error:
        raise SettingsError(str(_unreadable(url, error))) from error
    if is_pattern and not found and identity(url):  # a key with "*" or "["
        yield url, safe_name(url.rpartition("/")[2])
        return
    sounds = sorted(one for one in found if is_pattern or one.lower().endswith(SUFFIXES))
    if not sounds:
        raise SettingsError(f'"{url}" matches no sound files.')
    for one in sounds:
        yield one, safe_name(one.removeprefix(base))


def check(url: str) -> None:
    """Check that the scheme of a URL is supported, and its host can be parsed.

    Raises:
        SettingsError: it is not, or cannot.

    >>> check("s3://bucket/a.wav")
    """
    if not any(url.startswith(f"{scheme}://") for scheme in SCHEMES):
        raise SettingsError(
            f'"{shortened(url, 200)}" is not a supported URL: give s3://…, gs://…, http://… or https://…, or a path '
            "without a scheme."
        )
    try:
        urlsplit(url)
    except ValueError as error:
        raise SettingsError(f'"{shortened(url, 200)}" is not a valid URL: its host has unmatched brackets.') from error


def safe_name(key: str) -> str:
    r"""Return a relative path for the results of the file called ``key``, which a server or a list has chosen.

    >>> safe_name("../../etc/passwd"), safe_name("/a/./b\\c:d.wav"), safe_name("..")
    ('etc/passwd', 'a/b_c_d.wav', 'sound')
    """
    parts = ["".join("_" if c in '\\:<>|"*?' or not c.isprintable() else c for c in part) for part in key.split("/")]
    return "/".join(part for part in parts if part.strip(" .")) or "sound"


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))

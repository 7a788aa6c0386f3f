"""Files of object stores (S3, Google Cloud Storage), through fsspec, with the credentials of its packages.

The time-outs and retries of S3 are set here; ``AWS_ENDPOINT_URL``, ``AWS_PROFILE`` and the like work as ever, and
``FSSPEC_S3_ANON=true`` reads public buckets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from soundmark.audio.remote.range_file import RangeFile

PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}  # by scheme


VERSION = "?versionId="


S3_CONFIG = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 4}}


def open_object(url: str) -> RangeFile:
    """Open the object at ``url``.

    Raises:
        OSError: it does not exist, or cannot be read.

    >>> open_object("s3://bucket/a.wav").read(4)  # doctest: +SKIP
    b'RIFF'
    """
    found = _current(url)
    return RangeFile(
        url, int(found["size"]), partial(_fetched, url), is_same=lambda: _identity(_current(url)) == _identity(found)
    )


def _fetched(url: str, start: int, stop: int) -> bytes:
    with _as_os_error():
        return bytes(_store(url).cat_file(url, start=start, end=stop))


def _current(url: str) -> Mapping[str, Any]:
    """Return what the store says about an object now; ``info`` alone may repeat an earlier list."""
    with _as_os_error():
        files = _store(url)
        files.invalidate_cache()
        found: Mapping[str, Any] = files.info(url)
    return found


def identity(url: str) -> list[str] | None:
    """Return the size and the ETag, or the time, of the object at ``url``; None if the store does not state them.

    Raises:
        OSError: it does not exist, or cannot be read.

    >>> identity("s3://bucket/a.wav")  # doctest: +SKIP
    ['44', '"9a69802bbf37fb986f71ec1483a196e3"']
    """
    with _as_os_error():
        return _identity(_store(url).info(url))


def _identity(found: Mapping[str, Any]) -> list[str] | None:
    tag = found.get("ETag") or found.get("etag") or found.get("LastModified") or found.get("mtime")
    return [str(found["size"]), str(tag)] if tag else None


def find(url: str, *, pattern: bool) -> list[str]:
    """Return the URLs of the objects that match a pattern, or of all objects below a folder.

    Raises:
        OSError: the store cannot be read.

    >>> find("s3://bucket/2024/*.wav", pattern=True)  # doctest: +SKIP
    ['s3://bucket/2024/a.wav']
    """
    found = _listed(url, pattern=pattern)
    return [f"{url.partition('://')[0]}://{path}" for path, about in found.items() if about["type"] == "file"]


def contents(url: str) -> dict[str, list[str]]:
    """Return the objects below a folder: for each name, relative to it, its ``identity``; [] if that is unknown.

    Raises:
        OSError: the store cannot be read.

    >>> contents("s3://bucket/2024")  # doctest: +SKIP
    {'a.wav': ['44', '"9a69802bbf37fb986f71ec1483a196e3"']}
    """
    folder = f"{url.rstrip('/')}/"
    found, prefix = _listed(folder, pattern=False), folder.partition("://")[2]
    return {
        path.removeprefix(prefix): _identity(about) or []
        for path, about in found.items()
        if path.startswith(prefix) and path != prefix  # an object may have the name of the folder
    }


def _listed(url: str, *, pattern: bool) -> dict[str, dict[str, Any]]:
    """Return what a store says about each object that matches a pattern, or below a folder."""
    with _as_os_error():
        files = _store(url)
        files.invalidate_cache()  # of an earlier list
        found: dict[str, dict[str, Any]] = (files.glob if pattern else files.find)(url, detail=True)
    return found


def upload(path: Path, url: str) -> None:
    """Write the content of a file to the object at ``url``.

    Raises:
        OSError: it cannot be written.

    >>> upload(folder / "none.csv", "s3://bucket/none.csv")  # doctest: +SKIP
    Traceback (most recent call last):
    FileNotFoundError: ...
    """
    with _as_os_error():
        _store(url).put_file(str(path), url)


def write(content: bytes, url: str) -> None:
    """Write ``content`` to the object at ``url``.

    Raises:
        OSError: it cannot be written.

    >>> write(b"", "s3://bucket/empty.txt")  # doctest: +SKIP
    """
    with _as_os_error():
        _store(url).pipe_file(url, content)


def delete(url: str) -> None:
    """Delete the object at ``url``.

    Raises:
        OSError: it does not exist, or cannot be deleted.

    >>> delete("s3://bucket/a.wav")  # doctest: +SKIP
    """
    with _as_os_error():
        _store(url).rm_file(url)


def _store(url: str) -> Any:
    scheme = url.partition("://")[0]
    if scheme == "s3" and VERSION in url:  # s3fs would take the object without it
        raise OSError(f'versions of objects are not supported, and its name contains "{VERSION}"')
    return _files(scheme)


@cache
def _files(scheme: str) -> Any:
    import_module(PACKAGES[scheme])  # fsspec's own ImportError does not name the package
    import fsspec

    return fsspec.filesystem(scheme, **({"config_kwargs": S3_CONFIG} if scheme == "s3" else {}))


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Turn the errors of the packages below, which share no base class, into ``OSError``."""
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error

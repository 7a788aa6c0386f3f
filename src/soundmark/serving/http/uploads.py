"""The body of a request as a temporary file: raw, or one file of a multipart form. Names from outside are only text.

Temporary files are in one private folder per server. A server that is killed leaves it behind; the next one deletes it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from filelock import FileLock, Timeout
from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from soundmark.errors import as_line
from soundmark.runtime.atomic import DISK_FULL
from soundmark.serving.http.problems import Problem

PREFIX = "soundmark-serve-"


LOCK = "lock"  # held as long as the server runs


MOST_NAME_CHARS = 200


MOST_FIELDS = 16  # of a form, besides the file


UNNAMED = "upload"


@dataclass(frozen=True)
class Upload:
    """A file that was received: where it is, and the name that its sender gave it, for messages and results only."""

    path: Path
    name: str
    n_bytes: int


@contextmanager
def upload_folder() -> Iterator[Path]:
    """Give a new private folder for uploads, and delete the folders of servers that were killed.

    >>> with upload_folder() as folder:
    ...     folder.is_dir()
    True
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name,
        FileLock(Path(name) / LOCK),
    ):
        yield Path(name)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            found = folder.lstat()
            is_ours = not hasattr(os, "getuid") or found.st_uid == os.getuid()
            if stat.S_ISDIR(found.st_mode) and is_ours and (folder / LOCK).is_file():
                with FileLock(folder / LOCK, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


def display_name(name: str | None) -> str:
    r"""Return the last part of a file name as one printable line of bounded length.

    >>> display_name("C:\\sounds\\street.wav"), display_name("../../etc/passwd"), display_name(None)
    ('street.wav', 'passwd', 'upload')
    """
    last = PureWindowsPath(PurePosixPath(name or "").name).name
    return as_line(last)[:MOST_NAME_CHARS] or UNNAMED


@asynccontextmanager
async def received(
    request: Request, folder: Path, *, max_bytes: int, name: str | None = None
) -> AsyncGenerator[Upload, None]:
    """Write the body of a request to a file in ``folder``, which is deleted afterwards.

    Raises:
        Problem: the body is empty or not a form with one file (400), it is too large (413), or the disk is full (507).
    """
    check_length(request.headers.get("content-length"), max_bytes)
    path = None
    try:
        descriptor, path = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
                name = await _receive_form(request, file, max_bytes) or name
            else:
                async for part in _bounded(request.stream(), max_bytes):
                    file.write(part)
            n_bytes = file.tell()
        if not n_bytes:
            raise Problem(400, "the request has no sound: send a sound file as its body, or as the file of a form.")
        yield Upload(Path(path), display_name(name), n_bytes)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise Problem(507, "the server has no disk space left for the upload: try again later.") from error
    finally:
        if path:
            Path(path).unlink(missing_ok=True)


async def received_bytes(request: Request, *, max_bytes: int) -> bytes:
    """Return the body of a request.

    Raises:
        Problem: it is too large (413).
    """
    check_length(request.headers.get("content-length"), max_bytes)
    return b"".join([part async for part in _bounded(request.stream(), max_bytes)])


def check_length(declared: str | None, max_bytes: int) -> None:
    """Check the length that a request declares.

    Raises:
        Problem: it is too large.

    >>> check_length("5", 10)
    """
    if declared is not None and declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> Problem:
    return Problem(
        413,
        f"the upload is larger than {max_bytes / 1e6:g} MB, the most that this server accepts (--max-upload): divide "
        "the file, or compress it as FLAC.",
        {"Connection": "close"},
    )


async def _bounded(stream: AsyncIterator[bytes], max_bytes: int) -> AsyncGenerator[bytes, None]:
    n_bytes = 0
    async for part in stream:
        n_bytes += len(part)
        if n_bytes > max_bytes:
            raise _too_large(max_bytes)
        yield part


async def _receive_form(request: Request, file: BinaryIO, max_bytes: int) -> str | None:
    """Copy the file of a form; return its name."""
    parser = MultiPartParser(
        request.headers, _bounded(request.stream(), max_bytes), max_files=1, max_fields=MOST_FIELDS
    )
    try:
        form = await parser.parse()
    except (MultiPartException, MultipartParseError, KeyError, ValueError) as error:
        raise Problem(
            400, "the form cannot be read: send one file as multipart/form-data, such as curl -F file=@street.wav."
        ) from error
    try:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise Problem(400, f"the form has {len(files)} files: send one, such as curl -F file=@street.wav.")
        await asyncio.to_thread(shutil.copyfileobj, files[0].file, file)
        return files[0].filename
    finally:
        await form.close()

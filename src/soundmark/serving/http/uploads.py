"""The body of a request as a sound: raw, or one file of a multipart form. Names from outside are only text.

Small uploads are in memory, and temporary files only while they are decoded: each call that opens, writes or deletes a
file lets the event loop wait for the threads that compute. Temporary files are in one private folder per server. A
server that is killed leaves it behind; the next one deletes it.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, Self

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


SMALL_BYTES = 1 << 20  # an upload up to this size is kept in memory


@dataclass(frozen=True)
class Upload:
    """A sound that was received, and the name that its sender gave it, which is for messages and results only.

    ``content`` is the sound if it is small, or else the path of its temporary file. ``folder`` is for temporary files.
    """

    name: str
    n_bytes: int
    content: bytes | Path
    folder: Path

    @property
    def is_small(self) -> bool:
        """Whether it is in memory."""
        return isinstance(self.content, bytes)

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Give the path of its file; that of a small upload is written here, and deleted afterwards.

        Raises:
            Problem: the disk is full (507).

        >>> with Upload("street.wav", 4, b"RIFF", folder).file() as path:
        ...     path.read_bytes()
        b'RIFF'
        >>> path.exists()
        False
        """
        if isinstance(self.content, Path):
            yield self.content
            return
        path = None
        try:
            with _full_disk_is_a_problem(), _new_file(self.folder) as file:
                path = Path(file.name)
                file.write(self.content)
            yield path
        finally:
            if path:
                path.unlink(missing_ok=True)


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
    """Receive the body of a request, in memory or as a file in ``folder``, which is deleted afterwards.

    Raises:
        Problem: the body is empty or not a form with one file (400), it is too large (413), or the disk is full (507).
    """
    check_length(request.headers.get("content-length"), max_bytes)
    with _full_disk_is_a_problem(), _Spool(folder) as spool:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
            name = await _receive_form(request, spool, max_bytes) or name
        else:
            async for part in _bounded(request.stream(), max_bytes):
                spool.write(part)
        if not spool.n_bytes:
            raise Problem(400, "the request has no sound: send a sound file as its body, or as the file of a form.")
        yield Upload(display_name(name), spool.n_bytes, spool.content(), folder)


@contextmanager
def _full_disk_is_a_problem() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise Problem(507, "the server has no disk space left for the upload: try again later.") from error


def _new_file(folder: Path) -> BinaryIO:
    return tempfile.NamedTemporaryFile(dir=folder, delete=False)  # type: ignore[return-value]


class _Spool:
    """Bytes in memory; more than ``SMALL_BYTES`` are in a file, which is deleted at the end of the ``with`` block."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._memory = folder, io.BytesIO()
        self._file: BinaryIO | None = None
        self.n_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)

    def write(self, part: bytes) -> int:
        """Append a part."""
        self.n_bytes += len(part)
        if self._file is None and self.n_bytes > SMALL_BYTES:
            self._file = _new_file(self._folder)
            self._file.write(self._memory.getbuffer())
        return (self._file or self._memory).write(part)

    def content(self) -> bytes | Path:
        """Return the bytes, or the path of their file."""
        if self._file is None:
            return self._memory.getvalue()
        self._file.flush()
        return Path(self._file.name)


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


async def _receive_form(request: Request, spool: _Spool, max_bytes: int) -> str | None:
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
        await asyncio.to_thread(shutil.copyfileobj, files[0].file, spool)
        return files[0].filename
    finally:
        await form.close()

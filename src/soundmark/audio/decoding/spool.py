"""Copy a pipe, in which libsndfile cannot seek, to a temporary file: memory use does not grow with its length."""

from __future__ import annotations

import tempfile
from typing import BinaryIO

from soundmark.audio import limits
from soundmark.errors import AudioError

COPY_BYTES = 1 << 20  # copied at once


MEMORY_BYTES = 1 << 24  # a shorter sound stays in memory, and no file is written


def spooled(pipe: BinaryIO, name: str) -> bytes | BinaryIO:
    """Read ``pipe`` to its end; return its bytes, or an open temporary file if it is longer than ``MEMORY_BYTES``.

    The file has no name and is deleted when it is closed. ``name`` is the name of the pipe in messages.

    Raises:
        AudioError: the pipe is longer than ``limits.PIPE_BYTES``.
        OSError: the pipe cannot be read, or the folder for temporary files is full.

    >>> import io
    >>> spooled(io.BytesIO(b"RIFF"), "the upload")
    b'RIFF'
    """
    head = _read(pipe, MEMORY_BYTES)
    if len(head) < MEMORY_BYTES:
        return head
    copy: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - the caller reads it
    try:
        copy.write(head)
        while part := pipe.read(COPY_BYTES):
            if copy.tell() + len(part) > limits.PIPE_BYTES:
                raise AudioError(
                    f"{name} is too long for a pipe: at most {limits.PIPE_BYTES >> 20} MiB are read from one. Save it "
                    "to a file, and give that file."
                )
            copy.write(part)
        copy.flush()
    except BaseException:
        copy.close()
        raise
    return copy


def _read(pipe: BinaryIO, n_bytes: int) -> bytes:
    """Read ``n_bytes``, or fewer at the end; an unbuffered pipe returns less than it was asked for."""
    parts: list[bytes] = []
    while n_bytes and (part := pipe.read(min(n_bytes, COPY_BYTES))):
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)

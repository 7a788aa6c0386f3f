"""The chunks of a RIFF file (WAV, RF64, BW64), from a file or from a pipe that cannot seek."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO

HEADER_BYTES = 12  # "RIFF", the file's size, "WAVE"


CONTENT_BYTES = 1 << 16  # of a chunk's content that are read, at most


SKIP_BYTES = 1 << 16  # at a time, if a chunk is skipped by reading


UNKNOWN_SIZE = 0xFFFF_FFFF  # of a data chunk: the chunk ds64 before it holds the size


@dataclass(frozen=True)
class Chunk:
    """A chunk of ``size`` bytes; ``content`` is the start of it, or empty if it was not asked for."""

    name: bytes
    size: int
    content: bytes = b""


def is_wave(header: bytes) -> bool:
    r"""Whether the first 12 bytes of a file are those of a WAV, RF64 or BW64 file.

    >>> is_wave(b"RIFF\x24\x00\x00\x00WAVE"), is_wave(b"RIFF\x24\x00\x00\x00AVI ")
    (True, False)
    """
    return header[:4] in (b"RIFF", b"RF64", b"BW64") and header[8:HEADER_BYTES] == b"WAVE"


def read_chunks(file: BinaryIO, wanted: Collection[bytes]) -> Iterator[Chunk]:
    r"""The chunks of ``file`` in order, which is positioned after the 12 bytes of its header.

    Of ``wanted`` chunks the content is read, at most 64 KiB. Others are yielded while the file is positioned at their
    content: to read the samples of a pipe, stop at the chunk ``data`` and continue to read. A file that is cut off ends
    with its last complete chunk header. The size of a data chunk of more than 4 GiB is taken from ``ds64``.

    Raises:
        OSError, ValueError: the file cannot be read, or a damaged size lies beyond what a file can have.

    >>> import io
    >>> chunks = b"note\x03\x00\x00\x00abc\x00data\x02\x00\x00\x00\x01\x00"
    >>> [(chunk.name, chunk.size, chunk.content) for chunk in read_chunks(io.BytesIO(chunks), {b"note"})]
    [(b'note', 3, b'abc'), (b'data', 2, b'')]
    """
    seekable = hasattr(file, "seekable") and file.seekable()
    long_size = 0
    while len(header := read_exactly(file, 8)) == 8:
        name, size = struct.unpack("<4sI", header)
        if name == b"data" and size == UNKNOWN_SIZE:
            size = long_size
        is_read = name in wanted or name == b"ds64"
        content = read_exactly(file, min(size, CONTENT_BYTES)) if is_read else b""
        if name == b"ds64" and len(content) >= 16:
            long_size = struct.unpack("<Q", content[8:16])[0]
        yield Chunk(name, size, content)
        _skip(file, size - len(content) + size % 2, seekable)


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """``size`` bytes of a file or a pipe, fewer only at its end.

    >>> import io
    >>> read_exactly(io.BytesIO(b"abc"), 2), read_exactly(io.BytesIO(b"abc"), 9)
    (b'ab', b'abc')
    """
    parts: list[bytes] = []
    missing = size
    while missing and (more := read_available(file, min(missing, SKIP_BYTES))):
        parts.append(more)
        missing -= len(more)
    return b"".join(parts)


def read_available(file: BinaryIO, most: int) -> bytes:
    """The bytes that have arrived, ``most`` at most: a live pipe must not wait until a buffer is full.

    >>> import io
    >>> read_available(io.BytesIO(b"abc"), 2)
    b'ab'
    """
    return file.read1(most) if hasattr(file, "read1") else file.read(most)


def _skip(file: BinaryIO, n_bytes: int, seekable: bool) -> None:
    if seekable:
        file.seek(n_bytes, 1)
        return
    while n_bytes and (skipped := len(read_available(file, min(n_bytes, SKIP_BYTES)))):
        n_bytes -= skipped

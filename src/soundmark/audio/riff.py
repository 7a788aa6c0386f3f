"""Read the chunks of a RIFF file (WAV, RF64, BW64), from a file or from a pipe that cannot seek."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO

HEADER_BYTES = 12  # "RIFF", the file's size, "WAVE"


CONTENT_BYTES = 1 << 16  # maximum number of bytes that are read from a chunk


SKIP_BYTES = 1 << 16  # block size where a chunk is skipped by reading it


UNKNOWN_SIZE = 0xFFFF_FFFF  # size field of a data chunk whose size is in the preceding ds64 chunk


@dataclass(frozen=True)
class Chunk:
    """A chunk of ``size`` bytes. ``content`` contains its first bytes; it is empty if the chunk was not requested."""

    name: bytes
    size: int
    content: bytes = b""


def is_wave(header: bytes) -> bool:
    r"""Return whether the first 12 bytes of a file are those of a WAV, RF64 or BW64 file.

    >>> is_wave(b"RIFF\x24\x00\x00\x00WAVE"), is_wave(b"RIFF\x24\x00\x00\x00AVI ")
    (True, False)
    """
    return header[:4] in (b"RIFF", b"RF64", b"BW64") and header[8:HEADER_BYTES] == b"WAVE"


def read_chunks(file: BinaryIO, wanted: Collection[bytes]) -> Iterator[Chunk]:
    r"""Yield the chunks of ``file`` in order. The file must be positioned after its 12-byte header.

    The content of ``wanted`` chunks is read, up to 64 KiB. For any other chunk, the file is positioned at the chunk's
    content while the chunk is yielded. To read the samples from a pipe, stop at the chunk ``data`` and read on. A
    truncated file ends with its last complete chunk header. The size of a data chunk above 4 GiB comes from ``ds64``.

    Raises:
        OSError, ValueError: the file cannot be read, or a damaged size is larger than any file can be.

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
    """Read ``size`` bytes from a file or a pipe, or fewer at its end.

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
    """Read at most ``most`` of the bytes that are available, without waiting for a buffer to fill.

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

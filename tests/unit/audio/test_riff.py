"""RIFF chunks are the same from a seekable file and from a pipe; a truncated file ends the list."""

import io
import struct

import pytest

from soundmark.audio import riff


class Pipe(io.RawIOBase):
    """A stream that returns at most three bytes per read and cannot seek."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 3))


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if size is None else size) + content + b"\0" * (len(content) % 2)


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
def test_chunks_of_odd_and_even_sizes_are_found_in_order(kind):
    data = (
        chunk(b"fmt ", b"0123456789abcdef") + chunk(b"junk", b"abc") + chunk(b"LIST", b"INFO1") + chunk(b"data", b"xy")
    )
    found = list(riff.read_chunks(kind(data), {b"LIST"}))
    assert [(c.name, c.size, c.content) for c in found] == [
        (b"fmt ", 16, b""),
        (b"junk", 3, b""),
        (b"LIST", 5, b"INFO1"),
        (b"data", 2, b""),
    ]


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
def test_samples_can_be_read_from_a_pipe_at_the_data_chunk(kind):
    file = kind(chunk(b"junk", b"abc") + chunk(b"data", b"samples!"))
    assert next(c.size for c in riff.read_chunks(file, set()) if c.name == b"data") == 8
    assert riff.read_exactly(file, 8) == b"samples!"


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
def test_content_of_a_large_chunk_is_limited_and_the_rest_is_skipped(kind):
    data = chunk(b"LIST", b"x" * 100_000) + chunk(b"guan", b"y")
    found = list(riff.read_chunks(kind(data), {b"LIST", b"guan"}))
    assert [(c.size, len(c.content)) for c in found] == [(100_000, riff.CONTENT_BYTES), (1, 1)]


def test_size_of_an_rf64_data_chunk_comes_from_ds64():
    data = (
        chunk(b"ds64", struct.pack("<QQQI", 0, 6, 3, 0)) + chunk(b"data", b"abcdef", 0xFFFF_FFFF) + chunk(b"guan", b"z")
    )
    assert [(c.name, c.size) for c in riff.read_chunks(io.BytesIO(data), {b"guan"})] == [
        (b"ds64", 28),
        (b"data", 6),
        (b"guan", 1),
    ]


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
def test_truncated_file_ends_with_its_last_complete_header(kind):
    data = chunk(b"junk", b"abc") + b"LIST\x50\x00\x00\x00ab"
    assert [c.content for c in riff.read_chunks(kind(data), {b"LIST"})] == [b"", b"ab"]
    assert list(riff.read_chunks(kind(b"LIST\x50"), {b"LIST"})) == []

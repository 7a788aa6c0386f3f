"""Find the damaged parts of Ogg, MP3 and ALAC files, in which libsndfile conceals damage without an error.

Each container has something that can be checked without decoding: an Ogg page has a checksum and a number, an MP3
frame begins where the one before it ends, an ALAC packet ends with an end tag. Damage that leaves these intact, such as
a changed bit inside an MP3 frame, is not found here.
"""

from __future__ import annotations

import io
import itertools
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from soundmark.audio.decoding.diagnosis import FileSource
from soundmark.runtime.text import counted

SEARCH_BYTES = 1 << 16  # read at once to find the next page or frame


OPUS_HZ = 48_000  # Opus counts positions at this rate, whatever the rate of the sound


@dataclass(frozen=True)
class Damage:
    """``n`` invalid or missing ``units`` (such as "Ogg page") of a file, between two frames of the sound."""

    unit: str
    n: int
    start: int
    stop: int


def damage_note(source: FileSource, container: str, subtype: str, frames: tuple[int, int], rate_hz: int) -> str | None:
    """Return a note if the sound between two ``frames`` is damaged; None if no damage is known.

    >>> damage_note("street.wav", "WAV", "PCM_16", (0, 8000), 8000)
    """
    start_s, stop_s = (frame / rate_hz for frame in frames)
    position_hz = OPUS_HZ if subtype == "OPUS" else rate_hz
    parts = [(part, part.start / position_hz, part.stop / position_hz) for part in _damage(source, container, subtype)]
    found = [part for part in parts if part[1] < stop_s and part[2] > start_s]
    if not found:
        return None
    are = "are" if (n := sum(part.n for part, *_ in found)) > 1 else "is"
    from_s, to_s = max(start_s, found[0][1]), min(stop_s, found[-1][2])
    units = counted(n, found[0][0].unit)
    return f"is damaged: {units} {are} invalid or missing, between {from_s:.3f} s and {to_s:.3f} s"


def _damage(source: FileSource, container: str, subtype: str) -> tuple[Damage, ...]:
    check: Callable[[BinaryIO], Iterator[Damage]]
    if container == "OGG":
        check = damaged_ogg_pages
    elif container == "MP3":
        check = damaged_mpeg_frames
    elif subtype.startswith("ALAC"):
        check = damaged_alac_packets
    else:
        return ()
    if not isinstance(source, str | os.PathLike):
        with _from_start(source) as file:
            return tuple(check(file))
    try:
        state = Path(source).stat()
        return _damage_of_file(os.fspath(source), state.st_size, state.st_mtime_ns, check)
    except OSError:  # removed while it was read: nothing is known
        return ()


@lru_cache(maxsize=256)
def _damage_of_file(
    path: str, size: int, changed_ns: int, check: Callable[[BinaryIO], Iterator[Damage]]
) -> tuple[Damage, ...]:
    """Check a file once for all slices of it; ``size`` and ``changed_ns`` make the cache current."""
    with Path(path).open("rb") as file:
        return tuple(check(file))


@contextmanager
def _from_start(source: bytes | BinaryIO) -> Iterator[BinaryIO]:
    """Give bytes or an open file as a file at its start; an open file keeps its position."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    position = source.tell()
    source.seek(0)
    try:
        yield source
    finally:
        source.seek(position)


# Ogg: RFC 3533, section 6

_PAGE = struct.Struct("<4sBBqIIIB")


_CRC = slice(22, 26)  # the checksum in the header, zero while the checksum is computed


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


NO_POSITION = -1  # of a page on which no packet ends


def damaged_ogg_pages(file: BinaryIO) -> Iterator[Damage]:
    """Yield the gaps between valid pages: pages with a wrong checksum, missing pages, and bytes that are no page.

    >>> list(damaged_ogg_pages(io.BytesIO(b"OggS, but no page")))
    []
    """
    position = 0  # in frames of the sound, at the end of the latest valid page
    numbers: dict[int, int] = {}  # of the next page, by logical stream
    skipped = False
    while (page := _next_page(file)) is not None:
        header, before = page
        _, _, flags, granule, serial, number, _, _ = _PAGE.unpack(header)
        missing = number - numbers.get(serial, number)
        skipped = skipped or before > 0
        begins = bool(flags & 2)  # a chained stream counts from 0 again
        if granule != NO_POSITION and not begins and serial in numbers:
            if skipped or missing > 0:
                yield Damage("Ogg page", max(1, missing), position, max(position + 1, granule))
            skipped = False
            position = max(position, granule)
        numbers[serial] = number + 1


def _next_page(file: BinaryIO) -> tuple[bytes, int] | None:
    """Return the header of the next valid page, and how many bytes before it belong to no valid page."""
    start = file.tell()
    for at in _positions(file, b"OggS", start):
        file.seek(at)
        header = file.read(_PAGE.size)
        if len(header) == _PAGE.size and header[4] == 0:  # the version
            sizes = file.read(header[-1])
            body = file.read(sum(sizes))
            if _ogg_checksum(header, sizes, body) == int.from_bytes(header[_CRC], "little"):
                return header, at - start
    return None


def _ogg_checksum(header: bytes, sizes: bytes, body: bytes) -> int:
    """Return the CRC-32 of a page.

    Ogg's differs from zlib's in the order of the bits, in the initial value (0) and in the last step (no inversion).
    """
    page = (header[: _CRC.start] + bytes(4) + header[_CRC.stop :] + sizes + body).translate(_REVERSED)
    reversed_bits = zlib.crc32(page, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(reversed_bits.to_bytes(4, "little").translate(_REVERSED), "big")


def _positions(file: BinaryIO, pattern: bytes, at: int) -> Iterator[int]:
    """Yield the positions of ``pattern`` in ``file``, from ``at`` on. The file may be read between them."""
    while True:
        file.seek(at)
        part = file.read(SEARCH_BYTES)
        found = part.find(pattern)
        while found >= 0:
            yield at + found
            found = part.find(pattern, found + 1)
        if len(part) < SEARCH_BYTES:
            return
        at += len(part) - len(pattern) + 1


# MPEG audio: ISO/IEC 11172-3, section 2.4.1.3, and 13818-3

_MPEG_1 = 3


_KBIT_S = {  # by (is MPEG 1, layer): the bit rates of index 1 to 14
    (True, 1): range(32, 449, 32),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


_RATE_HZ = (44_100, 48_000, 32_000)  # of MPEG 1; MPEG 2 has half of it, MPEG 2.5 a quarter


_SAME_STREAM = 0xFFFE_0C00  # sync, version, layer and sample rate: equal in all frames of a stream


def damaged_mpeg_frames(file: BinaryIO) -> Iterator[Damage]:
    """Yield the positions at which a frame does not begin at the end of the one before it, but later.

    Tags between frames (ID3) are no damage: players skip them.

    >>> list(damaged_mpeg_frames(io.BytesIO(b"no MPEG audio")))
    []
    """
    found = _find_frame(file, _end_of_tags(file, 0), None)
    if found is None:
        return
    at, stream = found
    for n in itertools.count():
        file.seek(at)
        size, frames = _mpeg_frame(file.read(4))
        if not size:
            end = _end_of_tags(file, at)
            if (found := _find_frame(file, end, stream)) is None:
                return  # the end of the file, or a truncated frame: the decoded length shows what is missing
            at = found[0]
            file.seek(at)
            size, frames = _mpeg_frame(file.read(4))
            if at > end:
                yield Damage("MP3 frame", max(1, (at - end) // size), n * frames, (n + 2) * frames)
        at += size


@lru_cache(maxsize=1024)
def _mpeg_frame(header: bytes) -> tuple[int, int]:
    """Return the bytes and the frames of sound of the frame with a 4-byte ``header``; (0, 0) if it is invalid."""
    bits = int.from_bytes(header, "big")
    version, layer, kbit_s, rate = bits >> 19 & 3, 4 - (bits >> 17 & 3), bits >> 12 & 15, bits >> 10 & 3
    if len(header) < 4 or bits >> 21 != 0x7FF or version == 1 or layer == 4 or kbit_s in (0, 15) or rate == 3:
        return 0, 0
    first = version == _MPEG_1
    rate_hz = _RATE_HZ[rate] >> (0 if first else 1 if version == 2 else 2)
    samples = 384 if layer == 1 else 576 if layer == 3 and not first else 1152
    slot = 4 if layer == 1 else 1  # bytes by which padding lengthens a frame
    slots = samples // 8 * _KBIT_S[first, layer][kbit_s - 1] * 1000 // rate_hz // slot
    return (slots + (bits >> 9 & 1)) * slot, samples


def _end_of_tags(file: BinaryIO, at: int) -> int:
    """Return the position after the ID3 tags that begin at ``at``."""
    while True:
        file.seek(at)
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            size = sum((byte & 0x7F) << 7 * power for power, byte in enumerate(reversed(head[6:])))
            at += 10 + size + (10 if head[5] & 0x10 else 0)
        elif head[:3] == b"TAG":
            at += 128
        else:
            return at


def _find_frame(file: BinaryIO, at: int, stream: int | None) -> tuple[int, int] | None:
    """Return the position and the stream of the next frame that another frame of its stream follows, from ``at`` on.

    The search ends after ``SEARCH_BYTES``: decoders give up much earlier.
    """
    for position in _positions(file, b"\xff", at):
        if position > at + SEARCH_BYTES:
            return None
        file.seek(position)
        first = file.read(4)
        size, _ = _mpeg_frame(first)
        own = int.from_bytes(first, "big") & _SAME_STREAM
        if size and stream in (None, own):
            file.seek(position + size)
            second = file.read(4)
            if _mpeg_frame(second)[0] and int.from_bytes(second, "big") & _SAME_STREAM == own:
                return position, own
    return None


# ALAC in CAF: Apple's Core Audio Format Specification 1.0; the end tag is ID_END of Apple's ALAC reference

_CHUNK = struct.Struct(">4sq")


_END_TAG = 0b111


_LARGEST = (1 << 62) - 1  # packet size: longer numbers in a damaged table are cut to it


def damaged_alac_packets(file: BinaryIO) -> Iterator[Damage]:
    """Yield the packets of a CAF file that do not end with ALAC's end tag.

    >>> list(damaged_alac_packets(io.BytesIO(b"no CAF file")))
    []
    """
    chunks = dict(_caf_chunks(file, end := file.seek(0, os.SEEK_END)))
    if not {b"desc", b"pakt", b"data"} <= chunks.keys():
        return
    file.seek(chunks[b"desc"][0] + 20)
    per_packet = int.from_bytes(file.read(4), "big")
    table, n_bytes = chunks[b"pakt"]
    at = chunks[b"data"][0] + 4  # after the edit count
    file.seek(table + 24)
    for n, size in enumerate(_variable_length(file.read(max(0, n_bytes - 24)))):
        at += size
        if at > end:  # truncated: the decoded length shows it
            return
        file.seek(at - 2)
        if size >= 2 and not _ends_with_tag(file.read(2)):
            yield Damage("ALAC packet", 1, n * per_packet, (n + 1) * per_packet)


def _caf_chunks(file: BinaryIO, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield the name of each chunk of a CAF file of ``end`` bytes, and the position and size of its content."""
    file.seek(0)
    if file.read(8)[:4] != b"caff":
        return
    while len(header := file.read(_CHUNK.size)) == _CHUNK.size:
        name, size = _CHUNK.unpack(header)
        at = file.tell()
        yield name, (at, min(size, end - at))
        if not 0 <= size <= end - at:  # the last chunk: to the end of the file
            return
        file.seek(at + size)


def _variable_length(table: bytes) -> Iterator[int]:
    """Yield the numbers of a packet table: 7 bits a byte, most significant first; bit 8 marks all but the last."""
    number = 0
    for byte in table:
        number = (number << 7 | byte & 0x7F) & _LARGEST
        if not byte & 0x80:
            yield number
            number = 0


def _ends_with_tag(end: bytes) -> bool:
    """Return whether a packet ends with the end tag, and up to 7 bits 0 that fill its last byte."""
    bits = int.from_bytes(end, "big")
    padding = (bits & -bits).bit_length() - 1
    return 0 <= padding < 8 and bits >> padding & _END_TAG == _END_TAG

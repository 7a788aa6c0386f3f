"""Raw PCM, or a WAV, on a pipe."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from soundmark.audio.capture.source import BLOCK_S, Block, LiveSource
from soundmark.audio.decoding import LARGEST_RATE_HZ, LOWEST_RATE_HZ, Samples
from soundmark.audio.samples import to_mono
from soundmark.errors import AudioError, SettingsError, unknown_name

FORMATS = {
    "u8": ("u1", 2.0**-7, -1.0),
    "s16": ("<i2", 2.0**-15, 0.0),
    "s24": ("<i4", 2.0**-31, 0.0),  # three bytes, the highest of four
    "s32": ("<i4", 2.0**-31, 0.0),
    "f32": ("<f4", 1.0, 0.0),
}
"""Sample formats: as NumPy has them, little-endian; what they are multiplied by; what is added."""


WAV_FORMATS = {(1, 8): "u8", (1, 16): "s16", (1, 24): "s24", (1, 32): "s32", (3, 32): "f32"}  # format tag, bits


ENDLESS = 0x7FFF_0000  # bytes: a WAV that says it holds more was begun before anybody knew how long it would be


ENCODED = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF", b"caff": "CAF", b"RF64": "RF64"}


def open_pcm(
    file: BinaryIO, *, rate_hz: int, channels: int = 1, sample_format: str = "s16", is_live: bool = False
) -> LiveSource:
    """Raw samples on a pipe, interleaved, little-endian, until it closes; a frame that is cut off at the end is none.

    A WAV, which ``arecord`` writes unless told otherwise, is heard when its header says the same as the arguments.

    Raises:
        SettingsError: a format that is not known; a rate or number of channels that cannot be meant.

    >>> import io
    >>> source = open_pcm(io.BytesIO(np.array([16384, 0], "<i2").tobytes()), rate_hz=8000, channels=2)
    >>> [block.samples for block in source.blocks()]
    [array([0.25], dtype=float32)]
    """
    if sample_format not in FORMATS:
        raise unknown_name("sample format", sample_format, FORMATS)
    if not LOWEST_RATE_HZ <= rate_hz <= LARGEST_RATE_HZ:
        raise SettingsError(
            f"the rate is {rate_hz} Hz: give the one it was recorded at, {LOWEST_RATE_HZ} to {LARGEST_RATE_HZ}."
        )
    if not 1 <= channels <= 64:
        raise SettingsError(f"there are {channels} channels: give a number from 1 to 64.")

    said = False

    def blocks() -> Iterator[Block]:
        width = 3 if sample_format == "s24" else np.dtype(FORMATS[sample_format][0]).itemsize
        frame = width * channels
        wanted = max(1, round(rate_hz * BLOCK_S)) * frame
        rest, left = _read_header(file, (rate_hz, channels, sample_format))
        while left > 0 and (data := _read(file, int(min(max(1, wanted - len(rest)), left)))):
            rest += data
            left -= len(data)
            whole = len(rest) // frame * frame
            if whole >= wanted:
                yield Block(decode_pcm(rest[:whole], sample_format, channels), note=spoilt(rest[:whole]))
                rest = rest[whole:]
        if whole := len(rest) // frame * frame:
            yield Block(decode_pcm(rest[:whole], sample_format, channels), note=spoilt(rest[:whole]))

    def spoilt(data: bytes) -> str | None:
        """What to say of the first samples that are no numbers."""
        nonlocal said
        if said or sample_format != "f32" or np.isfinite(np.frombuffer(data, "<f4")).all():
            return None
        said = True
        return "there are samples that are no numbers (NaN or infinite): they are heard as silence"

    return LiveSource("-", rate_hz, blocks, is_live)


def _read_header(file: BinaryIO, expected: tuple[int, int, str]) -> tuple[bytes, float]:
    """The first samples of PCM, with which it is seen that it is none; and how many bytes follow: of a WAV, its data.

    Raises:
        SettingsError: it is a WAV of another rate, number of channels or format.
        AudioError: it is encoded.
    """
    start = _exactly(file, 4)
    for magic, name in ENCODED.items():
        if start.startswith(magic):
            raise AudioError(
                f"what comes in is {name}, and PCM is heard here: decode it first, as ffmpeg -i - -f s16le -ac 1 "
                f"-ar {expected[0]} - does."
            )
    if start != b"RIFF":
        return start, float("inf")
    _exactly(file, 8)  # its size, "WAVE"
    found: tuple[int, int, str | None] | None = None
    while len(head := _exactly(file, 8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            _check_header(found, expected)
            return b"", size if 0 < size < ENDLESS else float("inf")
        chunk = _exactly(file, size + size % 2)
        if name == b"fmt " and len(chunk) >= 16:
            tag, count, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
            tag = struct.unpack_from("<H", chunk, 24)[0] if tag == 0xFFFE and len(chunk) >= 26 else tag
            found = rate_hz, count, WAV_FORMATS.get((tag, bits))
    return b"", 0.0


def _check_header(found: tuple[int, int, str | None] | None, expected: tuple[int, int, str]) -> None:
    if found is None or found[2] is None:
        raise AudioError("what comes in is a WAV whose format is no PCM: decode it first, as ffmpeg -f s16le does.")
    if found != expected:
        raise SettingsError(
            f"what comes in is a WAV of another kind: give --rate {found[0]} --channels {found[1]} --sample-format "
            f"{found[2]}."
        )


def _exactly(file: BinaryIO, size: int) -> bytes:
    """``size`` bytes, or all there are."""
    data = b""
    while len(data) < size and (more := _read(file, min(size - len(data), 1 << 16))):
        data += more
    return data


def _read(file: BinaryIO, most: int) -> bytes:
    """What is there by now, ``most`` bytes at most: a live pipe must not wait for a buffer to be full."""
    return file.read1(most) if hasattr(file, "read1") else file.read(most)


def decode_pcm(data: bytes, sample_format: str, channels: int) -> Samples:
    """Interleaved frames to mono samples [n], float32; what is no number counts as silence.

    >>> decode_pcm(bytes([0, 0, 64]), "s24", 1)
    array([0.5], dtype=float32)
    """
    kind, scale, offset = FORMATS[sample_format]
    if sample_format == "s24":
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        numbers = padded.view("<i4")[:, 0]
    else:
        numbers = np.frombuffer(data, kind)
    floats = numbers.astype(np.float32) * np.float32(scale) + np.float32(offset)
    return to_mono(np.nan_to_num(floats, nan=0.0, posinf=0.0, neginf=0.0).reshape(-1, channels))


def standard_input() -> BinaryIO:
    """Standard input as a pipe of bytes that is read without waiting for a buffer to fill.

    >>> with standard_input() as file:
    ...     file.readable()
    True
    """
    with suppress(OSError, ValueError):
        return os.fdopen(os.dup(0), "rb", buffering=1 << 16)
    raise AudioError("standard input is closed: pipe PCM into it.")

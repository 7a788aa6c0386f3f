"""Read raw PCM, or a WAV, from a pipe."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from soundmark.audio import riff
from soundmark.audio.capture.source import BLOCK_S, Block, LiveSource, mono_block
from soundmark.audio.decoding import LARGEST_RATE_HZ, LOWEST_RATE_HZ
from soundmark.audio.samples import to_float
from soundmark.errors import AudioError, SettingsError, unknown_name
from soundmark.runtime.checks import value_text

FORMATS = {
    "u8": "u1",
    "s16": "<i2",
    "s24": "<i4",  # 3 bytes, padded to the upper 3 of 4
    "s32": "<i4",
    "f32": "<f4",
}
"""Sample formats: NumPy type (little-endian)."""


WAV_FORMATS = {(1, 8): "u8", (1, 16): "s16", (1, 24): "s24", (1, 32): "s32", (3, 32): "f32"}  # format tag, bits


ENDLESS = 0x7FFF_0000  # bytes: a larger size is a placeholder, written before the length was known


ENCODED = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF", b"caff": "CAF", b"RF64": "RF64"}


def open_pcm(
    file: BinaryIO, *, rate_hz: int, channels: int = 1, sample_format: str = "s16", is_live: bool = False
) -> LiveSource:
    """Open a pipe of raw PCM, interleaved and little-endian. An incomplete last frame is ignored.

    A WAV, the default of ``arecord``, is accepted if its header matches the arguments. Invalid samples of "f32" are
    replaced by silence and counted: see ``mono_block``.

    Raises:
        SettingsError: the sample format is unknown, or the sample rate or number of channels is out of range.

    >>> import io
    >>> source = open_pcm(io.BytesIO(np.array([16384, 0], "<i2").tobytes()), rate_hz=8000, channels=2)
    >>> [block.samples for block in source.blocks()]
    [array([0.25], dtype=float32)]
    """
    if not hasattr(file, "read"):
        raise SettingsError(
            f'the source is {value_text(file)}: expected "microphone", a URL, "-" or an open binary file.'
        )
    if sample_format not in FORMATS:
        raise unknown_name("sample format", sample_format, FORMATS)
    if not LOWEST_RATE_HZ <= rate_hz <= LARGEST_RATE_HZ:
        raise SettingsError(f"the sample rate is {rate_hz} Hz: expected {LOWEST_RATE_HZ} to {LARGEST_RATE_HZ} Hz.")
    if not 1 <= channels <= 64:
        raise SettingsError(f"channels is {channels}: expected a whole number from 1 to 64.")

    def blocks() -> Iterator[Block]:
        width = 3 if sample_format == "s24" else np.dtype(FORMATS[sample_format]).itemsize
        frame_bytes = width * channels
        block_bytes = max(1, round(rate_hz * BLOCK_S)) * frame_bytes
        buffer, remaining = _read_header(file, (rate_hz, channels, sample_format))
        while remaining > 0:
            wanted = int(min(max(1, block_bytes - len(buffer)), remaining))
            if not (data := riff.read_available(file, wanted)):
                break
            buffer += data
            remaining -= len(data)
            complete = len(buffer) // frame_bytes * frame_bytes
            if complete >= block_bytes:
                yield decode_pcm(buffer[:complete], sample_format, channels)
                buffer = buffer[complete:]
        if complete := len(buffer) // frame_bytes * frame_bytes:
            yield decode_pcm(buffer[:complete], sample_format, channels)

    return LiveSource("-", rate_hz, blocks, is_live)


def _read_header(file: BinaryIO, expected: tuple[int, int, str]) -> tuple[bytes, float]:
    """Detect the format; return the PCM bytes already read, and the number of PCM bytes that follow (inf: unknown).

    Raises:
        SettingsError: a WAV whose sample rate, number of channels or sample format differs from ``expected``.
        AudioError: the audio is encoded.
    """
    start = riff.read_exactly(file, 4)
    for magic, name in ENCODED.items():
        if start.startswith(magic):
            raise AudioError(
                f"standard input contains {name}, but raw PCM is expected: decode it first, for example with "
                f"ffmpeg -i - -f s16le -ac 1 -ar {expected[0]} -."
            )
    if start != b"RIFF":
        return start, float("inf")
    riff.read_exactly(file, riff.HEADER_BYTES - len(start))
    found: tuple[int, int, str | None] | None = None
    for chunk in riff.read_chunks(file, {b"fmt "}):
        if chunk.name == b"data":
            _check_header(found, expected)
            return b"", chunk.size if 0 < chunk.size < ENDLESS else float("inf")
        if chunk.name == b"fmt " and len(chunk.content) >= 16:
            found = _wav_format(chunk.content)
    return b"", 0.0


def _wav_format(content: bytes) -> tuple[int, int, str | None]:
    """Parse a ``fmt`` chunk: sample rate, channels and sample format (None: not PCM)."""
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", content)
    tag = struct.unpack_from("<H", content, 24)[0] if tag == 0xFFFE and len(content) >= 26 else tag
    return rate_hz, channels, WAV_FORMATS.get((tag, bits))


def _check_header(found: tuple[int, int, str | None] | None, expected: tuple[int, int, str]) -> None:
    if found is None or found[2] is None:
        raise AudioError(
            "standard input contains a WAV that is not PCM: decode it first, for example with ffmpeg -f s16le."
        )
    if found != expected:
        raise SettingsError(
            f"standard input contains a WAV of another format: give --rate {found[0]} --channels {found[1]} "
            f"--sample-format {found[2]}."
        )


def decode_pcm(data: bytes, sample_format: str, channels: int) -> Block:
    """Convert interleaved frames to a block of mono samples [n], float32.

    >>> decode_pcm(bytes([0, 0, 64]), "s24", 1).samples
    array([0.5], dtype=float32)
    """
    if sample_format == "s24":
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = padded.view("<i4")[:, 0]
    else:
        values = np.frombuffer(data, FORMATS[sample_format])
    return mono_block(to_float(values).reshape(-1, channels))


def standard_input() -> BinaryIO:
    """Open standard input as a pipe of bytes that is read without waiting for a buffer to fill.

    >>> with standard_input() as file:
    ...     file.readable()
    True
    """
    with suppress(OSError, ValueError):
        return os.fdopen(os.dup(0), "rb", buffering=1 << 16)
    raise AudioError("standard input is closed: pipe PCM into it.")

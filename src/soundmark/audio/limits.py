"""Limits on what is decoded: per block, per file, and at once in memory. They do not depend on what a header declares.

A few megabytes of FLAC can declare hours of silence, and a header can declare any sample rate, number of channels and
length. Each limit is therefore on values and on seconds.
"""

from __future__ import annotations

from soundmark.errors import AudioError

BLOCK_FRAMES = 1 << 18  # decoded at once: a clip in one call, an hour without all its channels in memory


BLOCK_VALUES = 1 << 20  # decoded at once, in all channels: 4 MiB of float32


BLOCK_S = 60.0  # decoded at once: one block at 40 Hz, resampled to 48 kHz, takes 11 MiB


FILE_S = 31 * 24 * 3600.0  # longest sound that is decoded from one file: a recorder's month


FILE_VALUES = 1 << 37  # most values in all channels that are decoded from one file: 24 h of 8 channels at 192 kHz


MEMORY_SAMPLES = 1 << 28  # longest sound in memory, as mono samples: 1 GiB, 93 minutes at 48 kHz


PIPE_BYTES = 1 << 32  # most bytes that are read from a pipe: the largest WAV file, 4 GiB


# Bits per value of the encodings with a constant size. Others can contain any length of silence.
_BITS = {
    "PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64, "ULAW": 8, "ALAW": 8,
    "DPCM_8": 8, "DPCM_16": 16, "IMA_ADPCM": 4, "MS_ADPCM": 4, "VOX_ADPCM": 4, "G721_32": 4, "G723_24": 3,
    "G723_40": 5, "NMS_ADPCM_16": 2, "NMS_ADPCM_24": 3, "NMS_ADPCM_32": 4, "GSM610": 1.625,
}  # fmt: skip


def block_frames(rate_hz: int, channels: int) -> int:
    """Return the number of frames that are decoded at once: a power of two, at least 1024.

    >>> block_frames(44_100, 2), block_frames(44_100, 1024), block_frames(40, 1)
    (262144, 1024, 2048)
    """
    most = min(BLOCK_FRAMES, BLOCK_VALUES // channels, int(BLOCK_S * rate_hz))
    return 1 << max(10, most.bit_length() - 1)


def held_frames(n_bytes: int, subtype: str, channels: int) -> int | None:
    """Return how many frames a file of ``n_bytes`` can hold; None if its encoding has no constant size.

    >>> held_frames(5000, "PCM_16", 2), held_frames(5000, "VORBIS", 2)
    (1250, None)
    """
    bits = _BITS.get(subtype)
    return None if bits is None else int(n_bytes * 8 / (bits * channels))


def check_file(name: str, frames: int, rate_hz: int, channels: int) -> None:
    """Raise ``AudioError`` for a sound that is longer than one file may be; ``name`` begins the message.

    >>> check_file('"wind.flac"', 40 * 3_600 * 1_000, rate_hz=40, channels=1)
    Traceback (most recent call last):
    soundmark.errors.AudioError: "wind.flac" is too long: its header declares 1000.0 h at 40 Hz, 1 channel;...
    """
    if frames > FILE_S * rate_hz or frames * channels > FILE_VALUES:
        raise AudioError(
            f"{name} is too long: its header declares {frames / rate_hz / 3600:.1f} h at {rate_hz} Hz, {channels} "
            f"channel{'s' * (channels > 1)}; at most {FILE_S / 3600:.0f} h and {FILE_VALUES:.2g} values in all "
            "channels are read from one file. Divide it into shorter files."
        )


def check_memory(name: str, duration_s: float, rate_hz: int) -> None:
    """Raise ``AudioError`` for a sound that is too long to be read at once at ``rate_hz``; ``name`` begins the message.

    >>> check_memory('"night.flac"', 36_000.0, rate_hz=44_100)
    Traceback (most recent call last):
    soundmark.errors.AudioError: "night.flac" lasts 36000.0 s, too long to be read at once: at most 6087.0 s...
    """
    if duration_s * rate_hz > MEMORY_SAMPLES:
        raise AudioError(
            f"{name} lasts {duration_s:.1f} s, too long to be read at once: at most {MEMORY_SAMPLES / rate_hz:.1f} s "
            f"at {rate_hz} Hz are. Divide it into shorter files, or read a part of it (start_s, stop_s)."
        )

"""Sound files and live sources to mono float32 samples.

    file, bytes ─ decoding ─▶ blocks ─ resampling ─▶ sound          microphone, pipe, address ─ capture ─▶ blocks

In reading order:

    folders     sound files in folders
    diagnosis   why a file cannot be read as sound
    decoding    a file, bytes or an open file to blocks of mono samples
    resampling  resampling by soxr's HQ, whole or as a stream
    samples     arrays of samples: to mono, to float, checked
    sound       a file to mono samples at a sample rate, whole or as a stream
    riff        the chunks of a RIFF file, from a file or a pipe
    timestamps  when a recording started
    capture     live sources: a pipe, a microphone, a network stream
"""

from soundmark.audio.decoding import Samples
from soundmark.audio.resampling import Resampler, resample
from soundmark.audio.samples import check_samples, to_mono
from soundmark.audio.sound import (
    AudioInfo,
    AudioSource,
    Sound,
    Stream,
    as_sound,
    incomplete_note,
    info,
    is_samples,
    read,
    stream,
    write,
)

__all__ = [
    "AudioInfo",
    "AudioSource",
    "Resampler",
    "Samples",
    "Sound",
    "Stream",
    "as_sound",
    "check_samples",
    "incomplete_note",
    "info",
    "is_samples",
    "read",
    "resample",
    "stream",
    "to_mono",
    "write",
]

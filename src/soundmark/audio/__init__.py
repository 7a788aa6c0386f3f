"""Sound files and live sources → mono float32 samples.

    file, bytes ─ decoding ─▶ blocks ─ resampling ─▶ sound
    microphone, pipe, URL ─ capture ─▶ blocks

In reading order:

    folders      find sound files in folders
    limits       limits on what is decoded: per block, per file, and at once in memory
    decoding     decode a file, bytes or an open file to blocks of mono samples, here or in a worker process
    resampling   resample an array or a stream with soxr's HQ
    samples      validate arrays of samples; convert them to mono and float32
    level        the level of samples, plain and A-weighted
    backgrounds  synthetic background sounds
    sound        read a file as mono samples at a sample rate, at once or as a stream
    nature       recordings of rain, wind, fire and animals, as examples of none of the classes
    windows      the spans of the windows that a recording is split into
    remote       sound files at URLs: listed, and read by ranges
    riff         read the chunks of a RIFF file, from a file or a pipe
    timestamps   the start time of a recording
    capture      live sources: a pipe, a microphone, a network stream
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

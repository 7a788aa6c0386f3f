"""A file, bytes or an open file to mono ``float32`` samples at a rate, and nothing else.

Decoding is libsndfile's: WAV of every sort, FLAC, Ogg Vorbis and Opus, MP3, AIFF and more. Mono is the mean of the
channels, resampling is soxr's HQ; both give librosa 0.11's numbers (``librosa.load``).

Whatever is wrong with a sound is an ``AudioError`` of one sentence that names it. A file that was cut off is read
as far as it goes, and says so in its ``note``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from soundmark.audio import decoding, diagnosis
from soundmark.audio.decoding import FileSource, Samples
from soundmark.audio.resampling import Resampler, check_rate
from soundmark.audio.samples import as_array, is_array, mono_of_any_layout
from soundmark.errors import AudioError, SettingsError
from soundmark.runtime import atomic


@dataclass(frozen=True, eq=False)
class Sound:
    """Mono samples [n], float32, usually within −1…1, at ``rate_hz``; ``note`` says what was missing, if anything."""

    samples: Samples
    rate_hz: int
    note: str | None = None

    @property
    def duration_s(self) -> float:
        """The length in seconds.

        >>> Sound(np.zeros(11025, np.float32), rate_hz=22050).duration_s
        0.5
        """
        return len(self.samples) / self.rate_hz

    def __repr__(self) -> str:
        note = f", note={self.note!r}" if self.note else ""
        return f"Sound({self.duration_s:.3f} s: {len(self.samples)} samples, rate_hz={self.rate_hz}{note})"


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says; ``note`` is None, or what is wrong with the file as far as its header shows."""

    rate_hz: int
    frames: int
    channels: int
    container: str  # "WAV", "WAVEX", "FLAC", "OGG", "MP3", "AIFF", …
    subtype: str  # "PCM_16", "FLOAT", "MS_ADPCM", "VORBIS", …
    note: str | None = None

    @property
    def duration_s(self) -> float:
        """The length in seconds, as the header has it.

        >>> AudioInfo(rate_hz=8000, frames=2000, channels=1, container="WAV", subtype="PCM_16").duration_s
        0.25
        """
        return self.frames / self.rate_hz


def info(source: FileSource) -> AudioInfo:
    """What a sound is, from its header: nothing is decoded.

    A header for 0 frames is no error here but a ``note``. Raises ``AudioError`` for what cannot be opened.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((2400, 2)), 24000, format="WAV", subtype="PCM_24")
    >>> info(file.getvalue())
    AudioInfo(rate_hz=24000, frames=2400, channels=2, container='WAV', subtype='PCM_24', note=None)
    """
    with decoding.opened(decoding.reopenable(source), decoding.name_of(source)) as file:
        note = diagnosis.header_note(file.extra_info)
        if file.frames == 0:
            note = f"has no samples: it {note or 'holds a header for 0 frames'}"
        return AudioInfo(file.samplerate, file.frames, file.channels, file.format, file.subtype, note)


def read(source: FileSource, *, rate_hz: int | None = None, start_s: float = 0.0, stop_s: float | None = None) -> Sound:
    """The sound of a path, of bytes or of an open binary file: mono, and at ``rate_hz`` if one is given.

    Only the frames between ``start_s`` and ``stop_s`` (None: the end) are decoded; both are rounded to whole frames.
    With ``rate_hz`` the samples are those of ``librosa.load(path, sr=rate_hz)``, librosa 0.11. Raises ``AudioError``
    for a sound that cannot be read, holds no samples or samples that are no numbers, and for a slice outside of it.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.full((8000, 2), [0.5, 0.25]), 8000, format="WAV")
    >>> sound = read(file.getvalue(), start_s=0.5)
    >>> sound.samples[:2], sound.rate_hz, sound.duration_s
    (array([0.375, 0.375], dtype=float32), 8000, 0.5)
    """
    with stream(source, rate_hz=rate_hz, start_s=start_s, stop_s=stop_s) as flow:
        parts = list(flow)
        return Sound(parts[0] if len(parts) == 1 else np.concatenate(parts), flow.rate_hz, flow.note)


class Stream:
    """The mono samples of a sound at ``rate_hz``, block by block, [n] each; they can be gone through once.

    ``duration_s`` is how long it should be; ``note``, once it was gone through, what was missing, if anything.
    """

    def __init__(self, blocks: decoding.Blocks, rate_hz: int | None) -> None:
        self.rate_hz, self._blocks = rate_hz or blocks.rate_hz, blocks

    @property
    def duration_s(self) -> float:
        """How many seconds there should be, as the header has it."""
        return self._blocks.frames / self._blocks.rate_hz

    @property
    def note(self) -> str | None:
        """What was missing of it, when it was gone through; None: nothing."""
        return self._blocks.note

    def __iter__(self) -> Iterator[Samples]:
        resampler = Resampler(self._blocks.rate_hz, self.rate_hz)
        for block in self._blocks:
            yield resampler.push(block)
        if len(rest := resampler.end()):
            yield rest


@contextmanager
def stream(
    source: FileSource,
    *,
    rate_hz: int | None = None,
    start_s: float = 0.0,
    stop_s: float | None = None,
    pool: Executor | None = None,
) -> Iterator[Stream]:
    """What ``read`` has, without ever holding the whole of it: the same samples, to the bit.

    A ``pool`` of threads decodes a long file in parts, ahead of whoever takes it.

    >>> write(folder / "long.wav", np.zeros(600_000), 8000)
    >>> with stream(folder / "long.wav", rate_hz=4000) as flow:
    ...     flow.duration_s, sum(len(samples) for samples in flow)
    (75.0, 300000)
    """
    if rate_hz is not None:
        check_rate(rate_hz, "the rate to read at")
    with decoding.blocks(source, start_s=start_s, stop_s=stop_s, pool=pool) as blocks:
        yield Stream(blocks, rate_hz)


def incomplete_note(name: str, note: str) -> str:
    """What to say of a sound that was read with a ``note``.

    >>> incomplete_note("street.wav", "is cut off: its last Ogg page is missing")
    '"street.wav" is cut off: its last Ogg page is missing. What is there was heard.'
    """
    return f'"{name}" {note}. What is there was heard.'


def write(path: str | os.PathLike[str], samples: npt.ArrayLike, rate_hz: int) -> None:
    """A 16-bit WAV of samples [n] or [n, channels]; what lies outside −1…1 is clipped. It appears whole or not at all.

    Raises ``AudioError`` for samples that are no sound, ``OutputError`` where the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(folder + "/tone.wav", 0.5 * np.sin(np.arange(8000)), 8000)
    ...     info(folder + "/tone.wav").duration_s
    1.0
    """
    import soundfile

    check_rate(rate_hz, "the rate to write at")
    array = np.asarray(samples, np.float32)
    if array.ndim not in (1, 2) or not array.size or not np.isfinite(array).all():
        raise AudioError(
            f"what should be written to {decoding.name_of(path)} is no sound: it needs finite samples [n]."
        )
    encoded = io.BytesIO()  # libsndfile does not say that a disk is full
    soundfile.write(encoded, array, rate_hz, format="WAV", subtype="PCM_16")
    atomic.write_bytes(path, encoded.getvalue())


AudioSource = str | PathLike[str] | bytes | BinaryIO | npt.ArrayLike | Sound


def is_samples(source: object) -> bool:
    """Whether a source is in memory as samples, and not something to decode: an array, a list, a tensor, a ``Sound``.

    >>> is_samples(np.zeros(8)), is_samples("street.wav")
    (True, False)
    """
    return isinstance(source, Sound) or is_array(source)


def as_sound(source: AudioSource, rate_hz: float | None = None) -> Sound:
    """The sound of any source, at the source's own rate.

    A source is a path, the bytes of an audio file, an open binary file, a ``Sound``, or samples at ``rate_hz``: an
    array, a list or a torch tensor of floats in −1…1, or of whole numbers of 8, 16 or 32 bits as audio files hold them.
    Samples are [n], [n, channels] or [channels, n]: see ``samples.mono_of_any_layout``.

    Raises:
        AudioError: the sound cannot be read, or the samples are not one.
        SettingsError: samples come without their rate, or a file with one.

    >>> as_sound(np.zeros((2, 8000), np.int16), 16000).duration_s
    0.5
    """
    if is_array(source):
        rate = _whole_rate(rate_hz)
        return Sound(mono_of_any_layout(as_array(source)), rate)
    if rate_hz is not None:
        raise SettingsError(
            f"rate_hz={rate_hz!r} came with a sound that says its own rate: leave it out; it is for bare samples."
        )
    if isinstance(source, Sound):
        return source
    return read(source)  # type: ignore[arg-type]


def _whole_rate(rate_hz: object) -> int:
    """The rate of bare samples: a whole number above 0, which may be a float."""
    number = isinstance(rate_hz, int | float | np.integer | np.floating) and not isinstance(rate_hz, bool)
    if not number or not 0 < rate_hz < float("inf") or rate_hz != int(rate_hz):  # type: ignore[operator, call-overload]
        raise SettingsError(
            f"samples came with the rate {rate_hz!r}: say how many there are per second, a whole number above 0, as "
            "rate_hz=22050."
        )
    return int(rate_hz)  # type: ignore[call-overload]

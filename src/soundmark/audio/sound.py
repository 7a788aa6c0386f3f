"""Read a file, bytes or an open file as mono ``float32`` samples at a sample rate; write WAV files.

libsndfile decodes WAV of every kind, FLAC, Ogg Vorbis and Opus, MP3, AIFF and more. Mono is the mean of the channels;
resampling is soxr's HQ. The samples equal those of ``librosa.load`` (librosa 0.11).

A sound that cannot be read raises an ``AudioError`` that names it. A truncated file is read as far as it can be
decoded, and the ``note`` of the result reports it.
"""

from __future__ import annotations

import io
import itertools
import math
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from soundmark.audio import decoding, limits
from soundmark.audio.decoding import FileSource, Samples, diagnosis
from soundmark.audio.resampling import Resampler, check_rate
from soundmark.audio.samples import as_array, is_array, mono_of_any_layout
from soundmark.errors import AudioError, SettingsError
from soundmark.runtime import atomic

if TYPE_CHECKING:
    from soundmark.audio.decoding.isolation import Decoders, IsolatedBlocks


@dataclass(frozen=True, eq=False)
class Sound:
    """Mono samples [n], float32, usually within −1…1, at ``rate_hz``. ``note`` states what is missing, if anything."""

    samples: Samples
    rate_hz: int
    note: str | None = None

    @property
    def duration_s(self) -> float:
        """The duration in seconds.

        >>> Sound(np.zeros(11025, np.float32), rate_hz=22050).duration_s
        0.5
        """
        return len(self.samples) / self.rate_hz

    def __repr__(self) -> str:
        note = f", note={self.note!r}" if self.note else ""
        return f"Sound({self.duration_s:.3f} s: {len(self.samples)} samples, rate_hz={self.rate_hz}{note})"


@dataclass(frozen=True)
class AudioInfo:
    """The properties in a file's header. ``note`` describes a problem that the header shows, such as truncation."""

    rate_hz: int
    frames: int
    channels: int
    container: str  # "WAV", "WAVEX", "FLAC", "OGG", "MP3", "AIFF", …
    subtype: str  # "PCM_16", "FLOAT", "MS_ADPCM", "VORBIS", …
    note: str | None = None

    @property
    def duration_s(self) -> float:
        """The duration in seconds that the header declares.

        >>> AudioInfo(rate_hz=8000, frames=2000, channels=1, container="WAV", subtype="PCM_16").duration_s
        0.25
        """
        return self.frames / self.rate_hz


def info(source: FileSource) -> AudioInfo:
    """Read the properties of a sound from its header, without decoding samples.

    A header that declares 0 frames gives a ``note`` and no error.

    Raises:
        AudioError: the sound cannot be opened.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((2400, 2)), 24000, format="WAV", subtype="PCM_24")
    >>> info(file.getvalue())
    AudioInfo(rate_hz=24000, frames=2400, channels=2, container='WAV', subtype='PCM_24', note=None)
    """
    with decoding.reopenable(source) as again, decoding.opened(again, decoding.name_of(source)) as file:
        held = decoding.held_frames(again, file)
        note = diagnosis.header_note(file.extra_info) or decoding.overstated_note(held, file)
        if file.frames == 0:
            note = f"has no samples: it {note or decoding.NO_FRAMES}"
        return AudioInfo(file.samplerate, held, file.channels, file.format, file.subtype, note)


def read(source: FileSource, *, rate_hz: int | None = None, start_s: float = 0.0, stop_s: float | None = None) -> Sound:
    """Read a path, bytes or an open binary file as mono samples, resampled to ``rate_hz`` if that is given.

    Only the frames between ``start_s`` and ``stop_s`` (None: the end) are decoded; both are rounded to whole frames.
    With ``rate_hz``, the samples equal those of ``librosa.load(path, sr=rate_hz)`` (librosa 0.11).

    Raises:
        AudioError: the sound cannot be decoded, it contains no samples or samples that are not finite, the slice is
            outside of it, or it has more than ``limits.MEMORY_SAMPLES`` (93 minutes at 48 kHz): use ``stream``.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.full((8000, 2), [0.5, 0.25]), 8000, format="WAV")
    >>> sound = read(file.getvalue(), start_s=0.5)
    >>> sound.samples[:2], sound.rate_hz, sound.duration_s
    (array([0.375, 0.375], dtype=float32), 8000, 0.5)
    """
    with stream(source, rate_hz=rate_hz, start_s=start_s, stop_s=stop_s) as opened:
        limits.check_memory(decoding.name_of(source), opened.duration_s, opened.rate_hz)
        return Sound(_joined(opened), opened.rate_hz, opened.note)


def _joined(opened: Stream) -> Samples:
    """Join the blocks of a stream, without a second copy of a long sound."""
    blocks = iter(opened)
    first = next(blocks)
    second = next(blocks, None)
    if second is None:
        return first
    samples = np.empty(math.ceil(opened.duration_s * opened.rate_hz) + 1, np.float32)
    n = 0
    for block in itertools.chain((first, second), blocks):
        samples[n : n + len(block)] = block
        n += len(block)
    return samples[:n] if n > len(samples) // 2 else samples[:n].copy()


class Stream:
    """Iterate once over the mono samples of a sound at ``rate_hz``, in blocks [n].

    ``duration_s`` is the expected duration. After the iteration, ``note`` states what was missing, if anything.
    """

    def __init__(self, blocks: decoding.Blocks | IsolatedBlocks, rate_hz: int | None) -> None:
        self.rate_hz, self._blocks = rate_hz or blocks.rate_hz, blocks

    @property
    def duration_s(self) -> float:
        """The expected duration in seconds, from the header."""
        return self._blocks.frames / self._blocks.rate_hz

    @property
    def note(self) -> str | None:
        """What was missing, after the iteration; None if nothing was."""
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
    decoders: Decoders | None = None,
) -> Iterator[Stream]:
    """Open a sound as a ``Stream`` of blocks, so that memory use does not grow with its length.

    The samples equal those of ``read`` bit for bit. A ``pool`` of threads decodes parts of a long file in advance.
    ``decoders`` decode it in a worker process instead.

    >>> write(folder / "long.wav", np.zeros(600_000), 8000)
    >>> with stream(folder / "long.wav", rate_hz=4000) as opened:
    ...     opened.duration_s, sum(len(samples) for samples in opened)
    (75.0, 300000)
    """
    if rate_hz is not None:
        check_rate(rate_hz, "the rate to read at")
    if decoders:
        with decoders.blocks(source, start_s=start_s, stop_s=stop_s) as isolated:
            yield Stream(isolated, rate_hz)
        return
    with decoding.blocks(source, start_s=start_s, stop_s=stop_s, pool=pool) as blocks:
        yield Stream(blocks, rate_hz)


def incomplete_note(name: str, note: str) -> str:
    """Return the warning for a sound that was read with a ``note``.

    >>> incomplete_note("street.wav", "is truncated: its last Ogg page is missing")
    '"street.wav" is truncated: its last Ogg page is missing. The decodable part was analysed.'
    """
    return f'"{name}" {note}. The decodable part was analysed.'


def write(path: str | os.PathLike[str], samples: npt.ArrayLike, rate_hz: int) -> None:
    """Write samples [n] or [n, channels] as a 16-bit WAV file, clipped to −1…1. The file is replaced atomically.

    Raises:
        AudioError: the samples are empty, not finite, or of another shape.
        OutputError: the file cannot be written.

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
            f"cannot write {decoding.name_of(path)}: expected finite samples of the shape [n] or [n, channels]."
        )
    encoded = io.BytesIO()  # libsndfile does not report a full disk
    soundfile.write(encoded, array, rate_hz, format="WAV", subtype="PCM_16")
    atomic.write_bytes(path, encoded.getvalue())


AudioSource = str | PathLike[str] | bytes | BinaryIO | npt.ArrayLike | Sound


def is_samples(source: object) -> bool:
    """Return whether a source is samples in memory (an array, a list, a tensor, a ``Sound``) and need not be decoded.

    >>> is_samples(np.zeros(8)), is_samples("street.wav")
    (True, False)
    """
    return isinstance(source, Sound) or is_array(source)


def as_sound(source: AudioSource, rate_hz: float | None = None) -> Sound:
    """Convert any source to a ``Sound``, at the sample rate of the source.

    A source is a path, the bytes of an audio file, an open binary file, a ``Sound``, or samples at ``rate_hz``: an
    array, a list or a torch tensor of floats within −1…1, or of integers of 8, 16 or 32 bits as in audio files.
    Samples are [n], [n, channels] or [channels, n]: see ``samples.mono_of_any_layout``.

    Raises:
        AudioError: the sound cannot be decoded, or the samples are invalid.
        SettingsError: ``rate_hz`` is missing for samples, or given for a source that has its own sample rate.

    >>> as_sound(np.zeros((2, 8000), np.int16), 16000).duration_s
    0.5
    """
    if is_array(source):
        array = as_array(source)  # a list of paths is refused as such, and not for its missing rate
        return Sound(mono_of_any_layout(array), _whole_rate(rate_hz))
    if rate_hz is not None:
        raise SettingsError(
            f"rate_hz={rate_hz!r} was given for a source that has its own sample rate: omit it; it is for arrays only."
        )
    if isinstance(source, Sound):
        return source
    return read(source)  # type: ignore[arg-type]


def _whole_rate(rate_hz: object) -> int:
    """Validate the sample rate of an array: a whole number above 0, which may be a float."""
    number = isinstance(rate_hz, int | float | np.integer | np.floating) and not isinstance(rate_hz, bool)
    if not number or not 0 < rate_hz < float("inf") or rate_hz != int(rate_hz):  # type: ignore[operator, call-overload]
        raise SettingsError(
            f"samples need their sample rate in Hz, a whole number above 0, such as rate_hz=22050; got {rate_hz!r}."
        )
    return int(rate_hz)  # type: ignore[call-overload]

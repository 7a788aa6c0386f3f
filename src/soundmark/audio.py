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
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark import atomic, decoding
from soundmark.decoding import Samples, Source
from soundmark.errors import AudioError

LARGEST_SAMPLE = 1e12  # beyond it float32 may not hold the square of a spectrum


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


def info(source: Source) -> AudioInfo:
    """What a sound is, from its header: nothing is decoded.

    A header for 0 frames is no error here but a ``note``. Raises ``AudioError`` for what cannot be opened.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((2400, 2)), 24000, format="WAV", subtype="PCM_24")
    >>> info(file.getvalue())
    AudioInfo(rate_hz=24000, frames=2400, channels=2, container='WAV', subtype='PCM_24', note=None)
    """
    with decoding.opened(decoding.reopenable(source), decoding.name_of(source)) as file:
        note = decoding.header_note(file.extra_info)
        if file.frames == 0:
            note = f"has no samples: it {note or 'holds a header for 0 frames'}"
        return AudioInfo(file.samplerate, file.frames, file.channels, file.format, file.subtype, note)


def read(source: Source, *, rate_hz: int | None = None, start_s: float = 0.0, stop_s: float | None = None) -> Sound:
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
    source: Source,
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
        _check_rate(rate_hz, "the rate to read at")
    with decoding.blocks(source, start_s=start_s, stop_s=stop_s, pool=pool) as blocks:
        yield Stream(blocks, rate_hz)


def shortened(name: str, note: str) -> str:
    """What to say of a sound that was read with a ``note``.

    >>> shortened("street.wav", "is cut off: its last Ogg page is missing")
    '"street.wav" is cut off: its last Ogg page is missing. What is there was heard.'
    """
    return f'"{name}" {note}. What is there was heard.'


def to_mono(samples: npt.NDArray[Any]) -> Samples:
    """The mean of the channels: [n, channels] to [n], float32; [n] is handed through.

    As ``librosa.to_mono``, up to the order of summation beyond two channels.

    >>> to_mono(np.array([[1.0, 0.5], [-1.0, 1.0]], np.float32))
    array([0.75, 0.  ], dtype=float32)
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim == 1:
        return samples
    if samples.ndim != 2 or samples.shape[1] == 0:
        raise AudioError(f"samples must have the shape [n] or [n, channels], and these have {list(samples.shape)}.")
    return decoding.mean_of_channels(samples, 1.0)


def check_samples(samples: Samples, name: str = "") -> None:
    """Refuse samples that are no numbers, or beyond ``LARGEST_SAMPLE``, with an ``AudioError`` that begins with a name.

    >>> check_samples(np.array([0, 1e13], np.float32), '"hum.wav"')
    Traceback (most recent call last):
    soundmark.errors.AudioError: "hum.wav": a sample is ±1e+13: samples should lie within −1…1. Scale them, or...
    """
    peak = max(float(samples.max(initial=0)), -float(samples.min(initial=0)))  # NaN if any sample is
    if peak <= LARGEST_SAMPLE:
        return
    bad = len(samples) - int(np.count_nonzero(np.isfinite(samples)))
    wrong = f"{bad} of {len(samples)} samples are no numbers (NaN or infinite)" if bad else f"a sample is ±{peak:g}"
    whose = f"{name}: " if name else ""
    raise AudioError(f"{whose}{wrong}: samples should lie within −1…1. Scale them, or leave this sound out.")


def resample(samples: npt.ArrayLike, from_hz: int, to_hz: int) -> Samples:
    """[n] samples at ``from_hz`` to [ceil(n · to_hz / from_hz)] at ``to_hz``, float32: soxr's HQ.

    soxr alone is sometimes a sample short; librosa pads with a zero, and so does this.

    >>> resample(np.zeros(11024, np.float32), 11024, 22050).shape
    (22050,)
    """
    wanted = np.ascontiguousarray(samples, np.float32)
    if wanted.ndim != 1:
        raise AudioError(f"samples must have the shape [n], and these have {list(wanted.shape)}: use to_mono first.")
    resampler = Resampler(from_hz, to_hz)
    if from_hz == to_hz or not len(wanted):
        return wanted
    return np.concatenate([resampler.push(wanted), resampler.end()])


class Resampler:
    """Resamples a sound that arrives bit by bit: all that it gives, joined, is what ``resample`` has for the whole.

    >>> resampler = Resampler(44100, 22050)
    >>> parts = [resampler.push(np.ones(n, np.float32)) for n in (1000, 4, 99_997)]
    >>> sum(map(len, parts)) + len(resampler.end())
    50501
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        import soxr

        _check_rate(from_hz, "the rate of the samples")
        _check_rate(to_hz, "the rate to resample to")
        self.from_hz, self.to_hz = from_hz, to_hz
        self._given = self._made = 0
        self._soxr = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def push(self, samples: Samples) -> Samples:
        """What can be said by now, [m], after ``samples`` [n]."""
        self._given += len(samples)
        return samples if self._soxr is None else self._counted(self._soxr.resample_chunk(samples))

    def end(self) -> Samples:
        """The rest."""
        nothing = np.zeros(0, np.float32)
        if self._soxr is None or not self._given:
            return nothing
        rest = self._counted(self._soxr.resample_chunk(nothing, last=True))
        surplus = self._made - -(-self._given * self.to_hz // self.from_hz)
        return np.pad(rest, (0, -surplus)) if surplus < 0 else rest[: len(rest) - surplus]

    def _counted(self, made: Samples) -> Samples:
        self._made += len(made)
        return made


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

    _check_rate(rate_hz, "the rate to write at")
    array = np.asarray(samples, np.float32)
    if array.ndim not in (1, 2) or not array.size or not np.isfinite(array).all():
        raise AudioError(
            f"what should be written to {decoding.name_of(path)} is no sound: it needs finite samples [n]."
        )
    encoded = io.BytesIO()  # libsndfile does not say that a disk is full
    soundfile.write(encoded, array, rate_hz, format="WAV", subtype="PCM_16")
    atomic.write_bytes(path, encoded.getvalue())


def _check_rate(rate_hz: int, what: str) -> None:
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | np.integer) or rate_hz <= 0:
        raise AudioError(f"{what} is {rate_hz!r} Hz; it must be a whole number above 0, such as 22050.")

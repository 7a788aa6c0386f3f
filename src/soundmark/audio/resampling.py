"""Resampling by soxr's HQ, whole or as a stream."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soundmark.audio.decoding import Samples
from soundmark.errors import AudioError


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

        check_rate(from_hz, "the rate of the samples")
        check_rate(to_hz, "the rate to resample to")
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


def check_rate(rate_hz: int, what: str) -> None:
    """Refuse a sample rate that is not a whole number above 0.

    >>> check_rate(0, "the sample rate")
    Traceback (most recent call last):
    soundmark.errors.AudioError: the sample rate is 0 Hz; it must be a whole number above 0, such as 22050.
    """
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | np.integer) or rate_hz <= 0:
        raise AudioError(f"{what} is {rate_hz!r} Hz; it must be a whole number above 0, such as 22050.")

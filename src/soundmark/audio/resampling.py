"""Resample an array or a stream with soxr's HQ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soundmark.audio.decoding import Samples
from soundmark.errors import AudioError

BLOCK_SAMPLES = 1 << 22  # resampled at once: a long sound is not in memory several times


def resample(samples: npt.ArrayLike, from_hz: int, to_hz: int) -> Samples:
    """Resample [n] samples at ``from_hz`` to [ceil(n · to_hz / from_hz)] at ``to_hz``, float32, with soxr's HQ.

    soxr's result can be one sample short. As in librosa, a zero is appended then.

    >>> resample(np.zeros(11024, np.float32), 11024, 22050).shape
    (22050,)
    """
    array = np.ascontiguousarray(samples, np.float32)
    if array.ndim != 1:
        raise AudioError(f"samples must have the shape [n]; these have {list(array.shape)}: use to_mono first.")
    resampler = Resampler(from_hz, to_hz)
    if from_hz == to_hz or not len(array):
        return array
    result, n = np.empty(-(-len(array) * to_hz // from_hz), np.float32), 0
    for block in (*(array[at : at + BLOCK_SAMPLES] for at in range(0, len(array), BLOCK_SAMPLES)), None):
        part = resampler.end() if block is None else resampler.push(block)
        result[n : n + len(part)] = part
        n += len(part)
    return result


class Resampler:
    """Resample a stream in blocks. The concatenated results equal those of ``resample`` for the complete sound.

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
        self._n_in = self._n_out = 0
        self._soxr = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def push(self, samples: Samples) -> Samples:
        """Add ``samples`` [n]; return the resampled samples [m] that are complete."""
        self._n_in += len(samples)
        return samples if self._soxr is None else self._counted(self._soxr.resample_chunk(samples))

    def end(self) -> Samples:
        """Return the remaining samples after the last ``push``."""
        empty = np.zeros(0, np.float32)
        if self._soxr is None or not self._n_in:
            return empty
        rest = self._counted(self._soxr.resample_chunk(empty, last=True))
        surplus = self._n_out - -(-self._n_in * self.to_hz // self.from_hz)
        return np.pad(rest, (0, -surplus)) if surplus < 0 else rest[: len(rest) - surplus]

    def _counted(self, samples: Samples) -> Samples:
        self._n_out += len(samples)
        return samples


def check_rate(rate_hz: int, what: str) -> None:
    """Raise ``AudioError`` for a sample rate that is not a whole number above 0; ``what`` begins the message.

    >>> check_rate(0, "the sample rate")
    Traceback (most recent call last):
    soundmark.errors.AudioError: the sample rate is 0 Hz; it must be a whole number above 0, such as 22050.
    """
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | np.integer) or rate_hz <= 0:
        raise AudioError(f"{what} is {rate_hz!r} Hz; it must be a whole number above 0, such as 22050.")

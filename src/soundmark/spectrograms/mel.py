"""The "mel" representation: a mel spectrogram in decibels, resized like an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from soundmark.audio import Samples
from soundmark.runtime.checks import is_finite, use_python_numbers
from soundmark.spectrograms.banded import Banded, Float32, Float64
from soundmark.spectrograms.fourier import hann, power_spectra
from soundmark.spectrograms.representation import (
    NARROWEST_HZ,
    Representation,
    Spectrogram,
    SpectrogramImage,
    averaged,
    frames_per_column,
)
from soundmark.spectrograms.resize import opencv_area

QUIETEST = 1e-5  # ``amin`` of librosa's amplitude_to_db, applied to a power: the lower limit of a value


# Slaney's mel scale (Auditory Toolbox, 1998): linear up to 1 kHz (15 mels), then 27 mels per factor of 6.4.
HZ_PER_MEL = 200.0 / 3


LOG_FROM_HZ = 1000.0


LOG_FROM_MEL = LOG_FROM_HZ / HZ_PER_MEL


LOG_STEP = math.log(6.4) / 27


@dataclass(frozen=True, kw_only=True)
class Mel(Representation):
    """A mel spectrogram in decibels, [freq, time], equal to this code with librosa 0.11 and OpenCV:

        y, sr = librosa.load(path)
        S = librosa.feature.melspectrogram(y=y, sr=sr)
        cv2.resize(librosa.amplitude_to_db(S, ref=np.max), (64, 64), interpolation=cv2.INTER_AREA)

    As in the notebook, the decibels are 20 · log10 of a *power*, twice the usual value. 0 dB is the maximum of the
    clip; values are clipped at −``top_db``. Powers below 1e-5 are set to 1e-5, so that silence is 0 dB everywhere and
    the minimum of a quiet clip is above −``top_db``. There is no normalisation. A clip of n samples has 1 + n // hop
    frames; fewer frames than ``size`` are enlarged as in OpenCV (``resize.opencv_area``).

    >>> Mel()(np.sin(np.arange(22050, dtype=np.float32)), rate_hz=22050).shape
    (64, 64)
    """

    name: ClassVar[str] = "mel"
    version: ClassVar[int] = 1
    later_parameters: ClassVar[tuple[str, ...]] = (*Representation.later_parameters, "f_max_hz")

    rate_hz: int = 22050
    n_fft: int = 2048
    hop_samples: int = 512
    n_mels: int = 128
    top_db: float = 80.0
    f_min_hz: float = 0.0
    f_max_hz: float | None = None  # None: half of ``rate_hz``

    def __post_init__(self) -> None:
        use_python_numbers(self)
        self.require_whole("rate_hz", "n_fft", "hop_samples", "n_mels")
        self.require(self.n_fft >= 2, "n_fft", "2 or more samples")
        self.require(is_finite(self.top_db) and self.top_db > 0, "top_db", "a number of decibels above 0")
        self.require_shape("size")
        self.require_time_expansion()
        top_hz = self.rate_hz / 2
        in_range = self.f_max_hz is None or (is_finite(self.f_max_hz) and 0 < self.f_max_hz <= top_hz)
        self.require(in_range, "f_max_hz", "above 0 and at most half of rate_hz")
        has_band = is_finite(self.f_min_hz) and 0 <= self.f_min_hz <= (self.f_max_hz or top_hz) - NARROWEST_HZ
        self.require(has_band, "f_min_hz", f"at least 0, and at least {NARROWEST_HZ} Hz below f_max_hz")

    def compute(self, samples: Samples, rate_hz: int) -> Spectrogram:
        """Convert samples [n] at ``rate_hz`` to ``size``, in dB."""
        log_power = self._log_power(samples, rate_hz)
        rows, columns = self.size
        shrinks = self.n_mels >= rows and len(log_power) >= columns
        resized = opencv_area(len(log_power), columns, shrinks=shrinks).down(log_power)
        resized = opencv_area(self.n_mels, rows, shrinks=shrinks).along(resized)
        return np.ascontiguousarray(resized.T) * np.float32(20 / math.log(10))

    def render(self, samples: npt.ArrayLike, rate_hz: int) -> SpectrogramImage:
        """Compute the mel spectrogram before resizing: [``n_mels``, frames], row 0 is the highest band.

        >>> Mel().render(np.sin(np.arange(22050, dtype=np.float32)), rate_hz=22050).pixels.shape
        (128, 44)
        """
        duration_s = np.size(samples) / rate_hz
        samples, rate_hz = self.prepare(samples, rate_hz)
        log_power = self._log_power(samples, rate_hz)
        db = averaged(log_power, frames_per_column(len(log_power))).T[::-1] * (20 / math.log(10))
        pixels = np.round(255 * (1 + db / self.top_db)).astype(np.uint8)
        centres_hz = self._edges_hz()[-2:0:-1]
        f_max_hz = (self.f_max_hz or rate_hz / 2) * self.time_expansion
        return SpectrogramImage(pixels, duration_s, f_max_hz, centres_hz, "mel", -self.top_db, 0.0)

    def frequencies_hz(self, rate_hz: int) -> Float64:
        """Return the centre frequency of each row in Hz, [freq], for any sample rate of the sound; row 0 is the lowest.

        >>> Mel(size=(4, 4)).frequencies_hz(22050).round()
        array([ 426., 1296., 3035., 7109.])
        """
        edges_hz = self._edges_hz()
        bands = (np.arange(self.size[0]) + 0.5) * (
            self.n_mels / self.size[0]
        ) + 0.5  # band i has the centre edges_hz[i + 1]
        return np.interp(bands, np.arange(len(edges_hz)), edges_hz)

    def _edges_hz(self) -> Float64:
        """Return the edges of the bands as frequencies of the sound, [``n_mels`` + 2]."""
        return mel_edges_hz(self.rate_hz, self.n_mels, self.f_min_hz, self.f_max_hz) * self.time_expansion

    def _log_power(self, samples: Samples, rate_hz: int) -> Float32:
        """Return ln(mel power / maximum) with the lower limits of ``top_db`` and ``QUIETEST``: [frames, n_mels]."""
        padded = np.zeros(len(samples) + 2 * (self.n_fft // 2), samples.dtype)  # 20 µs faster than np.pad
        padded[self.n_fft // 2 : self.n_fft // 2 + len(samples)] = samples
        bank = mel_bank(rate_hz, self.n_fft, self.n_mels, self.f_min_hz, self.f_max_hz)
        mels = np.empty((1 + (len(padded) - self.n_fft) // self.hop_samples, self.n_mels), np.float32)
        for piece, power in power_spectra(padded, hann(self.n_fft), self.hop_samples):
            bank.along(power, out=mels[piece])
        loudest = max(float(mels.max()), QUIETEST)
        # Divide by the maximum before the logarithm, so that the maximum, and silence, are exactly 0.
        mels *= np.float32(1 / loudest)
        np.maximum(mels, np.float32(max(QUIETEST / loudest, 10 ** (-self.top_db / 20))), out=mels)
        return np.log(mels, out=mels)


def mel_edges_hz(rate_hz: int, n_mels: int, f_min_hz: float = 0.0, f_max_hz: float | None = None) -> Float64:
    """Return the edges [n_mels + 2] of the triangular filters, evenly spaced in Slaney's mels.

    They equal ``librosa.mel_frequencies(n_mels + 2, fmin=f_min_hz, fmax=f_max_hz)``; the default of ``f_max_hz`` is
    half the rate.

    >>> mel_edges_hz(4000, 3).round(1)
    array([   0. ,  418. ,  836.1, 1299.6, 2000. ])
    """
    low, top = _slaney_mel(f_min_hz), _slaney_mel(rate_hz / 2 if f_max_hz is None else f_max_hz)
    mels = np.linspace(low, top, n_mels + 2)
    return np.where(mels < LOG_FROM_MEL, HZ_PER_MEL * mels, LOG_FROM_HZ * np.exp(LOG_STEP * (mels - LOG_FROM_MEL)))


def _slaney_mel(hz: float) -> float:
    return hz / HZ_PER_MEL if hz < LOG_FROM_HZ else LOG_FROM_MEL + math.log(hz / LOG_FROM_HZ) / LOG_STEP


@lru_cache(maxsize=16)
def mel_bank(rate_hz: int, n_fft: int, n_mels: int, f_min_hz: float = 0.0, f_max_hz: float | None = None) -> Banded:
    """Return the triangular filters [n_mels, n_fft // 2 + 1], of area 1 over Hz, equal to ``librosa.filters.mel``.

    >>> bank = mel_bank(22050, 2048, 128)
    >>> bank.dense().shape, bank.dense()[0, :4]
    ((128, 1025), array([0.        , 0.01618285, 0.03236571, 0.02899009], dtype=float32))
    """
    bins_hz = np.arange(n_fft // 2 + 1) * (rate_hz / n_fft)
    edges_hz = mel_edges_hz(rate_hz, n_mels, f_min_hz, f_max_hz)
    low, middle, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    triangles = np.minimum((bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle))
    weights = np.maximum(triangles, 0.0) * 2.0 / (high - low)
    return Banded.between(edges_hz, bins_hz, weights, len(bins_hz))

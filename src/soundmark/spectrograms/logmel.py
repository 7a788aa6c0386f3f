"""The "logmel" representation: EfficientAT's log-mel spectrogram, with a fixed frame rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from soundmark.audio import Samples
from soundmark.runtime.checks import is_finite, use_python_numbers
from soundmark.spectrograms.banded import Banded, Float32, Float64
from soundmark.spectrograms.fourier import power_spectra
from soundmark.spectrograms.representation import (
    NARROWEST_HZ,
    Representation,
    Spectrogram,
    SpectrogramImage,
    averaged,
    frames_per_column,
)

QUIETEST = 1e-5  # added to each power before the logarithm


MIDDLE, SPREAD = -4.5, 5.0  # EfficientAT's fixed normalisation of ln(power + 1e-5)


FLOOR = (np.log(QUIETEST) - MIDDLE) / SPREAD  # the value of silence: −1.40


KALDI_MELS, KALDI_BREAK_HZ = 1127.0, 700.0


@dataclass(frozen=True, kw_only=True)
class LogMel(Representation):
    """A log-mel spectrogram [``n_mels``, frames], equal to EfficientAT's ``AugmentMelSTFT`` at 32 kHz:

        y[t] = x[t+1] − 0.97·x[t]                                                     (pre-emphasis)
        P = |STFT(y)|²          n_fft 1024, symmetric Hann window of 800, hop 320, centred with reflection
        S = (ln(K·P + 1e-5) + 4.5) / 5                                  K: 128 Kaldi mel bands from 0 to 15 000 Hz

    ``size`` is (``n_mels``, frames), with one frame per hop. A shorter sound is repeated to fill the frames; from a
    longer sound, the middle is used. ``for_window`` sets the number of frames for a data set's window.

    Source: F. Schmid, K. Koutini and G. Widmer, "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge
    Distillation", ICASSP 2023, and its code, ``models/preprocess.py``; mel bands as torchaudio's
    ``compliance.kaldi.get_mel_banks``.

    >>> LogMel()(np.sin(np.arange(64000, dtype=np.float32)), rate_hz=32000).shape
    (128, 400)
    """

    name: ClassVar[str] = "logmel"
    version: ClassVar[int] = 1
    real_time: ClassVar[bool] = True

    rate_hz: int = 32000
    size: tuple[int, int] = (128, 400)
    n_fft: int = 1024
    window_samples: int = 800
    hop_samples: int = 320
    f_max_hz: float = 15000.0
    f_min_hz: float = 0.0
    pre_emphasis: float = 0.97

    def __post_init__(self) -> None:
        use_python_numbers(self)
        self.require_time_expansion()
        self.require_whole("rate_hz", "n_fft", "window_samples", "hop_samples")
        self.require(self.n_fft >= 4, "n_fft", "4 or more samples")
        self.require(self.window_samples <= self.n_fft, "window_samples", "no more than n_fft")
        in_range = is_finite(self.f_max_hz) and 0 < self.f_max_hz <= self.rate_hz / 2
        self.require(in_range, "f_max_hz", "above 0 and at most half of rate_hz")
        has_band = is_finite(self.f_min_hz) and 0 <= self.f_min_hz <= self.f_max_hz - NARROWEST_HZ
        self.require(has_band, "f_min_hz", f"at least 0, and at least {NARROWEST_HZ} Hz below f_max_hz")
        self.require(
            is_finite(self.pre_emphasis) and 0 <= self.pre_emphasis < 1, "pre_emphasis", "at least 0 and below 1"
        )
        self.require_shape("size")

    def for_window(self, window_s: float) -> Self:
        """Return the representation with the number of frames in ``window_s`` seconds.

        >>> LogMel().for_window(5.0).size
        (128, 500)
        """
        frames = max(1, round(window_s * self.rate_hz * self.time_expansion / self.hop_samples))
        return replace(self, size=(self.size[0], frames))

    def compute(self, samples: Samples, rate_hz: int) -> Spectrogram:
        """Convert samples [n] at ``rate_hz`` to ``size``."""
        n = self.size[1] * self.hop_samples
        start = max(0, len(samples) - n) // 2
        spectrogram = self.natural(np.resize(samples, n) if len(samples) < n else samples[start : start + n])
        return np.ascontiguousarray(np.resize(spectrogram.T, self.size[::-1]).T)  # repeats if there are too few frames

    def frequencies_hz(self, rate_hz: int) -> Float64:
        """Return the centre frequency of each band in Hz, [freq], for any sample rate; row 0 is the lowest.

        >>> LogMel(size=(1, 4), f_max_hz=700.0).frequencies_hz(8000).round(1)
        array([289.9])
        """
        return self._edges_hz()[1:-1]

    def times_s(self, n_samples: int, rate_hz: int) -> Float64:
        """Return the time of each frame's centre in seconds, [time], in the repeated or cropped sound.

        >>> LogMel(size=(128, 6)).times_s(960, 32000)
        array([0.  , 0.01, 0.02, 0.  , 0.01, 0.02])
        """
        input_hz = self.rate_hz * self.time_expansion
        n = math.ceil(n_samples * round(input_hz) / rate_hz)
        centres = np.arange(self.size[1]) * self.hop_samples
        start = max(0, n - self.size[1] * self.hop_samples) // 2
        return (centres + start) % n / input_hz

    def natural(self, samples: Samples) -> Spectrogram:
        """Convert samples [n] to EfficientAT's spectrogram at their full length: [``n_mels``, 1 + (n − 1) // hop].

        Fewer than ``n_fft`` samples are first repeated to ``n_fft``: pre-emphasis removes one sample, and the
        reflection at the edges needs more than ``n_fft // 2``.

        >>> LogMel().natural(np.ones(64000, np.float32)).shape
        (128, 200)
        """
        if len(samples) < self.n_fft:
            samples = np.resize(samples, self.n_fft)
        emphasised = samples[1:] - np.float32(self.pre_emphasis) * samples[:-1]
        padded = np.pad(emphasised, self.n_fft // 2, mode="reflect")
        bank = kaldi_bank(self.rate_hz, self.n_fft, self.size[0], self.f_max_hz, self.f_min_hz)
        window = symmetric_hann(self.window_samples, self.n_fft)
        mels = np.empty((1 + (len(padded) - self.n_fft) // self.hop_samples, self.size[0]), np.float32)
        for piece, power in power_spectra(padded, window, self.hop_samples):
            bank.along(power, out=mels[piece])
        mels += np.float32(QUIETEST)
        np.log(mels, out=mels)
        mels -= np.float32(MIDDLE)
        mels /= np.float32(SPREAD)
        return np.ascontiguousarray(mels.T)

    def render(self, samples: npt.ArrayLike, rate_hz: int) -> SpectrogramImage:
        """Compute the spectrogram at full length, with a range of 80 dB: [``n_mels``, frames], highest band in row 0.

        >>> LogMel().render(np.sin(np.arange(32000, dtype=np.float32)), rate_hz=32000).pixels.shape
        (128, 100)
        """
        duration_s = np.size(samples) / rate_hz
        samples, rate_hz = self.prepare(samples, rate_hz)
        natural = self.natural(samples)
        natural = averaged(natural.T, frames_per_column(natural.shape[1])).T
        db = (natural[::-1] * SPREAD + MIDDLE) * (10 / np.log(10))
        top = max(float(db.max()), -50 + 80.0)
        pixels = np.round(255 * np.clip(1 + (db - top) / 80, 0, 1)).astype(np.uint8)
        centres_hz, f_max_hz = self._edges_hz()[-2:0:-1], self.f_max_hz * self.time_expansion
        return SpectrogramImage(pixels, duration_s, f_max_hz, centres_hz, "mel", top - 80, top)

    def _edges_hz(self) -> Float64:
        """Return the edges of the bands as frequencies of the sound, [``n_mels`` + 2]."""
        return kaldi_edges_hz(self.size[0], self.f_max_hz, self.f_min_hz) * self.time_expansion


def symmetric_hann(length: int, n_fft: int) -> Float32:
    """Return the symmetric Hann window of ``length`` (``torch.hann_window(periodic=False)``), zero-padded to ``n_fft``.

    >>> symmetric_hann(3, 6)
    array([0., 0., 1., 0., 0., 0.], dtype=float32)
    """
    window = np.zeros(n_fft, np.float32)
    start = (n_fft - length) // 2
    window[start : start + length] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / max(1, length - 1))
    return window


def kaldi_edges_hz(n_mels: int, f_max_hz: float, f_min_hz: float = 0.0) -> Float64:
    """Return the edges [n_mels + 2] of Kaldi's triangular filters, evenly spaced in 1127 · ln(1 + f / 700).

    >>> kaldi_edges_hz(1, 700.0).round(1)
    array([  0. , 289.9, 700. ])
    """
    low, top = (KALDI_MELS * np.log1p(hz / KALDI_BREAK_HZ) for hz in (f_min_hz, f_max_hz))
    edges: Float64 = KALDI_BREAK_HZ * np.expm1(np.linspace(low, top, n_mels + 2) / KALDI_MELS)
    return edges


@lru_cache(maxsize=16)
def kaldi_bank(rate_hz: int, n_fft: int, n_mels: int, f_max_hz: float, f_min_hz: float = 0.0) -> Banded:
    """Return Kaldi's filters [n_mels, n_fft // 2 + 1]: triangular in mels, of height 1; the Nyquist bin is zero.

    >>> kaldi_bank(8000, 8, 2, 4000.0).dense().round(2)
    array([[0.  , 0.6 , 0.  , 0.  , 0.  ],
           [0.  , 0.4 , 0.87, 0.38, 0.  ]], dtype=float32)
    """
    bins = KALDI_MELS * np.log1p(np.arange(n_fft // 2) * (rate_hz / n_fft) / KALDI_BREAK_HZ)
    bottom, top = (KALDI_MELS * np.log1p(hz / KALDI_BREAK_HZ) for hz in (f_min_hz, f_max_hz))
    edges = np.linspace(bottom, top, n_mels + 2)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    weights = np.maximum(np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)), 0.0)
    return Banded.between(edges, bins, weights, n_fft // 2 + 1)

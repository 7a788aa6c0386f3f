"""The "waveform" representation: the samples themselves, for networks that compute their own spectrogram."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from soundmark.audio import Samples
from soundmark.errors import SettingsError
from soundmark.runtime.checks import use_python_numbers
from soundmark.spectrograms.mel import Mel
from soundmark.spectrograms.representation import (
    HIGHEST_RATE_HZ,
    LOWEST_RATE_HZ,
    Representation,
    Spectrogram,
    SpectrogramImage,
)


@dataclass(frozen=True, kw_only=True)
class Waveform(Representation):
    """The samples of a window at a fixed sample rate, [1, ``window_samples``]: one row, and no frequencies.

    A shorter sound is repeated to fill the window; from a longer sound, the middle is used, as for ``logmel``. Networks
    receive it as ``waveform`` [batch, samples].

    >>> Waveform(rate_hz=16000, window_samples=16000)(np.ones(8000, np.float32), rate_hz=16000).shape
    (1, 16000)
    """

    name: ClassVar[str] = "waveform"
    version: ClassVar[int] = 1
    real_time: ClassVar[bool] = True
    input_name: ClassVar[str] = "waveform"

    rate_hz: int = 32000
    size: tuple[int, int] = field(init=False, repr=False, compare=False, default=(1, 1))  # not a parameter: see shape
    window_samples: int = 160_000

    def __post_init__(self) -> None:
        use_python_numbers(self)
        self.require_whole("rate_hz", "window_samples")
        in_range = LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ
        self.require(in_range, "rate_hz", f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz")
        self.require_time_expansion()

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the result: one row of samples.

        >>> Waveform(window_samples=48000).shape
        (1, 48000)
        """
        return 1, self.window_samples

    @property
    def window_s(self) -> float:
        """The duration of the window in the sound, in seconds.

        >>> Waveform(rate_hz=32000, window_samples=160_000).window_s
        5.0
        """
        return self.window_samples / (self.rate_hz * self.time_expansion)

    def for_window(self, window_s: float) -> Self:
        """Return the representation with the number of samples in ``window_s`` seconds.

        >>> Waveform(rate_hz=16000).for_window(2.0).window_samples
        32000
        """
        return replace(self, window_samples=max(1, round(window_s * self.rate_hz * self.time_expansion)))

    def with_band(self, low_hz: float, high_hz: float) -> Self:
        """Refuse: a waveform contains all frequencies.

        Raises:
            SettingsError: always.

        >>> Waveform().with_band(50, 8000)
        Traceback (most recent call last):
        soundmark.errors.SettingsError: the band 50-8000 Hz cannot be set for a backbone that takes waveforms: ...
        """
        raise SettingsError(
            f"the band {low_hz:g}-{high_hz:g} Hz cannot be set for a backbone that takes waveforms: it computes its "
            "own spectrogram. Omit the band."
        )

    def compute(self, samples: Samples, rate_hz: int) -> Spectrogram:
        """Repeat samples [n], or take their middle, to fill the window."""
        n = self.window_samples
        start = max(0, len(samples) - n) // 2
        fitted = np.resize(samples, n) if len(samples) < n else samples[start : start + n]
        return np.array(fitted[np.newaxis], np.float32)

    def render(self, samples: npt.ArrayLike, rate_hz: int) -> SpectrogramImage:
        """Compute a mel spectrogram at this sample rate, for display; networks receive the samples.

        >>> Waveform(rate_hz=16000).render(np.sin(np.arange(16000, dtype=np.float32)), rate_hz=16000).pixels.shape
        (128, 32)
        """
        return Mel(rate_hz=self.rate_hz, time_expansion=self.time_expansion).render(samples, rate_hz)

    def frequencies_hz(self, rate_hz: int) -> npt.NDArray[np.float64]:
        """Return the middle of all frequencies in Hz, [1].

        >>> Waveform(rate_hz=16000).frequencies_hz(44100)
        array([4000.])
        """
        return np.array([self.rate_hz * self.time_expansion / 4])

    def times_s(self, n_samples: int, rate_hz: int) -> npt.NDArray[np.float64]:
        """Return the time of each sample in seconds, [samples], in the repeated or cropped sound.

        >>> Waveform(rate_hz=100, window_samples=4).times_s(2, 100)
        array([0.  , 0.01, 0.  , 0.01])
        """
        input_hz = self.rate_hz * self.time_expansion
        n = math.ceil(n_samples * round(input_hz) / rate_hz)
        start = max(0, n - self.window_samples) // 2
        return (np.arange(self.window_samples) + start) % n / input_hz

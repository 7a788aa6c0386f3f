"""The picture representation: a spectrogram as an 8-bit grey image, and that image made small."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from soundmark.audio import Samples
from soundmark.errors import SettingsError
from soundmark.runtime.checks import is_finite, is_whole
from soundmark.spectrograms.banded import Float32
from soundmark.spectrograms.fourier import hann, power_spectra
from soundmark.spectrograms.representation import Picture, Pixels, Representation, Spectrogram
from soundmark.spectrograms.resize import skimage_linear


@dataclass(frozen=True, kw_only=True)
class Image(Representation):
    """A grey picture of a spectrogram, [freq, time] in 0…1, loud dark, low frequencies at the bottom.

    As OpenSoundscape 0.7 makes it of ``scipy.signal.spectrogram(window="hann", nperseg=512, noverlap=256,
    scaling="spectrum")``: 10 · log10, cut to ``db_min``…``db_max``, scaled, inverted, ``skimage.transform.resize`` to
    ``image_shape``, ``uint8(255 x)``; then Pillow's bicubic ``resize`` to ``size``, over 255.

    ``rate_hz=None`` takes each sound at its own rate, so that the same row is another frequency at another rate. A
    sound shorter than a segment is filled up with zeros (SciPy would shorten the segment instead).

    >>> Image()(np.sin(np.arange(44100, dtype=np.float32)), rate_hz=44100).shape
    (64, 64)
    """

    name: ClassVar[str] = "image"
    version: ClassVar[int] = 1

    rate_hz: int | None = None
    segment_samples: int = 512
    overlap_samples: int = 256
    db_min: float = -100.0
    db_max: float = -20.0
    image_shape: tuple[int, int] = (224, 224)

    def __post_init__(self) -> None:
        self.require(self.rate_hz is None or is_whole(self.rate_hz), "rate_hz", "None or a whole number above 0")
        self.require_whole("segment_samples")
        self.require(self.segment_samples >= 2, "segment_samples", "2 or more")
        overlap = self.overlap_samples
        fits = overlap == 0 or (is_whole(overlap) and overlap < self.segment_samples)
        self.require(fits, "overlap_samples", f"from 0 to {self.segment_samples - 1}, less than segment_samples")
        self.require(is_finite(self.db_min), "db_min", "a number of decibels")
        self.require(is_finite(self.db_max) and self.db_max > self.db_min, "db_max", f"above db_min, {self.db_min}")
        self.require_shape("image_shape")
        self.require_shape("size")

    def compute(self, samples: Samples, rate_hz: int) -> Spectrogram:
        """Samples [n], checked, to ``size``, in 0…1: by way of the 8-bit picture, so that its PNG gives the same."""
        return self.from_pixels(quantised(self.unquantised(samples)))

    def png_pixels(self, samples: npt.ArrayLike, rate_hz: int) -> Pixels:
        """The grey picture itself: uint8 ``image_shape``, row 0 the highest frequency, 0 (black) the loudest.

        >>> Image().png_pixels(np.zeros(44100, np.float32), rate_hz=44100).min()
        np.uint8(255)
        """
        samples, _ = self.prepare(samples, rate_hz)
        return quantised(self.unquantised(samples))

    def from_pixels(self, pixels: Pixels) -> Spectrogram:
        """A grey picture, uint8 [height, width], to ``size``, in 0…1, float32: Pillow's ``resize`` with its defaults.

        >>> Image().from_pixels(np.full((224, 224), 51, np.uint8)).max()
        np.float32(0.2)
        """
        from PIL import Image as Pillow

        if pixels.dtype != np.uint8 or pixels.ndim != 2:
            raise SettingsError(
                f"a picture must be grey, uint8 of the shape [height, width], and this is {pixels.dtype} of "
                f"{list(pixels.shape)}: open the PNG that soundmark wrote without colours."
            )
        rows, columns = self.size
        return np.asarray(Pillow.fromarray(pixels).resize((columns, rows)), np.float32) / np.float32(255)

    def unquantised(self, samples: Samples) -> Float32:
        """The picture before it becomes 8 bits: float32 ``image_shape`` in 0…1.

        >>> Image().unquantised(np.zeros(512, np.float32)).shape
        (224, 224)
        """
        rows, columns = self.image_shape
        log_power = self._log_power(samples)
        resized = skimage_linear(len(log_power), columns).down(log_power)
        resized = skimage_linear(log_power.shape[1], rows).along(resized)
        # Loudness 0 (white) is 0 exactly up to here, so white is 1 exactly; black may miss 0 by a rounding.
        white = np.float32(1) - resized * np.float32(1 / self._span)
        return np.maximum(white, np.float32(0), out=white).T[::-1]

    def picture(self, samples: npt.ArrayLike, rate_hz: int) -> Picture:
        """The spectrogram before it is resized: [segment // 2 + 1, frames], loud bright, the highest frequency first.

        >>> Image().picture(np.sin(np.arange(44100, dtype=np.float32)), rate_hz=44100).image.shape
        (257, 171)
        """
        samples, rate_hz = self.prepare(samples, rate_hz)
        loudness = self._log_power(samples) * np.float32(255 / self._span)
        image = np.round(np.minimum(loudness, 255)).astype(np.uint8).T[::-1]
        middles = np.arange(image.shape[0])[::-1] * (rate_hz / self.segment_samples)
        duration_s, f_max_hz = len(samples) / rate_hz, rate_hz / 2
        return Picture(image, duration_s, f_max_hz, middles, "linear", self.db_min, self.db_max)

    def frequencies_hz(self, rate_hz: int) -> npt.NDArray[np.float64]:
        """The middle of each row in Hz, [freq], for a sound at ``rate_hz``: the highest in row 0.

        >>> Image(size=(257, 64)).frequencies_hz(51200)[[0, 1, -1]]
        array([25600., 25500.,     0.])
        """
        bins, rows = self.segment_samples // 2 + 1, self.size[0]
        from_below = (np.arange(rows)[::-1] + 0.5) * (bins / rows) - 0.5
        return np.clip(from_below, 0, bins - 1) * ((self.rate_hz or rate_hz) / self.segment_samples)

    @property
    def _span(self) -> float:
        """What lies between ``db_min`` and ``db_max``, in units of the natural logarithm of power."""
        return (self.db_max - self.db_min) * math.log(10) / 10

    def _log_power(self, samples: Samples) -> Float32:
        """The ln of the power over that of ``db_min``, cut to 0…``_span``: [frames, segment // 2 + 1]."""
        segment, hop = self.segment_samples, self.segment_samples - self.overlap_samples
        if len(samples) < segment:
            samples = np.pad(samples, (0, segment - len(samples)))
        # SciPy's "spectrum" scaling is 1 / (Σ window)², Σ window is segment / 2, and one side counts for two.
        # That goes into the limits, not into the window: another rounding of the window is seen in the quietest bins.
        quietest = np.float32(10 ** (self.db_min / 10) * (segment / 2) ** 2 / 2)
        loudest = quietest * np.float32(math.exp(self._span))
        log_power = np.empty((1 + (len(samples) - segment) // hop, segment // 2 + 1), np.float32)
        for piece, power in power_spectra(samples, hann(segment), hop, detrend=True):
            power[:, 0] *= np.float32(0.5)  # 0 Hz and, of an even segment, half the rate stand there only once
            if segment % 2 == 0:
                power[:, -1] *= np.float32(0.5)
            np.clip(power, quietest, loudest, out=power)
            np.log(power, out=power)
            np.subtract(power, np.log(quietest), out=log_power[piece])
        return log_power


def quantised(white: Float32) -> Pixels:
    """0…1 to 0…255 as ``np.uint8(255 * x)`` does it: cut off, not rounded.

    >>> quantised(np.array([[0.0, 0.9999, 1.0]], np.float32))
    array([[  0, 254, 255]], dtype=uint8)
    """
    return np.ascontiguousarray((white * np.float32(255)).astype(np.uint8))

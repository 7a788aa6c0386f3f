"""The "image" representation: a spectrogram as an 8-bit greyscale image, resized."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from soundmark.audio import Samples
from soundmark.errors import SettingsError
from soundmark.runtime.checks import is_finite, is_whole, use_python_numbers
from soundmark.spectrograms.banded import Float32
from soundmark.spectrograms.fourier import hann, power_spectra
from soundmark.spectrograms.representation import (
    Pixels,
    Representation,
    Spectrogram,
    SpectrogramImage,
    averaged,
    frames_per_column,
)
from soundmark.spectrograms.resize import skimage_linear

LARGEST_DB = 200  # the power at this level is a float32 number


MOST_FRAMES = 1 << 18  # before resizing: 25 minutes at 44.1 kHz, 256 MiB; further frames are averaged


BLOCK_FRAMES = 1 << 14  # computed at once, where frames are averaged


@dataclass(frozen=True, kw_only=True)
class Image(Representation):
    """A greyscale spectrogram image, [freq, time] in 0…1: high levels are dark, low frequencies are at the bottom.

    The steps are those of OpenSoundscape 0.7: ``scipy.signal.spectrogram(window="hann", nperseg=512, noverlap=256,
    scaling="spectrum")``, 10 · log10, clipping to ``db_min``…``db_max``, scaling, inversion,
    ``skimage.transform.resize`` to ``image_shape``, ``uint8(255 x)``. Then Pillow's bicubic ``resize`` to ``size``,
    divided by 255.

    ``rate_hz=None`` keeps the sample rate of each sound, so that the frequency of a row depends on the sample rate. A
    sound shorter than a segment is padded with zeros (SciPy would shorten the segment instead).

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
        use_python_numbers(self)
        self.require(self.rate_hz is None or is_whole(self.rate_hz), "rate_hz", "None or a whole number above 0")
        self.require_whole("segment_samples")
        self.require(self.segment_samples >= 2, "segment_samples", "2 or more")
        overlap = self.overlap_samples
        fits = type(overlap) is int and 0 <= overlap < self.segment_samples
        self.require(fits, "overlap_samples", f"from 0 to {self.segment_samples - 1}, less than segment_samples")
        in_range = is_finite(self.db_min) and abs(self.db_min) <= LARGEST_DB
        self.require(in_range, "db_min", f"a number of decibels from -{LARGEST_DB} to {LARGEST_DB}")
        in_range = is_finite(self.db_max) and self.db_min < self.db_max <= LARGEST_DB
        self.require(in_range, "db_max", f"above db_min, {self.db_min}, and at most {LARGEST_DB}")
        self.require_time_expansion()
        self.require_shape("image_shape")
        self.require_shape("size")

    def compute(self, samples: Samples, rate_hz: int) -> Spectrogram:
        """Convert samples [n] to ``size``, in 0…1, by way of the 8-bit image: its PNG gives the same result."""
        return self.from_pixels(quantised(self.unquantised(samples)))

    def png_pixels(self, samples: npt.ArrayLike, rate_hz: int) -> Pixels:
        """Return the greyscale image: uint8 ``image_shape``, highest frequency in row 0, highest level 0 (black).

        >>> Image().png_pixels(np.zeros(44100, np.float32), rate_hz=44100).min()
        np.uint8(255)
        """
        samples, _ = self.prepare(samples, rate_hz)
        return quantised(self.unquantised(samples))

    def from_pixels(self, pixels: Pixels) -> Spectrogram:
        """Resize a greyscale image, uint8 [height, width], with Pillow's defaults; return ``size``, 0…1, float32.

        >>> Image().from_pixels(np.full((224, 224), 51, np.uint8)).max()
        np.float32(0.2)
        """
        from PIL import Image as Pillow

        if pixels.dtype != np.uint8 or pixels.ndim != 2:
            raise SettingsError(
                f"the image must be greyscale, uint8 of the shape [height, width]; this one is {pixels.dtype} of "
                f"{list(pixels.shape)}: use a PNG that soundmark wrote without a colour map."
            )
        rows, columns = self.size
        return np.asarray(Pillow.fromarray(pixels).resize((columns, rows)), np.float32) / np.float32(255)

    def unquantised(self, samples: Samples) -> Float32:
        """Return the image before quantisation to 8 bits: float32 ``image_shape`` in 0…1.

        >>> Image().unquantised(np.zeros(512, np.float32)).shape
        (224, 224)
        """
        rows, columns = self.image_shape
        log_power = self._averaged_log_power(samples, MOST_FRAMES)
        resized = skimage_linear(len(log_power), columns).down(log_power)
        resized = skimage_linear(log_power.shape[1], rows).along(resized)
        # A level of 0 is exactly 0 so far, so white is exactly 1. Black can differ from 0 by a rounding error.
        white = np.float32(1) - resized * np.float32(1 / self._span)
        return np.maximum(white, np.float32(0), out=white).T[::-1]

    def render(self, samples: npt.ArrayLike, rate_hz: int) -> SpectrogramImage:
        """Compute the spectrogram before resizing: [segment // 2 + 1, frames], high levels bright, row 0 highest.

        >>> Image().render(np.sin(np.arange(44100, dtype=np.float32)), rate_hz=44100).pixels.shape
        (257, 171)
        """
        duration_s = np.size(samples) / rate_hz
        samples, rate_hz = self.prepare(samples, rate_hz)
        levels = self._averaged_log_power(samples) * np.float32(255 / self._span)
        pixels = np.round(np.minimum(levels, 255)).astype(np.uint8).T[::-1]
        centres_hz = np.arange(pixels.shape[0])[::-1] * (rate_hz * self.time_expansion / self.segment_samples)
        f_max_hz = rate_hz * self.time_expansion / 2
        return SpectrogramImage(pixels, duration_s, f_max_hz, centres_hz, "linear", self.db_min, self.db_max)

    def frequencies_hz(self, rate_hz: int) -> npt.NDArray[np.float64]:
        """Return the centre frequency of each row in Hz, [freq], for a sound at ``rate_hz``; row 0 is the highest.

        >>> Image(size=(257, 64)).frequencies_hz(51200)[[0, 1, -1]]
        array([25600., 25500.,     0.])
        """
        bins, rows = self.segment_samples // 2 + 1, self.size[0]
        from_below = (np.arange(rows)[::-1] + 0.5) * (bins / rows) - 0.5
        return np.clip(from_below, 0, bins - 1) * ((self.input_rate_hz or rate_hz) / self.segment_samples)

    @property
    def _span(self) -> float:
        """The difference between ``db_max`` and ``db_min`` as the natural logarithm of a power ratio."""
        return (self.db_max - self.db_min) * math.log(10) / 10

    def _averaged_log_power(self, samples: Samples, most: int | None = None) -> Float32:
        """Return ``_log_power``, averaged to at most ``most`` frames (None: the columns of a picture)."""
        segment, hop = self.segment_samples, self.segment_samples - self.overlap_samples
        n_frames = 1 + (len(samples) - segment) // hop
        n = frames_per_column(n_frames, most)
        if n == 1:
            return self._log_power(samples)
        step = n * max(1, BLOCK_FRAMES // n)
        blocks = (samples[first * hop : (first + step - 1) * hop + segment] for first in range(0, n_frames, step))
        return np.concatenate([averaged(self._log_power(block), n) for block in blocks])

    def _log_power(self, samples: Samples) -> Float32:
        """Return ln(power / power at ``db_min``), clipped to 0…``_span``: [frames, segment // 2 + 1]."""
        segment, hop = self.segment_samples, self.segment_samples - self.overlap_samples
        if len(samples) < segment:
            samples = np.pad(samples, (0, segment - len(samples)))
        # SciPy's "spectrum" scaling is 1 / (Σ window)², where Σ window = segment / 2; one-sided power is doubled. The
        # scaling is applied to the limits: a scaled window would be rounded differently, which affects quiet bins.
        quietest = np.float32(10 ** (self.db_min / 10) * (segment / 2) ** 2 / 2)
        loudest = quietest * np.float32(math.exp(self._span))
        log_power = np.empty((1 + (len(samples) - segment) // hop, segment // 2 + 1), np.float32)
        for piece, power in power_spectra(samples, hann(segment), hop, detrend=True):
            power[:, 0] *= np.float32(0.5)  # 0 Hz and, for an even segment, the Nyquist frequency are not doubled
            if segment % 2 == 0:
                power[:, -1] *= np.float32(0.5)
            np.clip(power, quietest, loudest, out=power)
            np.log(power, out=power)
            np.subtract(power, np.log(quietest), out=log_power[piece])
        return log_power


def quantised(white: Float32) -> Pixels:
    """Convert 0…1 to 0…255 like ``np.uint8(255 * x)``: truncated, not rounded.

    >>> quantised(np.array([[0.0, 0.9999, 1.0]], np.float32))
    array([[  0, 254, 255]], dtype=uint8)
    """
    return np.ascontiguousarray((white * np.float32(255)).astype(np.uint8))

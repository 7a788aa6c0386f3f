"""The base class of representations: frozen parameters, one call, settings for JSON, and an image for display."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from soundmark.audio import Samples, check_samples, resample
from soundmark.errors import AudioError, SettingsError, unknown_name
from soundmark.runtime.checks import is_whole

Spectrogram = npt.NDArray[np.float32]  # [freq, time]


Pixels = npt.NDArray[np.uint8]  # [height, width]


@dataclass(frozen=True, eq=False, repr=False)
class SpectrogramImage:
    """A spectrogram at full resolution, for display.

    ``pixels`` [height, width]: 0 is ``db_min`` or below, 255 is ``db_max`` or above. Row 0 is the highest frequency,
    column 0 the start of the sound. ``frequencies_hz`` [height] contains the centre frequency of each row, descending,
    for either ``scale``, ``"linear"`` or ``"mel"``.
    """

    pixels: Pixels
    duration_s: float
    f_max_hz: float
    frequencies_hz: npt.NDArray[np.float64]
    scale: str
    db_min: float
    db_max: float

    def __repr__(self) -> str:
        height, width = self.pixels.shape
        return (
            f"SpectrogramImage([{height}, {width}], {self.duration_s:g} s, up to {self.f_max_hz:g} Hz, {self.scale}, "
            f"{self.db_min:g} to {self.db_max:g} dB)"
        )

    def row_of(self, frequency_hz: float) -> float:
        """Return the row position of a frequency, for axis ticks.

        >>> from soundmark.spectrograms import from_settings
        >>> image = from_settings({"name": "image"}).render(np.zeros(4096, np.float32), 22050)
        >>> image.row_of(image.f_max_hz), image.row_of(0.0)
        (0.0, 256.0)
        """
        return float(np.interp(frequency_hz, self.frequencies_hz[::-1], np.arange(len(self.pixels))[::-1]))


@dataclass(frozen=True, kw_only=True)
class Representation(ABC):
    """Convert samples to ``[freq, time]``. A subclass defines the parameters, ``compute`` and ``render``.

    ``rate_hz`` is the sample rate that samples are resampled to; None keeps the sample rate of the sound.
    """

    name: ClassVar[str]
    version: ClassVar[int]  # incremented when the same parameters give different results

    rate_hz: int | None
    size: tuple[int, int] = (64, 64)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape [freq, time] of the result, for a sound of any length.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel", "size": [32, 48]}).shape
        (32, 48)
        """
        return self.size

    def for_window(self, window_s: float) -> Self:
        """Return the representation for windows of ``window_s`` seconds; it changes only if the time axis is real time.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel"}).for_window(2.0).size
        (64, 64)
        """
        return self

    @abstractmethod
    def compute(self, samples: Samples, rate_hz: int) -> Spectrogram:
        """Compute the spectrogram of validated samples at the sample rate of the representation."""

    @abstractmethod
    def render(self, samples: npt.ArrayLike, rate_hz: int) -> SpectrogramImage:
        """Compute the spectrogram at full resolution, as an image for display."""

    @abstractmethod
    def frequencies_hz(self, rate_hz: int) -> npt.NDArray[np.float64]:
        """Return the centre frequency of each row in Hz, [freq], monotonic, for a sound at ``rate_hz``.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "image", "size": [4, 4]}).frequencies_hz(22050).round()
        array([9663., 6896., 4129., 1362.])
        """

    def times_s(self, n_samples: int, rate_hz: int) -> npt.NDArray[np.float64]:
        """Return the time of each column in seconds, [time], for a sound of ``n_samples`` at ``rate_hz``.

        The columns cover the complete sound, unless the time axis is real time. A short sound is then repeated, so that
        several columns can have the same time.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel", "size": [64, 4]}).times_s(44100, 22050)
        array([0.25, 0.75, 1.25, 1.75])
        """
        columns = self.shape[1]
        return (np.arange(columns, dtype=np.float64) + 0.5) * (n_samples / rate_hz / columns)

    def __call__(self, samples: npt.ArrayLike, rate_hz: int) -> Spectrogram:
        """Convert mono samples [n] at ``rate_hz`` to a spectrogram of ``shape``, float32. The samples are not modified.

        Raises:
            AudioError: the samples are empty, not mono or not finite.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "image"})(np.zeros(44100, np.float32), rate_hz=44100).max()
        np.float32(1.0)
        """
        return self.compute(*self.prepare(samples, rate_hz))

    def prepare(self, samples: npt.ArrayLike, rate_hz: int) -> tuple[Samples, int]:
        """Validate samples and resample them to the rate of the representation; return float32 samples and that rate.

        Raises:
            AudioError: the samples are empty, not mono or not finite.

        >>> from soundmark.spectrograms import from_settings
        >>> samples, rate_hz = from_settings({"name": "mel"}).prepare(np.zeros(8000), 8000)
        >>> samples.shape, samples.dtype, rate_hz
        ((22050,), dtype('float32'), 22050)
        """
        array = np.ascontiguousarray(samples, np.float32)
        if array.ndim != 1 or not len(array):
            raise AudioError(f"samples must be mono, of the shape [n] with n > 0; these have {list(array.shape)}.")
        check_samples(array)
        to_hz = rate_hz if self.rate_hz is None else self.rate_hz
        return (array if to_hz == rate_hz else resample(array, rate_hz, to_hz)), to_hz

    def settings(self) -> dict[str, Any]:
        """Return the name, version and all parameters as JSON values; ``from_settings`` is the inverse.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel"}).settings()["hop_samples"]
        512
        """
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"name": self.name, "version": self.version, **values}

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> Self:
        """Create the representation with these parameters.

        Raises:
            SettingsError: a parameter is unknown, or its value is not allowed.

        >>> from soundmark.spectrograms.mel import Mel
        >>> Mel.of({"n_mels": 64}).n_mels
        64
        """
        known = [field.name for field in fields(cls)]
        for key in parameters:
            if key not in known:
                raise unknown_name("parameter", key, known, owner=cls.name)
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in parameters.items()}
        return cls(**values)

    def require(self, condition: bool, parameter: str, allowed: str) -> None:
        """Raise ``SettingsError`` for a parameter unless ``condition`` is true.

        >>> from soundmark.spectrograms.mel import Mel
        >>> Mel(n_mels=0)
        Traceback (most recent call last):
        soundmark.errors.SettingsError: n_mels of mel is 0; it must be a whole number above 0.
        """
        if not condition:
            raise SettingsError(f"{parameter} of {self.name} is {getattr(self, parameter)!r}; it must be {allowed}.")

    def require_whole(self, *parameters: str) -> None:
        """Raise ``SettingsError`` for parameters that are not whole numbers above 0.

        >>> from soundmark.spectrograms.mel import Mel
        >>> Mel(hop_samples=1.5)
        Traceback (most recent call last):
        soundmark.errors.SettingsError: hop_samples of mel is 1.5; it must be a whole number above 0.
        """
        for parameter in parameters:
            self.require(is_whole(getattr(self, parameter)), parameter, "a whole number above 0")

    def require_shape(self, parameter: str) -> None:
        """Raise ``SettingsError`` for a parameter that is not a pair of whole numbers above 0.

        >>> from soundmark.spectrograms.mel import Mel
        >>> Mel(size=(64, 0))
        Traceback (most recent call last):
        soundmark.errors.SettingsError: size of mel is (64, 0); it must be two whole numbers above 0, [freq, time].
        """
        value = getattr(self, parameter)
        is_shape = isinstance(value, tuple) and len(value) == 2 and all(map(is_whole, value))
        self.require(is_shape, parameter, "two whole numbers above 0, [freq, time]")

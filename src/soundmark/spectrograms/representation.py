"""The base class of representations: frozen parameters, one call, settings for JSON, and an image for display."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from soundmark.audio import Samples, check_samples, resample
from soundmark.errors import AudioError, SettingsError, unknown_name
from soundmark.runtime.checks import is_finite, is_whole

Spectrogram = npt.NDArray[np.float32]  # [freq, time]


Pixels = npt.NDArray[np.uint8]  # [height, width]


LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 40, 1_000_000


NARROWEST_HZ = 0.01  # a band of frequencies; in narrower ones, the width of a filter is a rounding error


MOST_COLUMNS = 1 << 14  # of a picture: 95 s at 44.1 kHz, three minutes of mel; further frames are averaged


def averaged(frames: npt.NDArray[np.float32], n: int) -> npt.NDArray[np.float32]:
    """Average each ``n`` consecutive frames [frames, bins]; the last ones may be fewer.

    >>> averaged(np.array([[1.0], [3.0], [5.0]], np.float32), 2)
    array([[2.],
           [5.]], dtype=float32)
    """
    if n == 1:
        return frames
    starts = np.arange(0, len(frames), n)
    sizes = np.diff(np.append(starts, len(frames))).astype(np.float32)
    return (np.add.reduceat(frames, starts, axis=0) / sizes[:, None]).astype(np.float32, copy=False)


def frames_per_column(frames: int, columns: int | None = None) -> int:
    """Return how many of ``frames`` are averaged to get at most so many ``columns`` (None: ``MOST_COLUMNS``).

    >>> frames_per_column(16_384), frames_per_column(16_385)
    (1, 2)
    """
    return max(1, -(-frames // (columns or MOST_COLUMNS)))


@dataclass(frozen=True, eq=False, repr=False)
class SpectrogramImage:
    """A spectrogram at full resolution, for display. Frames of a long sound are averaged to ``MOST_COLUMNS``.

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

    ``rate_hz`` is the sample rate of the spectrogram; None keeps the sample rate of the sound. With a
    ``time_expansion`` X, a sound is analysed as if played X times slower: it is resampled to X · ``rate_hz``, the
    samples count as samples at ``rate_hz``, and the frequencies of the spectrogram are those of the sound divided by X
    (ultrasound: X above 1; infrasound: below 1). Times and frequencies that methods return are those of the sound.
    """

    name: ClassVar[str]
    version: ClassVar[int]  # incremented when the same parameters give different results
    real_time: ClassVar[bool] = False  # whether a column has a fixed duration; otherwise any sound fills ``size``
    input_name: ClassVar[str] = "spectrogram"  # of the input of graphs

    later_parameters: ClassVar[tuple[str, ...]] = ("time_expansion", "f_min_hz")  # added after version 0.1

    rate_hz: int | None
    size: tuple[int, int] = (64, 64)
    time_expansion: float = 1.0  # a sound is analysed as if played this many times slower

    @property
    def shape(self) -> tuple[int, int]:
        """The shape [freq, time] of the result, for a sound of any length.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel", "size": [32, 48]}).shape
        (32, 48)
        """
        return self.size

    @property
    def input_rate_hz(self) -> int | None:
        """The sample rate that sounds are resampled to: ``rate_hz`` · ``time_expansion``; None: that of the sound.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "logmel", "time_expansion": 10}).input_rate_hz
        320000
        """
        return None if self.rate_hz is None else round(self.rate_hz * self.time_expansion)

    def with_time_expansion(self, factor: float) -> Self:
        """Return the representation for sounds analysed as if played ``factor`` times slower.

        Raises:
            SettingsError: the factor is not a number above 0, or the sample rate would be out of range.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel"}).with_time_expansion(10).time_expansion
        10.0
        """
        if not is_finite(factor) or factor <= 0:
            raise SettingsError(f"the time expansion is {factor!r}: expected a number above 0, such as 10.")
        return replace(self, time_expansion=float(factor))

    def with_band(self, low_hz: float, high_hz: float) -> Self:
        """Return the representation for the frequencies of a sound from ``low_hz`` to ``high_hz``.

        Raises:
            SettingsError: the band is empty or above half of the sample rate, or the representation has no band.

        >>> from soundmark.spectrograms import from_settings
        >>> bats = from_settings({"name": "logmel", "time_expansion": 10}).with_band(20_000, 120_000)
        >>> bats.f_min_hz, bats.f_max_hz
        (2000.0, 12000.0)
        """
        band = f"the band {low_hz:g}-{high_hz:g} Hz"
        if not hasattr(self, "f_min_hz") or self.rate_hz is None or self.input_rate_hz is None:
            raise SettingsError(
                f"{band} cannot be set for {self.name} spectrograms, which cover all frequencies: choose a recipe with "
                "mel or logmel spectrograms, such as transfer."
            )
        if not 0 <= low_hz < high_hz:
            raise SettingsError(f"{band} is empty: expected LOW-HIGH in Hz with 0 ≤ LOW < HIGH, such as 50-8000.")
        if high_hz > self.input_rate_hz / 2:
            raise SettingsError(
                f"{band} exceeds {self.input_rate_hz / 2:g} Hz, half of the sample rate of the spectrogram: choose a "
                "lower band, or for ultrasound a greater time expansion, such as --time-expansion 10."
            )
        limits: dict[str, Any] = {"f_min_hz": low_hz / self.time_expansion, "f_max_hz": high_hz / self.time_expansion}
        return replace(self, **limits)

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
        """Validate samples and resample them to ``input_rate_hz``; return float32 samples and the spectrogram's rate.

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
        if self.rate_hz is None or self.input_rate_hz is None:
            return array, max(1, round(rate_hz / self.time_expansion))
        to_hz = self.input_rate_hz
        return (array if to_hz == rate_hz else resample(array, rate_hz, to_hz)), self.rate_hz

    def batch(self, arrays: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return results ``[n, freq, time]`` as the input of a graph: ``[n, 1, freq, time]``, or ``[n, samples]``.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel"}).batch(np.zeros((2, 64, 64), np.float32)).shape
        (2, 1, 64, 64)
        """
        rows = arrays[:, 0] if self.input_name == "waveform" else arrays[:, np.newaxis]
        return np.ascontiguousarray(rows, np.float32)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row of ``batch``: ``[1, freq, time]``, or ``[samples]`` of a waveform.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel"}).input_shape
        (1, 64, 64)
        """
        return self.shape[1:] if self.input_name == "waveform" else (1, *self.shape)

    def settings(self) -> dict[str, Any]:
        """Return the name, version and parameters as JSON values; ``from_settings`` is the inverse.

        Parameters that earlier versions do not know are omitted at their defaults.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel"}).settings()["hop_samples"]
        512
        """
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        defaults = {field.name: field.default for field in fields(self) if field.init}
        values = {key: value for key, value in values.items() if key in defaults}
        values = {key: v for key, v in values.items() if key not in self.later_parameters or v != defaults[key]}
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
        known = [field.name for field in fields(cls) if field.init]
        for key in parameters:
            if key not in known:
                raise unknown_name("parameter", key, known, owner=cls.name)
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in parameters.items()}
        return cls(**values)

    def require_time_expansion(self) -> None:
        """Raise ``SettingsError`` for a time expansion that is not a number above 0, or gives an extreme sample rate.

        >>> from soundmark.spectrograms.mel import Mel
        >>> Mel(time_expansion=100.0)
        Traceback (most recent call last):
        soundmark.errors.SettingsError: time_expansion of mel is 100.0; it must be a number above 0 that gives a ...
        """
        fits = is_finite(self.time_expansion) and self.time_expansion > 0
        if self.rate_hz is not None and not is_finite(self.rate_hz):
            return  # the check of the rate itself reports it
        rate_hz = (self.rate_hz or LOWEST_RATE_HZ) * self.time_expansion if fits else 0.0
        allowed = f"a number above 0 that gives a sample rate from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz"
        in_range = self.rate_hz is None or self.time_expansion == 1 or LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ
        self.require(fits and in_range, "time_expansion", allowed)

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

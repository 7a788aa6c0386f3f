"""What every representation has in common: frozen parameters, one call, settings that survive JSON, and a picture."""

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
class Picture:
    """A spectrogram at full resolution for people to look at.

    ``image`` [height, width]: 0 is ``db_min`` or quieter, 255 is ``db_max`` or louder; row 0 is the highest frequency,
    column 0 the beginning. ``frequencies_hz`` [height] is the middle of each row, in the image's order (so descending),
    whatever its scale, ``"linear"`` or ``"mel"``, so that an axis can be drawn without knowing more.
    """

    image: Pixels
    duration_s: float
    f_max_hz: float
    frequencies_hz: npt.NDArray[np.float64]
    scale: str
    db_min: float
    db_max: float

    def __repr__(self) -> str:
        height, width = self.image.shape
        return (
            f"Picture([{height}, {width}], {self.duration_s:g} s, up to {self.f_max_hz:g} Hz, {self.scale}, "
            f"{self.db_min:g} to {self.db_max:g} dB)"
        )

    def row_of(self, frequency_hz: float) -> float:
        """The row at which a frequency stands, for the ticks of an axis.

        >>> from soundmark.spectrograms import from_settings
        >>> picture = from_settings({"name": "image"}).picture(np.zeros(4096, np.float32), 22050)
        >>> picture.row_of(picture.f_max_hz), picture.row_of(0.0)
        (0.0, 256.0)
        """
        return float(np.interp(frequency_hz, self.frequencies_hz[::-1], np.arange(len(self.image))[::-1]))


@dataclass(frozen=True, kw_only=True)
class Representation(ABC):
    """Samples to ``[freq, time]``. A subclass holds the parameters and says how, in ``compute`` and ``picture``.

    ``rate_hz`` is the rate that it works at: None takes the samples at whatever rate they have.
    """

    name: ClassVar[str]
    version: ClassVar[int]  # goes up whenever the same parameters give other numbers

    rate_hz: int | None
    size: tuple[int, int] = (64, 64)

    @property
    def shape(self) -> tuple[int, int]:
        """[freq, time] of the result, whatever the length of the sound.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel", "size": [32, 48]}).shape
        (32, 48)
        """
        return self.size

    def for_window(self, window_s: float) -> Self:
        """The same for sounds of ``window_s`` seconds: itself, unless its time axis is real time.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel"}).for_window(2.0).size
        (64, 64)
        """
        return self

    @abstractmethod
    def compute(self, samples: Samples, rate_hz: int) -> Spectrogram:
        """The spectrogram of samples that were checked and are at the right rate."""

    @abstractmethod
    def picture(self, samples: npt.ArrayLike, rate_hz: int) -> Picture:
        """The same spectrogram at full resolution, for people to look at."""

    @abstractmethod
    def frequencies_hz(self, rate_hz: int) -> npt.NDArray[np.float64]:
        """The middle of each row in Hz, [freq], for a sound at ``rate_hz``: all rising, or all falling from row to row.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "image", "size": [4, 4]}).frequencies_hz(22050).round()
        array([9663., 6896., 4129., 1362.])
        """

    def times_s(self, n_samples: int, rate_hz: int) -> npt.NDArray[np.float64]:
        """The second of the sound that each column stands for, [time], of a sound of ``n_samples`` at ``rate_hz``.

        The sound is stretched over the columns, unless the time axis is real time; a second may then have several.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel", "size": [64, 4]}).times_s(44100, 22050)
        array([0.25, 0.75, 1.25, 1.75])
        """
        columns = self.shape[1]
        return (np.arange(columns, dtype=np.float64) + 0.5) * (n_samples / rate_hz / columns)

    def __call__(self, samples: npt.ArrayLike, rate_hz: int) -> Spectrogram:
        """Samples [n], mono, at ``rate_hz``, to ``shape``, float32. The samples are not modified.

        Raises ``AudioError`` where there is no sample, or samples that are no numbers.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "image"})(np.zeros(44100, np.float32), rate_hz=44100).max()
        np.float32(1.0)
        """
        return self.compute(*self.prepare(samples, rate_hz))

    def prepare(self, samples: npt.ArrayLike, rate_hz: int) -> tuple[Samples, int]:
        """Samples as float32 at the representation's own rate, and that rate; ``AudioError`` for what is no sound.

        >>> from soundmark.spectrograms import from_settings
        >>> samples, rate_hz = from_settings({"name": "mel"}).prepare(np.zeros(8000), 8000)
        >>> samples.shape, samples.dtype, rate_hz
        ((22050,), dtype('float32'), 22050)
        """
        array = np.ascontiguousarray(samples, np.float32)
        if array.ndim != 1 or not len(array):
            raise AudioError(f"samples must be mono, of the shape [n] with n > 0, and these have {list(array.shape)}.")
        check_samples(array)
        to_hz = rate_hz if self.rate_hz is None else self.rate_hz
        return (array if to_hz == rate_hz else resample(array, rate_hz, to_hz)), to_hz

    def settings(self) -> dict[str, Any]:
        """Name, version and every parameter, as JSON can hold them: ``from_settings`` makes the same object of it.

        >>> from soundmark.spectrograms import from_settings
        >>> from_settings({"name": "mel"}).settings()["hop_samples"]
        512
        """
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"name": self.name, "version": self.version, **values}

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> Self:
        """The representation with these parameters; raises ``SettingsError`` for an unknown one.

        >>> from soundmark.spectrograms.mel import Mel
        >>> Mel.of({"n_mels": 64}).n_mels
        64
        """
        known = [field.name for field in fields(cls)]
        for key in parameters:
            if key not in known:
                raise unknown_name(f"parameter of {cls.name}", key, known)
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in parameters.items()}
        return cls(**values)

    def require(self, condition: bool, parameter: str, allowed: str) -> None:
        """Refuse a parameter with a ``SettingsError`` unless a condition holds.

        >>> from soundmark.spectrograms.mel import Mel
        >>> Mel(n_mels=0)
        Traceback (most recent call last):
        soundmark.errors.SettingsError: n_mels of mel is 0; it must be a whole number above 0.
        """
        if not condition:
            raise SettingsError(f"{parameter} of {self.name} is {getattr(self, parameter)!r}; it must be {allowed}.")

    def require_whole(self, *parameters: str) -> None:
        """Refuse parameters that are not whole numbers above 0.

        >>> from soundmark.spectrograms.mel import Mel
        >>> Mel(hop_samples=1.5)
        Traceback (most recent call last):
        soundmark.errors.SettingsError: hop_samples of mel is 1.5; it must be a whole number above 0.
        """
        for parameter in parameters:
            self.require(is_whole(getattr(self, parameter)), parameter, "a whole number above 0")

    def require_shape(self, parameter: str) -> None:
        """Refuse a parameter that is not two whole numbers above 0.

        >>> from soundmark.spectrograms.mel import Mel
        >>> Mel(size=(64, 0))
        Traceback (most recent call last):
        soundmark.errors.SettingsError: size of mel is (64, 0); it must be two whole numbers above 0, [freq, time].
        """
        value = getattr(self, parameter)
        good = isinstance(value, tuple) and len(value) == 2 and all(map(is_whole, value))
        self.require(good, parameter, "two whole numbers above 0, [freq, time]")

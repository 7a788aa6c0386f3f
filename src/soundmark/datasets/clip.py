"""``Clip``: one labelled stretch of a sound file; and ``Skipped``, what could not be used."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundmark import audio
from soundmark.errors import SettingsError
from soundmark.runtime.text import shortened

if TYPE_CHECKING:
    from soundmark.spectrograms import Representation


@dataclass(frozen=True, kw_only=True, repr=False)
class Clip:
    """One labelled stretch of one file.

    ``source`` names the recording that it was cut from (UrbanSound8K's ``fsID``): clips that share it sound alike. In
    multi-label data ``label`` holds any number of names, "dog;siren" or "": ``Dataset.labels_of`` takes it apart.

    >>> Clip(path=Path("dog/1.wav"), label="dog", fold=3)
    Clip(path='dog/1.wav', label='dog', fold=3)
    """

    path: Path
    label: str
    start_s: float = 0.0
    stop_s: float | None = None  # None: to the end of the file
    fold: int | None = None
    source: str | None = None
    salience: str | None = None  # "foreground" or "background"
    time: str | None = None  # when it was recorded, ISO 8601
    expected_s: float | None = None  # how long the table says it is; a file that is shorter was cut off

    def __repr__(self) -> str:
        return f"Clip({', '.join(self._given())})"

    def _given(self) -> list[str]:
        """The fields that are not at their default, as text."""
        given = [f"path={shortened(self.path.as_posix(), 200)!r}", f"label={shortened(self.label, 200)!r}"]
        for field in fields(self)[2:]:
            value = getattr(self, field.name)
            if value != field.default:
                text = repr(shortened(value)) if isinstance(value, str) else round(value, 6)
                given.append(f"{field.name}={text}")
        return given

    def read(self) -> audio.Sound:
        """The clip's sound: mono float32 samples [n] at the file's own rate.

        Raises:
            AudioError: the file cannot be read.

        >>> sound = city[0].read()
        >>> sound.samples.dtype, sound.rate_hz
        (dtype('float32'), 22050)
        """
        return audio.read(self.path, start_s=self.start_s, stop_s=self.stop_s)

    def spectrogram(self, representation: str | dict[str, Any] | Representation = "mel") -> NDArray[np.float32]:
        """The clip's spectrogram float32 [freq, time], as a network gets it.

        Args:
            representation: its name, settings, or object.

        Raises:
            AudioError: the file cannot be read.
            SettingsError: there is no such representation.

        >>> city[0].spectrogram("image").shape
        (64, 64)
        """
        from soundmark.datasets import features
        from soundmark.spectrograms import representation_named

        return features.spectrogram(self, representation_named(representation))

    def plot(
        self,
        representation: str | dict[str, Any] | Representation = "mel",
        *,
        ax: Any = None,
        colours: str = "magma",
        title: str | None = None,
    ) -> Any:
        """Draw the clip's spectrogram at full resolution over seconds and hertz; returns Matplotlib ``Axes``.

        Args:
            representation: its name, settings, or object.
            ax: the Axes to draw on; by default those of a new figure, which also gets a colour bar.
            colours: a Matplotlib colour map.
            title: the title (default: the label and the file's name).

        Raises:
            AudioError: the file cannot be read.
            SettingsError: there is no such representation or colour map, or Matplotlib is not installed.

        >>> city[0].plot("mel").get_xlabel()
        'time (s)'
        """
        from soundmark.runtime.plotting import axes_or_new, check_matplotlib
        from soundmark.spectrograms import drawing, representation_named

        check_matplotlib()
        drawing.check_colour_map(colours)
        chosen, sound = representation_named(representation), self.read()
        picture = chosen.picture(sound.samples, sound.rate_hz)
        axes = axes_or_new(ax, figsize=(6.8, 3.8))
        shown = drawing.show_on_axes(axes, picture, colours=colours)
        axes.set_title(f"{shortened(self.label)}: {self.path.name}" if title is None else title, parse_math=False)
        if ax is None:
            axes.figure.colorbar(shown, label="level (dB)")
        return axes

    def audio(self) -> Any:
        """A Jupyter player of the clip at its own sample rate: ``IPython.display.Audio``.

        Raises:
            AudioError: the file cannot be read.
            SettingsError: IPython is not installed.

        >>> len(city[0].audio().data) > 10_000
        True
        """
        try:
            from IPython.display import Audio
        except ImportError as error:
            raise SettingsError("playing a clip needs IPython: pip install ipython.") from error
        sound = self.read()
        return Audio(data=sound.samples, rate=sound.rate_hz, normalize=bool(np.any(sound.samples)))


@dataclass(frozen=True)
class Skipped:
    """Something that the data set names and that could not be used, with the reason.

    >>> Skipped("audio/fold1/7061-6-0-0.wav", "row 5: it is not there").path
    'audio/fold1/7061-6-0-0.wav'
    """

    path: str
    reason: str


def relative(path: Path, root: Path) -> str:
    """``path`` seen from ``root``, with forward slashes; as it is where no way leads there (another drive).

    >>> relative(Path("a/b.wav"), Path("a")), relative(Path("b.wav"), Path("a"))
    ('b.wav', '../b.wav')
    """
    text, prefix = str(path), str(root) + os.sep
    if text.startswith(prefix) and ".." not in path.parts:
        return text[len(prefix) :].replace(os.sep, "/")
    try:
        return os.path.relpath(path, root).replace(os.sep, "/")
    except ValueError:  # Windows: no relative path leads to another drive
        return path.as_posix()

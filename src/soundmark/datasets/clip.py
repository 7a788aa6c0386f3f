"""``Clip``, a labelled section of a sound file, and ``Skipped``, a file that could not be used."""

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
    """A labelled section of a sound file.

    ``source`` identifies the recording that the clip was cut from (UrbanSound8K's ``fsID``). Clips from the same
    recording sound alike. In multi-label data ``label`` contains any number of class names, as "dog;siren" or "";
    ``Dataset.labels_of`` separates them.

    >>> Clip(path=Path("dog/1.wav"), label="dog", fold=3)
    Clip(path='dog/1.wav', label='dog', fold=3)
    """

    path: Path
    label: str
    start_s: float = 0.0
    stop_s: float | None = None  # None: the end of the file
    fold: int | None = None
    source: str | None = None
    salience: str | None = None  # "foreground" or "background"
    time: str | None = None  # time of recording, ISO 8601
    expected_s: float | None = None  # duration according to the metadata; a shorter file is truncated

    def __repr__(self) -> str:
        return f"Clip({', '.join(self._arguments())})"

    def _arguments(self) -> list[str]:
        """Return path, label and the fields that differ from their defaults, as "name=value"."""
        arguments = [f"path={shortened(self.path.as_posix(), 200)!r}", f"label={shortened(self.label, 200)!r}"]
        for field in fields(self)[2:]:
            value = getattr(self, field.name)
            if value != field.default:
                text = repr(shortened(value)) if isinstance(value, str) else round(value, 6)
                arguments.append(f"{field.name}={text}")
        return arguments

    def read(self) -> audio.Sound:
        """Read the clip: mono float32 samples [n] at the file's sample rate.

        Raises:
            AudioError: the file cannot be read.

        >>> sound = city[0].read()
        >>> sound.samples.dtype, sound.rate_hz
        (dtype('float32'), 22050)
        """
        return audio.read(self.path, start_s=self.start_s, stop_s=self.stop_s)

    def spectrogram(self, representation: str | dict[str, Any] | Representation = "mel") -> NDArray[np.float32]:
        """Compute the clip's spectrogram, float32 [freq, time], exactly as the networks receive it.

        Args:
            representation: name, settings or object of the representation.

        Raises:
            AudioError: the file cannot be read.
            SettingsError: the representation is unknown.

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
        """Plot the clip's spectrogram at full resolution, with axes in seconds and hertz; return Matplotlib ``Axes``.

        Args:
            representation: name, settings or object of the representation.
            ax: the Axes to draw on (default: a new figure with a colour bar).
            colours: a Matplotlib colour map.
            title: the title (default: the label and the file name).

        Raises:
            AudioError: the file cannot be read.
            SettingsError: the representation or colour map is unknown, or Matplotlib is not installed.

        >>> city[0].plot("mel").get_xlabel()
        'time (s)'
        """
        from soundmark.runtime.plotting import axes_or_new, check_matplotlib
        from soundmark.spectrograms import drawing, representation_named

        check_matplotlib()
        drawing.check_colour_map(colours)
        chosen, sound = representation_named(representation), self.read()
        spectrogram = chosen.render(sound.samples, sound.rate_hz)
        axes = axes_or_new(ax, figsize=(6.8, 3.8))
        shown = drawing.show_on_axes(axes, spectrogram, colours=colours)
        axes.set_title(f"{shortened(self.label)}: {self.path.name}" if title is None else title, parse_math=False)
        if ax is None:
            axes.figure.colorbar(shown, label="level (dB)")
        return axes

    def audio(self) -> Any:
        """Return a Jupyter audio player of the clip at its sample rate (``IPython.display.Audio``).

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
    """A file of the data set that could not be used, and the reason.

    >>> Skipped("audio/fold1/7061-6-0-0.wav", "row 5: the file does not exist").path
    'audio/fold1/7061-6-0-0.wav'
    """

    path: str
    reason: str


def relative(path: Path, root: Path) -> str:
    """Return ``path`` relative to ``root`` with forward slashes; unchanged if it is on another drive.

    >>> relative(Path("a/b.wav"), Path("a")), relative(Path("b.wav"), Path("a"))
    ('b.wav', '../b.wav')
    """
    text, prefix = str(path), str(root) + os.sep
    if text.startswith(prefix) and ".." not in path.parts:
        return text[len(prefix) :].replace(os.sep, "/")
    try:
        return os.path.relpath(path, root).replace(os.sep, "/")
    except ValueError:  # Windows: the path is on another drive
        return path.as_posix()

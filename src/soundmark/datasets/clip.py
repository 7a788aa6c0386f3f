"""``Clip``, a labelled section of a sound file; the window length for clips; ``Skipped``, a file that was not used."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundmark import audio
from soundmark.errors import AudioError, SettingsError
from soundmark.runtime.text import shortened

if TYPE_CHECKING:
    from soundmark.spectrograms import Representation


DEFAULT_WINDOW_S = 4.0  # of a data set whose clips cannot be read


LONGEST_WINDOW_S = 10.0  # of the default: the clips of AudioSet, which pretrained networks were trained on, last 10 s


@dataclass(frozen=True, kw_only=True, repr=False, slots=True)
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

        The representation "waveform" plots the samples.

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
        axes, shown = axes_or_new(ax, figsize=(6.8, 3.8)), None
        if chosen.name == "waveform":
            drawing.show_waveform(axes, *chosen.prepare(sound.samples, sound.rate_hz))
        else:
            spectrogram = chosen.render(sound.samples, sound.rate_hz)
            shown = drawing.show_on_axes(axes, spectrogram, colours=colours)
        axes.set_title(f"{shortened(self.label)}: {self.path.name}" if title is None else title, parse_math=False)
        if ax is None and shown is not None:
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, kw_only=True)
class WindowChoice:
    """A window length in seconds, and the reason for it."""

    window_s: float
    reason: str


def choose_window(lengths_s: Sequence[float], *, longest_window_s: float = LONGEST_WINDOW_S) -> WindowChoice:
    """Choose the window length for clips of ``lengths_s`` seconds.

    If the longest clip has at most twice the median duration, it is one window; otherwise the median is the window, so
    that a few long recordings do not stretch it. A window is at most ``longest_window_s`` and at least 0.1 s. It is
    rounded up to 0.1 s; excess of a thousandth of a second is ignored, because files can be a sample too long.

    >>> choose_window([4.0, 3.9, 1.2, 4.0]).window_s, choose_window([5.0, 5.0, 28.0]).reason
    (4.0, 'the median duration of the clips (5 to 28 s)')
    """
    if not lengths_s:
        return WindowChoice(window_s=DEFAULT_WINDOW_S, reason="the default, as no clip can be read")
    longest_s, median_s = max(lengths_s), float(np.median(lengths_s))
    chosen_s, what = (longest_s, "longest clip") if longest_s <= 2 * median_s else (median_s, "median duration")
    if chosen_s > longest_window_s:
        reason = f"the longest default; the clips last {min(lengths_s):.3g} to {longest_s:.3g} s"
        return WindowChoice(window_s=longest_window_s, reason=reason)
    tenths = round(chosen_s * 10, 2)
    span = f"({min(lengths_s):.3g} to {longest_s:.3g} s)"
    reason = f"the longest clip {span}" if what == "longest clip" else f"the median duration of the clips {span}"
    return WindowChoice(window_s=max(1, math.ceil(tenths)) / 10, reason=reason)


def typical_length_s(clips: Sequence[Clip], *, sample: int = 200) -> float:
    """Return the window length in seconds for a model of these clips: see ``choose_window``.

    Durations are read from the headers of at most ``sample`` evenly spaced clips. If no file can be read,
    ``DEFAULT_WINDOW_S`` is returned.

    >>> typical_length_s([Clip(path=Path("a.wav"), label="dog", start_s=1.0, stop_s=2.55)])
    1.6
    """
    return choose_window(sampled_lengths_s(clips, sample=sample)).window_s


def sampled_lengths_s(clips: Sequence[Clip], *, sample: int = 200) -> list[float]:
    """Return the durations of at most ``sample`` evenly spaced clips, in seconds, without those that cannot be read.

    >>> sampled_lengths_s([Clip(path=Path("a.wav"), label="dog", start_s=1.0, stop_s=2.5)])
    [1.5]
    """
    chosen = np.linspace(0, len(clips) - 1, min(len(clips), sample)).round().astype(np.int64)
    return [found for i in chosen if (found := length_s(clips[i])) is not None]


def length_s(clip: Clip) -> float | None:
    """Return the duration of a clip in seconds, from the header of its file; None if it cannot be read.

    >>> length_s(city.clips[0])
    4.0
    """
    if clip.stop_s is not None:
        return float(clip.stop_s - clip.start_s)
    try:
        return max(0.0, float(audio.info(clip.path).duration_s - clip.start_s))
    except AudioError:  # reported when the clip is read
        return None

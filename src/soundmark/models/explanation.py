"""Which regions of a spectrogram carried a decision: each is hidden in turn, and what the answer loses is measured.

``explain`` measures, ``Explanation.plot`` and ``save`` draw; from the bundle alone, so for every network.
"""

from __future__ import annotations

import base64
import html
import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark import audio
from soundmark.audio import AudioSource, Sound
from soundmark.models.classifier import Model
from soundmark.runtime import atomic, plotting
from soundmark.runtime.text import one_line
from soundmark.spectrograms import Picture
from soundmark.spectrograms.drawing import show_on_axes

Float32 = npt.NDArray[np.float32]


Float64 = npt.NDArray[np.float64]


BANDS, STRETCHES = 8, 12  # patches side by side; as many again stand half-way between them


BATCH = 64  # spectrograms with a patch each that the graph is given at a time


IMPORTANT_SHARE = 0.5  # of the greatest importance: what has more is said to have carried the decision


LEAST = 0.1  # of log-odds: where no region's importance is above it, none is said to have carried the decision


MOST_CLASSES = 6  # classes beside the picture


FIGURE_SIZE = (11.0, 4.4)  # inches


@dataclass(frozen=True)
class Region:
    """A part of the picture, in seconds of the whole sound and in hertz."""

    start_s: float
    stop_s: float
    low_hz: float
    high_hz: float

    def __str__(self) -> str:
        return f"between {self.start_s:.2f} and {self.stop_s:.2f} s, {_hertz(self.low_hz)} to {_hertz(self.high_hz)}"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Explanation:
    """What a model heard in a sound, and where in it.

    ``classes`` and ``probabilities`` are the whole sound's, best first, as ``Model.classify`` has them; the picture and
    the importance are of one of its ``windows``: of the ``stretch`` in which the first class scored highest.

    ``importance`` [freq, time], in the spectrogram's own grid, is what the log-odds of the first class lose on average
    where that place is hidden (above 0: it spoke for the class); ``frequencies_hz`` [freq] and ``times_s`` [time] say
    where in the picture each row and column stands.
    """

    name: str
    duration_s: float
    start_s: float
    stop_s: float
    windows: int
    score: float  # of the first class in this stretch
    classes: tuple[str, ...]
    probabilities: Float32
    picture: Picture
    importance: Float32
    frequencies_hz: Float64
    times_s: Float64
    note: str | None = None  # what was missing of the sound, if anything

    def on_picture(self) -> Float64:
        """The importance at each place of the picture, [height, width]: the mean over the columns of a same second."""
        times_s, place = np.unique(self.times_s, return_inverse=True)
        summed = np.zeros((len(self.importance), len(times_s)))
        np.add.at(summed.T, place, self.importance.T)
        folded = summed / np.bincount(place)
        width = self.picture.image.shape[1]
        at_s = (np.arange(width) + 0.5) * (self.picture.duration_s / width)
        wide = np.array([np.interp(at_s, times_s, row) for row in folded])
        order = np.argsort(self.frequencies_hz)
        hz, wide = self.frequencies_hz[order], wide[order]
        return np.array([np.interp(self.picture.frequencies_hz, hz, column) for column in wide.T]).T

    def regions(self) -> list[Region]:
        """What carried the decision, the most important first; empty where no region did more than the others."""
        importance = self.on_picture()
        left = important(importance)
        found = []
        while left.any():
            here = connected(left, int(np.where(left, importance, -np.inf).argmax()))
            found.append(self._region(here))
            left &= ~here
        return found

    def _region(self, here: npt.NDArray[np.bool_]) -> Region:
        rows, columns = np.flatnonzero(here.any(axis=1)), np.flatnonzero(here.any(axis=0))
        column_s = self.picture.duration_s / here.shape[1]
        hz = self.picture.frequencies_hz
        return Region(
            start_s=self.start_s + columns[0] * column_s,
            stop_s=self.start_s + (columns[-1] + 1) * column_s,
            low_hz=float(hz[rows[-1]]),
            high_hz=float(hz[rows[0]]),
        )

    def sentence(self) -> str:
        """What was heard, and what carried it."""
        heard = f"{self.classes[0]} ({self.probabilities[0]:.2f})"
        where = (
            ""
            if self.windows == 1
            else f", most of all from {self.start_s:.1f} to {self.stop_s:.1f} s ({self.score:.2f})"
        )
        regions = self.regions()
        if not regions:
            return f"{heard}{where}; no region alone carried it."
        more = f", and by {len(regions) - 1} more" if len(regions) > 1 else ""
        return f"{heard}{where}; carried by what is {regions[0]}{more}."

    __str__ = sentence

    def __repr__(self) -> str:
        name, sentence = one_line(Path(self.name).name), one_line(self.sentence(), 600)
        return f'Explanation("{name}", {self.duration_s:.1f} s: {sentence})'

    def plot(self, ax: Any | None = None) -> Any:
        """Draw the spectrogram with what carried the decision outlined; return its Matplotlib ``Axes``.

        Without ``ax``, in a new figure, with the top classes beside it.

        Raises:
            SettingsError: Matplotlib is not installed.
        """
        if ax is None:
            return _draw(self, plotting.new_figure(figsize=FIGURE_SIZE))
        _draw_spectrogram(self, ax)
        ax.set_title(f"{_title(self)}\n{ax.get_title()}", fontsize="medium", parse_math=False)
        return ax

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figure: the spectrogram with what carried the decision outlined, the top classes beside it.

        Raises:
            SettingsError: the ending of ``path`` is none that Matplotlib writes, or Matplotlib is not installed.
            OutputError: the file cannot be written.
        """
        path = Path(path)
        kind = plotting.check_figure_path(path)
        with atomic.replacing(path) as temporary:
            _save(self, temporary, kind)

    def _repr_html_(self) -> str:
        picture = io.BytesIO()
        try:
            _save(self, picture, "png")
        except ImportError:  # without Matplotlib, in words
            return f"<p>{html.escape(one_line(self.sentence(), 1000))}</p>"
        return (
            f'<img style="max-width:100%" src="data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}">'
        )


def explain(model: Model, source: AudioSource, *, rate_hz: float | None = None) -> Explanation:
    """What ``model`` hears in a sound, and where in it; ``source`` and ``rate_hz`` as ``Model.scores`` takes them.

    Of a sound longer than 1.05 windows, the window is explained in which the class scored highest that the whole sound
    is said to be.

    Raises:
        AudioError: the sound cannot be read.
        SettingsError: samples come without their rate, or a file with one.

    >>> found = explain(model, city.clips[0].path)
    >>> found.classes[0] == model.classify(city.clips[0].path)[0]["label"], found.importance.shape
    (True, (24, 24))
    """
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "-"
    heard = audio.as_sound(source, rate_hz)
    audio.check_samples(heard.samples, f'"{name}"')
    representation = model.card.representation
    rate = representation.rate_hz or heard.rate_hz
    sound = Sound(audio.resample(heard.samples, heard.rate_hz, rate), rate)
    scores = model.scores(sound)
    mean = scores.mean()
    order = np.argsort(-mean, kind="stable")
    best = int(scores.probabilities[:, order[0]].argmax())
    start_s, stop_s = float(scores.start_s[best]), float(scores.stop_s[best])
    samples = sound.samples[round(start_s * rate) : round(stop_s * rate)]
    times_s = representation.times_s(len(samples), rate)
    importance = occlusion(model, representation(samples, rate), times_s / (stop_s - start_s), int(order[0]))
    return Explanation(
        name=str(name),
        duration_s=heard.duration_s,
        start_s=start_s,
        stop_s=stop_s,
        windows=len(scores),
        score=float(scores.probabilities[best, order[0]]),
        classes=tuple(model.classes[i] for i in order),
        probabilities=mean[order],
        picture=representation.picture(samples, rate),
        importance=importance,
        frequencies_hz=representation.frequencies_hz(rate),
        times_s=times_s,
        note=heard.note,
    )


def occlusion(model: Model, spectrogram: Float32, places: Float64, which: int) -> Float32:
    """What the log-odds of class ``which`` lose where each place of a spectrogram [freq, time] is hidden; its shape.

    ``places`` [time] says where in the sound each column stands, from 0 to 1: a patch hides a part of the sound, in all
    the columns that stand for it. Patches overlap by half, and a place has the mean of those that hide it.

    Source: M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.

    >>> silence = np.zeros((24, 24), np.float32)
    >>> float(np.abs(occlusion(model, silence, np.arange(24) / 24, which=0)).max())  # nothing there can be hidden
    0.0
    """
    rows = (np.arange(len(spectrogram)) + 0.5) / len(spectrogram)
    bands, stretches = stripes(rows, BANDS), stripes(places, STRETCHES)
    masks = (bands[:, None, :, None] & stretches[None, :, None, :]).reshape(-1, *spectrogram.shape)
    hidden = occlusion_level(spectrogram)
    whole = _log_odds(model, spectrogram[None], which)
    lost = [
        whole - _log_odds(model, np.where(masks[start : start + BATCH], hidden, spectrogram), which)
        for start in range(0, len(masks), BATCH)
    ]
    summed = np.tensordot(np.concatenate(lost), masks, axes=1)
    return (summed / np.maximum(masks.sum(axis=0), 1)).astype(np.float32)


def stripes(places: Float64, count: int) -> npt.NDArray[np.bool_]:
    """Which ``places``, from 0 to 1, lie in each of ``count`` stripes and of those half-way between, [stripe, place].

    >>> stripes(np.array([0.1, 0.4, 0.9]), 2).astype(int)
    array([[1, 1, 0],
           [0, 1, 0],
           [0, 0, 1]])
    """
    starts = np.arange(2 * count - 1)[:, None] / (2 * count)
    inside: npt.NDArray[np.bool_] = (starts <= places) & (places < starts + 1 / count)
    return inside


def occlusion_level(spectrogram: Float32) -> Float32:
    """What hides a place of a spectrogram [freq, time]: the median of its row, [freq, 1].

    It is what that frequency sounds like most of the time, so no event of its own: with the quietest level of the clip
    instead, three quarters of the importance in the tests' noise fell beside the event, as a hole in noise is one. A
    steady sound hides itself from this: nothing of it is found to matter.

    >>> occlusion_level(np.array([[1.0, 2.0, 9.0]], np.float32))
    array([[2.]], dtype=float32)
    """
    middle: Float32 = np.median(spectrogram, axis=1, keepdims=True)
    return middle


def _log_odds(model: Model, spectrograms: Float32, which: int) -> Float64:
    return model.bundle.log_odds(model.bundle.run(spectrograms), which)


def important(importance: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which places carried the decision: those with half of the greatest importance or more, if it is any to speak of.

    >>> important(np.array([[1.0, 0.6, 0.4]])), important(np.array([[0.01, 0.0]]))
    (array([[ True,  True, False]]), array([[False, False]]))
    """
    return importance >= max(IMPORTANT_SHARE * float(importance.max()), LEAST)


def connected(flags: npt.NDArray[np.bool_], start: int) -> npt.NDArray[np.bool_]:
    """The flags [height, width] that can be reached from the one at the flat index ``start`` by steps to a neighbour.

    >>> connected(np.array([[True, True, False, True]]), 1)
    array([[ True,  True, False, False]])
    """
    here = np.zeros_like(flags)
    here.flat[start] = True
    while True:
        grown = np.pad(here, 1)
        grown = here | grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
        grown &= flags
        if (grown == here).all():
            return here
        here = grown


def _hertz(hz: float) -> str:
    """A frequency in two figures.

    >>> _hertz(487.3), _hertz(12340)
    ('490 Hz', '12 kHz')
    """
    return f"{float(f'{hz / 1000:.2g}'):g} kHz" if hz >= 995 else f"{float(f'{hz:.2g}'):g} Hz"


def _save(explanation: Explanation, file: Any, kind: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=FIGURE_SIZE, layout="constrained")
    _draw(explanation, figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a script that Matplotlib's own type does not have
        figure.savefig(file, format=kind, dpi=120)


def _draw(explanation: Explanation, figure: Any) -> Any:
    """The spectrogram and the top classes side by side; the axes of the spectrogram."""
    panel, bars = figure.subplots(1, 2, width_ratios=(3, 1))
    figure.suptitle(_title(explanation), parse_math=False)
    shown = _draw_spectrogram(explanation, panel)
    figure.colorbar(shown, label="level (dB)", pad=0.01)
    _draw_classes(bars, explanation)
    return panel


def _draw_spectrogram(explanation: Explanation, panel: Any) -> Any:
    shown = show_on_axes(panel, explanation.picture, colours="magma", start_s=explanation.start_s)
    _outline(panel, explanation)
    return shown


def _title(explanation: Explanation) -> str:
    name = Path(explanation.name).name
    if explanation.windows == 1:
        return f"{name}: {explanation.classes[0]}"
    return (
        f"{name}, {explanation.start_s:.1f} to {explanation.stop_s:.1f} s of {explanation.duration_s:.1f} s: "
        f"where {explanation.classes[0]} scored highest ({explanation.score:.2f})"
    )


def _outline(panel: Any, explanation: Explanation) -> None:
    """A white line with a dark edge, seen on every colour, about what carried the decision; the rest is dimmed."""
    from matplotlib.patheffects import withStroke

    importance = explanation.on_picture()
    target = explanation.classes[0]
    if not important(importance).any():
        panel.set_title(f"No region alone carried “{target}”", fontsize="medium", parse_math=False)
        return
    height, width = importance.shape
    column_s = explanation.picture.duration_s / width
    at_s = explanation.start_s + (np.arange(width) + 0.5) * column_s
    edge = IMPORTANT_SHARE * float(importance.max())
    framed = np.pad(importance, 1, constant_values=importance.min())  # so that the line closes at the border
    at_s = np.r_[at_s[0] - column_s / 2, at_s, at_s[-1] + column_s / 2]
    rows = np.r_[-0.5, np.arange(height), height - 0.5]
    panel.contourf(at_s, rows, framed, levels=[-np.inf, edge], colors="black", alpha=0.45)
    lines = panel.contour(at_s, rows, framed, levels=[edge], colors="white", linewidths=1.8)
    lines.set_path_effects([withStroke(linewidth=3.6, foreground="black")])
    panel.set_title(
        f"Outlined: what “{target}” was heard by (hiding it costs the class most)", fontsize="medium", parse_math=False
    )


def _draw_classes(bars: Any, explanation: Explanation) -> None:
    names, probabilities = explanation.classes[:MOST_CLASSES], explanation.probabilities[:MOST_CLASSES]
    colours = [plotting.BLUE, *["#9a9a9a"] * (len(names) - 1)]
    drawn = bars.barh(range(len(names)), probabilities, color=colours)
    bars.bar_label(drawn, [f"{p:.2f}" for p in probabilities], padding=3)
    bars.set_yticks(range(len(names)), names, parse_math=False)
    bars.set(xlim=(0, 1.18), ylim=(max(len(names), MOST_CLASSES) - 0.5, -0.5), xticks=[0, 0.5, 1], xlabel="probability")
    whole = "" if explanation.windows == 1 else f"\n(mean of {explanation.windows} windows)"
    bars.set_title(f"Heard in the whole sound{whole}", fontsize="medium")
    bars.spines[["top", "right"]].set_visible(False)

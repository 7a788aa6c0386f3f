"""Occlusion maps: the regions of a spectrogram that matter most for the top class.

Each region of the spectrogram is hidden in turn; its importance is the decrease of the class's log-odds. ``explain``
computes the importance, ``Explanation.plot`` and ``Explanation.save`` draw it. It works for every network.
"""

from __future__ import annotations

import base64
import html
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark import audio
from soundmark.audio import AudioSource, is_samples
from soundmark.audio.decoding import UNNAMED, reopenable
from soundmark.errors import AudioError
from soundmark.models.classifier import BATCH_VALUES, Model
from soundmark.models.streaming import open_stream
from soundmark.runtime import atomic, plotting
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import counted, one_line
from soundmark.spectrograms import SpectrogramImage
from soundmark.spectrograms.drawing import show_on_axes

Float32 = npt.NDArray[np.float32]


Float64 = npt.NDArray[np.float64]


# Number of patches along frequency and time. As many minus one are added half-way between them.
FREQUENCY_PATCHES, TIME_PATCHES = 8, 12


IMPORTANT_FRACTION = 0.5  # a region is important from this fraction of the maximum importance on


MIN_IMPORTANCE = 0.1  # log-odds; less importance than this is not reported


MAX_CLASSES = 6  # classes shown beside the spectrogram


FIGURE_SIZE = (11.0, 4.4)  # inches


@dataclass(frozen=True)
class Region:
    """A region of the spectrogram: seconds of the recording, and hertz."""

    start_s: float
    stop_s: float
    low_hz: float
    high_hz: float

    def __str__(self) -> str:
        return f"{self.start_s:.2f} to {self.stop_s:.2f} s, {_hertz(self.low_hz)} to {_hertz(self.high_hz)}"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Explanation:
    """The classes of a recording, and the regions of its spectrogram that matter most for the top class.

    ``classes`` and ``probabilities`` are those of the complete recording, best first, as in ``Model.classify``. The
    spectrogram ``picture`` and ``importance`` show one of its ``windows``, from ``start_s`` to ``stop_s``: the one in
    which the top class has its highest score.

    ``importance`` [freq, time] has the shape of the model's spectrogram: the mean decrease of the top class's log-odds
    when this part is hidden. Positive values speak for the class. ``frequencies_hz`` [freq] and ``times_s`` [time] are
    the coordinates of its rows and columns.
    """

    name: str
    duration_s: float
    start_s: float
    stop_s: float
    windows: int
    score: float  # of the top class in the window shown
    classes: tuple[str, ...]
    probabilities: Float32
    picture: SpectrogramImage
    importance: Float32
    frequencies_hz: Float64
    times_s: Float64
    note: str | None = None  # which part of the recording is missing, if it is truncated

    def pixel_importance(self) -> Float64:
        """Interpolate the importance to the pixels of ``picture``, [height, width].

        Columns with the same time are averaged: a representation may repeat a short sound.
        """
        times_s, column = np.unique(self.times_s, return_inverse=True)
        summed = np.zeros((len(self.importance), len(times_s)))
        np.add.at(summed.T, column, self.importance.T)
        folded = summed / np.bincount(column)
        width = self.picture.pixels.shape[1]
        at_s = (np.arange(width) + 0.5) * (self.picture.duration_s / width)
        wide = np.array([np.interp(at_s, times_s, row) for row in folded])
        order = np.argsort(self.frequencies_hz)
        hz, wide = self.frequencies_hz[order], wide[order]
        return np.array([np.interp(self.picture.frequencies_hz, hz, column) for column in wide.T]).T

    def regions(self) -> list[Region]:
        """Return the important regions, the most important first; empty if no region stands out."""
        importance = self.pixel_importance()
        remaining = important_mask(importance)
        found = []
        while remaining.any():
            mask = connected_region(remaining, int(np.where(remaining, importance, -np.inf).argmax()))
            found.append(self._bounding_box(mask))
            remaining &= ~mask
        return found

    def _bounding_box(self, mask: npt.NDArray[np.bool_]) -> Region:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        column_s = self.picture.duration_s / mask.shape[1]
        hz = self.picture.frequencies_hz
        return Region(
            start_s=self.start_s + columns[0] * column_s,
            stop_s=self.start_s + (columns[-1] + 1) * column_s,
            low_hz=float(hz[rows[-1]]),
            high_hz=float(hz[rows[0]]),
        )

    def sentence(self) -> str:
        """The top class and its most important region, in one sentence."""
        top = f"{self.classes[0]} ({self.probabilities[0]:.2f})"
        if self.windows > 1:
            top += f", highest score from {self.start_s:.1f} to {self.stop_s:.1f} s ({self.score:.2f})"
        regions = self.regions()
        if not regions:
            return f"{top}; no single region is decisive."
        more = f" ({counted(len(regions) - 1, 'more region')})" if len(regions) > 1 else ""
        return f"{top}; most important region: {regions[0]}{more}."

    __str__ = sentence

    def __repr__(self) -> str:
        name, sentence = one_line(Path(self.name).name), one_line(self.sentence(), 600)
        return f'Explanation("{name}", {self.duration_s:.1f} s: {sentence})'

    def plot(self, ax: Any | None = None) -> Any:
        """Plot the spectrogram with its important regions outlined; return the Matplotlib ``Axes``.

        Without ``ax``, draw in a new figure, with the top classes beside the spectrogram.

        Raises:
            SettingsError: Matplotlib is not installed.
        """
        if ax is None:
            return _draw(self, plotting.new_figure(figsize=FIGURE_SIZE))
        _draw_spectrogram(self, ax)
        ax.set_title(f"{_title(self)}\n{ax.get_title()}", fontsize="medium", parse_math=False)
        return ax

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figure: the spectrogram with its important regions outlined, and the top classes beside it.

        Raises:
            SettingsError: Matplotlib does not support the suffix of ``path``, or is not installed.
            OutputError: the file cannot be written.
        """
        path = Path(path)
        kind = plotting.check_figure_path(path)
        with atomic.replacing(path) as temporary:
            _save(self, temporary, kind)

    def _repr_html_(self) -> str:
        png = io.BytesIO()
        try:
            _save(self, png, "png")
        except ImportError:  # Matplotlib is not installed
            return f"<p>{html.escape(one_line(self.sentence(), 1000))}</p>"
        return f'<img style="max-width:100%" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'


def explain(
    model: Model | str | os.PathLike[str],
    source: AudioSource,
    *,
    rate_hz: float | None = None,
    progress: Progress = no_progress,
) -> Explanation:
    """Find the regions of a recording's spectrogram that matter most for its top class.

    ``model`` may be the path of one. ``source`` and ``rate_hz`` are those of ``Model.scores``. For a recording longer
    than 1.05 windows, the window in which the top class has its highest score is explained. ``progress`` is called
    after each batch of hidden regions.

    Raises:
        AudioError: the file cannot be decoded.
        BundleError: the model cannot be read.
        SettingsError: ``rate_hz`` is missing for samples, or given for a file.

    >>> found = explain(model, city.clips[0].path)
    >>> found.classes[0] == model.classify(city.clips[0].path)[0]["label"], found.importance.shape
    (True, (24, 24))
    """
    from soundmark.models.pretrained.named_models import open_model  # imports modules that import this one

    model = open_model(model)
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "-"
    if is_samples(source) or rate_hz is not None:
        return _explain(model, audio.as_sound(source, rate_hz), name, progress)
    with reopenable(source) as again:  # type: ignore[arg-type]  # decoded twice: a long sound does not fit in memory
        return _explain(model, again, name, progress)


def _explain(model: Model, source: AudioSource, name: str, progress: Progress) -> Explanation:
    representation = model.card.representation
    try:
        scores = model.scores(source)
    except AudioError as error:
        reason = str(error).replace(UNNAMED, f'"{name}"')
        raise AudioError(reason if name in reason else f'"{name}": {reason}') from error
    mean = scores.mean()
    order = np.argsort(-mean, kind="stable")
    best = int(scores.probabilities[:, order[0]].argmax())
    start_s, stop_s = float(scores.start_s[best]), float(scores.stop_s[best])
    section = _section(source, representation.input_rate_hz, start_s, stop_s)
    samples, rate = section.samples, section.rate_hz
    times_s = representation.times_s(len(samples), rate)
    positions = times_s / (stop_s - start_s)
    importance = occlusion(model, representation(samples, rate), positions, int(order[0]), progress=progress)
    return Explanation(
        name=str(name),
        duration_s=section.of_s,
        start_s=start_s,
        stop_s=stop_s,
        windows=len(scores),
        score=float(scores.probabilities[best, order[0]]),
        classes=tuple(model.classes[i] for i in order),
        probabilities=mean[order],
        picture=representation.render(samples, rate),
        importance=importance,
        frequencies_hz=representation.frequencies_hz(rate),
        times_s=times_s,
        note=section.note,
    )


@dataclass(frozen=True)
class _Section:
    """Samples of a recording at ``rate_hz``; the recording lasts ``of_s`` and was decoded with ``note``."""

    samples: audio.Samples
    rate_hz: int
    of_s: float
    note: str | None


def _section(source: AudioSource, rate_hz: int | None, start_s: float, stop_s: float) -> _Section:
    """Decode a recording block by block, and keep the samples from ``start_s`` to ``stop_s`` at ``rate_hz``."""
    with open_stream(source, None, None) as stream:
        rate = rate_hz or stream.rate_hz
        resampler, first, last = audio.Resampler(stream.rate_hz, rate), round(start_s * rate), round(stop_s * rate)
        kept, n_in, n_out = [], 0, 0
        for n_samples, resampled in _resampled(stream, resampler):
            if n_out < last and n_out + len(resampled) > first:
                kept.append(resampled[max(0, first - n_out) : last - n_out].copy())
            n_in += n_samples
            n_out += len(resampled)
        return _Section(np.concatenate(kept), rate, n_in / stream.rate_hz, stream.note)


def _resampled(blocks: Iterable[audio.Samples], resampler: audio.Resampler) -> Iterator[tuple[int, audio.Samples]]:
    """Yield the number of samples and the resampled samples of each block, then the rest."""
    for block in blocks:
        yield len(block), resampler.push(block)
    yield 0, resampler.end()


def occlusion(
    model: Model, spectrogram: Float32, positions: Float64, which: int, *, progress: Progress = no_progress
) -> Float32:
    """Compute the occlusion map of class index ``which``, in the shape of the spectrogram [freq, time].

    Its values are the decrease of the log-odds when this part of the spectrogram is hidden. ``positions`` [time] is the
    position of each column in the sound, from 0 to 1: if a representation repeats a short sound, a patch hides all
    repetitions. Patches overlap by half; each value is the mean over the patches that cover it.

    Source: M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.

    >>> silence = np.zeros((24, 24), np.float32)
    >>> float(np.abs(occlusion(model, silence, np.arange(24) / 24, which=0)).max())  # hiding silence changes nothing
    0.0
    """
    rows = (np.arange(len(spectrogram)) + 0.5) / len(spectrogram)
    in_frequency = stripe_masks(rows, min(FREQUENCY_PATCHES, len(rows)))  # a waveform has one row: hide times only
    in_time = stripe_masks(positions, TIME_PATCHES)
    fill = occlusion_level(spectrogram)
    baseline = _log_odds(model, spectrogram[None], which)
    per_batch = max(1, BATCH_VALUES // spectrogram.size)
    patches = list(np.ndindex(len(in_frequency), len(in_time)))
    decreases = []
    for start in range(0, len(patches), per_batch):
        low, early = np.array(patches[start : start + per_batch]).T
        masks = in_frequency[low, :, None] & in_time[early, None, :]
        decreases.append(baseline - _log_odds(model, np.where(masks, fill, spectrogram), which))
        progress("explain", start + len(low), len(patches), "regions")
    by_patch = np.concatenate(decreases).reshape(len(in_frequency), len(in_time))
    n_patches = np.outer(in_frequency.sum(axis=0), in_time.sum(axis=0))
    return ((in_frequency.T @ by_patch @ in_time) / np.maximum(n_patches, 1)).astype(np.float32)


def stripe_masks(positions: Float64, count: int) -> npt.NDArray[np.bool_]:
    """Divide 0 to 1 into ``count`` stripes and ``count - 1`` half-way between them; return masks [stripe, position].

    >>> stripe_masks(np.array([0.1, 0.4, 0.9]), 2).astype(int)
    array([[1, 1, 0],
           [0, 1, 0],
           [0, 0, 1]])
    """
    starts = np.arange(2 * count - 1)[:, None] / (2 * count)
    inside: npt.NDArray[np.bool_] = (starts <= positions) & (positions < starts + 1 / count)
    return inside


def occlusion_level(spectrogram: Float32) -> Float32:
    """Return the level that hidden parts of a spectrogram [freq, time] are filled with: the median per row, [freq, 1].

    The median is the background level of a frequency. Filling with the minimum of the clip instead cuts a hole into
    background noise, which is itself an event: three quarters of the importance in the tests' noise was then outside
    the event. A steady sound equals its median, so this method assigns it no importance.

    >>> occlusion_level(np.array([[1.0, 2.0, 9.0]], np.float32))
    array([[2.]], dtype=float32)
    """
    middle: Float32 = np.median(spectrogram, axis=1, keepdims=True)
    return middle


def _log_odds(model: Model, spectrograms: Float32, which: int) -> Float64:
    return model.bundle.log_odds(model.bundle.run(spectrograms), which)


def important_mask(importance: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Select the values of at least half the maximum, if the maximum is at least ``MIN_IMPORTANCE``.

    >>> important_mask(np.array([[1.0, 0.6, 0.4]])), important_mask(np.array([[0.01, 0.0]]))
    (array([[ True,  True, False]]), array([[False, False]]))
    """
    return importance >= max(IMPORTANT_FRACTION * float(importance.max()), MIN_IMPORTANCE)


def connected_region(mask: npt.NDArray[np.bool_], start: int) -> npt.NDArray[np.bool_]:
    """Return the 4-connected component of ``mask`` [height, width] that contains the flat index ``start``.

    >>> connected_region(np.array([[True, True, False, True]]), 1)
    array([[ True,  True, False, False]])
    """
    region = np.zeros_like(mask)
    region.flat[start] = True
    while True:
        grown = np.pad(region, 1)
        grown = region | grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
        grown &= mask
        if (grown == region).all():
            return region
        region = grown


def _hertz(hz: float) -> str:
    """Format a frequency with two significant digits.

    >>> _hertz(487.3), _hertz(12340)
    ('490 Hz', '12 kHz')
    """
    return f"{float(f'{hz / 1000:.2g}'):g} kHz" if hz >= 995 else f"{float(f'{hz:.2g}'):g} Hz"


def _save(explanation: Explanation, file: Any, kind: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=FIGURE_SIZE, layout="constrained")
    _draw(explanation, figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a character that Matplotlib's font lacks
        figure.savefig(file, format=kind, dpi=120)


def _draw(explanation: Explanation, figure: Any) -> Any:
    """Draw the spectrogram and the top classes side by side; return the axes of the spectrogram."""
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
        f"highest score of {explanation.classes[0]} ({explanation.score:.2f})"
    )


def _outline(panel: Any, explanation: Explanation) -> None:
    """Outline the important regions in white with a dark edge, visible on every colour; dim everything else."""
    from matplotlib.patheffects import withStroke

    importance = explanation.pixel_importance()
    target = explanation.classes[0]
    if not important_mask(importance).any():
        panel.set_title(f"No single region is decisive for “{target}”", fontsize="medium", parse_math=False)
        return
    height, width = importance.shape
    column_s = explanation.picture.duration_s / width
    at_s = explanation.start_s + (np.arange(width) + 0.5) * column_s
    edge = IMPORTANT_FRACTION * float(importance.max())
    padded = np.pad(importance, 1, constant_values=importance.min())  # closes the outline at the border
    at_s = np.r_[at_s[0] - column_s / 2, at_s, at_s[-1] + column_s / 2]
    rows = np.r_[-0.5, np.arange(height), height - 0.5]
    panel.contourf(at_s, rows, padded, levels=[-np.inf, edge], colors="black", alpha=0.45)
    lines = panel.contour(at_s, rows, padded, levels=[edge], colors="white", linewidths=1.8)
    lines.set_path_effects([withStroke(linewidth=3.6, foreground="black")])
    panel.set_title(f"Outlined: most important for “{target}” (occlusion)", fontsize="medium", parse_math=False)


def _draw_classes(bars: Any, explanation: Explanation) -> None:
    names, probabilities = explanation.classes[:MAX_CLASSES], explanation.probabilities[:MAX_CLASSES]
    colours = [plotting.BLUE, *["#9a9a9a"] * (len(names) - 1)]
    drawn = bars.barh(range(len(names)), probabilities, color=colours)
    bars.bar_label(drawn, [f"{p:.2f}" for p in probabilities], padding=3)
    bars.set_yticks(range(len(names)), names, parse_math=False)
    bars.set(xlim=(0, 1.18), ylim=(max(len(names), MAX_CLASSES) - 0.5, -0.5), xticks=[0, 0.5, 1], xlabel="probability")
    mean_of = "" if explanation.windows == 1 else f"\n(mean of {counted(explanation.windows, 'window')})"
    bars.set_title(f"Scores of the recording{mean_of}", fontsize="medium")
    bars.spines[["top", "right"]].set_visible(False)

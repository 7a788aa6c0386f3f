"""Draw spectrograms as coloured PNGs, and in Matplotlib axes with seconds and hertz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from soundmark.errors import unknown_name
from soundmark.runtime.plotting import glyphs_may_be_missing
from soundmark.spectrograms.representation import SpectrogramImage

MOST_POINTS = 2000  # of a waveform


def draw(image: SpectrogramImage, path: Path, *, colours: str, axes: bool, title: str = "") -> None:
    """Write a spectrogram as a coloured PNG; with ``axes``, add axes in seconds and hertz, a title and a colour bar.

    >>> from soundmark.spectrograms import Image
    >>> image = Image().render(np.zeros(22050, np.float32), 22050)
    >>> draw(image, folder / "silence.png", colours="magma", axes=True, title="silence")
    >>> (folder / "silence.png").read_bytes()[1:4]
    b'PNG'
    """
    import matplotlib

    if not axes:
        rgb = (255 * matplotlib.colormaps[colours](np.arange(256))[:, :3]).round().astype(np.uint8)
        save_pixels(rgb[image.pixels], path)
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.add_subplot()
    mappable = show_on_axes(panel, image, colours=colours)
    panel.set_title(title, parse_math=False)
    figure.colorbar(mappable, label="level (dB)")
    with glyphs_may_be_missing():
        figure.savefig(path, format="png", dpi=110)


def show_on_axes(panel: Any, image: SpectrogramImage, *, colours: str, start_s: float = 0.0) -> Any:
    """Draw a spectrogram in decibels on Matplotlib axes in seconds (from ``start_s``) and hertz.

    Return the ``AxesImage``, for a colour bar. Row i of the image extends from i − 0.5 to i + 0.5 on the vertical axis,
    for any frequency scale.

    >>> from soundmark.spectrograms import Image
    >>> from matplotlib.figure import Figure
    >>> panel = Figure().add_subplot()
    >>> _ = show_on_axes(panel, Image().render(np.zeros(22050, np.float32), 22050), colours="magma", start_s=2.0)
    >>> [round(float(end)) for end in panel.get_xlim()], [label.get_text() for label in panel.get_yticklabels()][:2]
    ([2, 3], ['0', '2000'])
    """
    height = len(image.pixels)
    mappable = panel.imshow(
        np.asarray(image.pixels) / 255 * (image.db_max - image.db_min) + image.db_min,
        cmap=colours,
        aspect="auto",
        extent=(start_s, start_s + image.duration_s, height - 0.5, -0.5),
        interpolation="nearest",
    )
    ticks = [hz for hz in _round_frequencies(image) if hz <= image.f_max_hz]
    panel.set_yticks([image.row_of(hz) for hz in ticks], [f"{hz:g}" for hz in ticks])
    panel.set(xlabel="time (s)", ylabel=f"frequency (Hz{', mel scale' if image.scale == 'mel' else ''})")
    return mappable


def show_waveform(panel: Any, samples: np.ndarray, rate_hz: int) -> None:
    """Draw samples [n] on Matplotlib axes in seconds: as the range in each of at most ``MOST_POINTS`` intervals.

    >>> from matplotlib.figure import Figure
    >>> panel = Figure().add_subplot()
    >>> show_waveform(panel, np.sin(np.arange(22050)), 22050)
    >>> panel.get_ylabel(), [round(float(end)) for end in panel.get_xlim()]
    ('amplitude', [0, 1])
    """
    starts = np.unique(np.linspace(0, len(samples), min(len(samples), MOST_POINTS), endpoint=False, dtype=np.int64))
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    panel.fill_between(starts / rate_hz, low, high, linewidth=0.6, edgecolor="C0")
    panel.set(xlim=(0, len(samples) / rate_hz), xlabel="time (s)", ylabel="amplitude")


def _round_frequencies(image: SpectrogramImage) -> list[float]:
    if image.scale == "mel":
        return [0, 250, 500, 1000, 2000, 4000, 8000, 16000]
    step = 10 ** np.floor(np.log10(image.f_max_hz / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if image.f_max_hz / (step * factor) <= 7)
    return [float(hz) for hz in np.arange(0, image.f_max_hz + 1, step)]


def save_pixels(pixels: np.ndarray, path: Path) -> None:
    """Write pixels uint8 ``[height, width]`` or ``[height, width, 3]`` as a PNG.

    >>> save_pixels(np.zeros((2, 2), np.uint8), folder / "black.png")
    """
    from PIL import Image as Pillow

    Pillow.fromarray(pixels).save(path, format="PNG")


def check_colour_map(name: str) -> None:
    """Check that Matplotlib has a colour map with this name.

    Raises:
        SettingsError: it has none.

    >>> check_colour_map("magma")
    """
    import matplotlib

    if not isinstance(name, str) or name not in matplotlib.colormaps:
        raise unknown_name("colour map", name, ("magma", "viridis", "cividis", "inferno", "plasma", "gray"))

"""A spectrogram drawn for people: in colour, with axes in seconds and hertz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from soundmark.errors import unknown_name
from soundmark.runtime.plotting import glyphs_may_be_missing
from soundmark.spectrograms.representation import Picture


def draw(picture: Picture, path: Path, *, colours: str, axes: bool, title: str = "") -> None:
    """One picture for people: in colour, and with axes in seconds and hertz where they are wanted.

    >>> from soundmark.spectrograms import Image
    >>> picture = Image().picture(np.zeros(22050, np.float32), 22050)
    >>> draw(picture, folder / "silence.png", colours="magma", axes=True, title="silence")
    >>> (folder / "silence.png").read_bytes()[1:4]
    b'PNG'
    """
    import matplotlib

    if not axes:
        rgba = matplotlib.colormaps[colours](picture.image)
        save_pixels((255 * rgba[..., :3]).round().astype(np.uint8), path)
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.add_subplot()
    shown = show_on_axes(panel, picture, colours=colours)
    panel.set_title(title, parse_math=False)
    figure.colorbar(shown, label="level (dB)")
    with glyphs_may_be_missing():
        figure.savefig(path, format="png", dpi=110)


def show_on_axes(panel: Any, picture: Picture, *, colours: str, start_s: float = 0.0) -> Any:
    """A picture in Matplotlib axes, in decibels over seconds (from ``start_s`` on) and hertz; what a colour bar is of.

    Row i of the picture is from i − 0.5 to i + 0.5 on the vertical axis, whatever its scale.

    >>> from soundmark.spectrograms import Image
    >>> from matplotlib.figure import Figure
    >>> panel = Figure().add_subplot()
    >>> _ = show_on_axes(panel, Image().picture(np.zeros(22050, np.float32), 22050), colours="magma", start_s=2.0)
    >>> [round(float(end)) for end in panel.get_xlim()], [label.get_text() for label in panel.get_yticklabels()][:2]
    ([2, 3], ['0', '2000'])
    """
    height = len(picture.image)
    shown = panel.imshow(
        np.asarray(picture.image) / 255 * (picture.db_max - picture.db_min) + picture.db_min,
        cmap=colours,
        aspect="auto",
        extent=(start_s, start_s + picture.duration_s, height - 0.5, -0.5),
        interpolation="nearest",
    )
    ticks = [hz for hz in _round_frequencies(picture) if hz <= picture.f_max_hz]
    panel.set_yticks([picture.row_of(hz) for hz in ticks], [f"{hz:g}" for hz in ticks])
    panel.set(xlabel="time (s)", ylabel=f"frequency (Hz{', mel scale' if picture.scale == 'mel' else ''})")
    return shown


def _round_frequencies(picture: Picture) -> list[float]:
    if picture.scale == "mel":
        return [0, 250, 500, 1000, 2000, 4000, 8000, 16000]
    step = 10 ** np.floor(np.log10(picture.f_max_hz / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if picture.f_max_hz / (step * factor) <= 7)
    return [float(hz) for hz in np.arange(0, picture.f_max_hz + 1, step)]


def save_pixels(pixels: np.ndarray, path: Path) -> None:
    """Write pixels uint8 ``[height, width]`` or ``[height, width, 3]`` as a PNG.

    >>> save_pixels(np.zeros((2, 2), np.uint8), folder / "black.png")
    """
    from PIL import Image as Pillow

    Pillow.fromarray(pixels).save(path, format="PNG")


def check_colour_map(name: str) -> None:
    """Refuse a colour map that Matplotlib does not have.

    >>> check_colour_map("magma")
    """
    import matplotlib

    if name not in matplotlib.colormaps:
        raise unknown_name("colour map", name, ("magma", "viridis", "cividis", "inferno", "plasma", "gray"))

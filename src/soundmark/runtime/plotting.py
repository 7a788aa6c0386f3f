"""What all figures share: colours, supported file formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soundmark.errors import SettingsError, unknown_name
from soundmark.runtime import atomic

BLUE = "#0072B2"  # of Okabe and Ito's palette, which all eyes tell apart


def check_figure_path(path: Path) -> str:
    """The format that the ending of a picture's name stands for; its folder is made, if need be.

    So that what cannot be drawn is refused before hours are spent on what to draw.

    Raises:
        SettingsError: Matplotlib does not write it, or is not installed.
        OutputError: the folder cannot be written to.

    >>> check_figure_path(Path("pets.PNG"))
    'png'
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise SettingsError('drawing needs Matplotlib: pip install "soundmark[train]".') from error
    kinds = FigureCanvasAgg.get_supported_filetypes()
    kind = path.suffix.lower().removeprefix(".")
    if kind not in kinds:
        raise unknown_name("picture format", kind, sorted(kinds))
    atomic.make_folder(path.parent)
    return kind


def without_mathtext(name: str) -> str:
    r"""A name without what Matplotlib would take for a formula.

    >>> without_mathtext("a$b")
    'a\\$b'
    """
    return name.replace("$", r"\$")


def axes_or_new(ax: Any | None, *, figsize: tuple[float, float] = (7.0, 4.0)) -> Any:
    """The Matplotlib ``Axes`` to draw into: ``ax``, or those of a new figure, which Jupyter displays.

    Raises:
        SettingsError: Matplotlib is not installed.

    >>> axes_or_new(None).get_title()
    ''
    """
    if ax is not None:
        return ax
    return pyplot().subplots(figsize=figsize, layout="constrained")[1]


def pyplot() -> Any:
    """Matplotlib's ``pyplot``, for figures that Jupyter displays.

    Raises:
        SettingsError: Matplotlib is not installed.

    >>> pyplot().close("all")
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise SettingsError('plotting needs Matplotlib: pip install "soundmark[plot]".') from error
    return pyplot

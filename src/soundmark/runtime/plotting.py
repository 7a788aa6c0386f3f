"""Shared code of figures: axes, colours, file formats, saving."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from soundmark.errors import SettingsError, unknown_name
from soundmark.runtime import atomic
from soundmark.runtime.checks import value_text

BLUE = "#0072B2"  # from Okabe and Ito's palette, distinct with any colour vision
SEQUENCE = "cividis"  # for ordered values: readable with any colour vision, and in grey


def has_matplotlib() -> bool:
    """Whether Matplotlib is installed.

    >>> has_matplotlib()
    True
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def check_matplotlib() -> None:
    """Check that Matplotlib is installed.

    Raises:
        SettingsError: Matplotlib is not installed.

    >>> check_matplotlib()
    """
    if not has_matplotlib():
        raise SettingsError('plotting needs Matplotlib: pip install "soundmark[plot]".')


def check_figure_path(path: Path) -> str:
    """Return the file format from the suffix of a figure's path; create its folder if needed.

    Call it before long computations, so that an invalid path raises an error at once.

    Raises:
        SettingsError: Matplotlib does not write this format, or is not installed.
        OutputError: the folder is not writable.

    >>> check_figure_path(Path("pets.PNG"))
    'png'
    """
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    supported = FigureCanvasAgg.get_supported_filetypes()
    image_format = path.suffix.lower().removeprefix(".")
    if image_format not in supported:
        raise unknown_name("image format", image_format, sorted(supported))
    atomic.make_folder(path.parent)
    return image_format


def axes_or_new(ax: Any = None, figsize: tuple[float, float] = (6.4, 4.0)) -> Any:
    """Return ``ax``, or the Axes of a new pyplot figure of ``figsize`` inches, which Jupyter displays.

    Raises:
        SettingsError: Matplotlib is not installed, or ``ax`` is not ``Axes``.

    >>> ax = axes_or_new(figsize=(4, 3))
    >>> axes_or_new(ax) is ax, ax.figure.get_size_inches().tolist()
    (True, [4.0, 3.0])
    """
    if ax is None:
        return new_axes(figsize=figsize)
    if not hasattr(ax, "imshow"):
        raise SettingsError(f"ax is {value_text(ax)}: expected Axes of Matplotlib, or None for a new figure.")
    return ax


def new_axes(rows: int = 1, columns: int = 1, *, figsize: tuple[float, float], **layout: Any) -> Any:
    """Create a pyplot figure; return its Axes, or an array ``[rows, columns]``. ``layout``: see ``pyplot.subplots``.

    Raises:
        SettingsError: Matplotlib is not installed.

    >>> new_axes(2, 3, figsize=(6, 4)).shape
    (2, 3)
    """
    check_matplotlib()
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=figsize, layout="constrained", **layout)[1]


def new_figure(*, figsize: tuple[float, float]) -> Any:
    """Create a pyplot figure without axes, which Jupyter displays.

    Raises:
        SettingsError: Matplotlib is not installed.

    >>> new_figure(figsize=(6, 4)).axes
    []
    """
    check_matplotlib()
    from matplotlib import pyplot

    return pyplot.figure(figsize=figsize, layout="constrained")


def save_figure(figure: Any, path: str | os.PathLike[str], *, dpi: int = 120) -> None:
    """Write a Matplotlib figure atomically, in the format of the suffix of ``path``.

    Raises:
        SettingsError: Matplotlib does not write this format, or is not installed.
        OutputError: the file cannot be written.

    >>> save_figure(axes_or_new().figure, folder / "empty.svg")
    >>> (folder / "empty.svg").stat().st_size > 1000
    True
    """
    path = Path(path)
    image_format = check_figure_path(path)
    with atomic.replacing(path) as temporary, glyphs_may_be_missing():
        figure.savefig(temporary, format=image_format, dpi=dpi)


@contextmanager
def glyphs_may_be_missing() -> Iterator[None]:
    """Suppress Matplotlib's warnings about characters that its font lacks, for example in class names.

    >>> with glyphs_may_be_missing():
    ...     warnings.warn("Glyph 29356 missing from font(s) DejaVu Sans.")
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def ordered_colours(n: int) -> list[Any]:
    """Return ``n`` colours from dark to light for ordered groups such as folds, distinct with any colour vision.

    >>> len(ordered_colours(3)), [round(float(part), 1) for part in ordered_colours(1)[0]]
    (3, [0.0, 0.4, 0.7, 1.0])
    """
    import matplotlib
    from matplotlib.colors import to_rgba

    if n == 1:
        return [to_rgba(BLUE)]
    return [matplotlib.colormaps[SEQUENCE](0.1 + 0.85 * i / (n - 1)) for i in range(n)]


def without_mathtext(name: str) -> str:
    r"""Escape a name so that Matplotlib does not interpret it as a formula.

    >>> without_mathtext("a$b")
    'a\\$b'
    """
    return name.replace("$", r"\$")

"""The figure of an inspection: clips per class and fold, durations, encodings, faults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.datasets.inspection import Inspection
from soundmark.datasets.inspection.tables import fold_text
from soundmark.runtime.plotting import BLUE, check_figure_path, new_axes, save_figure, without_mathtext


def draw(inspection: Inspection, path: str | os.PathLike[str]) -> None:
    """Save the figure of an inspection; the suffix of ``path`` determines the format.

    Raises:
        SettingsError: Matplotlib does not support the format or is not installed.
        OutputError: the file cannot be written.

    >>> from soundmark.datasets.inspection import inspect
    >>> from soundmark import audio
    >>> from soundmark.datasets import Dataset
    >>> import tempfile
    >>> pets = Path(tempfile.mkdtemp())
    >>> (pets / "dog").mkdir()
    >>> audio.write(pets / "dog" / "rex.wav", 0.5 * np.sin(np.arange(8000)), 8000)
    >>> draw(inspect(Dataset.open(pets), jobs=1), pets / "pets.png")
    >>> (pets / "pets.png").read_bytes()[1:4]
    b'PNG'
    """
    check_figure_path(Path(path))
    from matplotlib.figure import Figure

    figsize, ratios = _layout(inspection)
    figure = Figure(figsize=figsize, layout="constrained")
    _draw_on(figure.subplots(2, 2, height_ratios=ratios), inspection)
    save_figure(figure, path)


def plot(inspection: Inspection) -> Any:
    """Draw the inspection on a new pyplot figure, which Jupyter displays; return its Axes [2, 2].

    Raises:
        SettingsError: Matplotlib is not installed.

    >>> from soundmark.datasets.inspection import inspect
    >>> [axes.get_title() for axes in plot(inspect(city, jobs=1, quiet=True)).flat]
    ['Clips per class and fold', 'Durations', 'Encodings', 'Faults: none found']
    """
    figsize, ratios = _layout(inspection)
    axes = new_axes(2, 2, figsize=figsize, height_ratios=ratios)
    _draw_on(axes, inspection)
    return axes


def _layout(inspection: Inspection) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the figure size in inches and the height ratio of the two rows."""
    height = 0.25 * max(len(inspection.classes), 10)
    return (12, 4 + height), (height, 2.5)


def _draw_on(axes: Any, inspection: Inspection) -> None:
    (counts, durations), (encodings, faults) = axes
    counts.figure.suptitle(f"{inspection.name}: {inspection.share}", parse_math=False)
    _draw_counts(counts, inspection)
    _draw_durations(durations, inspection)
    most = inspection.encodings[:8]
    of = f" (8 of {len(inspection.encodings)})" if len(inspection.encodings) > 8 else ""
    _draw_bars(encodings, f"Encodings{of}", {str(encoding): encoding.clips for encoding in most}, "clips")
    numbers = {kind: number for kind, number in inspection.faults.items() if kind != "skipped"}  # shown in the title
    _draw_bars(faults, "Faults" if any(numbers.values()) else "Faults: none found", numbers, "number")


def _draw_counts(axes: Any, inspection: Inspection) -> None:
    """Draw a heat map of clips per class and fold with the numbers in its cells, readable without colour."""
    counts = inspection.counts
    axes.imshow(counts, cmap="cividis", aspect="auto", vmin=0)
    for (row, column), count in np.ndenumerate(counts):
        dark = count < 0.6 * counts.max()
        axes.text(column, row, f"{count}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_yticks(range(len(inspection.classes)), [without_mathtext(name) for name in inspection.classes])
    axes.set_xticks(range(len(inspection.folds)), [fold_text(fold) or "none" for fold in inspection.folds])
    axes.set(title="Clips per class and fold", xlabel="fold", ylabel="class")


def _draw_durations(axes: Any, inspection: Inspection) -> None:
    lengths_s = inspection.durations_s[np.isfinite(inspection.durations_s)]
    if lengths_s.size:
        axes.hist(lengths_s, bins=40, range=(0, max(1.0, float(lengths_s.max()))), color=BLUE)
        axes.set_yscale("symlog", linthresh=10)  # keeps a single short clip visible beside 7 000 clips of 4 s
    axes.set(title="Durations", xlabel="duration in s", ylabel="clips")


def _draw_bars(axes: Any, title: str, numbers: Mapping[str, int], unit: str) -> None:
    bars = axes.barh([without_mathtext(name) for name in numbers], list(numbers.values()), color=BLUE)
    axes.bar_label(bars, padding=3)
    axes.set(title=title, xlabel=unit)
    axes.set_xlim(0, 1.15 * max([1, *numbers.values()]))
    axes.set_ylim(max(len(numbers), 6) - 0.5, -0.5)  # from top to bottom; a single bar does not fill the Axes
    axes.xaxis.get_major_locator().set_params(integer=True)

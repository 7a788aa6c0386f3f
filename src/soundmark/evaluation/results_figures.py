"""Figures of an ``Evaluation`` for a notebook or a paper: training curves, confusion matrix, reliability diagram."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.datasets.protocols import protocol_of
from soundmark.errors import SettingsError, unknown_name
from soundmark.evaluation.report.figures import draw_curves, draw_reliability, held_out_names
from soundmark.evaluation.results import Evaluation, Result
from soundmark.runtime import atomic, plotting
from soundmark.runtime.plotting import without_mathtext

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The palette of Okabe and Ito, which colour-blind readers can distinguish; same as in the report.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b98300", "#3d9fd6", "#7f7f7f", "#1b1d1f")

GREY = "#5d6368"

QUANTITIES = ("loss", "accuracy")

FORMATS = ("pdf", "svg", "png")

CURVE_INCHES, SQUARE_INCHES = (6.0, 4.0), (4.8, 4.8)


def plot_history(results: Sequence[Result], recipes: Sequence[str], quantity: str, ax: Axes | None = None) -> Axes:
    """Plot "loss" or "accuracy" by epoch; a recipe's colour follows from its index in ``recipes``.

    Raises:
        SettingsError: an unknown quantity, no recipe with epochs, or Matplotlib is missing.

    >>> plot_history(city_run.results, city_run.recipes, "loss").get_title()
    'Random split'
    """
    if quantity not in QUANTITIES:
        raise unknown_name("quantity", quantity, QUANTITIES)
    drawn = [result for result in results if any(fold.history for fold in result.folds)]
    if not drawn:
        names = ", ".join(result.recipe.name for result in results)
        raise SettingsError(f"{names} was not trained in epochs, so it has no training curve: choose other recipes.")
    axes = plotting.axes_or_new(ax, CURVE_INCHES)
    colours = _colours(drawn, recipes)
    draw_curves(axes, drawn, colours, quantity=quantity)
    for result, colour in zip(drawn, colours, strict=True):
        axes.plot([], [], color=colour, label=without_mathtext(result.recipe.name))
    axes.plot([], [], color=GREY, label=held_out_names(drawn))
    axes.plot([], [], color=GREY, linestyle=(0, (2.2, 1.6)), label="training")
    return _finished(axes, protocol_of(drawn[0].protocol).title)


def plot_reliability(results: Sequence[Result], recipes: Sequence[str], ax: Axes | None = None) -> Axes:
    """Plot a reliability diagram, accuracy by confidence bin; the legend shows the expected calibration error.

    Raises:
        SettingsError: Matplotlib is missing.

    >>> plot_reliability(city_run.results, city_run.recipes).get_ylabel()
    'accuracy (%)'
    """
    axes = plotting.axes_or_new(ax, SQUARE_INCHES)
    colours = _colours(results, recipes)
    draw_reliability(axes, results, colours, diagonal=GREY)
    for result, colour in zip(results, colours, strict=True):
        name = without_mathtext(result.recipe.name)
        axes.plot([], [], color=colour, marker="o", label=f"{name}, ECE {result.summary.ece:.3f}")
    return _finished(axes, protocol_of(results[0].protocol).title)


def plot_confusion(result: Result, classes: Sequence[str], ax: Axes | None = None) -> Axes:
    """Plot a confusion matrix, one row per true class; cells show the number of clips and their share of the row.

    Raises:
        SettingsError: the data is multi-label, or Matplotlib is missing.

    >>> plot_confusion(city_run.results[0], city.classes).get_ylabel()
    'true class'
    """
    counts = result.summary.confusion_matrix
    if counts is None:
        raise SettingsError(
            "the data set is multi-label: a clip can have several classes, so there is no confusion matrix. "
            "to_dataframe() returns the scores; the report lists the scores of each class."
        )
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes = plotting.axes_or_new(ax, _confusion_inches(classes))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _write_cells(axes, counts, shares)
    names = [without_mathtext(name) for name in classes]
    small = 9 if len(names) <= 20 else 6
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=small)
    axes.set_yticks(range(len(names)), names, fontsize=small)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(f"{without_mathtext(result.recipe.name)}, {protocol_of(result.protocol).title.lower()}")
    return axes


def _confusion_inches(classes: Sequence[str]) -> tuple[float, float]:
    side = 2.0 + 0.52 * min(len(classes), 20) + (0.16 * (len(classes) - 20) if len(classes) > 20 else 0)
    margin = 0.06 * min(40, max(len(name) for name in classes))
    return side + margin, side + 0.7 * margin


def _write_cells(axes: Any, counts: np.ndarray, shares: np.ndarray) -> None:
    """Write the number of clips into each non-zero cell, and their share if there is room."""
    roomy = len(counts) <= 15
    size = 7 if roomy else 6 if len(counts) <= 20 else 4
    for (row, column), clips in np.ndenumerate(counts):
        if clips:
            text = f"{clips}\n{100 * shares[row, column]:.0f} %" if roomy else f"{clips}"
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour, linespacing=1.1)


def save_figures(evaluation: Evaluation, folder: Path, format: str = "pdf") -> list[Path]:
    """Save all figures of an evaluation; the figures of a result are named ``<recipe>-<protocol>-<figure>``.

    Raises:
        SettingsError: an unknown format, or Matplotlib is missing.
        OutputError: a file cannot be written.

    >>> [path.name for path in save_figures(city_run, folder / "figures", "svg")][:2]
    ['random-loss.svg', 'random-accuracy.svg']
    """
    if not isinstance(format, str) or format.lower() not in FORMATS:
        raise unknown_name("figure format", format, FORMATS)
    format = format.lower()
    return [
        _save(folder / f"{name}.{format}", inches, draw)
        for name, inches, draw in (*_history_figures(evaluation), *_result_figures(evaluation))
    ]


Drawing = tuple[str, tuple[float, float], Callable[[Any], Any]]


def _history_figures(evaluation: Evaluation) -> list[Drawing]:
    """Return the training curves of each protocol that has recipes with epochs."""
    drawings: list[Drawing] = []
    for protocol in evaluation.protocols:
        results = [result for result in evaluation.results if result.protocol == protocol]
        for quantity in QUANTITIES if any(fold.history for one in results for fold in one.folds) else ():

            def draw(ax: Any, results: Sequence[Result] = results, quantity: str = quantity) -> Any:
                return plot_history(results, evaluation.recipes, quantity, ax)

            drawings.append((f"{protocol}-{quantity}", CURVE_INCHES, draw))
    return drawings


def _result_figures(evaluation: Evaluation) -> list[Drawing]:
    """Return the confusion matrix (single-label only) and the reliability diagram of each result."""
    drawings: list[Drawing] = []
    classes = evaluation.dataset.classes
    for result in evaluation.results:
        name = f"{result.recipe.name}-{result.protocol}"

        def confusion(ax: Any, result: Result = result) -> Any:
            return plot_confusion(result, classes, ax)

        def reliability(ax: Any, result: Result = result) -> Any:
            return plot_reliability([result], evaluation.recipes, ax)

        if result.summary.confusion_matrix is not None:
            drawings.append((f"{name}-confusion", _confusion_inches(classes), confusion))
        drawings.append((f"{name}-reliability", SQUARE_INCHES, reliability))
    return drawings


def _save(path: Path, inches: tuple[float, float], draw: Callable[[Any], Any]) -> Path:
    """Draw on a new figure and write it without a date, so that the same figure gives the same bytes."""
    plotting.check_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    kind = path.suffix.removeprefix(".")
    dated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    figure = Figure(figsize=inches, layout="constrained")
    draw(figure.add_subplot())
    settings = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": path.stem}  # text remains text
    with matplotlib.rc_context(settings), atomic.replacing(path) as temporary, plotting.glyphs_may_be_missing():
        figure.savefig(temporary, format=kind, dpi=200, metadata=dated)
    return path


def _colours(results: Sequence[Result], recipes: Sequence[str]) -> list[str]:
    return [COLOURS[recipes.index(result.recipe.name) % len(COLOURS)] for result in results]


def _finished(axes: Any, title: str) -> Axes:
    axes.set_title(title)
    axes.grid(visible=True, linewidth=0.5, color="#dcdedf")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    return axes

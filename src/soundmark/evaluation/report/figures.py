"""The figures of the report, as inline SVG that uses the colours and fonts of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.report.markup import Html, element, text
from soundmark.metrics import intervals
from soundmark.models.training_record import QUANTITIES, epochs_with_validation, held_out_name
from soundmark.runtime import plotting

if TYPE_CHECKING:
    from soundmark.evaluation.learning_curve import LearningCurve
    from soundmark.evaluation.results import Result
    from soundmark.models.training_record import Epoch


# Placeholder colours for Matplotlib; ``_inline`` replaces them by the CSS variables of the page, so that a figure fits
# the light, dark and print style.
INK, MUTED, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"


RECIPES = tuple(f"#0500{i:02x}" for i in range(8))


VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", PAPER: "--paper"} | {
    colour: f"--recipe-{i}" for i, colour in enumerate(RECIPES)
}


PANEL_INCHES = (4.6, 2.9)


EMPTY = Html("")


STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text remains text: searchable, accessible, in the font of the page
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],  # only to measure text; comes with Matplotlib
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Mark:
    """A row of ``score_chart``: a score from 0 to 1, with its interval if known."""

    label: str
    score: float
    bounds: intervals.Interval | None
    colour: str


Arguments = ParamSpec("Arguments")


def _with_matplotlib(draw: Callable[Arguments, Html]) -> Callable[Arguments, Html]:
    """Replace a figure by a note where Matplotlib, an optional package, is not installed."""

    @wraps(draw)
    def drawn(*arguments: Arguments.args, **options: Arguments.kwargs) -> Html:
        if not plotting.has_matplotlib():
            note = 'This figure needs Matplotlib: pip install "soundmark[plot]", and run the same command again.'
            return element("p", note, class_="quiet")
        return draw(*arguments, **options)

    return drawn


def recipe_colour(index: int) -> str:
    """Return the placeholder for the colour of recipe ``index``.

    >>> recipe_colour(0) != recipe_colour(1)
    True
    """
    return RECIPES[index % len(RECIPES)]


@_with_matplotlib
def curves(results: Sequence[Result], colours: Sequence[str], *, quantity: str) -> Html:
    """Draw ``quantity`` ("loss" or "accuracy") by epoch as SVG, training dashed and validation or test solid.

    There is a thin line for each fold and, with several folds, a thick line for their mean. The axis ends above all
    validation and test losses; a much larger training loss in the first epoch (an untrained network on raw decibels)
    exceeds it.
    For a recipe that trains a final model on all training clips, the curves are of the first model: the final model has
    no validation clips.
    """
    protocol = protocol_of(results[0].protocol).title
    with _panel(f"curves {results[0].protocol} {quantity}", f"{protocol}: {quantity} by epoch") as panel:
        draw_curves(panel.axes, results, colours, quantity=quantity)
    return panel.svg


@_with_matplotlib
def learning_curve(curve: LearningCurve) -> Html:
    """Draw the score by the number of training recordings as SVG, with its extrapolation."""
    from soundmark.evaluation.learning_curve import draw

    description = f"{curve.title}: {curve.task.figure} by labelled training recordings per class"
    with _panel(f"learning curve {curve.recipe.name}", description, (6.4, 3.6)) as panel:
        draw(curve, panel.axes, (recipe_colour(0), recipe_colour(1)))
    return panel.svg


def draw_curves(axes: Any, results: Sequence[Result], colours: Sequence[str], *, quantity: str) -> None:
    """Draw the lines of ``curves`` on Matplotlib ``axes``, each result in its colour."""
    for result, colour in zip(results, colours, strict=True):
        histories = [epochs_with_validation(fold.history) for fold in result.folds if fold.history]
        for part, dashes in (("train", (0, (2.2, 1.6))), ("held_out", "solid")):
            _draw_folds(axes, [_column(history, f"{part}_{quantity}") for history in histories], colour, dashes)
    axes.set_xlabel("epoch")
    axes.set_ylabel(QUANTITIES[quantity] if quantity == "loss" else f"{QUANTITIES[quantity]} (%)")
    axes.set_ylim(0, _height(results, quantity) if quantity == "loss" else None)
    axes.margins(x=0.02)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if quantity == "accuracy":
        _percent_axis(axes, "y")


def held_out_names(results: Sequence[Result]) -> str:
    """Return what the solid curves of results were computed on: "validation", "test", or "validation or test".

    >>> held_out_names(city_run.results)
    'test'
    """
    names = {held_out_name(fold.history) for one in results for fold in one.folds if fold.history}
    return " or ".join(sorted(names, reverse=True)) or "validation"


def _height(results: Sequence[Result], quantity: str) -> float:
    """Return the axis limit: slightly above all held-out values and all training values after the first epoch."""
    histories = [epochs_with_validation(fold.history) for result in results for fold in result.folds]
    columns = [
        column
        for history in histories
        for column in (_column(history, f"held_out_{quantity}"), _column(history[1:], f"train_{quantity}"))
    ]
    values = np.concatenate([np.zeros(0), *columns])
    top = float(values[np.isfinite(values)].max(initial=0))  # losses are infinite if training diverged
    return 1.08 * top or 1.0


def _column(history: Sequence[Epoch], name: str) -> np.ndarray:
    """Return a column of a history, float64 [epochs]; missing values are NaN."""
    values = [getattr(epoch, name) for epoch in history]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _draw_folds(axes: Any, lines: Sequence[np.ndarray], colour: str, dashes: Any) -> None:
    """Draw a line for each fold, and their mean over the epochs that all of them have."""
    lines = [line for line in lines if np.isfinite(line).any()]
    several = len(lines) > 1
    for line in lines:
        thin = {"linewidth": 0.6, "alpha": 0.4} if several else {"linewidth": 1.6}
        axes.plot(np.arange(1, len(line) + 1), line, color=colour, linestyle=dashes, **thin)
    if several:
        shared = min(len(line) for line in lines)
        mean = np.mean([line[:shared] for line in lines], axis=0)
        axes.plot(np.arange(1, shared + 1), mean, color=colour, linestyle=dashes, linewidth=1.8)


@_with_matplotlib
def reliability(results: Sequence[Result], colours: Sequence[str]) -> Html:
    """Draw a reliability diagram as SVG: accuracy by confidence bin; the area of a dot is the bin's share of clips."""
    protocol = protocol_of(results[0].protocol).title
    with _panel(f"reliability {results[0].protocol}", f"{protocol}: reliability diagram", inches=(4.0, 3.6)) as panel:
        draw_reliability(panel.axes, results, colours)
    return panel.svg


def draw_reliability(axes: Any, results: Sequence[Result], colours: Sequence[str], diagonal: str = MUTED) -> None:
    """Draw the dots of ``reliability`` on Matplotlib ``axes``, each result in its colour."""
    axes.plot([0, 1], [0, 1], color=diagonal, linewidth=0.8, linestyle=(0, (1, 2)))
    for result, colour in zip(results, colours, strict=True):
        bins = [one for one in result.task.reliability(result.labels, result.probabilities) if one.n]
        x, y = [one.confidence for one in bins], [one.accuracy for one in bins]
        area = [3 + 300 * one.n / max(1, sum(each.n for each in bins)) for one in bins]
        axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.6)
        axes.scatter(x, y, s=area, color=colour, alpha=0.55, linewidths=0)
    axes.set_xlabel(f"{results[0].task.words.probability} (%)")
    axes.set_ylabel(f"{results[0].task.words.share} (%)")
    axes.set_aspect("equal")
    _percent_axis(axes, "x")
    _percent_axis(axes, "y")


@_with_matplotlib
def score_chart(marks: Sequence[Mark], *, name: str, description: str, axis: str, chance: float) -> Html:
    """Draw a dot per mark on a common scale from 0 to 100 %, with its interval and the chance level, as SVG."""
    with _panel(name, description, inches=(4.6, 0.8 + 0.3 * len(marks))) as panel:
        axes = panel.axes
        axes.axvline(chance, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
        for row, mark in enumerate(marks):
            axes.plot([0, mark.score], [row, row], color=mark.colour, linewidth=1.0, alpha=0.35)
            if mark.bounds and mark.bounds.known:
                axes.plot([mark.bounds.low, mark.bounds.high], [row, row], color=mark.colour, linewidth=4.5, alpha=0.35)
            axes.plot([mark.score], [row], color=mark.colour, marker="o", markersize=5.5, markeredgewidth=0)
            axes.annotate(
                f"{100 * mark.score:.0f} %",
                (mark.score, row),
                (0, 6),
                textcoords="offset points",
                ha="center",
                size=7.5,
            )
        axes.set_yticks(range(len(marks)), [mark.label for mark in marks])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(marks) - 0.5, -0.75)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(axis)
        _percent_axis(axes, "x")
    return panel.svg


def _percent_axis(axes: Any, which: str) -> None:
    """Scale an axis from 0 to 100 %."""
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axis, limit = (axes.xaxis, axes.set_xlim) if which == "x" else (axes.yaxis, axes.set_ylim)
    limit(0, 1.02)
    axis.set_ticks(ticks, [f"{100 * tick:.0f}" for tick in ticks])


@dataclass
class _Panel:
    axes: Any
    svg: Html = EMPTY


@contextmanager
def _panel(name: str, description: str, inches: tuple[float, float] = PANEL_INCHES) -> Iterator[_Panel]:
    """Create a figure: plot on ``.axes`` inside the block, use ``.svg`` after it. Changes no global state."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasSVG(figure)
        panel = _Panel(figure.add_subplot())
        yield panel
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True)
        panel.svg = _inline(file.getvalue(), name, description)


def _inline(svg: str, name: str, description: str) -> Html:
    """Convert an SVG file of Matplotlib to an element of the page, with the fonts and colours of the page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)  # contains the date
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, count=1, flags=re.DOTALL)  # would apply to the whole page
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r" xmlns(:xlink)?=\"[^\"]*\"", "", body).replace("xlink:href", "href")
    body = re.sub(r"; ?font-family: [^;\"]*|font-family: [^;\"]*; ?", "", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]).replace(" \n", " "), body)
    body = _unique_ids(body, re.sub(r"\W+", "-", name))
    size = re.search(r'viewBox="[^"]*"', body)
    label = f'<svg class="figure" role="img" aria-label="{text(description)}" {size.group() if size else ""}>'
    return Html(re.sub(r"<svg[^>]*>", label, body, count=1).strip())


def _unique_ids(svg: str, prefix: str) -> str:
    """Remove unused ids, and add a prefix to the others, so that ids are unique on the page."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", svg)
    return re.sub(r"(url\(#|href=\"#)", rf"\1{prefix}-", svg)

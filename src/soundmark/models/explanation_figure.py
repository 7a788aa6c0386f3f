"""An explanation as a figure: the spectrogram with the important regions outlined, and the top classes."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.models.explanation import IMPORTANT_SHARE, Explanation, important
from soundmark.runtime import atomic, plotting
from soundmark.spectrograms.drawing import show_on_axes

MOST_CLASSES = 6  # classes beside the picture


def draw(explanation: Explanation, path: str | os.PathLike[str]) -> None:
    """Draw the explanation: the spectrogram with what carried the decision outlined, the top classes beside it.

    Raises:
        SettingsError: the ending of ``path`` is none that Matplotlib writes, or Matplotlib is not installed.
        OutputError: the file cannot be written.

    >>> from soundmark.models.explanation import explain
    >>> draw(explain(model, city.clips[0].path), folder / "why.png")
    >>> (folder / "why.png").read_bytes()[1:4]
    b'PNG'
    """
    path = Path(path)
    kind = plotting.check_figure_path(path)
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(11, 4.4), layout="constrained")
    panel, bars = drawing.subplots(1, 2, width_ratios=(3, 1))
    drawing.suptitle(_title(explanation), parse_math=False)
    shown = show_on_axes(panel, explanation.picture, colours="magma", start_s=explanation.start_s)
    drawing.colorbar(shown, label="level (dB)", pad=0.01)
    _outline(panel, explanation)
    _draw_classes(bars, explanation)
    with atomic.replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a script that Matplotlib's own type does not have
        drawing.savefig(temporary, format=kind, dpi=120)


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

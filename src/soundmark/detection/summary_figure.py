"""A summary as a figure: classes by hour of the day, the most frequent day by day."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.detection.summary import HOURS, Minutes, Summary, shares
from soundmark.runtime import atomic, plotting
from soundmark.runtime.plotting import BLUE, check_figure_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELS = 20  # that are drawn in one table of colours


MOST_DETAILS = 6  # that are drawn day by day


def draw(found: Summary, path: Path) -> None:
    """Draw it: all classes by hour of the day, and the most heard day by day; the file's ending says how.

    Raises:
        SettingsError: the ending is none that Matplotlib writes, or Matplotlib is not installed.
        OutputError: the file cannot be written.

    >>> day = date(2024, 6, 12)
    >>> one = Summary(("dog",), (day,), "UTC", np.ones((1, 1, 24)), None, 0)
    >>> draw(one, folder / "when.png")
    >>> (folder / "when.png").read_bytes()[1:4]
    b'PNG'
    """
    kind = check_figure_path(path)
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a script that Matplotlib's own type does not have
        drawing = _drawing(found)
        with atomic.replacing(path) as temporary:
            drawing.savefig(temporary, format=kind, dpi=130)


def plot_hours(found: Summary, axes: Axes | None = None) -> Axes:
    """Draw the classes by hour of the day, in ``axes`` or in a new figure; return the Axes.

    Raises:
        SettingsError: Matplotlib is not installed.

    >>> day = date(2024, 6, 12)
    >>> plot_hours(Summary(("dog",), (day,), "UTC", np.ones((1, 1, 24)), None, 0)).get_xlabel()
    'hour of the day (UTC)'
    """
    plotting.check_matplotlib()
    import matplotlib

    labels = found.labels[:MOST_LABELS]
    with matplotlib.rc_context(STYLE):
        axes = plotting.axes_or_new(axes, figsize=(12, 1.5 + 0.26 * len(labels)))
        _draw_labels(axes, found, labels)
    return axes


STYLE = {
    "text.parse_math": False,  # a class may be called "$"
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10.0,
    "axes.edgecolor": "#8a8a8a",
    "hatch.linewidth": 0.6,
}


COLOURS = ("#f2f6f9", "#8fc1e3", BLUE, "#00263d")  # from nothing to the most: lightness alone tells them apart, too


def _drawing(found: Summary) -> Any:
    from matplotlib.figure import Figure

    labels, shown = found.labels[:MOST_LABELS], found.labels[:MOST_DETAILS]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    days, minutes, recorded = _every_day(found)
    of_days = min(max(0.16 * len(days), 0.5), 3.2)  # inches
    heights = (1.5 + 0.26 * len(labels), 0.5 + rows * (2.1 + of_days))
    drawing: Any = Figure(figsize=(12, sum(heights)), layout="constrained")
    drawing.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    upper, lower = drawing.subfigures(2, 1, height_ratios=heights)
    upper.suptitle("What was heard when", x=0.008, ha="left", fontsize=14, fontweight="bold")
    _draw_labels(upper.subplots(), found, labels)
    panels = lower.subplots(2 * rows, columns, sharex=True, squeeze=False, height_ratios=(1.2, of_days) * rows)
    _draw_details(lower, panels, found, shares(minutes[: len(shown)], recorded), days)
    return drawing


def _subtitle(found: Summary) -> str:
    first, last = found.days[0], found.days[-1]
    when = f"{first:%d %b %Y}" + (f" to {last:%d %b %Y}" if last > first else "")
    kept = "" if len(found.labels) <= MOST_LABELS else f"The {MOST_LABELS} most heard of {len(found.labels)} classes. "
    if found.recorded is None:
        return f"{when}. {kept}Minutes heard; how long was recorded is not known."
    gaps = "; grey: nothing was recorded then" if (found.recorded == 0).any() else ""
    return f"{when}. {kept}Share of the {found.recorded.sum() / 60:,.1f} h that were recorded{gaps}."


def _every_day(found: Summary) -> tuple[list[date], Minutes, Minutes | None]:
    """The days from the first to the last, those with nothing on them too, and the minutes of all of them."""
    first, count = found.days[0], (found.days[-1] - found.days[0]).days + 1
    places = [(day - first).days for day in found.days]
    minutes = np.zeros((len(found.labels), count, HOURS))
    minutes[:, places] = found.minutes
    recorded = None
    if found.recorded is not None:
        recorded = np.zeros((count, HOURS))
        recorded[places] = found.recorded
    return [first + timedelta(days=place) for place in range(count)], minutes, recorded


def _unit(found: Summary) -> str:
    return "minutes" if found.recorded is None else "% of the time recorded"


def _draw_labels(axes: Any, found: Summary, labels: Sequence[str]) -> None:
    """All classes by hour of the day."""
    values = found.shares_by_hour[: len(labels)]
    shown = _colours(axes, values, float(np.nan_to_num(values).max()))
    axes.set_yticks(np.arange(len(labels)) + 0.5, [_short(label) for label in labels])
    axes.set_title(_subtitle(found), fontweight="normal")
    axes.set_xlabel(f"hour of the day ({found.zone})")
    _hours(axes, 2)
    axes.figure.colorbar(shown, ax=axes, pad=0.01, label=_unit(found))


def _draw_details(drawing: Any, panels: Any, found: Summary, values: Minutes, days: Sequence[date]) -> None:
    """The most heard classes: by hour as bars, and under each hour the same day by day."""
    top = float(np.nan_to_num(values).max())
    shown = None
    for place in range(panels.size // 2):
        row, column = divmod(place, panels.shape[1])
        bars, by_day = panels[2 * row : 2 * row + 2, column]
        if place >= len(values):
            bars.set_axis_off()
            by_day.set_axis_off()
            continue
        bars.bar(np.arange(HOURS) + 0.5, np.nan_to_num(found.shares_by_hour[place]), width=0.86, color=BLUE)
        bars.set_title(f"{_short(found.labels[place])}: {_amount(found, place)}")
        bars.set_ylabel("minutes" if found.recorded is None else "% of time")
        bars.spines[["top", "right"]].set_visible(False)
        shown = _colours(by_day, values[place], top)
        step = math.ceil(len(days) / 8)
        ticks = range(0, len(days), step)
        by_day.set_yticks([tick + 0.5 for tick in ticks], [f"{days[tick]:%a %d %b}" for tick in ticks])
        _hours(by_day, 6)
        bars.tick_params(labelbottom=False)
        by_day.tick_params(labelbottom=True)
        by_day.set_xlabel("hour of the day")
    drawing.colorbar(shown, ax=panels, pad=0.01, aspect=40, label=f"hour by hour: {_unit(found)}")


def _colours(axes: Any, values: Minutes, top: float) -> Any:
    """A field per hour, grey where there is no number."""
    from matplotlib.colors import LinearSegmentedColormap

    axes.set_facecolor("#e4e4e4")
    if len(values) <= 60:  # in narrower rows it would be noise
        axes.patch.set(hatch="////", edgecolor="#b8b8b8")
    colours = LinearSegmentedColormap.from_list("heard", COLOURS)
    extent = (0, HOURS, len(values), 0)
    return axes.imshow(
        np.ma.masked_invalid(values),
        aspect="auto",
        cmap=colours,
        vmin=0,
        vmax=top or 1,
        extent=extent,
        interpolation="nearest",
    )


def _hours(axes: Any, step: int) -> None:
    hours = range(0, HOURS + 1, step)
    axes.set_xticks(hours, [f"{hour:02d}:00" for hour in hours])


def _amount(found: Summary, row: int) -> str:
    minutes = found.minutes[row].sum()
    heard = f"{minutes / 60:,.1f} h" if minutes >= 120 else f"{minutes:,.1f} min"
    return heard if found.recorded is None else f"{heard}, {100 * minutes / found.recorded.sum():.2g} %"


def _short(label: str) -> str:
    label = " ".join(label.split())
    return label if len(label) <= 28 else f"{label[:27]}…"

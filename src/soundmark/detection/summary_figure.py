"""Draw a summary: all classes by hour of the day, and the most frequent classes day by day."""

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

MAX_LABELS = 20  # classes in the heat map by hour of the day


MAX_DETAILS = 6  # classes drawn day by day


def draw(found: Summary, path: Path) -> None:
    """Save the figure of a summary to ``path``, in the format of its suffix.

    Raises:
        SettingsError: Matplotlib does not support the format, or is not installed.
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
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a script that Matplotlib's font lacks
        figure = _figure(found)
        with atomic.replacing(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=130)


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

    labels = found.labels[:MAX_LABELS]
    with matplotlib.rc_context(STYLE):
        axes = plotting.axes_or_new(axes, figsize=(12, 1.5 + 0.26 * len(labels)))
        _draw_labels(axes, found, labels)
    return axes


STYLE = {
    "text.parse_math": False,  # "$" in a class name is not math
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10.0,
    "axes.edgecolor": "#8a8a8a",
    "hatch.linewidth": 0.6,
}


COLOURS = ("#f2f6f9", "#8fc1e3", BLUE, "#00263d")  # from 0 to the maximum; readable in greyscale too


def _figure(found: Summary) -> Any:
    from matplotlib.figure import Figure

    labels, shown = found.labels[:MAX_LABELS], found.labels[:MAX_DETAILS]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    days, minutes, recorded = _every_day(found)
    days_height = min(max(0.16 * len(days), 0.5), 3.2)  # inches
    heights = (1.5 + 0.26 * len(labels), 0.5 + rows * (2.1 + days_height))
    figure: Any = Figure(figsize=(12, sum(heights)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    upper, lower = figure.subfigures(2, 1, height_ratios=heights)
    upper.suptitle("Events by hour and day", x=0.008, ha="left", fontsize=14, fontweight="bold")
    _draw_labels(upper.subplots(), found, labels)
    panels = lower.subplots(2 * rows, columns, sharex=True, squeeze=False, height_ratios=(1.2, days_height) * rows)
    _draw_details(lower, panels, found, shares(minutes[: len(shown)], recorded), days)
    return figure


def _subtitle(found: Summary) -> str:
    first, last = found.days[0], found.days[-1]
    when = f"{first:%d %b %Y}" + (f" to {last:%d %b %Y}" if last > first else "")
    n = len(found.labels)
    shown = f"The {MAX_LABELS} most frequent of {n} classes. " if n > MAX_LABELS else ""
    if found.recorded is None:
        return f"{when}. {shown}Minutes of events; the recorded time is unknown."
    gaps = "; grey: nothing recorded" if (found.recorded == 0).any() else ""
    return f"{when}. {shown}Percentage of the recorded time, {found.recorded.sum() / 60:,.1f} h{gaps}."


def _every_day(found: Summary) -> tuple[list[date], Minutes, Minutes | None]:
    """Return all days from the first to the last, with the minutes of events and of recordings on each."""
    first, count = found.days[0], (found.days[-1] - found.days[0]).days + 1
    columns = [(day - first).days for day in found.days]
    minutes = np.zeros((len(found.labels), count, HOURS))
    minutes[:, columns] = found.minutes
    recorded = None
    if found.recorded is not None:
        recorded = np.zeros((count, HOURS))
        recorded[columns] = found.recorded
    return [first + timedelta(days=column) for column in range(count)], minutes, recorded


def _unit(found: Summary) -> str:
    return "minutes" if found.recorded is None else "% of the recorded time"


def _draw_labels(axes: Any, found: Summary, labels: Sequence[str]) -> None:
    """Draw a heat map of classes by hour of the day."""
    values = found.shares_by_hour[: len(labels)]
    image = _heat_map(axes, values, float(np.nan_to_num(values).max()))
    axes.set_yticks(np.arange(len(labels)) + 0.5, [_short(label) for label in labels])
    axes.set_title(_subtitle(found), fontweight="normal")
    axes.set_xlabel(f"hour of the day ({found.zone})")
    _hours(axes, 2)
    axes.figure.colorbar(image, ax=axes, pad=0.01, label=_unit(found))


def _draw_details(figure: Any, panels: Any, found: Summary, values: Minutes, days: Sequence[date]) -> None:
    """Draw the most frequent classes: bars by hour, and below them a heat map of the same hours day by day."""
    top = float(np.nan_to_num(values).max())
    image = None
    for index in range(panels.size // 2):
        row, column = divmod(index, panels.shape[1])
        bars, by_day = panels[2 * row : 2 * row + 2, column]
        if index >= len(values):
            bars.set_axis_off()
            by_day.set_axis_off()
            continue
        bars.bar(np.arange(HOURS) + 0.5, np.nan_to_num(found.shares_by_hour[index]), width=0.86, color=BLUE)
        bars.set_title(f"{_short(found.labels[index])}: {_amount(found, index)}")
        bars.set_ylabel("minutes" if found.recorded is None else "% of time")
        bars.spines[["top", "right"]].set_visible(False)
        image = _heat_map(by_day, values[index], top)
        step = math.ceil(len(days) / 8)
        ticks = range(0, len(days), step)
        by_day.set_yticks([tick + 0.5 for tick in ticks], [f"{days[tick]:%a %d %b}" for tick in ticks])
        _hours(by_day, 6)
        bars.tick_params(labelbottom=False)
        by_day.tick_params(labelbottom=True)
        by_day.set_xlabel("hour of the day")
    figure.colorbar(image, ax=panels, pad=0.01, aspect=40, label=f"hour by hour: {_unit(found)}")


def _heat_map(axes: Any, values: Minutes, top: float) -> Any:
    """Draw ``values`` ``[rows, 24]`` as a heat map from 0 to ``top``, with NaN in grey."""
    from matplotlib.colors import LinearSegmentedColormap

    axes.set_facecolor("#e4e4e4")
    if len(values) <= 60:  # a hatch is unreadable in narrower rows
        axes.patch.set(hatch="////", edgecolor="#b8b8b8")
    colours = LinearSegmentedColormap.from_list("events", COLOURS)
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
    total = f"{minutes / 60:,.1f} h" if minutes >= 120 else f"{minutes:,.1f} min"
    return total if found.recorded is None else f"{total}, {100 * minutes / found.recorded.sum():.2g} %"


def _short(label: str) -> str:
    label = " ".join(label.split())
    return label if len(label) <= 28 else f"{label[:27]}…"

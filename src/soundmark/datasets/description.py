"""A ``Dataset`` for people: its repr, a table of clips per class and fold, a summary, a DataFrame, a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundmark import audio
from soundmark.datasets.clip import Clip
from soundmark.datasets.dataset import Dataset
from soundmark.errors import AudioError
from soundmark.runtime import plotting
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.text import aligned, count, duration, first_of, shortened

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 50  # classes in a table for people
MOST_BARS = 40  # classes in a figure
MOST_FOLDS = 12  # folds that the figure tells apart
MOST_HEADERS = 200  # files whose headers are read for a summary
SPACE = " "  # between thousands, as in Dataset.share
NAMED = 5  # clips that a summary names as left out
OTHER = "#b0b0b0"  # grey: clips without a fold


@dataclass(frozen=True, eq=False, kw_only=True)
class Counts:
    """Clips by class and fold; in multi-label data a clip counts in each of its classes."""

    folds: tuple[int | None, ...]  # None: clips without one
    by_class: NDArray[np.int64]  # [classes, folds]
    clips: NDArray[np.int64]  # [folds], each clip once
    unlabelled: NDArray[np.int64]  # [folds], clips of no class: multi-label data only

    @property
    def fold_titles(self) -> list[str]:
        """The heads of the columns: "fold 1", …, "no fold"."""
        return [f"fold {fold}" if fold is not None else "no fold" for fold in self.folds]


def counts(dataset: Dataset) -> Counts:
    """Count the clips of each class in each fold.

    >>> counts(city).by_class[0], counts(city).clips
    (array([2, 2, 2]), array([20, 20, 20]))
    """
    folds = (*dataset.folds, *([None] if np.any(dataset.fold_of == 0) else []))
    columns = np.searchsorted(dataset.folds, dataset.fold_of) if dataset.folds else np.zeros(len(dataset), np.int64)
    columns[dataset.fold_of == 0] = len(dataset.folds)
    has = dataset.targets.astype(np.int64)
    by_fold = np.zeros((len(folds), len(dataset.classes)), np.int64)
    np.add.at(by_fold, columns, has)
    return Counts(
        folds=folds,
        by_class=by_fold.T,
        clips=np.bincount(columns, minlength=len(folds)),
        unlabelled=np.bincount(columns[~has.any(axis=1)], minlength=len(folds)),
    )


def overview(dataset: Dataset) -> str:
    """The repr of a data set: five lines, whatever its size.

    >>> print(overview(city))
    Dataset "synthetic city": 60 clips
      classes:    10: air_conditioner, car_horn, children_playing, dog_bark, ...
      folds:      1, 2, 3
      recordings: 30
      root:       ...
    """
    several = ", each clip in any number of them" if dataset.multi_label else ""
    lines = {
        "classes": f"{len(dataset.classes)}{several}: {first_of(dataset.classes)}",
        "folds": first_of([str(fold) for fold in dataset.folds]) or "none",
        "recordings": _recordings(dataset),
        "root": shortened(dataset.root, 300),
    }
    if dataset.faults(dataset.skipped):
        lines["left out"] = f"{len(dataset.faults(dataset.skipped))} (see .skipped)"
    head = f'Dataset "{shortened(dataset.name)}": {_size(dataset)}'
    return "\n".join([head, *(f"  {f'{name}:':11} {text}" for name, text in lines.items())])


def to_html(dataset: Dataset) -> str:
    """A table for Jupyter: the clips of each class in each fold, at most ``MOST_ROWS`` classes.

    >>> to_html(city).count("<tr>")
    12
    """
    heads, rows, total = _table(dataset)
    left_out = len(rows) - MOST_ROWS
    body = [_html_row(row) for row in rows[:MOST_ROWS]]
    if left_out > 0:
        body.append(f'<tr><td colspan="{len(heads)}">… and {left_out} more classes</td></tr>')
    return (
        f"<p><b>{escape(shortened(dataset.name))}</b>: {escape(_size(dataset))}, {len(dataset.classes)} classes, "
        f"recordings: {_recordings(dataset)}</p>"
        f"<table><thead>{_html_row(heads, 'th')}</thead><tbody>{''.join(body)}</tbody>"
        f"<tfoot>{_html_row(total, 'th')}</tfoot></table>"
    )


def summary(dataset: Dataset) -> str:
    """Text for people: numbers of clips, classes, folds and recordings, durations, and what was left out.

    >>> summary(city).splitlines()[3]
    'recordings  30'
    """
    found = counts(dataset)
    each = found.by_class.sum(axis=1)
    spread = f", with {count(each.min(), SPACE)} to {count(each.max(), SPACE)} clips each" if len(each) else ""
    folds = [
        f"{fold} ({count(n, SPACE)}{' clips' if i == 0 else ''})" for i, (fold, n) in enumerate(_fold_sizes(found))
    ]
    lines = {
        "classes": f"{len(dataset.classes)}{spread}",
        "folds": first_of(folds) or "none",
        "recordings": _recordings(dataset),
        "durations": _durations(dataset),
        "licence": dataset.licence,
    }
    if dataset.citation:
        lines["citation"] = dataset.citation
    if dataset.skipped:
        lines["left out"] = _left_out(dataset)
    heads, rows, total = _table(dataset)
    table = aligned([heads, *rows[:MOST_ROWS], total])
    if len(rows) > MOST_ROWS:
        table.insert(-1, f"… and {len(rows) - MOST_ROWS} more classes")
    head = f'{dataset.name}: {_size(dataset)} in "{dataset.root}"'
    return "\n".join([head, *(f"{name:11} {text}" for name, text in lines.items()), "", *table])


def to_dataframe(dataset: Dataset) -> pd.DataFrame:
    """One row per clip; see ``Dataset.to_dataframe``.

    Raises:
        SettingsError: pandas is not installed.

    >>> list(to_dataframe(city).columns)
    ['path', 'label', 'start_s', 'stop_s', 'fold', 'source', 'salience', 'time']
    """
    pd = import_pandas()
    clips = dataset.clips
    columns: dict[str, Any] = {"path": pd.Series([dataset.relative_path(clip) for clip in clips], dtype="str")}
    columns["label"] = pd.Series([clip.label for clip in clips], dtype="str")
    if dataset.multi_label:
        columns["labels"] = pd.Series([dataset.labels_of(clip) for clip in clips], dtype="object")
    columns["start_s"] = np.array([clip.start_s for clip in clips], np.float64)
    columns["stop_s"] = np.array([np.nan if clip.stop_s is None else clip.stop_s for clip in clips], np.float64)
    columns["fold"] = pd.array([clip.fold for clip in clips], dtype="Int64")
    for name in ("source", "salience", "time"):
        columns[name] = pd.Series([getattr(clip, name) for clip in clips], dtype="str")
    return pd.DataFrame(columns)


def plot(dataset: Dataset, ax: Any = None) -> Any:
    """Draw the clips of each class as bars, divided by fold where there are few; returns Matplotlib ``Axes``.

    Raises:
        SettingsError: Matplotlib is not installed.

    >>> [text.get_text() for text in plot(city).get_legend().get_texts()]
    ['1', '2', '3']
    """
    found = counts(dataset)
    shown = _shown_classes(found)
    names = [shortened(dataset.classes[i], 40) for i in shown]
    beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "frameon": False}
    axes = plotting.axes_or_new(ax, figsize=(7.2, 1.5 + 0.28 * max(len(shown), 4)))
    _draw_bars(axes, found, shown, beside if ax is None else {"loc": "best", "fontsize": "small"})
    axes.set_yticks(range(len(shown)), names, parse_math=False)
    axes.set(xlabel="clips", ylabel="class", ylim=(max(len(shown), 4) - 0.5, -0.5))
    axes.set_xlim(0, 1.12 * max(1, found.by_class.sum(axis=1).max(initial=0)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    of = (
        f"\nthe {len(shown)} most frequent of {len(dataset.classes)} classes"
        if len(shown) < len(found.by_class)
        else ""
    )
    axes.set_title(f"{shortened(dataset.name)}: {_size(dataset)}{of}", parse_math=False)
    return axes


def _shown_classes(found: Counts) -> NDArray[np.int64]:
    """All classes in their order, or the most frequent ones where there are many."""
    each = found.by_class.sum(axis=1)
    return np.arange(len(each)) if len(each) <= MOST_BARS else np.argsort(-each, kind="stable")[:MOST_BARS]


def _draw_bars(axes: Any, found: Counts, shown: NDArray[np.int64], legend: dict[str, Any]) -> None:
    """Bars stacked by fold, from dark to light, with the sum at their ends."""
    each = found.by_class[shown].sum(axis=1)
    official = sum(fold is not None for fold in found.folds)
    if not 1 <= official <= MOST_FOLDS:
        bars = axes.barh(range(len(shown)), each, color=plotting.BLUE)
        axes.bar_label(bars, [count(n, SPACE) for n in each], padding=3, fontsize="small")
        return
    colours = [*plotting.ordered_colours(official), OTHER]
    left = np.zeros(len(shown), np.int64)
    for column, fold in enumerate(found.folds):
        width = found.by_class[shown, column]
        label = "none" if fold is None else str(fold)
        bars = axes.barh(
            range(len(shown)), width, left=left, color=colours[column], label=label, edgecolor="white", linewidth=0.6
        )
        left = left + width
    axes.bar_label(bars, [count(n, SPACE) for n in each], padding=3, fontsize="small")
    axes.legend(title="fold", **legend)


def _size(dataset: Dataset) -> str:
    """The number of clips, and their share where some are missing."""
    whole = max(dataset.complete_size or 0, len(dataset) + len(dataset.skipped))
    return dataset.share if whole > len(dataset) else f"{count(len(dataset), SPACE)} clips"


def _recordings(dataset: Dataset) -> str:
    """How many recordings the clips were cut from, where that is known."""
    if dataset.sources_known:
        return count(len(set(dataset.sources.tolist())), SPACE)
    known = sum(clip.source is not None for clip in dataset)
    return "not known" if not known else f"known of {count(known, SPACE)} clips only"


def _fold_sizes(found: Counts) -> list[tuple[str, int]]:
    return [("none" if fold is None else str(fold), int(n)) for fold, n in zip(found.folds, found.clips, strict=True)]


def _durations(dataset: Dataset) -> str:
    """Shortest, longest, median and sum, from the table where it has them, else from some files' headers."""
    known = [_table_length_s(clip) for clip in dataset]
    lengths_s = [length for length in known if length is not None]
    note = f"; {duration(sum(lengths_s))} in all"
    if len(lengths_s) < len(known):
        chosen = np.linspace(0, len(known) - 1, min(len(known), MOST_HEADERS)).round().astype(np.int64)
        lengths_s = [length for i in np.unique(chosen) if (length := _header_length_s(dataset.clips[i])) is not None]
        note = f"; {duration(sum(lengths_s))} in all" if len(lengths_s) == len(known) else f" of {len(lengths_s)} clips"
    if not lengths_s:
        return "not known"
    return f"{min(lengths_s):.1f} s to {max(lengths_s):.1f} s, median {np.median(lengths_s):.1f} s{note}"


def _table_length_s(clip: Clip) -> float | None:
    return clip.stop_s - clip.start_s if clip.stop_s is not None else clip.expected_s


def _header_length_s(clip: Clip) -> float | None:
    if (length_s := _table_length_s(clip)) is not None:
        return length_s
    try:
        return max(0.0, audio.info(clip.path).duration_s - clip.start_s)
    except AudioError:  # reading the clip will name it
        return None


def _left_out(dataset: Dataset) -> str:
    faults = dataset.faults(dataset.skipped)
    absent = len(dataset.skipped) - len(faults)
    partial = [f"{count(absent, SPACE)} clips that this copy does not have"] if absent else []
    named = [f"{item.path} ({item.reason})" for item in faults[:NAMED]]
    more = [f"{len(faults) - NAMED} more (see .skipped)"] if len(faults) > NAMED else []
    return "; ".join([*partial, *named, *more])


def _table(dataset: Dataset) -> tuple[list[str], list[list[str]], list[str]]:
    """Heads, a row per class, and the sums: clips per class and fold."""
    found = counts(dataset)
    rows = [
        [shortened(name), *map(str, row), str(row.sum())]
        for name, row in zip(dataset.classes, found.by_class, strict=True)
    ]
    if found.unlabelled.any():
        rows.append(["none of these", *map(str, found.unlabelled), str(found.unlabelled.sum())])
    return ["class", *found.fold_titles, "all"], rows, ["all", *map(str, found.clips), str(found.clips.sum())]


def _html_row(cells: Sequence[str], tag: str = "td") -> str:
    first, *numbers = (escape(cell) for cell in cells)
    return (
        f'<tr><{tag} style="text-align:left">{first}</{tag}>'
        + "".join(f"<{tag}>{n}</{tag}>" for n in numbers)
        + "</tr>"
    )

"""Descriptions of a ``Dataset``: repr, table of clips per class and fold, summary, DataFrame and figure."""

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
from soundmark.runtime.text import aligned, count, counted, duration, first_of, shortened, spread

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 50  # classes in a printed table
MAX_BARS = 40  # classes in a figure
MAX_FOLDS = 12  # folds shown in separate colours
MAX_HEADERS = 200  # file headers read for a summary
SPACE = " "  # thousands separator, as in Dataset.share
MAX_LISTED = 5  # skipped files that a summary lists by name
NO_FOLD_COLOUR = "#b0b0b0"  # grey: clips without a fold


@dataclass(frozen=True, eq=False, kw_only=True)
class Counts:
    """Numbers of clips by class and fold; in multi-label data a clip counts in each of its classes."""

    folds: tuple[int | None, ...]  # None: clips without a fold
    by_class: NDArray[np.int64]  # [classes, folds]
    clips: NDArray[np.int64]  # [folds], each clip counted once
    unlabelled: NDArray[np.int64]  # [folds], clips without a class (multi-label data only)

    @property
    def fold_titles(self) -> list[str]:
        """The column headings: "fold 1", …, "no fold"."""
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
    """Return the repr of a data set: five lines for any size.

    >>> print(overview(city))
    Dataset "synthetic city": 60 clips
      classes:    10: air_conditioner, car_horn, children_playing, dog_bark, ...
      folds:      1, 2, 3
      recordings: 30
      root:       ...
    """
    multi_label = ", any number per clip" if dataset.multi_label else ""
    lines = {
        "classes": f"{len(dataset.classes)}{multi_label}: {first_of(dataset.classes)}",
        "folds": first_of([str(fold) for fold in dataset.folds]) or "none",
        "recordings": _recordings(dataset),
        "root": shortened(dataset.root, 300),
    }
    if dataset.faults(dataset.skipped):
        lines["skipped"] = f"{len(dataset.faults(dataset.skipped))} (see .skipped)"
    head = f'Dataset "{shortened(dataset.name)}": {_size(dataset)}'
    return "\n".join([head, *(f"  {f'{name}:':11} {text}" for name, text in lines.items())])


def to_html(dataset: Dataset) -> str:
    """Return an HTML table for Jupyter: clips per class and fold, at most ``MAX_ROWS`` classes.

    >>> to_html(city).count("<tr>")
    12
    """
    heads, rows, total = _table(dataset)
    n_hidden = len(rows) - MAX_ROWS
    body = [_html_row(row) for row in rows[:MAX_ROWS]]
    if n_hidden > 0:
        body.append(f'<tr><td colspan="{len(heads)}">… and {counted(n_hidden, "more class")}</td></tr>')
    return (
        f"<p><b>{escape(shortened(dataset.name))}</b>: {escape(_size(dataset))}, "
        f"{counted(len(dataset.classes), 'class')}, recordings: {_recordings(dataset)}</p>"
        f"<table><thead>{_html_row(heads, 'th')}</thead><tbody>{''.join(body)}</tbody>"
        f"<tfoot>{_html_row(total, 'th')}</tfoot></table>"
    )


def summary(dataset: Dataset) -> str:
    """Return a text with the numbers of clips, classes, folds and recordings, the durations, and skipped files.

    >>> summary(city).splitlines()[3]
    'recordings  30'
    """
    found = counts(dataset)
    each = found.by_class.sum(axis=1)
    low, high = (count(each.min(), SPACE), counted(each.max(), "clip", SPACE)) if len(each) else ("", "")
    sizes = f", with {high if each.min() == each.max() else f'{low} to {high}'} each" if len(each) else ""
    folds = [
        f"{fold} ({count(n, SPACE)}{' clips' if i == 0 else ''})" for i, (fold, n) in enumerate(_fold_sizes(found))
    ]
    lines = {
        "classes": f"{len(dataset.classes)}{sizes}",
        "folds": first_of(folds) or "none",
        "recordings": _recordings(dataset),
        "durations": _durations(dataset),
        "licence": dataset.licence,
    }
    if dataset.citation:
        lines["citation"] = dataset.citation
    if dataset.skipped:
        lines["skipped"] = _skipped(dataset)
    heads, rows, total = _table(dataset)
    table = aligned([heads, *rows[:MAX_ROWS], total])
    if len(rows) > MAX_ROWS:
        table.insert(-1, f"… and {counted(len(rows) - MAX_ROWS, 'more class')}")
    head = f'{dataset.name}: {_size(dataset)} in "{dataset.root}"'
    return "\n".join([head, *(f"{name:11} {text}" for name, text in lines.items()), "", *table])


def to_dataframe(dataset: Dataset) -> pd.DataFrame:
    """Return a DataFrame with one row per clip; see ``Dataset.to_dataframe``.

    Raises:
        SettingsError: pandas is not installed.

    >>> list(to_dataframe(city).columns)
    ['path', 'label', 'start_s', 'stop_s', 'fold', 'source', 'salience', 'time']
    """
    pd = import_pandas()
    clips = dataset.clips
    columns: dict[str, Any] = {"path": _text_series([dataset.relative_path(clip) for clip in clips])}
    columns["label"] = _text_series([clip.label for clip in clips])
    if dataset.multi_label:
        columns["labels"] = pd.Series([dataset.labels_of(clip) for clip in clips], dtype="object")
    columns["start_s"] = np.array([clip.start_s for clip in clips], np.float64)
    columns["stop_s"] = np.array([np.nan if clip.stop_s is None else clip.stop_s for clip in clips], np.float64)
    columns["fold"] = pd.array([clip.fold for clip in clips], dtype="Int64")
    for name in ("source", "salience", "time"):
        columns[name] = _text_series([getattr(clip, name) for clip in clips])
    return pd.DataFrame(columns)


def _text_series(texts: Sequence[str | None]) -> pd.Series:
    """Return a pandas Series of texts, as Python objects if one is a file name that is not UTF-8."""
    pd = import_pandas()
    try:
        return pd.Series(texts, dtype="str")
    except UnicodeEncodeError:
        return pd.Series(texts, dtype="object")


def plot(dataset: Dataset, ax: Any = None) -> Any:
    """Plot the clips per class as bars, divided by fold if there are at most ``MAX_FOLDS``; return ``Axes``.

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
    """Return the indices of all classes in order, or of the ``MAX_BARS`` most frequent ones if there are more."""
    each = found.by_class.sum(axis=1)
    return np.arange(len(each)) if len(each) <= MAX_BARS else np.argsort(-each, kind="stable")[:MAX_BARS]


def _draw_bars(axes: Any, found: Counts, shown: NDArray[np.int64], legend: dict[str, Any]) -> None:
    """Draw bars stacked by fold, from dark to light, labelled with the total."""
    each = found.by_class[shown].sum(axis=1)
    official = sum(fold is not None for fold in found.folds)
    if not 1 <= official <= MAX_FOLDS:
        bars = axes.barh(range(len(shown)), each, color=plotting.BLUE)
        axes.bar_label(bars, [count(n, SPACE) for n in each], padding=3, fontsize="small")
        return
    colours = [*plotting.ordered_colours(official), NO_FOLD_COLOUR]
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
    """Return the number of clips as text, with the percentage if clips are missing."""
    total = max(dataset.complete_size or 0, len(dataset) + len(dataset.skipped))
    return dataset.share if total > len(dataset) else f"{counted(len(dataset), 'clip', SPACE)}"


def _recordings(dataset: Dataset) -> str:
    """Return the number of recordings that the clips were cut from as text."""
    if dataset.sources_known:
        return count(len(set(dataset.sources.tolist())), SPACE)
    known = sum(clip.source is not None for clip in dataset)
    return "unknown" if not known else f"known for {counted(known, 'clip', SPACE)} only"


def _fold_sizes(found: Counts) -> list[tuple[str, int]]:
    return [("none" if fold is None else str(fold), int(n)) for fold, n in zip(found.folds, found.clips, strict=True)]


def _durations(dataset: Dataset) -> str:
    """Return minimum, maximum, median and total duration as text, from the metadata or from file headers."""
    known = [_table_length_s(clip) for clip in dataset]
    lengths_s = [length for length in known if length is not None]
    note = f"; {duration(sum(lengths_s))} in all"
    if len(lengths_s) < len(known):
        chosen = np.linspace(0, len(known) - 1, min(len(known), MAX_HEADERS)).round().astype(np.int64)
        lengths_s = [length for i in np.unique(chosen) if (length := _header_length_s(dataset.clips[i])) is not None]
        complete = len(lengths_s) == len(known)
        note = f"; {duration(sum(lengths_s))} in all" if complete else f" of {counted(len(lengths_s), 'clip')}"
    if not lengths_s:
        return "unknown"
    return f"{spread(*(f'{s:.1f} s' for s in (min(lengths_s), np.median(lengths_s), max(lengths_s))))}{note}"


def _table_length_s(clip: Clip) -> float | None:
    return clip.stop_s - clip.start_s if clip.stop_s is not None else clip.expected_s


def _header_length_s(clip: Clip) -> float | None:
    if (length_s := _table_length_s(clip)) is not None:
        return length_s
    try:
        return max(0.0, audio.info(clip.path).duration_s - clip.start_s)
    except AudioError:  # reported when the clip is read
        return None


def _skipped(dataset: Dataset) -> str:
    faults = dataset.faults(dataset.skipped)
    missing = len(dataset.skipped) - len(faults)
    partial = [f"{counted(missing, 'clip', SPACE)} missing from this partial copy"] if missing else []
    named = [f"{item.path} ({item.reason})" for item in faults[:MAX_LISTED]]
    more = [f"{len(faults) - MAX_LISTED} more (see .skipped)"] if len(faults) > MAX_LISTED else []
    return "; ".join([*partial, *named, *more])


def _table(dataset: Dataset) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the headings, one row per class, and the totals of clips per class and fold."""
    found = counts(dataset)
    rows = [
        [shortened(name), *map(str, row), str(row.sum())]
        for name, row in zip(dataset.classes, found.by_class, strict=True)
    ]
    if found.unlabelled.any():
        rows.append(["no class", *map(str, found.unlabelled), str(found.unlabelled.sum())])
    return ["class", *found.fold_titles, "all"], rows, ["all", *map(str, found.clips), str(found.clips.sum())]


def _html_row(cells: Sequence[str], tag: str = "td") -> str:
    first, *numbers = (escape(cell) for cell in cells)
    return (
        f'<tr><{tag} style="text-align:left">{first}</{tag}>'
        + "".join(f"<{tag}>{n}</{tag}>" for n in numbers)
        + "</tr>"
    )

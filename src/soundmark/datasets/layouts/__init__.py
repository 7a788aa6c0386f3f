"""Layouts of data sets on disk: detect the layout at a path and load it as a ``Dataset``.

In reading order:

    table_reader  reading and validating the rows of a CSV table
    urbansound8k  UrbanSound8K
    esc50         ESC-50 and ESC-10
    corrections   corrections of reviewers: clips and an append-only table
    annotations   annotated recordings: Raven, Audacity, Whombat, and tables with the usual columns
    table         a CSV table of clips
    folders       one folder per class
    joining       several data sets as one

To support another layout, add a module here and its name to ``LAYOUTS``. A layout module defines

    KIND                            its name in messages, "a CSV table"
    OPTIONS                         the options of ``Dataset.open`` that it supports
    find(path) -> Path | None       the folder or table to load, or None if ``path`` has another layout
    load(location, **options)       the ``Dataset``
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from soundmark.audio.folders import files_in
from soundmark.datasets.dataset import Dataset
from soundmark.errors import DatasetError, SettingsError
from soundmark.runtime.text import reason_unreadable

# Tried in this order, the most specific first.
LAYOUTS = ("corrections", "urbansound8k", "esc50", "annotations", "table", "folders")


class Layout(Protocol):
    """The interface of a layout module."""

    KIND: str
    OPTIONS: tuple[str, ...]
    find: Callable[[Path], Path | None]
    load: Callable[..., Dataset]


def open_layout(path: Path, options: Mapping[str, Any]) -> Dataset | None:
    """Open the data set at ``path`` with the first layout that matches; return None if none does.

    >>> open_layout(Path(__file__), {}) is None
    True
    """
    try:
        if path.is_dir():
            files_in(str(path))  # raises an error if the folder cannot be read
        path.stat()
    except ValueError as error:
        raise DatasetError(f'"{path}" cannot be read: {reason_unreadable(error)}. {SUPPORTED_LAYOUTS}') from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(f'"{path}" does not exist. {SUPPORTED_LAYOUTS}') from error
    for layout in _layouts():
        location = layout.find(path)
        if location is not None:
            unsupported = [name for name in options if name not in layout.OPTIONS]
            if unsupported:
                raise SettingsError(
                    f'"{path}" is {layout.KIND}, which does not support the option "{unsupported[0]}": remove it.'
                )
            return layout.load(location, **options)
    return None


def _layouts() -> Iterable[Layout]:
    for name in LAYOUTS:  # imported here because the layout modules import this package
        yield cast(Layout, importlib.import_module(f"{__name__}.{name}"))


SUPPORTED_LAYOUTS = (
    "Give the folder of UrbanSound8K or ESC-50, a CSV table with the columns path and label, annotated recordings "
    "(label files of Raven, Audacity or Whombat, or a table), or a folder with one folder of sound files per class."
)

"""A path to a ``Dataset`` of ``Clip``s: one file per layout, each recognised by what is there.

In reading order:

    table_reader  how any table is read, row by row
    urbansound8k  UrbanSound8K
    esc50         ESC-50 and ESC-10
    table         a CSV table of clips
    folders       one folder per class



One more layout is one more module here and its name in ``LAYOUTS``. Such a module holds

    KIND                            what people call it: "a CSV table"
    OPTIONS                         which options of ``Dataset.open`` it takes
    find(path) -> Path | None       the place to load from, or None: this is something else
    load(place, **options)          the ``Dataset``
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from soundmark.audio.folders import files_in
from soundmark.datasets.dataset import Dataset
from soundmark.errors import DatasetError, SettingsError

LAYOUTS = ("urbansound8k", "esc50", "table", "folders")  # asked in this order: the particular before the general


class Layout(Protocol):
    """What a module of this folder offers."""

    KIND: str
    OPTIONS: tuple[str, ...]
    find: Callable[[Path], Path | None]
    load: Callable[..., Dataset]


def open_layout(path: Path, options: Mapping[str, Any]) -> Dataset | None:
    """The data set at ``path``, by the first layout that finds itself there; None where none does.

    >>> open_layout(Path(__file__), {}) is None
    True
    """
    try:
        if path.is_dir():
            files_in(str(path))  # a folder that this user may not read is named as such, whatever is sought in it
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise DatasetError(f'there is no "{path}". {WHAT_TO_GIVE}') from error
    for layout in _layouts():
        place = layout.find(path)
        if place is not None:
            refused = [name for name in options if name not in layout.OPTIONS]
            if refused:
                raise SettingsError(f'"{path}" is {layout.KIND}, which has no option "{refused[0]}": leave it out.')
            return layout.load(place, **options)
    return None


def _layouts() -> Iterable[Layout]:
    for name in LAYOUTS:  # loaded when asked for: they import this module
        yield cast(Layout, importlib.import_module(f"{__name__}.{name}"))


WHAT_TO_GIVE = (
    "Give the folder of UrbanSound8K or ESC-50, a CSV table with the columns path and label, "
    "or a folder with one folder of sound files per class."
)

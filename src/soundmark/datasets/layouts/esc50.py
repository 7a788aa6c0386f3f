"""ESC-50: 2 000 clips of 5 s, 50 classes, 5 folds; ESC-10 is its subset of 400 clips and 10 classes.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from soundmark.datasets.dataset import Clip, Dataset
from soundmark.datasets.layouts.table_reader import MAX_FOLD, Row, existing_clips, read_rows, root_of
from soundmark.errors import DatasetError, unknown_name

KIND = "a copy of ESC-50"


OPTIONS = ("subset",)


TABLES = ("meta/esc50.csv", "esc50.csv")


CITATION = 'K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015'


COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")


def find(path: Path) -> Path | None:
    """Return the root folder that contains the metadata table, or None.

    >>> find(Path(__file__).parent) is None
    True
    """
    return root_of(path, TABLES, ["ESC-50", "ESC-50-master"])


def load(root: Path, *, subset: str | None = None) -> Dataset:
    r"""Load the clips in the order of the metadata; clips without a file are listed in ``skipped``.

    The classes are ordered by ``target``.

    Raises:
        DatasetError: a row of the table is invalid, or none of its files exists.
        SettingsError: ``subset`` is not "esc10".

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "meta").mkdir(), (root / "audio").mkdir()
    (None, None)
    >>> _ = (root / "audio" / "1-100032-A-0.wav").write_bytes(b"")
    >>> header = "filename,fold,target,category,esc10,src_file,take"
    >>> _ = (root / "meta" / "esc50.csv").write_text(header + "\n1-100032-A-0.wav,1,0,dog,True,100032,A\n")
    >>> load(root).share, load(root, subset="esc10").share
    ('1 of 2 000 clips (< 1 %)', '1 of 400 clips (< 1 %)')
    """
    if subset not in (None, "esc10"):
        raise unknown_name("subset of ESC-50", str(subset), ["esc10"])
    table = next(root / name for name in TABLES if (root / name).is_file())
    classes = _classes(_rows(table, subset))
    if not classes:
        raise DatasetError(f'"{table}" has no clip of the subset esc10: open it without the subset.')
    clips, skipped = existing_clips(root, ((row, _clip(row, root / "audio")) for row in _rows(table, subset)))
    return Dataset(
        name="ESC-50" if subset is None else "ESC-10",
        root=root,
        classes=classes,
        clips=clips,
        skipped=skipped,
        complete_size=2000 if subset is None else 400,
        window_s=5.0,
        licence="CC BY-NC 3.0" if subset is None else "CC BY 3.0",
        citation=CITATION,
    )


def _rows(table: Path, subset: str | None) -> Iterator[Row]:
    return (row for row in read_rows(table, COLUMNS) if _in_esc10(row) or subset is None)


def _clip(row: Row, audio: Path) -> Clip:
    return Clip(
        path=audio / row.text("filename"),
        label=row.label("category"),
        fold=row.whole_number("fold", minimum=1, maximum=MAX_FOLD),
        source=row.text("src_file"),
        expected_s=5.0,
    )


def _in_esc10(row: Row) -> bool:
    value = row.get("esc10").lower()
    if value not in ("true", "false"):
        raise row.error("esc10", "must be True or False")
    return value == "true"


def _classes(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the categories ordered by target; check that categories and targets correspond one to one."""
    category_of: dict[int, str] = {}
    target_of: dict[str, int] = {}
    for row in rows:
        target, category = row.whole_number("target", minimum=0), row.label("category")
        if category_of.setdefault(target, category) != category:
            raise row.error("category", f'conflicts with target={target}, which is "{category_of[target]}" above')
        if target_of.setdefault(category, target) != target:
            raise row.error("target", f'conflicts with category="{category}", which is {target_of[category]} above')
    return tuple(category_of[target] for target in sorted(category_of))

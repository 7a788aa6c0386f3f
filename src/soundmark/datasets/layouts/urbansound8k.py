"""UrbanSound8K: 8 732 clips of at most 4 s, 10 classes, 10 folds.

J. Salamon, C. Jacoby and J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia 2014.
The synthetic data set of ``soundmark demo`` has the same layout.
"""

from __future__ import annotations

from pathlib import Path

from soundmark.datasets.dataset import Clip, Dataset
from soundmark.datasets.layouts.table_reader import MAX_FOLD, Row, existing_clips, read_rows, root_of
from soundmark.datasets.synthetic import STAMP
from soundmark.errors import DatasetError

KIND = "a copy of UrbanSound8K"


OPTIONS = ()


TABLES = ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv")  # the second: copies with the table beside the folds


COLUMNS = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")


CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)
"""The classes; the index of a class is its ``classID``."""


COMPLETE_SIZE = 8732


CITATION = (
    'J. Salamon, C. Jacoby and J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia 2014'
)


def find(path: Path) -> Path | None:
    """Return the root folder: with the metadata table, or with ``audio/fold*`` (``load`` reports a missing table).

    >>> find(Path(__file__).parent) is None
    True
    """
    root = root_of(path, TABLES, ["UrbanSound8K"])
    return path if root is None and any((path / "audio").glob("fold[0-9]*")) else root


def load(root: Path) -> Dataset:
    r"""Load the clips in the order of the metadata; clips without a file are listed in ``skipped``.

    Raises:
        DatasetError: the table is missing, a row is invalid, or none of the files exists.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("metadata/UrbanSound8K.csv", "audio/fold5/100032-3-0-0.wav"):
    ...     (root / name).parent.mkdir(parents=True)
    ...     (root / name).touch()
    >>> row = "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark"
    >>> _ = (root / "metadata/UrbanSound8K.csv").write_text(",".join(COLUMNS) + "\n" + row)
    >>> load(root).clips[0].source, load(root).share
    ('100032', '1 of 8 732 clips (< 1 %)')
    """
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    if table is None:
        raise DatasetError(
            f'"{root}" looks like UrbanSound8K, but its metadata table "{root / TABLES[0]}" is missing. Add it; or, if '
            f'this is a data set with one folder per class, give "{root / "audio"}".'
        )
    audio = root / "audio" if (root / "audio").is_dir() else root
    clips, skipped = existing_clips(root, ((row, _clip(row, audio)) for row in read_rows(table, COLUMNS)))
    if (root / STAMP).is_file():
        return Dataset(
            name="synthetic city", root=root, classes=CLASSES, clips=clips, skipped=skipped, licence="CC0 1.0"
        )
    return Dataset(
        name="UrbanSound8K",
        root=root,
        classes=CLASSES,
        clips=clips,
        skipped=skipped,
        complete_size=COMPLETE_SIZE,
        licence="CC BY-NC 3.0",
        citation=CITATION,
    )


def _clip(row: Row, audio: Path) -> Clip:
    fold = row.whole_number("fold", minimum=1, maximum=MAX_FOLD)
    # Times within the original recording; the file contains only the clip.
    start_s, stop_s = row.seconds("start") or 0.0, row.seconds("end")
    if stop_s is None or stop_s <= start_s:
        raise row.error("end", f"must be greater than start={start_s:g}")
    return Clip(
        path=Path(f"{audio}/fold{fold}/{row.text('slice_file_name')}"),
        label=_label(row),
        fold=fold,
        source=row.text("fsID"),
        salience=row.salience(),
        expected_s=stop_s - start_s,
    )


def _label(row: Row) -> str:
    label = row.one_of("class", CLASSES)
    class_id = row.whole_number("classID", minimum=0, maximum=len(CLASSES) - 1)
    if CLASSES[class_id] != label:
        raise row.error("class", f'conflicts with classID={class_id}, which is "{CLASSES[class_id]}"')
    return label

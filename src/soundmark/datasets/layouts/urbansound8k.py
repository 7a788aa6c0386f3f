"""UrbanSound8K: 8 732 clips of at most four seconds, ten classes, ten folds.

J. Salamon, C. Jacoby and J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia 2014.
``soundmark demo`` writes its synthetic city in the same layout.
"""

from __future__ import annotations

from pathlib import Path

from soundmark.datasets.dataset import Clip, Dataset
from soundmark.datasets.layouts.table_reader import MOST_FOLDS, Row, present, read_rows, root_of
from soundmark.datasets.synthetic import STAMP
from soundmark.errors import DatasetError

KIND = "a copy of UrbanSound8K"


OPTIONS = ()


TABLES = ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv")  # the second: copies with table and folds side by side


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
"""A class's place is its ``classID``."""


COMPLETE_SIZE = 8732


CITATION = (
    'J. Salamon, C. Jacoby and J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia 2014'
)


def find(path: Path) -> Path | None:
    """The root with the metadata table, or with ``audio/fold*`` where the table is missing (``load`` then says so).

    >>> find(Path(__file__).parent) is None
    True
    """
    root = root_of(path, TABLES, ["UrbanSound8K"])
    return path if root is None and any((path / "audio").glob("fold[0-9]*")) else root


def load(root: Path) -> Dataset:
    r"""The clips whose files are there, in the order of the metadata; the others are named in ``skipped``.

    Raises:
        DatasetError: no table, a row of it that cannot be meant, or none of its files.

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
            f'"{root}" looks like UrbanSound8K, but "{root / TABLES[0]}", which names its clips, is not there. '
            f'Put it there; or, for a folder per class, give "{root / "audio"}".'
        )
    audio = root / "audio" if (root / "audio").is_dir() else root
    clips, skipped = present(root, [(row, _clip(row, audio)) for row in read_rows(table, COLUMNS)])
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
    fold = row.whole("fold", least=1, most=MOST_FOLDS)
    start_s, stop_s = (
        row.seconds("start") or 0.0,
        row.seconds("end"),
    )  # within the recording, from which it is cut already
    if stop_s is None or stop_s <= start_s:
        raise row.error("end", f"must lie after start={start_s:g}")
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
    class_id = row.whole("classID", least=0, most=len(CLASSES) - 1)
    if CLASSES[class_id] != label:
        raise row.error("class", f'disagrees with classID={class_id}, which is "{CLASSES[class_id]}"')
    return label

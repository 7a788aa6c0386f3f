"""One folder per class, with or without folders for the folds."""

from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.datasets import Dataset, Skipped
from soundmark.errors import DatasetError
from support.layouts import write_placeholders


def contents(data: Dataset) -> list[tuple[str, str, int | None]]:
    """Path, label and fold of each clip."""
    return [(data.relative_path(clip), clip.label, clip.fold) for clip in data.clips]


def test_classes_and_files_are_in_natural_sort_order(tmp_path: Path):
    write_placeholders(
        tmp_path, "take10/b.wav", "take2/10.wav", "take2/9.WAV", "Take1/deep/er/a.flac", "take2/notes.txt"
    )
    data = Dataset.open(tmp_path)
    assert data.classes == ("Take1", "take2", "take10")
    assert contents(data) == [
        ("Take1/deep/er/a.flac", "Take1", None),
        ("take2/9.WAV", "take2", None),
        ("take2/10.wav", "take2", None),
        ("take10/b.wav", "take10", None),
    ]
    assert data.name == tmp_path.name
    assert data.skipped == ()


@pytest.mark.parametrize(
    ("names", "folds"),
    [
        (["dog/fold1/a.wav", "dog/fold2/a.wav"], [1, 2]),
        (["dog/1/a.wav", "dog/10/a.wav"], [1, 10]),
        (["dog/Fold_1/a.wav", "dog/fold_2/deep/a.wav", "dog/FOLD 3/a.wav"], [3, 1, 2]),
        (["fold1/dog/a.wav", "fold2/dog/a.wav"], [1, 2]),
        (["dog/a.wav", "dog/left/a.wav"], [None, None]),
    ],
)
def test_folds_come_from_folder_names(tmp_path: Path, names: list[str], folds: list[int | None]):
    data = Dataset.open(write_placeholders(tmp_path, *names))
    assert data.classes == ("dog",)
    assert [clip.fold for clip in data.clips] == folds


def test_numbers_at_the_top_are_classes(tmp_path: Path):
    data = Dataset.open(write_placeholders(tmp_path, "0/a.wav", "1/a.wav", "10/a.wav", "2/a.wav"))
    assert data.classes == ("0", "1", "2", "10")
    assert data.folds == ()


def test_fold_folders_beside_other_folders_are_classes(tmp_path: Path):
    assert Dataset.open(write_placeholders(tmp_path, "fold1/a.wav", "dog/a.wav")).classes == ("dog", "fold1")


def test_a_folder_named_with_a_date_is_not_a_fold(tmp_path: Path):
    for name in ("dog/20230115/a.wav", "cat/2/b.wav", "cat/fold3/c.wav"):
        audio.write(tmp_path / name, np.zeros(100, np.float32), 8000)
    folds = {clip.path.name: clip.fold for clip in Dataset.open(tmp_path).clips}
    assert folds == {"a.wav": None, "b.wav": 2, "c.wav": 3}


def test_unusable_files_and_empty_folders_are_skipped(tmp_path: Path):
    write_placeholders(tmp_path, "dog/a.wav", "dog/b.m4a", "loose.wav", ".hidden/c.wav", "dog/.d.wav", "docs/readme.md")
    data = Dataset.open(tmp_path)
    assert contents(data) == [("dog/a.wav", "dog", None)]
    assert data.skipped == (
        Skipped("dog/b.m4a", ".m4a files are not supported: convert it to WAV or FLAC"),
        Skipped("loose.wav", "it is not in a class folder: move it to a folder with the name of its class"),
        Skipped("docs", "the class folder contains no sound files"),
    )


def test_links_are_followed_but_not_in_circles(tmp_path: Path):
    write_placeholders(tmp_path, "elsewhere/a.wav", "zoo/dog/b.wav")
    (tmp_path / "zoo" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "zoo" / "dog" / "up").symlink_to(tmp_path / "zoo")
    assert [path for path, _, _ in contents(Dataset.open(tmp_path / "zoo"))] == ["cat/a.wav", "dog/b.wav"]


def test_a_class_folder_that_links_to_another_one_is_skipped(tmp_path: Path):
    write_placeholders(tmp_path, "dog/a.wav", "cat/b.wav")
    (tmp_path / "hound").symlink_to("dog")
    (tmp_path / "cat" / "more").symlink_to("../dog")
    data = Dataset.open(tmp_path)
    assert [path for path, _, _ in contents(data)] == ["cat/b.wav", "dog/a.wav"]
    reason = f'it is the folder "{tmp_path / "dog"}", which is read once'
    assert data.skipped == (Skipped("cat/more", reason), Skipped("hound", reason))


def test_the_class_order_can_be_given(tmp_path: Path):
    write_placeholders(tmp_path, "cat/a.wav", "dog/a.wav")
    assert Dataset.open(tmp_path, classes=("dog", "fox", "cat")).labels.tolist() == [2, 0]
    with pytest.raises(DatasetError, match=r'class "dog". Known: cat, fox'):
        Dataset.open(tmp_path, classes=("cat", "fox"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.txt"], r"has no class folders with sound files. Folders found: none"),
        (["dog/a.txt", "cat/b.txt"], r"Folders found: cat, dog"),
        (["a.wav"], r'it looks like the folder of a single class. Give its parent folder, ".*"'),
        (["dog/a.m4a"], r'contains no usable sound files. "dog/a.m4a": .m4a files are not supported: convert it'),
        (["fold1/a.wav"], r'"fold1/a.wav": it is not in a class folder'),
        (["a.wav", "labels.csv"], r'If "labels.csv" is its table, give ".*labels.csv"'),
        (["dog/fold0/a.wav"], r'dog/fold0": the fold number in "fold0" must be a whole number from 1 to 10000'),
        ([f"dog/fold{'9' * 20}/a.wav"], r'the fold number in "fold9+" must be a whole number from 1 to 10000: rename'),
        (["fold0/dog/a.wav"], r'the fold number in "fold0" must be a whole number from 1 to 10000'),
    ],
)
def test_a_folder_that_is_not_a_data_set_is_an_error(tmp_path: Path, names: list[str], message: str):
    with pytest.raises(DatasetError, match=message):
        Dataset.open(write_placeholders(tmp_path, *names))

"""UrbanSound8K: its metadata table, its folders, and the synthetic data set in the same layout."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from soundmark.datasets import Dataset, Skipped, synthetic
from soundmark.datasets.layouts.urbansound8k import CLASSES
from soundmark.errors import DatasetError
from support.layouts import URBANSOUND8K_HEADER, write_placeholders, write_table, write_urbansound8k


def test_rows(tmp_path: Path):
    data = Dataset.open(write_urbansound8k(tmp_path))
    assert data.name == "UrbanSound8K"
    assert data.licence == "CC BY-NC 3.0"
    assert data.classes[6] == "gun_shot"
    assert data.window_s == 4.0
    first, second = data.clips
    assert first.path == data.root / "audio" / "fold1" / "7061-6-0-0.wav"
    assert (first.fold, first.source, first.salience, first.stop_s) == (1, "7061", "foreground", None)
    assert second.salience == "background"
    assert first.expected_s == pytest.approx(0.823231)
    assert data.skipped == (Skipped("audio/fold2/24074-1-0-7.wav", "row 3: the file does not exist"),)
    assert data.share == "2 of 8 732 clips (< 1 %)"


@pytest.mark.parametrize("other", ["..", "metadata", "audio", "metadata/UrbanSound8K.csv"])
def test_a_path_one_level_off_is_accepted(tmp_path: Path, other: str):
    root = write_urbansound8k(tmp_path)
    data = Dataset.open(root.parent if other == ".." else root / other)
    assert data.root == root
    assert len(data.clips) == 2


@pytest.mark.parametrize("path", ["", "UrbanSound8K.csv"])
def test_the_table_can_be_beside_the_folds(tmp_path: Path, path: str):
    root = write_urbansound8k(tmp_path)
    shutil.move(root / "metadata" / "UrbanSound8K.csv", root)
    for fold in ("fold1", "fold5"):
        shutil.move(root / "audio" / fold, root)
    (root / "audio").rmdir()
    assert [clip.path.parent.name for clip in Dataset.open(root / path).clips] == ["fold1", "fold5"]


def test_a_missing_table_is_an_error(tmp_path: Path):
    root = write_urbansound8k(tmp_path)
    shutil.rmtree(root / "metadata")
    with pytest.raises(
        DatasetError, match=r'looks like UrbanSound8K, but its metadata table ".*UrbanSound8K.csv" is missing. Add it'
    ):
        Dataset.open(root)


def test_a_table_without_any_files_is_an_error(tmp_path: Path):
    root = write_urbansound8k(tmp_path)
    shutil.rmtree(root / "audio")
    with pytest.raises(
        DatasetError, match=r'none of the files listed in ".*UrbanSound8K.csv" exists; row 2: ".*7061-6-0-0.wav"'
    ):
        Dataset.open(root)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav,1,0,4,1,1,3,cat", r'row 2: .*class "cat".*Known: air_conditioner'),
        ("a.wav,1,0,4,1,1,4,dog_bark", r'row 2: class="dog_bark" conflicts with classID=4, which is "drilling"'),
        ("a.wav,1,0,4,1,1,10,dog_bark", r'row 2: classID="10" must be a whole number, from 0 to 9'),
        ("a.wav,1,0,4,1,0,3,dog_bark", r'row 2: fold="0" must be a whole number, from 1 to 10000'),
        ("a.wav,1,0,4,1,,3,dog_bark", r'row 2: fold="" must be a whole number'),
        ("a.wav,1,0,4,1,x,3,dog_bark", r'row 2: fold="x" must be a whole number'),
        ("a.wav,1,0,4,3,1,3,dog_bark", r'row 2: salience="3" must be 1 \(foreground\) or 2'),
        ("a.wav,1,4,4,1,1,3,dog_bark", r'row 2: end="4" must be greater than start=4'),
        ("a.wav,1,b,4,1,1,3,dog_bark", r'row 2: start="b" must be a number of seconds'),
        ("a.wav,1,0,,1,1,3,dog_bark", r'row 2: end="" must be greater than start=0'),
        ("a.wav,,0,4,1,1,3,dog_bark", r'row 2: fsID="" must not be empty'),
        (",1,0,4,1,1,3,dog_bark", r'row 2: slice_file_name="" must not be empty'),
    ],
)
def test_an_invalid_row_is_an_error(tmp_path: Path, row: str, message: str):
    write_placeholders(tmp_path, "audio/fold1/a.wav")
    write_table(tmp_path / "metadata" / "UrbanSound8K.csv", URBANSOUND8K_HEADER, row)
    with pytest.raises(DatasetError, match=message):
        Dataset.open(tmp_path)


def test_a_missing_column_is_an_error(tmp_path: Path):
    header = URBANSOUND8K_HEADER.replace("fsID,", "")
    write_table(tmp_path / "metadata" / "UrbanSound8K.csv", header, "a.wav,0,4,1,1,3,dog_bark")
    with pytest.raises(
        DatasetError, match=r'UrbanSound8K.csv" has no column "fsID". Columns found: slice_file_name, start'
    ):
        Dataset.open(tmp_path)


def test_the_complete_metadata_give_the_published_counts(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All 8 732 rows, with placeholder files: the counts are those of the publication."""
    root = tmp_path / "UrbanSound8K"
    with (shared / "urbansound8k" / "UrbanSound8K.csv").open() as file:
        names = [f"audio/fold{row['fold']}/{row['slice_file_name']}" for row in csv.DictReader(file)]
    write_placeholders(root, *names)
    (root / "metadata").mkdir()
    shutil.copy(shared / "urbansound8k" / "UrbanSound8K.csv", root / "metadata")
    stat, requested = os.stat, []
    monkeypatch.setattr(os, "stat", lambda path, *a, **k: requested.append(path) or stat(path, *a, **k))
    data = Dataset.open(root)
    monkeypatch.undo()
    assert len(requested) < 100  # folders are listed: a request for each clip would be slow on a network drive
    assert data.share == "8 732 of 8 732 clips (100 %)"
    assert [data.relative_path(clip) for clip in data.clips] == names
    assert data.folds == tuple(range(1, 11))
    assert np.bincount(data.labels).tolist() == [1000, 429, 1000, 1000, 1000, 1000, 374, 1000, 929, 1000]
    assert np.bincount(data.fold_of)[1:].tolist() == [873, 888, 925, 990, 936, 823, 838, 806, 816, 837]
    assert len(set(data.sources.tolist())) == 1297


def test_the_real_clips_of_three_folds(urbansound8k: Path):
    data = Dataset.open(urbansound8k)
    assert data.share == "2 097 of 8 732 clips (24 %)"
    assert data.folds == (1, 3, 10)
    assert np.bincount(data.labels).tolist() == [285, 82, 252, 248, 225, 261, 93, 245, 176, 230]


def test_the_synthetic_data_set_has_its_own_name_and_licence(city_folder: Path):
    data = Dataset.open(city_folder)
    assert (data.name, data.licence, data.citation) == ("synthetic city", "CC0 1.0", "")
    assert data.share == "60 of 60 clips (100 %)"
    assert data.classes == synthetic.CLASSES == CLASSES

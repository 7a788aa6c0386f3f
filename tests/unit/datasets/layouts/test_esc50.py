"""ESC-50 and its subset ESC-10."""

from pathlib import Path

import pytest

from soundmark.datasets import Dataset, Skipped
from soundmark.errors import DatasetError, SettingsError
from support.layouts import ESC50_HEADER, write_esc50, write_placeholders, write_table


def test_rows(tmp_path: Path):
    data = Dataset.open(write_esc50(tmp_path))
    assert (data.name, data.window_s, data.licence) == ("ESC-50", 5.0, "CC BY-NC 3.0")
    assert data.classes == ("dog", "rooster", "chirping_birds")  # by target, not by row or name
    assert data.labels.tolist() == [2, 0, 1]
    assert data.sources.tolist() == ["1", "100032", "9"]
    assert data.share == "3 of 2 000 clips (< 1 %)"


def test_esc10_is_a_subset(tmp_path: Path):
    data = Dataset.open(write_esc50(tmp_path), subset="esc10")
    assert (data.name, data.complete_size, data.licence) == ("ESC-10", 400, "CC BY 3.0")
    assert data.classes == ("dog", "rooster")
    assert data.skipped == (Skipped("audio/5-9-B-7.wav", "row 5: the file does not exist"),)


def test_an_unknown_subset_is_an_error(tmp_path: Path):
    with pytest.raises(SettingsError, match=r'subset of ESC-50 "esc-10". Did you mean "esc10"'):
        Dataset.open(write_esc50(tmp_path), subset="esc-10")


@pytest.mark.parametrize("other", ["..", "meta", "audio", "meta/esc50.csv"])
def test_a_path_one_level_off_is_accepted(tmp_path: Path, other: str):
    root = write_esc50(tmp_path)
    assert Dataset.open(root.parent if other == ".." else root / other).root == root


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b.wav,1,0,cat,False,9,A", r'row 3: category="cat" conflicts with target=0, which is "dog" above'),
        ("b.wav,1,1,dog,False,9,A", r'row 3: target="1" conflicts with category="dog", which is 0 above'),
        ("b.wav,1,one,cat,False,9,A", r'row 3: target="one" must be a whole number, 0 or more'),
        ("b.wav,1.5,1,cat,False,9,A", r'row 3: fold="1.5" must be a whole number, from 1 to 10000'),
        ("b.wav,1,1,cat,maybe,9,A", r'row 3: esc10="maybe" must be True or False'),
    ],
)
def test_an_invalid_row_is_an_error(tmp_path: Path, row: str, message: str):
    write_placeholders(tmp_path, "audio/a.wav", "audio/b.wav")
    write_table(tmp_path / "meta" / "esc50.csv", ESC50_HEADER, "a.wav,1,0,dog,True,8,A", row)
    with pytest.raises(DatasetError, match=message):
        Dataset.open(tmp_path)

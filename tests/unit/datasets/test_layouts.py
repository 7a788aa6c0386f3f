"""Behaviour that all layouts share, and paths that are not data sets."""

import os
from pathlib import Path

import numpy as np
import pytest

from soundmark.datasets import Dataset
from soundmark.datasets.layouts import LAYOUTS
from soundmark.errors import DatasetError, SettingsError
from support.layouts import WRITERS


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_layout_is_tested():
    assert set(WRITERS) == set(LAYOUTS)


def test_every_file_is_a_clip_or_skipped_with_a_reason(layout: str, tmp_path: Path):
    data = Dataset.open(WRITERS[layout](tmp_path))
    n_files = {"corrections": 3, "urbansound8k": 3, "esc50": 4, "annotations": 3, "table": 3, "folders": 5}[layout]
    assert len(data.clips) + len(data.skipped) == n_files
    assert data.skipped
    assert all(skipped.reason for skipped in data.skipped)


def test_every_clip_has_a_file_and_a_known_class(layout: str, tmp_path: Path):
    data = Dataset.open(WRITERS[layout](tmp_path))
    assert all(clip.path.is_file() for clip in data.clips)
    assert data.labels.dtype == np.int64
    assert [data.classes[i] for i in data.labels] == [clip.label for clip in data.clips]
    assert data.sources.shape == data.fold_of.shape == (len(data.clips),)
    assert not data.labels.flags.writeable


def test_fingerprint_does_not_depend_on_the_location(layout: str, tmp_path: Path):
    first = Dataset.open(WRITERS[layout](tmp_path / "a"))
    second = Dataset.open(WRITERS[layout](tmp_path / "b" / "c"))
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 16
    assert first.root != second.root


def test_fingerprint_changes_with_a_file_size(layout: str, tmp_path: Path):
    path = WRITERS[layout](tmp_path)
    data = Dataset.open(path)
    before = data.fingerprint
    with data.clips[0].path.open("ab") as file:
        file.write(b"!")
    assert Dataset.open(path).fingerprint != before


def test_an_unsupported_option_is_an_error(layout: str, tmp_path: Path):
    option = {"classes": ["dog"]} if layout in ("urbansound8k", "esc50") else {"subset": "esc10"}
    with pytest.raises(SettingsError, match=rf'does not support the option "{next(iter(option))}": remove it'):
        Dataset.open(WRITERS[layout](tmp_path), **option)


def test_relative_paths_can_be_opened(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = WRITERS[layout](tmp_path)
    absolute = Dataset.open(path)
    monkeypatch.chdir(tmp_path)
    data = Dataset.open(path.relative_to(tmp_path))
    assert data.fingerprint == absolute.fingerprint
    monkeypatch.chdir(path if path.is_dir() else path.parent)
    assert Dataset.open("." if path.is_dir() else path.name).fingerprint == absolute.fingerprint


def test_a_folder_without_read_permission_is_an_error(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    path = WRITERS[layout](tmp_path)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r'the folder ".*" cannot be read: Permission denied\.'):
        Dataset.open(path)


# --- Paths that are not data sets -------------------------------------------------------------------------------------


def test_a_missing_path_is_an_error(tmp_path: Path):
    with pytest.raises(DatasetError, match=r'nowhere" does not exist. Give the folder of UrbanSound8K'):
        Dataset.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "kind"), [("rex.wav", "a sound file, not"), ("recipe.toml", "not"), ("labels", "not")]
)
def test_a_file_that_is_not_a_table_is_an_error(tmp_path: Path, name: str, kind: str):
    (tmp_path / name).touch()
    with pytest.raises(DatasetError, match=rf'{name}" is {kind} a data set. Give'):
        Dataset.open(tmp_path / name)

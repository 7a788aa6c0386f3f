"""Inputs to sound files: folders, lists of files, standard input, and unreadable paths."""

import io
import sys

import numpy as np
import pytest

from soundmark import audio
from soundmark.detection import inputs
from soundmark.detection.inputs import Failure, Input
from soundmark.errors import SettingsError


def write_sound(path):
    audio.write(path, np.zeros(10), 8000)


def test_a_folder_stands_for_all_sound_files_in_it_with_relative_names(tmp_path):
    for name in ("b.wav", "a.wav", "deep/er/c.flac.wav", ".hidden.wav"):
        write_sound(tmp_path / "pets" / name)
    (tmp_path / "pets" / "notes.txt").write_text("no sound")
    found = list(inputs.files([str(tmp_path / "pets")]))
    assert [one.name for one in found] == ["a.wav", "b.wav", "deep/er/c.flac.wav"]


def test_unsupported_files_and_empty_folders_are_failures(tmp_path):
    write_sound(tmp_path / "pets" / "a.wav")
    (tmp_path / "pets" / "b.m4a").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    found = list(inputs.files([str(tmp_path / "pets"), str(tmp_path / "empty"), "none.wav", "-"]))
    assert [type(one) for one in found] == [Failure, Input, Failure, Input, Input]
    assert ".m4a files are not supported: convert it" in found[0].reason
    assert "contains no sound files (.wav" in found[2].reason
    assert [one.path for one in found[3:]] == ["none.wav", "-"]


def test_an_empty_path_is_rejected():
    with pytest.raises(SettingsError, match='an input is "": give the path of a sound file'):
        list(inputs.files([""]))


@pytest.mark.parametrize(
    "data", [b"a.wav\nb c.wav\n", b"a.wav\r\nb c.wav", b"a.wav\0b c.wav\0", b"\na.wav\n\nb c.wav\n"]
)
def test_a_list_has_one_name_per_line_or_is_separated_by_nul(tmp_path, data, monkeypatch):
    (tmp_path / "list").write_bytes(data)
    assert list(inputs.read_file_list(str(tmp_path / "list"))) == ["a.wav", "b c.wav"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert list(inputs.read_file_list("-")) == ["a.wav", "b c.wav"]


def test_names_in_a_list_may_be_any_bytes(tmp_path):
    (tmp_path / "list").write_bytes(b"caf\xe9.wav\n")
    (name,) = inputs.read_file_list(str(tmp_path / "list"))
    assert name.encode(errors="surrogateescape") == b"caf\xe9.wav"


def test_a_missing_list_is_rejected(tmp_path):
    with pytest.raises(SettingsError, match=r'the list of files ".*none" cannot be read: No such file or directory'):
        list(inputs.read_file_list(str(tmp_path / "none")))


@pytest.mark.parametrize(("paths", "list_path"), [(["-", "-"], None), (["-"], "-")])
def test_standard_input_cannot_be_used_twice(paths, list_path):
    with pytest.raises(SettingsError, match=r'standard input \("-"\) is given twice'):
        inputs.check(paths, list_path)


def test_no_input_is_rejected():
    with pytest.raises(SettingsError, match="no input was given: name sound files"):
        inputs.check([], None)


@pytest.mark.parametrize("data", ["a.wav\r\nb.wav".encode("utf-16"), "a.wav\nb.wav\n".encode("utf-8-sig")])
def test_a_list_in_utf_16_or_with_a_bom_is_read(tmp_path, data):
    (tmp_path / "list").write_bytes(data)
    assert list(inputs.read_file_list(str(tmp_path / "list"))) == ["a.wav", "b.wav"]


def test_an_empty_list_path_and_closed_standard_input_are_rejected(monkeypatch):
    with pytest.raises(SettingsError, match='the list of files is "": give a path'):
        inputs.check([], "")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SettingsError, match="cannot be read: standard input is closed"):
        list(inputs.read_file_list("-"))

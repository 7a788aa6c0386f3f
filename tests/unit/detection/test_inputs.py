"""What was typed to the files that are meant: folders, lists, standard input, and what is none."""

import io
import sys

import numpy as np
import pytest

from soundmark import audio
from soundmark.detection import inputs
from soundmark.detection.inputs import Failure, Input
from soundmark.errors import SettingsError


def sound(path):
    audio.write(path, np.zeros(10), 8000)


def test_a_folder_is_all_the_sounds_below_it_named_as_they_stand_there(tmp_path):
    for name in ("b.wav", "a.wav", "deep/er/c.flac.wav", ".hidden.wav"):
        sound(tmp_path / "pets" / name)
    (tmp_path / "pets" / "notes.txt").write_text("no sound")
    found = list(inputs.files([str(tmp_path / "pets")]))
    assert [one.name for one in found] == ["a.wav", "b.wav", "deep/er/c.flac.wav"]


def test_what_cannot_be_read_below_a_folder_is_named(tmp_path):
    sound(tmp_path / "pets" / "a.wav")
    (tmp_path / "pets" / "b.m4a").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    found = list(inputs.files([str(tmp_path / "pets"), str(tmp_path / "empty"), "none.wav", "-"]))
    assert [type(one) for one in found] == [Failure, Input, Failure, Input, Input]
    assert ".m4a files cannot be read: convert it" in found[0].reason
    assert "has no sound files (.wav" in found[2].reason
    assert [one.path for one in found[3:]] == ["none.wav", "-"]


def test_an_empty_name_is_refused():
    with pytest.raises(SettingsError, match='an input is "": give the path of a sound file'):
        list(inputs.files([""]))


@pytest.mark.parametrize(
    "data", [b"a.wav\nb c.wav\n", b"a.wav\r\nb c.wav", b"a.wav\0b c.wav\0", b"\na.wav\n\nb c.wav\n"]
)
def test_a_list_has_a_name_a_line_or_nuls_between(tmp_path, data, monkeypatch):
    (tmp_path / "list").write_bytes(data)
    assert list(inputs.listed(str(tmp_path / "list"))) == ["a.wav", "b c.wav"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert list(inputs.listed("-")) == ["a.wav", "b c.wav"]


def test_a_name_of_a_list_need_not_be_utf_8(tmp_path):
    (tmp_path / "list").write_bytes(b"caf\xe9.wav\n")
    (name,) = inputs.listed(str(tmp_path / "list"))
    assert name.encode(errors="surrogateescape") == b"caf\xe9.wav"


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r'the list of files ".*none" cannot be read: No such file or directory'):
        list(inputs.listed(str(tmp_path / "none")))


@pytest.mark.parametrize(("typed", "listed"), [(["-", "-"], None), (["-"], "-")])
def test_standard_input_is_read_once(typed, listed):
    with pytest.raises(SettingsError, match="standard input is given twice"):
        inputs.check(typed, listed)


def test_nothing_to_hear_is_refused():
    with pytest.raises(SettingsError, match="nothing to hear was given: name sound files"):
        inputs.check([], None)


@pytest.mark.parametrize("data", ["a.wav\r\nb.wav".encode("utf-16"), "a.wav\nb.wav\n".encode("utf-8-sig")])
def test_a_list_as_windows_writes_it_is_read(tmp_path, data):
    (tmp_path / "list").write_bytes(data)
    assert list(inputs.listed(str(tmp_path / "list"))) == ["a.wav", "b.wav"]


def test_a_list_without_a_name_and_standard_input_that_is_closed_are_refused(monkeypatch):
    with pytest.raises(SettingsError, match='the list of files is "": give a path'):
        inputs.check([], "")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SettingsError, match="cannot be read: standard input is closed"):
        list(inputs.listed("-"))

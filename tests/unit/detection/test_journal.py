"""What was heard, on the disk: found again under its key, whatever was killed, cut or damaged."""

import json
import logging
import os
from datetime import UTC, datetime

import pytest

from soundmark.detection.file_result import FileResult
from soundmark.detection.journal import Journal, journal_key
from soundmark.models.events import Event

HEARD = FileResult(
    file="a\udce9.wav",  # a name that is not UTF-8
    duration_s=12.5,
    answer=[{"label": "dog", "score": 0.9}],
    events=[Event(label="dog", start_s=0.0, stop_s=4.0, confidence=0.1 + 0.2, peak=0.9)],
    windows=3,
    started=datetime(2024, 6, 12, 4, 30, tzinfo=UTC),
    note="cut off",
)


def written(path, *keys):
    with Journal(path) as journal:
        for key in keys:
            journal.add(key, HEARD)


def test_what_was_heard_is_found_again_as_it_was(tmp_path):
    written(tmp_path / "j", "1", "2")
    with Journal(tmp_path / "j") as journal:
        assert journal.find("2") == HEARD
        assert journal.find("3") is None
        assert "1" in journal
        assert None not in journal


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_line_that_was_cut_short_is_heard_again_and_spoils_no_other(tmp_path, cut, caplog):
    written(tmp_path / "j", "1", "2")
    data = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(data[:-cut])
    written(tmp_path / "j", "3")
    with Journal(tmp_path / "j") as journal:
        assert [key in journal for key in "123"] == [True, False, True]
        assert journal.find("3") == HEARD
    assert not caplog.records


def test_a_damaged_line_is_named_and_heard_again(tmp_path, caplog):
    written(tmp_path / "j", "1", "2")
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(lines[0].replace(b"0.9", b"0.8", 1) + lines[1])
    with caplog.at_level(logging.WARNING), Journal(tmp_path / "j") as journal:
        assert "1" not in journal
        assert journal.find("2") == HEARD
    assert "has 1 damaged lines: their files are heard again" in caplog.text


def test_a_key_is_of_the_file_as_it_is_and_of_every_setting(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"1234")
    keys = [journal_key(str(path), {"overlap": 0.0}), journal_key(str(path), {"overlap": 0.5})]
    os.utime(path, (1, 1))
    keys.append(journal_key(str(path), {"overlap": 0.0}))
    path.write_bytes(b"12345")
    keys.append(journal_key(str(path), {"overlap": 0.0}))
    assert len(set(keys)) == 4
    assert journal_key(str(tmp_path / "none"), {}) is None


def test_the_journal_is_lines_of_json(tmp_path):
    written(tmp_path / "j", "1")
    assert json.loads((tmp_path / "j").read_text())["file"] == HEARD.file

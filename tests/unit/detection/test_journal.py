"""The journal: results are found by their key, also after an interruption or damage."""

import json
import logging
import os
from datetime import UTC, datetime

import pytest

from soundmark.detection.file_result import FileResult
from soundmark.detection.journal import Journal, journal_key, read_journal, read_keys
from soundmark.errors import OutputError
from soundmark.models.events import Event
from soundmark.runtime import checksums

RESULT = FileResult(
    file="a\udce9.wav",  # a name that is not UTF-8
    duration_s=12.5,
    answer=[{"label": "dog", "score": 0.9}],
    events=[Event(label="dog", start_s=0.0, stop_s=4.0, confidence=0.1 + 0.2, peak=0.9)],
    windows=3,
    started=datetime(2024, 6, 12, 4, 30, tzinfo=UTC),
    note="truncated",
)


def add_results(path, *keys):
    with Journal(path) as journal:
        for key in keys:
            journal.add(key, RESULT)


def test_a_result_is_read_back_unchanged(tmp_path):
    add_results(tmp_path / "j", "1", "2")
    with Journal(tmp_path / "j") as journal:
        assert journal.find("2") == RESULT
        assert journal.find("3") is None
        assert "1" in journal
        assert None not in journal


@pytest.mark.parametrize("missing_bytes", [1, 10, 200])
def test_an_incomplete_last_line_is_dropped_and_the_other_lines_are_kept(tmp_path, missing_bytes, caplog):
    add_results(tmp_path / "j", "1", "2")
    data = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(data[:-missing_bytes])
    add_results(tmp_path / "j", "3")
    with Journal(tmp_path / "j") as journal:
        assert [key in journal for key in "123"] == [True, False, True]
        assert journal.find("3") == RESULT
    assert not caplog.records


def test_a_damaged_line_is_reported_and_ignored(tmp_path, caplog):
    add_results(tmp_path / "j", "1", "2")
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(lines[0].replace(b"0.9", b"0.8", 1) + lines[1])
    with caplog.at_level(logging.WARNING), Journal(tmp_path / "j") as journal:
        assert "1" not in journal
        assert journal.find("2") == RESULT
    assert "contains 1 damaged line: its file is analysed again" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"key": 5},
        {"file": None},
        {"duration_s": "4"},
        {"duration_s": float("nan")},
        {"duration_s": 10**400},
        {"answer": []},
        {"answer": [{"label": "dog"}]},
        {"answer": [{"label": 5, "score": 0.9}]},
        {"answer": [{"label": "dog", "score": float("inf")}]},
        {"events": None},
        {"events": [5]},
        {"events": [{"label": "dog", "start_s": "a", "stop_s": 1.0, "confidence": 0.9, "peak": 0.9}]},
        {"events": [{"label": "dog", "start_s": 0.0, "stop_s": 1e300, "confidence": 0.9, "peak": 0.9}]},
        {"began": 5},
        {"began": "yesterday"},
        {"began": "9999-12-31T23:59:59+00:00"},
        {"note": 5},
        {"of_a_later_version": 1},
    ],
    ids=str,
)
def test_a_line_with_other_values_is_ignored(tmp_path, change, caplog):
    path = tmp_path / "journal.jsonl"
    add_results(path, "1", "2")
    first, second = path.read_text().splitlines()
    values = checksums.verified(json.loads(first)) | change
    path.write_text(f"{json.dumps(checksums.with_checksum(values))}\n{second}\n")
    assert list(read_keys(path)) == ["2"]
    assert list(read_journal(path)) == [RESULT]
    with Journal(path) as journal:
        assert (journal.find("1"), journal.find("2")) == (None, RESULT)
    assert "1 damaged line: its file is analysed again" in caplog.text


def test_a_key_depends_on_path_size_time_and_settings(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"1234")
    keys = [journal_key(str(path), {"overlap": 0.0}), journal_key(str(path), {"overlap": 0.5})]
    os.utime(path, (1, 1))
    keys.append(journal_key(str(path), {"overlap": 0.0}))
    path.write_bytes(b"12345")
    keys.append(journal_key(str(path), {"overlap": 0.0}))
    assert len(set(keys)) == 4
    assert journal_key(str(tmp_path / "none"), {}) is None


def test_a_line_of_the_journal_is_json(tmp_path):
    add_results(tmp_path / "j", "1")
    assert json.loads((tmp_path / "j").read_text())["file"] == RESULT.file


def test_a_disk_that_is_full_when_the_journal_is_closed_is_an_output_error(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OutputError, match=r'cannot write ".*j": File too large\. Free some disk space'):
            add_results(tmp_path / "j", "1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

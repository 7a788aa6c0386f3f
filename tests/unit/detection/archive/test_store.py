"""The files of an index: after a kill at any byte, it is read without error, and indexing resumes."""

import json
import logging
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from soundmark.detection.archive import store
from soundmark.errors import SettingsError
from soundmark.runtime import checksums

PARAMETERS = store.Parameters(model="", classes=("a", "b"), window_s=1.0, overlap=0.0, embedding_size=3)


def records(number: int, n: int = 2) -> np.ndarray:
    found = np.zeros(n, PARAMETERS.record_type)
    found["start_s"], found["scores"], found["embedding"] = np.arange(n), number / 10, number
    return found


def add(folder: Path, *numbers: int) -> None:
    with store.writer(folder, PARAMETERS) as index:
        for number in numbers:
            if str(number) not in index.keys:
                index.add(str(number), f"/{number}.wav", records(number), duration_s=2.0)


def read(folder: Path) -> dict[str, float]:
    """The first embedding value of each recording."""
    rows = store.read_records(folder, PARAMETERS)
    return {found.path: float(rows["embedding"][found.first, 0]) for found in store.read_recordings(folder, rows)}


def test_recordings_are_read_as_written(tmp_path: Path):
    add(tmp_path, 1, 2)
    add(tmp_path, 3)
    assert read(tmp_path) == {"/1.wav": 1, "/2.wav": 2, "/3.wav": 3}


@pytest.mark.parametrize("name", [store.RECORDS, store.JOURNAL])
def test_a_kill_at_any_byte_loses_only_the_recording_that_was_written(name: str, tmp_path: Path):
    add(tmp_path, 1, 2, 3)
    whole = {path: (tmp_path / path).read_bytes() for path in (store.RECORDS, store.JOURNAL)}
    for size in range(0, len(whole[name]) + 1, 7):
        for path, content in whole.items():
            (tmp_path / path).write_bytes(content[: size if path == name else None])
        add(tmp_path, 1, 2, 3)
        assert read(tmp_path) == {"/1.wav": 1, "/2.wav": 2, "/3.wav": 3}, size


def test_records_of_a_killed_run_are_cut_off(tmp_path: Path):
    add(tmp_path, 1)
    size = (tmp_path / store.RECORDS).stat().st_size
    with (tmp_path / store.RECORDS).open("ab") as file:
        file.write(b"partial")
    add(tmp_path, 2)
    assert (tmp_path / store.RECORDS).stat().st_size == size + 2 * PARAMETERS.record_type.itemsize
    assert read(tmp_path) == {"/1.wav": 1, "/2.wav": 2}


def test_a_changed_byte_is_noticed_and_its_recording_added_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    add(tmp_path, 1, 2)
    data = bytearray((tmp_path / store.RECORDS).read_bytes())
    data[-1] ^= 1
    (tmp_path / store.RECORDS).write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path) == {"/1.wav": 1}
    assert "is damaged: it lacks 1 recording. `soundmark index` adds it again." in caplog.text
    add(tmp_path, 1, 2)
    assert read(tmp_path) == {"/1.wav": 1, "/2.wav": 2}


def test_the_last_entry_of_a_path_counts(tmp_path: Path):
    add(tmp_path, 1, 2)
    with store.writer(tmp_path, PARAMETERS) as index:
        index.add("new", "/1.wav", records(7, n=3), duration_s=3.0)
        assert index.keys == {"2", "1", "new"}
    assert read(tmp_path) == {"/2.wav": 2, "/1.wav": 7}
    with store.writer(tmp_path, PARAMETERS) as index:
        assert index.keys == {"2", "new"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1, "classes": 3}', '{"schema": "1"}', "[" * 100_000])
def test_a_damaged_description_is_refused(text: str, tmp_path: Path):
    (tmp_path / store.PARAMETERS).write_text(text)
    with pytest.raises(SettingsError, match=r"is damaged, in \"index.json\": make it again"):
        store.read_parameters(tmp_path)


def test_an_index_of_a_later_version_is_refused(tmp_path: Path):
    (tmp_path / store.PARAMETERS).write_text(PARAMETERS.to_json().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(SettingsError, match="is one of a later version: update soundmark"):
        store.read_parameters(tmp_path)


def test_the_description_is_read_as_written(tmp_path: Path):
    (tmp_path / store.PARAMETERS).write_text(PARAMETERS.to_json())
    assert store.read_parameters(tmp_path) == PARAMETERS


@pytest.mark.parametrize(
    "change",
    [
        {"first": -2},
        {"first": 1.0},
        {"first": None},
        {"windows": "2"},
        {"windows": True},
        {"path": ["/1.wav"]},
        {"key": 3},
        {"duration_s": "2"},
        {"duration_s": float("nan")},
        {"note": 5},
        {"first": 10**30, "windows": 0, "crc32": 0},
        {"path": ""},
        {"path": "/\ud800.wav"},
        {"path": "/" + "a" * 100_000},
        {"duration_s": -1.0},
        {"duration_s": 1e300},
    ],
)
def test_a_line_with_other_types_is_ignored(change: dict, tmp_path: Path):
    add(tmp_path, 1, 2)
    first, second = (tmp_path / store.JOURNAL).read_text().splitlines(keepends=True)
    line = json.dumps(checksums.with_checksum(checksums.verified(json.loads(first)) | change)) + "\n"
    (tmp_path / store.JOURNAL).write_text(line + "[" * 100_000 + "\n" + second)
    assert read(tmp_path) == {"/2.wav": 2}
    add(tmp_path, 1, 2)
    assert read(tmp_path) == {"/1.wav": 1, "/2.wav": 2}


def test_records_belong_to_one_recording_only(tmp_path: Path):
    """A line is short: many lines that name the same records would fill the memory."""
    add(tmp_path, 1)
    line = checksums.verified(json.loads((tmp_path / store.JOURNAL).read_text()))
    with (tmp_path / store.JOURNAL).open("a") as file:
        file.writelines(json.dumps(checksums.with_checksum(line | {"path": f"/{k}.wav"})) + "\n" for k in range(2, 6))
    assert read(tmp_path) == {"/1.wav": 1}


def test_a_recording_that_overlaps_others_is_left_out(tmp_path: Path):
    add(tmp_path, 1, 2)
    line = checksums.verified(json.loads((tmp_path / store.JOURNAL).read_text().splitlines()[0]))
    crc32 = zlib.crc32(store.read_records(tmp_path, PARAMETERS)[1:3].tobytes())
    with (tmp_path / store.JOURNAL).open("a") as file:
        file.write(json.dumps(checksums.with_checksum(line | {"path": "/3.wav", "first": 1, "crc32": crc32})) + "\n")
    assert read(tmp_path) == {"/1.wav": 1, "/2.wav": 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scores", np.nan),
        ("scores", np.inf),
        ("scores", [np.inf, -np.inf]),
        ("embedding", np.nan),
        ("embedding", -np.inf),
        ("level_dbfs", np.nan),
        ("start_s", np.nan),
        ("stop_s", np.nan),
        ("stop_s", 1e300),
    ],
)
def test_a_recording_with_values_that_are_no_numbers_is_left_out(name: str, value: float | list[float], tmp_path: Path):
    add(tmp_path, 1)
    damaged = records(2)
    damaged[name][1] = value
    with store.writer(tmp_path, PARAMETERS) as index:
        index.add("2", "/2.wav", damaged, duration_s=2.0)
    assert read(tmp_path) == {"/1.wav": 1}


@pytest.mark.skipif(os.name == "nt", reason="the test needs pipes")
def test_pipes_are_not_waited_for(tmp_path: Path):
    for name in (store.RECORDS, store.JOURNAL, store.PARAMETERS):
        os.mkfifo(tmp_path / name)
    assert read(tmp_path) == {}
    with pytest.raises(SettingsError, match="cannot be read: it is not a regular file"):
        store.read_parameters(tmp_path)


def test_a_folder_in_place_of_the_records_is_an_empty_index(tmp_path: Path):
    (tmp_path / store.RECORDS).mkdir()
    assert read(tmp_path) == {}


def test_a_long_line_does_not_affect_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    add(tmp_path, 1, 2)
    first, second = (tmp_path / store.JOURNAL).read_text().splitlines(keepends=True)
    monkeypatch.setattr(store, "MAX_LINE_BYTES", 1000)
    (tmp_path / store.JOURNAL).write_text(f"{first}{'x' * 5000}\n{second}")
    assert read(tmp_path) == {"/1.wav": 1, "/2.wav": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"classes": []},
        {"classes": "ab"},
        {"classes": [1, 2]},
        {"overlap": "0"},
        {"overlap": 1.5},
        {"window_s": None},
        {"window_s": 0},
        {"embedding_size": 0},
        {"embedding_size": 3.0},
        {"embedding_size": 1 << 40},
        {"model": 7},
    ],
)
def test_a_description_with_other_types_is_refused(change: dict, tmp_path: Path):
    (tmp_path / store.PARAMETERS).write_text(json.dumps(json.loads(PARAMETERS.to_json()) | change))
    with pytest.raises(SettingsError, match=r"is damaged, in \"index.json\": make it again"):
        store.read_parameters(tmp_path)

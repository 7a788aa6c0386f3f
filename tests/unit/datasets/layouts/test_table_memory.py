"""Tables whose cells have one letter, each of which takes many times its size in memory: read in little, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from soundmark import audio
from soundmark.datasets import Dataset
from soundmark.datasets.layouts import table_reader
from soundmark.datasets.layouts.annotations import annotation, aoef
from soundmark.errors import DatasetError
from support.memory import run_measured

SIZE = 12_000_000  # characters
MOST_MB = 200  # 300 MB would be too much, for 50 MB of text

OPEN = """
import sys
from soundmark import Dataset, SoundmarkError
try:
    print(len(Dataset.open(r"{path}")))
except SoundmarkError as error:
    print(error)
"""


def repeated(head: str, row: str) -> Callable[[], str]:
    return lambda: head + row * (SIZE // len(row))


WIDE = ",".join(f"c{column}" for column in range(1000))
TABLES = {
    "rows.csv": (repeated("path,label\n", "a,b\n"), "has more than 1,048,576 rows"),
    "columns.csv": (repeated("path,label\n", "a," * 20_000 + "b\n"), "row 2 has 20001 cells but the header has 2"),
    "wide.csv": (repeated(f"path,label,{WIDE}\n", "a,b" + ",x" * 1000 + "\n"), "none of the files listed in"),
    "one_line.csv": (repeated("", "a,"), "row 1 has more than 1,048,576 characters"),
    "empty_lines.csv": (repeated("", "\n"), "has more than 1,048,576 rows"),
    "events.csv": (repeated("filename,event_label\n", "a,b\n"), "is too large: a table of annotations may"),
    "wide_events.csv": (repeated(f"filename,label,{WIDE}\n", "a,b" + ",x" * 1000 + "\n"), "annotations in"),
    "raven.txt": (
        repeated("Begin Time (s)\tEnd Time (s)\tSpecies\n", "1\t2\tw\n"),
        "is too large: a table of annotations may",
    ),
    "audacity.txt": (repeated("", "1\t2\tw\n"), "is too large: a table of annotations may have at most 64 MiB and 1,0"),
    "audioset.csv": (repeated("# YTID, start_seconds\n", "a,1,2,w\n"), "is too large: a table of annotations may"),
    "whombat.json": (
        repeated('{"data": {"recordings": [', "[],"),
        "has more than 4,194,304 values: divide it into several",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_cells_of_one_letter_take_little_memory(tmp_path: Path, name: str):
    content, message = TABLES[name]
    (tmp_path / name).write_text(content())
    output, peak_mb = run_measured(OPEN.format(path=tmp_path / name))
    assert message in output
    assert peak_mb < MOST_MB


def test_a_row_takes_less_than_a_kilobyte(tmp_path: Path):
    n = 100_000
    audio.write(tmp_path / "a.wav", [0.1] * 8000, 8000)
    rows = (f"a.wav,b{row % 50},{row / n / 2:.6f},0.95\n" for row in range(n))
    (tmp_path / "clips.csv").write_text("path,label,start,end\n" + "".join(rows))
    _, idle_mb = run_measured("from soundmark import Dataset")
    output, peak_mb = run_measured(OPEN.format(path=tmp_path / "clips.csv"))
    assert int(output) == n
    assert (peak_mb - idle_mb) * 1e6 / n < 1000


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("path,label", "has more than 3 rows, the most that a table"),
        ("filename,label", "is too large: a table of anno"),
    ],
)
def test_the_last_row_that_a_table_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, message: str):
    audio.write(tmp_path / "a.wav", [0.1] * 8000, 8000)
    for module in (table_reader, annotation):
        monkeypatch.setattr(module, "MAX_ROWS", 3)
    (tmp_path / "t.csv").write_text(f"{head}\na.wav,dog\na.wav,cat\n")
    assert sorted(Dataset.open(tmp_path / "t.csv").classes) == ["cat", "dog"]
    (tmp_path / "t.csv").write_text(f"{head}\na.wav,dog\na.wav,cat\na.wav,bird\n")
    with pytest.raises(DatasetError, match=f't.csv" {message}'):
        Dataset.open(tmp_path / "t.csv")


def test_a_cell_in_quotes_with_many_lines_is_one_long_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table_reader, "MAX_ROW_CHARS", 1000)
    (tmp_path / "a.csv").write_text("path,label\n" + '"a\nb",' * 200)
    with pytest.raises(DatasetError, match=r'a.csv", row 2 has more than 1,000 characters: it is not a table of clips'):
        Dataset.open(tmp_path / "a.csv")


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_large_label_file_is_refused_where_it_would_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_folder: bool
):
    audio.write(tmp_path / "dawn.wav", [0.1] * 80_000, 8000)
    (tmp_path / "dawn.txt").write_text("1\t2\twren\n" * 10)
    opened = tmp_path if in_folder else tmp_path / "dawn.txt"
    monkeypatch.setattr(annotation, "MAX_BYTES", 90)
    assert Dataset.open(opened).classes == ("wren",)
    monkeypatch.setattr(annotation, "MAX_BYTES", 89)
    with pytest.raises(DatasetError, match=r'dawn.txt" is too large: a table of annotations may have at most 0 MiB'):
        Dataset.open(opened)


def test_a_large_text_file_that_is_no_label_file_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    audio.write(tmp_path / "dawn.wav", [0.1] * 80_000, 8000)
    (tmp_path / "dawn.txt").write_text("1\t2\twren\n")
    (tmp_path / "notes.txt").write_text("Rain until six.\n" * 100)
    monkeypatch.setattr(annotation, "MAX_BYTES", 100)
    assert Dataset.open(tmp_path).classes == ("wren",)


def test_the_values_of_a_json_file_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aoef, "MAX_VALUES", 2)
    (tmp_path / "a.json").write_text('{"data": {"recordings": []}}')
    with pytest.raises(DatasetError, match='a.json", row 1: it has more than 2 values: divide it into several files'):
        Dataset.open(tmp_path / "a.json")

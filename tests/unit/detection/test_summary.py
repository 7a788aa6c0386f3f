"""Summaries of results: minutes by hour and day against values counted by hand, timezones, unknown times, figures."""

import csv
import io
import json
import os
import re
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from soundmark.detection import output_formats, summary_figure
from soundmark.detection.file_result import FileResult
from soundmark.detection.results_folder import write_files_table
from soundmark.detection.summary import spark, summarize
from soundmark.errors import SettingsError
from soundmark.models.events import Event

HOUR = 3600.0
CSV = "Start (s),End (s),Label,Confidence,File\n"


def recording(file: str, started: datetime | None, *events: tuple[str, float, float], hours: float = 2.0) -> FileResult:
    return FileResult(
        file=file,
        duration_s=hours * HOUR,
        answer=[{"label": "siren", "score": 0.9}],
        events=[Event(label=label, start_s=a, stop_s=b, confidence=0.9, peak=0.9) for label, a, b in events],
        started=started,
    )


NIGHT = recording(
    "20240612_230000.wav",
    datetime(2024, 6, 12, 23, tzinfo=UTC),
    ("siren", 0.75 * HOUR, 1.25 * HOUR),  # 15 minutes before midnight and 15 after
    ("dog", 0.0, 60.0),
)
MORNING = recording("20240613_090000.wav", datetime(2024, 6, 13, 9, tzinfo=UTC), ("dog", HOUR, HOUR + 120))


def folder_of(path: Path, *results: FileResult, form: str = "csv") -> Path:
    """Write a results folder, with the functions that ``classify`` uses."""
    path.mkdir()
    writer = output_formats.FORMATS[form]
    (path / f"results{writer.suffix}").write_bytes(b"".join(writer.write(results)))
    write_files_table(path / "files.csv", results)
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_minutes_by_hour_and_day(tmp_path, form):
    found = summarize([folder_of(tmp_path / "out", NIGHT, MORNING, form=form)])
    assert found.labels == ("siren", "dog")
    assert found.days == (date(2024, 6, 12), date(2024, 6, 13))
    expected = np.zeros((2, 24))
    expected[0, [23, 0]] = 15.0
    expected[1, 23], expected[1, 10] = 1.0, 2.0
    np.testing.assert_allclose(found.by_hour, expected)
    np.testing.assert_allclose(found.by_day, [[15.0, 15.0], [1.0, 2.0]])
    recorded = np.zeros(24)
    recorded[[23, 0, 9, 10]] = 60.0
    np.testing.assert_allclose(found.recorded_by_hour, recorded)
    np.testing.assert_allclose(found.recorded_by_day, [60.0, 180.0])


def test_a_single_file_takes_start_times_from_file_names(tmp_path):
    folder_of(tmp_path / "out", NIGHT, MORNING)
    found = summarize([tmp_path / "out" / "results.csv"])
    assert found.by_hour[0, 23] == 15.0
    assert found.recorded_by_hour is None


def test_hours_are_in_the_given_timezone(tmp_path):
    found = summarize([folder_of(tmp_path / "out", NIGHT)], timezone="Europe/Berlin")
    assert [found.by_hour[0, hour] for hour in (1, 2)] == [15.0, 15.0]
    assert found.days == (date(2024, 6, 13),)
    half = summarize([tmp_path / "out"], timezone="Asia/Kolkata")  # UTC + 5:30
    np.testing.assert_allclose(half.by_hour[0, 5], 30.0)


def test_the_repeated_hour_at_the_end_of_summer_time_counts_twice(tmp_path):
    autumn = recording("a.wav", datetime(2024, 10, 27, 0, tzinfo=UTC), ("siren", 0.0, 2 * HOUR))
    found = summarize([folder_of(tmp_path / "out", autumn)], timezone="Europe/Berlin")
    assert found.by_hour[0, 2] == 120.0
    assert found.recorded_by_hour[2] == 120.0


def test_recordings_without_a_start_time_are_skipped_and_reported(tmp_path):
    unknown = recording("street.wav", None, ("dog", 0.0, 60.0))
    found = summarize([folder_of(tmp_path / "out", NIGHT, unknown)])
    assert found.untimed == 1
    assert found.note == "1 event was skipped: the start time of its recording is unknown."
    assert summarize([tmp_path / "out"] * 2).note.startswith("1 event was skipped"), "counted once"
    with pytest.raises(SettingsError, match="the start times of the recordings in .* are unknown: name the"):
        summarize([folder_of(tmp_path / "none", unknown)])


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "Start (s),End (s),Label,Confidence,File\n", "contains no events: there is nothing to sum up"),
        ("a.csv", "path,label\nx,y\n", "it lacks the columns file, start_s, stop_s and label"),
        ("a.jsonl", '{"file": "20240612_230000.wav"', "cannot be read: the file is damaged"),
        ("a.json", '{"a": 1}', "cannot be read: the file is damaged"),
        ("a.parquet", "PAR1", "cannot be read: the file is damaged"),
        ("a.txt", "1\t2\tdog\n", "is not a results file of classify"),
        ("none.csv", None, "cannot be read: No such file"),
        ("a.csv", f"{CSV}abc,4,siren,0.9,20240612_230000.wav\n", 'event 1 .* "siren" in "2024.*" from abc s to 4 s'),
        ("a.csv", f"{CSV}0,inf,siren,0.9,20240612_230000.wav\n", "from 0 s to inf s"),
        ("a.csv", f"{CSV}0,nan,siren,0.9,20240612_230000.wav\n", "from 0 s to nan s"),
        ("a.csv", f"{CSV}9,4,siren,0.9,20240612_230000.wav\n", "from 9 s to 4 s"),
        ("a.csv", f"{CSV}0,1e15,siren,0.9,20240612_230000.wav\n", "from 0 s to 1e15 s"),
        ("a.csv", f"{CSV}0,4,siren\n", "event 1 .* is not valid"),
        ("a.csv", f"{CSV}0,4,{'x' * 200_000},0.9,a.wav\n", "cannot be read: the file is damaged"),
        ("a.jsonl", '{"file": "a", "start_s": 0, "stop_s": 4, "label": "x", "start_utc": "today"}', "to 4 s at today"),
        ("a.jsonl", '{"file": "a", "start_s": 0, "stop_s": 4, "label": "x", "start_utc": 5}', "to 4 s at 5"),
        ("a.jsonl", '{"file": 5, "start_s": 0, "stop_s": 4, "label": "x"}', "event 1 .* is not valid"),
        ("a.json", "[" * 100_000, "cannot be read: the file is damaged"),
    ],
)
def test_invalid_results_are_rejected(tmp_path, name, text, why):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=why):
        summarize([tmp_path / name])


@pytest.mark.parametrize(
    "table",
    [
        "File,Duration (s),Start (UTC)\na.wav,long,2024-06-12T00:00:00+00:00\n",
        "File,Duration (s),Start (UTC)\na.wav,60,yesterday\n",
        "File,Start (UTC)\na.wav,2024-06-12T00:00:00+00:00\n",
        "path,label\na.wav,dog\n",
    ],
)
def test_a_damaged_files_csv_is_rejected(tmp_path, table):
    folder = folder_of(tmp_path / "out", NIGHT)
    (folder / "files.csv").write_text(table)
    with pytest.raises(SettingsError, match="files.csv. cannot be read: the file is damaged"):
        summarize([folder])


def test_a_csv_saved_by_excel_is_read(tmp_path):
    text = f"\ufeff{CSV}0,60,siren,0.9,20240612_230000.wav\n".replace("\n", "\r\n")
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert summarize([tmp_path / "a.csv"]).by_hour[0, 23] == 1.0


def test_a_time_without_an_offset_is_utc(tmp_path):
    line = {"file": "a.wav", "start_s": 0, "stop_s": 60, "label": "siren", "start_utc": "2024-06-12T04:30:00"}
    (tmp_path / "a.jsonl").write_text(json.dumps(line))
    assert summarize([tmp_path / "a.jsonl"]).by_hour[0, 4] == 1.0


def test_the_newest_of_several_results_files_is_read(tmp_path):
    folder = folder_of(tmp_path / "out", NIGHT)
    (folder / "results.jsonl").write_bytes(b"".join(output_formats.FORMATS["jsonl"].write([NIGHT, MORNING])))
    os.utime(folder / "results.csv", (0, 0))
    assert summarize([folder]).by_hour[1, 10] == 2.0


def test_the_recorded_time_is_used_only_if_all_results_contain_it(tmp_path):
    folder, other = folder_of(tmp_path / "out", NIGHT), tmp_path / "other.csv"
    other.write_bytes(b"".join(output_formats.FORMATS["csv"].write([MORNING])))
    assert summarize([folder]).recorded_by_hour[23] == 60.0
    found = summarize([folder, other])
    assert found.recorded is None
    np.testing.assert_allclose(found.shares_by_hour, found.by_hour)


def test_the_busiest_hour_has_the_highest_percentage_of_the_recorded_time(tmp_path):
    without_events = [
        recording(f"2024061{day}_08", datetime(2024, 6, 10 + day, 8, tzinfo=UTC), hours=1) for day in range(4)
    ]
    morning = recording("m", datetime(2024, 6, 15, 8, tzinfo=UTC), ("siren", 0.0, 0.5 * HOUR), hours=1)
    evening = recording("e", datetime(2024, 6, 15, 20, tzinfo=UTC), ("siren", 0.0, 0.25 * HOUR), hours=1)
    found = summarize([folder_of(tmp_path / "out", *without_events, morning, evening)])
    assert (found.by_hour[0, 8], found.by_hour[0, 20]) == (30.0, 15.0)
    np.testing.assert_allclose(found.shares_by_hour[0, [8, 20]], [10.0, 25.0])  # percent, of five hours and of one
    assert np.isnan(found.shares_by_hour[0, 9])
    assert found.busiest_hour(0) == 20
    assert spark(found.shares_by_hour[0])[7:10] == "·▄·"


def test_minutes_by_day_and_hour(tmp_path):
    found = summarize([folder_of(tmp_path / "out", NIGHT, MORNING)])
    assert (found.minutes[0, 0, 23], found.minutes[0, 1, 0], found.minutes[1, 1, 10]) == (15.0, 15.0, 2.0)
    assert found.minutes.sum() == 33.0
    assert found.recorded.shape == (2, 24)
    values = json.loads(found.to_json())
    assert values["minutes_by_day_and_hour"][0][1][0] == 15.0
    assert values["recorded_minutes_by_day_and_hour"][1][9] == 60.0


def test_a_folder_without_results_is_rejected(tmp_path):
    with pytest.raises(SettingsError, match="contains no results.csv, .jsonl, .json or .parquet"):
        summarize([tmp_path])


def test_csv_and_json_contain_all_hours(tmp_path):
    found = summarize([folder_of(tmp_path / "out", NIGHT, MORNING)])
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert len(rows) == 48
    (night,) = [row for row in rows if row["label"] == "siren" and row["hour"] == "23"]
    assert (float(night["minutes"]), float(night["recorded_minutes"])) == (15.0, 60.0)
    values = json.loads(found.to_json())
    assert values["days"] == ["2024-06-12", "2024-06-13"]
    assert values["minutes_by_hour"][0][23] == 15.0


def words_of(path: Path) -> list[str]:
    """The texts in an SVG by Matplotlib, which draws letters as paths and adds each text as a comment."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


def test_the_figure_shows_percentages_of_the_recorded_time(tmp_path):
    found = summarize([folder_of(tmp_path / "out", NIGHT, MORNING)])
    summary_figure.draw(found, tmp_path / "when.svg")
    words = words_of(tmp_path / "when.svg")
    title = "12 Jun 2024 to 13 Jun 2024. Percentage of the recorded time, 4.0 h; grey: nothing recorded."
    for word in (title, "hour of the day (UTC)", "% of the recorded time", "siren: 30.0 min, 12 %", "Thu 13 Jun"):
        assert word in words, word


def test_the_figure_shows_minutes_if_the_recorded_time_is_unknown(tmp_path):
    folder_of(tmp_path / "out", NIGHT)
    summary_figure.draw(summarize([tmp_path / "out" / "results.csv"]), tmp_path / "when.svg")
    words = words_of(tmp_path / "when.svg")
    for word in ("12 Jun 2024 to 13 Jun 2024. Minutes of events; the recorded time is unknown.", "siren: 30.0 min"):
        assert word in words, word
    assert not any("%" in word for word in words)


@pytest.mark.parametrize("classes", [1, 3, 4, 25])
def test_a_figure_has_any_number_of_classes_with_any_names(tmp_path, classes):
    odd_names = ["$\\frac{$", "line\nbreak", "鳥 الطيور", "\u202eevil", "a" * 500, "", "<b>&"]
    names = [odd_names[i] if i < len(odd_names) else f"class {i}" for i in range(classes)]
    events = [(name, 60.0 * i, 60.0 * i + 50) for i, name in enumerate(names)]
    late = recording("late", datetime(2024, 9, 1, 9, tzinfo=UTC), ("siren", 0.0, 60.0))  # 80 days later
    first = recording("a.wav", datetime(2024, 6, 12, 23, tzinfo=UTC), *events)
    found = summarize([folder_of(tmp_path / "out", first, *([late] if classes > 1 else []))])
    summary_figure.draw(found, tmp_path / "when.svg")
    summary_figure.draw(found, tmp_path / "when.pdf")
    if classes == 25:
        assert any("The 20 most frequent of 26 classes." in word for word in words_of(tmp_path / "when.svg"))


def test_the_figure_includes_days_without_recordings(tmp_path):
    later = recording("b.wav", datetime(2024, 6, 16, 9, tzinfo=UTC), ("dog", 0.0, 60.0))
    found = summarize([folder_of(tmp_path / "out", NIGHT, later)])
    assert [day.day for day in found.days] == [12, 13, 16]
    summary_figure.draw(found, tmp_path / "when.svg")
    assert {"Wed 12 Jun", "Fri 14 Jun", "Sun 16 Jun"} <= set(words_of(tmp_path / "when.svg"))

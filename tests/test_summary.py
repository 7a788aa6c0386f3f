"""How much of what, when: minutes counted by hand, over midnight, summer time and what was recorded."""

import csv
import io
import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from soundmark import batch, summary, writers
from soundmark.errors import SettingsError
from soundmark.events import Event, Heard

HOUR = 3600.0


def recording(file: str, began: datetime | None, *events: tuple[str, float, float], hours: float = 2.0) -> Heard:
    return Heard(
        file=file,
        duration_s=hours * HOUR,
        answer=[{"label": "siren", "score": 0.9}],
        events=[Event(label=label, start_s=a, stop_s=b, confidence=0.9, peak=0.9) for label, a, b in events],
        began=began,
    )


NIGHT = recording(
    "20240612_230000.wav",
    datetime(2024, 6, 12, 23, tzinfo=UTC),
    ("siren", 0.75 * HOUR, 1.25 * HOUR),  # 15 minutes before midnight, 15 behind
    ("dog", 0.0, 60.0),
)
MORNING = recording("20240613_090000.wav", datetime(2024, 6, 13, 9, tzinfo=UTC), ("dog", HOUR, HOUR + 120))


def folder_of(path: Path, *heard: Heard, form: str = "csv") -> Path:
    """What a run writes, by the same functions."""
    path.mkdir()
    writer = writers.FORMATS[form]
    (path / f"results{writer.suffix}").write_bytes(b"".join(writer.write(heard)))
    header = ["File", "Duration (s)", "Start (UTC)", "Label", "Confidence", "Events", "Note"]
    batch._write_table(path / "files.csv", header, (batch._row(one) for one in heard))
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_minutes_are_as_counted_by_hand(tmp_path, form):
    found = summary.summarise([folder_of(tmp_path / "out", NIGHT, MORNING, form=form)])
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


def test_a_single_file_takes_the_time_from_the_names(tmp_path):
    folder_of(tmp_path / "out", NIGHT, MORNING)
    found = summary.summarise([tmp_path / "out" / "results.csv"])
    assert found.by_hour[0, 23] == 15.0
    assert found.recorded_by_hour is None


def test_hours_are_those_of_the_place(tmp_path):
    found = summary.summarise([folder_of(tmp_path / "out", NIGHT)], zone="Europe/Berlin")
    assert [found.by_hour[0, hour] for hour in (1, 2)] == [15.0, 15.0]
    assert found.days == (date(2024, 6, 13),)
    half = summary.summarise([tmp_path / "out"], zone="Asia/Kolkata")  # + 5:30: hours begin at half past
    np.testing.assert_allclose(half.by_hour[0, 5], 30.0)


def test_an_hour_that_comes_twice_counts_twice(tmp_path):
    autumn = recording("a.wav", datetime(2024, 10, 27, 0, tzinfo=UTC), ("siren", 0.0, 2 * HOUR))
    found = summary.summarise([folder_of(tmp_path / "out", autumn)], zone="Europe/Berlin")
    assert found.by_hour[0, 2] == 120.0
    assert found.recorded_by_hour[2] == 120.0


def test_recordings_without_a_time_are_counted_and_said(tmp_path):
    unknown = recording("street.wav", None, ("dog", 0.0, 60.0))
    found = summary.summarise([folder_of(tmp_path / "out", NIGHT, unknown)])
    assert found.untimed == 1
    with pytest.raises(SettingsError, match="nothing says when the recordings of .* were made: name them as 2024"):
        summary.summarise([folder_of(tmp_path / "none", unknown)])


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "Start (s),End (s),Label,Confidence,File\n", "holds no event: there is nothing to sum up"),
        ("a.csv", "path,label\nx,y\n", "has no file and no start_s and no stop_s and no label"),
        ("a.jsonl", '{"file": "20240612_230000.wav"', "cannot be read: they are damaged"),
        ("a.json", '{"a": 1}', "cannot be read: they are damaged"),
        ("a.parquet", "PAR1", "cannot be read: they are damaged"),
        ("a.txt", "1\t2\tdog\n", "is no results of classify"),
        ("none.csv", None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_results_is_refused(tmp_path, name, text, why):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=why):
        summary.summarise([tmp_path / name])


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="holds no results.csv, .jsonl, .json or .parquet"):
        summary.summarise([tmp_path])


def test_programs_get_all_of_it(tmp_path):
    found = summary.summarise([folder_of(tmp_path / "out", NIGHT, MORNING)])
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert len(rows) == 48
    (night,) = [row for row in rows if row["label"] == "siren" and row["hour"] == "23"]
    assert (float(night["minutes"]), float(night["recorded_minutes"])) == (15.0, 60.0)
    values = json.loads(found.to_json())
    assert values["days"] == ["2024-06-12", "2024-06-13"]
    assert values["minutes_by_hour"][0][23] == 15.0


def test_it_is_drawn_in_shares_of_what_was_recorded(tmp_path):
    found = summary.summarise([folder_of(tmp_path / "out", NIGHT, MORNING)])
    summary.figure(found, tmp_path / "when.svg")
    drawn = (tmp_path / "when.svg").read_text()
    for word in ("hour of the day (UTC)", "% of the time recorded", "siren", "13 Jun 2024"):
        assert word in drawn or "<!-- " + word in drawn, word

"""Output formats, read by other programs: csv, pandas, pyarrow, crowsetta, a parser after Audacity's manual."""

import csv
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import crowsetta
import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from soundevent import io as soundevent_io

import soundmark as sm
from soundmark import audio
from soundmark.datasets.layouts.annotations import aoef
from soundmark.datasets.layouts.annotations.annotation import LabelFile
from soundmark.detection import output_formats
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Failure
from soundmark.models.events import Event

STARTED = datetime(2024, 6, 12, 23, 59, 58, tzinfo=UTC)
ODD_NAMES = (
    '"in quotes"',
    '"one quote',
    "it's",
    "line\rback",
    "both\r\n",
    "nul\0",
    "\ufeffmark",
    'comma, "quotes"',
    "line\nbreak",
    "tab\there",
    "zażółć ☃",
    "=1+1",
    "\u202eevil",
    "",
    " ",
)


def event(label: str = "dog", start_s: float = 0.0, stop_s: float = 4.0, confidence: float = 0.123456789) -> Event:
    return Event(label=label, start_s=start_s, stop_s=stop_s, confidence=confidence, peak=0.9)


def result(file: str = "a.wav", duration_s: float = 60.0, events=(), started=None) -> FileResult:
    answer = [{"label": "dog", "score": 0.5}]
    return FileResult(file=file, duration_s=duration_s, answer=answer, events=list(events), started=started)


RESULTS = [
    result("a.wav", 60.0, [event(start_s=1.5, stop_s=5.5), event("siren", 55.0, 60.0)], STARTED),
    Failure("broken.wav", "it is empty"),
    result("b.wav", 30.25),
    result("c.wav", 10.0, [event(start_s=0.0, stop_s=2.0)]),
]


def written(form: str, results=RESULTS) -> bytes:
    return b"".join(output_formats.FORMATS[form].write(results))


def test_csv_has_a_row_per_event():
    rows = list(csv.DictReader(io.StringIO(written("csv").decode())))
    assert list(rows[0]) == ["Start (s)", "End (s)", "Label", "Confidence", "File"]
    assert [(float(row["Start (s)"]), row["Label"], row["File"]) for row in rows] == [
        (1.5, "dog", "a.wav"),
        (55.0, "siren", "a.wav"),
        (0.0, "dog", "c.wav"),
    ]
    assert pd.read_csv(io.BytesIO(written("csv")))["Confidence"].tolist() == [0.123457] * 3


@pytest.mark.parametrize("name", [*ODD_NAMES, "caf\udce9.wav"])
def test_odd_labels_and_names_are_read_back_from_csv_and_json(name):
    found = [result(name, events=[event(name)])]
    text = written("csv", found).decode(errors="surrogateescape")
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["Label"], row["File"]) == (name, name)
    (line,) = written("jsonl", found).decode().splitlines()
    assert json.loads(line)["file"] == json.loads(written("json", found))[0]["file"] == name


def test_jsonl_has_a_line_per_event_with_its_time_in_utc():
    lines = [json.loads(line) for line in written("jsonl").decode().splitlines()]
    assert [line["label"] for line in lines] == ["dog", "siren", "dog"]
    assert lines[0] == {
        "file": "a.wav",
        "start_s": 1.5,
        "stop_s": 5.5,
        "label": "dog",
        "confidence": 0.123457,
        "peak": 0.9,
        "start_utc": "2024-06-12T23:59:59.500Z",
    }
    assert lines[1]["start_utc"] == "2024-06-13T00:00:53.000Z"
    assert "start_utc" not in lines[2]


def test_json_has_an_object_per_file_including_failures():
    found = json.loads(written("json"))
    assert [one["file"] for one in found] == ["a.wav", "broken.wav", "b.wav", "c.wav"]
    assert found[1] == {"file": "broken.wav", "error": "it is empty"}
    assert found[0]["classes"] == [{"label": "dog", "score": 0.5}]
    assert found[0]["began"] == "2024-06-12T23:59:58.000Z"
    assert [len(one.get("events", ())) for one in found] == [2, 0, 0, 1]
    assert json.loads(written("json", [])) == []


READERS: dict[str, Callable] = {
    "csv": lambda data: [
        float(row["Start (s)"])
        for row in csv.DictReader(io.StringIO(data.decode(errors="surrogateescape"), newline=""))
    ],
    "jsonl": lambda data: [json.loads(line)["start_s"] for line in data.splitlines()],
    "json": lambda data: [one["start_s"] for file in json.loads(data) for one in file["events"]],
    "parquet": lambda data: parquet.read_table(io.BytesIO(data)).column("start_s").to_pylist(),
    "audacity": lambda data: [start for start, _, _ in labels_of_audacity(data.decode())],
    "raven": lambda data: pd.read_csv(io.BytesIO(data), sep="\t", encoding_errors="replace")["Begin Time (s)"].tolist(),
    "aoef": lambda data: [each["geometry"]["coordinates"][0] for each in json.loads(data)["data"]["sound_events"]],
}


@pytest.mark.parametrize("label", ["caf\udce9", "half \ud800 of one", "\udd00", *ODD_NAMES])
@pytest.mark.parametrize("form", output_formats.FORMATS)
def test_every_event_is_one_row_whatever_its_label_and_file_name(form, label):
    found = [result(label, events=[event(label, 1.5), event("dog", 7.0, 8.0)])]
    assert READERS[form](written(form, found)) == [1.5, 7.0]


def test_parquet_columns_have_types():
    table = parquet.read_table(io.BytesIO(written("parquet")))
    assert table.column("label").to_pylist() == ["dog", "siren", "dog"]
    assert table.column("start_utc").to_pylist() == [
        STARTED + timedelta(seconds=1.5),
        STARTED + timedelta(seconds=55),
        None,
    ]
    assert str(table.schema.field("start_s").type) == "double"
    assert parquet.read_table(io.BytesIO(written("parquet", []))).num_rows == 0
    (row,) = parquet.read_table(
        io.BytesIO(written("parquet", [result("\udce9.wav", events=[event("\ud800")])]))
    ).to_pylist()
    assert (row["file"], row["label"]) == ("\\udce9.wav", "\\ud800")


def test_parquet_is_yielded_in_chunks(monkeypatch):
    monkeypatch.setattr(output_formats, "PARQUET_ROWS", 3)
    found = (result(f"{i}.wav", events=[event(start_s=i)]) for i in range(10))
    chunks = list(output_formats.FORMATS["parquet"].write(found))
    assert len(chunks) == 4
    assert all(chunks)
    assert parquet.read_table(io.BytesIO(b"".join(chunks))).column("start_s").to_pylist() == list(range(10))


def test_check_raises_if_the_package_of_a_format_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match="pyarrow"):
        output_formats.FORMATS["parquet"].check()
    output_formats.FORMATS["csv"].check()


def labels_of_audacity(text: str) -> list[tuple[float, float, str]]:
    """Parse a label track: one label per line, start, end and title separated by tabs.

    A line that starts with a backslash has frequencies.
    """
    rows = [line.split("\t", 2) for line in text.split("\n") if line and not line.startswith("\\")]
    return [(float(start), float(end), title) for start, end, title in rows]


def test_an_audacity_label_has_start_end_and_title():
    found = labels_of_audacity(written("audacity", RESULTS[:1]).decode())
    assert found == [(1.5, 5.5, "dog"), (55.0, 60.0, "siren")]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_label_is_one_line_in_audacity_and_raven_tables(name):
    (row,) = labels_of_audacity(written("audacity", [result(events=[event(name)])]).decode())
    assert "\n" not in row[2]
    text = written("raven", [result(name, events=[event(name)])]).decode()
    header, line, end = text.split("\n")
    assert (header, end) == ("\t".join(output_formats.RAVEN_COLUMNS), "")
    assert len(line.split("\t")) == len(output_formats.RAVEN_COLUMNS)


def test_raven_begin_times_are_cumulative_over_files():
    table = pd.read_csv(io.BytesIO(written("raven")), sep="\t")
    assert table["Selection"].tolist() == [1, 2, 3]
    assert table["Begin Time (s)"].tolist() == [1.5, 55.0, 90.25]
    assert table["End Time (s)"].tolist() == [5.5, 60.0, 92.25]
    assert table["File Offset (s)"].tolist() == [1.5, 55.0, 0.0]
    assert table["Begin Path"].tolist() == ["a.wav", "a.wav", "c.wav"]
    assert (table["High Freq (Hz)"] > table["Low Freq (Hz)"]).all()


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # crowsetta uses a deprecated argument of pandas
def test_crowsetta_reads_the_selection_table(tmp_path):
    (tmp_path / "all.selections.txt").write_bytes(written("raven"))
    annotation = crowsetta.formats.bbox.Raven.from_file(tmp_path / "all.selections.txt", annot_col="Species")
    boxes = annotation.to_bbox()
    assert [(box.onset, box.offset, box.label) for box in boxes] == [
        (1.5, 5.5, "dog"),
        (55.0, 60.0, "siren"),
        (90.25, 92.25, "dog"),
    ]


@pytest.mark.parametrize("form", output_formats.FORMATS)
def test_every_format_yields_bytes_also_without_results(form):
    assert isinstance(b"".join(output_formats.FORMATS[form].write(iter([]))), bytes)
    assert all(isinstance(part, bytes) for part in output_formats.FORMATS[form].write(iter(RESULTS)))


def test_csv_and_json_have_the_levels_of_events():
    loud = Event(label="dog", start_s=0.0, stop_s=4.0, confidence=0.5, peak=0.5, level_dbfs=-20.126, level_dba=71.5)
    rows = list(csv.DictReader(io.StringIO(written("csv", [result(events=[loud])]).decode())))
    assert (rows[0]["Level (dBFS)"], rows[0]["Level (dB(A))"]) == ("-20.13", "71.5")
    assert json.loads(written("jsonl", [result(events=[loud])]))["level_dba"] == 71.5
    assert "level_dba" not in json.loads(written("jsonl", [result(events=[event()])]))


@pytest.fixture
def recordings(tmp_path) -> list[FileResult]:
    """Results of two real files, one of a file that is gone, and a failure."""
    for name, rate_hz in (("a.wav", 22_050), ("b.wav", 48_000)):
        audio.write(tmp_path / name, np.zeros((rate_hz // 10, 1)), rate_hz)
    names = [str(tmp_path / name) for name in ("a.wav", "b.wav", "gone.wav")]
    levels = Event(label="dog", start_s=7.0, stop_s=9.0, confidence=0.5, peak=0.6, level_dbfs=-12.345)
    return [
        result(names[0], 60.0, [event(start_s=1.5, stop_s=5.5), event("siren; ärger", 55.0, 60.0), levels], STARTED),
        result(names[1], 30.25),
        result(names[2], 10.0, [event()]),
        Failure("broken.wav", "it is empty"),
    ]


def test_soundevent_reads_aoef(recordings, tmp_path):
    (tmp_path / "results.json").write_bytes(written("aoef", recordings))
    project = soundevent_io.load(tmp_path / "results.json", type="annotation_project")
    found = {
        clip.clip.recording.path.name: [
            (each.sound_event.geometry.coordinates, each.tags[0].value, each.sound_event.features[0].value)
            for each in clip.sound_events
        ]
        for clip in project.clip_annotations
    }
    assert found == {
        "a.wav": [
            ([1.5, 5.5], "dog", 0.123457),
            ([55.0, 60.0], "siren; ärger", 0.123457),
            ([7.0, 9.0], "dog", 0.5),
        ],
        "b.wav": [],
        "gone.wav": [([0.0, 4.0], "dog", 0.123457)],
    }
    first = project.clip_annotations[0].clip
    assert (first.start_time, first.end_time, first.recording.samplerate, first.recording.channels) == (
        0,
        60,
        22_050,
        1,
    )
    assert (str(first.recording.date), str(first.recording.time)) == ("2024-06-12", "23:59:58")
    assert len(project.tasks) == 3
    assert {tag.value for tag in project.annotation_tags} == {"dog", "siren; ärger"}
    assert project.clip_annotations[2].clip.recording.samplerate == 0  # unknown


def test_whombat_finds_the_recordings_of_an_aoef_project_in_its_data_set(recordings, tmp_path):
    companion = output_formats.FORMATS["aoef"].companion
    (tmp_path / "dataset.json").write_bytes(b"".join(companion.write(recordings)))
    dataset = soundevent_io.load(tmp_path / "dataset.json", type="dataset")
    project = json.loads(written("aoef", recordings))["data"]
    assert {str(each.uuid) for each in dataset.recordings} == {each["uuid"] for each in project["recordings"]}
    assert {each["recording"] for each in project["sound_events"]} <= {str(each.uuid) for each in dataset.recordings}
    assert [each.path.name for each in dataset.recordings] == ["a.wav", "b.wav", "gone.wav"]


def test_aoef_is_the_same_every_time_and_identifiers_are_unique(recordings):
    assert written("aoef", recordings) == written("aoef", recordings)
    project = json.loads(written("aoef", recordings))["data"]
    other = json.loads(written("aoef", recordings[:1]))["data"]
    assert project["uuid"] != other["uuid"]
    lists = ("recordings", "clips", "sound_events", "sound_event_annotations", "clip_annotations", "tasks")
    identifiers = [each["uuid"] for name in lists for each in project[name]]
    assert len(set(identifiers)) == len(identifiers)


def test_soundmark_trains_from_aoef(recordings, tmp_path):
    (tmp_path / "results.json").write_bytes(written("aoef", recordings))
    found = aoef.read(LabelFile(tmp_path / "results.json", (tmp_path / "results.json").read_text()))
    assert [(each.labels, each.start_s, each.stop_s) for each in found][:1] == [(("dog",), 1.5, 5.5)]
    assert len(found) == 4


def test_long_aoef_lists_are_kept_in_temporary_files(monkeypatch):
    monkeypatch.setattr(output_formats, "SPOOLED_BYTES", 100)
    many = [result(f"{i}.wav", events=[event(start_s=float(i))]) for i in range(30)]
    assert READERS["aoef"](written("aoef", many)) == list(range(30))


def test_a_results_folder_in_aoef_has_the_data_set_too(recordings, tone_detector, tmp_path):
    folder = tmp_path / "results"
    sm.analyze([tmp_path / "a.wav"], tone_detector, folder, format="aoef", quiet=True)
    assert sorted(path.name for path in folder.glob("results*")) == ["results.aoef.json", "results.dataset.aoef.json"]
    sm.analyze([tmp_path / "a.wav"], tone_detector, folder, format="csv", quiet=True)
    assert [path.name for path in folder.glob("results*")] == ["results.csv"]

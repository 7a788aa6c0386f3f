"""Annotated recordings: the same annotations in every format give the same data set; wrong ones give one message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.datasets import Dataset
from soundmark.datasets.layouts.annotations import columns as column_tables
from soundmark.datasets.layouts.annotations.annotation import LabelFile
from soundmark.errors import DatasetError

RATE_HZ = 8000

DURATION_S = 30.0

# recording, start, stop, label
EVENTS = [
    ("dawn.wav", 1.0, 2.5, "wren"),
    ("dawn.wav", 4.25, 5.0, "robin"),
    ("dawn.wav", 20.0, 29.5, "wren"),
    ("night/owls.wav", 0.0, 3.125, "owl"),
    ("night/owls.wav", 10.0, 12.0, "robin"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings of 30 s, one in a sub-folder."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(DURATION_S * RATE_HZ))
    for name in ("dawn.wav", "night/owls.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        audio.write(tmp_path / name, noise, RATE_HZ)
    return tmp_path


def by_recording() -> dict[str, list[tuple[float, float, str]]]:
    found: dict[str, list[tuple[float, float, str]]] = {}
    for name, start_s, stop_s, label in EVENTS:
        found.setdefault(name, []).append((start_s, stop_s, label))
    return found


def raven_beside(folder: Path) -> Path:
    for name, events in by_recording().items():
        lines = ["Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies"]
        for n, (start_s, stop_s, label) in enumerate(events, 1):
            for view in ("Waveform 1", "Spectrogram 1"):
                lines.append(f"{n}\t{view}\t1\t{start_s}\t{stop_s}\t100\t2000\t{label}")
        path = folder / name
        path.with_name(f"{path.stem}.Table.1.selections.txt").write_text("\r\n".join(lines), encoding="utf-16")
    return folder


def raven_table(folder: Path) -> Path:
    """One table for both recordings: times in the sequence of both, and the offset in the file."""
    lines = ["Selection\tView\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tAnnotation"]
    before = {"dawn.wav": 0.0, "night/owls.wav": DURATION_S}
    for n, (name, start_s, stop_s, label) in enumerate(EVENTS, 1):
        times = f"{before[name] + start_s}\t{before[name] + stop_s}".replace(".", ",")
        lines.append(f"{n}\tSpectrogram 1\t{times}\t{Path(name).name}\t{start_s}\t{label}")
    (folder / "selections.txt").write_text("\n".join(lines))
    return folder / "selections.txt"


def audacity(folder: Path) -> Path:
    for name, events in by_recording().items():
        lines = [f"{start_s:.6f}\t{stop_s:.6f}\t{label}\n\\\t100.0\t2000.0" for start_s, stop_s, label in events]
        (folder / name).with_suffix(".txt").write_text("\n".join([*lines, "7.0\t7.0\ta mark", ""]))
    return folder


def dcase(folder: Path) -> Path:
    lines = [f"{Path(name).name}\t{start_s}\t{stop_s}\t{label}" for name, start_s, stop_s, label in EVENTS]
    (folder / "events.tsv").write_text("\n".join(["filename\tonset\toffset\tevent_label", *lines]))
    return folder / "events.tsv"


def dcase_without_header(folder: Path) -> Path:
    (folder / "events.txt").write_text(dcase(folder).read_text().split("\n", 1)[1])
    (folder / "events.tsv").unlink()
    return folder / "events.txt"


def columns(header: str, delimiter: str = ",") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        rows = [delimiter.join(map(str, event)) for event in EVENTS]
        (folder / "table.csv").write_text("\n".join([header, *rows]), encoding="utf-8-sig")
        return folder / "table.csv"

    return write


def audiofolder(folder: Path) -> Path:
    rows = [
        {"file_name": name, "start_time": start, "end_time": stop, "category": label}
        for name, start, stop, label in EVENTS
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def whombat(folder: Path) -> Path:
    names = list(by_recording())
    labels = sorted({label for *_, label in EVENTS})
    geometry = [
        {"type": "BoundingBox", "coordinates": [start, 100.0, stop, 2000.0]}
        if n % 2
        else {"type": "TimeInterval", "coordinates": [start, stop]}
        for n, (_, start, stop, _) in enumerate(EVENTS)
    ]
    tags = [{"id": n, "key": "species", "value": label} for n, label in enumerate(labels)]
    data = {
        "collection_type": "annotation_project",
        "recordings": [{"uuid": f"r{n}", "path": name, "duration": DURATION_S} for n, name in enumerate(names)],
        "tags": [*tags, {"id": 99, "key": "quality", "value": "good"}],
        "sound_events": [
            {"uuid": f"s{n}", "recording": f"r{names.index(event[0])}", "geometry": geometry[n]}
            for n, event in enumerate(EVENTS)
        ],
        "sound_event_annotations": [
            {"uuid": f"e{n}", "sound_event": f"s{n}", "tags": [labels.index(event[3]), *[99] * (n == 0)]}
            for n, event in enumerate(EVENTS)
        ],
    }
    (folder / "project.json").write_text(json.dumps({"version": "1.1.0", "created_on": "2026-01-01", "data": data}))
    return folder


def one_hot(folder: Path) -> Path:
    """Clip labels as OpenSoundscape writes them, with the row numbers of pandas, in folders of another machine."""
    labels = sorted({label for *_, label in EVENTS})
    lines = [",".join(["", "file", "start_time", "end_time", *labels])]
    for n, (name, start_s, stop_s, label) in enumerate(EVENTS):
        cells = ["1.0" if each == label else "0.0" for each in labels]
        lines.append(",".join([str(n), f"/home/me/{name}", str(start_s), str(stop_s), *cells]))
    (folder / "clip_labels.csv").write_text("\n".join([*lines, ""]))
    return folder / "clip_labels.csv"


FORMATS = {
    "raven beside": raven_beside,
    "raven table": raven_table,
    "audacity": audacity,
    "dcase": dcase,
    "dcase without header": dcase_without_header,
    "usual columns": columns("File_Name,Start_Time,End_Time,Category"),
    "semicolons": columns("filename;onset;offset;species", ";"),
    "bird names": columns("filepath,start (s),end (s),common name"),
    "path and class": columns("path,start,end,class"),
    "audiofolder": audiofolder,
    "whombat": whombat,
    "one-hot": one_hot,
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_gives_the_same_data_set(folder: Path, name: str) -> None:
    data = Dataset.open(FORMATS[name](folder))
    assert data.classes == ("owl", "robin", "wren")
    assert [(data.relative_path(clip), clip.start_s, clip.stop_s, clip.label) for clip in data] == EVENTS
    assert data.sources.tolist() == [event[0] for event in EVENTS]
    assert data.sources_known
    assert not data.multi_label
    assert data.skipped == ()


@pytest.mark.parametrize("name", ["raven table", "dcase", "usual columns", "one-hot"])
def test_the_folder_of_a_table_is_the_same_data_set(folder: Path, name: str) -> None:
    table = FORMATS[name](folder)
    assert Dataset.open(folder).clips == Dataset.open(table).clips


def test_completely_annotated_recordings_have_background(folder: Path) -> None:
    data = Dataset.open(audacity(folder), complete=True)
    background = [clip for clip in data if clip.label == "background"]
    assert data.classes == ("owl", "robin", "wren", "background")
    assert 1 <= len(background) <= len(EVENTS)
    for clip in background:
        assert clip.stop_s is not None
        assert 0 <= clip.start_s < clip.stop_s <= DURATION_S
        assert clip.source == data.relative_path(clip)
        taken = [(start, stop) for name, start, stop, _ in EVENTS if name == clip.source]
        assert all(clip.stop_s <= start or clip.start_s >= stop for start, stop in taken)
    assert Dataset.open(folder, complete=True).clips == data.clips, "the same each time"
    assert all(clip.label != "background" for clip in Dataset.open(folder)), "not without complete"


def test_a_recording_without_annotations_is_background_only_where_label_files_are_beside_sounds(folder: Path) -> None:
    audacity(folder)
    (folder / "dawn.txt").unlink()
    data = Dataset.open(folder, complete=True)
    assert {data.relative_path(clip) for clip in data if clip.label == "background"} >= {"dawn.wav"}


def test_several_labels_of_one_section_make_the_data_multi_label(folder: Path) -> None:
    (folder / "t.csv").write_text(
        "filename,onset,offset,event_label\ndawn.wav,1,2,wren\ndawn.wav,1,2,robin\ndawn.wav,3,4,owl\n"
    )
    data = Dataset.open(folder / "t.csv")
    assert data.multi_label
    assert [clip.label for clip in data] == ["robin;wren", "owl"]


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("True", "False"), ("1.0", "")])
def test_one_hot_rows_without_a_class_are_negative_examples(folder: Path, yes: str, no: str) -> None:
    header = "file,start_time,end_time,Wren,Robin\n"
    rows = [("0,5", yes, no), ("5,10", no, no), ("10,15", no, yes)]
    (folder / "t.csv").write_text(header + "".join(f"dawn.wav,{times},{a},{b}\n" for times, a, b in rows))
    data = Dataset.open(folder / "t.csv")
    assert data.classes == ("Robin", "Wren", "background")
    assert [clip.label for clip in data] == ["Wren", "background", "Robin"]

    with (folder / "t.csv").open("a") as file:
        file.write(f"dawn.wav,15,20,{yes},{yes}\n")
    data = Dataset.open(folder)
    assert data.multi_label
    assert data.classes == ("Robin", "Wren")
    assert [clip.label for clip in data] == ["Wren", "", "Robin", "Robin;Wren"]


def test_tables_of_scores_are_no_labels(folder: Path) -> None:
    (folder / "scores.csv").write_text("file,start_time,end_time,wren,robin\ndawn.wav,0,5,0.7,0.1\n")
    with pytest.raises(DatasetError, match='has no column "path"'):
        Dataset.open(folder / "scores.csv")


def test_fsd50k_and_birdclef_tables_find_their_sounds(folder: Path) -> None:
    (folder / "dev.csv").write_text('fname,labels,mids,split\ndawn,"Bird,Wind","/m/1,/m/2",train\nowls,Owl,/m/3,val\n')
    data = Dataset.open(folder / "dev.csv")
    assert [(clip.path.name, clip.label, clip.fold) for clip in data] == [
        ("dawn.wav", "Bird;Wind", 1),
        ("owls.wav", "Owl", 2),
    ]
    (folder / "train.csv").write_text(
        "primary_label,secondary_labels,filename,rating\nwren1,[],dawn.wav,4.5\nowl2,\"['wren1']\",night/owls.wav,3\n"
    )
    assert [clip.label for clip in Dataset.open(folder / "train.csv")] == ["wren1", "owl2;wren1"]


def test_audioset_segments_are_whole_files_with_the_names_of_their_classes(folder: Path) -> None:
    (folder / "dawn.wav").rename(folder / "Y--abc.wav")
    (folder / "night" / "owls.wav").rename(folder / "de_f_30000.wav")
    (folder / "eval_segments.csv").write_text(
        "# Segments csv created\n# num_ytids=2\n# YTID, start_seconds, end_seconds, positive_labels\n"
        '--abc, 30.000, 40.000, "/m/09x0r,/m/1"\nde_f, 0.000, 10.000, "/m/1"\nmissing, 0.000, 10.000, "/m/1"\n'
    )
    (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n0,/m/09x0r,Speech\n")
    data = Dataset.open(folder / "eval_segments.csv")
    assert [(clip.path.name, clip.label, clip.stop_s) for clip in data] == [
        ("Y--abc.wav", "/m/1;Speech", None), ("de_f_30000.wav", "/m/1", None),
    ]  # fmt: skip
    assert [item.path for item in data.skipped] == ["missing"]


def test_audiofolder_with_split_folders_has_folds_and_no_class_train(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        audio.write(tmp_path / split / f"{split}1.wav", np.full(8000, 0.1), RATE_HZ)
        (tmp_path / split / "metadata.csv").write_text(f"file_name,label\n{split}1.wav,wren\n")
    data = Dataset.open(tmp_path)
    assert [(clip.path.name, clip.label, clip.fold) for clip in data] == [
        ("test1.wav", "wren", 3),
        ("train1.wav", "wren", 1),
    ]


def test_class_folders_with_notes_remain_class_folders(tmp_path: Path) -> None:
    for label in ("dog", "cat"):
        (tmp_path / label).mkdir()
        audio.write(tmp_path / label / "a.wav", np.full(8000, 0.1), RATE_HZ)
        (tmp_path / label / "a.txt").write_text("a note")
    (tmp_path / "files.csv").write_text("filename,category\na.wav,dog\n")
    assert Dataset.open(tmp_path).classes == ("cat", "dog")


AOEF = json.dumps(
    {
        "data": {
            "recordings": [{"uuid": "r", "path": "dawn.wav"}],
            "tags": [{"id": 0, "key": "species", "value": "wren"}],
            "sound_events": [
                {"uuid": "e", "recording": "r", "geometry": {"type": "BoundingBox", "coordinates": [0, 1, 2, 3]}}
            ],
            "sound_event_annotations": [{"sound_event": "e", "tags": [0]}],
        }
    }
)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("filename,onset,offset,event_label\ndawn.wav,2,1,wren\n", "row 2: the section ends at 1 s, before its start"),
        ("filename,onset,offset,event_label\ndawn.wav,nan,1,wren\n", 'row 2: start="nan" must be a number of seconds'),
        ("filename,onset,offset,event_label\ndawn.wav,-1,1,wren\n", 'row 2: start="-1" must be a number of seconds'),
        ("filename,onset,offset,event_label\ndawn.wav,1,two,wren\n", 'row 2: end="two" must be a number of seconds'),
        ("filename,onset,offset,event_label\nx.wav,1,2,wren\n", r'the sound file does not exist \("x.wav"\)'),
        ("filename,onset,offset,event_label\ndawn.wav,40,41,wren\n", "it starts at 40 s, after the end of the file"),
        ("filename,onset,offset,event_label\ndawn.wav,1,2,wren,more\n", "row 2: it has 5 cells"),
        ("filename,onset,offset,event_label\n", "contains no annotations"),
        ("file,wren\n" + "dawn.wav,1\n" * 20 + "dawn.wav,0.5\n", 'row 22: the column "wren" contains "0.5"; expected'),
        ("file,wren,Wren\ndawn.wav,1,0\n", 'row 1: two columns are called "wren", apart from upper and lower case'),
    ],
)  # fmt: skip
def test_invalid_annotations_are_one_message(folder: Path, table: str, message: str) -> None:
    (folder / "t.csv").write_text(table)
    with pytest.raises(DatasetError, match=message) as caught:
        Dataset.open(folder / "t.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.txt", "View\tBegin Time (s)\tEnd Time (s)\tSpecies\nWave\t0\t1\twren\nW", 'row 3: start="" must be'),
        ("deep.json", '{"data": {"recordings": ' + "[" * 100_000 + "]" * 100_000 + "}}", "nested too deeply"),
        ("deep.jsonl", '{"file": "dawn.wav", "label": "wren"}\n' + "[" * 100_000, "row 2: it is not JSON .*too deeply"),
        ("box.json", AOEF.replace("[0, 1, 2, 3]", "[0, 1]"), "not a valid file of Whombat"),
        ("s.csv", '# YTID\ndawn,1,2,"wren,a;b"\n', 's.csv": the class "a;b" contains a semicolon'),
    ],
)  # fmt: skip
def test_damaged_label_files_are_one_message(folder: Path, name: str, content: str, message: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(DatasetError, match=message) as caught:
        Dataset.open(folder / name)
    assert "\n" not in str(caught.value)


def test_annotations_that_do_not_fit_are_skipped_with_the_reason(folder: Path) -> None:
    (folder / "t.csv").write_text(
        "filename,onset,offset,event_label\ndawn.wav,29,30.04,wren\ndawn.wav,29,31,wren\nx.wav,1,2,owl\n"
    )
    data = Dataset.open(folder / "t.csv")
    assert [clip.stop_s for clip in data] == [DURATION_S], "rounded times end with the file"
    assert [item.reason for item in data.skipped] == [
        '"t.csv", row 3: it ends at 31 s, after the end of the file at 30.000 s',
        '"t.csv", row 4: the sound file does not exist',
    ]


def test_a_folder_with_several_tables_is_refused_and_they_are_named(folder: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("filename,onset,offset,event_label\ndawn.wav,1,2,wren\n")
    with pytest.raises(DatasetError, match='several tables of annotations: "a.csv" and "b.csv"'):
        Dataset.open(folder)


def test_paths_of_windows_and_other_cases_are_found(folder: Path) -> None:
    (folder / "t.csv").write_text("Filename,Onset,Offset,Event_Label\nnight\\OWLS.WAV,1,2,owl\n")
    assert [clip.path.name for clip in Dataset.open(folder / "t.csv")] == ["owls.wav"]


@pytest.mark.parametrize("row", ['dawn.wav,"1,234","2,5",wren', 'dawn.wav,0,"1,234",wren'])
def test_a_comma_that_may_separate_thousands_is_refused(row):
    text = LabelFile(Path("events.csv"), f"filename,onset,offset,event_label\n{row}\n")
    with pytest.raises(
        DatasetError, match='row 2: the time "1,234" is ambiguous: write 1.234 for a decimal comma, or 1234'
    ):
        list(column_tables.read(text))


@pytest.mark.parametrize(("delimiter", "time"), [(";", "1,234"), ("\t", "1,234"), (",", '"1,5"')])
def test_other_decimal_commas_are_accepted(delimiter, time):
    rows = (("filename", "onset", "offset", "event_label"), ("dawn.wav", "0", time, "wren"))
    text = LabelFile(Path("events.csv"), "".join(f"{delimiter.join(row)}\n" for row in rows))
    (found,) = column_tables.read(text)
    assert found.stop_s == float(time.strip('"').replace(",", "."))

"""What ``inspect`` finds: each fault made on purpose, on both sides of its edge, and none where there is none."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark.datasets import Clip, Dataset, Skipped, inspection, inspection_figure
from soundmark.datasets.inspection import Encoding, Inspection, SharedRecording, inspect, recordings_in_folds
from soundmark.datasets.inspection_tables import to_sections
from soundmark.errors import OutputError, SettingsError

RATE_HZ = 8000


def sound(seed: int, seconds: float = 0.5) -> np.ndarray:
    """Noise that never reaches full scale."""
    return 0.5 * np.random.default_rng(seed).uniform(-1, 1, round(seconds * RATE_HZ))


def write(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return path


def one(path: Path, **fields: object) -> Dataset:
    """A data set of a single clip."""
    clip = Clip(path=path, label="dog", **fields)  # type: ignore[arg-type]
    return Dataset(name="pets", root=path.parent, classes=("dog",), clips=(clip,))


def look(dataset: Dataset) -> Inspection:
    return inspect(dataset, jobs=1)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes and two folds of sounds with nothing wrong."""
    for seed, name in enumerate(["dog/fold1/a.wav", "dog/fold2/b.wav", "cat/fold1/c.wav"]):
        write(tmp_path / name, sound(seed, 0.25 * (seed + 1)))
    return tmp_path


# --- What is there ----------------------------------------------------------------------------------------------------


def test_counts_durations_and_encodings(pets: Path):
    write(pets / "cat" / "fold2" / "d.flac", np.stack([sound(8), sound(9)], axis=1), 44100, "PCM_24")
    found = look(Dataset.open(pets))
    assert found.classes == ("cat", "dog")
    assert found.folds == (1, 2)
    assert found.counts.tolist() == [[1, 1], [1, 1]]
    np.testing.assert_allclose(found.durations_s, [0.75, 4000 / 44100, 0.25, 0.5])
    assert found.encodings == (Encoding("WAV", "PCM_16", 8000, 1, 3), Encoding("FLAC", "PCM_24", 44100, 2, 1))
    assert [str(encoding) for encoding in found.encodings] == [
        "WAV PCM_16, 8 kHz, mono",
        "FLAC PCM_24, 44.1 kHz, stereo",
    ]


def test_a_clip_of_several_classes_counts_in_each_and_once_in_all(pets: Path):
    (pets / "t.csv").write_text(
        "path,label,fold,source\ndog/fold1/a.wav,dog;siren,1,r\ndog/fold2/b.wav,siren;dog,2,r\ncat/fold1/c.wav,,1,s\n"
    )
    data = Dataset.open(pets / "t.csv")
    found = look(data)
    assert found.counts.tolist() == [[1, 1], [1, 1]]
    counts = next(section for section in to_sections(found) if section.title == "Clips per class and fold")
    assert counts.text == "A clip with several labels counts in each of its classes, and once in all."
    assert counts.rows == (
        ("dog", "1", "1", "2"),
        ("siren", "1", "1", "2"),
        ("none of these", "1", "0", "1"),
        ("all", "2", "1", "3"),
    )
    assert recordings_in_folds(data) == (SharedRecording("r", (1, 2), ("dog;siren", "dog;siren")),)
    assert recordings_in_folds(data, same_class=True) == (
        SharedRecording("r", (1, 2), ("dog", "dog")),
        SharedRecording("r", (1, 2), ("siren", "siren")),
    )


def test_where_nothing_is_wrong_it_says_so(pets: Path):
    found = look(Dataset.open(pets))
    assert set(found.faults.values()) == {0}
    told = to_sections(found)
    assert [section.title for section in told] == [
        "Data set",
        "Clips per class and fold",
        "Durations",
        "Encodings",
        "Faults",
    ]
    assert told[0].text == f'{pets.name}, 3 of 3 clips (100 %), 2 classes, in "{pets}"'
    assert told[1].columns == ("class", "fold 1", "fold 2", "all")
    assert told[1].rows == (("cat", "1", "0", "1"), ("dog", "1", "1", "2"), ("all", "2", "1", "3"))
    assert told[2].text == "0.250 s to 0.750 s, median 0.500 s; 1.5 s in all"
    assert told[3].rows == (("WAV PCM_16, 8 kHz, mono", "3"),)
    assert told[4].text == "none found: every clip can be read, is whole, sounds, and stands there once"


def test_clips_without_a_fold_have_a_column(pets: Path):
    write(pets / "dog" / "loose.wav", sound(7))
    found = look(Dataset.open(pets))
    assert found.folds == (1, 2, None)
    assert found.counts.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert to_sections(found)[1].columns == ("class", "fold 1", "fold 2", "no fold", "all")


def test_slices_are_measured_not_their_files(tmp_path: Path):
    path = write(tmp_path / "long.wav", np.concatenate([np.zeros(RATE_HZ), sound(1, 1.0)]))
    assert look(one(path, start_s=0.25, stop_s=0.75)).durations_s.tolist() == [0.5]
    assert len(look(one(path, stop_s=1.0)).silent) == 1
    assert look(one(path, start_s=1.0)).silent == ()


def test_progress_is_told(pets: Path):
    told: list[tuple[str, int, int, str]] = []
    inspect(Dataset.open(pets), progress=lambda *step: told.append(step), jobs=1)
    assert told == [("inspecting", 0, 3, "clips"), ("inspecting", 3, 3, "clips")]


def test_many_processes_find_the_same(pets: Path):
    lengths_s = [0.75, 0.25, 0.5]
    for i in range(2 * inspection.CHUNK):
        lengths_s.append(0.05 + 0.01 * (i % 40))
        write(pets / "dog" / "fold2" / f"{i}.wav", sound(i % 40, lengths_s[-1]))
    alone, together = inspect(Dataset.open(pets), jobs=1), inspect(Dataset.open(pets), jobs=2)
    order = [0, 1, *range(3, len(lengths_s)), 2]  # fold2 holds 0.wav, 1.wav, … and then b.wav
    np.testing.assert_allclose(alone.durations_s, np.array(lengths_s)[order])
    np.testing.assert_array_equal(together.durations_s, alone.durations_s)
    assert alone.duplicates == together.duplicates
    assert len(alone.duplicates) == 2 * inspection.CHUNK - 40
    assert alone.encodings == together.encodings


def test_no_clips_are_no_error():
    found = look(Dataset(name="none", root=Path(), classes=("dog",), clips=()))
    assert to_sections(found)[2].text == "no clip could be read"


# --- What is wrong ----------------------------------------------------------------------------------------------------


def test_unreadable_files_are_named_with_the_reason(pets: Path):
    (pets / "dog" / "fold1" / "bad.wav").write_text("this is no sound")
    (pets / "dog" / "fold1" / "empty.wav").touch()
    found = look(Dataset.open(pets))
    assert [skipped.path for skipped in found.unreadable] == ["dog/fold1/bad.wav", "dog/fold1/empty.wav"]
    assert "it begins with the text 'this is no sound'" in found.unreadable[0].reason
    assert "it is empty" in found.unreadable[1].reason
    assert np.isnan(found.durations_s).sum() == 2
    assert found.counts.sum() == 5
    assert sum(encoding.clips for encoding in found.encodings) == 3
    assert to_sections(found)[4].text == "2 unreadable clips"
    assert to_sections(found)[5].rows[0][0] == "dog/fold1/bad.wav"


@pytest.mark.parametrize(
    ("peak", "detail"),
    [(0.0, "nothing but zeros"), (0.99e-4, "peak -80 dB"), (1e-6, "peak -120 dB"), (1.01e-4, None), (0.5, None)],
)
def test_silence_is_below_80_db(tmp_path: Path, peak: float, detail: str | None):
    samples = np.zeros(800)
    samples[400] = -peak
    found = look(one(write(tmp_path / "a.wav", samples, subtype="FLOAT"))).silent
    assert [finding.detail for finding in found] == ([] if detail is None else [detail])


FULL_16, FULL_8 = 32767 / 32768, 127 / 128


@pytest.mark.parametrize(
    ("samples", "subtype", "peaks"),
    [
        ([FULL_16] * 3, "PCM_16", 1),
        ([-1.0] * 3, "PCM_16", 1),
        ([FULL_16] * 2, "PCM_16", 0),
        ([FULL_16, FULL_16, 0, FULL_16], "PCM_16", 0),
        ([FULL_16] * 3 + [0.0] + [-1.0] * 9, "PCM_16", 2),
        ([32766 / 32768] * 9, "PCM_16", 0),
        ([FULL_16] * 3, "PCM_24", 1),
        ([FULL_8] * 3, "PCM_U8", 1),
        ([126 / 128] * 9, "PCM_U8", 0),
        ([FULL_8] * 9, "PCM_16", 0),
        ([1.5] * 3, "FLOAT", 1),
    ],
)
def test_clipping_is_three_samples_at_full_scale(tmp_path: Path, samples: Sequence[float], subtype: str, peaks: int):
    mono = np.concatenate([sound(1, 0.1), samples, sound(2, 0.1)])
    stereo = np.stack([np.zeros_like(mono), mono], axis=1)
    for number, some in enumerate(
        [mono, stereo, np.concatenate([samples, sound(3)]), np.concatenate([sound(4), samples])]
    ):
        found = look(one(write(tmp_path / f"{number}.wav", some, subtype=subtype))).clipped
        assert [finding.detail for finding in found] == ([f"peaks cut off: {peaks}"] if peaks else [])


def test_clipping_is_looked_for_in_the_slice(tmp_path: Path):
    samples = np.stack([sound(1, 1.0), sound(2, 1.0)], axis=1)
    samples[6000:6010, 0] = 1.0
    path = write(tmp_path / "a.wav", samples)
    assert look(one(path, stop_s=0.5)).clipped == ()
    assert len(look(one(path, start_s=0.5)).clipped) == 1


@pytest.mark.parametrize(("seconds", "cut"), [(1.0, False), (0.951, False), (0.949, True), (1.5, False)])
def test_a_clip_shorter_than_its_table_says_is_truncated(tmp_path: Path, seconds: float, cut: bool):
    found = look(one(write(tmp_path / "a.wav", sound(1, seconds)), expected_s=1.0)).truncated
    assert [finding.detail for finding in found] == (
        ["lasts 0.949 s of the 1.000 s that the table says"] if cut else []
    )


def test_a_file_shorter_than_its_header_says_is_truncated(pets: Path):
    path = pets / "cat" / "fold1" / "c.wav"
    path.write_bytes(path.read_bytes()[:-2000])
    (finding,) = look(Dataset.open(pets)).truncated
    assert (finding.path, finding.label, finding.fold) == ("cat/fold1/c.wav", "cat", 1)
    assert finding.detail.startswith("is cut off: 10000 of the 12000 bytes")


def test_a_stereo_file_that_was_cut_off_is_heard_as_far_as_it_goes(tmp_path: Path):
    path = write(tmp_path / "a.flac", np.stack([sound(1, 4.0), sound(2, 4.0)], axis=1))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = look(one(path))
    assert len(found.truncated) + len(found.unreadable) == 1


def test_identical_clips_are_found_in_other_files_and_encodings(pets: Path):
    shutil.copy(pets / "dog" / "fold1" / "a.wav", pets / "cat" / "fold2.wav")
    samples, _ = soundfile.read(pets / "dog" / "fold2" / "b.wav")
    write(pets / "dog" / "fold1" / "b again.flac", samples)
    write(pets / "dog" / "fold1" / "b faster.wav", samples, 2 * RATE_HZ)
    copied, encoded = look(Dataset.open(pets)).duplicates
    assert copied.paths == ("cat/fold2.wav", "dog/fold1/a.wav")
    assert (copied.same_files, copied.across) == (True, "classes and folds")
    assert encoded.paths == ("dog/fold1/b again.flac", "dog/fold2/b.wav")
    assert (encoded.same_files, encoded.across, encoded.labels) == (False, "folds", ("dog", "dog"))


def test_an_absurd_sample_is_unreadable(tmp_path: Path):
    path = write(tmp_path / "dog" / "loud.wav", np.array([0.0, 1e13, 0.1]), subtype="FLOAT")
    (told,) = look(Dataset.open(tmp_path)).unreadable
    assert told.path == "dog/loud.wav"
    assert told.reason.startswith(f'"{path}": a sample is ±1e+13')


def test_silent_clips_are_not_called_identical(tmp_path: Path):
    for name in "ab":
        write(tmp_path / "dog" / f"{name}.wav", np.zeros(800))
    found = look(Dataset.open(tmp_path))
    assert len(found.silent) == 2
    assert found.duplicates == ()


def test_what_the_data_set_left_out_is_passed_on(pets: Path):
    (pets / "fox").mkdir()
    found = look(Dataset.open(pets))
    assert found.skipped == (Skipped("fox", "the class folder holds no sound file"),)
    assert to_sections(found)[4].text == "1 left out"
    assert to_sections(found)[5].rows == (("fox", "the class folder holds no sound file"),)


@pytest.mark.parametrize(("number", "text"), [(50, "50"), (51, "51, the first 50 of them:")])
def test_long_lists_are_cut_for_people_only(pets: Path, number: int, text: str):
    for i in range(number):
        (pets / f"empty{i}").mkdir()
    found = look(Dataset.open(pets))
    assert len(found.skipped) == number
    assert to_sections(found)[5].text == text
    assert len(to_sections(found)[5].rows) == 50


# --- Recordings across folds ------------------------------------------------------------------------------------------


def test_five_recordings_of_urbansound8k_stand_in_two_folds(shared: Path):
    """In each fold under another label, so that none does by recording and class."""
    with (shared / "urbansound8k" / "UrbanSound8K.csv").open() as file:
        clips = tuple(
            Clip(path=Path(row["slice_file_name"]), label=row["class"], fold=int(row["fold"]), source=row["fsID"])
            for row in csv.DictReader(file)
        )
    data = Dataset(name="x", root=Path(), classes=tuple({clip.label: None for clip in clips}), clips=clips)
    assert sorted(recordings_in_folds(data), key=lambda one: one.source) == [
        SharedRecording("106905", (1, 8), ("siren", "engine_idling")),
        SharedRecording("132016", (1, 4), ("street_music", "jackhammer")),
        SharedRecording("176638", (1, 4), ("car_horn", "engine_idling")),
        SharedRecording("180937", (1, 9), ("jackhammer", "drilling")),
        SharedRecording("77751", (2, 7), ("drilling", "jackhammer")),
    ]
    assert recordings_in_folds(data, same_class=True) == ()


def test_a_recording_with_one_class_in_two_folds_is_found_by_both_keys():
    rows = [("a", "dog", 1), ("a", "dog", 2), ("a", "cat", 2), ("b", "dog", 1), (None, "dog", 1), ("c", "dog", None)]
    clips = tuple(
        Clip(path=Path(f"{i}.wav"), label=label, source=source, fold=fold)
        for i, (source, label, fold) in enumerate(rows)
    )
    data = Dataset(name="pets", root=Path(), classes=("cat", "dog"), clips=clips)
    (shared,) = recordings_in_folds(data)
    assert (shared.source, shared.folds) == ("a", (1, 2))
    assert recordings_in_folds(data, same_class=True) == (SharedRecording("a", (1, 2), ("dog", "dog")),)


def test_inspect_reports_both_keys(pets: Path):
    clips = tuple(
        Clip(path=pets / name, label=label, fold=fold, source="7")
        for name, label, fold in [
            ("dog/fold1/a.wav", "dog", 1),
            ("dog/fold2/b.wav", "dog", 2),
            ("cat/fold1/c.wav", "cat", 3),
        ]
    )
    found = look(Dataset(name="pets", root=pets, classes=("cat", "dog"), clips=clips))
    assert found.recordings_in_folds == (SharedRecording("7", (1, 2, 3), ("dog", "dog", "cat")),)
    assert found.recordings_and_class_in_folds == (SharedRecording("7", (1, 2), ("dog", "dog")),)
    assert to_sections(found)[4].text == "1 recordings across folds; 1 recordings across folds in one class"
    assert to_sections(found)[5].rows == (("7", "1, 2, 3", "dog, cat"),)


# --- Real clips, and the picture --------------------------------------------------------------------------------------


def test_real_clips_in_their_native_encodings(urbansound8k_native: Path):
    data = Dataset.open(urbansound8k_native)
    some = data.select(np.arange(0, len(data.clips), 8))
    found = inspect(some, jobs=2)
    assert found.unreadable == found.truncated == found.silent == found.duplicates == ()
    expected_s = [clip.expected_s for clip in some.clips]
    np.testing.assert_allclose(found.durations_s, expected_s, atol=1e-4)  # the table's end − start
    assert len({encoding.rate_hz for encoding in found.encodings}) > 2
    assert {encoding.subtype for encoding in found.encodings} >= {"PCM_16", "PCM_24"}
    assert sum(encoding.clips for encoding in found.encodings) == len(some.clips) == found.counts.sum()


@pytest.mark.parametrize(
    ("ending", "begins"), [(".png", b"\x89PNG"), (".PNG", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_figure_is_written_as_its_ending_says(pets: Path, tmp_path: Path, ending: str, begins: bytes):
    path = tmp_path / "pictures" / f"pets{ending}"
    inspection_figure.draw(look(Dataset.open(pets)), path)
    assert path.read_bytes().startswith(begins)
    assert list(path.parent.iterdir()) == [path]


def test_figure_of_a_data_set_that_cannot_be_read_or_has_odd_names(tmp_path: Path):
    for name in ("$x", "y$_^", "z%"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").touch()
    inspection_figure.draw(look(Dataset.open(tmp_path)), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_figure_warns_of_no_script_that_matplotlib_cannot_write(tmp_path: Path):  # a warning is an error here
    write(tmp_path / "犬の声" / "a.wav", sound(1))
    inspection_figure.draw(look(Dataset.open(tmp_path)), tmp_path / "a.png")


def test_figure_refuses_an_unknown_ending(pets: Path):
    with pytest.raises(SettingsError, match=r'there is no picture format "pgn". Did you mean "pgf"|"png"'):
        inspection_figure.draw(look(Dataset.open(pets)), pets / "pets.pgn")


def test_figure_refuses_a_place_that_cannot_be_written(pets: Path):
    with pytest.raises(OutputError, match=r"cannot write .*a.wav"):
        inspection_figure.draw(look(Dataset.open(pets)), pets / "dog" / "fold1" / "a.wav" / "pets.png")

"""``inspect``: statistics, and each kind of fault just above and just below its threshold."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark.datasets import Clip, Dataset, Skipped, inspection
from soundmark.datasets.inspection import Encoding, Inspection, SharedRecording, inspect, recordings_in_folds
from soundmark.datasets.inspection import figure as inspection_figure
from soundmark.datasets.inspection.tables import to_sections
from soundmark.errors import OutputError, SettingsError
from support.memory import run_measured

RATE_HZ = 8000


def sound(seed: int, seconds: float = 0.5) -> np.ndarray:
    """White noise below full scale."""
    return 0.5 * np.random.default_rng(seed).uniform(-1, 1, round(seconds * RATE_HZ))


def write(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return path


def single_clip(path: Path, **fields: object) -> Dataset:
    """A data set of one clip."""
    clip = Clip(path=path, label="dog", **fields)  # type: ignore[arg-type]
    return Dataset(name="pets", root=path.parent, classes=("dog",), clips=(clip,))


def inspect_in_process(dataset: Dataset) -> Inspection:
    return inspect(dataset, jobs=1)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Three valid clips in two classes and two folds."""
    for seed, name in enumerate(["dog/fold1/a.wav", "dog/fold2/b.wav", "cat/fold1/c.wav"]):
        write(tmp_path / name, sound(seed, 0.25 * (seed + 1)))
    return tmp_path


# --- Statistics -------------------------------------------------------------------------------------------------------


def test_counts_durations_and_encodings(pets: Path):
    write(pets / "cat" / "fold2" / "d.flac", np.stack([sound(8), sound(9)], axis=1), 44100, "PCM_24")
    found = inspect_in_process(Dataset.open(pets))
    assert found.classes == ("cat", "dog")
    assert found.folds == (1, 2)
    assert found.counts.tolist() == [[1, 1], [1, 1]]
    np.testing.assert_allclose(found.durations_s, [0.75, 4000 / 44100, 0.25, 0.5])
    assert found.encodings == (Encoding("WAV", "PCM_16", 8000, 1, 3), Encoding("FLAC", "PCM_24", 44100, 2, 1))
    assert [str(encoding) for encoding in found.encodings] == [
        "WAV PCM_16, 8 kHz, mono",
        "FLAC PCM_24, 44.1 kHz, stereo",
    ]


def test_a_clip_with_several_labels_counts_in_each_class_and_once_in_the_total(pets: Path):
    (pets / "t.csv").write_text(
        "path,label,fold,source\ndog/fold1/a.wav,dog;siren,1,r\ndog/fold2/b.wav,siren;dog,2,r\ncat/fold1/c.wav,,1,s\n"
    )
    data = Dataset.open(pets / "t.csv")
    found = inspect_in_process(data)
    assert found.counts.tolist() == [[1, 1], [1, 1]]
    counts = next(section for section in to_sections(found) if section.title == "Clips per class and fold")
    assert counts.text == 'A clip with several labels counts in each of its classes, and once in the row "all".'
    assert counts.rows == (
        ("dog", "1", "1", "2"),
        ("siren", "1", "1", "2"),
        ("no class", "1", "0", "1"),
        ("all", "2", "1", "3"),
    )
    assert recordings_in_folds(data) == (SharedRecording("r", (1, 2), ("dog;siren", "dog;siren")),)
    assert recordings_in_folds(data, same_class=True) == (
        SharedRecording("r", (1, 2), ("dog", "dog")),
        SharedRecording("r", (1, 2), ("siren", "siren")),
    )


def test_sections_of_a_data_set_without_faults(pets: Path):
    found = inspect_in_process(Dataset.open(pets))
    assert set(found.faults.values()) == {0}
    sections = to_sections(found)
    assert [section.title for section in sections] == [
        "Data set",
        "Clips per class and fold",
        "Durations",
        "Encodings",
        "Faults",
    ]
    assert sections[0].text == f'{pets.name}, 3 of 3 clips (100 %), 2 classes, in "{pets}"'
    assert sections[1].columns == ("class", "fold 1", "fold 2", "all")
    assert sections[1].rows == (("cat", "1", "0", "1"), ("dog", "1", "1", "2"), ("all", "2", "1", "3"))
    assert sections[2].text == "0.250 s to 0.750 s, median 0.500 s; 1.5 s in all"
    assert sections[3].rows == (("WAV PCM_16, 8 kHz, mono", "3"),)
    assert sections[4].text == "none found: every clip is readable, complete, neither silent nor clipped, and unique"


def test_clips_without_a_fold_have_a_separate_column(pets: Path):
    write(pets / "dog" / "loose.wav", sound(7))
    found = inspect_in_process(Dataset.open(pets))
    assert found.folds == (1, 2, None)
    assert found.counts.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert to_sections(found)[1].columns == ("class", "fold 1", "fold 2", "no fold", "all")


def test_only_the_section_of_a_clip_is_measured(tmp_path: Path):
    path = write(tmp_path / "long.wav", np.concatenate([np.zeros(RATE_HZ), sound(1, 1.0)]))
    assert inspect_in_process(single_clip(path, start_s=0.25, stop_s=0.75)).durations_s.tolist() == [0.5]
    assert len(inspect_in_process(single_clip(path, stop_s=1.0)).silent) == 1
    assert inspect_in_process(single_clip(path, start_s=1.0)).silent == ()


def test_progress_is_reported_to_the_callback(pets: Path):
    steps: list[tuple[str, int, int, str]] = []
    inspect(Dataset.open(pets), progress=lambda *step: steps.append(step), jobs=1)
    assert steps == [("inspecting", 0, 3, "clips"), ("inspecting", 3, 3, "clips")]


def test_the_result_does_not_depend_on_the_number_of_processes(pets: Path):
    lengths_s = [0.75, 0.25, 0.5]
    for i in range(2 * inspection.CHUNK):
        lengths_s.append(0.05 + 0.01 * (i % 40))
        write(pets / "dog" / "fold2" / f"{i}.wav", sound(i % 40, lengths_s[-1]))
    serial, parallel = inspect(Dataset.open(pets), jobs=1), inspect(Dataset.open(pets), jobs=2)
    order = [0, 1, *range(3, len(lengths_s)), 2]  # in fold2, b.wav comes after 0.wav, 1.wav, …
    np.testing.assert_allclose(serial.durations_s, np.array(lengths_s)[order])
    np.testing.assert_array_equal(parallel.durations_s, serial.durations_s)
    assert serial.duplicates == parallel.duplicates
    assert len(serial.duplicates) == 2 * inspection.CHUNK - 40
    assert serial.encodings == parallel.encodings


def test_a_data_set_without_clips_can_be_inspected():
    found = inspect_in_process(Dataset(name="none", root=Path(), classes=("dog",), clips=()))
    assert to_sections(found)[2].text == "no clip could be read"


# --- Faults -----------------------------------------------------------------------------------------------------------


def test_unreadable_files_are_listed_with_the_reason(pets: Path):
    (pets / "dog" / "fold1" / "bad.wav").write_text("this is not a sound")
    (pets / "dog" / "fold1" / "empty.wav").touch()
    found = inspect_in_process(Dataset.open(pets))
    assert [skipped.path for skipped in found.unreadable] == ["dog/fold1/bad.wav", "dog/fold1/empty.wav"]
    assert "it begins with the text 'this is not a sound'" in found.unreadable[0].reason
    assert "it is empty" in found.unreadable[1].reason
    assert np.isnan(found.durations_s).sum() == 2
    assert found.counts.sum() == 5
    assert sum(encoding.clips for encoding in found.encodings) == 3
    assert to_sections(found)[4].text == "2 unreadable clips"
    assert to_sections(found)[5].rows[0][0] == "dog/fold1/bad.wav"


@pytest.mark.parametrize(
    ("peak", "detail"),
    [(0.0, "all samples are zero"), (0.99e-4, "peak −80 dBFS"), (1e-6, "peak −120 dBFS"), (1.01e-4, None), (0.5, None)],
)
def test_a_clip_is_silent_if_its_peak_is_at_most_minus_80_db(tmp_path: Path, peak: float, detail: str | None):
    samples = np.zeros(800)
    samples[400] = -peak
    found = inspect_in_process(single_clip(write(tmp_path / "a.wav", samples, subtype="FLOAT"))).silent
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
    at_start, at_end = np.concatenate([samples, sound(3)]), np.concatenate([sound(4), samples])
    for number, signal in enumerate([mono, stereo, at_start, at_end]):
        found = inspect_in_process(single_clip(write(tmp_path / f"{number}.wav", signal, subtype=subtype))).clipped
        assert [finding.detail for finding in found] == ([f"clipped peaks: {peaks}"] if peaks else [])


def test_only_the_section_of_a_clip_is_checked_for_clipping(tmp_path: Path):
    samples = np.stack([sound(1, 1.0), sound(2, 1.0)], axis=1)
    samples[6000:6010, 0] = 1.0
    path = write(tmp_path / "a.wav", samples)
    assert inspect_in_process(single_clip(path, stop_s=0.5)).clipped == ()
    assert len(inspect_in_process(single_clip(path, start_s=0.5)).clipped) == 1


@pytest.mark.parametrize(("seconds", "truncated"), [(1.0, False), (0.951, False), (0.949, True), (1.5, False)])
def test_a_clip_shorter_than_its_metadata_state_is_truncated(tmp_path: Path, seconds: float, truncated: bool):
    found = inspect_in_process(single_clip(write(tmp_path / "a.wav", sound(1, seconds)), expected_s=1.0)).truncated
    assert [finding.detail for finding in found] == (["lasts 0.949 s; the metadata state 1.000 s"] if truncated else [])


def test_a_file_shorter_than_its_header_declares_is_truncated(pets: Path):
    path = pets / "cat" / "fold1" / "c.wav"
    path.write_bytes(path.read_bytes()[:-2000])
    (finding,) = inspect_in_process(Dataset.open(pets)).truncated
    assert (finding.path, finding.label, finding.fold) == ("cat/fold1/c.wav", "cat", 1)
    assert finding.detail.startswith("is truncated: 10000 of the 12000 bytes")


def test_a_truncated_stereo_file_is_decoded_as_far_as_possible(tmp_path: Path):
    path = write(tmp_path / "a.flac", np.stack([sound(1, 4.0), sound(2, 4.0)], axis=1))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = inspect_in_process(single_clip(path))
    assert len(found.truncated) + len(found.unreadable) == 1


def test_identical_clips_are_found_in_copied_and_reencoded_files(pets: Path):
    shutil.copy(pets / "dog" / "fold1" / "a.wav", pets / "cat" / "fold2.wav")
    samples, _ = soundfile.read(pets / "dog" / "fold2" / "b.wav")
    write(pets / "dog" / "fold1" / "b again.flac", samples)
    write(pets / "dog" / "fold1" / "b faster.wav", samples, 2 * RATE_HZ)
    copied, encoded = inspect_in_process(Dataset.open(pets)).duplicates
    assert copied.paths == ("cat/fold2.wav", "dog/fold1/a.wav")
    assert (copied.same_files, copied.across) == (True, "classes and folds")
    assert encoded.paths == ("dog/fold1/b again.flac", "dog/fold2/b.wav")
    assert (encoded.same_files, encoded.across, encoded.labels) == (False, "folds", ("dog", "dog"))


def test_a_clip_with_a_sample_far_beyond_full_scale_is_unreadable(tmp_path: Path):
    path = write(tmp_path / "dog" / "loud.wav", np.array([0.0, 1e13, 0.1]), subtype="FLOAT")
    (skipped,) = inspect_in_process(Dataset.open(tmp_path)).unreadable
    assert skipped.path == "dog/loud.wav"
    assert skipped.reason.startswith(f'"{path}": a sample is ±1e+13')


def test_silent_clips_are_not_reported_as_identical(tmp_path: Path):
    for name in "ab":
        write(tmp_path / "dog" / f"{name}.wav", np.zeros(800))
    found = inspect_in_process(Dataset.open(tmp_path))
    assert len(found.silent) == 2
    assert found.duplicates == ()


def test_skipped_files_of_the_data_set_are_listed(pets: Path):
    (pets / "fox").mkdir()
    found = inspect_in_process(Dataset.open(pets))
    assert found.skipped == (Skipped("fox", "the class folder contains no sound files"),)
    assert to_sections(found)[4].text == "1 skipped"
    assert to_sections(found)[5].rows == (("fox", "the class folder contains no sound files"),)


@pytest.mark.parametrize(("number", "text"), [(50, "50"), (51, "51, the first 50 of them:")])
def test_printed_tables_are_limited_to_50_rows(pets: Path, number: int, text: str):
    for i in range(number):
        (pets / f"empty{i}").mkdir()
    found = inspect_in_process(Dataset.open(pets))
    assert len(found.skipped) == number
    assert to_sections(found)[5].text == text
    assert len(to_sections(found)[5].rows) == 50


# --- Recordings across folds ------------------------------------------------------------------------------------------


def test_five_recordings_of_urbansound8k_are_in_two_folds(shared: Path):
    """Each has a different label in each fold, so none is reported with ``same_class``."""
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


def test_a_recording_with_one_class_in_two_folds_is_found_with_and_without_same_class():
    rows = [("a", "dog", 1), ("a", "dog", 2), ("a", "cat", 2), ("b", "dog", 1), (None, "dog", 1), ("c", "dog", None)]
    clips = tuple(
        Clip(path=Path(f"{i}.wav"), label=label, source=source, fold=fold)
        for i, (source, label, fold) in enumerate(rows)
    )
    data = Dataset(name="pets", root=Path(), classes=("cat", "dog"), clips=clips)
    (shared,) = recordings_in_folds(data)
    assert (shared.source, shared.folds) == ("a", (1, 2))
    assert recordings_in_folds(data, same_class=True) == (SharedRecording("a", (1, 2), ("dog", "dog")),)


def test_inspect_reports_recordings_across_folds_with_and_without_same_class(pets: Path):
    clips = tuple(
        Clip(path=pets / name, label=label, fold=fold, source="7")
        for name, label, fold in [
            ("dog/fold1/a.wav", "dog", 1),
            ("dog/fold2/b.wav", "dog", 2),
            ("cat/fold1/c.wav", "cat", 3),
        ]
    )
    found = inspect_in_process(Dataset(name="pets", root=pets, classes=("cat", "dog"), clips=clips))
    assert found.recordings_in_folds == (SharedRecording("7", (1, 2, 3), ("dog", "dog", "cat")),)
    assert found.recordings_and_class_in_folds == (SharedRecording("7", (1, 2), ("dog", "dog")),)
    assert to_sections(found)[4].text == "1 recording across folds; 1 recording across folds in one class"
    assert to_sections(found)[5].rows == (("7", "1, 2, 3", "dog, cat"),)


# --- Real clips, and the figure ---------------------------------------------------------------------------------------


def test_real_clips_in_their_native_encodings(urbansound8k_native: Path):
    data = Dataset.open(urbansound8k_native)
    selected = data.select(np.arange(0, len(data.clips), 8))
    found = inspect(selected, jobs=2)
    assert found.unreadable == found.truncated == found.silent == found.duplicates == ()
    expected_s = [clip.expected_s for clip in selected.clips]
    np.testing.assert_allclose(found.durations_s, expected_s, atol=1e-4)  # end − start in the metadata
    assert len({encoding.rate_hz for encoding in found.encodings}) > 2
    assert {encoding.subtype for encoding in found.encodings} >= {"PCM_16", "PCM_24"}
    assert sum(encoding.clips for encoding in found.encodings) == len(selected.clips) == found.counts.sum()


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".PNG", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_the_figure_has_the_format_of_its_suffix(pets: Path, tmp_path: Path, suffix: str, magic: bytes):
    path = tmp_path / "figures" / f"pets{suffix}"
    inspection_figure.draw(inspect_in_process(Dataset.open(pets)), path)
    assert path.read_bytes().startswith(magic)
    assert list(path.parent.iterdir()) == [path]


def test_the_figure_of_unreadable_clips_and_class_names_with_mathtext_characters(tmp_path: Path):
    for name in ("$x", "y$_^", "z%"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").touch()
    inspection_figure.draw(inspect_in_process(Dataset.open(tmp_path)), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_figure_gives_no_warning_for_missing_glyphs(tmp_path: Path):  # pytest turns warnings into errors
    write(tmp_path / "犬の声" / "a.wav", sound(1))
    inspection_figure.draw(inspect_in_process(Dataset.open(tmp_path)), tmp_path / "a.png")


def test_an_unknown_image_format_is_an_error(pets: Path):
    with pytest.raises(SettingsError, match=r'there is no image format "pgn". Did you mean "pgf"|"png"'):
        inspection_figure.draw(inspect_in_process(Dataset.open(pets)), pets / "pets.pgn")


def test_a_figure_path_that_cannot_be_written_is_an_error(pets: Path):
    with pytest.raises(OutputError, match=r"cannot write .*a.wav"):
        inspection_figure.draw(inspect_in_process(Dataset.open(pets)), pets / "dog" / "fold1" / "a.wav" / "pets.png")


@pytest.mark.slow
def test_hours_of_silence_are_inspected_in_bounded_memory(tmp_path: Path):
    (tmp_path / "night" / "quiet").mkdir(parents=True)
    with soundfile.SoundFile(tmp_path / "night" / "quiet" / "a.flac", "w", 8000, 2, "PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros((8000 * 180, 2), np.int16))
    code = (
        "from soundmark.datasets.inspection import inspect\n"
        f"found = inspect({str(tmp_path / 'night')!r}, jobs=1, quiet=True)\n"
        "print(found.durations_s.tolist(), len(found.silent), len(found.unreadable))"
    )
    output, peak_mb = run_measured(code)
    assert output == "[10800.0] 1 0\n"
    assert peak_mb < 300


def test_clipped_runs_are_counted_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "loud").mkdir()
    samples = np.zeros((8192, 2))
    samples[[10, 11, 12, 4094, 4095, 4096, 4097, 8191], 0] = 1
    samples[[*range(1000, 6000), 7000, 7001], 1] = -1
    soundfile.write(tmp_path / "loud" / "a.wav", samples, 8000)
    monkeypatch.setattr("soundmark.audio.limits.BLOCK_FRAMES", 1024)
    (found,) = inspection.inspect(tmp_path, jobs=1, quiet=True).clipped
    assert found.detail == "clipped peaks: 3"

"""Clips longer than the window are cut into windows, in training and in scoring alike."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark import audio
from soundmark.audio.windows import windows
from soundmark.datasets import Dataset, features
from soundmark.datasets.clip_windows import cut_clips, describe_window, with_window
from soundmark.datasets.dataset import with_background
from soundmark.errors import SettingsError
from soundmark.runtime import checksums
from soundmark.spectrograms import Image, LogMel, Mel

RATE_HZ = 8000
LOGMEL = LogMel(
    rate_hz=8000, size=(32, 100), n_fft=512, window_samples=320, hop_samples=80, f_max_hz=4000.0
)  # 1 s, 100 frames


def write_clips(root: Path, lengths_s: dict[str, float]) -> Dataset:
    """Write a noise of each duration; the names are "class/file"."""
    rng = np.random.default_rng(0)
    for name, length_s in lengths_s.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / f"{name}.wav", rng.normal(0, 0.1, round(length_s * RATE_HZ)), RATE_HZ)
    return Dataset.open(root)


def test_one_long_file_does_not_stretch_the_window(tmp_path: Path):
    data = write_clips(tmp_path, {**{f"dog/{i}": 5.0 for i in range(9)}, "cat/0": 5.0, "cat/1": 28.0})
    assert data.window_s == 5.0
    assert describe_window(data) == "window: 5 s, the median duration of the clips (5 to 28 s)"


def test_a_long_clip_is_cut_into_the_windows_that_a_model_scores(tmp_path: Path):
    data = write_clips(tmp_path, {"cat/a": 1.0, "cat/b": 1.05, "dog/c": 3.5, "dog/d": 0.2})
    cut = cut_clips(data, 1.0)
    spans = [(clip.start_s, clip.stop_s) for clip in cut.windows.clips]
    assert spans == [(0, None), (0, None), (0, 1), (1, 2), (2, 3), (2.5, None), (0, None)]
    assert [clip.label for clip in cut.windows.clips] == ["cat", "cat", "dog", "dog", "dog", "dog", "dog"]
    assert [(start, stop) for start, stop in windows(28000, 8000)] == [
        (round(start * RATE_HZ), round((stop or 3.5) * RATE_HZ)) for start, stop in spans[2:6]
    ]
    assert cut.clip_of.tolist() == [0, 1, 2, 2, 2, 2, 3]
    assert cut.describe() == "1 clip is longer than the window of 1 s: cut into 4 windows"


def test_the_windows_of_a_slice_stay_inside_it_and_belong_to_its_recording(tmp_path: Path):
    write_clips(tmp_path, {"dog/long": 10.0})
    (tmp_path / "table.csv").write_text(
        "path,label,start,end,source\ndog/long.wav,dog,2.0,4.5,7\ndog/long.wav,cat,5,6,7\n"
    )
    cut = cut_clips(Dataset.open(tmp_path / "table.csv"), 1.0).windows
    assert [(clip.start_s, clip.stop_s) for clip in cut.clips] == [(2, 3), (3, 4), (3.5, 4.5), (5, 6)]
    assert set(cut.sources.tolist()) == {"7"}


def test_windows_of_a_file_without_known_recording_share_one(tmp_path: Path):
    data = write_clips(tmp_path, {"dog/a": 3.0, "cat/b": 1.0})
    cut = cut_clips(data, 1.0)
    assert cut.windows.sources.tolist() == ["cat/b.wav", "dog/a.wav", "dog/a.wav", "dog/a.wav"]


def test_headers_of_unchanged_files_are_read_once(tmp_path: Path, monkeypatch):
    data = write_clips(tmp_path, {"dog/a": 3.0, "cat/b": 1.0})
    first = features.build(data, LOGMEL, window_s=1.0, jobs=1)
    with monkeypatch.context() as patched:
        patched.setattr(features, "length_s", lambda clip: pytest.fail(f"the header of {clip.path} was read again"))
        again = features.build(data, LOGMEL, window_s=1.0, jobs=1)
        longer_windows = features.build(data, LOGMEL, window_s=2.0, jobs=1)
    assert again.built == 0
    np.testing.assert_array_equal(again.array[:], first.array[:])
    assert longer_windows.windows.clip_of.tolist() == [0, 1, 1]
    soundfile.write(tmp_path / "cat" / "b.wav", np.zeros(4 * RATE_HZ), RATE_HZ)
    assert features.build(data, LOGMEL, window_s=1.0, jobs=1).windows.clip_of.tolist() == [0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    "values", [[1.0], {"a": 1}, ["3", "1"], [float("nan"), 1.0], [float("inf"), 1.0], [-1.0, 1.0], None]
)
def test_durations_that_are_none_are_read_again(tmp_path: Path, values: object):
    """Even with a checksum that matches."""
    data = write_clips(tmp_path, {"dog/a": 3.0, "cat/b": 1.0})
    stored = features.build(data, LOGMEL, window_s=1.0, jobs=1).folder / "durations.json"
    changed = {**checksums.parse_verified(stored.read_bytes()), "durations_s": values}
    stored.write_text(json.dumps(checksums.with_checksum(changed)))
    assert features.build(data, LOGMEL, window_s=1.0, jobs=1).windows.clip_of.tolist() == [0, 1, 1, 1]


def test_times_of_single_precision_are_durations(tmp_path: Path):
    data = write_clips(tmp_path, {"dog/a": 3.0, "cat/b": 1.0})
    clips = tuple(replace(clip, stop_s=np.float32(0.75)) for clip in data.clips)
    assert features.build(replace(data, clips=clips), LOGMEL, window_s=1.0, jobs=1).array.shape == (2, 32, 100)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"clips": "x"}', b"\xff", None])
def test_damaged_durations_are_read_again(tmp_path: Path, content: bytes | None):
    data = write_clips(tmp_path, {"dog/a": 3.0, "cat/b": 1.0})
    store = features.build(data, LOGMEL, window_s=1.0, jobs=1)
    stored = store.folder / "durations.json"
    assert stored.exists()
    stored.write_bytes(stored.read_bytes().replace(b"3.0", b"1.0") if content is None else content)
    again = features.build(data, LOGMEL, window_s=1.0, jobs=1)
    assert again.built == 0
    assert again.windows.clip_of.tolist() == [0, 1, 1, 1]


def test_a_file_that_could_not_be_read_is_looked_at_again(tmp_path: Path, monkeypatch):
    """Permissions can be fixed without a change of the size or the time of the file."""
    data = write_clips(tmp_path, {"dog/a": 3.0, "cat/b": 1.0})
    with monkeypatch.context() as patched:
        patched.setattr(features, "length_s", lambda clip: None)
        assert len(features.build(data, LOGMEL, window_s=1.0, jobs=1).windows.clip_of) == 2
    assert features.build(data, LOGMEL, window_s=1.0, jobs=1).windows.clip_of.tolist() == [0, 1, 1, 1]


def test_the_features_of_a_long_clip_cover_all_of_it(tmp_path: Path):
    data = write_clips(tmp_path, {"dog/a": 3.0, "cat/b": 1.0})
    store = features.build(data, LOGMEL, window_s=1.0, jobs=1)
    assert store.array.shape == (4, 32, 100)
    assert store.rows(np.array([1])).tolist() == [1, 2, 3]
    sound = audio.read(tmp_path / "dog" / "a.wav")
    parts = [LOGMEL(sound.samples[start : start + RATE_HZ], RATE_HZ) for start in (0, RATE_HZ, 2 * RATE_HZ)]
    np.testing.assert_array_equal(store.array[1:], np.stack(parts))


@pytest.mark.parametrize("representation", [Mel(), Image()], ids=lambda one: one.name)
def test_the_representations_of_the_notebook_use_whole_clips(tmp_path: Path, representation):
    data = write_clips(tmp_path, {"dog/a": 3.0, "cat/b": 1.0})
    store = features.build(data, representation, window_s=1.0, jobs=1)
    np.testing.assert_array_equal(store.array[:], features.build(data, representation, jobs=1).array[:])
    assert len(store.array) == 2


def test_a_clip_is_usable_if_one_of_its_windows_can_be_read(tmp_path: Path):
    data = write_clips(tmp_path, {"dog/a": 3.0, "cat/b": 1.0, "cat/c": 1.0})
    (tmp_path / "cat" / "b.wav").write_bytes(b"")
    path = tmp_path / "dog" / "a.wav"
    path.write_bytes(path.read_bytes()[: 44 + 2 * RATE_HZ * 3 // 2])  # 1.5 of 3 s
    store = features.build(data, LOGMEL, window_s=1.0, jobs=1)
    assert store.usable.tolist() == [False, True, True]
    assert [item.path for item in store.skipped] == ["cat/b.wav"]


def test_scores_of_windows_are_averaged_by_clip(tmp_path: Path):
    data = write_clips(tmp_path, {"dog/a": 3.0, "cat/b": 1.0})
    cut, clips = cut_clips(data, 1.0), np.array([1, 0])
    rows = cut.rows(clips)
    assert rows.tolist() == [1, 2, 3, 0]
    np.testing.assert_allclose(cut.mean_by_clip(np.array([[0.1], [0.2], [0.6], [1.0]]), rows, clips), [[0.3], [1.0]])


@pytest.mark.parametrize("window_s", [0, -1.0, float("nan"), "4"])
def test_an_impossible_window_is_refused(city, window_s):
    with pytest.raises(SettingsError, match="expected a number of seconds above 0"):
        with_window(city, window_s)


# --- Background ---


def test_background_labels_are_found_by_name_in_any_case(tmp_path: Path):
    data = write_clips(tmp_path, {"Background/a": 0.1, "SILENCE/b": 0.1, "noise_barrier/c": 0.1, "dog/d": 0.1})
    assert with_background(data, "auto").background == ("Background", "SILENCE")
    assert with_background(data, "none").background == ()
    assert with_background(data, "dog").background == ("dog",)


def test_an_unknown_background_label_is_refused(city):
    with pytest.raises(SettingsError, match='synthetic city has no label "sirene". Did you mean "siren"'):
        with_background(city, "sirene")


def test_the_classes_of_public_data_sets_are_never_background(city):
    urban = [
        "air_conditioner",
        "car_horn",
        "children_playing",
        "dog_bark",
        "drilling",
        "engine_idling",
        "gun_shot",
        "jackhammer",
        "siren",
        "street_music",
    ]
    assert list(city.classes) == urban
    assert with_background(city, "auto") == city


def test_in_multi_label_data_background_has_no_class(tmp_path: Path):
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", np.full(800, 0.1), RATE_HZ)
    (tmp_path / "table.csv").write_text("path,label\na.wav,dog;car\nb.wav,Noise\nc.wav,car;noise\n")
    data = with_background(Dataset.open(tmp_path / "table.csv"), "auto")
    assert (data.classes, data.background) == (("dog", "car"), ("Noise", "noise"))
    np.testing.assert_array_equal(data.targets, [[1, 1], [0, 0], [0, 1]])

"""The feature store: contents, invalidation, damage, resuming after a kill, and hidden rows."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.datasets import Clip, Dataset, feature_store, features
from soundmark.datasets.feature_store import Rows
from soundmark.errors import OutputError, SettingsError
from soundmark.spectrograms import Image, Mel

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cache")]


@pytest.fixture
def city(sibling_city_folder, tmp_path) -> Dataset:
    """A copy of the synthetic data set that a test can modify."""
    return Dataset.open(shutil.copytree(sibling_city_folder, tmp_path / "city"))


def expected(dataset: Dataset, representation) -> np.ndarray:
    """The spectrograms of all clips, computed one by one."""
    sounds = [audio.read(clip.path) for clip in dataset.clips]
    return np.stack([representation(sound.samples, sound.rate_hz) for sound in sounds])


@pytest.mark.parametrize("representation", [Mel(), Image()])
def test_stored_features_equal_those_of_single_clips(city, representation):
    store = features.build(city, representation, jobs=2)
    assert store.array.dtype == np.float32
    np.testing.assert_array_equal(store.array, expected(city, representation))
    assert store.usable.all()
    assert store.skipped == ()
    assert store.built == len(city.clips)


def test_a_second_call_computes_nothing(city):
    first = features.build(city, Mel(), jobs=1)
    second = features.build(city, Mel(), jobs=1)
    assert second.built == 0
    assert (second.checksum, second.seconds) == (first.checksum, first.seconds)


def test_the_features_do_not_depend_on_the_number_of_processes(city):
    one = features.build(city, Mel(), jobs=1)
    two = features.build(city, Mel(), jobs=2, fresh=True)
    assert two.built == len(city.clips)
    assert two.checksum == one.checksum


def test_a_changed_file_invalidates_the_store(city):
    before = features.build(city, Mel(), jobs=1)
    audio.write(city.clips[7].path, np.zeros(22050, np.float32), 22050)
    after = features.build(city, Mel(), jobs=1)
    assert after.built == len(city.clips)
    assert not after.array[7].any()
    assert after.checksum != before.checksum


def test_each_representation_has_its_own_store(city):
    features.build(city, Mel(), jobs=1)
    assert features.build(city, Mel(n_mels=64), jobs=1).built == len(city.clips)
    assert features.build(city, Mel(), jobs=1).built == 0


def test_unreadable_clips_are_skipped_and_the_others_are_computed(city):
    good = expected(city, Mel())
    city.clips[3].path.write_text("this is not a sound")
    city.clips[40].path.unlink()
    store = features.build(city, Mel(), jobs=2)
    assert [item.path for item in store.skipped] == [city.relative_path(city.clips[i]) for i in (3, 40)]
    assert all(Path(item.path).name in item.reason for item in store.skipped)
    assert np.flatnonzero(~store.usable).tolist() == [3, 40]
    np.testing.assert_array_equal(store.array[store.usable], good[store.usable])
    assert not store.array[[3, 40]].any()


def test_an_unreadable_clip_is_tried_again(city):
    good = expected(city, Mel())
    content = city.clips[3].path.read_bytes()
    stamp = city.clips[3].path.stat()
    city.clips[3].path.write_bytes(bytes(len(content)))
    os.utime(city.clips[3].path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert len(features.build(city, Mel(), jobs=1).skipped) == 1
    city.clips[3].path.write_bytes(content)  # same size and time, as after a change of permissions
    os.utime(city.clips[3].path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    store = features.build(city, Mel(), jobs=1)
    assert (store.skipped, store.built) == ((), feature_store.CHUNK)
    np.testing.assert_array_equal(store.array, good)


def test_relative_and_absolute_paths_share_a_store(city, monkeypatch):
    features.build(city, Mel(), jobs=1)
    monkeypatch.chdir(city.root.parent)
    assert features.build(Dataset.open(city.root.name), Mel(), jobs=1).built == 0


def test_a_clip_with_a_sample_far_beyond_full_scale_is_skipped(city):
    import soundfile

    soundfile.write(city.clips[0].path, np.array([0.0, 1e13]), 22050, subtype="DOUBLE")
    store = features.build(city, Mel(), jobs=1)
    assert [item.path for item in store.skipped] == [city.relative_path(city.clips[0])]
    assert city.clips[0].path.name in store.skipped[0].reason


def test_a_changed_byte_is_detected_and_its_chunk_recomputed(city):
    good = expected(city, Mel())
    store = features.build(city, Mel(), jobs=1)
    with (store.folder / "features.npy").open("r+b") as file:
        file.seek(128 + 4 * 64 * 64 * 5 + 17)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    again = features.build(city, Mel(), jobs=1)
    assert again.built == feature_store.CHUNK
    np.testing.assert_array_equal(again.array, good)


@pytest.mark.parametrize("name", ["features.npy", "journal.jsonl", "key.json"])
def test_a_deleted_file_is_recreated(city, name):
    store = features.build(city, Mel(), jobs=1)
    (store.folder / name).unlink()
    assert features.build(city, Mel(), jobs=1).checksum == store.checksum


def test_features_of_a_section_are_those_of_its_samples(city):
    clip = replace(city.clips[0], start_s=0.1, stop_s=0.3)
    store = features.build(replace(city, name="sections", clips=(clip, city.clips[0])), Mel(), jobs=1)
    sound = audio.read(clip.path)
    np.testing.assert_array_equal(store.array[0], Mel()(sound.samples[2205:6615], 22050))
    assert not np.array_equal(store.array[0], store.array[1])


def test_a_cache_that_cannot_be_written_is_an_error(city, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot write"):
        features.build(city, Mel(), jobs=1)


BUILD = """
import sys
from soundmark.datasets import Dataset, features
from soundmark.spectrograms import Mel
if __name__ == "__main__":
    features.build(Dataset.open(sys.argv[1]), Mel(), jobs=2)
"""


@pytest.mark.parametrize("stop_signal", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_is_resumed(city, cache, tmp_path, stop_signal):
    (tmp_path / "build.py").write_text(BUILD)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "build.py", city.root], stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    journal = None
    for _ in range(12_000):
        journal = next(cache.rglob("journal.jsonl"), None)
        if (journal and journal.read_text()) or process.poll() is not None:
            break
        time.sleep(0.005)
    process.send_signal(stop_signal)
    process.wait(timeout=30)
    finished = journal.read_text().count("\n")
    assert finished >= 1
    store = features.build(city, Mel(), jobs=1)
    assert store.built <= len(city.clips) - (finished - 1) * feature_store.CHUNK - len(city.clips) % feature_store.CHUNK
    np.testing.assert_array_equal(store.array, expected(city, Mel()))


def test_a_data_set_of_one_clip_can_be_stored(city):
    one = city.select([0])
    assert features.build(one, Mel()).array.shape == (1, 64, 64)


def test_a_file_deleted_after_opening_the_data_set_is_skipped(city):
    gone = Clip(path=city.root / "audio" / "gone.wav", label=city.classes[0])
    store = features.build(replace(city, clips=(city.clips[0], gone)), Mel(), jobs=1)
    assert [item.path for item in store.skipped] == ["audio/gone.wav"]


@pytest.fixture
def rows(tmp_path) -> Rows:
    """Six rows of two numbers; rows 1 and 4 are hidden."""
    np.save(tmp_path / "rows.npy", np.arange(12, dtype=np.float32).reshape(6, 2))
    return Rows(tmp_path / "rows.npy").hide(np.array([1, 4]))


@pytest.mark.parametrize(
    ("index", "n_hidden"),
    [
        (1, 1),
        (-2, 1),
        (np.int64(4), 1),
        (slice(0, 2), 1),
        (slice(None), 2),
        (slice(None, None, -1), 2),
        ([0, 4], 1),
        (np.array([0, 1, 4]), 2),
        (np.array([5, -5]), 1),
        (np.array([False, True, False, False, True, False]), 2),
        (Ellipsis, 2),
        ((1, 0), 1),
        ((slice(0, 2), 0), 1),
        ((Ellipsis, 0), 2),
        ((None, 3), 2),
    ],
    ids=str,
)
def test_reading_a_hidden_row_is_an_error_for_every_kind_of_index(rows, index, n_hidden):
    count = "1 hidden row was" if n_hidden == 1 else f"{n_hidden} hidden rows were"
    with pytest.raises(SettingsError, match=f"{count} requested: test clips must not influence the model"):
        rows[index]


@pytest.mark.parametrize(
    ("index", "first"),
    [(0, [0.0]), (slice(2, 4), [4, 6]), (np.array([5, 0, 3]), [10, 0, 6]), (np.arange(6) == 2, [4]), ([], [])],
    ids=str,
)
def test_the_other_rows_can_be_read(rows, index, first):
    assert rows[index].reshape(-1, 2)[:, 0].tolist() == first


def test_hidden_rows_remain_hidden_in_conversion_and_further_hiding(rows):
    with pytest.raises(SettingsError, match="2 hidden rows were requested"):
        np.asarray(rows)
    more = rows.hide(np.array([0]))
    for row in (0, 1, 4):
        with pytest.raises(SettingsError, match="1 hidden row was requested"):
            more[row]
    assert rows[0].tolist() == [0.0, 1.0]

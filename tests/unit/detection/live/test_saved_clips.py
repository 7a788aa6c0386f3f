"""Clips of events: their audio and names, the limit on disk space, and files that must not be touched."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.detection.live import saved_clips
from soundmark.errors import SettingsError
from soundmark.models.events import Event
from soundmark.runtime.output_folder import MANIFEST

RATE_HZ = 8000
STARTED = datetime(2024, 6, 12, 4, 30, tzinfo=UTC)


def event(start_s: float, stop_s: float, label: str = "dog bark") -> Event:
    return Event(label=label, start_s=start_s, stop_s=stop_s, confidence=0.9, peak=0.9)


def clips_in(folder: Path, seconds: float = 60.0, max_bytes: int = 10**9) -> saved_clips.SavedClips:
    """The clips of a stream of ``seconds``, a sawtooth of which every sample is known."""
    clips = saved_clips.SavedClips(folder, rate_hz=RATE_HZ, max_bytes=max_bytes)
    samples = (np.arange(round(seconds * RATE_HZ)) % 100 / 200).astype(np.float32)
    for start in range(0, len(samples), 400):
        clips.add(start, samples[start : start + 400])
    return clips


def names(folder: Path) -> list[str]:
    """The names of the files in a folder, without the lock and the manifest."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_clip_is_the_audio_of_its_event_with_a_margin(tmp_path):
    path = clips_in(tmp_path / "clips").save(event(10.0, 12.0), STARTED)
    assert path.name == "20240612T043010.000Z_dog_bark.wav"
    sound = audio.read(path)
    assert (sound.rate_hz, sound.duration_s) == (RATE_HZ, 3.0)
    start = round(9.5 * RATE_HZ)
    np.testing.assert_allclose(sound.samples, np.arange(start, start + 3 * RATE_HZ) % 100 / 200, atol=1e-4)


def test_only_the_end_of_a_long_event_is_saved_and_nothing_of_one_that_left_the_buffer(tmp_path):
    clips = clips_in(tmp_path / "clips", seconds=200.0)
    saved = audio.info(clips.save(event(0.0, 200.0), STARTED))
    assert saved.duration_s == pytest.approx(saved_clips.BUFFER_S, abs=0.2)
    assert clips.save(event(1.0, 2.0), STARTED) is None


def test_the_oldest_clips_are_deleted_and_no_other_files(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "mine.wav").write_bytes(bytes(100_000))
    clips = clips_in(folder, max_bytes=100_000)  # two clips of three seconds, 48 kB each
    for start_s in (5.0, 10.0, 15.0, 20.0):
        clips.save(event(start_s, start_s + 2), STARTED)
    assert [name[:15] for name in names(folder)] == ["20240612T043015", "20240612T043020", "mine.wav"]


@pytest.mark.parametrize("label", ["../../etc/passwd", "a/b", "", "\u202ename", "x" * 300, "zażółć"])
def test_a_clip_stays_in_its_folder_whatever_the_label(tmp_path, label):
    path = clips_in(tmp_path / "clips").save(event(1.0, 2.0, label), STARTED)
    assert path.parent == tmp_path / "clips"
    assert saved_clips.CLIP_NAME.fullmatch(path.name)


@pytest.mark.parametrize("label", ["\U00020000" * 60, "ż" * 200, "a" + "\U00020000" * 60, "音" * 85], ids="abcd")
def test_a_long_label_is_shortened_to_the_bytes_that_a_file_name_may_have(tmp_path, label):
    clips = clips_in(tmp_path / "clips")
    paths = [clips.save(event(1.0, 2.0, label), STARTED) for _ in range(3)]
    assert len(set(paths)) == 3
    for path in paths:
        assert path.is_file()
        assert saved_clips.CLIP_NAME.fullmatch(path.name)
        assert label.startswith(path.stem.split("Z_")[1].split("_")[0])


def test_events_with_the_same_onset_and_label_are_separate_clips(tmp_path):
    clips = clips_in(tmp_path / "clips")
    paths = [clips.save(event(1.0, stop_s), STARTED) for stop_s in (2.0, 3.0, 4.0)]
    assert [path.name[19:] for path in paths] == ["Z_dog_bark.wav", "Z_dog_bark_2.wav", "Z_dog_bark_3.wav"]
    assert [audio.info(path).duration_s for path in paths] == [2.0, 3.0, 4.0]
    assert all(saved_clips.CLIP_NAME.fullmatch(path.name) for path in paths)


def test_a_folder_and_a_link_named_like_a_clip_are_not_deleted(tmp_path):
    folder = tmp_path / "clips"
    (folder / "20200101T000000.000Z_dog.wav").mkdir(parents=True)
    (tmp_path / "linked.wav").write_bytes(bytes(10**6))
    (folder / "20200101T000001.000Z_dog.wav").symlink_to(tmp_path / "linked.wav")
    clips = clips_in(folder, max_bytes=1)
    newest = [clips.save(event(start_s, start_s + 1), STARTED) for start_s in (5.0, 10.0)][-1]
    assert {name[:15] for name in names(folder)} == {"20200101T000000", "20200101T000001", newest.name[:15]}
    assert (tmp_path / "linked.wav").stat().st_size == 10**6


def test_a_clip_that_the_user_deleted_is_ignored(tmp_path):
    clips = clips_in(tmp_path / "clips", max_bytes=1)
    clips.save(event(1.0, 2.0), STARTED).unlink()
    assert names(tmp_path / "clips") == []
    newest = clips.save(event(5.0, 6.0), STARTED)
    assert names(tmp_path / "clips") == [newest.name]


def test_a_foreign_file_named_like_a_clip_and_a_changed_clip_are_kept(tmp_path):
    clips = clips_in(tmp_path / "clips", max_bytes=1)
    foreign = tmp_path / "clips" / "20200101T000000.000Z_dog.wav"
    foreign.write_text("mine")
    changed = clips.save(event(1.0, 2.0), STARTED)
    changed.write_text("edited")
    for start_s in (5.0, 10.0):
        newest = clips.save(event(start_s, start_s + 1), STARTED)
    assert names(tmp_path / "clips") == [foreign.name, changed.name, newest.name]
    assert (foreign.read_text(), changed.read_text()) == ("mine", "edited")


def test_the_manifest_forgets_deleted_clips(tmp_path):
    clips = clips_in(tmp_path / "clips", max_bytes=1)
    for _ in range(100):
        clips.save(event(1.0, 1.1), STARTED)
    assert len((tmp_path / "clips" / MANIFEST).read_bytes().splitlines()) < 250


def test_a_write_error_is_reported_and_does_not_raise(tmp_path):
    clips = clips_in(tmp_path / "clips")
    (tmp_path / "clips").rmdir()
    (tmp_path / "clips").write_text("a file")
    notes = []
    saved_clips.save_or_report(clips, event(1.0, 2.0), STARTED, notes.append)
    assert len(notes) == 1
    assert "cannot write" in notes[0]


@pytest.mark.parametrize(("text", "size"), [("500", 500e6), ("1MB", 1e6), ("2 gb", 2e9)])
def test_a_limit_without_a_unit_is_in_megabytes(text, size):
    assert saved_clips.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-5", "much", "5TB"])
def test_an_invalid_limit_is_rejected(text):
    with pytest.raises(SettingsError, match="the limit on disk space is .*: expected megabytes such as 500, or a size"):
        saved_clips.parse_size(text)


class LoudIsSpeech:
    """Takes every sound whose peak is above 0.4 for speech."""

    def find(self, sound: audio.Sound) -> str | None:
        return "Speech" if np.abs(sound.samples).max() > 0.4 else None


def test_clips_with_speech_are_not_written(tmp_path):
    clips = clips_in(tmp_path / "clips")
    clips.speech = LoudIsSpeech()
    assert clips.save(event(10.0, 12.0), STARTED) is None
    assert names(tmp_path / "clips") == []
    quiet = saved_clips.SavedClips(tmp_path / "quiet", rate_hz=RATE_HZ, max_bytes=10**9, speech=LoudIsSpeech())
    quiet.add(0, np.full(40_000, 0.1, np.float32))
    assert quiet.save(event(1.0, 2.0), STARTED).is_file()

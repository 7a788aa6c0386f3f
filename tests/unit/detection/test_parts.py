"""Long recordings in parts, and files on an executor: the same bits as one machine, whatever the format."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark.detection.file_analysis import FileAnalysis, on_cluster, parts
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Input
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import SettingsError
from soundmark.runtime.parallel import same_files

pytestmark = pytest.mark.slow

RATE_HZ = 16_000


def recording(seconds: float, rate_hz: int = RATE_HZ, channels: int = 1) -> np.ndarray:
    """Tones that come and go, in noise."""
    rng = np.random.default_rng(7)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    tones = np.sin(2 * np.pi * 300 * time_s) * (time_s % 11 < 3) + np.sin(2 * np.pi * 3000 * time_s) * (time_s % 17 < 4)
    sound = (0.3 * tones + 0.05 * rng.standard_normal(len(time_s))).astype(np.float32)
    return np.stack([sound * (1 - 0.3 * i) for i in range(channels)], axis=1)


def analyzed(model, path: Path, settings: DetectionSettings, executor=None) -> FileResult:
    with FileAnalysis(model, [Input(str(path), path.name)], settings, jobs=executor or 1) as analysis:
        (found,) = analysis
    return found


@pytest.fixture
def in_parts(monkeypatch):
    """Small parts; return the number of parts that were scored."""
    monkeypatch.setattr(on_cluster, "LEAST_DIVIDED_BYTES", 1)
    monkeypatch.setattr(on_cluster, "SHARDS_PER_CORE", 3)
    scored = []

    def plan(model, path, settings, *, most):
        found = parts.plan_parts(model, path, settings, part_s=15.0, most=most)
        scored.append(len(found))
        return found

    monkeypatch.setattr(on_cluster, "plan_parts", plan)
    return scored


@pytest.fixture
def small_batches(monkeypatch):
    from soundmark.models import classifier

    monkeypatch.setattr(classifier, "MAX_BATCH_SAMPLES", 5 * RATE_HZ)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.7])
@pytest.mark.parametrize(
    ("container", "subtype", "rate_hz", "channels"),
    [
        ("WAV", "PCM_16", RATE_HZ, 1),
        ("WAV", "FLOAT", RATE_HZ, 2),
        ("FLAC", "PCM_16", 22_050, 1),
        ("OGG", "VORBIS", 44_100, 1),
        ("MP3", "MPEG_LAYER_III", 44_100, 2),
    ],
)
def test_parts_give_the_bits_of_the_whole(
    tone_detector, in_parts, small_batches, monkeypatch, tmp_path, container, subtype, rate_hz, channels, overlap
):
    path = tmp_path / "long.bin"
    with soundfile.SoundFile(path, "w", rate_hz, channels, subtype=subtype, format=container) as file:
        for block in np.array_split(recording(93.7, rate_hz, channels), 100):  # libsndfile's Vorbis needs short blocks
            file.write(block)
    settings = DetectionSettings(overlap=overlap, calibration_db=94.0)
    whole = analyzed(tone_detector, path, settings)
    monkeypatch.setattr(on_cluster, "analyze_file", None)  # the parts are enough
    with ThreadPoolExecutor(3) as pool:
        assert analyzed(tone_detector, path, settings, pool) == whole
    assert in_parts[0] > 1
    assert len(whole.events) > 3


@pytest.mark.parametrize("samples", [-1, 0, 1, 700])
def test_lengths_around_a_whole_number_of_windows(tone_detector, in_parts, small_batches, tmp_path, samples: int):
    window = round(tone_detector.card.window_s * RATE_HZ)
    path = tmp_path / "long.wav"
    soundfile.write(path, recording(200)[: 40 * window + samples], RATE_HZ)
    settings = DetectionSettings(overlap=0.0)
    with ThreadPoolExecutor(3) as pool:
        assert analyzed(tone_detector, path, settings, pool) == analyzed(tone_detector, path, settings)
    assert in_parts[0] > 1


def damaged_sound(path: Path, damage: str) -> None:
    sound = recording(93.7)
    if damage == "nan":
        sound[50 * RATE_HZ] = np.nan
    elif damage == "loud":
        sound[50 * RATE_HZ] = 1e20
    form = ("FLAC", "PCM_16") if damage == "flac" else ("WAV", "FLOAT")
    soundfile.write(path, sound, RATE_HZ, format=form[0], subtype=form[1])
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[: len(data) * 2 // 3])
    elif damage == "flac":
        data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
        path.write_bytes(data)


@pytest.mark.parametrize("damage", ["nan", "loud", "cut", "flac"])
def test_a_damaged_recording_is_reported_as_by_one_machine(tone_detector, in_parts, small_batches, tmp_path, damage):
    damaged_sound(tmp_path / "long.bin", damage)
    settings = DetectionSettings(overlap=0.0)
    whole = analyzed(tone_detector, tmp_path / "long.bin", settings)
    assert not isinstance(whole, FileResult) or whole.note
    with ThreadPoolExecutor(3) as pool:
        assert analyzed(tone_detector, tmp_path / "long.bin", settings, pool) == whole


def test_files_and_parts_arrive_in_the_order_of_the_list(tone_detector, in_parts, tmp_path):
    files = []
    for number, seconds in enumerate((2, 93, 1, 0.5, 60, 3)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, recording(seconds), RATE_HZ)
        files.append(Input(str(path), path.name))
    files.insert(2, Input(str(tmp_path / "none.wav"), "none.wav"))
    settings = DetectionSettings()
    with FileAnalysis(tone_detector, files, settings, jobs=1) as analysis:
        expected = list(analysis)
    states = []
    with (
        ThreadPoolExecutor(3) as pool,
        FileAnalysis(tone_detector, files, settings, jobs=pool, on_progress=states.append) as analysis,
    ):
        assert list(analysis) == expected
    assert (states[-1].done, states[-1].share) == (7, 1.0)
    assert states[-1].analyzed_s == pytest.approx(159.5)


def test_a_worker_with_another_file_stops_the_analysis(tone_detector, tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    soundfile.write(path, recording(1), RATE_HZ)
    real, main = same_files.size, threading.current_thread()

    def size(path: str) -> int | None:
        return real(path) if threading.current_thread() is main else None

    monkeypatch.setattr(same_files, "size", size)
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(SettingsError, match=r'the worker on .* does not find ".*a.wav", which has .* bytes on'),
    ):
        analyzed(tone_detector, path, DetectionSettings(), pool)


def test_a_worker_of_another_version_stops_the_analysis(tone_detector, tmp_path, monkeypatch):
    from soundmark.errors import SoundmarkError
    from soundmark.runtime import parallel

    main = threading.current_thread()
    versions = lambda: "0.1.0" if threading.current_thread() is main else "0.0.9"  # noqa: E731
    monkeypatch.setattr(parallel, "installed_version", versions)
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(SoundmarkError, match="a worker has soundmark 0.0.9, but the command was started with 0.1.0"),
    ):
        list(parallel.map_unordered(os.fspath, ["a"], jobs=pool))

"""Files heard one beside the other: the same as each alone, in order, in constant memory, with events."""

import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark import audio
from soundmark.detection.file_analysis import analyze_file, analyze_files
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Failure, Input
from soundmark.detection.settings import DetectionSettings, read_thresholds
from soundmark.errors import SettingsError
from soundmark.models.bundle import Bundle
from soundmark.models.classifier import Model
from support.sounds import RATE_HZ, wave


@pytest.fixture
def files(tmp_path: Path) -> list[Input | Failure]:
    for number, seconds in enumerate((0.2, 1.0, 1.04, 7.3, 30.5, 2.0)):
        audio.write(tmp_path / f"{number}.wav", wave(seconds, number), RATE_HZ)
    (tmp_path / "broken.wav").write_text("no sound")
    names = ["0.wav", "1.wav", "broken.wav", "2.wav", "3.wav", "none.wav", "4.wav", "5.wav"]
    return [Input(str(tmp_path / name), name) for name in names]


@pytest.mark.parametrize("overlap", [0.0, 0.75])
def test_files_are_heard_as_each_alone_whatever_runs_beside_them(random_model, files, overlap):
    settings = DetectionSettings(overlap=overlap)
    alone = [analyze_file(random_model, file, settings) for file in files]
    for jobs in (1, 2, 5):
        assert list(analyze_files(random_model, files, settings, jobs=jobs)) == alone
    assert [type(found).__name__ for found in alone] == ["FileResult"] * 2 + ["Failure", *["FileResult"] * 2] + [
        "Failure",
        *["FileResult"] * 2,
    ]


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_what_is_heard_is_what_python_hears(random_model, files, overlap):
    for file in (files[4], files[6], files[7]):
        found = analyze_file(random_model, file, DetectionSettings(overlap=overlap, top_k=3))
        assert isinstance(found, FileResult)
        assert list(found.events) == random_model.events(file.path, overlap=overlap)
        scores = random_model.scores(file.path, overlap=overlap)
        assert len(scores) == found.windows
        best = {entry["label"]: entry["score"] for entry in found.answer}
        for label, p in zip(random_model.classes, scores.probabilities.mean(axis=0, dtype=np.float64), strict=True):
            assert best[label] == pytest.approx(p, abs=1e-6)
        assert found.duration_s == pytest.approx(audio.read(file.path).duration_s, abs=1e-4)


def test_without_overlap_events_are_windows_merged(random_model, files):
    scores = random_model.scores(files[6].path)
    for event in random_model.events(files[6].path):
        of = scores.probabilities[:, random_model.classes.index(event.label)]
        inside = (scores.start_s >= event.start_s - 1e-6) & (scores.stop_s <= event.stop_s + 1e-6)
        assert event.peak == pytest.approx(of[inside].max())
        assert event.peak >= 0.5
        assert event.start_s in scores.start_s


def test_every_clip_has_an_event_unless_a_threshold_was_asked_for(random_model, files):
    clip = analyze_file(random_model, files[1], DetectionSettings())
    assert [(event.start_s, event.stop_s) for event in clip.events] == [(0.0, clip.duration_s)]
    assert clip.events[0].label == clip.answer[0]["label"]
    unsure = Model(Bundle(random_model.bundle.graph, replace(random_model.card, temperature=10.0)))
    assert len(analyze_file(unsure, files[1], DetectionSettings()).events) == 1
    assert analyze_file(unsure, files[1], DetectionSettings(min_confidence=0.9)).events == []


def test_thresholds_of_classes_go_before_the_one_of_all(random_model):
    found = DetectionSettings(min_confidence=0.4, thresholds={"a": 0.9}).threshold(random_model)
    assert found.tolist() == [0.4, 0.9, 0.4]
    assert DetectionSettings().threshold(random_model) is None


def test_a_threshold_of_no_class_is_refused_before_anything_is_heard(random_model, files):
    with pytest.raises(SettingsError, match='there is no class of this model "d"'):
        next(analyze_files(random_model, files, DetectionSettings(thresholds={"d": 0.5})))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("t.toml", "a = 1.5", 'the threshold of "a" in ".*" is 1.5: give a number from 0 to 1'),
        ("t.toml", "a = true", 'the threshold of "a" in ".*" is True'),
        ("t.toml", "a: 0.5", "are no TOML"),
        ("t.csv", "label,threshold\na,loud\n", 'the threshold of "a" in ".*" is \'loud\''),
        ("none.toml", None, "cannot be read: No such file"),
    ],
)
def test_thresholds_that_cannot_be_meant_are_refused(tmp_path, name, text, why):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=why):
        read_thresholds(tmp_path / name)


def test_thresholds_are_read_from_csv_and_toml(tmp_path):
    (tmp_path / "t.csv").write_text("label,threshold\na,0.9\nb,0.25\n")
    (tmp_path / "t.toml").write_text("a = 0.9\nb = 0.25\n")
    assert read_thresholds(tmp_path / "t.csv") == read_thresholds(tmp_path / "t.toml")


@pytest.mark.parametrize(
    "settings", [{"overlap": 1.0}, {"min_confidence": 1.1}, {"merge_gap_s": -1.0}, {"release": float("nan")}]
)
def test_settings_that_cannot_be_meant_are_refused(settings):
    with pytest.raises(SettingsError, match=f"{next(iter(settings))} is "):
        DetectionSettings(**settings)


@pytest.mark.parametrize(
    "samples",
    [
        np.ones(1, np.float32) / 2,
        np.zeros(5 * RATE_HZ, np.float32),
        np.full(5 * RATE_HZ, 0.5, np.float32),
        np.stack([wave(3.0, 1, 192_000), wave(3.0, 2, 192_000)], axis=1),
    ],
    ids=["one sample", "silence", "an offset", "192 kHz in stereo"],
)
def test_odd_sounds_are_heard_with_sense(random_model, samples, tmp_path):
    rate_hz = 192_000 if samples.ndim == 2 else RATE_HZ
    audio.write(tmp_path / "odd.wav", samples, rate_hz)
    found = analyze_file(random_model, Input(str(tmp_path / "odd.wav"), "odd.wav"), DetectionSettings())
    assert isinstance(found, FileResult)
    assert np.isfinite([entry["score"] for entry in found.answer]).all()
    assert found.duration_s == pytest.approx(max(len(samples) / rate_hz, 1 / RATE_HZ))


def test_nan_far_into_an_hour_fails_that_file_by_name(random_model, tmp_path):
    samples = np.zeros(40 * RATE_HZ, np.float32)
    samples[-5] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, RATE_HZ, subtype="FLOAT")
    found = analyze_file(random_model, Input(str(tmp_path / "nan.wav"), "nan.wav"), DetectionSettings())
    assert isinstance(found, Failure)
    assert 'nan.wav" holds 1 sample that is no number' in found.reason


def test_a_file_that_is_cut_off_is_heard_as_far_as_it_goes_and_says_so(random_model, tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, wave(40.0), RATE_HZ)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = analyze_file(random_model, Input(str(path), path.name), DetectionSettings())
    assert "cannot be decoded beyond" in found.note
    assert 10 < found.duration_s < 30
    assert found.duration_s == pytest.approx(audio.read(path).duration_s, abs=1e-3)


def test_a_long_file_needs_the_memory_of_a_short_one(random_model, tmp_path):
    random_model.bundle.write(tmp_path / "m.onnx")
    script = (
        "import sys, resource, soundmark\n"
        "soundmark.load(sys.argv[1]).events(sys.argv[2], jobs=2)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )

    def peak_kb(seconds: int) -> int:
        path = tmp_path / f"{seconds}.flac"
        with soundfile.SoundFile(path, "w", 8000, 1) as file:
            for _ in range(seconds // 10):
                file.write(np.zeros(80_000, np.int16))
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "m.onnx"), str(path)], capture_output=True)
        return int(done.stdout)

    assert resource.RUSAGE_SELF == 0
    assert peak_kb(6000) < 1.1 * peak_kb(300)


def test_embeddings_are_refused_by_a_model_without_them(random_model):
    with pytest.raises(Exception, match="has no embedding: use one of the recipes transfer"):
        random_model.embed(wave(2.0), RATE_HZ)

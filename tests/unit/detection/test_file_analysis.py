"""Parallel analysis of files: the same results as one by one, in order, in constant memory."""

import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark import audio
from soundmark.detection.file_analysis import FileCallbacks, analyze_file, analyze_files
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Failure, Input
from soundmark.detection.settings import DetectionSettings, read_thresholds
from soundmark.errors import BundleError, SettingsError
from soundmark.models.bundle import Bundle
from soundmark.models.classifier import Model
from support.sounds import RATE_HZ, wave

pytestmark = pytest.mark.slow


@pytest.fixture
def files(tmp_path: Path) -> list[Input | Failure]:
    for number, seconds in enumerate((0.2, 1.0, 1.04, 7.3, 30.5, 2.0)):
        audio.write(tmp_path / f"{number}.wav", wave(seconds, number), RATE_HZ)
    (tmp_path / "broken.wav").write_text("no sound")
    names = ["0.wav", "1.wav", "broken.wav", "2.wav", "3.wav", "none.wav", "4.wav", "5.wav"]
    return [Input(str(tmp_path / name), name) for name in names]


@pytest.mark.parametrize("overlap", [0.0, 0.75])
def test_parallel_analysis_gives_the_same_results_as_one_file_at_a_time(random_model, files, overlap):
    settings = DetectionSettings(overlap=overlap)
    expected = [analyze_file(random_model, file, settings) for file in files]
    for jobs in (1, 2, 5):
        assert list(analyze_files(random_model, files, settings, jobs=jobs)) == expected
    assert [Path(found.file).name for found in expected if isinstance(found, Failure)] == ["broken.wav", "none.wav"]
    assert len(expected) == 8


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_a_result_has_the_events_and_mean_scores_of_the_model(random_model, files, overlap):
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


def test_without_overlap_an_event_consists_of_complete_windows(random_model, files):
    scores = random_model.scores(files[6].path)
    for event in random_model.events(files[6].path):
        probabilities = scores.probabilities[:, random_model.classes.index(event.label)]
        inside = (scores.start_s >= event.start_s - 1e-6) & (scores.stop_s <= event.stop_s + 1e-6)
        assert event.peak == pytest.approx(probabilities[inside].max())
        assert event.peak >= 0.5
        assert event.start_s in scores.start_s


def test_a_short_clip_always_has_an_event_unless_a_threshold_is_set(random_model, files):
    clip = analyze_file(random_model, files[1], DetectionSettings())
    assert [(event.start_s, event.stop_s) for event in clip.events] == [(0.0, clip.duration_s)]
    assert clip.events[0].label == clip.answer[0]["label"]
    unsure = Model(Bundle(random_model.bundle.graph, replace(random_model.card, temperature=10.0)))
    assert len(analyze_file(unsure, files[1], DetectionSettings()).events) == 1
    assert analyze_file(unsure, files[1], DetectionSettings(min_confidence=0.9)).events == []


def test_thresholds_of_classes_override_the_common_threshold(random_model):
    found = DetectionSettings(min_confidence=0.4, thresholds={"a": 0.9}).threshold(random_model)
    assert found.tolist() == [0.4, 0.9, 0.4]
    assert DetectionSettings().threshold(random_model) is None


def test_a_threshold_for_an_unknown_class_is_rejected_before_any_file_is_read(random_model, files):
    with pytest.raises(SettingsError, match='the model has no class "d"'):
        next(analyze_files(random_model, files, DetectionSettings(thresholds={"d": 0.5})))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("t.toml", "a = 1.5", 'the threshold of "a" in ".*" is 1.5: expected a number from 0 to 1'),
        ("t.toml", "a = true", 'the threshold of "a" in ".*" is True'),
        ("t.toml", "a: 0.5", "is not valid TOML"),
        ("t.csv", "label,threshold\na,loud\n", 'the threshold of "a" in ".*" is \'loud\''),
        ("none.toml", None, "cannot be read: No such file"),
    ],
)
def test_invalid_thresholds_are_rejected(tmp_path, name, text, why):
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
def test_invalid_settings_are_rejected(settings):
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
    ids=["one sample", "silence", "constant", "192 kHz in stereo"],
)
def test_unusual_sounds_give_finite_scores(random_model, samples, tmp_path):
    rate_hz = 192_000 if samples.ndim == 2 else RATE_HZ
    audio.write(tmp_path / "sound.wav", samples, rate_hz)
    found = analyze_file(random_model, Input(str(tmp_path / "sound.wav"), "sound.wav"), DetectionSettings())
    assert isinstance(found, FileResult)
    assert np.isfinite([entry["score"] for entry in found.answer]).all()
    assert found.duration_s == pytest.approx(max(len(samples) / rate_hz, 1 / RATE_HZ))


def test_nan_late_in_a_file_is_a_failure(random_model, tmp_path):
    samples = np.zeros(40 * RATE_HZ, np.float32)
    samples[-5] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, RATE_HZ, subtype="FLOAT")
    found = analyze_file(random_model, Input(str(tmp_path / "nan.wav"), "nan.wav"), DetectionSettings())
    assert isinstance(found, Failure)
    assert 'nan.wav" contains 1 sample that is not a finite number' in found.reason


def test_the_decodable_part_of_a_truncated_file_is_analysed_with_a_note(random_model, tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, wave(40.0), RATE_HZ)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = analyze_file(random_model, Input(str(path), path.name), DetectionSettings())
    assert "cannot be decoded beyond" in found.note
    assert 10 < found.duration_s < 30
    assert found.duration_s == pytest.approx(audio.read(path).duration_s, abs=1e-3)


def test_a_long_file_needs_no_more_memory_than_a_short_one(random_model, tmp_path):
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


def test_a_model_without_embeddings_raises(random_model):
    with pytest.raises(BundleError, match="has no embedding output: train one with the recipe transfer"):
        random_model.embed(wave(2.0), RATE_HZ)


def test_a_threshold_with_a_long_label_or_value_is_refused_with_the_name_of_its_file(tmp_path):
    path = tmp_path / "limits.toml"
    path.write_text(f'"{"c" * 50_000}" = "{"d" * 5000}"\n')
    with pytest.raises(
        SettingsError, match=r'of "c+…c+" in ".*limits.toml" is \'d+…d+\': expected a number from 0 to 1'
    ):
        read_thresholds(path)


@pytest.mark.parametrize("jobs", [1, 2])
def test_callbacks_get_the_results_while_a_file_is_analysed(random_model, files, jobs):
    opened, samples, scores, events = [], [], [], []
    callbacks = FileCallbacks(
        opened=lambda *about: opened.append(about),
        samples=lambda start, block: samples.append((start, len(block))),
        scores=scores.append,
        events=events.extend,
    )
    with ThreadPoolExecutor(jobs) as pool:
        found = analyze_file(
            random_model, files[4], DetectionSettings(), pool=pool if jobs > 1 else None, callbacks=callbacks
        )
    assert opened == [(pytest.approx(found.duration_s, abs=1e-3), RATE_HZ)]
    assert sum(n for _, n in samples) == round(found.duration_s * RATE_HZ)
    assert [start for start, _ in samples] == [0, *np.cumsum([n for _, n in samples])[:-1].tolist()]
    rows = np.concatenate([part.probabilities for part in scores])
    np.testing.assert_allclose(rows, random_model.scores(files[4].path).probabilities, atol=1e-6)
    assert sorted(events, key=lambda event: event.start_s) == list(found.events)


def test_an_exception_of_a_callback_stops_the_analysis(random_model, files):
    with pytest.raises(ZeroDivisionError, match="by zero"):
        analyze_file(random_model, files[4], DetectionSettings(), callbacks=FileCallbacks(scores=lambda part: 1 // 0))

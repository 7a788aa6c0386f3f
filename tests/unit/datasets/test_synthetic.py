"""The synthetic data set: UrbanSound8K's layout, reproducible files, and the acoustic properties of each class."""

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from scipy import signal

from soundmark import errors
from soundmark.datasets import synthetic

pytestmark = pytest.mark.slow

SEEDS = range(6)
CLASSES = (
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
)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of ``soundmark demo``."""
    return synthetic.write(tmp_path_factory.mktemp("synthetic") / "city")


@pytest.fixture(scope="module")
def rows(city: Path) -> list[dict[str, str]]:
    with (city / "metadata" / "UrbanSound8K.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def clips(city: Path, rows: list[dict[str, str]]) -> list[np.ndarray]:
    return [soundfile.read(path_of(city, row), dtype="float32")[0] for row in rows]


def path_of(city: Path, row: dict[str, str]) -> Path:
    return city / "audio" / f"fold{row['fold']}" / row["slice_file_name"]


def small(folder: Path, **settings: int) -> Path:
    return synthetic.write(folder, recordings_per_class=3, clips_per_recording=1, **settings)


def digest(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(p.relative_to(root)).encode() + p.read_bytes() for p in files)).hexdigest()


# --- Layout -----------------------------------------------------------------------------------------------------------


def test_the_table_has_the_columns_of_urbansound8k_and_300_rows(rows):
    assert list(rows[0]) == ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
    assert len(rows) == 300


def test_the_table_lists_exactly_the_existing_files(city, rows):
    assert {path_of(city, row) for row in rows} == set(city.glob("audio/*/*"))


def test_a_file_name_consists_of_recording_class_occurrence_and_slice(rows):
    for row in rows:
        fs_id, class_id, occurrence, slice_id = row["slice_file_name"].removesuffix(".wav").split("-")
        assert (fs_id, class_id, slice_id) == (row["fsID"], row["classID"], "0")
        assert int(occurrence) in range(4)
        assert CLASSES[int(class_id)] == row["class"]


def test_a_recording_has_one_fold_one_class_and_three_or_four_clips(rows):
    folds = Counter((row["fsID"], row["fold"], row["class"]) for row in rows)
    assert len(folds) == len({row["fsID"] for row in rows}) == 90
    assert set(folds.values()) == {3, 4}


def test_every_class_has_ten_clips_in_every_fold(rows):
    assert Counter((row["class"], row["fold"]) for row in rows) == {(c, f): 10 for c in CLASSES for f in "123"}


def test_durations_in_the_table_are_those_of_the_files(rows, clips):
    for row, clip in zip(rows, clips, strict=True):
        assert float(row["end"]) - float(row["start"]) == pytest.approx(clip.size / 22050, abs=1e-5)


def test_clips_are_16_bit_wav_files_of_at_most_four_seconds(city, rows):
    infos = [soundfile.info(path_of(city, row)) for row in rows]
    assert {(i.format, i.subtype, i.samplerate, i.channels) for i in infos} == {("WAV", "PCM_16", 22050, 1)}
    shorter = Counter(row["class"] for row, info in zip(rows, infos, strict=True) if info.duration < 4)
    assert set(shorter) == {"car_horn", "dog_bark", "gun_shot"}
    assert 30 < sum(shorter.values()) < 80
    assert all(0.5 <= info.duration <= 4 for info in infos)


def test_foreground_and_background_salience_occur(rows):
    assert set(Counter(row["salience"] for row in rows)) == {"1", "2"}


# --- Levels -----------------------------------------------------------------------------------------------------------


def test_no_clip_is_silent_or_clipped(clips):
    peaks = np.array([np.abs(clip).max() for clip in clips])
    assert peaks.min() > 0.01
    assert peaks.max() < 0.95


def test_levels_vary_between_and_within_recordings(rows, clips):
    peak_db = np.array([20 * np.log10(np.abs(clip).max()) for clip in clips])
    sources = np.array([row["fsID"] for row in rows])
    assert np.std(peak_db) > 4
    assert all(np.ptp(peak_db[sources == source]) > 0.01 for source in set(sources))


# --- Seeds and recordings ---------------------------------------------------------------------------------------------


def test_the_same_seed_gives_identical_files(tmp_path):
    assert digest(small(tmp_path / "a")) == digest(small(tmp_path / "b"))


def test_another_seed_gives_different_files(tmp_path):
    a, b = small(tmp_path / "a", seed=0), small(tmp_path / "b", seed=1)
    assert all(p.read_bytes() != (b / p.relative_to(a)).read_bytes() for p in a.glob("audio/*/*"))


def test_a_clip_does_not_depend_on_the_size_of_the_data_set(city, tmp_path):
    for path in small(tmp_path / "small").glob("audio/*/*"):
        assert path.read_bytes() == (city / "audio" / path.parent.name / path.name).read_bytes()


def test_clips_of_one_recording_are_similar_but_not_identical(rows, clips):
    spectra = np.stack([coarse_features(clip) for clip in clips])
    sources, labels = (np.array([row[key] for row in rows]) for key in ("fsID", "class"))
    distances = np.linalg.norm(spectra[:, None] - spectra[None], axis=2)
    same_source = (sources[:, None] == sources) & ~np.eye(len(rows), dtype=bool)
    same_label = (labels[:, None] == labels) & (sources[:, None] != sources)
    assert distances[same_source].min() > 0
    assert np.median(distances[same_source]) < 0.7 * np.median(distances[same_label])


def test_an_unseen_clip_is_not_in_the_data_set(city, tmp_path):
    written = {path.read_bytes() for path in city.glob("audio/*/*")}
    path = synthetic.unseen(tmp_path / "new.wav", "siren", seed=0)
    assert path == tmp_path / "new.wav"
    assert path.read_bytes() not in written
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == 22050
    np.testing.assert_allclose(samples, synthetic.synthesise("siren", seed=0), atol=1 / 32768)


# --- Difficulty -------------------------------------------------------------------------------------------------------


def coarse_features(clip: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of the level of 24 frequency bands, in dB."""
    _, _, power = signal.spectrogram(clip, 22050, nperseg=512, noverlap=256)
    bands = np.add.reduceat(power, np.unique(np.geomspace(1, 256, 28).astype(int))[:24], axis=0)
    db = 10 * np.log10(bands + 1e-12)
    return np.r_[db.mean(axis=1), db.std(axis=1)]


def test_a_simple_classifier_scores_above_chance_but_not_perfectly(rows, clips):
    x, y = np.stack([coarse_features(clip) for clip in clips]), np.array([int(row["classID"]) for row in rows])
    folds, accuracies = np.array([row["fold"] for row in rows]), []
    for fold in "123":
        train = folds != fold
        means = np.stack([x[train & (y == c)].mean(axis=0) for c in range(10)])
        nearest = np.linalg.norm(x[~train][:, None] - means, axis=2).argmin(axis=1)
        accuracies.append(np.mean(nearest == y[~train]))
    assert 0.4 < np.mean(accuracies) < 0.95


def test_leakage_raises_the_accuracy_of_a_nearest_neighbour_classifier(rows, clips):
    x, y = np.stack([coarse_features(clip) for clip in clips]), np.array([row["class"] for row in rows])
    sources = np.array([row["fsID"] for row in rows])
    distances = np.linalg.norm(x[:, None] - x[None], axis=2) + np.diag(np.full(len(x), np.inf))
    with_leakage = np.mean(y[distances.argmin(axis=1)] == y)
    without = np.mean(y[np.where(sources[:, None] == sources, np.inf, distances).argmin(axis=1)] == y)
    assert with_leakage > without + 0.02
    assert without < 0.97


# --- Acoustic properties of the classes -------------------------------------------------------------------------------


@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_sound_is_finite_float32_and_neither_silent_nor_clipped(label, seed):
    samples = synthetic.synthesise(label, seed=seed)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert 0.01 < np.abs(samples).max() < 0.95


def clean(label: str, seed: int) -> np.ndarray:
    """4 s of the sound without other sounds, street noise and reverberation."""
    samples = synthetic.SOUNDS[label](np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1]), 88200)
    assert samples.shape == (88200,)
    return np.asarray(samples, np.float32)


def envelope_peak_hz(samples: np.ndarray, above_hz: float) -> float:
    """The dominant modulation frequency of the envelope above ``above_hz``, between 4 Hz and 80 Hz."""
    high = signal.sosfiltfilt(signal.butter(4, above_hz, "highpass", fs=22050, output="sos"), samples)
    envelope = np.sqrt(np.mean(high[:88000].reshape(-1, 100) ** 2, axis=1))  # 220.5 values per second
    hz, power = signal.periodogram(envelope, 220.5, window="hann", detrend="linear")
    in_range = (hz > 4) & (hz < 80)
    return float(hz[in_range][power[in_range].argmax()])


def power_fraction_below(samples: np.ndarray, hz: float) -> float:
    """The fraction of the power below ``hz``."""
    f, power = signal.welch(samples, 22050, nperseg=4096)
    return float(power[f < hz].sum() / power.sum())


def level_db(samples: np.ndarray) -> np.ndarray:
    """The level of each section of 10 ms."""
    return 10 * np.log10(np.mean(samples[:88000].reshape(-1, 220) ** 2, axis=1) + 1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_pitch_of_a_siren_varies(seed):
    pitch_hz = librosa.yin(clean("siren", seed), fmin=350, fmax=2000, sr=22050, frame_length=1024)
    low_hz, high_hz = np.percentile(pitch_hz, [10, 90])
    assert high_hz > 1.2 * low_hz


@pytest.mark.parametrize("seed", SEEDS)
def test_a_jackhammer_has_8_to_20_blows_per_second(seed):
    assert 8 < envelope_peak_hz(clean("jackhammer", seed), above_hz=400) < 20


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drill_has_22_to_65_blows_per_second(seed):
    assert 22 < envelope_peak_hz(clean("drilling", seed), above_hz=1500) < 65


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dog_barks_in_short_bursts_with_silence_between(seed):
    levels_db = level_db(clean("dog_bark", seed))
    loud = levels_db > levels_db.max() - 25
    edges = np.diff(np.r_[0, loud.astype(int), 0])
    lengths_s = (np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)) / 100.2
    assert 3 <= lengths_s.size <= 20
    assert lengths_s.max() < 0.3
    assert np.mean(levels_db < levels_db.max() - 60) > 0.25


@pytest.mark.parametrize("seed", SEEDS)
def test_an_idling_engine_is_a_low_periodic_sound(seed):
    samples = clean("engine_idling", seed)
    assert power_fraction_below(samples, 600) > 0.7
    low = signal.decimate(samples, 10, ftype="fir")[:2205]  # 1 s, in which the speed is nearly constant
    lags = np.arange(1, 300)
    autocorrelation = np.array([low[:-lag] @ low[lag:] / (2205 - lag) for lag in lags]) / np.mean(low**2)
    slow, fast = (2205 / lags >= 8) & (2205 / lags <= 47), (2205 / lags >= 60) & (2205 / lags <= 300)
    assert autocorrelation[slow].max() > 0.4  # periodic with 8 to 47 Hz
    assert autocorrelation[fast].max() < autocorrelation[slow].max()  # and not faster


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gun_shot_has_a_sudden_onset(seed):
    samples = np.abs(clean("gun_shot", seed))
    onset = np.flatnonzero(samples > 0.1 * samples.max())[0]
    assert samples[: max(1, onset - 50)].max() < 0.01 * samples.max()
    assert samples[onset : onset + 220].max() > 0.4 * samples.max()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_car_horn_has_two_tones_a_major_third_apart(seed):
    samples = clean("car_horn", seed)
    hz, power = signal.welch(samples, 22050, nperseg=8192)
    in_range = (hz > 280) & (hz < 700)
    peaks_hz = hz[in_range][signal.find_peaks(power[in_range], height=0.05 * power[in_range].max())[0]]
    ratios = peaks_hz[:, None] / peaks_hz
    assert np.abs(ratios - 1.26).min() < 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_an_air_conditioner_has_a_steady_level(seed):
    samples = clean("air_conditioner", seed)
    assert np.std(level_db(samples)) < 3.5
    assert power_fraction_below(samples, 2000) > 0.7


@pytest.mark.parametrize("seed", SEEDS)
def test_children_playing_are_in_the_frequency_range_of_voices(seed):
    samples = clean("children_playing", seed)
    assert power_fraction_below(samples, 4500) - power_fraction_below(samples, 250) > 0.9
    assert np.std(level_db(samples)) > 3.5


@pytest.mark.parametrize("seed", SEEDS)
def test_street_music_has_a_beat(seed):
    onsets = librosa.onset.onset_strength(y=clean("street_music", seed), sr=22050)
    rhythm = librosa.autocorrelate(onsets - onsets.mean())
    assert rhythm[8:26].max() > 0.2 * rhythm[0]  # a beat is 0.22 s to 0.5 s long, a frame 23 ms


# --- Writing ----------------------------------------------------------------------------------------------------------


def test_writing_again_with_the_same_settings_does_nothing(tmp_path):
    root = small(tmp_path / "city")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert small(tmp_path / "city") == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_no_temporary_files_remain(tmp_path):
    small(tmp_path / "deep" / "city")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["city"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "city").mkdir()
    assert (small(tmp_path / "city") / "metadata" / "UrbanSound8K.csv").is_file()


def test_a_data_set_with_other_settings_is_not_overwritten(tmp_path):
    small(tmp_path / "city", seed=0)
    with pytest.raises(
        errors.OutputError, match=r"city\" contains a synthetic data set with other settings, .* Remove it, or choose"
    ):
        small(tmp_path / "city", seed=1)


def test_a_data_set_of_another_version_is_not_overwritten(tmp_path, monkeypatch):
    small(tmp_path / "city")
    monkeypatch.setattr(synthetic, "VERSION", synthetic.VERSION + 1)
    with pytest.raises(errors.OutputError, match="a synthetic data set with other settings"):
        small(tmp_path / "city")


def test_a_folder_with_other_files_is_not_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(errors.OutputError, match="contains other files"):
        small(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_with_the_name_of_the_folder_is_not_overwritten(tmp_path):
    (tmp_path / "city").write_text("mine")
    with pytest.raises(errors.OutputError, match="a file with this name exists"):
        small(tmp_path / "city")
    assert (tmp_path / "city").read_text() == "mine"


def test_a_failed_synthesis_leaves_no_files(tmp_path, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synthetic.audio, "write", full)
    with pytest.raises(errors.OutputError, match="No space left on device"):
        small(tmp_path / "city")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("recordings", "clips"), [(2, 3), (3, 0)])
def test_too_few_recordings_or_clips_are_an_error(tmp_path, recordings, clips):
    with pytest.raises(
        errors.SettingsError, match=f"recordings_per_class={recordings} and clips_per_recording={clips}"
    ):
        synthetic.write(tmp_path / "city", recordings_per_class=recordings, clips_per_recording=clips)
    assert list(tmp_path.iterdir()) == []


def test_the_error_for_an_unknown_class_suggests_the_nearest_name(tmp_path):
    with pytest.raises(errors.SettingsError, match='there is no class "sirens". Did you mean "siren"'):
        synthetic.synthesise("sirens", seed=0)
    with pytest.raises(errors.SettingsError, match="there is no class"):
        synthetic.unseen(tmp_path / "new.wav", "dog")


def test_the_stamp_contains_the_settings(tmp_path):
    stamp = json.loads((small(tmp_path / "city", seed=7) / "synthesis.json").read_text())
    assert stamp == {"synthesis": 1, "seed": 7, "recordings": 3, "clips": 1}

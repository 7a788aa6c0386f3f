"""The synthesised city: UrbanSound8K's layout, the same bytes for a seed, and sounds that a listener would know."""

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
    return [soundfile.read(place(city, row), dtype="float32")[0] for row in rows]


def place(city: Path, row: dict[str, str]) -> Path:
    return city / "audio" / f"fold{row['fold']}" / row["slice_file_name"]


def small(folder: Path, **settings: int) -> Path:
    return synthetic.write(folder, recordings_per_class=3, clips_per_recording=1, **settings)


def digest(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(p.relative_to(root)).encode() + p.read_bytes() for p in files)).hexdigest()


# --- layout


def test_the_table_has_the_official_columns_and_300_rows(rows):
    assert list(rows[0]) == ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
    assert len(rows) == 300


def test_every_file_of_the_table_is_there_and_no_other(city, rows):
    assert {place(city, row) for row in rows} == set(city.glob("audio/*/*"))


def test_a_files_name_is_its_recording_class_occurrence_and_slice(rows):
    for row in rows:
        fs_id, class_id, occurrence, piece = row["slice_file_name"].removesuffix(".wav").split("-")
        assert (fs_id, class_id, piece) == (row["fsID"], row["classID"], "0")
        assert int(occurrence) in range(4)
        assert CLASSES[int(class_id)] == row["class"]


def test_a_recording_stands_in_one_fold_with_one_class_and_three_or_four_clips(rows):
    folds = Counter((row["fsID"], row["fold"], row["class"]) for row in rows)
    assert len(folds) == len({row["fsID"] for row in rows}) == 90
    assert set(folds.values()) == {3, 4}


def test_every_class_has_ten_clips_in_every_fold(rows):
    assert Counter((row["class"], row["fold"]) for row in rows) == {(c, f): 10 for c in CLASSES for f in "123"}


def test_the_times_in_the_table_are_the_lengths_of_the_files(rows, clips):
    for row, clip in zip(rows, clips, strict=True):
        assert float(row["end"]) - float(row["start"]) == pytest.approx(clip.size / 22050, abs=1e-5)


def test_clips_are_16_bit_wav_of_four_seconds_or_brief(city, rows):
    infos = [soundfile.info(place(city, row)) for row in rows]
    assert {(i.format, i.subtype, i.samplerate, i.channels) for i in infos} == {("WAV", "PCM_16", 22050, 1)}
    brief = Counter(row["class"] for row, info in zip(rows, infos, strict=True) if info.duration < 4)
    assert set(brief) == {"car_horn", "dog_bark", "gun_shot"}
    assert 30 < sum(brief.values()) < 80
    assert all(0.5 <= info.duration <= 4 for info in infos)


def test_both_saliences_occur(rows):
    assert set(Counter(row["salience"] for row in rows)) == {"1", "2"}


# --- levels


def test_no_clip_is_silent_or_clipped(clips):
    peaks = np.array([np.abs(clip).max() for clip in clips])
    assert peaks.min() > 0.01
    assert peaks.max() < 0.95


def test_levels_vary_between_recordings_and_within_one(rows, clips):
    peak_db = np.array([20 * np.log10(np.abs(clip).max()) for clip in clips])
    sources = np.array([row["fsID"] for row in rows])
    assert np.std(peak_db) > 4
    assert all(np.ptp(peak_db[sources == source]) > 0.01 for source in set(sources))


# --- seeds


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    assert digest(small(tmp_path / "a")) == digest(small(tmp_path / "b"))


def test_another_seed_gives_another_city(tmp_path):
    a, b = small(tmp_path / "a", seed=0), small(tmp_path / "b", seed=1)
    assert all(p.read_bytes() != (b / p.relative_to(a)).read_bytes() for p in a.glob("audio/*/*"))


def test_a_clip_does_not_depend_on_the_size_of_the_city(city, tmp_path):
    for path in small(tmp_path / "small").glob("audio/*/*"):
        assert path.read_bytes() == (city / "audio" / path.parent.name / path.name).read_bytes()


def test_clips_of_one_recording_sound_alike_and_are_not_the_same(rows, clips):
    spectra = np.stack([coarse(clip) for clip in clips])
    sources, labels = (np.array([row[key] for row in rows]) for key in ("fsID", "class"))
    apart = np.linalg.norm(spectra[:, None] - spectra[None], axis=2)
    same_source = (sources[:, None] == sources) & ~np.eye(len(rows), dtype=bool)
    same_label = (labels[:, None] == labels) & (sources[:, None] != sources)
    assert apart[same_source].min() > 0
    assert np.median(apart[same_source]) < 0.7 * np.median(apart[same_label])


def test_an_unseen_clip_is_in_no_data_set(city, tmp_path):
    written = {path.read_bytes() for path in city.glob("audio/*/*")}
    path = synthetic.unseen(tmp_path / "new.wav", "siren", seed=0)
    assert path == tmp_path / "new.wav"
    assert path.read_bytes() not in written
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == 22050
    np.testing.assert_allclose(samples, synthetic.synthesise("siren", seed=0), atol=1 / 32768)


# --- difficulty


def coarse(clip: np.ndarray) -> np.ndarray:
    """A cheap look at a clip: level and unrest, in dB, of 24 bands."""
    _, _, power = signal.spectrogram(clip, 22050, nperseg=512, noverlap=256)
    bands = np.add.reduceat(power, np.unique(np.geomspace(1, 256, 28).astype(int))[:24], axis=0)
    db = 10 * np.log10(bands + 1e-12)
    return np.r_[db.mean(axis=1), db.std(axis=1)]


def test_a_cheap_classifier_beats_chance_and_does_not_solve_it(rows, clips):
    x, y = np.stack([coarse(clip) for clip in clips]), np.array([int(row["classID"]) for row in rows])
    folds, right = np.array([row["fold"] for row in rows]), []
    for fold in "123":
        train = folds != fold
        means = np.stack([x[train & (y == c)].mean(axis=0) for c in range(10)])
        nearest = np.linalg.norm(x[~train][:, None] - means, axis=2).argmin(axis=1)
        right.append(np.mean(nearest == y[~train]))
    assert 0.4 < np.mean(right) < 0.95


def test_knowing_the_recording_helps_as_it_does_in_real_life(rows, clips):
    x, y = np.stack([coarse(clip) for clip in clips]), np.array([row["class"] for row in rows])
    sources = np.array([row["fsID"] for row in rows])
    apart = np.linalg.norm(x[:, None] - x[None], axis=2) + np.diag(np.full(len(x), np.inf))
    leaky = np.mean(y[apart.argmin(axis=1)] == y)
    honest = np.mean(y[np.where(sources[:, None] == sources, np.inf, apart).argmin(axis=1)] == y)
    assert leaky > honest + 0.02
    assert honest < 0.97


# --- what a listener relies on


@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_sound_is_float32_finite_and_neither_silent_nor_clipped(label, seed):
    samples = synthetic.synthesise(label, seed=seed)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert 0.01 < np.abs(samples).max() < 0.95


def clean(label: str, seed: int) -> np.ndarray:
    """Four seconds of the sound itself, without its street."""
    samples = synthetic.SOUNDS[label](np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1]), 88200)
    assert samples.shape == (88200,)
    return np.asarray(samples, np.float32)


def envelope_peak_hz(samples: np.ndarray, above_hz: float) -> float:
    """How often a second the loudness beats, heard above ``above_hz``."""
    high = signal.sosfiltfilt(signal.butter(4, above_hz, "highpass", fs=22050, output="sos"), samples)
    envelope = np.sqrt(np.mean(high[:88000].reshape(-1, 100) ** 2, axis=1))  # 220.5 values a second
    hz, power = signal.periodogram(envelope, 220.5, window="hann", detrend="linear")
    audible = (hz > 4) & (hz < 80)
    return float(hz[audible][power[audible].argmax()])


def share_below(samples: np.ndarray, hz: float) -> float:
    """The share of the power that lies below ``hz``."""
    f, power = signal.welch(samples, 22050, nperseg=4096)
    return float(power[f < hz].sum() / power.sum())


def loudness_db(samples: np.ndarray) -> np.ndarray:
    """The level of each hundredth of a second."""
    return 10 * np.log10(np.mean(samples[:88000].reshape(-1, 220) ** 2, axis=1) + 1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_siren_sweeps(seed):
    pitch_hz = librosa.yin(clean("siren", seed), fmin=350, fmax=2000, sr=22050, frame_length=1024)
    low_hz, high_hz = np.percentile(pitch_hz, [10, 90])
    assert high_hz > 1.2 * low_hz


@pytest.mark.parametrize("seed", SEEDS)
def test_a_jackhammer_strikes_8_to_20_times_a_second(seed):
    assert 8 < envelope_peak_hz(clean("jackhammer", seed), above_hz=400) < 20


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drill_strikes_faster_than_a_jackhammer(seed):
    assert 22 < envelope_peak_hz(clean("drilling", seed), above_hz=1500) < 65


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dog_barks_in_short_bursts_with_silence_between(seed):
    level_db = loudness_db(clean("dog_bark", seed))
    loud = level_db > level_db.max() - 25
    edges = np.diff(np.r_[0, loud.astype(int), 0])
    lengths_s = (np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)) / 100.2
    assert 3 <= lengths_s.size <= 20
    assert lengths_s.max() < 0.3
    assert np.mean(level_db < level_db.max() - 60) > 0.25


@pytest.mark.parametrize("seed", SEEDS)
def test_an_idling_engine_is_a_low_growl_with_a_pitch(seed):
    samples = clean("engine_idling", seed)
    assert share_below(samples, 600) > 0.7
    low = signal.decimate(samples, 10, ftype="fir")[:2205]  # a second: the speed hardly changes
    lags = np.arange(1, 300)
    alike = np.array([low[:-lag] @ low[lag:] / (2205 - lag) for lag in lags]) / np.mean(low**2)
    slow, fast = (2205 / lags >= 8) & (2205 / lags <= 47), (2205 / lags >= 60) & (2205 / lags <= 300)
    assert alike[slow].max() > 0.4  # it repeats 8 to 47 times a second
    assert alike[fast].max() < alike[slow].max()  # and no faster than that


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gun_shot_is_sudden(seed):
    samples = np.abs(clean("gun_shot", seed))
    onset = np.flatnonzero(samples > 0.1 * samples.max())[0]
    assert samples[: max(1, onset - 50)].max() < 0.01 * samples.max()
    assert samples[onset : onset + 220].max() > 0.4 * samples.max()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_car_horn_is_a_third(seed):
    samples = clean("car_horn", seed)
    hz, power = signal.welch(samples, 22050, nperseg=8192)
    reeds = (hz > 280) & (hz < 700)
    peaks_hz = hz[reeds][signal.find_peaks(power[reeds], height=0.05 * power[reeds].max())[0]]
    ratios = peaks_hz[:, None] / peaks_hz
    assert np.abs(ratios - 1.26).min() < 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_an_air_conditioner_goes_on_evenly(seed):
    samples = clean("air_conditioner", seed)
    assert np.std(loudness_db(samples)) < 3.5
    assert share_below(samples, 2000) > 0.7


@pytest.mark.parametrize("seed", SEEDS)
def test_children_are_heard_where_voices_are(seed):
    samples = clean("children_playing", seed)
    assert share_below(samples, 4500) - share_below(samples, 250) > 0.9
    assert np.std(loudness_db(samples)) > 3.5


@pytest.mark.parametrize("seed", SEEDS)
def test_street_music_has_a_beat(seed):
    onsets = librosa.onset.onset_strength(y=clean("street_music", seed), sr=22050)
    rhythm = librosa.autocorrelate(onsets - onsets.mean())
    assert rhythm[8:26].max() > 0.2 * rhythm[0]  # a beat lasts 0.22 to 0.5 s; a frame 23 ms


# --- writing


def test_the_same_command_again_does_nothing(tmp_path):
    root = small(tmp_path / "city")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert small(tmp_path / "city") == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_nothing_else_is_left_beside_the_folder(tmp_path):
    small(tmp_path / "deep" / "city")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["city"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "city").mkdir()
    assert (small(tmp_path / "city") / "metadata" / "UrbanSound8K.csv").is_file()


def test_another_synthesis_is_refused(tmp_path):
    small(tmp_path / "city", seed=0)
    with pytest.raises(errors.OutputError, match=r"city\" holds another synthesis, .* Remove it, or choose another"):
        small(tmp_path / "city", seed=1)


def test_a_synthesis_by_another_version_is_refused(tmp_path, monkeypatch):
    small(tmp_path / "city")
    monkeypatch.setattr(synthetic, "VERSION", synthetic.VERSION + 1)
    with pytest.raises(errors.OutputError, match="another synthesis"):
        small(tmp_path / "city")


def test_other_content_is_refused_and_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(errors.OutputError, match="holds something else"):
        small(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_way_is_refused_and_kept(tmp_path):
    (tmp_path / "city").write_text("mine")
    with pytest.raises(errors.OutputError, match="there is a file of that name"):
        small(tmp_path / "city")
    assert (tmp_path / "city").read_text() == "mine"


def test_a_synthesis_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synthetic.audio, "write", full)
    with pytest.raises(errors.OutputError, match="No space left on device"):
        small(tmp_path / "city")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("recordings", "clips"), [(2, 3), (3, 0)])
def test_too_few_recordings_or_clips_are_refused(tmp_path, recordings, clips):
    with pytest.raises(
        errors.SettingsError, match=f"recordings_per_class={recordings} and clips_per_recording={clips}"
    ):
        synthetic.write(tmp_path / "city", recordings_per_class=recordings, clips_per_recording=clips)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_class_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(errors.SettingsError, match='there is no class "sirens". Did you mean "siren"'):
        synthetic.synthesise("sirens", seed=0)
    with pytest.raises(errors.SettingsError, match="there is no class"):
        synthetic.unseen(tmp_path / "new.wav", "dog")


def test_the_stamp_says_what_made_the_folder(tmp_path):
    stamp = json.loads((small(tmp_path / "city", seed=7) / "synthesis.json").read_text())
    assert stamp == {"synthesis": 1, "seed": 7, "recordings": 3, "clips": 1}

"""What ``train`` and ``compare`` do with long clips, background classes, frequency bands and options without effect."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import soundmark as sm
from soundmark.datasets import Dataset, features
from soundmark.errors import SettingsError
from soundmark.models import bundle
from soundmark.models.classifier import load
from soundmark.models.events import EventTracker
from soundmark.models.streaming import StreamClassifier
from soundmark.spectrograms import LogMel, Mel
from soundmark.training.recipe import Recipe

RATE_HZ = 8000
LOGMEL = LogMel(rate_hz=8000, size=(24, 50), n_fft=512, window_samples=400, hop_samples=160, f_max_hz=4000.0)
RECIPE = Recipe(name="small", representation=LOGMEL, epochs=40, batch_size=8)


def tone(kind: str, length_s: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A low or a high tone, or noise without a tone, in a little noise."""
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    level, hz = {"low": (0.3, 0.04), "high": (0.3, 0.35)}.get(kind, (0.0, 0.1))
    return level * np.sin(2 * np.pi * hz * rate_hz * t) + np.random.default_rng(len(t)).normal(0, 0.02, len(t))


def write_data(root: Path, lengths_s: dict[str, list[float]], rate_hz: int = RATE_HZ) -> Dataset:
    for kind, lengths in lengths_s.items():
        (root / kind).mkdir(parents=True)
        for i, length_s in enumerate(lengths):
            soundfile.write(root / kind / f"{i}.wav", tone(kind, length_s, rate_hz), rate_hz)
    return Dataset.open(root)


@pytest.fixture(scope="module")
def with_noise(tmp_path_factory: pytest.TempPathFactory) -> sm.Model:
    """A model of two tones, and of noise as background."""
    root = tmp_path_factory.mktemp("noise")
    data = write_data(root / "data", {"low": [1.0] * 6, "high": [1.0] * 6, "Noise": [1.0] * 6})
    return sm.train(data, RECIPE, root / "run", quiet=True)


# --- Windows ---


def test_a_recording_with_the_sound_at_its_end_only_is_scored_as_classify_does(tmp_path: Path):
    data = write_data(tmp_path / "data", {"low": [1.0] * 5 + [6.5], "high": [1.0] * 5 + [4.0]})
    model = sm.train(data, RECIPE, tmp_path / "run", window_s=1.0, quiet=True)
    assert model.card.window_s == 1.0
    assert (model.card.training.n_train, model.card.training.n_windows) == (12, 21)
    store = features.build(data, model.card.representation, window_s=1.0, jobs=1)
    scored = model.clip_probabilities(store, np.arange(12))
    for row, clip in enumerate(data.clips):
        answer = {entry["label"]: entry["score"] for entry in model.classify(clip.path)}
        np.testing.assert_allclose(scored[row], [answer[label] for label in model.classes], atol=1e-3)


def test_no_window_of_a_recording_is_in_training_and_test(tmp_path: Path):
    data = write_data(tmp_path / "data", {"low": [1.0] * 4 + [6.0], "high": [1.0] * 4 + [6.0]})
    run = sm.compare(data, replace(RECIPE, epochs=1), tmp_path / "run", protocols="random", window_s=1.0, quiet=True)
    assert run.results[0].summary.n == 4  # clips, not windows
    lines = (tmp_path / "run" / "small" / "random" / "predictions.csv").read_text().splitlines()
    assert len(lines) == 1 + 4


@pytest.mark.parametrize("run", [sm.train, sm.compare], ids=["train", "compare"])
def test_a_window_that_no_model_can_have_is_refused_before_training(tmp_path: Path, run):
    data = write_data(tmp_path / "data", {"low": [1.0] * 4, "high": [1.0] * 4})
    message = r"cannot have windows of 120 s: its size is \[24, 6000\]; the largest value allowed is 4096"
    with pytest.raises(SettingsError, match=message):
        run(data, RECIPE, tmp_path / "run", window_s=120, quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_model_of_long_recordings_can_be_loaded(tmp_path: Path):
    data = write_data(tmp_path / "data", {"low": [45.0] * 2, "high": [45.0] * 2})
    sm.train(data, replace(RECIPE, epochs=1), tmp_path / "run", quiet=True)
    assert load(tmp_path / "run" / "model.onnx").card.window_s == 10.0


# --- Options without effect ---


@pytest.mark.parametrize(
    ("recipe", "option"),
    [
        ("transfer", {"epochs": 2}),
        ("transfer", {"batch_size": 8}),
        ("transfer", {"learning_rate": 0.1}),
        ("notebook-mel", {"window_s": 2.0}),
    ],
)
def test_an_option_that_the_recipe_ignores_is_refused(city: Dataset, tmp_path: Path, recipe: str, option: dict):
    with pytest.raises(SettingsError, match=f"the recipe {recipe} does not use --"):
        sm.train(city, recipe, tmp_path, **option, quiet=True)


def test_few_training_steps_give_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    data = write_data(tmp_path / "data", {"low": [0.5] * 4, "high": [0.5] * 4})
    sm.train(data, replace(RECIPE, epochs=3), tmp_path / "few", quiet=True)
    assert "small: 3 training steps (3 epochs, batches of 8 of 8 clips) are too few" in caplog.text
    caplog.clear()
    sm.train(data, replace(RECIPE, epochs=100), tmp_path / "many", quiet=True)
    assert "training steps" not in caplog.text


# --- Background ---


def test_background_is_in_the_card_and_shown(with_noise: sm.Model):
    assert with_noise.card.background == ("Noise",)
    assert json.loads(with_noise.bundle.card_json)["background"] == ["Noise"]
    assert "Noise (never reported as an event)" in repr(with_noise)


def test_background_is_never_an_event(with_noise: sm.Model, monkeypatch: pytest.MonkeyPatch):
    sound = np.concatenate([tone("noise", 3.0), tone("low", 2.0), tone("noise", 3.0)])
    assert {event.label for event in with_noise.events(sound, RATE_HZ)} == {"low"}
    everything = with_noise.events(sound, RATE_HZ, threshold=0.0)
    assert {event.label for event in everything} == {"low", "high"}
    labels: set[str] = set()
    step = EventTracker.step
    monkeypatch.setattr(  # also while it lasts, as a live view shows it
        EventTracker, "step", lambda self, *a: (step(self, *a), labels.update(e.label for e in self.running_events))[0]
    )
    StreamClassifier(with_noise, RATE_HZ, overlap=0.5, threshold=0.0).read([sound.astype(np.float32)])
    assert labels == {"low", "high"}


def test_a_clip_of_background_is_classified_as_such_and_has_no_event(with_noise: sm.Model):
    clip = tone("noise", 1.0)
    assert with_noise.classify(clip, RATE_HZ, unknown=False)[0]["label"] == "Noise"
    assert with_noise.events(clip, RATE_HZ) == []
    assert [event.label for event in with_noise.events(tone("high", 1.0), RATE_HZ)] == ["high"]


def test_background_can_be_turned_off(tmp_path: Path):
    data = write_data(tmp_path / "data", {"low": [1.0] * 3, "Noise": [1.0] * 3})
    model = sm.train(data, RECIPE, tmp_path / "run", background="none", quiet=True)
    assert "background" not in json.loads(model.bundle.card_json)
    assert [event.label for event in model.events(tone("noise", 1.0), RATE_HZ)] == ["Noise"]


def test_a_multi_label_model_learns_that_background_has_no_class(tmp_path: Path):
    (tmp_path / "data").mkdir()
    rows = ["path,label"]
    for kind in ("low", "high", "noise"):
        for i in range(5):
            soundfile.write(tmp_path / "data" / f"{kind}{i}.wav", tone(kind, 1.0), RATE_HZ)
            rows.append(f"{kind}{i}.wav,{kind if i else kind + ';' + kind}")
    (tmp_path / "data" / "table.csv").write_text("\n".join(rows) + "\n")
    data = Dataset.open(tmp_path / "data" / "table.csv")
    model = sm.train(data, RECIPE, tmp_path / "run", quiet=True)
    assert (model.classes, model.card.background) == (("low", "high"), ("noise",))
    assert model.events(tone("noise", 1.0), RATE_HZ) == []
    assert sm.evaluate(model, data[1:], quiet=True).summary.n == 14  # its label "noise" is not an unknown class


@pytest.mark.parametrize(
    ("background", "message"), [("noise", "its background is not a list"), ([1], "its background is not a list")]
)
def test_a_damaged_background_is_refused(with_noise: sm.Model, background, message: str):
    card = json.loads(with_noise.bundle.card_json) | {"background": background}
    with pytest.raises(sm.BundleError, match=message):
        bundle.Card.from_json(json.dumps(card), "model.onnx")


# --- Ultrasound ---


@pytest.mark.parametrize("factor", [10, 0.1])
def test_a_sound_played_slower_has_the_same_spectrogram(factor: float):
    heard, recorded = tone("low", 1.0), round(RATE_HZ * factor)
    expanded = LOGMEL.with_time_expansion(factor)
    np.testing.assert_array_equal(expanded(heard, recorded), LOGMEL(heard, RATE_HZ))
    np.testing.assert_allclose(expanded.frequencies_hz(recorded), factor * LOGMEL.frequencies_hz(RATE_HZ))
    np.testing.assert_allclose(expanded.times_s(len(heard), recorded), LOGMEL.times_s(len(heard), RATE_HZ) / factor)
    assert expanded.render(heard, recorded).duration_s == pytest.approx(1 / factor)


@pytest.mark.parametrize("kind", [LogMel, Mel])
def test_a_band_shows_only_its_frequencies(kind):
    band = kind().with_time_expansion(10).with_band(30_000, 100_000)
    frequencies_hz = band.frequencies_hz(384_000)
    assert 30_000 < frequencies_hz.min() < 31_500
    assert 96_000 < frequencies_hz.max() < 100_000
    t = np.arange(38_400) / 384_000
    sound = np.sin(2 * np.pi * 60_000 * t) + np.sin(2 * np.pi * 10_000 * t)
    loudest_hz = frequencies_hz[band(sound, 384_000).mean(axis=1).argmax()]
    assert loudest_hz == pytest.approx(60_000, rel=0.03)


def test_a_mel_band_is_that_of_librosa():
    librosa = pytest.importorskip("librosa")
    from soundmark.spectrograms.mel import mel_bank

    expected = librosa.filters.mel(sr=22050, n_fft=2048, n_mels=40, fmin=300.0, fmax=8000.0)
    np.testing.assert_allclose(mel_bank(22050, 2048, 40, 300.0, 8000.0).dense(), expected, atol=1e-8)


def test_settings_without_band_and_expansion_are_those_of_earlier_versions():
    assert set(Mel().settings()) == {"name", "version", "rate_hz", "size", "n_fft", "hop_samples", "n_mels", "top_db"}
    settings = Mel().with_time_expansion(2).with_band(100, 9000).settings()
    assert (settings["time_expansion"], settings["f_min_hz"], settings["f_max_hz"]) == (2.0, 50.0, 4500.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"band": (0, 5000)}, "the band 0-5000 Hz exceeds 4000 Hz, half of the sample rate"),
        ({"band": (2000, 2000)}, "the band 2000-2000 Hz is empty"),
        ({"band": 5}, "the band is 5: expected a pair"),
        ({"time_expansion": 0}, "the time expansion is 0: expected a number above 0"),
        ({"time_expansion": 1e6}, "it must be a number above 0 that gives a sample rate from 40 to 1000000 Hz"),
        ({"recipe": "notebook-image", "band": (50, 500)}, "cannot be set for image spectrograms"),
    ],
)
def test_impossible_bands_and_expansions_are_refused(city: Dataset, tmp_path: Path, options: dict, message: str):
    with pytest.raises(SettingsError, match=message):
        sm.train(city, options.pop("recipe", RECIPE), tmp_path, **options, quiet=True)


def test_a_model_of_ultrasound_reports_the_times_and_frequencies_of_the_file(tmp_path: Path):
    fast_hz = 10 * RATE_HZ
    data = write_data(tmp_path / "data", {"low": [0.1] * 6, "high": [0.1] * 6}, fast_hz)
    model = sm.train(data, RECIPE, tmp_path / "run", time_expansion=10, band=(1000, 35_000), quiet=True)
    assert (model.card.window_s, model.card.representation.shape) == (0.1, (24, 50))
    assert model.card.representation.input_rate_hz == fast_hz
    sound = np.concatenate([tone("low", 0.5, fast_hz), tone("high", 0.3, fast_hz)])
    soundfile.write(tmp_path / "bats.wav", sound, fast_hz)
    events = model.events(tmp_path / "bats.wav")
    spans = [(event.label, round(event.start_s, 3), round(event.stop_s, 3)) for event in events]
    assert spans == [("low", 0.0, 0.5), ("high", 0.5, 0.8)]
    with (tmp_path / "bats.wav").open("rb") as pipe:
        assert model.events(pipe) == events
    live = StreamClassifier(model, fast_hz)  # as a live source delivers it
    blocks = np.array_split(sound.astype(np.float32), 7)
    found = [event for block in blocks for event in live.push(block)] + live.finish()
    assert [event.label for event in found] == ["low", "high"]
    found = model.explain(tmp_path / "bats.wav")
    assert found.duration_s == pytest.approx(0.8)
    assert found.frequencies_hz.max() > 30_000
    assert found.times_s.max() < 0.1

"""Scores of files, bytes and samples of any length are those of the spectrograms used in training."""

import io

import numpy as np
import pytest
import torch

import soundmark
from soundmark import audio
from soundmark.audio.windows import windows
from soundmark.errors import AudioError, SettingsError
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.spectrograms import Image, Mel
from soundmark.training import networks
from soundmark.training.epochs import onnx_export

pytestmark = pytest.mark.slow

RATE_HZ = 44_100


def model_of(representation) -> Model:
    torch.manual_seed(0)
    network = networks.build("notebook_cnn", shape=representation.shape, n_classes=3)
    card = Card(classes=("b", "a", "c"), representation=representation, window_s=1.0)
    return Model(Bundle(onnx_export.export_network(network, representation.shape), card))


@pytest.fixture(scope="module", params=[Mel(size=(32, 32)), Image(size=(32, 32)), Image(size=(32, 32), rate_hz=22_050)])
def model(request) -> Model:
    return model_of(request.param)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    """3.3 s of a changing sound that 16-bit integers represent exactly."""
    t = np.arange(int(3.3 * RATE_HZ)) / RATE_HZ
    wave = 0.5 * np.sin(2 * np.pi * (200 + 900 * t) * t) * (1 + 0.5 * np.sin(2 * np.pi * 3 * t))
    return (np.round(wave * 30_000) / 32_768).astype(np.float32)


@pytest.fixture
def path(samples, tmp_path):
    audio.write(tmp_path / "long.wav", samples, RATE_HZ)
    return tmp_path / "long.wav"


def test_path_bytes_file_and_samples_give_the_same_scores(model, path, samples):
    expected = model.scores(path)
    assert expected.items == (str(path),) * 4
    for source in (str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        np.testing.assert_array_equal(model.scores(source).probabilities, expected.probabilities)
    from_samples = model.scores(samples, RATE_HZ)
    np.testing.assert_array_equal(from_samples.probabilities, expected.probabilities)
    assert from_samples.items == ("-",) * 4


def test_stereo_is_scored_as_the_mean_of_its_channels(model, samples):
    stereo = np.stack([samples * 0.5, samples * 1.5], axis=1)
    np.testing.assert_allclose(
        model.scores(stereo, RATE_HZ).probabilities, model.scores(samples, RATE_HZ).probabilities, atol=1e-5
    )


def test_short_sound_is_scored_as_one_window_like_in_training(model, samples):
    short = samples[:RATE_HZ]
    expected = model.probabilities(model.card.representation(short, RATE_HZ)[None])
    scores = model.scores(short, RATE_HZ)
    np.testing.assert_array_equal(scores.probabilities, expected)
    assert (scores.start_s.tolist(), scores.stop_s.tolist()) == ([0.0], [1.0])


def test_windows_of_a_long_sound_reach_its_end(model, samples):
    scores = model.scores(samples, RATE_HZ)
    np.testing.assert_allclose(scores.start_s, [0, 1, 2, 2.3], atol=1e-4)
    np.testing.assert_allclose(scores.stop_s, [1, 2, 3, 3.3], atol=1e-4)
    last = model.scores(audio.resample(samples, RATE_HZ, model.card.representation.rate_hz or RATE_HZ)[-1:], RATE_HZ)
    assert last.probabilities.shape == (1, 3)
    assert model.classify(samples, RATE_HZ)[0]["score"] == pytest.approx(scores.probabilities.mean(axis=0).max())


def test_overlap_gives_more_windows(model, samples):
    scores = model.scores(samples, RATE_HZ, overlap=0.5)
    np.testing.assert_allclose(scores.start_s, [0, 0.5, 1, 1.5, 2, 2.3], atol=1e-4)
    np.testing.assert_allclose(
        scores.probabilities[[0, 2, 4, 5]], model.scores(samples, RATE_HZ).probabilities, atol=1e-6
    )


def test_classes_are_sorted_by_score(model, samples):
    answer = model.classify(samples, RATE_HZ)
    assert sorted(entry["label"] for entry in answer) == ["a", "b", "c"]
    assert [entry["score"] for entry in answer] == sorted((entry["score"] for entry in answer), reverse=True)
    assert model.classify(samples, RATE_HZ, top_k=1) == answer[:1]


@pytest.mark.parametrize("n", [0, 1, 3, 250, 251])
def test_scores_do_not_depend_on_the_batch(model, n):
    x = np.random.default_rng(0).normal(-30, 10, (n, 32, 32)).astype(np.float32)
    batch = model.probabilities(x)
    assert batch.shape == (n, 3)
    for i in range(0, n, 83):
        np.testing.assert_allclose(model.probabilities(x[i : i + 1])[0], batch[i], atol=1e-6)


@pytest.mark.parametrize("sound", [np.zeros(1), np.zeros(100_000), np.full(50_000, 0.7), np.ones((1000, 8))])
def test_unusual_sounds_are_scored(model, sound):
    scores = model.scores(sound, 192_000)
    assert np.isfinite(scores.probabilities).all()
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("sound", "error", "match"),
    [
        (np.array([0.0, np.nan]), AudioError, "finite numbers"),
        (np.zeros(0), AudioError, "at least one"),
        (np.zeros((2, 2, 2)), AudioError, r"shape \(2, 2, 2\)"),
        (np.zeros(9, np.int64), AudioError, "samples of the type int64"),
        (np.zeros(9, bool), AudioError, "samples of the type bool"),
    ],
)
def test_invalid_samples_are_refused(model, sound, error, match):
    with pytest.raises(error, match=match):
        model.scores(sound, 22_050)


def test_bytes_that_are_not_audio_are_refused(model):
    with pytest.raises(AudioError, match="the audio data cannot be decoded"):
        model.scores(b"no sound")


@pytest.mark.parametrize(
    ("integers", "expected"),
    [
        (np.array([-128, 0, 64], np.int8), [-1, 0, 0.5]),
        (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
        (np.array([-32768, 0, 16384, 32767], np.int16), [-1, 0, 0.5, 32767 / 32768]),
        (np.array([-(2**31), 0, 2**30], ">i4"), [-1, 0, 0.5]),
    ],
)
def test_integer_samples_are_scaled_like_in_a_file(integers, expected):
    np.testing.assert_array_equal(audio.as_sound(integers, 8000).samples, np.array(expected, np.float32))


def test_16_bit_samples_are_scored_like_the_file(model, path, samples):
    integers = np.round(samples * 32_768).astype(np.int16)
    np.testing.assert_array_equal(model.scores(integers, RATE_HZ).probabilities, model.scores(path).probabilities)


def test_sample_rate_is_refused_for_a_file(model, path):
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), audio.read(path)):
        with pytest.raises(SettingsError, match="rate_hz=22050 was given for a source that has its own sample rate"):
            model.scores(source, 22_050)


def test_samples_need_a_sample_rate(model, samples):
    with pytest.raises(SettingsError, match="rate_hz=22050"):
        model.classify(samples)
    with pytest.raises(SettingsError, match="overlap is 1"):
        model.scores(samples, RATE_HZ, overlap=1)


@pytest.mark.parametrize("n", [1, 999, 1000, 1049, 1050, 1051, 1999, 2000, 2001, 12345])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_windows_cover_all_samples(n, overlap):
    spans = list(windows(n, 1000, overlap))
    covered = np.zeros(n, int)
    for start, stop in spans:
        assert 0 <= start < stop <= n
        covered[start:stop] += 1
    assert covered.all()
    assert len(spans) == len(set(spans))
    if n <= 1050:
        assert spans == [(0, n)]
    else:
        assert {stop - start for start, stop in spans} == {1000}


def test_scores_as_a_table(model, samples):
    pandas = pytest.importorskip("pandas", reason="pandas comes with the extra `table`")
    table = model.scores(samples, RATE_HZ).to_dataframe()
    assert isinstance(table, pandas.DataFrame)
    assert table.index.names == ["file", "start_time", "end_time"]
    assert list(table.columns) == ["b", "a", "c"]


def test_loaded_model_classifies_like_the_original(model, tmp_path, path):
    model.bundle.write(tmp_path / "model.onnx")
    loaded = soundmark.load(tmp_path / "model.onnx")
    assert loaded.classify(path) == model.classify(path)

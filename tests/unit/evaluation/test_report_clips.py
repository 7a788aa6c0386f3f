"""report.clips: the embedded sounds and spectrograms, and the choice of misclassified clips."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow

from soundmark import audio
from soundmark.datasets import Clip, Dataset
from soundmark.evaluation import report
from soundmark.evaluation.report import clips
from soundmark.evaluation.report.view import LONGEST_S, View
from soundmark.evaluation.results import Evaluation
from soundmark.training.named_recipes import recipe_named
from support.reports import make_dataset, make_evaluation


def test_misclassified_clips_are_sorted_by_confidence_with_one_per_recording(hostile):
    view, result = View(hostile), hostile.results[0]
    found = clips.most_confident_mistakes(view, result, limit=99)
    confidences = [one.probability for one in found]
    assert confidences == sorted(confidences, reverse=True)
    assert all(hostile.dataset.classes[one.predicted] != hostile.dataset.clips[one.clip].label for one in found)
    sources = [hostile.dataset.clips[one.clip].source for one in found]
    assert len(set(sources)) == len(sources)
    wrong = result.probabilities.argmax(axis=1) != result.labels
    assert confidences[0] == result.probabilities[wrong].max()
    wrong_sources = [hostile.dataset.clips[i].source for i in np.flatnonzero(wrong)]
    assert set(sources) == set(wrong_sources)
    assert len(sources) < len(wrong_sources)  # some recording has two misclassified clips
    assert clips.most_confident_mistakes(view, result, limit=2) == found[:2]


def test_the_player_contains_the_sound(urbansound8k):
    path = next((urbansound8k / "audio" / "fold1").glob("*-8-*.wav"))  # a siren
    sound = audio.read(path)
    player = clips.player(sound, "siren")
    samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", player)[1])))
    assert rate_hz == 22050
    assert samples.ndim == 1
    assert len(samples) / rate_hz == pytest.approx(sound.duration_s, abs=0.06)  # MP3 frames are 26 ms
    original = np.abs(np.fft.rfft(sound.samples[:22050]))[:3000]
    embedded = np.abs(np.fft.rfft(samples[:22050]))[:3000]
    assert np.corrcoef(original, embedded)[0, 1] > 0.98


def test_only_the_beginning_of_a_long_clip_is_read(tmp_path):
    path = tmp_path / "long.wav"
    audio.write(path, np.zeros(16000 * 12, np.float32), 16000)
    data = Dataset(name="long", root=tmp_path, classes=("quiet",), clips=())
    view = View(
        Evaluation(dataset=data, seed=0, results=(), comparisons=(), skipped=(), versions={}, machine={}, command="")
    )
    clip = Clip(path=path, label="quiet")
    assert view.read(clip).duration_s == LONGEST_S
    assert view.read(replace(clip, start_s=11)).duration_s == 1
    assert view.read(replace(clip, start_s=1, stop_s=3)).duration_s == 2
    assert view.read(replace(clip, start_s=1, stop_s=11.5)).duration_s == LONGEST_S


def test_frequency_ticks_are_at_their_frequencies():
    image = recipe_named("notebook-image").representation.render(np.zeros(44100, np.float32), 20480)
    ticks = dict(clips.frequency_ticks(image))
    assert list(ticks) == [10000, 5000, 2000, 0]
    assert ticks[5000] == pytest.approx(1 - 5000 / 10240, abs=0.005)


def test_low_frequencies_are_at_the_bottom_and_loud_is_dark_in_spectrograms(tmp_path):
    data = make_dataset(tmp_path, ["hum"], per_class=1)  # 200 Hz
    page = report.render(make_evaluation(data, protocols=["random"]))
    images = {alt: pixels(source) for source, alt in re.findall(r'<img src="([^"]*)" alt="([^"]*)"', page)}
    loudest_row = {
        "hum, spectrogram": np.argmin,
        "hum, image file of notebook-image": np.argmin,
        "hum, input of notebook-image": np.argmin,
        "hum, input of notebook-mel": np.argmax,
    }
    assert set(images) == set(loudest_row)
    for alt, find_loudest in loudest_row.items():
        rows = images[alt].mean(axis=1)
        assert find_loudest(rows) / len(rows) > 0.88, alt
        assert np.ptp(rows) > 40, alt


def pixels(source):
    """The pixels of an embedded image, float64."""
    return np.asarray(Pillow.open(io.BytesIO(base64.b64decode(source.split(",")[1]))), np.float64)


@pytest.mark.parametrize("value", [0.0, 1.0, -80.0])
def test_a_constant_array_is_black(value):
    assert clips.to_grey(np.full((4, 4), value, np.float32)).max() == 0


def test_grey_values_go_from_the_minimum_to_the_maximum():
    assert clips.to_grey(np.array([[-80.0, 0.0], [-40.0, -80.0]])).tolist() == [[0, 255], [128, 0]]

"""explain: on trained models, the most important region is the position of the event."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as Pillow
from torch import nn

from soundmark import audio
from soundmark.datasets import Dataset
from soundmark.errors import AudioError, SettingsError
from soundmark.models import explanation
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.explanation import explain
from soundmark.models.pretrained.graph import Graph
from soundmark.spectrograms import Image, LogMel, Mel
from support.memory import run_measured
from support.torch_export import torch_export

pytestmark = pytest.mark.slow

RATE_HZ, WINDOW_S = 16_000, 2.0
EVENT_S, EVENT_HZ = 0.3, {"high": 3000.0, "low": 500.0}
CLASSES = ("high", "low", "noise")
REPRESENTATIONS = {
    "mel": Mel(size=(32, 32), rate_hz=RATE_HZ),
    "image": Image(size=(32, 32)),
    "logmel": LogMel(size=(32, 50), rate_hz=RATE_HZ, hop_samples=640, f_max_hz=8000.0),
}


def street(label: str, seed: int, *, at_s: float | None = None, duration_s: float = WINDOW_S) -> np.ndarray:
    """Noise, a thump that belongs to no class, and the event of a class, which starts at ``at_s``."""
    rng = np.random.default_rng([seed, CLASSES.index(label)])
    t = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    sound = rng.normal(0, 0.01, len(t))
    thump_s = rng.uniform(0, duration_s - 0.2)
    sound += 0.3 * np.sin(2 * np.pi * 120 * t) * ((t > thump_s) & (t < thump_s + 0.2))
    if label in EVENT_HZ:
        at_s = rng.uniform(0, duration_s - EVENT_S) if at_s is None else at_s
        tone = np.sin(2 * np.pi * EVENT_HZ[label] * rng.uniform(0.95, 1.05) * t)
        sound += rng.uniform(0.1, 0.3) * tone * ((t > at_s) & (t < at_s + EVENT_S))
    return sound.astype(np.float32)


class MaxPoolNetwork(nn.Module):
    """A small network: two convolutions and global max pooling over time."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.BatchNorm2d(1)
        self.features = nn.ModuleList([nn.Conv2d(1, 12, 5, padding=2), nn.Conv2d(12, 24, 5, stride=2, padding=2)])
        self.rows = nn.Linear(24 * 16, len(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.level(x)
        for layer in self.features:
            x = torch.relu(layer(x))
        return self.rows(x.amax(dim=3).flatten(1))


@pytest.fixture(scope="module", params=REPRESENTATIONS)
def trained(request) -> Model:
    representation = REPRESENTATIONS[request.param]
    examples = [(label, seed) for label in range(len(CLASSES)) for seed in range(24)]
    x = torch.from_numpy(np.stack([representation(street(CLASSES[k], seed), RATE_HZ) for k, seed in examples]))[:, None]
    y = torch.tensor([k for k, _ in examples])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = MaxPoolNetwork()
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
    card = Card(classes=CLASSES, representation=representation, window_s=WINDOW_S)
    return Model(Bundle(torch_export(network, representation.shape), card))


def peak(found: explanation.Explanation) -> tuple[float, float]:
    """Time in seconds and frequency in hertz of the maximum importance."""
    row, column = np.unravel_index(found.importance.argmax(), found.importance.shape)
    return float(found.start_s + found.times_s[column]), float(found.frequencies_hz[row])


@pytest.mark.parametrize("label", EVENT_HZ)
def test_importance_is_highest_at_the_event(trained, label):
    low, high = EVENT_HZ[label] / 1.8, EVENT_HZ[label] * 1.8
    for seed, at_s in enumerate((0.1, 0.5, 0.9, 1.3, 1.6), 1000):
        found = explain(trained, street(label, seed, at_s=at_s), rate_hz=RATE_HZ)
        assert found.classes[0] == label
        assert found.probabilities[0] > 0.7
        second, hertz = peak(found)
        assert at_s - 0.1 < second < at_s + EVENT_S + 0.1
        assert low < hertz < high
        columns = (found.times_s > at_s - 0.1) & (found.times_s < at_s + EVENT_S + 0.1)
        positive = np.maximum(found.importance, 0)
        assert positive[:, columns].sum() > 0.6 * positive.sum()


def test_first_region_is_the_event(trained):
    found = explain(trained, street("high", 7, at_s=0.9), rate_hz=RATE_HZ)
    row, column = np.unravel_index(found.pixel_importance().argmax(), found.picture.pixels.shape)
    assert found.picture.frequencies_hz[row] == pytest.approx(3000, rel=0.5)
    assert 0.8 < column / found.picture.pixels.shape[1] * 2.0 < 1.3
    first = found.regions()[0]
    assert 0.6 < first.start_s < 1.05 < first.stop_s < 1.5
    assert first.low_hz < 3000 < first.high_hz
    assert re.fullmatch(r"high \(\d\.\d\d\); most important region: .* s, .* kHz.*\.", found.sentence())


def test_regions_of_a_short_sound_are_within_its_duration(trained):
    found = explain(trained, street("high", 7, at_s=0.5, duration_s=1.0), rate_hz=RATE_HZ)  # logmel repeats it
    assert found.picture.duration_s == 1.0
    assert 0.4 < peak(found)[0] < 0.9
    assert all(region.stop_s <= 1.0 for region in found.regions())
    for column in range(len(found.times_s)):
        same = np.isclose(found.times_s, found.times_s[column])
        assert np.ptp(found.importance[:, same], axis=1).max() == 0


def test_window_with_the_highest_score_of_a_long_sound_is_explained(trained, tmp_path):
    parts = [street("noise", 5), street("noise", 6), street("high", 7, at_s=0.9), street("noise", 8)]
    recording = np.concatenate(parts)
    found = explain(trained, recording, rate_hz=RATE_HZ)
    scores = trained.scores(recording, RATE_HZ)
    assert list(found.probabilities) == [entry["score"] for entry in trained.classify(recording, RATE_HZ)]
    which = trained.classes.index(found.classes[0])
    best = int(scores.probabilities[:, which].argmax())
    assert (found.start_s, found.stop_s, found.windows) == (2.0 * best, 2.0 * best + 2, 4)
    assert found.score == scores.probabilities[best, which]
    high = explain(trained, np.concatenate([street("high", 7, at_s=0.9), street("high", 9, at_s=0.2)]), rate_hz=RATE_HZ)
    assert high.classes[0] == "high"
    assert "highest score from" in high.sentence()
    assert all(high.start_s <= region.start_s < region.stop_s <= high.stop_s for region in high.regions())
    high.save(tmp_path / "why.png")


@pytest.mark.parametrize("sound", [np.zeros(1), np.zeros(32_000), np.ones((200, 2)), np.zeros(70_000)])
def test_unusual_sounds_are_explained(trained, sound, tmp_path):
    found = explain(trained, sound, rate_hz=RATE_HZ)
    assert np.isfinite(found.importance).all()
    assert found.importance.dtype == np.float32
    assert found.importance.shape == trained.card.representation.shape
    if not sound.any():
        assert found.regions() == []
        assert "no single region is decisive" in found.sentence()
    found.save(tmp_path / "odd.svg")


def linear(activation: str, temperature: float = 1.0) -> Model:
    """A linear model of two classes: the first logit is a tenth of the sum of the upper half of the spectrogram."""
    weights = np.zeros((32 * 32, 2))
    weights[16 * 32 :, 0] = 0.1
    graph = Graph()
    flat = graph.node("Flatten", graph.input("spectrogram", (1, 32, 32)), axis=1)
    graph.output("logits", graph.node("MatMul", flat, graph.constant("weights", weights)))
    card = Card(
        classes=("high $x^2$", "犬"),
        representation=Mel(size=(32, 32)),
        window_s=WINDOW_S,
        activation=activation,
        temperature=temperature,
    )
    return Model(Bundle(graph.to_bytes(), card))


@pytest.mark.parametrize(("activation", "temperature"), [("softmax", 1.0), ("sigmoid", 1.0), ("sigmoid", 2.0)])
def test_log_odds_do_not_saturate_for_either_activation(activation, temperature):
    bundle = linear(activation, temperature).bundle
    logits = np.array([[60.0, -40.0], [1.0, 3.0]], np.float32)
    expected = {"softmax": [100.0, -2.0], "sigmoid": [60.0 / temperature, 1.0 / temperature]}[activation]
    np.testing.assert_allclose(bundle.log_odds(logits, 0), expected)
    p = bundle.activate(logits)[1, 0]
    assert np.log(p / (1 - p)) == pytest.approx(expected[1], abs=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_importance_of_a_linear_model_is_its_contribution(activation):
    spectrogram = np.zeros((32, 32), np.float32)
    spectrogram[24, 16] = 50.0  # the median of the row is 0, so hiding it lowers the logit by 5
    importance = explanation.occlusion(linear(activation), spectrogram, (np.arange(32) + 0.5) / 32, 0)
    assert importance[24, 16] == pytest.approx(5.0, abs=1e-4)
    assert np.abs(importance[:20]).max() < 1e-4  # two patches away
    assert importance.min() > -1e-4


def test_figure_is_drawn_with_any_names(tmp_path):  # warnings are errors
    sound = audio.Sound(street("high", 3), RATE_HZ)
    found = explain(linear("sigmoid"), sound)
    assert found.probabilities.sum() != pytest.approx(1)
    for ending in ("png", "svg", "pdf"):
        dataclasses.replace(found, name="犬 $x_1^$.wav").save(tmp_path / f"why.{ending}")
    with Pillow.open(tmp_path / "why.png") as image:
        assert image.size == (1320, 528)
    with pytest.raises(SettingsError, match='there is no image format "pgn"'):
        found.save(tmp_path / "why.pgn")


def test_message_names_a_sound_that_cannot_be_explained(tmp_path):
    loud = tmp_path / "loud.wav"
    soundfile.write(loud, np.array([0.0, 1e13], np.float32), RATE_HZ, subtype="FLOAT")
    with pytest.raises(AudioError, match=f'"{re.escape(str(loud))}": a sample is'):
        explain(linear("softmax"), loud)
    with pytest.raises(AudioError, match="does not exist"):
        explain(linear("softmax"), Path("nowhere.wav"))
    with pytest.raises(SettingsError, match="rate_hz=22050"):
        explain(linear("softmax"), np.zeros(100))


@pytest.mark.slow
def test_a_long_recording_is_explained_in_bounded_memory(random_model, tmp_path):
    random_model.bundle.write(tmp_path / "model.onnx")
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 8000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros(8000 * 180, np.int16))  # 3 h: 345 MB as float32 samples, several times
    code = (
        "import soundmark\n"
        f"found = soundmark.load({str(tmp_path / 'model.onnx')!r}).explain({str(tmp_path / 'long.wav')!r})\n"
        "print(found.duration_s, found.windows)"
    )
    output, peak_mb = run_measured(code)
    assert output == "10800.0 10800\n"
    assert peak_mb < 300


def test_explaining_needs_only_matplotlib(random_model: Model, city: Dataset, tmp_path: Path):
    random_model.bundle.write(tmp_path / "model.onnx")
    script = f"""
import sys
for name in "torch onnx safetensors pandas pyarrow av sounddevice scipy sklearn".split():
    sys.modules[name] = None
import soundmark
soundmark.load({str(tmp_path / "model.onnx")!r}).explain({str(city.clips[0].path)!r}).save({str(tmp_path / "a.png")!r})
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "a.png").stat().st_size > 10_000

"""explain: on models that were really trained, what is said to have carried the decision is where the event is."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import nn

from soundmark import audio, explanation, prediction, training
from soundmark.bundle import Bundle, Card
from soundmark.errors import AudioError, SettingsError
from soundmark.explanation import explain
from soundmark.prediction import Model
from soundmark.spectrograms import Image, LogMel, Mel

RATE_HZ, WINDOW_S = 16_000, 2.0
EVENT_S, EVENT_HZ = 0.3, {"high": 3000.0, "low": 500.0}
CLASSES = ("high", "low", "noise")
REPRESENTATIONS = {
    "mel": Mel(size=(32, 32), rate_hz=RATE_HZ),
    "image": Image(size=(32, 32)),
    "logmel": LogMel(size=(32, 50), rate_hz=RATE_HZ, hop_samples=640, f_max_hz=8000.0),
}


def street(label: str, seed: int, *, at_s: float | None = None, duration_s: float = WINDOW_S) -> np.ndarray:
    """Noise, a thump that means nothing, and the event of a class from ``at_s`` on."""
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


class Listener(nn.Module):
    """A small network that pays attention: what is loudest anywhere, of features of 5×5 places."""

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
    drawn = [(label, seed) for label in range(len(CLASSES)) for seed in range(24)]
    x = torch.from_numpy(np.stack([representation(street(CLASSES[k], seed), RATE_HZ) for k, seed in drawn]))[:, None]
    y = torch.tensor([k for k, _ in drawn])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Listener()
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
    card = Card(classes=CLASSES, representation=representation, window_s=WINDOW_S)
    return Model(Bundle(training.export_graph(network.eval(), representation.shape), card))


def peak(found: explanation.Explanation) -> tuple[float, float]:
    """The second and the hertz of the greatest importance."""
    row, column = np.unravel_index(found.importance.argmax(), found.importance.shape)
    return float(found.start_s + found.times_s[column]), float(found.frequencies_hz[row])


@pytest.mark.parametrize("label", EVENT_HZ)
def test_the_importance_peaks_where_the_event_is(trained, label):
    for seed, at_s in enumerate((0.1, 0.5, 0.9, 1.3, 1.6), 1000):
        found = explain(trained, street(label, seed, at_s=at_s), rate_hz=RATE_HZ)
        assert found.classes[0] == label
        assert found.probabilities[0] > 0.7
        second, hertz = peak(found)
        assert at_s - 0.1 < second < at_s + EVENT_S + 0.1
        assert EVENT_HZ[label] / 1.8 < hertz < EVENT_HZ[label] * 1.8

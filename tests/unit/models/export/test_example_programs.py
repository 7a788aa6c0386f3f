"""The example programs in Python and JavaScript return the same scores as soundmark."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.models.export import waveform
from soundmark.spectrograms import Mel
from support.exports import small_model

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[4] / "examples"


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Three seconds at the sample rate of ``mel``, two channels."""
    path = tmp_path_factory.mktemp("sound") / "street.wav"
    rng = np.random.default_rng(0)
    t = np.arange(3 * 22050) / 22050
    samples = 0.3 * np.sin(2 * np.pi * 880 * t)[:, None] + rng.normal(0, 0.05, (len(t), 2))
    audio.write(path, samples, 22050)
    return path


@pytest.fixture(scope="module")
def exported(sound, tmp_path_factory) -> tuple[Path, dict[str, float]]:
    """An exported model, and the scores of soundmark."""
    model = small_model(Mel())
    path = tmp_path_factory.mktemp("exported") / "model-waveform.onnx"
    waveform.export_waveform_model(model, path, dynamic=True)
    return path, {entry["label"]: entry["score"] for entry in model.classify(sound, unknown=False)}


def parsed(output: str) -> dict[str, float]:
    return {label: float(score) for score, label in (line.split(" ", 1) for line in output.splitlines())}


def test_python_program_returns_the_same_scores(exported, sound, tmp_path):
    path, expected = exported
    script = EXAMPLES / "classify.py"
    assert "import soundmark" not in script.read_text()
    done = subprocess.run(
        [sys.executable, script, path, sound], capture_output=True, encoding="utf-8", check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    scores = parsed(done.stdout)
    assert list(scores) == list(expected)
    assert scores == pytest.approx(expected, abs=1e-4)


def test_javascript_program_returns_the_same_scores(node, exported, sound):
    path, expected = exported
    shutil.copy(EXAMPLES / "classify.mjs", node)
    done = subprocess.run(
        ["node", "classify.mjs", path, sound], capture_output=True, encoding="utf-8", cwd=node, timeout=300
    )
    assert done.returncode == 0, done.stderr
    scores = parsed(done.stdout)
    assert list(scores) == list(expected)
    assert scores == pytest.approx(expected, abs=1e-4)

"""Exports in the programs that they are made for: the largest difference in probability from soundmark.

    python benchmarks/other_programs.py MODEL SOUND --opensoundscape PYTHON --transformers FOLDER

PYTHON is the interpreter of an environment with OpenSoundscape (and torch; torchvision and torchaudio may be missing),
FOLDER one with ``npm install @huggingface/transformers``. A program that is not given is left out. BirdNET-Go and the
web page need neither: their tests (tests/unit/models/export/targets) do what the program does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import soundmark as sm
from soundmark import audio
from soundmark.models.classifier import Model
from soundmark.models.export.targets import TARGETS, export_for
from soundmark.models.export.waveform import window_samples

PEERS = Path(__file__).parent / "peers"


def run(*command: object, cwd: Path | None = None) -> str:
    """The last line of a program's standard output."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True, cwd=cwd)
    return done.stdout.strip().splitlines()[-1]


def in_opensoundscape(model: Model, samples: np.ndarray, rate_hz: int, python: str, folder: Path) -> float:
    """The difference on the windows of the sound; the last one is left out if it is shorter."""
    export_for(model, TARGETS["opensoundscape"], folder / "opensoundscape.onnx")
    n = window_samples(model)
    whole = samples[: len(samples) // n * n] if len(samples) >= n else np.resize(samples, n)
    audio.write(folder / "sound.wav", whole, rate_hz)
    written = audio.read(folder / "sound.wav").samples
    activation = model.card.activation
    found = json.loads(
        run(python, PEERS / "opensoundscape_onnx.py", folder / "opensoundscape.onnx", activation, folder / "sound.wav")
    )
    assert found["classes"] == list(model.classes)
    expected = np.concatenate([model.scores(part, rate_hz).probabilities for part in written.reshape(-1, n)])
    return float(np.abs(np.array(found["scores"]) - expected).max())


def in_transformers_js(model: Model, samples: np.ndarray, rate_hz: int, modules: Path, folder: Path) -> float:
    """The difference on the complete sound."""
    export_for(model, TARGETS["transformers.js"], folder / "model")
    samples.astype("<f4").tofile(folder / "sound.f32")
    script = shutil.copy(PEERS / "transformers_js.mjs", modules)
    found = json.loads(run("node", script, folder, "model", folder / "sound.f32", cwd=modules))
    expected = {each["label"]: each["score"] for each in model.classify(samples, rate_hz, unknown=False)}
    return max(abs(each["score"] - expected[each["label"]]) for each in found)


def main() -> None:
    """Print a line per program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sound", type=Path)
    parser.add_argument("--opensoundscape", metavar="PYTHON")
    parser.add_argument("--transformers", metavar="FOLDER", type=Path)
    given = parser.parse_args()
    model = sm.load(given.model)
    rate_hz = model.card.representation.input_rate_hz or 0
    samples = audio.read(given.sound, rate_hz=rate_hz).samples
    with tempfile.TemporaryDirectory() as name:
        if given.opensoundscape:
            found = in_opensoundscape(model, samples, rate_hz, given.opensoundscape, Path(name))
            print(f"OpenSoundscape   {found:.1g}")
        if given.transformers:
            multi_label = model.card.task.has_thresholds
            found = 0.0 if multi_label else in_transformers_js(model, samples, rate_hz, given.transformers, Path(name))
            print("transformers.js  " + ("not for multi-label models" if multi_label else f"{found:.1g}"))


if __name__ == "__main__":
    main()

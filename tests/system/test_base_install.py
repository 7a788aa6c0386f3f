"""Using a model on the base install: an environment made here, without torch, in which people classify and listen."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from support.sounds import RATE_HZ, wave

ROOT = Path(__file__).resolve().parents[2]
LARGEST_MB = 300


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The folder of programs of a new environment with the base install alone."""
    home = tmp_path_factory.mktemp("base")
    source = home / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    venv.create(home / "venv", with_pip=True)
    programs = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--constraint", source / "constraints.txt", source]
    done = subprocess.run([str(word) for word in pip], capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached: this test installs soundmark anew")
    assert done.returncode == 0, done.stderr
    return programs


@pytest.fixture(scope="module")
def here(random_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    random_model.bundle.write(folder / "model.onnx")
    audio.write(folder / "long.wav", wave(9.5, 3), RATE_HZ)
    return folder


def run(base: Path, here: Path, *arguments: str, **options) -> str:
    command = [str(base / "soundmark"), *arguments, "-m", str(here / "model.onnx")]
    done = subprocess.run(command, capture_output=True, check=False, cwd=here, timeout=120, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_it_is_small_and_without_torch(base):
    listed = subprocess.run(
        [str(base / "python"), "-m", "pip", "list", "--format=json"], capture_output=True, check=True
    )
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert not names & {"torch", "matplotlib", "pandas", "onnx", "scipy", "librosa", "pydantic"}
    size = sum(path.stat().st_size for path in base.parent.rglob("*") if path.is_file() and not path.is_symlink())
    assert size / 1e6 < LARGEST_MB


def test_files_are_classified_as_here(base, here, random_model):
    lines = run(base, here, "classify", "long.wav", "--format", "jsonl", "--overlap", "0.5").splitlines()
    told = [json.loads(line) for line in lines]
    expected = random_model.events(here / "long.wav", overlap=0.5)
    assert [(event["label"], event["start_s"], event["stop_s"]) for event in told] == [
        (event.label, pytest.approx(event.start_s, abs=1e-3), pytest.approx(event.stop_s, abs=1e-3))
        for event in expected
    ]
    assert "from" in run(base, here, "classify", "long.wav")


def test_standard_input_is_listened_to(base, here, random_model):
    samples = audio.read(here / "long.wav").samples
    pcm = np.round(samples * 32768).astype("<i2").tobytes()
    lines = run(
        base, here, "listen", "-", "--rate", str(RATE_HZ), "--sample-format", "s16", "--hop", "0.5", input=pcm
    ).splitlines()
    told = [json.loads(line) for line in lines]
    expected = random_model.events(here / "long.wav", overlap=0.5)
    assert sorted((event["label"], round(event["start_s"], 2)) for event in told) == sorted(
        (event.label, round(event.start_s, 2)) for event in expected
    )


def test_the_card_is_shown(base, here):
    done = subprocess.run([str(base / "soundmark"), "show", str(here / "model.onnx")], capture_output=True, check=True)
    assert b"listens for" in done.stdout


def test_what_needs_torch_says_so(base, here):
    (here / "pets" / "dog").mkdir(parents=True)
    (here / "pets" / "cat").mkdir(parents=True)
    for number in range(4):
        for label in ("dog", "cat"):
            audio.write(here / "pets" / label / f"{number}.wav", wave(1.0, number), RATE_HZ)
    command = [str(base / "soundmark"), "train", str(here / "pets"), "-o", str(here / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "soundmark[train]"' in done.stderr
    assert sys.version_info >= (3, 11)

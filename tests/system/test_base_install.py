"""The base install, in a new environment without torch: classify, listen and show work."""

import json
import os
import re
import shutil
import subprocess
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest

import soundmark as sm
from soundmark import audio
from support.sounds import RATE_HZ, wave

ROOT = Path(__file__).resolve().parents[2]
MAX_MB = 300


pytestmark = pytest.mark.long(300)  # packages are installed


def lowest_versions() -> str:
    """The lowest version of each base dependency that pyproject.toml allows, as a constraints file for pip."""
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found = [re.match(r"([\w-]+)>=([\d.]+)", requirement) for requirement in requirements]
    return "\n".join(f"{each[1]}=={each[2]}" for each in found if each) + "\n"


@pytest.fixture(scope="module", params=["tested versions", "lowest versions"])
def base(request, tmp_path_factory) -> Path:
    """Return the folder of programs of a new environment with the base install only."""
    home = tmp_path_factory.mktemp("base")
    source = home / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    if request.param == "lowest versions":
        (source / "constraints.txt").write_text(lowest_versions())
    venv.create(home / "venv", with_pip=True)
    programs = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--constraint", source / "constraints.txt", source]
    done = subprocess.run([str(word) for word in pip], capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached, which this test needs to install soundmark")
    assert done.returncode == 0, done.stderr
    return programs


@pytest.fixture(scope="module")
def folder(random_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("folder")
    random_model.bundle.write(folder / "model.onnx")
    audio.write(folder / "long.wav", wave(9.5, 3), RATE_HZ)
    for number in range(12):
        path = folder / "pets" / ("dog", "cat")[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write(path, wave(1.0, number), RATE_HZ)
    return folder


def run(base: Path, folder: Path, *arguments: str, **options) -> str:
    command = [str(base / "soundmark"), *arguments, "-m", str(folder / "model.onnx")]
    done = subprocess.run(command, capture_output=True, check=False, cwd=folder, timeout=120, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_the_lowest_versions_are_those_of_the_metadata(base, request):
    listed = subprocess.run([str(base / "python"), "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    installed = dict(line.lower().split("==") for line in listed.stdout.splitlines() if "==" in line)
    lowest = dict(line.split("==") for line in lowest_versions().splitlines())
    assert len(lowest) == 11
    if request.node.callspec.params["base"] == "lowest versions":
        for name, version in lowest.items():
            assert f"{installed[name]}.".startswith(f"{version}."), name


@pytest.mark.parametrize(
    "command", ["classify", "listen", "serve", "summary", "show", "inspect", "spectrograms", "train"]
)
def test_the_help_is_printed(base, command):
    done = subprocess.run([str(base / "soundmark"), command, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: soundmark" in done.stdout
    assert "\\[" not in done.stdout  # markup of typer 0.15


def test_it_is_small_and_without_torch(base):
    listed = subprocess.run(
        [str(base / "python"), "-m", "pip", "list", "--format=json"], capture_output=True, check=True
    )
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert not names & {"torch", "matplotlib", "pandas", "scipy", "librosa", "pydantic"}
    size = sum(path.stat().st_size for path in base.parent.rglob("*") if path.is_file() and not path.is_symlink())
    assert size / 1e6 < MAX_MB


def test_files_are_classified_as_with_all_extras(base, folder, random_model):
    lines = run(base, folder, "classify", "long.wav", "--format", "jsonl", "--overlap", "0.5").splitlines()
    events = [json.loads(line) for line in lines]
    expected = random_model.events(folder / "long.wav", overlap=0.5)
    assert [(event["label"], event["start_s"], event["stop_s"]) for event in events] == [
        (event.label, pytest.approx(event.start_s, abs=1e-3), pytest.approx(event.stop_s, abs=1e-3))
        for event in expected
    ]
    assert "from" in run(base, folder, "classify", "long.wav")


def test_pcm_on_standard_input_is_classified(base, folder, random_model):
    samples = audio.read(folder / "long.wav").samples
    pcm = np.round(samples * 32768).astype("<i2").tobytes()
    lines = run(
        base, folder, "listen", "-", "--rate", str(RATE_HZ), "--sample-format", "s16", "--hop", "0.5", input=pcm
    ).splitlines()
    events = [json.loads(line) for line in lines]
    expected = random_model.events(folder / "long.wav", overlap=0.5)
    assert sorted((event["label"], round(event["start_s"], 2)) for event in events) == sorted(
        (event.label, round(event.start_s, 2)) for event in expected
    )


def test_the_card_is_shown(base, folder):
    command = [str(base / "soundmark"), "show", str(folder / "model.onnx")]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"classes      " in done.stdout


def test_every_file_of_the_package_is_installed(base):
    """A missing table of class names would end the first command of a newcomer, `soundmark classify street.wav`."""
    code = "import soundmark; print(soundmark.__path__[0])"
    found = subprocess.run([str(base / "python"), "-I", "-c", code], capture_output=True, text=True, check=True)
    installed, source = Path(found.stdout.strip()), ROOT / "src" / "soundmark"
    files = {path.relative_to(source) for path in source.rglob("*.*") if path.suffix != ".pyc" and path.is_file()}
    assert Path("models/pretrained/audioset_classes.csv") in files
    assert Path("serving/page/index.html") in files
    assert not [path for path in sorted(files) if not (installed / path).is_file()]


def test_a_network_names_the_missing_packages(base, folder, tmp_path):
    command = [str(base / "soundmark"), "train", str(folder / "pets"), "-o", str(tmp_path), "--recipe", "scratch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 2
    assert done.stderr == (
        "soundmark: training scratch needs the packages torch and safetensors, which are not installed: "
        'pip install "soundmark[train]".\n'
    )
    assert not list(tmp_path.iterdir())


def test_heads_are_trained_compared_and_used_as_with_torch_installed(base, folder, mn04_weights, tmp_path, monkeypatch):
    """The base install writes the same model as this environment, in which torch is installed."""
    monkeypatch.setenv("SOUNDMARK_WEIGHTS", str(mn04_weights.parent))
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    pets = folder / "pets"
    for line in (
        f"train {pets} -o run",
        f"compare {pets} -o both --recipe transfer",
        f"classify {pets} -m run/model.onnx",
    ):
        command = [str(base / "soundmark"), *line.split()]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stderr
    assert "This figure needs Matplotlib" in (tmp_path / "both" / "report.html").read_text()
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache here"))
    here = sm.train(pets, folder=tmp_path / "here", quiet=True)
    there = sm.load(tmp_path / "run" / "model.onnx")
    for path in sorted(pets.rglob("*.wav")):
        expected = {answer["label"]: answer["score"] for answer in here.classify(path)}
        found = {answer["label"]: answer["score"] for answer in there.classify(path)}
        assert found == pytest.approx(expected, abs=1e-4)

"""Commands without an optional package: they name it and the smallest extra before they write anything."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from soundmark import audio
from support.sounds import RATE_HZ, wave

HIDE = "import sys; sys.modules.update(dict.fromkeys({hidden!r}))\n"  # None: the import fails
RUN = "from soundmark import cli; sys.argv = ['soundmark', *{arguments!r}]; cli.main()"
OPTIONAL = (
    "torch",
    "onnxscript",
    "safetensors",
    "matplotlib",
    "pandas",
    "pyarrow",
    "sounddevice",
    "av",
    "starlette",
    "uvicorn",
    "distributed",
    "dask",
    "huggingface_hub",
)


@pytest.fixture(scope="module")
def template(random_model, tmp_path_factory) -> Path:
    """A folder with a model, a sound file, a data set of two classes and a table of results."""
    folder = tmp_path_factory.mktemp("template")
    random_model.bundle.write(folder / "model.onnx")
    for number, label in enumerate(("dog", "cat") * 2):
        path = folder / "pets" / label / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write(path, wave(1.0, number), RATE_HZ)
    audio.write(folder / "20240612_043000.wav", wave(1.0, 9), RATE_HZ)
    (folder / "results.csv").write_text("Start (s),End (s),Label,Confidence,File\n0,1,dog,0.9,20240612_043000.wav\n")
    (folder / "results.parquet").write_bytes(b"PAR1")
    return folder


@pytest.fixture
def folder(template, tmp_path, monkeypatch) -> Path:
    shutil.copytree(template, tmp_path / "here")
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "here"


def run_without(hidden: tuple[str, ...], line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = HIDE.format(hidden=hidden) + RUN.format(arguments=shlex.split(line))
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)


def files(folder: Path) -> set[Path]:
    return set(folder.parent.rglob("*"))


@pytest.mark.parametrize(
    ("line", "hidden", "message"),
    [
        (
            "compare pets -o run",
            ("torch",),
            "training notebook-mel needs the package torch, which is not installed: [train]",
        ),
        (
            "compare pets -o run --preset notebook",
            OPTIONAL,
            "training notebook-image and notebook-mel needs the packages torch and safetensors, which are not "
            "installed: [train]",
        ),
        (
            "train pets -o run --recipe scratch",
            ("torch", "safetensors"),
            "training scratch needs the packages torch and safetensors, which are not installed: [train]",
        ),
        ("demo", ("torch",), "demo needs the package torch, which is not installed: [train]"),
        ("demo", ("matplotlib",), "demo needs the package matplotlib, which is not installed: [plot]"),
        (
            "explain 20240612_043000.wav -m model.onnx -o figures/why.png",
            OPTIONAL,
            "explain needs the package matplotlib, which is not installed: [plot]",
        ),
        (
            "summary results.csv -o figures/when.png",
            OPTIONAL,
            "a figure needs the package matplotlib, which is not installed: [plot]",
        ),
        (
            "summary results.parquet",
            ("pyarrow",),
            "this command needs the package pyarrow, which is not installed: [table]",
        ),
        (
            "inspect pets -o figures/pets.png",
            OPTIONAL,
            "a figure needs the package matplotlib, which is not installed: [plot]",
        ),
        (
            "spectrograms pets images --axes",
            OPTIONAL,
            "spectrograms with --colours or --axes needs the package matplotlib, which is not installed: [plot]",
        ),
        (
            "classify pets -m model.onnx -o out --format parquet",
            OPTIONAL,
            "--format parquet needs the package pyarrow, which is not installed: [table]",
        ),
        (
            "classify pets -m model.onnx -o out --cluster local",
            OPTIONAL,
            "--cluster needs the package distributed, which is not installed: [cluster]",
        ),
        (
            "listen -m model.onnx",
            OPTIONAL,
            "the microphone needs the package sounddevice, which is not installed: [live]",
        ),
        (
            "serve -m model.onnx",
            ("starlette", "uvicorn"),
            "serve needs the packages starlette and uvicorn, which are not installed: [serve]",
        ),
        ("demo --serve", ("uvicorn",), "--serve needs the package uvicorn, which is not installed: [serve]"),
        (
            "push model.onnx user/birds",
            OPTIONAL,
            "push needs the package huggingface-hub, which is not installed: [hub]",
        ),
        (
            "classify s3://sensors/june/ -m model.onnx -o out",
            ("s3fs", "fsspec"),
            "this command needs the package s3fs, which is not installed: [remote]",
        ),
        (
            "classify pets -m model.onnx -o gs://sensors/june",
            ("gcsfs", "fsspec"),
            "this command needs the package gcsfs, which is not installed: [remote]",
        ),
        (
            "show hf://user/birds",
            OPTIONAL,
            "a model on the Hugging Face Hub needs the package huggingface_hub, which is not installed: [hub]",
        ),
        (
            "listen rtsp://camera/audio -m model.onnx",
            OPTIONAL,
            "a network stream needs the package av, which is not installed: [codecs]",
        ),
    ],
)
def test_a_missing_package_is_named_before_anything_is_written(folder, line, hidden, message):
    before = files(folder)
    done = run_without(hidden, line, folder)
    text, extra = message.split(": [")
    assert done.stderr == f'soundmark: {text}: pip install "soundmark[{extra}".\n'
    assert (done.returncode, done.stdout) == (2, "")
    assert files(folder) == before


@pytest.mark.parametrize(
    "line",
    [
        "classify pets -m model.onnx -o out",
        "evaluate pets -m model.onnx --help",
        "inspect pets",
        "show model.onnx",
        "spectrograms pets images",
        "summary results.csv",
    ],
)
def test_other_commands_need_no_optional_package(folder, line):
    done = run_without(OPTIONAL, line, folder)
    assert done.returncode == 0, done.stderr


def test_training_and_comparing_heads_needs_no_optional_package(folder, mn04_weights, monkeypatch):
    monkeypatch.setenv("SOUNDMARK_WEIGHTS", str(mn04_weights.parent))
    for line in (
        "train pets -o run",
        "compare pets -o compared --recipe transfer --protocol random",
        "classify pets -m run/model.onnx",
        "evaluate pets -m compared/transfer/random/model.onnx -o scores",
        "compare pets -o compared --recipe transfer --protocol random",
    ):
        done = run_without(OPTIONAL, line, folder)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    report = (folder / "compared" / "report.html").read_text()
    assert "This figure needs Matplotlib: pip install" in report


@pytest.mark.parametrize("call", ["train", "compare", "learning_curve"])
def test_python_names_the_missing_package_too(folder, call):
    code = f"""
import soundmark
try:
    soundmark.{call}("pets", "notebook-mel", "run", quiet=True)
except soundmark.errors.SettingsError as error:
    print(error)
"""
    hidden = HIDE.format(hidden=("torch",))
    done = subprocess.run(
        [sys.executable, "-c", hidden + code], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == (
        'training notebook-mel needs the package torch, which is not installed: pip install "soundmark[train]".\n'
    ), done.stderr

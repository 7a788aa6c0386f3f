"""Paths that the system refuses, such as names that are too long, are named in one sentence."""

import os
from pathlib import Path

import pytest

from soundmark import audio
from support.commands import run_soundmark
from support.models import tone_embedder
from support.sounds import RATE_HZ, tones

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the tests need symbolic links")]

TOO_LONG = "x" * 300
COMMANDS = {
    "classify": ("classify", "sounds", "-m", "model.onnx", "-o", TOO_LONG),
    "compare": ("compare", "sounds", "-o", TOO_LONG),
    "demo": ("demo", "-o", TOO_LONG),
    "explain": ("explain", "sounds/low/0.wav", "-m", "model.onnx", "-o", f"{TOO_LONG}.png"),
    "export --check": ("export", "model.onnx", "--with-front-end", "--check", TOO_LONG, "-o", "out.onnx"),
    "export --for": ("export", "model.onnx", "--for", "birdnet-go", "-o", TOO_LONG),
    "index": ("index", "sounds", "-m", "model.onnx", "-o", TOO_LONG),
    "inspect": ("inspect", "sounds", "-o", f"{TOO_LONG}.png"),
    "merge": ("merge", "out", TOO_LONG),
    "summary": ("summary", "results.csv", "-o", f"{TOO_LONG}.png"),
    "summary of a loop": ("summary", "loop/results"),
    "review of a loop": ("review", "loop/index"),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A folder with two classes of sounds, a model, results and a loop of links."""
    folder = tmp_path_factory.mktemp("inputs")
    for label in ("low", "high"):
        for number in range(3):
            samples = tones(1.0, [(label, 0.1 * number, 1.0)])
            audio.write(folder / "sounds" / label / f"{number}.wav", samples, RATE_HZ)
    tone_embedder().bundle.write(folder / "model.onnx")
    (folder / "results.csv").write_text(
        "Start (s),End (s),Label,Confidence,File\n3000.0,4200.0,siren,0.9,20240612_230000.wav\n"
    )
    (folder / "loop").symlink_to("loop")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_that_the_system_refuses_is_named(inputs, tmp_path, command):
    done = run_soundmark(*COMMANDS[command], cwd=inputs, env={"SOUNDMARK_CACHE": tmp_path / "cache"})
    assert done.returncode in (1, 2)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(("soundmark: ", "skipped: "))
    assert "unexpected error" not in done.stderr
    assert (TOO_LONG in last and ("too long" in last or "does not exist" in last)) or '"loop/' in last, last

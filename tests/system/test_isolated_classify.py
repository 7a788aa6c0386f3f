"""`classify --isolate`: interrupted, from a pipe, into a results folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from support.commands import run_soundmark
from support.models import tone_model

HANGS = """
import sys
if 'soundmark.audio.decoding.worker' in sys.orig_argv:
    import soundfile, time
    soundfile.SoundFile = lambda file: time.sleep(1000)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tone_model().save(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "street.wav", 0.1 * np.random.default_rng(0).standard_normal(60_000), 8000)
    return tmp_path / "street.wav"


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the worker")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_ends_the_command_and_its_worker(
    number: int, status: int, model: Path, sound: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGS)
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "soundmark.cli", "classify", str(sound), "-m", str(model), "--isolate"]
    running = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (workers := children(running.pid)) and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.5)  # until the worker hangs
    running.send_signal(number)
    messages = running.communicate(timeout=20)[1]
    assert running.returncode == status, messages
    assert "Traceback" not in messages
    while any(Path(f"/proc/{worker}/exe").exists() for worker in workers) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{worker}/exe").exists() for worker in workers)


def test_standard_input_and_results_folders_have_the_results_of_a_run_without_it(
    model: Path, sound: Path, tmp_path: Path
) -> None:
    arguments = ["-m", model, "--format", "csv"]
    piped = [
        run_soundmark("classify", "-", *arguments, *more, input=sound.read_bytes()) for more in ([], ["--isolate"])
    ]
    assert piped[0].stdout == piped[1].stdout != ""
    for name, more in (("out", []), ("isolated", ["--isolate"])):
        assert run_soundmark("classify", sound, *arguments, "-o", tmp_path / name, *more).returncode == 0
    assert (tmp_path / "out" / "results.csv").read_bytes() == (tmp_path / "isolated" / "results.csv").read_bytes()
    again = run_soundmark("classify", sound, *arguments, "-o", tmp_path / "out", "--isolate")
    assert "1 of them in an earlier run" in again.stderr, "the option does not change results, so the journal is valid"

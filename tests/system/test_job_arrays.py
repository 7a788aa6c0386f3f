"""The job scripts of docs/cluster.md: run here, job by job, their shards merge to one run's results."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from soundmark import audio
from soundmark.detection.analysis import analyze
from soundmark.detection.results_folder.merge import merge
from support.sounds import RATE_HZ, wave

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"
SLURM = re.search(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
KUBERNETES = re.search(r"            - \|\n(.*?)          resources:", DOCS.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, random_model) -> Path:
    """What the jobs find: a model, a list of files of which one is unreadable, and the program."""
    random_model.bundle.write(tmp_path / "model.onnx")
    for number in range(8):
        audio.write(tmp_path / "recordings" / f"{number}.wav", wave(0.6, number), RATE_HZ)
    (tmp_path / "recordings" / "3.wav").write_text("no sound")
    (tmp_path / "files.txt").write_text("".join(f"recordings/{number}.wav\n" for number in range(8)))
    program = tmp_path / "bin" / "soundmark"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m soundmark.cli "$@"\n')
    program.chmod(0o755)
    return tmp_path


def run_job(script: str, folder: Path, **environment: str) -> int:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env={**os.environ, "PATH": path, **environment}
    ).returncode


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("scheduler", ["slurm", "kubernetes"])
def test_the_job_script_in_the_docs(folder: Path, scheduler: str, monkeypatch):
    if scheduler == "slurm":
        jobs = {"SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
        statuses = [run_job(SLURM[1], folder, **jobs, SLURM_ARRAY_TASK_ID=str(number)) for number in (1, 2)]
        assert sorted(statuses) == [0, 1]  # one shard has the unreadable file
    else:
        script = KUBERNETES[1].replace("cd /data", "").replace("$part/8", "$part/2")
        statuses = [run_job(script, folder, JOB_COMPLETION_INDEX=str(index)) for index in (0, 1)]
        assert statuses == [0, 0]
    monkeypatch.chdir(folder)
    merged = merge("results", sorted(Path("parts").iterdir()))
    assert (merged.analyzed, len(merged.failures)) == (7, 1)
    names = Path("files.txt").read_text().split()
    analyze(names, "model.onnx", "single", quiet=True)
    assert contents(Path("results")) == contents(Path("single"))

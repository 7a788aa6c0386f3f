"""The code blocks of the documentation: found in the Markdown pages, and run as a reader would run them.

A block without a language, or in ``bash``, is shell: each of its lines is run, unless ``NOT_RUN`` says why not. A block in
``python`` is run in one namespace per page. Other languages (``text``, ``json``, ``yaml``) are output or files, not code.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
CODE = ("shell", "python")

NOT_RUN = {
    r"^#!/bin/bash|^#SBATCH|parts/\$SLURM|--shard \"\$SLURM|^sbatch |SLURM_CPUS": "run by tests/system/test_job_arrays.py",
    r"^(python3 -m venv|git clone|cd soundmark|pip install|\. )": "installs: tests/system/test_base_install.py",
    r"^(make|bash \.ci/run|docker) ?": "what .ci/run runs, or what runs the tests",
    r"^soundmark download": "downloads gigabytes: tests/system/test_download.py runs it against a local server",
    r"^python (benchmarks|docs)/": "a measurement or a figure: takes minutes to hours",
    r"s3://|gs://|https://example|urls\.txt": "needs a server: tests/unit/audio/test_remote.py has one",
    r"rtsp://|^arecord|^ffmpeg": "needs hardware, a stream or a program that is not a dependency",
    r"^soundmark listen( -m \S+)?$": "needs a microphone: tests/unit/audio/test_capture.py has one",
    r"^soundmark (serve|demo --serve)|^curl .*127\.0\.0\.1": "runs until Ctrl-C: tests/system/test_serve_command.py",
    r"^dask |tcp://": "needs several processes: tests/system/test_cluster.py",
    r"(perch_v2|ced_tiny|birdnet_backbone|--backbone model)\S*\.onnx": "a file of others that is not here",
    r"--recipe scratch": "trains for hours: tests/unit/training trains small ones",
}
"""Which lines are not run, and why: a regular expression and a reason."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of a page: its first line number, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def kind(self) -> str:
        """``shell``, ``python``, or the language of what is only shown."""
        if self.language in ("", "bash") and not self.text.startswith(("{", "[")):
            return "shell"
        return self.language or "json"

    def commands(self) -> list[str]:
        """Return the commands of a block of shell, without comments, each in one line.

        >>> Block(page=Path("a.md"), line=1, language="", text="ls \\\\\n  -l   # list\n\n# no\nls").commands()
        ['ls -l', 'ls']
        """
        joined = re.sub(r"\\\n\s*", "", self.text)
        lines = (re.sub(r"(^|\s+)# .*$", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in order; directives of Sphinx, in braces, are left out."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    found = [token for token in tokens if token.type in ("fence", "code_block") and not token.info.startswith("{")]
    return [Block(page=page, line=t.map[0] + 1, language=t.info.strip(), text=t.content) for t in found if t.map]


def pages() -> list[Path]:
    """Return the pages whose blocks are run: the README, CONTRIBUTING, SECURITY and docs, without the table of messages."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*top, *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "errors.md")]


def reason_not_to_run(command: str) -> str | None:
    """Return why a command is not run, or None."""
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, command)), None)


def run_commands(commands: list[str], folder: Path, program: Path) -> Iterator[str]:
    """Run commands one after the other in ``folder``; yield a sentence for each that fails.

    ``program`` is the folder of the command ``soundmark``.
    """
    environment = {**os.environ, "PATH": f"{program}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    for command in commands:
        if reason_not_to_run(command):
            continue
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        if done.returncode:
            yield f"{command}\nexit status {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"

"""The code blocks of the documentation: found in the Markdown pages, and run as a reader would run them.

A block without a language, or in ``bash``, is shell: each of its lines is run, unless ``NOT_RUN`` says why not. Blocks
in ``python`` are run in one namespace per page. Blocks in ``text``, ``json`` or ``yaml`` are output or files; those in
``py`` and ``javascript`` are for other programs.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
CODE = ("shell", "python")

NOT_RUN = {
    r"^#!/bin/bash|^#SBATCH|parts/\$SLURM|^sbatch ": "tests/system/test_job_arrays.py runs it",
    r"^(python3 -m venv|git clone|cd soundmark|pip install|sudo) ?": "installs: see tests/system/test_base_install.py",
    r"^(npm|hf) |http\.server|^soundmark (push|export .*--page)|hf://": "needs a download: see tests/unit/models",
    r"--preset notebook": "trains for minutes: tests/system/test_demo.py runs it",
    r"^(make|bash \.ci|python -m pytest) ?": "runs the tests or the checks",
    r"^soundmark download": "downloads gigabytes: tests/system/test_download.py runs it against a local server",
    r"^python benchmarks/": "a measurement: takes minutes to hours",
    r"s3://|gs://|https://example|urls\.txt": "needs a server: tests/unit/audio/test_remote.py has one",
    r"rtsp://|^arecord|^ffmpeg": "needs hardware, a stream, or a program that is not a dependency",
    r"^soundmark listen -m [^|]*$": "needs a microphone: tests/unit/audio/test_capture.py imitates one",
    r"^soundmark demo --serve": "tests/system/test_demo.py runs it",
    r"^dask |tcp://": "needs several machines: tests/system/test_cluster.py has several processes",
    r"(perch_v2|ced_tiny|birdnet_backbone|--backbone model)\S*": "needs a file of others that is not here",
    r"--int8 --calibrate UrbanSound8K": "needs a model of all its clips: see tests/unit/models/export/test_int8.py",
    r"--recipe scratch": "trains for hours on a laptop: tests/unit/training trains small ones",
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
        r"""Return the commands of a block of shell, without comments, each in one line.

        >>> Block(page=Path("a.md"), line=1, language="", text="ls \\\n  -l   # list\n\n# no\nls").commands()
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
    """Return the pages whose blocks are run; those of docs/errors.md have their own test."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*top, *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "errors.md")]


def reason_not_to_run(command: str) -> str | None:
    """Return why a command is not run, or None."""
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, command)), None)


class Shell:
    """Runs the commands of a page in a folder. A server that a command starts runs until the end of the page."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder
        path = f"{program}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "COLUMNS": "100", "BROWSER": "true"}
        self.server: subprocess.Popen[str] | None = None

    def run(self, command: str) -> str | None:
        """Run a command; return what it printed if it fails."""
        if reason_not_to_run(command):
            return None
        if command.startswith(("soundmark serve", "soundmark review")):
            return self.stop() or self.start(command)
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], **self.settings(), timeout=900)
        if done.returncode == 0:
            return None
        return f"{command}\nexit status {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"

    def settings(self) -> dict[str, Any]:
        """Return how processes are started."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return {"cwd": self.folder, "env": self.environment, "text": True, **pipes}

    def start(self, command: str) -> str | None:
        """Start a server and wait until it prints its address."""
        self.server = subprocess.Popen(command.split(), **self.settings())
        assert self.server.stdout is not None
        if any(line.startswith("Page: ") for line in self.server.stdout):
            return None
        return f"{command}\n{self.server.communicate()[1]}"

    def stop(self) -> str | None:
        """Stop the server, if there is one."""
        if self.server is None:
            return None
        self.server.terminate()
        messages = self.server.communicate(timeout=60)[1]
        status, self.server = self.server.returncode, None
        return None if status in (0, 143, -signal.SIGTERM) else f"the server ended with {status}\n{messages}"

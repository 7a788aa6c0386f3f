"""Run ``soundmark`` commands in the tests without starting Python and importing everything each time.

A fork server imports the package and its heavy dependencies once. Each command runs in a fork of it: a process with its
own working directory, environment, standard streams, signals and exit status.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from support import faulty_io

PRELOADED = (
    "matplotlib.pyplot",
    "onnx",
    "onnxruntime",
    "soundmark.cli.commands",
    "soundmark.evaluation.comparison",
    "soundmark.evaluation.report",
    "soundmark.training.single_model",
)
TIMEOUT_S = 300


def run_soundmark(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, object] | None = None, input: bytes | str = b""
) -> subprocess.CompletedProcess[str]:
    """Run ``soundmark ARGUMENTS`` and return its exit status, standard output and standard error.

    ``env`` is added to the environment; None removes a variable. ``subprocess.TimeoutExpired`` is raised after five
    minutes.
    """
    words = tuple(map(str, arguments))
    data = input.encode() if isinstance(input, str) else input
    changed = {**os.environ, **(env or {})}
    environment = {name: str(value) for name, value in changed.items() if value is not None}
    with tempfile.TemporaryDirectory() as folder:
        streams = [str(Path(folder) / name) for name in ("stdin", "stdout", "stderr")]
        Path(streams[0]).write_bytes(data)
        status = _run_forked(words, str(cwd or Path.cwd()), environment, streams)
        output, messages = (_text(Path(name).read_bytes()) for name in streams[1:])
    return subprocess.CompletedProcess(["soundmark", *words], status, output, messages)


def _text(data: bytes) -> str:
    return data.decode().replace("\r\n", "\n")


def _run_forked(words: tuple[str, ...], cwd: str, environment: dict[str, str], streams: list[str]) -> int:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    process = context.Process(target=_command, args=(words, cwd, environment, streams))
    process.start()
    process.join(TIMEOUT_S)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired(["soundmark", *words], TIMEOUT_S)
    return process.exitcode


def _command(words: tuple[str, ...], cwd: str, environment: dict[str, str], streams: list[str]) -> NoReturn:
    """The forked process: become ``soundmark WORDS``."""
    from soundmark.cli import main

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in enumerate(streams):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(i, mode) for i, mode in enumerate(("r", "w", "w")))
    sys.argv = ["soundmark", *words]
    faulty_io.install_from_environment()
    main()

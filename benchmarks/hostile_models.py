"""How long each command takes to refuse each of 144 hostile models, and with how much memory.

    python benchmarks/hostile_models.py
    python benchmarks/hostile_models.py --every 12    # one of each kind

It prints one line per command: the models that it refused, and the longest time and the most memory of a run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from soundmark import audio
from support import hostile_graphs

COMMANDS = {
    "show": ("show", "{model}"),
    "classify": ("classify", "tone.wav", "-m", "{model}"),
    "listen": ("listen", "-", "--rate", "22050", "-m", "{model}"),
    "export": ("export", "{model}", "--with-front-end", "-o", "export.onnx"),
    "explain": ("explain", "tone.wav", "-m", "{model}", "-o", "why.png"),
}
"""The commands that load a model, with arguments that are valid but for the model."""


class Run(NamedTuple):
    """A finished command."""

    is_refused: bool
    seconds: float
    megabytes: float


def run(command: str, model: Path, folder: Path) -> Run:
    """Run a command with a model. It is refused if the status is 2 and the only message names the model."""
    words = [word.format(model=model.name) for word in COMMANDS[command]]
    started_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "soundmark.cli", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started_s
    is_refused = os.waitstatus_to_exitcode(status) == 2 and model.name in message and "Traceback" not in message
    return Run(is_refused, seconds, usage.ru_maxrss / 1024)


def main() -> None:
    """Run every command with every model, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="Run every N-th model only.")
    every = parser.parse_args().every
    print("command   refused    longest   most memory")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audio.write(folder / "tone.wav", np.sin(np.arange(22_050) / 5), 22_050)
        models = [hostile.write(folder) for hostile in hostile_graphs.all_graphs()[::every]]
        for command in COMMANDS:
            runs = [run(command, model, folder) for model in models]
            refused = f"{sum(one.is_refused for one in runs)}/{len(runs)}"
            slowest, largest = max(one.seconds for one in runs), max(one.megabytes for one in runs)
            print(f"{command:<8}  {refused:>7}  {slowest:7.2f} s  {largest:8.0f} MB", flush=True)


if __name__ == "__main__":
    main()

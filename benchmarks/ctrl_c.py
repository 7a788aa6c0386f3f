"""Measure how long `soundmark classify` takes to answer Ctrl-C at random moments.

    python benchmarks/ctrl_c.py [MODEL] [--inputs hour.flac,short,silence.flac] [--signals 100] [--seed 1]

Three kinds of work: an hour of FLAC, 2 000 short files, and ten hours of silence; each in turn, with and without a
results folder. A command is started and stopped, after a random part of the time that it takes. Its exit status must be
130, and its only message one line. Prints the median and the longest time from the signal to the end of the process.
MODEL is a small linear one by default.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.models import tone_model

RATE_HZ = 22_050
INPUTS = ("hour.flac", "short", "silence.flac")


def write_inputs(folder: Path) -> None:
    """Write the sounds of ``INPUTS``."""
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * RATE_HZ).astype(np.float32)
    for name, minutes, samples in (("hour", 60, noise), ("silence", 600, np.zeros_like(noise))):
        with soundfile.SoundFile(folder / f"{name}.flac", "w", RATE_HZ, 1, format="FLAC") as file:
            for _ in range(minutes):
                file.write(samples)
    (folder / "short").mkdir()
    for number in range(2000):
        soundfile.write(folder / "short" / f"{number}.wav", noise[: RATE_HZ // 2], RATE_HZ)


def start(source: Path, model: Path, output: Path | None) -> subprocess.Popen[str]:
    """Start the command, and wait until it handles signals: before, Python itself does."""
    words = ["classify", source, "-m", model, "--quiet", *(["-o", output] if output else [])]
    process = subprocess.Popen(
        [sys.executable, "-m", "soundmark", *map(str, words)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None:
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
        if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
            break
        time.sleep(0.001)
    return process


def answers(source: Path, model: Path, output: Path | None, signals: int, rng: random.Random) -> Iterator[float]:
    """Yield the seconds that each command takes to end after its signal."""
    started_s = time.perf_counter()
    process = start(source, model, output)
    process.communicate()
    run_s = time.perf_counter() - started_s
    for _ in range(signals):
        if output:
            shutil.rmtree(output, ignore_errors=True)
        process = start(source, model, output)
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, run_s))
        sent_s = time.perf_counter()
        process.send_signal(signal.SIGINT)
        _, message = process.communicate()
        seconds = time.perf_counter() - sent_s
        if process.returncode in (0, 1):  # it ended before the signal
            continue
        if process.returncode != 130 or len(message.splitlines()) != 1:
            print(f"unexpected: exit status {process.returncode}, {message!r}")
        yield seconds


def main() -> None:
    """Stop the commands, and print a row for each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL")
    parser.add_argument("--inputs", default=",".join(INPUTS), metavar="NAMES")
    parser.add_argument("--signals", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    print("| input | results folder | signals | median | longest |\n|---|---|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as root:
        os.environ["SOUNDMARK_CACHE"] = str(Path(root) / "cache")
        model = arguments.model
        if model is None:
            model = Path(root) / "model.onnx"
            tone_model().save(model)
        write_inputs(Path(root))
        for source, output in product((Path(root) / name for name in arguments.inputs.split(",")), (False, True)):
            folder = Path(root) / "out" if output else None
            found = list(answers(source, model, folder, arguments.signals, rng))
            row = f"{statistics.median(found):.2f} s | {max(found):.2f} s" if found else "– | –"
            print(f"| {source.name} | {'yes' if output else 'no'} | {len(found)} | {row} |", flush=True)


if __name__ == "__main__":
    main()

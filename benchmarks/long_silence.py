"""Measure the memory and the time of every command for ten hours of silence next to ordinary clips.

    python benchmarks/long_silence.py [CLIPS] [--hours 10] [--only train,evaluate] [--model audioset]

CLIPS is a folder with one folder of clips per class; by default, synthetic clips of two classes are used, and others of
the same classes to evaluate. Ten hours of silence in FLAC at 44.1 kHz, 5.4 MB, are added as one more clip, of a
separate class; ``listen`` gets them as PCM. The memory is the largest sum over all processes of the command
(proportional set size, sampled 20 times a second), so it needs Linux. The first run of a recipe computes the features,
so run all commands. Prints a table.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from soundmark import audio

RATE_HZ = 44_100
N_CLIPS, CLIP_S = 12, 4  # of each synthetic class
POLL_S = 0.05
BASE = ("--quiet", "--jobs", "1")


@dataclass(frozen=True)
class Run:
    """A measured command: exit status, seconds, peak memory in MB, and the last line of its messages."""

    status: int
    seconds: float
    peak_mb: float
    message: str


def write_silence(path: Path, hours: float) -> None:
    """Write silence, minute by minute."""
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16", format="FLAC") as file:
        for _ in range(round(hours * 60)):
            file.write(np.zeros(60 * RATE_HZ, np.int16))


def write_clips(folder: Path, seed: int) -> None:
    """Write clips of two classes that are easy to tell apart."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(CLIP_S * 22_050) / 22_050
    for n in range(N_CLIPS):
        tone = 0.3 * np.sin(2 * np.pi * rng.uniform(300, 600) * seconds)
        for label, samples in (("tone", tone), ("noise", rng.normal(0, 0.1, len(seconds)))):
            (folder / label).mkdir(parents=True, exist_ok=True)
            audio.write(folder / label / f"{n}.wav", samples.astype(np.float32), 22_050)


def commands(
    data: Path, held_out: Path, recording: Path, out: Path, model: str | Path | None
) -> dict[str, list[object]]:
    """Return the commands by name; ``evaluate`` and the others use ``model``, or the one that ``train`` writes."""
    model, mel_model = model or out / "train" / "model.onnx", out / "train-mel" / "model.onnx"
    mel = ("--recipe", "notebook-mel", "--epochs", "2")
    return {
        "train": ["train", data, "-o", out / "train", *BASE],
        "train notebook-mel": ["train", data, "-o", out / "train-mel", *mel, *BASE],
        "compare transfer": ["compare", data, "-o", out / "compare", "--recipe", "transfer", *BASE],
        "compare notebook-mel": ["compare", data, "-o", out / "compare-mel", *mel, *BASE],
        "evaluate": ["evaluate", held_out, "-m", model, "-o", out / "evaluate", *BASE],
        "evaluate notebook-mel": ["evaluate", held_out, "-m", mel_model, "-o", out / "evaluate-mel", *BASE],
        "inspect": ["inspect", data, "-o", out / "inspect.png", *BASE],
        "spectrograms": ["spectrograms", data, out / "pictures", *BASE],
        "classify": ["classify", recording, "-m", model, "-o", out / "classify", *BASE],
        "classify --isolate": ["classify", recording, "-m", model, "--isolate", *BASE],
        "index": ["index", recording, "-m", model, "-o", out / "index", *BASE],
        "listen": ["listen", "-", "-m", model, "--rate", RATE_HZ, "--quiet"],
        "explain": ["explain", recording, "-m", model, "-o", out / "explain.png"],
        "export --calibrate": ["export", model, "--int8", "--calibrate", held_out, "-o", out / "int8.onnx", "--quiet"],
    }  # fmt: skip


def measured(command: list[object], cache: Path, silence: Path) -> Run:
    """Run a command of soundmark with ``silence`` as its input, and measure it with all its processes."""
    start, peak = time.perf_counter(), 0
    environment = {**os.environ, "SOUNDMARK_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as messages, silence.open("rb") as pcm:
        process = subprocess.Popen(
            [sys.executable, "-m", "soundmark", *map(str, command)],
            stdin=pcm, stdout=subprocess.DEVNULL, stderr=messages, env=environment,
        )  # fmt: skip
        while process.poll() is None:
            peak = max(peak, sum(map(memory_of, descendants(process.pid))))
            time.sleep(POLL_S)
        seconds = time.perf_counter() - start
        messages.seek(0)
        lines = messages.read().splitlines()
    return Run(process.returncode, seconds, peak / 1e6, lines[-1] if lines else "")


def descendants(pid: int) -> list[int]:
    """Return a process and all processes that it started, directly or not."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:  # ended
            continue
    return found


def memory_of(pid: int) -> int:
    """Return the bytes of a process; pages that it shares with others count in part."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    """Run the commands, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="?", metavar="CLIPS")
    parser.add_argument("--hours", type=float, default=10, metavar="N", help="Duration of the silence. Default: 10.")
    parser.add_argument("--model", help="Use this model instead of the one that is trained.")
    parser.add_argument("--only", help="Measure the commands that begin with one of these words.")
    arguments = parser.parse_args()
    only = tuple(arguments.only.split(",")) if arguments.only else ("",)
    with tempfile.TemporaryDirectory() as root:
        data = Path(root) / "data"
        if arguments.clips:
            shutil.copytree(arguments.clips, data)
        else:
            write_clips(data, seed=0)
        held_out = Path(root) / "held out"  # `evaluate` leaves out the clips that the model was trained on
        write_clips(held_out, seed=1)
        (data / "silence").mkdir()
        (held_out / "silence").mkdir()
        recording = data / "silence" / "night.flac"
        write_silence(recording, arguments.hours)
        write_silence(held_out / "silence" / "next night.flac", arguments.hours - 1 / 60)
        pcm = Path(root) / "silence.pcm"
        pcm.touch()
        os.truncate(pcm, round(arguments.hours * 3600) * RATE_HZ * 2)  # zeros that take no space
        print(f"{arguments.hours:g} hours of silence: {recording.stat().st_size / 1e6:.1f} MB\n")
        print("| command | time | peak memory | exit status |\n|---|---:|---:|---:|", flush=True)
        for name, command in commands(data, held_out, recording, Path(root), arguments.model).items():
            if name.startswith(only):
                run = measured(command, Path(root) / "cache", pcm)
                message = "" if run.status == 0 else f": {run.message[:300]}"
                print(f"| {name} | {run.seconds:.0f} s | {run.peak_mb:.0f} MB | {run.status}{message} |", flush=True)


if __name__ == "__main__":
    main()

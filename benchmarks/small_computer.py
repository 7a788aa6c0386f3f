"""What `soundmark listen` needs on a small computer: processor time and memory, on one core.

    python benchmarks/small_computer.py [MODEL.onnx] [--minutes 10]

Sound is piped to `soundmark listen -` as fast as it is analysed. Processor time and peak memory are those of the
process, start-up included; it runs on one core, with one thread. The sound is a synthetic city at 22 050 Hz. Without
MODEL, a model of the recipe transfer is trained on synthetic clips. docs/small-computer.md computes from this table
what fits.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from soundmark.datasets import Dataset, synthetic
from soundmark.training.single_model import train

# The peak that the kernel reports to the parent would include the parent's own memory at the fork.
PROGRAM = """
import atexit, re, sys
from pathlib import Path
from soundmark.cli import main
peak = lambda: re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
atexit.register(lambda: print("peak", peak(), file=sys.stderr))
main()
"""
CLASSES = ("air_conditioner", "siren", "dog_bark", "car_horn", "street_music", "jackhammer", "engine_idling")


def street(minutes: float) -> bytes:
    """Return PCM, 16 bits, of synthetic sounds one after the other."""
    clips = [synthetic.synthesise(label, seed=seed) for seed in range(3) for label in CLASSES]
    joined = np.concatenate(clips)
    samples = np.resize(joined, round(minutes * 60 * synthetic.RATE_HZ))
    return np.round(samples * 32767).astype("<i2").tobytes()


def measured(arguments: list[str], pcm: bytes) -> tuple[float, float]:
    """Return processor seconds and peak megabytes of ``soundmark listen -`` for ``pcm``, on one core."""
    command = [sys.executable, "-c", PROGRAM, "listen", "-", "--rate", str(synthetic.RATE_HZ), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*command, "--format", "jsonl", "--quiet"], input=pcm, env=environment, capture_output=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, int(done.stderr.split()[-1]) / 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pcm, start = street(arguments.minutes), street(1 / 60)
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or str(Path(folder) / "run" / "model.onnx")
        if not arguments.model:
            city = Dataset.open(synthetic.write(Path(folder) / "city", recordings_per_class=3, clips_per_recording=1))
            train(city, "transfer", Path(folder) / "run", quiet=True)
        print(f"{platform.machine()}, {arguments.minutes:g} minutes of sound, one core\n")
        print("| command | start, s | processor s per hour of sound | share of a core | peak memory, MB |")
        print("|---|---:|---:|---:|---:|")
        for name, options in {
            "`listen -m model.onnx`": ["-m", model],
            "`listen -m model.onnx --hop 1`": ["-m", model, "--hop", "1"],
            "`listen` (AudioSet, 527 classes)": [],
            "`listen --hop 1`": ["--hop", "1"],
        }.items():
            at_start, _ = measured(options, start)
            seconds, megabytes = measured(options, pcm)
            hourly = (seconds - at_start) * 60 / arguments.minutes
            print(f"| {name} | {at_start:.1f} | {hourly:.1f} | {hourly / 3600:.2%} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()

"""Cost of `soundmark classify --isolate`: python benchmarks/isolation.py MODEL.

Commands with and without --isolate run in turns, for one clip, an hour of FLAC, and 4 000 clips of half a second. The
table has the shortest time of each, the ratio, and whether the outputs are equal.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

PAIRS = 4


RATE_HZ = 22_050


def write_inputs(folder: Path) -> dict[str, Path]:
    """Write the sounds; return the path of each case."""
    random = np.random.default_rng(0)
    clip, hour, short = folder / "clip.wav", folder / "hour.flac", folder / "short"
    soundfile.write(clip, 0.1 * random.standard_normal(4 * RATE_HZ), RATE_HZ)
    with soundfile.SoundFile(hour, "w", RATE_HZ, 1) as file:
        for _ in range(60):
            file.write(0.1 * random.standard_normal(60 * RATE_HZ))
    short.mkdir()
    for n in range(4000):
        soundfile.write(short / f"{n}.wav", 0.1 * random.standard_normal(RATE_HZ // 2), RATE_HZ)
    return {"one clip of 4 s": clip, "an hour of FLAC": hour, "4 000 clips of 0.5 s": short}


def seconds(source: Path, model: str, *options: str) -> tuple[float, bytes]:
    """Run `soundmark classify`; return its wall time and its output."""
    command = [
        sys.executable,
        "-m",
        "soundmark.cli",
        "classify",
        str(source),
        "-m",
        model,
        "--format",
        "csv",
        "--quiet",
    ]
    started = time.perf_counter()
    done = subprocess.run([*command, *options], capture_output=True, check=True)
    return time.perf_counter() - started, done.stdout


def main() -> None:
    """Measure, and print the table."""
    (model,) = sys.argv[1:]
    print("| input | without (s) | with --isolate (s) | ratio | equal output |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, source in write_inputs(Path(folder)).items():
            pairs = [(seconds(source, model), seconds(source, model, "--isolate")) for _ in range(PAIRS)]
            without, isolated = (min(pair[side][0] for pair in pairs) for side in (0, 1))
            equal = all(pair[0][1] == pair[1][1] for pair in pairs)
            print(f"| {name} | {without:.2f} | {isolated:.2f} | {isolated / without:.2f} | {equal} |", flush=True)


if __name__ == "__main__":
    main()

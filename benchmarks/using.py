"""Measure start-up time, throughput and memory of ``soundmark classify``, in turn with a lower bound or a baseline.

    python benchmarks/using.py MODEL.onnx... [--clips FOLDER] [--turns 5] [--output FILE.md]

- **Start-up**: the process `soundmark classify CLIP`, compared with `python -c "import numpy, onnxruntime, soundfile,
  soxr"` on the same interpreter (the lower bound).
- **An hour of audio**: 44.1 kHz stereo FLAC, composed of the clips in FOLDER or of synthetic clips. The process is
  compared with decoding alone on one core (the lower bound) and, for models with the representation `mel`, with a loop
  as users of librosa write it (the baseline): `librosa.load` window by window, its mel spectrogram, OpenCV, ONNX
  Runtime. The probabilities of both are compared, too.
- **Memory**: the peak memory of the process for ten minutes and for a day of audio.

The results are written as a table, with the machine and the versions.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

import soundmark
from contenders import BUILD
from soundmark import audio
from soundmark.datasets import synthetic
from soundmark.runtime import provenance
from table import Row, compared, table_lines

RATE_HZ = 44_100
IMPORTS = "import numpy, onnxruntime, soundfile, soxr"
DECODE = """
import sys, soundfile
with soundfile.SoundFile(sys.argv[1]) as file:
    while len(file.read(1 << 18, dtype="int16", always_2d=True)):
        pass
"""
LIBROSA_LOOP = Path(__file__).parent / "peers" / "librosa_loop.py"


# Started from a small process: the peak memory of a child includes the memory of the process that forked it.
MEASURE = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status))
"""


def run(*command: object) -> tuple[float, float]:
    """Run a process; return its wall-clock seconds and its peak memory in MB."""
    words = [str(word) for word in command]
    measured = subprocess.run([sys.executable, "-S", "-c", MEASURE, *words], capture_output=True, text=True, check=True)
    seconds, megabytes, status = map(float, measured.stdout.split())
    assert status == 0, words
    return seconds, megabytes


@contextmanager
def cache(folder: Path):
    """Let soundmark keep its features in another folder."""
    before = os.environ.get("SOUNDMARK_CACHE", "")
    os.environ["SOUNDMARK_CACHE"] = str(folder)
    try:
        yield
    finally:
        os.environ["SOUNDMARK_CACHE"] = before


def measure_in_turn(rounds: int, **commands: tuple[object, ...]) -> dict[str, list[tuple[float, float]]]:
    """Run the commands in turn, for ``rounds`` rounds after a first one that is not counted; return ``run`` of each."""
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            result = run(*command)
            if number:
                results[name].append(result)
    return results


def long_recording(clips: list[Path], seconds: int, path: Path, *, rate_hz: int = RATE_HZ, channels: int = 2) -> Path:
    """Write a FLAC of ``seconds`` of randomly chosen clips, unless it exists; its channels differ slightly."""
    if path.exists():
        return path
    rng, written = np.random.default_rng(0), 0
    blocks = [audio.read(clip, rate_hz=rate_hz).samples for clip in clips[:1000]]
    with soundfile.SoundFile(path.with_suffix(".part"), "w", rate_hz, channels, format="FLAC") as file:
        while written < seconds * rate_hz:
            block = blocks[int(rng.integers(len(blocks)))][: seconds * rate_hz - written]
            spread = np.stack([np.roll(block, 13 * channel) for channel in range(channels)], axis=1)
            file.write(np.clip(spread + rng.normal(0, 3e-4, spread.shape), -1, 1))
            written += len(block)
    return path.with_suffix(".part").rename(path)


def start_up(model: Path, clip: Path, rounds: int) -> list[Row]:
    """Measure the time to the result for a single clip."""
    results = measure_in_turn(
        2 * rounds, ours=(*SOUNDMARK, "classify", clip, "-m", model), imports=(sys.executable, "-c", IMPORTS)
    )
    ours, imports = ([seconds for seconds, _ in results[name]] for name in ("ours", "imports"))
    what = f"start-up: `classify` of one clip, {name_of(model)}, compared with importing its libraries"
    wait = statistics.median(ours)
    return [
        compared(what, ours, imports, unit="s", target=2.5, at_most=True),
        Row(
            what="the same, wall clock", ours=f"{wait:.3f} s", baseline="", ratio="", target="≤ 0.5 s", met=wait <= 0.5
        ),
    ]


def hour(model: Path, recording: Path, rounds: int) -> list[Row]:
    """Measure throughput and memory for an hour of audio."""
    rows, kind = [], soundmark.load(model).card.representation.name
    results = measure_in_turn(
        rounds,
        ours=(*SOUNDMARK, "classify", recording, "-m", model, "--quiet", "--format", "csv"),
        decoding=(sys.executable, "-c", DECODE, recording),
    )
    ours, decoding = ([seconds for seconds, _ in results[name]] for name in ("ours", "decoding"))
    speed = 3600 / statistics.median(ours)
    peak = max(mb for _, mb in results["ours"])
    what = f"an hour of 44.1 kHz stereo FLAC, {name_of(model)}"
    target = {"target": "≥ 600 ×", "met": speed >= 600} if kind == "mel" else {"target": "", "met": None}
    rows.append(Row(what=f"{what}, times real time", ours=f"{speed:.0f} ×", baseline="", ratio="", **target))
    rows.append(compared(f"{what}, compared with decoding alone", ours, decoding, unit="s", at_most=True))
    rows.append(
        Row(
            what=f"{what}, peak memory",
            ours=f"{peak:.0f} MB",
            baseline="",
            ratio="",
            target="≤ 250 MB",
            met=peak <= 250,
        )
    )
    if kind == "mel":
        rows.append(compared_with_librosa(model, recording, what, ours))
    return rows


def compared_with_librosa(model: Path, recording: Path, what: str, ours: list[float]) -> Row:
    """Measure the librosa loop once, as it takes minutes, and compare its probabilities window by window."""
    output = BUILD / "librosa_loop.npy"
    seconds, _ = run(sys.executable, LIBROSA_LOOP, recording, model, output)
    theirs, mine = np.load(output), soundmark.load(model).scores(recording).probabilities
    difference = float(np.abs(theirs - mine[: len(theirs)]).max())
    return compared(
        f"{what}, compared with a librosa loop (max. difference {difference:.0e})",
        ours,
        [seconds] * len(ours),
        unit="s",
    )


def memory(model: Path, clips: list[Path]) -> list[Row]:
    """Measure the peak memory for ten minutes and for a day of audio."""
    peaks = []
    for seconds in (600, 86_400):
        sound = long_recording(clips, seconds, BUILD / f"{seconds}.flac", rate_hz=22_050, channels=1)
        peaks.append(run(*SOUNDMARK, "classify", sound, "-m", model, "--quiet", "--format", "csv")[1])
    ratio = peaks[1] / peaks[0]
    what = f"peak memory for a day compared with ten minutes, {name_of(model)}"
    return [
        Row(
            what=what,
            ours=f"{peaks[1]:.0f} MB",
            baseline=f"{peaks[0]:.0f} MB",
            ratio=f"{ratio:.2f} ×",
            target="≤ 1.1 ×",
            met=ratio <= 1.1,
        )
    ]


def name_of(model: Path) -> str:
    """The name of the model's recipe."""
    return str(soundmark.load(model).card.recipe.get("name", model.stem))


SOUNDMARK = (Path(sys.executable).with_name("soundmark"),)


def main() -> None:
    """Parse the command line, measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument(
        "--clips", type=Path, help="folder of clips to compose long recordings of (default: synthetic clips)"
    )
    parser.add_argument("--turns", type=int, default=5, help="rounds of measurements (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=BUILD / "using.md", help="default: %(default)s")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = options.clips or synthetic.write(BUILD / "using-city", recordings_per_class=5, clips_per_recording=2)
    clips = sorted(folder.rglob("*.wav"))
    rows: list[Row] = []
    recording = long_recording(clips, 3600, BUILD / "hour.flac")
    for model in options.models:
        rows += start_up(model, clips[0], options.turns)
        rows += [*hour(model, recording, options.turns), *memory(model, clips)]
        options.output.write_text(as_markdown(rows, folder, len(clips)), encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"))
    sys.exit(any(row.met is False for row in rows))


def as_markdown(rows: list[Row], folder: Path, clips: int) -> str:
    """The table, followed by the machine, the audio and the versions."""
    machine, versions = provenance.machine(), provenance.versions()
    lines = [
        *table_lines(rows, baseline="baseline or lower bound"),
        "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}.  ",
        f"Audio: composed of {clips:,} clips of {folder.name}.  ",
        f"Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

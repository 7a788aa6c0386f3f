"""What it costs to use a model: starting, an hour of sound, a day of it. Each beside a floor or a peer, in turns.

    python benchmarks/using.py MODEL.onnx... [--clips FOLDER] [--turns 5] [--output FILE.md]

- **start**: `soundmark classify CLIP` as a whole process, against `python -c "import numpy, onnxruntime, soundfile,
  soxr"`, on the same interpreter.
- **an hour** of 44.1 kHz stereo FLAC, made of the clips in FOLDER (or of synthesised ones), as a whole process: against
  decoding alone on one core (the floor), and against the loop that librosa's users write: `librosa.load` window by
  window, its mel spectrogram, OpenCV, ONNX Runtime (the peer, for a model on `mel`; what both say is compared).
- **memory**: the most that a process holds for ten minutes, and for a day.

It writes what it found as a table, with the machine and the versions.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

import soundmark
from contenders import BUILD
from soundmark import audio
from soundmark.datasets import synthetic
from soundmark.runtime import provenance
from table import Row, compared

RATE_HZ = 44_100
FLOOR = "import numpy, onnxruntime, soundfile, soxr"
DECODING = """
import sys, soundfile
with soundfile.SoundFile(sys.argv[1]) as file:
    while len(file.read(1 << 18, dtype="int16", always_2d=True)):
        pass
"""
PEER = Path(__file__).parent / "peers" / "librosa_loop.py"


# A small process between: a child begins with the memory of whoever forked it, and that counts as its own.
MEASURED = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status))
"""


def run(*command: object) -> tuple[float, float]:
    """Wall-clock seconds of a process, and the most memory in MB that it held."""
    words = [str(word) for word in command]
    told = subprocess.run([sys.executable, "-S", "-c", MEASURED, *words], capture_output=True, text=True, check=True)
    seconds, megabytes, status = map(float, told.stdout.split())
    assert status == 0, words
    return seconds, megabytes


def in_turns(turns: int, **commands: tuple[object, ...]) -> dict[str, list[tuple[float, float]]]:
    """Each command ``turns`` times, one after the other, after a first that is not counted."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(turns + 1):
        for name, command in commands.items():
            result = run(*command)
            if turn:
                found[name].append(result)
    return found


def long_sound(clips: list[Path], seconds: int, path: Path, *, rate_hz: int = RATE_HZ, channels: int = 2) -> Path:
    """A FLAC of so many seconds of the clips, one after the other, the channels a little apart; made once."""
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


def start(model: Path, clip: Path, turns: int) -> list[Row]:
    """How long a person waits for the first answer."""
    found = in_turns(2 * turns, ours=(*SOUNDMARK, "classify", clip, "-m", model), floor=(sys.executable, "-c", FLOOR))
    ours, floor = ([seconds for seconds, _ in found[name]] for name in ("ours", "floor"))
    row = compared(f"start: `classify` one clip, {name_of(model)}", ours, floor, unit="s", bar=2.5, most=True)
    wait = statistics.median(ours)
    return [
        row,
        Row(what="the same, wall clock", ours=f"{wait:.3f} s", peer="", ratio="", bar="≤ 0.5 s", reached=wait <= 0.5),
    ]


def hour(model: Path, sound: Path, turns: int) -> list[Row]:
    """An hour, as a whole process."""
    commands = {"ours": (*SOUNDMARK, "classify", sound, "-m", model, "--quiet", "--format", "csv")}
    commands |= {"floor": (sys.executable, "-c", DECODING, sound)}
    rows, kind = [], soundmark.load(model).card.representation.name
    found = in_turns(turns, **commands)
    ours, floor = ([seconds for seconds, _ in found[name]] for name in ("ours", "floor"))
    times = 3600 / statistics.median(ours)
    memory = max(mb for _, mb in found["ours"])
    what = f"an hour of 44.1 kHz stereo FLAC, {name_of(model)}"
    bar = {"bar": "≥ 600 ×", "reached": times >= 600} if kind == "mel" else {"bar": "", "reached": None}
    rows.append(Row(what=f"{what}, times real time", ours=f"{times:.0f} ×", peer="", ratio="", **bar))
    rows.append(compared(f"{what}, against decoding alone", ours, floor, unit="s", most=True))
    rows.append(
        Row(what=f"{what}, memory", ours=f"{memory:.0f} MB", peer="", ratio="", bar="≤ 250 MB", reached=memory <= 250)
    )
    if kind == "mel":
        rows.append(against_librosa(model, sound, what, ours))
    return rows


def against_librosa(model: Path, sound: Path, what: str, ours: list[float]) -> Row:
    """The peer, once: it takes minutes. What it says is compared window by window."""
    seconds, _ = run(sys.executable, PEER, sound, model, BUILD / "peer.npy")
    theirs, mine = np.load(BUILD / "peer.npy"), soundmark.load(model).scores(sound).probabilities
    apart = float(np.abs(theirs - mine[: len(theirs)]).max())
    return compared(
        f"{what}, against a loop with librosa (differ by {apart:.0e})", ours, [seconds] * len(ours), unit="s"
    )


def memory(model: Path, clips: list[Path]) -> list[Row]:
    """The most that is held for ten minutes, and for a day."""
    peaks = []
    for seconds in (600, 86_400):
        sound = long_sound(clips, seconds, BUILD / f"{seconds}.flac", rate_hz=22_050, channels=1)
        peaks.append(run(*SOUNDMARK, "classify", sound, "-m", model, "--quiet", "--format", "csv")[1])
    ratio = peaks[1] / peaks[0]
    what = f"memory for a day against ten minutes, {name_of(model)}"
    return [
        Row(
            what=what,
            ours=f"{peaks[1]:.0f} MB",
            peer=f"{peaks[0]:.0f} MB",
            ratio=f"{ratio:.2f} ×",
            bar="≤ 1.1 ×",
            reached=ratio <= 1.1,
        )
    ]


def name_of(model: Path) -> str:
    """What the model's recipe is called."""
    return str(soundmark.load(model).card.recipe.get("name", model.stem))


SOUNDMARK = (Path(sys.executable).with_name("soundmark"),)


def main() -> None:
    """Read the command line, measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--clips", type=Path, help="a folder of sounds that long ones are made of")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--output", type=Path, default=BUILD / "using.md", help="default: %(default)s")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = options.clips or synthetic.write(BUILD / "using-city", recordings_per_class=5, clips_per_recording=2)
    clips = sorted(folder.rglob("*.wav"))
    rows: list[Row] = []
    sound = long_sound(clips, 3600, BUILD / "hour.flac")
    for model in options.models:
        rows += [*start(model, clips[0], options.turns), *hour(model, sound, options.turns), *memory(model, clips)]
        options.output.write_text(table(rows, folder, len(clips)), encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"))
    sys.exit(any(row.reached is False for row in rows))


def table(rows: list[Row], folder: Path, clips: int) -> str:
    """The rows, and under them the machine and the versions."""
    verdict = {None: "", True: "yes", False: "**no**"}
    machine, versions = provenance.machine(), provenance.versions()
    lines = [
        "| what | soundmark | peer or floor | ratio (spread over the turns) | bar | reached |",
        "|---|---|---|---|---|---|",
        *(f"| {r.what} | {r.ours} | {r.peer} | {r.ratio} | {r.bar} | {verdict[r.reached]} |" for r in rows),
        "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}.  ",
        f"Sound: made of {clips:,} clips of {folder.name}.  ",
        f"Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

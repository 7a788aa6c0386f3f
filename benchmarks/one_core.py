"""Measure the CPU time of a file's features on one core, against a lower bound and against the original notebook.

    python benchmarks/one_core.py FILE_OF_PATHS [--clips 200] [--rounds 5]

FILE_OF_PATHS is a JSON list of sound files. All contenders process each clip in turn, in one process on one core with
one thread; a round is all clips once. The lower bound consists of the steps that every implementation of these features
needs, each in the fastest way of its library: libsndfile's decoding to float32, the mean of the channels, soxr, and the
real Fourier transforms of the frames (``scipy.fft``). ``image`` does not resample, so it is also compared with a lower
bound without soxr. Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.fft
import soundfile
import soxr

from contenders import HERE
from soundmark import audio
from soundmark.spectrograms import Image, Mel
from table import Row, compared

sys.path.append(str(HERE / "peers"))
import notebook_features

MEL, IMAGE = Mel(), Image()


def lower_bound(path: Path, length: int, hop: int, *, resampled: bool) -> None:
    """Decode, convert to mono, resample and transform the frames, which are centred or not, and nothing else."""
    samples, from_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples[:, 0]
    for channel in range(1, samples.shape[1]):
        mono = mono + samples[:, channel]
    mono = mono * np.float32(1 / samples.shape[1])
    frames_of = mono
    if resampled:
        at_22050 = soxr.resample(mono, from_hz, 22050, quality="HQ")
        frames_of = at_22050 if length == 2048 else mono
    count = 1 + len(frames_of) // hop
    padded = np.pad(frames_of, (0, max(0, (count - 1) * hop + length - len(frames_of))))
    scipy.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, length)[::hop][:count])


def mel_lower_bound(path: Path) -> None:
    """The steps that ``mel`` needs."""
    lower_bound(path, 2048, 512, resampled=True)


def image_lower_bound(path: Path) -> None:
    """The same steps, with the transforms of ``image``."""
    lower_bound(path, 512, 256, resampled=True)


def image_lower_bound_without_soxr(path: Path) -> None:
    """The steps that ``image`` needs: it does not resample."""
    lower_bound(path, 512, 256, resampled=False)


def soundmark_mel(path: Path) -> np.ndarray:
    """Compute ``mel`` from a file, as ``features`` does."""
    sound = audio.read(path)
    return MEL(sound.samples, sound.rate_hz)


def soundmark_image(path: Path) -> np.ndarray:
    """Compute ``image`` from a file, as ``features`` does."""
    sound = audio.read(path)
    return IMAGE(sound.samples, sound.rate_hz)


CONTENDERS: dict[str, Callable[[Path], Any]] = {
    "mel: lower bound": mel_lower_bound,
    "mel: soundmark": soundmark_mel,
    "mel: librosa + OpenCV": notebook_features.mel,
    "image: lower bound": image_lower_bound,
    "image: lower bound without soxr": image_lower_bound_without_soxr,
    "image: soundmark": soundmark_image,
    "image: SciPy + scikit-image": notebook_features.image,
}


def time_clips(paths: list[Path], rounds: int) -> dict[str, list[float]]:
    """Measure CPU seconds per clip: for every contender, one number per round."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for path in paths[:3]:  # warm-up: imports, tables, caches
        for contender in CONTENDERS.values():
            contender(path)
    for _ in range(rounds):
        totals = dict.fromkeys(CONTENDERS, 0.0)
        for path in paths:
            for name, contender in CONTENDERS.items():
                start = time.process_time()
                contender(path)
                totals[name] += time.process_time() - start
        for name, total in totals.items():
            seconds[name].append(total / len(paths))
    return seconds


def rows(files: list[str], versions: dict[str, str]) -> list[Row]:
    """The rows of the table, measured in a new process: threads and core must be set before NumPy is imported."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as list_of_files:
        json.dump(files, list_of_files)
        list_of_files.flush()
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        command = [sys.executable, __file__, list_of_files.name]
        process = subprocess.run(
            command, env={**os.environ, **dict.fromkeys(names, "1")}, capture_output=True, text=True, check=True
        )
    milliseconds = {name: [1e3 * seconds for seconds in rounds] for name, rounds in json.loads(process.stdout).items()}
    versions["scipy"] = version("scipy")
    return [
        compared(
            f"{kind} on one core, CPU time, compared with {baseline.split(': ')[1]}",
            milliseconds[f"{kind}: soundmark"],
            milliseconds[baseline],
            unit="ms per clip",
            target=target,
            at_most="lower bound" in baseline,
        )
        for kind, baseline, target in (
            ("mel", "mel: lower bound", 1.3),
            ("image", "image: lower bound", 1.3),
            ("image", "image: lower bound without soxr", None),
            ("mel", "mel: librosa + OpenCV", None),
            ("image", "image: SciPy + scikit-image", None),
        )
    ]


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, help="a JSON list of sound files")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    warnings.simplefilter("ignore")  # librosa warns of clips shorter than a frame
    cv2.setNumThreads(1)
    paths = [Path(path) for path in json.loads(options.files.read_text())]
    print(json.dumps(time_clips(paths[:: max(1, len(paths) // options.clips)][: options.clips], options.rounds)))


if __name__ == "__main__":
    main()

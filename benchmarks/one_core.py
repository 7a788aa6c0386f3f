"""How fast a file becomes features, on one core, against the floor and against the notebook's own loops.

    python benchmarks/features.py PATH/TO/UrbanSound8K [--clips 200] [--rounds 5]

Every clip goes through every contender in turn, within one process held to one core and one thread; a round is all
clips once, and the table has the median over rounds of the CPU time per clip, with the spread, and beside it the
largest difference from the reference. The floor is what no implementation of the same features can leave out, each done
in the libraries' own quickest way: libsndfile's decoding to float32, the mean of the channels, soxr (for ``mel`` only),
and the real Fourier transforms of the frames (``scipy.fft``).
"""
# ruff: noqa: E402 - the number of threads is read when NumPy is first imported

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import argparse
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import ducc0
import librosa
import numpy as np
import scipy.fft
import scipy.signal
import skimage.transform
import soundfile
import soxr
from PIL import Image as Pillow

from soundmark import audio
from soundmark.spectrograms import Image, Mel

LIBRARIES = (
    "numpy",
    "scipy",
    "ducc0",
    "soxr",
    "soundfile",
    "librosa",
    "opencv-python-headless",
    "scikit-image",
    "pillow",
)
MEL, IMAGE = Mel(), Image()


def floor(path: Path, rate_hz: int | None, length: int, hop: int) -> None:
    """Decoding, mono, resampling and the transforms of the frames: nothing else."""
    samples, from_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples[:, 0]
    for channel in range(1, samples.shape[1]):
        mono = mono + samples[:, channel]
    mono = mono * np.float32(1 / samples.shape[1])
    if rate_hz is not None:
        mono = soxr.resample(mono, from_hz, rate_hz, quality="HQ")
    count = 1 + len(mono) // hop if rate_hz else 1 + (len(mono) - length) // hop
    padded = np.pad(mono, (0, max(0, (count - 1) * hop + length - len(mono))))
    scipy.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, length)[::hop][:count])


def mel_floor(path: Path) -> None:
    """What ``mel`` cannot leave out."""
    floor(path, 22050, 2048, 512)


def image_floor(path: Path) -> None:
    """What ``image`` cannot leave out: it does not resample."""
    floor(path, None, 512, 256)


def soundmark_mel(path: Path) -> np.ndarray:
    """A file to ``mel``, as ``features`` does it."""
    sound = audio.read(path)
    return MEL(sound.samples, sound.rate_hz)


def soundmark_image(path: Path) -> np.ndarray:
    """A file to ``image``, as ``features`` does it."""
    sound = audio.read(path)
    return IMAGE(sound.samples, sound.rate_hz)


def librosa_mel(path: Path) -> np.ndarray:
    """The notebook's own loop."""
    y, sr = librosa.load(path)
    power = librosa.feature.melspectrogram(y=y, sr=sr)
    return cv2.resize(librosa.amplitude_to_db(power, ref=np.max), (64, 64), interpolation=cv2.INTER_AREA)


def scipy_image(path: Path) -> np.ndarray:
    """What OpenSoundscape 0.7 and the notebook do, by the libraries that they call."""
    y, sr = librosa.load(path, sr=None)
    _, _, power = scipy.signal.spectrogram(y, sr, window="hann", nperseg=512, noverlap=256, scaling="spectrum")
    with np.errstate(divide="ignore"):
        decibels = np.clip(10 * np.log10(power), -100, -20)
    resized = skimage.transform.resize((1 - (decibels + 100) / 80)[::-1], (224, 224))
    small = Pillow.fromarray((resized * 255).astype(np.uint8)).resize((64, 64))
    return np.asarray(small, np.float32) / 255


CONTENDERS: dict[str, Callable[[Path], Any]] = {
    "mel: floor": mel_floor,
    "mel: soundmark": soundmark_mel,
    "mel: librosa + OpenCV": librosa_mel,
    "image: floor": image_floor,
    "image: soundmark": soundmark_image,
    "image: SciPy + scikit-image": scipy_image,
}


def time_clips(paths: list[Path], rounds: int) -> dict[str, list[float]]:
    """CPU seconds per clip: for every contender, one figure per round."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for path in paths[:3]:  # imports, tables, caches
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


def errors(paths: list[Path]) -> dict[str, str]:
    """The largest difference of soundmark's features from the references'."""
    mel = max(float(np.abs(soundmark_mel(path) - librosa_mel(path)).max()) for path in paths)
    image = max(float(np.abs(soundmark_image(path) - scipy_image(path)).max()) for path in paths)
    return {"mel: soundmark": f"{mel:.1e} dB", "image: soundmark": f"{255 * image:.0f} of 255 grey levels"}


def print_features(paths: list[Path], rounds: int) -> None:
    """The main table."""
    seconds, largest = time_clips(paths, rounds), errors(paths)
    print(f"{'contender':<30}{'ms a clip':>10}{'spread':>16}{'clips/s':>9}{'× floor':>9}   largest difference")
    for name, rounds_s in seconds.items():
        median = float(np.median(rounds_s))
        base = float(np.median(seconds[name.split(":")[0] + ": floor"]))
        spread = f"{1e3 * min(rounds_s):.2f}…{1e3 * max(rounds_s):.2f}"
        figures = f"{1e3 * median:>10.2f}{spread:>16}{1 / median:>9.0f}{median / base:>9.2f}"
        print(f"{name:<30}{figures}   {largest.get(name, '')}")


NUMPY_ALONE = """
import time, numpy as np
x, times = np.random.default_rng(0).standard_normal((173, 2048)).astype(np.float32), []
for _ in range(100):
    start = time.process_time()
    np.fft.rfft(x)
    times.append(time.process_time() - start)
print(1e3 * np.median(times))
"""


def print_transforms() -> None:
    """The real Fourier transform of 4 s of frames, by the libraries that have one."""
    x = np.random.default_rng(0).standard_normal((173, 2048)).astype(np.float32)
    padded = np.empty((173, 2048 + 16), np.float32)[:, :2048]
    padded[:] = x
    exact = np.fft.rfft(x.astype(np.float64))
    transforms: dict[str, Callable[[], np.ndarray]] = {
        "np.fft, SciPy loaded": lambda: np.fft.rfft(x),
        "scipy.fft": lambda: scipy.fft.rfft(x),
        "ducc0": lambda: ducc0.fft.r2c(x, axes=(1,), nthreads=1),
        "ducc0, rows 16 floats apart": lambda: ducc0.fft.r2c(padded, axes=(1,), nthreads=1),
    }
    print(f"\n{'rfft of 173 × 2048 float32':<30}{'ms':>10}   largest error, of the largest value")
    for name, transform in transforms.items():
        times = []
        for _ in range(200):
            start = time.process_time()
            result = transform()
            times.append(time.process_time() - start)
        error = float(np.abs(result - exact).max() / np.abs(exact).max())
        print(f"{name:<30}{1e3 * float(np.median(times)):>10.2f}   {error:.1e}")
    # Seen with NumPy 2.4: once SciPy is loaded np.fft is several times faster. Who uses soundmark has no SciPy.
    done = subprocess.run([sys.executable, "-c", NUMPY_ALONE], capture_output=True, text=True, check=True)
    print(f"{'np.fft, alone':<30}{float(done.stdout):>10.2f}")


def main() -> None:
    """Read the command line, and print both tables with the machine and the versions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # librosa warns of clips shorter than a frame
    cv2.setNumThreads(1)
    paths = sorted(options.dataset.rglob("*.wav"))
    chosen = paths[:: max(1, len(paths) // options.clips)][: options.clips]
    print(f"{len(chosen)} of {len(paths)} clips, {options.rounds} rounds, one core of {platform.machine()}")
    print(
        ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in LIBRARIES)]),
        end="\n\n",
    )
    print_features(chosen, options.rounds)
    print_transforms()


if __name__ == "__main__":
    main()

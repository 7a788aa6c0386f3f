"""Compute the original notebook's two kinds of spectrograms in its own way: file by file, in one process."""

from __future__ import annotations

import time
import warnings

import cv2
import librosa
import numpy as np
import scipy.signal
import skimage.transform
from json_server import serve
from PIL import Image


def mel(path: str) -> np.ndarray:
    """Compute the mel spectrogram of a clip, 64 × 64 decibels."""
    y, sr = librosa.load(path)
    power = librosa.feature.melspectrogram(y=y, sr=sr)
    return cv2.resize(librosa.amplitude_to_db(power, ref=np.max), (64, 64), interpolation=cv2.INTER_AREA)


def image(path: str) -> np.ndarray:
    """Compute the spectrogram image of a clip: 224 × 224 as saved by the notebook, then 64 × 64 as read back."""
    y, sr = librosa.load(path, sr=None)
    _, _, power = scipy.signal.spectrogram(y, sr, window="hann", nperseg=512, noverlap=256, scaling="spectrum")
    with np.errstate(divide="ignore"):
        decibels = np.clip(10 * np.log10(power), -100, -20)
    resized = skimage.transform.resize((1 - (decibels + 100) / 80)[::-1], (224, 224))
    small = Image.fromarray((resized * 255).astype(np.uint8)).resize((64, 64))
    return np.asarray(small, np.float32) / 255


class Loops:
    """The methods that the benchmark calls."""

    def warm_up(self, kind: str, file: str) -> dict[str, float]:
        """Process one file, which fills imports, tables and caches; a user of the notebook waits for these once."""
        globals()[kind](file)
        return {}

    def features(self, kind: str, files: list[str], out: str) -> dict[str, float]:
        """Process ``files`` in a loop and save the arrays to ``out``; return the seconds of the loop."""
        compute = {"mel": mel, "image": image}[kind]
        start = time.perf_counter()
        arrays = [compute(path) for path in files]
        seconds = time.perf_counter() - start
        np.save(out, np.stack(arrays))
        return {"seconds": seconds}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # librosa warns of clips shorter than a frame
    serve(Loops(), "librosa", "opencv-python-headless", "scipy", "scikit-image", "pillow", "numpy")

"""The notebook's two loops over files, as it runs them: one after the other, in one process."""

from __future__ import annotations

import time
import warnings

import cv2
import librosa
import numpy as np
import scipy.signal
import skimage.transform
from answering import answer
from PIL import Image


def mel(path: str) -> np.ndarray:
    """The notebook's numbers of one clip, 64 × 64 decibels."""
    y, sr = librosa.load(path)
    power = librosa.feature.melspectrogram(y=y, sr=sr)
    return cv2.resize(librosa.amplitude_to_db(power, ref=np.max), (64, 64), interpolation=cv2.INTER_AREA)


def image(path: str) -> np.ndarray:
    """The notebook's picture of one clip, 224 × 224 as it was saved, then 64 × 64 as it was read back."""
    y, sr = librosa.load(path, sr=None)
    _, _, power = scipy.signal.spectrogram(y, sr, window="hann", nperseg=512, noverlap=256, scaling="spectrum")
    with np.errstate(divide="ignore"):
        decibels = np.clip(10 * np.log10(power), -100, -20)
    resized = skimage.transform.resize((1 - (decibels + 100) / 80)[::-1], (224, 224))
    small = Image.fromarray((resized * 255).astype(np.uint8)).resize((64, 64))
    return np.asarray(small, np.float32) / 255


class Loops:
    """What is asked for by name."""

    def warm_up(self, kind: str, file: str) -> dict[str, float]:
        """Imports, tables, caches; the notebook's user waited for them once."""
        globals()[kind](file)
        return {}

    def features(self, kind: str, files: list[str], out: str) -> dict[str, float]:
        """The loop over ``files``: the seconds it took; the arrays go to ``out``."""
        one = {"mel": mel, "image": image}[kind]
        start = time.perf_counter()
        arrays = [one(path) for path in files]
        seconds = time.perf_counter() - start
        np.save(out, np.stack(arrays))
        return {"seconds": seconds}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # librosa warns of clips shorter than a frame
    answer(Loops(), "librosa", "opencv-python-headless", "scipy", "scikit-image", "pillow", "numpy")

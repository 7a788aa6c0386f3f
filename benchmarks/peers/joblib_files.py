"""Classify sound files with librosa, OpenCV and ONNX Runtime, on all cores with joblib: as it is written by hand.

joblib_files.py FILES.json MODEL.onnx OUT.npy
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import cv2
import joblib
import librosa
import numpy as np
import onnxruntime


def probabilities(paths: list[str], model: str) -> np.ndarray:
    """Probabilities of some files, float32 [files, classes], each read in full."""
    warnings.simplefilter("ignore")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    card = json.loads(session.get_modelmeta().custom_metadata_map["soundmark"])
    rows = []
    for path in paths:
        y, sr = librosa.load(path)
        decibels = librosa.amplitude_to_db(librosa.feature.melspectrogram(y=y, sr=sr), ref=np.max)
        small = cv2.resize(decibels, (64, 64), interpolation=cv2.INTER_AREA)
        logits = session.run(["logits"], {"spectrogram": small[None, None].astype(np.float32)})[0][0]
        powers = np.exp((logits - logits.max()) / card["temperature"])
        rows.append(powers / powers.sum())
    return np.array(rows, np.float32)


def main(files: str, model: str, out: str) -> None:
    """Classify in shares of 64 files, and write all probabilities."""
    paths = json.loads(Path(files).read_text())
    shares = [paths[start : start + 64] for start in range(0, len(paths), 64)]
    found = joblib.Parallel(n_jobs=-1)(joblib.delayed(probabilities)(share, model) for share in shares)
    np.save(out, np.concatenate(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Classify a long recording window by window with librosa, OpenCV and ONNX Runtime: the baseline of ``classify``."""

from __future__ import annotations

import json
import sys

import cv2
import librosa
import numpy as np
import onnxruntime


def main(sound: str, model: str, out: str) -> None:
    """Write the probabilities of all complete windows of ``sound``, float32 ``[windows, classes]``, to ``out``."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    card = json.loads(session.get_modelmeta().custom_metadata_map["soundmark"])
    rows = []
    duration_s, start_s = librosa.get_duration(path=sound), 0.0
    while start_s + card["window_s"] <= duration_s:
        y, sr = librosa.load(sound, offset=start_s, duration=card["window_s"])
        decibels = librosa.amplitude_to_db(librosa.feature.melspectrogram(y=y, sr=sr), ref=np.max)
        small = cv2.resize(decibels, (64, 64), interpolation=cv2.INTER_AREA)
        logits = session.run(["logits"], {"spectrogram": small[None, None].astype(np.float32)})[0][0]
        powers = np.exp((logits - logits.max()) / card["temperature"])
        rows.append(powers / powers.sum())
        start_s += card["window_s"]
    np.save(out, np.array(rows, np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])

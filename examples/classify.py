"""Classify a sound file with ONNX Runtime, without soundmark: python classify.py model-waveform.onnx street.wav.

Export the model with `soundmark export MODEL --with-front-end --dynamic`. Requires numpy, onnxruntime, soundfile and
soxr. Prints a line per class, the most probable first.
"""

import json
import sys

import numpy as np
import onnxruntime
import soundfile
import soxr

session = onnxruntime.InferenceSession(sys.argv[1])
metadata = json.loads(session.get_modelmeta().custom_metadata_map["soundmark_export"])
samples, rate_hz = soundfile.read(sys.argv[2], dtype="float32", always_2d=True)
mono = soxr.resample(samples.mean(axis=1), rate_hz, metadata["rate_hz"], quality="HQ")
n, window = len(mono), metadata["window_samples"]
# A longer recording is split into windows; the last one is shifted back so that it ends with the recording.
starts = [0] if n <= metadata["whole_samples"] else [*range(0, n - window, window), n - window]
length = n if n <= metadata["whole_samples"] else window
probabilities = [session.run(["probabilities"], {"waveform": mono[None, a : a + length]})[0][0] for a in starts]
mean = np.mean(probabilities, axis=0).tolist()
for score, label in sorted(zip(mean, metadata["classes"], strict=True), reverse=True):
    print(f"{score:.6f} {label}")

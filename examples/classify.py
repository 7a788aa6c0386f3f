"""A sound to its classes, with ONNX Runtime alone: python classify.py model-waveform.onnx street.wav.

The model was written by `soundmark export MODEL --with-front-end --dynamic`; this needs numpy, onnxruntime, soundfile
and soxr, and no soundmark. Prints a line per class, the best first.
"""

import json
import sys

import numpy as np
import onnxruntime
import soundfile
import soxr

session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["soundmark_export"])
samples, rate_hz = soundfile.read(sys.argv[2], dtype="float32", always_2d=True)
sound = soxr.resample(samples.mean(axis=1), rate_hz, about["rate_hz"], quality="HQ")
n, window = len(sound), about["window_samples"]
starts = [0] if n <= about["whole_samples"] else [*range(0, n - window, window), n - window]
length = n if n <= about["whole_samples"] else window
heard = [session.run(["probabilities"], {"waveform": sound[None, a : a + length]})[0][0] for a in starts]
for score, label in sorted(zip(np.mean(heard, axis=0).tolist(), about["classes"], strict=True), reverse=True):
    print(f"{score:.6f} {label}")

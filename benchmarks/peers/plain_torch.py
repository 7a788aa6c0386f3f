"""Transfer as it is written by hand: librosa, joblib, a PyTorch network and scikit-learn.

    plain_torch.py FILES.json WEIGHTS.pt OUT.npz

FILES.json is a list of [path, label]. Writes the embeddings and a classifier; prints the seconds of each step as JSON.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
import warnings
from pathlib import Path

import joblib
import librosa
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from support.torch_mobilenet import MobileNet

RATE_HZ, N_FFT, WINDOW, HOP, MELS, F_MAX_HZ, SECONDS, BATCH = 32_000, 1024, 800, 320, 128, 15_000.0, 4.0, 32


def mel_bank() -> np.ndarray:
    """Kaldi's triangular mel bands, float32 [mels, frequencies]."""
    edges = np.linspace(0, 1127 * np.log1p(F_MAX_HZ / 700), MELS + 2)
    at = 1127 * np.log1p(np.arange(N_FFT // 2 + 1) * RATE_HZ / N_FFT / 700)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.maximum(0, np.minimum((at - low) / (middle - low), (high - at) / (high - middle))).astype(np.float32)


def spectrogram(path: str) -> np.ndarray:
    """EfficientAT's log-mel spectrogram of the first four seconds, repeated if it is shorter; float32 [128, 400]."""
    warnings.simplefilter("ignore")
    y, _ = librosa.load(path, sr=RATE_HZ)
    y = np.resize(y, round(SECONDS * RATE_HZ)) if len(y) else np.zeros(round(SECONDS * RATE_HZ), np.float32)
    emphasised = y[1:] - np.float32(0.97) * y[:-1]
    window = np.pad(np.hanning(WINDOW), (N_FFT - WINDOW) // 2)
    power = np.abs(librosa.stft(emphasised, n_fft=N_FFT, hop_length=HOP, window=window, pad_mode="reflect")) ** 2
    return ((np.log(mel_bank() @ power + 1e-5) + 4.5) / 5)[:, :400].astype(np.float32)


def network(weights: str) -> MobileNet:
    """mn04 with EfficientAT's weights."""
    model = MobileNet(0.4)
    state = torch.load(weights, weights_only=True)
    model.load_state_dict({name: value for name, value in state.items() if name in model.state_dict()})
    return model.eval()


def embeddings(model: MobileNet, spectrograms: np.ndarray) -> np.ndarray:
    """Embeddings of spectrograms, in batches."""
    with torch.inference_mode():
        parts = [
            model.embed(torch.from_numpy(spectrograms[start : start + BATCH])[:, None]).numpy()
            for start in range(0, len(spectrograms), BATCH)
        ]
    return np.concatenate(parts)


def main(files: str, weights: str, out: str) -> None:
    """Time loading, embedding and fitting."""
    seconds, started = {}, time.perf_counter()

    def step(name: str) -> None:
        nonlocal started
        seconds[name], started = time.perf_counter() - started, time.perf_counter()

    paths, labels = zip(*json.loads(Path(files).read_text()), strict=True)
    spectrograms = np.stack(joblib.Parallel(n_jobs=-1)(joblib.delayed(spectrogram)(path) for path in paths))
    step("spectrograms")
    found = embeddings(network(weights), spectrograms)
    step("embeddings")
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(found, labels)
    step("head")
    np.savez(out, embeddings=found, head=np.frombuffer(pickle.dumps(head), np.uint8))
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])

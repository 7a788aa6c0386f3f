"""A model that truly hears three things, without training: a low tone, a high tone, and noise; and sounds for it."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.spectrograms import Mel

RATE_HZ = 22_050
CLASSES = ("low", "high", "background")


def ear(window_s: float = 1.0) -> Model:
    """Half the decibels by which the lower bands lie above the upper ones; and how near all lie to the loudest."""
    weights = np.zeros((64, 3), np.float32)
    lower, upper = np.arange(64) < 32, np.arange(64) >= 32
    weights[:, 0] = (lower / 32 - upper / 32) / 2
    weights[:, 1] = -weights[:, 0]
    weights[:, 2] = 1 / 128
    nodes = [
        helper.make_node("Flatten", ["spectrogram"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "ear",
        [helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([0, 0, 20], np.float32), "bias"),
        ],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    return Model(Bundle(data, Card(classes=CLASSES, representation=Mel(size=(8, 8)), window_s=window_s)))


def street(seconds: float, events: list[tuple[str, float, float]], rate_hz: int = RATE_HZ) -> np.ndarray:
    """Quiet noise in which tones begin and end, as float32 samples that 16 bits hold exactly."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    samples = np.random.default_rng(0).normal(0, 1e-3, len(t))
    for label, start_s, stop_s in events:
        inside = (t >= start_s) & (t < stop_s)
        samples += inside * 0.4 * np.sin(2 * np.pi * (300 if label == "low" else 6000) * t)
    return (np.round(samples * 32768) / 32768).astype(np.float32)


def pcm(samples: np.ndarray) -> bytes:
    """The same as 16-bit PCM."""
    return np.round(samples * 32768).astype("<i2").tobytes()

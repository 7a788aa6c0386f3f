"""Backbones as ONNX files: mn04 with its front end, from a waveform; and a small one at any sample rate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from soundmark.models.export import front_end
from soundmark.models.pretrained.backbone import Backbone
from soundmark.spectrograms import LogMel, Mel

MN04_RATE_HZ = 32000


def write_mn04(path: Path, backbone: Backbone, window_s: float, metadata: Mapping[str, str] | None = None) -> Path:
    """Write a backbone for ``logmel`` spectrograms with its front end: waveform [batch, samples] to its outputs.

    The front end consists of ONNX operators in float32. ``metadata`` are those of OpenSoundscape by default.
    """
    representation = LogMel().for_window(window_s)
    n = representation.shape[1] * representation.hop_samples
    model = onnx.load_from_string(backbone.graph)
    nodes = front_end.Nodes("front_end")
    spectrogram = front_end.build(representation, nodes, "audio", n)
    made = helper.make_graph(
        [*nodes.nodes, helper.make_node("Identity", [spectrogram], ["spectrogram"]), *model.graph.node],
        "mn04",
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", n])],
        list(model.graph.output),
        [*nodes.constants, *model.graph.initializer],
    )
    proto = helper.make_model(made, opset_imports=model.opset_import, ir_version=10)
    known = {"sample_rate": str(MN04_RATE_HZ), "sample_duration": f"{window_s:g}", "embedding_outputs_key": "features"}
    return _write(proto, path, known if metadata is None else metadata)


def write_small(
    path: Path,
    *,
    rate_hz: int = 16000,
    samples: int | str = 16000,
    batch: int | str = "batch",
    channel: bool = False,
    axes: str = "mean",
    metadata: Mapping[str, str] | None = None,
    opset: int = 17,
) -> Path:
    """Write a backbone that computes a log mel spectrogram with STFT, and its mean and extent over time: 64 numbers.

    ``axes`` "mean" gives [batch, 64]; "time" [batch, frames, 32], which soundmark averages. It also has the output
    "scores". A dynamic length is computed in the graph as torch's exporter does.
    """
    mel = Mel(rate_hz=rate_hz, n_fft=512, n_mels=32)
    bank = np.ascontiguousarray(_mel_bank(mel).T)
    ints = lambda *numbers: np.array(numbers, np.int64)  # noqa: E731
    constants = {
        "hop": np.array(160, np.int64),
        "window": np.hanning(512).astype(np.float32),
        "bank": bank,
        "floor": np.float32(1e-6),
        "axis_time": ints(1),
        "axis_last": ints(-1),
        "zero": ints(0),
        "bins": ints(257),
        "minus": ints(-1),
        "weights": np.random.default_rng(1).normal(size=(64, 5)).astype(np.float32),
    }
    start = [helper.make_node("Squeeze", ["sound", "axis_time"], ["samples"])] if channel else []
    x = "samples" if channel else "sound"
    nodes = [
        *start,
        helper.make_node("STFT", [x, "hop", "window"], ["spectrum"], onesided=1),
        helper.make_node("Mul", ["spectrum", "spectrum"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "axis_last"], ["powers"], keepdims=0),
        helper.make_node("Shape", ["powers"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"]),
        helper.make_node("Concat", ["rows", "minus", "bins"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["powers", "wanted"], ["reshaped"]),
        helper.make_node("MatMul", ["reshaped", "bank"], ["mels"]),
        helper.make_node("Max", ["mels", "floor"], ["bounded"]),
        helper.make_node("Log", ["bounded"], ["logs"]),
        helper.make_node("ReduceMean", ["logs"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("ReduceMax", ["logs"], ["max"], axes=[1], keepdims=0),
        helper.make_node("Concat", ["mean", "max"], ["both"], axis=1),
        helper.make_node("Identity", ["logs" if axes == "time" else "both"], ["embedding"]),
        helper.make_node("MatMul", ["both", "weights"], ["scores"]),
    ]
    sides = [batch, 1, samples] if channel else [batch, samples]
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, sides)],
        [onnx.ValueInfoProto(name=name) for name in ("scores", "embedding")],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return _write(proto, path, {"sample_rate": str(rate_hz)} if metadata is None else metadata)


def _mel_bank(mel: Mel) -> np.ndarray:
    from soundmark.spectrograms.mel import mel_bank

    return mel_bank(mel.rate_hz, mel.n_fft, mel.n_mels).dense()


def _write(proto: onnx.ModelProto, path: Path, metadata: Mapping[str, str]) -> Path:
    helper.set_model_props(proto, dict(metadata))
    path.write_bytes(proto.SerializeToString())
    return path

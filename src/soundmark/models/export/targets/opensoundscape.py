"""OpenSoundscape: one ONNX file for its class ``ONNXModel``.

OpenSoundscape cuts recordings into windows, resamples them, and gives them to the model as ``[batch, 1, samples]``. It
reads the sample rate, the window, the classes and the names of the outputs from the metadata. ``predict`` returns the
logits, or with ``activation_layer`` their softmax or sigmoid: the probabilities of soundmark.

Source: OpenSoundscape 0.13.2, ``opensoundscape/ml/onnx_model.py``.
"""

from __future__ import annotations

import json

import numpy as np

from soundmark.metrics.task import Task
from soundmark.models import bundle
from soundmark.models.classifier import Model
from soundmark.models.export import waveform
from soundmark.models.export.program_graph import ProgramGraph
from soundmark.models.export.targets.target import Files, Target, window_audio

LOGITS = "class_logits"


EMBEDDING = "embedding"


def build(model: Model) -> Files:
    """Return the ONNX file of a model for OpenSoundscape.

    Raises:
        SettingsError: the representation of the model cannot be exported.

    >>> files = build(model)
    >>> bundle.session(files[""]).get_modelmeta().custom_metadata_map["sample_duration"]
    '4.0'
    """
    graph, window = ProgramGraph(model), waveform.window_samples(model)
    audio = graph.before.add("Squeeze", "audio", graph.before.integers(1))
    graph.connect(graph.representation(audio, window))
    outputs = {LOGITS: (graph.scaled_logits(), [graph.batch, len(model.classes)])}
    metadata = _metadata(model)
    if EMBEDDING in graph.network_outputs:
        outputs[EMBEDDING] = (EMBEDDING, [graph.batch])
        metadata["embedding_outputs_key"] = EMBEDDING
    return {"": graph.to_bytes({"audio": [graph.batch, 1, window]}, outputs, metadata)}


def _metadata(model: Model) -> dict[str, str]:
    rate_hz = model.card.representation.input_rate_hz or 0
    return {
        "sample_rate": str(rate_hz),
        "sample_duration": str(waveform.window_samples(model) / rate_hz),
        "classes": json.dumps(list(model.classes), ensure_ascii=False),
        "class_outputs_key": LOGITS,
        "activation": model.card.activation,  # for information
        waveform.KEY: json.dumps(waveform.export_metadata(model, dynamic=False), ensure_ascii=False),
    }


def run(files: Files, samples: np.ndarray) -> np.ndarray:
    """Compute what OpenSoundscape's ``predict`` returns for one window ``[samples]`` with the model's activation.

    >>> run(build(model), np.zeros(88200, np.float32)).shape
    (10,)
    """
    session = bundle.session(files[""], threads=1)
    metadata = session.get_modelmeta().custom_metadata_map
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(None, {session.get_inputs()[0].name: samples[None, None]})
    logits = outputs[names.index(metadata["class_outputs_key"])]
    found: np.ndarray = Task.named(metadata["activation"]).probabilities(logits, 1.0)[0]
    return found


OPENSOUNDSCAPE = Target(
    name="opensoundscape", program="OpenSoundscape", file="model.onnx", audio=window_audio, build=build, run=run
)

"""transformers.js: a folder for its pipeline ``audio-classification``, in Node.js or a browser.

transformers.js resamples a recording and gives it to the model as ``input_values`` ``[1, samples]``. The graph splits
it into windows. The output ``logits`` is ln p of each probability p, the mean over the windows; the pipeline applies a
softmax, whose result is p. So only single-label models can be exported.

Source: transformers.js 4.3, ``src/pipelines/audio-classification.js`` and ``src/models/wav2vec2``.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from soundmark.errors import SettingsError
from soundmark.models import bundle
from soundmark.models.classifier import Model
from soundmark.models.export import waveform
from soundmark.models.export.program_graph import ProgramGraph, recording_probabilities
from soundmark.models.export.targets.target import Files, Target, any_audio

MODEL = "onnx/model.onnx"


SMALLEST = 1e-37  # of a probability: its logarithm is finite


def build(model: Model) -> Files:
    """Return the folder of a model for transformers.js.

    Raises:
        SettingsError: the model is multi-label, or cannot be exported for any length.

    >>> sorted(build(model))
    ['config.json', 'onnx/model.onnx', 'preprocessor_config.json']
    """
    if model.card.task.has_thresholds:
        raise SettingsError(
            "this model is multi-label, but transformers.js applies a softmax, after which its probabilities sum to "
            "one: export it with --page, or with --with-front-end --dynamic."
        )
    graph = ProgramGraph(model)
    probabilities, after = recording_probabilities(graph, "input_values"), graph.after
    logits = after.add("Log", after.add("Max", probabilities, after.constant(SMALLEST)))
    outputs = {"logits": (logits, [1, len(model.classes)])}
    metadata = {waveform.KEY: json.dumps(waveform.export_metadata(model, dynamic=True), ensure_ascii=False)}
    file = graph.to_bytes({"input_values": [1, "samples"]}, outputs, metadata)
    return {MODEL: file, "config.json": _json(_config(model)), "preprocessor_config.json": _json(_preprocessor(model))}


def _config(model: Model) -> dict[str, Any]:
    """A model type whose input is a waveform; nothing else of wav2vec 2.0 is used."""
    return {
        "model_type": "wav2vec2",
        "architectures": ["Wav2Vec2ForSequenceClassification"],
        "id2label": {str(row): label for row, label in enumerate(model.classes)},
        "label2id": {label: row for row, label in enumerate(model.classes)},
        "transformers.js_config": {"dtype": "fp32"},  # the only file; browsers would ask for an 8-bit one
    }


def _preprocessor(model: Model) -> dict[str, Any]:
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "sampling_rate": model.card.representation.input_rate_hz,
        "do_normalize": False,
        "feature_size": 1,
        "padding_value": 0.0,
    }


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def run(files: Files, samples: np.ndarray) -> np.ndarray:
    """Compute the scores of the pipeline for one recording ``[samples]``, in the order of ``id2label``.

    >>> run(build(model), np.zeros(1000, np.float32)).sum().round(4)
    np.float64(1.0)
    """
    (logits,) = bundle.session(files[MODEL], threads=1).run(["logits"], {"input_values": samples[None]})
    weights = np.exp(logits[0].astype(np.float64) - logits[0].max())
    found: np.ndarray = weights / weights.sum()
    return found


TRANSFORMERS_JS = Target(
    name="transformers.js", program="transformers.js", file=None, audio=any_audio, build=build, run=run
)

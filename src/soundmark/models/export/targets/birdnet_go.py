"""BirdNET-Go: a folder with an ONNX file and a label file, in the place of BirdNET 2.4.

BirdNET-Go gives the model three seconds at 48 kHz, ``[batch, 144000]``. Windows and resampling are part of the graph.
Its only output is ln(p / (1 − p)) of each probability p; BirdNET-Go applies a sigmoid, whose result is p.

Source: BirdNET-Go's ``internal/inference/onnx`` (``detection.go``, ``classifier.go``, ``labels.go``) and
``internal/classifier/analyze.go``, as of 2026.
"""

from __future__ import annotations

import json
import re

import numpy as np

from soundmark.errors import SettingsError
from soundmark.models import bundle
from soundmark.models.classifier import Model
from soundmark.models.export import waveform
from soundmark.models.export.program_graph import ProgramGraph, segment_probabilities
from soundmark.models.export.targets.target import Audio, Files, Target
from soundmark.runtime.text import printable, shortened

RATE_HZ, SAMPLES = 48_000, 144_000


EMBEDDING_SIZE = 1024  # BirdNET-Go takes a single output of this size for an embedding


SMALLEST = 1e-7  # probabilities are limited to [SMALLEST, 1 − SMALLEST], whose log-odds are finite


SPECIES = re.compile(r"[A-Z][a-z]+ [a-z-]+_[^_]+")  # a label of BirdNET: "Turdus merula_Eurasian Blackbird"


def build(model: Model) -> Files:
    """Return the ONNX file and the label file of a model for BirdNET-Go.

    Raises:
        SettingsError: BirdNET-Go cannot use the model.

    >>> files = build(model)
    >>> sorted(files), bundle.session(files["model.onnx"]).get_inputs()[0].shape
    (['labels.txt', 'model.onnx'], ['batch', 144000])
    """
    _check(model)
    graph = ProgramGraph(model)
    probabilities, after = segment_probabilities(graph, "audio", SAMPLES, RATE_HZ), graph.after
    p = after.add("Clip", probabilities, after.constant(SMALLEST), after.constant(1 - SMALLEST))
    log_odds = after.add("Log", after.add("Div", p, after.add("Sub", after.constant(1), p)))
    outputs = {"log_odds": (log_odds, [graph.batch, len(model.classes)])}
    metadata = {waveform.KEY: json.dumps(waveform.export_metadata(model, dynamic=False), ensure_ascii=False)}
    file = graph.to_bytes({"audio": [graph.batch, SAMPLES]}, outputs, metadata)
    labels = "".join(f"{label}\n" for label in map(label_text, model.classes))
    return {"model.onnx": file, "labels.txt": labels.encode()}


def _check(model: Model) -> None:
    rate_hz = model.card.representation.input_rate_hz or RATE_HZ
    if rate_hz > RATE_HZ:
        raise SettingsError(
            f"the model needs audio at {rate_hz} Hz, but BirdNET-Go records at {RATE_HZ} Hz: train a model for at most "
            f"{RATE_HZ} Hz."
        )
    if len(model.classes) == EMBEDDING_SIZE:
        raise SettingsError(
            f"the model has {EMBEDDING_SIZE} classes, and BirdNET-Go takes an output of exactly this size for an "
            "embedding: train a model with one class more or less."
        )
    first: dict[str, str] = {}
    for name in model.classes:
        if (other := first.setdefault(label_text(name), name)) != name:
            raise SettingsError(
                f'the classes "{shortened(other)}" and "{shortened(name)}" have the same name in BirdNET-Go, which '
                "writes a space for an underscore: train a model whose classes differ in more than that."
            )


def label_text(name: str) -> str:
    """Return a class as BirdNET-Go writes labels, "scientific name_common name"; other sounds have one name twice.

    >>> label_text("car_horn"), label_text("Turdus merula_Eurasian Blackbird")
    ('car horn_car horn', 'Turdus merula_Eurasian Blackbird')
    """
    line = printable(" ".join(name.split()))  # the file has one label per line
    if SPECIES.fullmatch(line):
        return line
    plain = " ".join(line.replace("_", " ").split()) or "(no name)"
    return f"{plain}_{plain}"


def run(files: Files, samples: np.ndarray) -> np.ndarray:
    """Compute the confidences of BirdNET-Go for ``samples`` ``[144000]``, with a sensitivity of 1.

    >>> run(build(model), np.zeros(144000, np.float32)).shape
    (10,)
    """
    session = bundle.session(files["model.onnx"], threads=1)
    (log_odds,) = session.run(None, {session.get_inputs()[0].name: samples[None]})
    found: np.ndarray = 1 / (1 + np.exp(-log_odds[0].astype(np.float64)))
    return found


BIRDNET_GO = Target(
    name="birdnet-go",
    program="BirdNET-Go",
    file=None,
    audio=lambda model: Audio(rate_hz=RATE_HZ, lengths=(SAMPLES,)),
    build=build,
    run=run,
)

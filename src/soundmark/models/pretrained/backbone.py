"""Backbones: frozen pretrained networks from spectrograms to the features of a linear head, as ONNX graphs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soundmark.errors import unknown_name
from soundmark.models import bundle
from soundmark.models.pretrained import mobilenet, weights
from soundmark.models.pretrained.pytorch_file import read_tensors
from soundmark.runtime.progress import Progress, no_progress

if TYPE_CHECKING:
    import onnxruntime

DESCRIPTIONS = {
    "mn04": "EfficientAT's MobileNetV3 of width 0.4, trained on AudioSet: 0.98 million parameters",
    "mn10": "EfficientAT's MobileNetV3 of width 1.0, trained on AudioSet: 4.88 million parameters",
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Backbone:
    """A frozen network as an ONNX graph: input ``spectrogram`` ``[batch, 1, freq, time]`` or ``waveform``.

    Its outputs are ``embedding`` ``[batch, d]`` and ``features`` ``[batch, f]``, the input of a linear head, which
    starts with the embedding. For ``mn04`` and ``mn10``, the AudioSet logits follow.
    """

    name: str
    graph: bytes
    n_features: int
    embedding_size: int
    input_name: str = "spectrogram"
    rows_per_run: int = 1024  # inputs that are computed at a time
    sha256: str | None = None  # of the file that it was read from

    def __repr__(self) -> str:
        return f"Backbone({self.name!r}, {self.n_features} features)"

    @cached_property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the graph, and of the file that it was read from."""
        graph = hashlib.sha256(self.graph).hexdigest()[:16]
        return graph if self.sha256 is None else f"{graph}-{self.sha256[:16]}"

    def __hash__(self) -> int:
        return hash(self.digest)

    def features(self, spectrograms: np.ndarray) -> np.ndarray:
        """Compute features float32 ``[n, f]`` of ``spectrograms`` ``[n, freq, time]``, on one core.

        A waveform is a spectrogram ``[1, samples]``.
        """
        rows = spectrograms[:, 0] if self.input_name == "waveform" else spectrograms[:, np.newaxis]
        batch, n = np.ascontiguousarray(rows, np.float32), self.rows_per_run
        parts = [
            _session(self.graph).run(["features"], {self.input_name: batch[at : at + n]})[0]
            for at in range(0, len(batch), n)
        ]
        found: np.ndarray = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return found


@lru_cache(maxsize=4)
def _session(graph: bytes) -> onnxruntime.InferenceSession:
    return bundle.session(graph, threads=1)


def n_features(name: str) -> int:
    """Return the number of features of the backbone called ``name``.

    >>> n_features("mn04"), n_features("mn10")
    (911, 1487)
    """
    return mobilenet.embedding_size(name) + mobilenet.N_AUDIOSET


def load_backbone(name: str, shape: tuple[int, int], progress: Progress = no_progress) -> Backbone:
    """Build the backbone called ``name`` for spectrograms of ``shape`` (freq, time).

    Raises:
        SettingsError: there is no such backbone.
        WeightsError: its weights are missing and cannot be downloaded, or are damaged.

    >>> load_backbone("mn40", (128, 400))
    Traceback (most recent call last):
    soundmark.errors.SettingsError: there is no backbone "mn40". Did you mean "mn10"? Known: mn04, mn10.
    """
    if name not in DESCRIPTIONS:
        raise unknown_name("backbone", name, DESCRIPTIONS)
    return _built(name, weights.find(name, progress), shape)


@lru_cache(maxsize=2)  # reading and building takes 0.1 to 0.2 s
def _built(name: str, verified: Path, shape: tuple[int, int]) -> Backbone:
    return build_backbone(name, read_tensors(verified), shape)


def build_backbone(name: str, tensors: mobilenet.Tensors, shape: tuple[int, int]) -> Backbone:
    """Build the backbone called ``name`` from its weights, for spectrograms of ``shape`` (freq, time).

    Raises:
        WeightsError: these are not its weights.

    >>> build_backbone("mn04", {}, (128, 400))
    Traceback (most recent call last):
    soundmark.errors.WeightsError: the weights are not those of mn04: the tensor "features.0.0.weight" is missing.
    """
    graph, embedding, logits = mobilenet.build(name, tensors, shape)
    graph.output("embedding", embedding)
    graph.output("features", graph.node("Concat", embedding, logits, axis=1))
    size = mobilenet.embedding_size(name)
    return Backbone(name=name, graph=graph.to_bytes(), n_features=n_features(name), embedding_size=size)

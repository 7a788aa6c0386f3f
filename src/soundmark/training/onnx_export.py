"""Export a torch network to the ONNX graph of a model file, and compute its logits in torch to check that graph."""

from __future__ import annotations

import logging
import warnings
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from soundmark.models.export import onnx_graph
from soundmark.training.calibration import Familiarity, Presence


def export_network(
    network: nn.Module,
    shape: tuple[int, int],
    familiarity: Familiarity | None = None,
    presence: Presence | None = None,
) -> bytes:
    """Export ``network`` as ONNX: input ``spectrogram`` ``[batch, 1, freq, time]``, output ``logits``.

    A network with an embedding also gets the output ``embedding`` ``[batch, d]``, and ``familiarity`` and
    ``presence`` ``[batch]`` if these arguments are given; presence requires familiarity.

    >>> from soundmark.training import networks
    >>> graph = export_network(networks.build("notebook_cnn", shape=(22, 22), n_classes=3), (22, 22))
    >>> 20_000 < len(graph) < 1_000_000
    True
    """
    example = torch.zeros(2, 1, *shape)
    network = network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    outputs = ["logits"]
    if getattr(network, "has_embedding", False):
        network = _WithEmbedding(network, familiarity, presence).eval()
        outputs += ["embedding"] + ["familiarity"] * (familiarity is not None) + ["presence"] * (presence is not None)
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        warnings.simplefilter("ignore", FutureWarning)  # raised by the exporter itself
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=["spectrogram"],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert program is not None  # torch's type annotation allows None, for its older exporter
    return onnx_graph.without_metadata(program.model_proto.SerializeToString())


class _WithEmbedding(nn.Module):
    """A network with the outputs logits, embedding and, if given, familiarity and presence."""

    def __init__(self, network: nn.Module, familiarity: Familiarity | None, presence: Presence | None) -> None:
        super().__init__()
        self.network, self.familiarity, self.presence = network, familiarity, presence
        if presence:
            self.register_buffer("background", torch.from_numpy(presence.weights))
        if familiarity:
            for name in ("mean", "scale", "classes", "within", "overall"):
                self.register_buffer(name, torch.from_numpy(getattr(familiarity, name)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return logits, embedding and familiarity ``[batch]``, computed like ``calibration.Familiarity``."""
        embedding = self.network.embed(x)  # type: ignore[operator]
        logits = self.network.head(embedding)  # type: ignore[operator]
        if self.familiarity is None:
            return logits, embedding
        z = (embedding - self.mean) * self.scale
        offsets = z[:, None] - self.classes
        nearest = ((offsets @ self.within) * offsets).sum(2).amin(1)
        raw = ((z @ self.overall) * z).sum(1) - nearest
        familiarity = ((raw - self.familiarity.middle) / self.familiarity.spread).sigmoid()
        if self.presence is None:
            return logits, embedding, familiarity
        return logits, embedding, familiarity, self._presence(self.presence, logits, embedding, raw)

    def _presence(self, fitted: Presence, logits: Tensor, embedding: Tensor, raw: Tensor) -> Tensor:
        """Return the presence ``[batch]``, computed like ``calibration.Presence``."""
        features: Tensor = self.network.head_features(embedding)  # type: ignore[operator]
        weights = self.background
        assert isinstance(weights, Tensor)  # a registered buffer
        background = ((features * weights).sum(1) + fitted.bias) / fitted.temperature
        z = logits / fitted.temperature
        largest = z.amax(1)
        odds = (z - largest[:, None]).exp().sum(1).log() + largest - background
        margin = (largest - background - fitted.margin) / fitted.margin_spread
        known = ((raw - fitted.familiarity) / fitted.familiarity_spread + margin) / fitted.spread
        return odds.sigmoid() * known.sigmoid()


class _quiet(AbstractContextManager[None]):  # noqa: N801 (used like a function)
    """Silence the warnings of a logger: the exporter warns about packages that are not needed here."""

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.level)


@torch.no_grad()
def network_logits(network: nn.Module, spectrograms: np.ndarray) -> np.ndarray:
    """Compute logits ``[batch, classes]`` of ``spectrograms`` ``[batch, freq, time]`` in torch, in float32.

    >>> from soundmark.training import networks
    >>> network = networks.build("notebook_cnn", shape=(22, 22), n_classes=3)
    >>> network_logits(network, np.zeros((2, 22, 22), np.float32)).shape
    (2, 3)
    """
    result: np.ndarray = network.eval()(torch.from_numpy(np.array(spectrograms))[:, None]).numpy()
    return result

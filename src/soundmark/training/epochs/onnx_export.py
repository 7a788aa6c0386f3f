"""Export a torch network to the ONNX graph of a model file, and compute its logits in torch to check that graph."""

from __future__ import annotations

import logging
import warnings
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from soundmark.models.export import onnx_graph
from soundmark.training.calibration import Familiarity


def export_network(network: nn.Module, shape: tuple[int, int], familiarity: Familiarity | None = None) -> bytes:
    """Export ``network`` as ONNX: input ``spectrogram`` ``[batch, 1, freq, time]``, output ``logits``.

    A network with an embedding also gets the output ``embedding`` ``[batch, d]``, and ``familiarity`` ``[batch]`` if
    it is given.

    >>> from soundmark.training import networks
    >>> graph = export_network(networks.build("notebook_cnn", shape=(22, 22), n_classes=3), (22, 22))
    >>> 20_000 < len(graph) < 1_000_000
    True
    """
    example = torch.zeros(2, 1, *shape)
    network = network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    outputs = ["logits"]
    if getattr(network, "has_embedding", False):
        network = _WithEmbedding(network, familiarity).eval()
        outputs += ["embedding"] + ["familiarity"] * (familiarity is not None)
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
    """A network with the outputs logits, embedding and, if given, familiarity."""

    def __init__(self, network: nn.Module, familiarity: Familiarity | None) -> None:
        super().__init__()
        self.network, self.familiarity = network, familiarity
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
        return logits, embedding, ((raw - self.familiarity.middle) / self.familiarity.spread).sigmoid()


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

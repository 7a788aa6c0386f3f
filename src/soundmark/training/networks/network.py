"""The base class of all networks, with the interface that the training loop uses."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from soundmark.models.pretrained.graph import Graph


class Network(nn.Module):
    """A network from spectrograms ``[batch, 1, freq, time]`` to logits ``[batch, n_classes]``, with any normalisation.

    The defaults describe a plain network: no ensemble and no embedding. A network with an embedding sets
    ``has_embedding`` and defines ``embed`` and ``head``.
    """

    n_members: int = 1  # of an ensemble; in training, each member gets its own part of the batch
    has_embedding: ClassVar[bool] = False
    normalises_input: ClassVar[bool] = False  # if so, call ``normalise`` before training

    def normalise(self, mean: float, spread: float) -> None:
        """Set the mean and SD of the training spectrograms, by which every input is standardised."""
        raise NotImplementedError(f"{type(self).__name__} does not normalise its input")

    def add_to(self, graph: Graph, x: str) -> tuple[str, str | None]:
        """Add the network, as it is in inference, to an ONNX graph with the spectrograms ``x`` ``[batch, 1, ...]``.

        Returns the names of the logits ``[batch, n_classes]`` and of the embedding ``[batch, d]``, if it has one.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be exported")

    def embed(self, x: Tensor) -> Tensor:
        """Compute the embedding ``[batch, d]`` of spectrograms ``[batch, 1, freq, time]``."""
        raise NotImplementedError(f"{type(self).__name__} has no embedding")

    def head(self, embedding: Tensor) -> Tensor:
        """Compute logits ``[batch, n_classes]`` from embeddings ``[batch, d]``."""
        raise NotImplementedError(f"{type(self).__name__} has no embedding")

"""The base class of all networks, with the interface that the training loop uses."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn


class Network(nn.Module):
    """A network from spectrograms ``[batch, 1, freq, time]`` to logits ``[batch, n_classes]``, with any normalisation.

    The defaults describe a plain network: no ensemble, no embedding, no pretrained weights. A network with an embedding
    sets ``has_embedding`` and defines ``embed`` and ``head``. One with pretrained weights also defines the last four
    methods, from ``load_pretrained`` on.
    """

    n_members: int = 1  # of an ensemble; in training, each member gets its own part of the batch
    has_embedding: ClassVar[bool] = False
    normalises_input: ClassVar[bool] = False  # if so, call ``normalise`` before training

    def normalise(self, mean: float, spread: float) -> None:
        """Set the mean and SD of the training spectrograms, by which every input is standardised."""
        raise NotImplementedError(f"{type(self).__name__} does not normalise its input")

    def embed(self, x: Tensor) -> Tensor:
        """Compute the embedding ``[batch, d]`` of spectrograms ``[batch, 1, freq, time]``."""
        raise NotImplementedError(f"{type(self).__name__} has no embedding")

    def head(self, embedding: Tensor) -> Tensor:
        """Compute logits ``[batch, n_classes]`` from embeddings ``[batch, d]``."""
        raise NotImplementedError(f"{type(self).__name__} has no embedding")

    def depths(self) -> list[int]:
        """Return the number of layers between each parameter and the logits, in the order of ``parameters()``.

        An empty list means that all parameters have the same learning rate.
        """
        return []

    def load_pretrained(self, path: Path) -> None:
        """Load the backbone's weights from a verified file."""
        raise NotImplementedError(f"{type(self).__name__} has no pretrained weights")

    def embed_views(self, x: Tensor) -> Tensor:
        """Compute embeddings ``[views, batch, d]`` of several views of each input.

        The mean over the first two views is the output of ``embed``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no pretrained weights")

    def head_features(self, embedding: Tensor) -> Tensor:
        """Compute the input ``[batch, n_features]`` of the linear head from embeddings ``[batch, d]``."""
        raise NotImplementedError(f"{type(self).__name__} has no pretrained weights")

    def set_head(self, weights: Tensor, bias: Tensor) -> None:
        """Replace the linear head: ``weights`` ``[n_features, n_classes]``, ``bias`` ``[n_classes]``."""
        raise NotImplementedError(f"{type(self).__name__} has no pretrained weights")

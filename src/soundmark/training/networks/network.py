"""What the training loop needs of a network: the base class of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn


class Network(nn.Module):
    """Spectrograms ``[batch, 1, freq, time]`` to logits ``[batch, n_classes]``, normalisation included.

    The defaults are those of a plain network: one member, no embedding, freshly initialised. A network with an
    embedding sets ``has_embedding`` and defines ``embed`` and ``head``; one with pretrained weights also defines the
    four methods from ``load_pretrained`` on.
    """

    n_members: int = 1  # networks that vote; in training, each is given its own part of the batch
    has_embedding: ClassVar[bool] = False
    normalises_input: ClassVar[bool] = False  # whether ``normalise`` is to be called before training

    def normalise(self, mean: float, spread: float) -> None:
        """Store the mean and SD of the training spectrograms, to standardise every input by."""
        raise NotImplementedError(f"{type(self).__name__} does not normalise its input")

    def embed(self, x: Tensor) -> Tensor:
        """The embedding ``[batch, d]`` of spectrograms ``[batch, 1, freq, time]``."""
        raise NotImplementedError(f"{type(self).__name__} has no embedding")

    def head(self, embedding: Tensor) -> Tensor:
        """Logits ``[batch, n_classes]`` of embeddings ``[batch, d]``."""
        raise NotImplementedError(f"{type(self).__name__} has no embedding")

    def depths(self) -> list[int]:
        """Number of layers between each parameter and the logits, in ``parameters()``'s order.

        Empty: all parameters have the same learning rate.
        """
        return []

    def load_pretrained(self, path: Path) -> None:
        """Load the backbone's weights from a verified file."""
        raise NotImplementedError(f"{type(self).__name__} has no pretrained weights")

    def embed_views(self, x: Tensor) -> Tensor:
        """Embeddings ``[views, batch, d]`` of several views of each input; the mean of the first two is ``embed``'s."""
        raise NotImplementedError(f"{type(self).__name__} has no pretrained weights")

    def head_features(self, embedding: Tensor) -> Tensor:
        """The input ``[batch, n_features]`` of the linear head, computed from embeddings ``[batch, d]``."""
        raise NotImplementedError(f"{type(self).__name__} has no pretrained weights")

    def put_head(self, weights: Tensor, bias: Tensor) -> None:
        """Replace the linear head: ``weights`` ``[n_features, n_classes]``, ``bias`` ``[n_classes]``."""
        raise NotImplementedError(f"{type(self).__name__} has no pretrained weights")

"""Export a trained network to the ONNX graph of a model file, and compute its logits in torch to check that graph."""

from __future__ import annotations

import numpy as np
import torch

from soundmark.models.pretrained.graph import Graph
from soundmark.training.calibration import Familiarity
from soundmark.training.networks.network import Network
from soundmark.training.transfer.head_graph import add_familiarity


def export_network(network: Network, shape: tuple[int, int], familiarity: Familiarity | None = None) -> bytes:
    """Export ``network`` as ONNX: input ``spectrogram`` ``[batch, 1, freq, time]``, output ``logits``.

    A network with an embedding also gets the output ``embedding`` ``[batch, d]``, and ``familiarity`` ``[batch]`` if
    it is given.

    >>> from soundmark.training import networks
    >>> graph = export_network(networks.build("notebook_cnn", shape=(22, 22), n_classes=3), (22, 22))
    >>> 20_000 < len(graph) < 1_000_000
    True
    """
    graph = Graph()
    logits, embedding = network.add_to(graph, graph.input("spectrogram", (1, *shape)))
    graph.output("logits", logits)
    if embedding is not None:
        graph.output("embedding", embedding)
        if familiarity is not None:
            add_familiarity(graph, familiarity)
    return graph.to_bytes()


@torch.no_grad()
def network_logits(network: Network, spectrograms: np.ndarray) -> np.ndarray:
    """Compute logits ``[batch, classes]`` of ``spectrograms`` ``[batch, freq, time]`` in torch, in float32.

    >>> from soundmark.training import networks
    >>> network = networks.build("notebook_cnn", shape=(22, 22), n_classes=3)
    >>> network_logits(network, np.zeros((2, 22, 22), np.float32)).shape
    (2, 3)
    """
    result: np.ndarray = network.eval()(torch.from_numpy(np.array(spectrograms))[:, None]).numpy()
    return result

"""The graph built without torch equals EfficientAT's outputs and the network in torch."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import soundfile
import soxr
import torch

from soundmark.errors import WeightsError
from soundmark.models.bundle import graph_check
from soundmark.models.pretrained import mobilenet
from soundmark.models.pretrained.graph import Graph
from soundmark.models.pretrained.pytorch_file import read_tensors
from soundmark.spectrograms import LogMel
from support.torch_mobilenet import MobileNet

RELEASED = {
    "features.0.0.weight": (16, 1, 3, 3),
    "features.0.1.running_var": (16,),
    "features.1.block.0.0.weight": (16, 1, 3, 3),
    "features.1.block.1.0.weight": (16, 16, 1, 1),
    "features.4.block.0.0.weight": (72, 24, 1, 1),
    "features.4.block.1.0.weight": (72, 1, 5, 5),
    "features.4.block.2.conc_se_layers.0.fc1.weight": (24, 72),
    "features.4.block.2.conc_se_layers.0.fc2.weight": (72, 24),
    "features.4.block.3.0.weight": (40, 72, 1, 1),
    "features.15.block.1.0.weight": (960, 1, 5, 5),
    "features.15.block.2.conc_se_layers.0.fc1.weight": (240, 960),
    "features.15.block.3.0.weight": (160, 960, 1, 1),
    "features.16.0.weight": (960, 160, 1, 1),
    "classifier.2.weight": (1280, 960),
    "classifier.5.weight": (527, 1280),
    "classifier.5.bias": (527,),
}


def built(name: str, tensors: mobilenet.Tensors, shape: tuple[int, int]) -> bytes:
    graph = Graph()
    embedding = mobilenet.add_embedding(graph, graph.input("spectrogram", (1, *shape)), name, tensors)
    graph.output("logits", mobilenet.add_tags(graph, embedding, tensors))
    graph.output("embedding", embedding)
    return graph.to_bytes()


def run(graph: bytes, x: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(graph).run(["logits", "embedding"], {"spectrogram": x})


def random_network(name: str) -> MobileNet:
    """A network whose BatchNorm layers have statistics, as after a training."""
    torch.manual_seed(0)
    network = MobileNet(mobilenet.WIDTHS[name])
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


@pytest.mark.parametrize("name", ["mn04", "mn10"])
@pytest.mark.parametrize("frames", [1, 33, 400])
def test_outputs_equal_those_of_the_network_in_torch(name: str, frames: int) -> None:
    network = random_network(name)
    tensors = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    mobilenet.check_tensors(name, tensors)
    x = np.random.default_rng(0).normal(0, 0.5, (2, 1, 128, frames)).astype(np.float32)
    logits, embedding = run(built(name, tensors, (128, frames)), x)
    with torch.no_grad():
        expected = network.embed(torch.from_numpy(x))
        np.testing.assert_allclose(embedding, expected.numpy(), atol=1e-4)
        np.testing.assert_allclose(logits, network.tags(expected).numpy(), atol=1e-4)
    assert embedding.shape == (2, mobilenet.embedding_size(name))


def test_mn10_has_the_names_and_shapes_of_the_release():
    """A sample of them, written out; the file itself is not available here."""
    shapes = {name: tuple(value.shape) for name, value in MobileNet(1.0).state_dict().items()}
    assert {name: shapes[name] for name in RELEASED} == RELEASED
    mobilenet.check_tensors("mn10", {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if shape})


@pytest.mark.parametrize(("name", "parameters"), [("mn04", 983_599), ("mn10", 4_876_831)])
def test_the_number_of_parameters_is_the_published_one(name, parameters):
    network = MobileNet(mobilenet.WIDTHS[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_the_released_network_equals_efficientat(mn04_weights, shared, efficientat) -> None:
    tensors = read_tensors(mn04_weights)
    for name, logits, embedding in zip(*(efficientat[key] for key in ("clips", "logits", "embeddings")), strict=True):
        samples, rate_hz = soundfile.read(shared / "urbansound8k" / "flac" / "fold1" / str(name), dtype="float32")
        x = LogMel()(soxr.resample(samples, rate_hz, 32_000, quality="HQ"), 32_000)
        found = run(built("mn04", tensors, x.shape), x[None, None])
        np.testing.assert_allclose(found[0][0], logits, atol=1e-3)
        np.testing.assert_allclose(found[1][0], embedding, atol=1e-3)


def test_the_graph_passes_the_check_of_untrusted_models_and_is_the_same_each_time() -> None:
    tensors = {key: tensor.numpy() for key, tensor in random_network("mn04").state_dict().items()}
    graph = built("mn04", tensors, (128, 400))
    assert graph_check.check(graph, "mn04").outputs == {"logits": (1, 527), "embedding": (1, 384)}
    assert built("mn04", tensors, (128, 400)) == graph


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"features.3.block.1.1.bias": None}, 'the tensor "features.3.block.1.1.bias" is missing'),
        ({"classifier.5.bias": np.zeros(10, np.float32)}, r"is float32 \[10\]; expected finite floats \[527\]"),
        ({"classifier.5.bias": np.zeros(527, np.int64)}, "is int64"),
        ({"classifier.5.bias": np.full(527, np.nan, np.float32)}, "expected finite floats"),
    ],
)
def test_weights_of_another_network_are_refused(change: dict, reason: str) -> None:
    tensors = {key: tensor.numpy() for key, tensor in random_network("mn04").state_dict().items()} | change
    with pytest.raises(WeightsError, match=reason):
        mobilenet.check_tensors("mn04", {key: tensor for key, tensor in tensors.items() if tensor is not None})

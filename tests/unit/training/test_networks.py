"""The registry of networks: each entry can be built and has the interface that the training loop uses."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from soundmark.models import bundle
from soundmark.models.pretrained.graph import Graph
from soundmark.training import networks
from soundmark.training.calibration import Familiarity
from soundmark.training.epochs.onnx_export import export_network, network_logits
from soundmark.training.networks import NETWORKS, onnx_layers
from soundmark.training.networks.network import Network


def test_importing_the_registry_does_not_import_torch():
    code = "import sys, soundmark.training.recipe, soundmark.training.networks; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_the_interface_of_the_training_loop(name):
    network = networks.build(name, shape=(64, 64), n_classes=3).eval()
    x = torch.zeros(2, 1, 64, 64)
    with torch.no_grad():
        logits = network(x)
        assert isinstance(network, Network)
        assert logits.shape == (2, 3)
        if network.has_embedding:
            torch.testing.assert_close(network.head(network.embed(x)), logits)
    if network.normalises_input:
        network.normalise(2.0, 3.0)


def test_a_missing_method_is_reported_with_the_name_of_the_network():
    with pytest.raises(NotImplementedError, match="Network has no embedding"):
        Network().embed(torch.zeros(1))


def trained_like(name: str, shape: tuple[int, int]) -> Network:
    """A network in which no parameter and no statistic has its initial value."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = networks.build(name, shape=shape, n_classes=3).eval()
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.2)
                layer.running_var.uniform_(0.5, 1.5)
    if network.normalises_input:
        network.normalise(-30.0, 12.0)
    return network


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(64, 64), (22, 22), (23, 37), (50, 25)])
@pytest.mark.parametrize("n", [1, 5])
def test_an_exported_network_computes_the_same(name, shape, n):
    network = trained_like(name, shape)
    x = np.random.default_rng(0).normal(-30, 12, (n, *shape)).astype(np.float32)
    session = bundle.session(export_network(network, shape))
    (logits,) = session.run(["logits"], {"spectrogram": x[:, None]})
    expected = network_logits(network, x)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    if network.has_embedding:
        (embedding,) = session.run(["embedding"], {"spectrogram": x[:, None]})
        np.testing.assert_allclose(
            embedding, network.embed(torch.from_numpy(x)[:, None]).detach(), rtol=1e-4, atol=1e-5
        )


def test_the_exported_familiarity_is_that_of_the_embedding():
    network = trained_like("resnet", (64, 64))
    x = np.random.default_rng(0).normal(-30, 12, (60, 64, 64)).astype(np.float32)
    embeddings = network.embed(torch.from_numpy(x)[:, None]).detach().numpy()
    fitted = Familiarity.of(embeddings, np.eye(3)[np.arange(60) % 3])
    session = bundle.session(export_network(network, (64, 64), fitted))
    (familiarity,) = session.run(["familiarity"], {"spectrogram": x[:, None]})
    np.testing.assert_allclose(familiarity, fitted(embeddings), atol=1e-3)
    assert np.ptp(familiarity) > 0.1


def test_an_unknown_layer_is_not_left_out():
    with pytest.raises(TypeError, match=r"first.0 is Sigmoid\(\), which cannot be added"):
        onnx_layers.sequence(Graph(), "x", "first", nn.Sequential(nn.Sigmoid()))

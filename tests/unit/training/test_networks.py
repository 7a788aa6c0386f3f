"""The registry of networks: each entry can be built and has the interface that the training loop uses."""

import subprocess
import sys

import pytest
import torch

from soundmark.training import networks
from soundmark.training.networks import NETWORKS
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

"""The networks that are trained from scratch: three that vote, each trained on its own hearing of a clip."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from soundmark.training import networks
from soundmark.training.networks import resnet


@pytest.fixture
def network() -> resnet.ResNet:
    torch.manual_seed(0)
    return networks.build("resnet", shape=(32, 32), n_classes=5)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(6, 1, 32, 32)).astype(np.float32))


@torch.no_grad()
def test_what_they_say_together_is_the_mean_of_what_each_says(network, x):
    network.eval()
    network.normalise(0.5, 2.0)
    alone = torch.stack([member((x - 0.5) / 2) for member in network.members])
    torch.testing.assert_close(network(x), alone.mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.head(network.embed(x)), alone.mean(0), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(alone[0], alone[1])  # each begins elsewhere


def test_in_training_each_hears_its_own_part_and_learns_from_that_alone(network, x):
    network.train()
    together = network(x)
    assert together.shape == (6, 5)
    F.cross_entropy(together[2:4], torch.tensor([0, 1])).backward()  # what the second said
    moved = [sum(p.grad.abs().sum() for p in member.parameters() if p.grad is not None) for member in network.members]
    assert (moved[0] == 0, moved[1] > 0, moved[2] == 0) == (True, True, True)


@pytest.mark.parametrize(("n_classes", "shape"), [(10, (64, 128)), (50, (64, 160))])
def test_they_have_at_most_a_million_and_a_half_parameters(n_classes, shape):
    network = networks.build("resnet", shape=shape, n_classes=n_classes)
    count = sum(p.numel() for p in network.parameters())
    assert count < 1_500_000
    assert n_classes != 10 or count == 1_447_278  # as the docs say

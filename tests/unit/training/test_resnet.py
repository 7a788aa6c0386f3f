"""The ResNet ensemble: the mean of its members, which are trained on separate parts of the batch."""

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
def test_the_output_is_the_mean_of_the_members(network, x):
    network.eval()
    network.normalise(0.5, 2.0)
    logits = torch.stack([member((x - 0.5) / 2) for member in network.members])
    torch.testing.assert_close(network(x), logits.mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.head(network.embed(x)), logits.mean(0), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits[0], logits[1])  # different initial weights


def test_in_training_each_member_learns_from_its_own_part_of_the_batch(network, x):
    network.train()
    logits = network(x)
    assert logits.shape == (6, 5)
    F.cross_entropy(logits[2:4], torch.tensor([0, 1])).backward()  # the part of the second member
    gradients = [
        sum(p.grad.abs().sum() for p in member.parameters() if p.grad is not None) for member in network.members
    ]
    assert (gradients[0] == 0, gradients[1] > 0, gradients[2] == 0) == (True, True, True)


@pytest.mark.parametrize(("n_classes", "shape"), [(10, (64, 128)), (50, (64, 160))])
def test_there_are_at_most_1_5_million_parameters(n_classes, shape):
    network = networks.build("resnet", shape=shape, n_classes=n_classes)
    count = sum(p.numel() for p in network.parameters())
    assert count < 1_500_000
    assert n_classes != 10 or count == 1_447_278  # the number in the docs

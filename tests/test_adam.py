"""The optimizer against PyTorch's own; its losses against Keras' are in test_seed_cnn.py."""

import pytest
import torch

from soundmark.adam import Adam


def gradients(shapes, steps: int):
    generator = torch.Generator().manual_seed(0)
    return [[torch.randn(shape, generator=generator) for shape in shapes] for _ in range(steps)]


def parameters(shapes) -> list[torch.nn.Parameter]:
    torch.manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]


SHAPES = [(32, 8, 3, 3), (512,), ()]


def test_is_to_the_bit_pytorchs_with_epsilon_moved():
    ours, theirs = parameters(SHAPES), parameters(SHAPES)
    adam = Adam(ours, learning_rate=3e-3, betas=(0.8, 0.99), epsilon=1e-5)
    oracle = torch.optim.Adam(theirs, lr=3e-3, betas=(0.8, 0.99))
    for step, found in enumerate(gradients(SHAPES, 12), 1):
        for weight, other, gradient in zip(ours, theirs, found, strict=True):
            weight.grad, other.grad = gradient, gradient.clone()
        adam.step()
        oracle.param_groups[0]["eps"] = 1e-5 / (1 - 0.99**step) ** 0.5
        oracle.step()
    for weight, other in zip(ours, theirs, strict=True):
        assert torch.equal(weight, other)


def test_goes_on_from_its_state():
    whole, cut = parameters(SHAPES), parameters(SHAPES)
    found = gradients(SHAPES, 6)
    adam = Adam(whole, learning_rate=1e-2)
    for step in found:
        for weight, gradient in zip(whole, step, strict=True):
            weight.grad = gradient
        adam.step()
    adam = Adam(cut, learning_rate=1e-2)
    for number, step in enumerate(found):
        if number == 3:
            state = adam.state_dict()
            adam = Adam(cut, learning_rate=1e-2)
            adam.load_state_dict(state)
        for weight, gradient in zip(cut, step, strict=True):
            weight.grad = gradient
        adam.step()
    assert all(torch.equal(a, b) for a, b in zip(whole, cut, strict=True))


def test_leaves_what_has_no_gradient():
    moved, still = parameters([(3,), (2,)])
    before = still.detach().clone()
    moved.grad = torch.ones(3)
    Adam([moved, still], learning_rate=0.1).step()
    assert torch.equal(still, before)


def test_a_state_that_lacks_a_part_is_refused():
    adam = Adam(parameters([(3,)]), learning_rate=0.1)
    state = adam.state_dict()
    del state["square.0"]
    with pytest.raises(KeyError, match=r"square\.0"):
        adam.load_state_dict(state)

"""Adam compared with PyTorch's Adam. contracts/test_notebook_parity.py compares its losses with Keras'."""

import pytest
import torch

from soundmark.training.epochs.optimizer import Adam


def gradients(shapes, steps: int):
    generator = torch.Generator().manual_seed(0)
    return [[torch.randn(shape, generator=generator) for shape in shapes] for _ in range(steps)]


def parameters(shapes) -> list[torch.nn.Parameter]:
    torch.manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]


SHAPES = [(32, 8, 3, 3), (512,), ()]


def test_is_bit_identical_to_pytorch_with_a_scaled_epsilon():
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


def test_resumes_from_its_state():
    uninterrupted, resumed = parameters(SHAPES), parameters(SHAPES)
    steps = gradients(SHAPES, 6)
    adam = Adam(uninterrupted, learning_rate=1e-2)
    for step in steps:
        for weight, gradient in zip(uninterrupted, step, strict=True):
            weight.grad = gradient
        adam.step()
    adam = Adam(resumed, learning_rate=1e-2)
    for number, step in enumerate(steps):
        if number == 3:
            state = adam.state_dict()
            adam = Adam(resumed, learning_rate=1e-2)
            adam.load_state_dict(state)
        for weight, gradient in zip(resumed, step, strict=True):
            weight.grad = gradient
        adam.step()
    assert all(torch.equal(a, b) for a, b in zip(uninterrupted, resumed, strict=True))


def test_a_parameter_without_a_gradient_is_not_changed():
    with_gradient, without = parameters([(3,), (2,)])
    before = without.detach().clone()
    with_gradient.grad = torch.ones(3)
    Adam([with_gradient, without], learning_rate=0.1).step()
    assert torch.equal(without, before)


def test_an_incomplete_state_is_rejected():
    adam = Adam(parameters([(3,)]), learning_rate=0.1)
    state = adam.state_dict()
    del state["square.0"]
    with pytest.raises(KeyError, match=r"square\.0"):
        adam.load_state_dict(state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_weight_decay_is_that_of_pytorchs_adamw_for_matrices_only(dtype):
    shapes = [*SHAPES, (8, 4)]
    ours, theirs = ([torch.nn.Parameter(p.detach().to(dtype)) for p in parameters(shapes)] for _ in range(2))
    adam = Adam(ours, learning_rate=3e-2, betas=(0.8, 0.99), epsilon=1e-5, weight_decay=0.3)
    groups = [
        {"params": [parameter], "lr": 3e-2, "weight_decay": 0.3 if parameter.ndim > 1 else 0.0} for parameter in theirs
    ]
    oracle = torch.optim.AdamW(groups, betas=(0.8, 0.99))
    for step, found in enumerate(gradients(shapes, 12), 1):
        for weight, other, gradient in zip(ours, theirs, found, strict=True):
            weight.grad, other.grad = gradient.to(dtype), gradient.to(dtype)
        adam.step()
        for group in oracle.param_groups:
            group["eps"] = 1e-5 / (1 - 0.99**step) ** 0.5
        oracle.step()
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for weight, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight, other, atol=tolerance, rtol=tolerance)


def test_a_parameter_without_a_gradient_does_not_decay():
    (weight,) = parameters([(3, 3)])
    before = weight.detach().clone()
    Adam([weight], learning_rate=0.1, weight_decay=0.5).step()
    assert torch.equal(weight, before)

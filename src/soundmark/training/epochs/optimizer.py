"""The loss of each activation, the learning rate schedule, Adam, and averages of weights.

Adam follows Keras, the notebook's framework. PyTorch's Adam adds ε at another point. It also imports ``torch._dynamo``
and SymPy when it is created, which would more than double the start-up time of a run whose features are already
computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundmark.training.recipe import Recipe

WARM_UP = 0.1  # fraction of a one-cycle training in which the learning rate rises


class Objective(Protocol):
    """The loss and the accuracy count of an activation; logits and targets are ``[batch, classes]``."""

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross entropy in nats, computed in at least float32 for logits of any precision."""

    def n_correct(self, logits: Tensor, targets: Tensor) -> float:
        """Return the number of clips in the batch that are classified correctly."""


class Softmax:
    """Single-label classification: one class per clip."""

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross entropy over the clips."""
        return F.cross_entropy(_at_least_float32(logits), targets, label_smoothing=label_smoothing)

    def n_correct(self, logits: Tensor, targets: Tensor) -> float:
        """Return the number of clips whose most probable class is the label."""
        return float((logits.argmax(1) == targets.argmax(1)).sum())


class Sigmoid:
    """Multi-label classification: any number of classes per clip."""

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross entropy over clips and classes; smoothing moves every target towards 0.5."""
        smoothed = targets * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(_at_least_float32(logits), smoothed)

    def n_correct(self, logits: Tensor, targets: Tensor) -> float:
        """Return the sum over the clips of the fraction of classes that are predicted correctly."""
        return float(((logits > 0) == (targets > 0.5)).float().mean(1).sum())


OBJECTIVES: dict[str, Objective] = {"softmax": Softmax(), "sigmoid": Sigmoid()}


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def learning_rate(recipe: Recipe, done: float) -> float:
    """Return the learning rate after the fraction ``done`` of the training, 0 to 1.

    Source of one-cycle: L. Smith and N. Topin, "Super-Convergence", 2018; here with cosine decay.

    >>> from soundmark.training.named_recipes import recipe_named
    >>> scratch = recipe_named("scratch")
    >>> [round(learning_rate(scratch, done) / scratch.learning_rate, 2) for done in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if done < WARM_UP:
        return recipe.learning_rate * done / WARM_UP
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


class Adam:
    """Adam as in Keras: Kingma and Ba 2015, algorithm 1, in the form of its section 2.

    With m and v the running means of the gradient and of its square at step t,

        w −= lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)

    (Keras 3, ``keras/src/optimizers/adam.py``). ``weight_decay`` first shrinks every matrix by the fraction lr · decay,
    but no biases and normalisations (I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019).
    PyTorch divides √v by √(1 − β₂ᵗ) before it adds ε, so its ε has thirty times less effect at the first step.

    >>> weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    >>> weight.grad = torch.ones(1, dtype=torch.float64)
    >>> Adam([weight], learning_rate=0.5).step()
    >>> round(weight.item(), 7)  # 0.5 with PyTorch's ε
    0.5000016
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.betas, self.epsilon = learning_rate, betas, epsilon
        self.weight_decay = weight_decay
        self.steps = 0
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.steps += 1
        beta1, beta2 = self.betas
        rate = self.learning_rate / (1 - beta1**self.steps)
        root = math.sqrt(1 - beta2**self.steps)
        # √v and ε are both divided by root. So the result is bit-identical to PyTorch's with ε set to ε / root.
        for weight, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
            if weight.grad is not None:
                if self.weight_decay and weight.ndim > 1:
                    weight.mul_(1 - self.learning_rate * self.weight_decay)
                mean.lerp_(weight.grad, 1 - beta1)
                square.mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
                weight.addcdiv_(mean, square.sqrt().div_(root).add_(self.epsilon / root), value=-rate)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that later steps depend on, by name."""
        state = {"steps": torch.tensor(self.steps)}
        state |= {f"mean.{i}": mean for i, mean in enumerate(self.means)}
        return state | {f"square.{i}": square for i, square in enumerate(self.squares)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state that ``state_dict`` returned.

        Raises:
            KeyError: an entry is missing.
        """
        self.steps = int(state["steps"])
        for i in range(len(self.parameters)):
            self.means[i].copy_(state[f"mean.{i}"])
            self.squares[i].copy_(state[f"square.{i}"])


def optimizer_for(network: nn.Module, recipe: Recipe) -> Adam:
    """Create the optimizer of a recipe.

    >>> from soundmark.training.named_recipes import recipe_named
    >>> optimizer_for(nn.Linear(1, 1), recipe_named("scratch")).weight_decay
    0.02
    """
    return Adam(
        network.parameters(),
        learning_rate=recipe.learning_rate,
        betas=recipe.adam_betas,
        epsilon=recipe.adam_epsilon,
        weight_decay=recipe.weight_decay,
    )


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Update the exponential moving average of weights and BatchNorm statistics, with the decay ``decay``.

    >>> average, network = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> for layer, value in ((average, 0.0), (network, 1.0)):
    ...     _ = nn.init.constant_(layer.weight, value)
    >>> update_average(average, network, 0.75)
    >>> average.weight.item()
    0.25
    """
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)

"""Adam as Keras computes it: the notebook's optimizer, in twenty lines.

PyTorch's own differs in one place, where ε is added, and building one imports ``torch._dynamo`` with SymPy and all:
longer than a second run on an unchanged data set otherwise takes to begin.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1, in the form of its section 2), with ε where Keras has it.

    With m and v the running means of the gradient and of its square at step t,

        w −= lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)

    (Keras 3, ``keras/src/optimizers/adam.py``), with lr times the parameter's own of ``scales``. ``weight_decay`` first
    takes its share lr · decay of every matrix, but not of biases and normalisations (I. Loshchilov and F. Hutter,
    "Decoupled Weight Decay Regularization", ICLR 2019). PyTorch divides √v by √(1 − β₂ᵗ) before it adds ε, so that at
    the first step ε weighs thirty times less.

    >>> weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    >>> weight.grad = torch.ones(1, dtype=torch.float64)
    >>> Adam([weight], learning_rate=0.5).step()
    >>> round(weight.item(), 7)  # ε where PyTorch has it would give 0.5
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
        scales: Sequence[float] = (),
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.betas, self.epsilon = learning_rate, betas, epsilon
        self.weight_decay = weight_decay
        self.scales = list(scales) or [1.0] * len(self.parameters)
        self.steps = 0
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        self.steps += 1
        beta1, beta2 = self.betas
        rate = self.learning_rate / (1 - beta1**self.steps)
        root = math.sqrt(1 - beta2**self.steps)
        # √v and ε are both divided by the root: so it is, to the bit, what PyTorch gives with its ε set to ε / root.
        for weight, mean, square, scale in zip(self.parameters, self.means, self.squares, self.scales, strict=True):
            if weight.grad is not None:
                if self.weight_decay and weight.ndim > 1:
                    weight.mul_(1 - self.learning_rate * scale * self.weight_decay)
                mean.lerp_(weight.grad, 1 - beta1)
                square.mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
                weight.addcdiv_(mean, square.sqrt().div_(root).add_(self.epsilon / root), value=-rate * scale)

    def state_dict(self) -> dict[str, Tensor]:
        """What a later step depends on, by name."""
        state = {"steps": torch.tensor(self.steps)}
        state |= {f"mean.{i}": mean for i, mean in enumerate(self.means)}
        return state | {f"square.{i}": square for i, square in enumerate(self.squares)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what ``state_dict`` gave.

        Raises:
            KeyError: something is not there.
        """
        self.steps = int(state["steps"])
        for i in range(len(self.parameters)):
            self.means[i].copy_(state[f"mean.{i}"])
            self.squares[i].copy_(state[f"square.{i}"])

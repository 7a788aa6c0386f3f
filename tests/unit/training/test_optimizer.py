"""Losses and accuracy counts of each activation, compared with NumPy; the optimizer of a recipe."""

import numpy as np
import pytest
import torch

from soundmark.metrics.task import Task
from soundmark.training.epochs.optimizer import OBJECTIVES


@pytest.mark.parametrize(("activation", "n_terms"), [("softmax", 1), ("sigmoid", 5)])
def test_the_loss_is_the_mean_cross_entropy(activation, n_terms):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20, 5))
    targets = (
        np.eye(5)[rng.integers(0, 5, 20)] if activation == "softmax" else (rng.random((20, 5)) < 0.3).astype(float)
    )
    expected = Task.named(activation).cross_entropy(logits, targets) / n_terms
    found = OBJECTIVES[activation].loss(torch.from_numpy(logits), torch.from_numpy(targets))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_label_smoothing_moves_the_targets():
    logits, targets = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
    smoothed = torch.tensor([[0.95, 0.05]])  # a tenth is spread over both classes
    for objective in OBJECTIVES.values():
        found = objective.loss(logits, targets, label_smoothing=0.1)
        torch.testing.assert_close(found, objective.loss(logits, smoothed))


def test_half_precision_logits_are_scored_in_float32():
    for objective in OBJECTIVES.values():
        logits = torch.tensor([[2.0, -1.0]], dtype=torch.bfloat16)
        assert objective.loss(logits, torch.tensor([[1.0, 0.0]])).dtype == torch.float32


def test_correctly_classified_clips_are_counted():
    logits = torch.tensor([[2.0, 1.0], [-1.0, -2.0], [0.5, 3.0]])
    assert OBJECTIVES["softmax"].n_correct(logits, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])) == 2.0
    assert OBJECTIVES["sigmoid"].n_correct(logits, torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])) == 2.5

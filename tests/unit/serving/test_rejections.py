"""Why a window in which a class was likely is not a detection."""

from dataclasses import replace

import numpy as np
import pytest

from soundmark.models.bundle import Bundle
from soundmark.models.classifier import Model
from soundmark.models.streaming import WindowScores
from soundmark.serving.rejections import rejections


def part(p, *, familiarity=None, presence=None) -> WindowScores:
    values = {"familiarity": familiarity, "presence": presence}
    arrays = {name: None if value is None else np.array([value], np.float32) for name, value in values.items()}
    return WindowScores(np.array([1.0]), np.array([2.0]), np.array([p], np.float32), pieces=[[]], **arrays)


@pytest.fixture(scope="module")
def model(detector) -> Model:
    card = replace(detector.card, unknown=0.5)
    return Model(Bundle(detector.bundle.graph, card))


@pytest.mark.parametrize(
    ("window", "unknown", "reason"),
    [
        (part([0.4, 0.1, 0.1]), True, "below the threshold"),
        (part([0.9, 0.1, 0.0], familiarity=0.2), True, "unlike the training data"),
        (part([0.9, 0.1, 0.0], familiarity=0.2), False, None),
        (part([0.9, 0.1, 0.0], familiarity=0.8), True, None),
        (part([0.9, 0.1, 0.0], presence=0.1), True, "the window probably has no sound of the model's classes"),
        (part([0.9, 0.1, 0.0], presence=0.9), True, None),
        (part([0.1, 0.1, 0.8]), True, "background"),
        (part([0.2, 0.2, 0.1]), True, None),
    ],
)
def test_the_reason(model, window, unknown, reason):
    found = rejections(window, model, model.threshold(), unknown=unknown)
    assert [one.reason for one in found] == ([reason] if reason else [])

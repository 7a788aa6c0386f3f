"""Progress reports of a training: batches, epochs, and a status with loss and accuracy."""

import re
from dataclasses import replace

import numpy as np
import pytest

from soundmark.spectrograms import Mel
from soundmark.training.epochs import loop
from soundmark.training.epochs.engine import Engine
from soundmark.training.named_recipes import recipe

RECIPE = recipe("notebook-mel", representation=Mel(size=(24, 24)), epochs=2, batch_size=10)
ONE_THREAD = Engine(device="cpu", precision="float32", threads=1)


@pytest.fixture(scope="module")
def data() -> loop.TrainingData:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    return loop.TrainingData(
        features=(rng.random((40, 24, 24)) + labels[:, None, None]).astype(np.float32),
        targets=np.eye(2, dtype=np.float32)[labels],
        train=np.arange(30),
        validation=np.arange(30, 40),
        sources=np.arange(40).astype(str),
    )


def train_and_report(data, recipe) -> tuple[list, list[int], tuple]:
    """Train, and return every progress report, the length of the history after each epoch, and the history."""
    steps, lengths = [], []
    report = loop.TrainingProgress(lambda *step: steps.append(step), "x", lambda epochs: lengths.append(len(epochs)))
    callbacks = {"on_batch": report.on_batch, "on_epoch": report.on_epoch, "on_status": report.on_status}
    trained = loop.train_network(data, recipe, engine=ONE_THREAD, **callbacks)
    return steps, lengths, trained.history


def test_the_status_has_epoch_losses_and_accuracy(data):
    steps, lengths, history = train_and_report(data, RECIPE)
    assert [step[:4] for step in steps] == [("x", n, 6, "batches") for n in (1, 2, 3, 3, 4, 5, 6)]
    assert lengths == [1, 2]
    assert re.fullmatch(r"epoch 1/2  loss \d\.\d\d", steps[0][4])
    assert re.fullmatch(r"epoch 2/2  loss \d\.\d\d  val \d\.\d\d  acc \d\.\d\d", steps[4][4])
    last = history[-1]
    assert steps[-1][4] == (
        f"epoch 2/2  loss {last.train_loss:.2f}  val {last.validation_loss:.2f}  acc {last.validation_accuracy:.2f}"
    )
    assert sum(step[1] == step[2] for step in steps) == 1  # the last step is reported once


def test_epochs_of_a_refit_are_counted_with_those_of_the_first_training(data):
    steps, lengths, history = train_and_report(data, replace(RECIPE, validation_fraction=0.25))
    assert lengths == [1, 2, 3, 4]
    assert steps[-1][4].startswith("epoch 4/4  loss")
    assert steps[-1][4].endswith(f"acc {history[-1].train_accuracy:.2f}")
    assert "val" not in steps[-1][4]
    assert sum(step[1] == step[2] for step in steps) == 1

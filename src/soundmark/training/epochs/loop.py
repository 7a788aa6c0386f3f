"""The training loop: features and a recipe to a trained network.

The random numbers of an epoch (for the order of the clips, augmentation and dropout) depend only on the recipe's seed
and the epoch number. So an interrupted run that resumes from its last epoch gives the same weights as an uninterrupted
one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from soundmark.errors import SettingsError
from soundmark.models.training_record import Epoch, held_out_name
from soundmark.runtime.parallel.allocator import keep_freed_memory
from soundmark.runtime.progress import Progress
from soundmark.training import networks
from soundmark.training.calibration import Calibration
from soundmark.training.epochs.augmentation import augment
from soundmark.training.epochs.checkpoint import Checkpoint, fingerprint
from soundmark.training.epochs.engine import Engine, TrainingData, choose_engine
from soundmark.training.epochs.network_calibration import calibrate_network, transfer_calibration
from soundmark.training.epochs.optimizer import (
    OBJECTIVES,
    Adam,
    learning_rate,
    optimizer_for,
    update_average,
)
from soundmark.training.networks.network import Network
from soundmark.training.recipe import Augmentation, Recipe

REFIT = "refit.safetensors"  # the checkpoint of the refit on all clips


OnBatch = Callable[[int, int], None]


OnEpoch = Callable[[tuple[Epoch, ...]], None]


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A trained network (in evaluation mode, on the CPU), its history, the engine it ran on, and its calibration."""

    network: Network
    history: tuple[Epoch, ...]
    engine: Engine
    calibration: Calibration = field(default_factory=Calibration)


def train_network(
    data: TrainingData,
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    engine: Engine | None = None,
    on_batch: OnBatch = lambda done, total: None,
    on_epoch: OnEpoch = lambda history: None,
    on_status: Callable[[str], None] = lambda status: None,
) -> TrainedNetwork:
    """Train the recipe's network on ``data``. The result has the weights of the last epoch: no epoch is selected.

    A recipe with a ``validation_fraction`` trains twice: first without the validation clips, to calibrate on them, and
    then again on all clips (a refit), with the calibration of the first training. The history contains the epochs of
    both.

    With ``checkpoint``, the state is saved there after every epoch (for a refit, in ``refit.safetensors`` in the same
    folder). An interrupted run resumes from it on the same engine and gives the same final weights. The default
    ``engine`` is that of ``choose_engine``. Three callbacks report the progress: ``on_batch(done, total)`` after every
    batch of all trainings; ``on_epoch(history)`` after every epoch; ``on_status(text)`` with epoch, loss and accuracy
    before each of these. On Linux, the process keeps its freed memory from then on, which saves a quarter of the time.

    Raises:
        SettingsError: the shape of the features does not fit the network, or the training diverges.
        OutputError: the checkpoint cannot be written, or belongs to another run.

    >>> from soundmark.training.named_recipes import recipe_named
    >>> rng = np.random.default_rng(0)
    >>> data = TrainingData(
    ...     features=rng.random((8, 64, 64), np.float32), targets=np.eye(2, dtype=np.float32)[np.arange(8) % 2],
    ...     train=np.arange(6), validation=np.arange(6, 8), sources=np.arange(8).astype(str),
    ... )
    >>> from dataclasses import replace
    >>> trained = train_network(data, replace(recipe_named("notebook-mel"), epochs=2, batch_size=4))
    >>> [epoch.epoch for epoch in trained.history]
    [1, 2]
    """
    keep_freed_memory()
    report = _Report(on_batch, on_epoch, on_status, _batches(data, recipe), recipe.epochs_for(len(data.train)))
    if not recipe.validation_fraction or not len(data.validation):
        return _train_all(data, recipe, checkpoint, engine, report)
    everything = replace(data, train=np.sort(np.concatenate([data.train, data.validation])), validation=np.arange(0))
    report = replace(
        report,
        n_batches=report.n_batches + _batches(everything, recipe),
        n_epochs=report.n_epochs + recipe.epochs_for(len(everything.train)),
    )
    first = _train_all(data, recipe, checkpoint, engine, report)
    calibration = calibrate_network(first.network, data, recipe)
    report = replace(report, batches_before=_batches(data, recipe), history_before=first.history)
    refit = _train_all(everything, recipe, checkpoint and checkpoint.with_name(REFIT), first.engine, report)
    return replace(
        refit,
        history=_joined(first.history, refit.history),
        calibration=transfer_calibration(calibration, refit.network, everything),
    )


def _joined(first: tuple[Epoch, ...], second: tuple[Epoch, ...]) -> tuple[Epoch, ...]:
    return (*first, *(replace(epoch, epoch=len(first) + epoch.epoch) for epoch in second))


@dataclass(frozen=True)
class _Report:
    """The callbacks of a run, and the position of the current training in it."""

    on_batch: OnBatch
    on_epoch: OnEpoch
    on_status: Callable[[str], None]
    n_batches: int  # of all trainings of the run
    n_epochs: int
    batches_before: int = 0
    history_before: tuple[Epoch, ...] = ()

    def batch(self, done: int, epoch: int, loss: float, last: Epoch | None) -> None:
        """Report batch ``done``, in epoch ``epoch``, with its mean loss so far; ``last`` is the previous epoch."""
        held_out = (last.held_out_loss, last.held_out_accuracy) if last else (None, None)
        self.on_status(self._status(epoch, loss, *held_out, name=held_out_name([last] if last else [])))
        self.on_batch(self.batches_before + done, self.n_batches)

    def epoch(self, history: tuple[Epoch, ...]) -> None:
        """Report the last epoch of the ``history`` of the current training."""
        last = history[-1]
        accuracy = last.train_accuracy if last.held_out_accuracy is None else last.held_out_accuracy
        name = held_out_name([last])
        self.on_status(self._status(last.epoch, last.train_loss, last.held_out_loss, accuracy, name=name))
        self.on_epoch(_joined(self.history_before, history))

    def _status(
        self, epoch: int, loss: float, held_out_loss: float | None, accuracy: float | None, *, name: str
    ) -> str:
        parts = [f"epoch {len(self.history_before) + epoch}/{self.n_epochs}", f"loss {loss:.2f}"]
        short = {"validation": "val"}.get(name, name)
        parts += [f"{short} {held_out_loss:.2f}"] if held_out_loss is not None else []
        return "  ".join([*parts, *([f"acc {accuracy:.2f}"] if accuracy is not None else [])])


class TrainingProgress:
    """Adapts the callbacks of ``train_network`` to one ``Progress``, under ``name``.

    The last batch is reported after its epoch's validation, so that the last status has the final figures.

    >>> def progress(*step): print(*step)
    >>> training = TrainingProgress(progress, "notebook-mel", history=lambda epochs: None)
    >>> training.on_status("epoch 1/1  loss 1.21")
    >>> training.on_batch(1, 2)
    notebook-mel 1 2 batches epoch 1/1  loss 1.21
    """

    def __init__(self, progress: Progress, name: str, history: OnEpoch) -> None:
        self.progress, self.name, self.history = progress, name, history
        self.status, self.done, self.total = "", 0, 0

    def on_status(self, status: str) -> None:
        """Store the status for the next report."""
        self.status = status

    def on_batch(self, done: int, total: int) -> None:
        """Report a batch."""
        self.done, self.total = done, total
        if done < total or not self.status:
            self._report()

    def on_epoch(self, history: tuple[Epoch, ...]) -> None:
        """Pass the history on, and report the figures of the epoch."""
        self.history(history)
        self._report()

    def _report(self) -> None:
        status = (self.status,) if self.status else ()
        self.progress(self.name, self.done, self.total, "batches", *status)


def _train_all(
    data: TrainingData, recipe: Recipe, checkpoint: Path | None, engine: Engine | None, report: _Report
) -> TrainedNetwork:
    """Train all layers, epoch by epoch, without calibration."""
    engine = engine or choose_engine()
    saved = Checkpoint.load(checkpoint, fingerprint(data, recipe), engine.device) if checkpoint else None
    engine = saved.engine if saved else engine
    torch.set_num_threads(engine.threads)
    network = _initialize(data, recipe)
    network.to(engine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval() if recipe.ema_decay else None
    optimizer = optimizer_for(network, recipe)
    history = saved.restore(network, optimizer, average) if saved else []
    if data.watches_test:
        history = [epoch.on_test_clips() for epoch in history]  # earlier versions wrote these as validation values
    for number in range(len(history) + 1, recipe.epochs_for(len(data.train)) + 1):
        epoch = _train_and_validate(network, average, optimizer, data, recipe, engine, number, history, report)
        history.append(epoch)
        report.epoch(tuple(history))
        if checkpoint:
            state = Checkpoint.of(network, optimizer, history, engine, average)
            state.save(checkpoint, fingerprint(data, recipe))
    network = (average or network).to("cpu").eval()
    return TrainedNetwork(network=network, history=tuple(history), engine=engine)


def _initialize(data: TrainingData, recipe: Recipe) -> Network:
    """Return the network before its first epoch.

    A network that normalises its input is given the mean and SD of the training data.
    """
    torch.manual_seed(recipe.seed)
    network = networks.build(recipe.network, shape=data.features.shape[1:], n_classes=data.n_classes)
    if network.normalises_input:
        network.normalise(*data.mean_and_spread())
    return network


def _train_and_validate(
    network: Network,
    average: Network | None,
    optimizer: Adam,
    data: TrainingData,
    recipe: Recipe,
    engine: Engine,
    number: int,
    history: list[Epoch],
    report: _Report,
) -> Epoch:
    """Train and validate epoch ``number``, which follows the ``history``.

    Raises:
        SettingsError: the loss is not finite.
    """
    start = time.perf_counter()
    last = history[-1] if history else None

    def on_batch(done: int, loss: float) -> None:
        report.batch(done, number, loss, last)

    train_loss, train_accuracy = _train_epoch(network, average, optimizer, data, recipe, engine, number, on_batch)
    if not math.isfinite(train_loss):
        raise SettingsError(
            f"the training of {recipe.name} diverged in epoch {number}: its loss is {train_loss}. Lower the "
            f"learning rate (now {recipe.learning_rate:g})."
        )
    validation_loss, validation_accuracy = _validate(average or network, data, recipe.batch_size, engine)
    epoch = Epoch(
        epoch=number,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        seconds=time.perf_counter() - start,
    )
    return epoch.on_test_clips() if data.watches_test else epoch


def _train_epoch(
    network: Network,
    average: Network | None,
    optimizer: Adam,
    data: TrainingData,
    recipe: Recipe,
    engine: Engine,
    epoch: int,
    on_batch: Callable[[int, float], None],
) -> tuple[float, float]:
    """Train one epoch in a random order; return its mean loss and accuracy, computed while the weights change.

    ``on_batch`` is called with the number of batches since the first epoch, and the mean loss of this epoch so far.
    """
    torch.manual_seed(_epoch_seed(recipe.seed, epoch))  # dropout draws from the global generator
    generator = np.random.default_rng([recipe.seed, epoch])
    order = generator.permutation(data.train)
    batches, total = -(-len(order) // recipe.batch_size), _batches(data, recipe)
    objective, loss_sum, right, seen = OBJECTIVES[data.activation], 0.0, 0.0, 0
    network.train()
    for number, start in enumerate(range(0, len(order), recipe.batch_size), (epoch - 1) * batches + 1):
        chosen = order[start : start + recipe.batch_size]  # the last batch may be smaller, as in Keras
        x, y = engine.batch(data, np.tile(chosen, network.n_members))  # each member gets its own augmentation
        if recipe.augmentation != Augmentation():
            x, y = augment(x, y, recipe.augmentation, generator)
        with engine.autocast():
            logits = network(x)
        loss = objective.loss(logits, y, label_smoothing=recipe.label_smoothing)
        network.zero_grad()
        loss.backward()
        optimizer.learning_rate = learning_rate(recipe, number / total)
        optimizer.step()
        if average:
            update_average(average, network, min(recipe.ema_decay, number / (number + 9)))
        loss_sum += loss.item() * len(chosen)
        right += objective.n_correct(logits, y) / network.n_members
        seen += len(chosen)
        on_batch(number, loss_sum / seen)
    return loss_sum / len(order), right / len(order)


@torch.no_grad()
def _validate(
    network: nn.Module, data: TrainingData, batch_size: int, engine: Engine
) -> tuple[float | None, float | None]:
    """Return mean loss and accuracy on the validation clips, in the precision of the training; None without clips."""
    if not len(data.validation):
        return None, None
    network.eval()
    objective, loss_sum, right = OBJECTIVES[data.activation], 0.0, 0.0
    for start in range(0, len(data.validation), batch_size):
        x, y = engine.batch(data, data.validation[start : start + batch_size])
        with engine.autocast():
            logits = network(x)
        loss_sum += objective.loss(logits, y).item() * len(x)
        right += objective.n_correct(logits, y)
    return loss_sum / len(data.validation), right / len(data.validation)


def seconds_per_example(recipe: Recipe, *, n_classes: int, device: str = "auto") -> float:
    """Estimate the training time per example in seconds: the faster of two batches of 16, after a warm-up batch.

    >>> 0 < seconds_per_example(recipe, n_classes=10) < 10
    True
    """
    n = 16
    engine = choose_engine(device)
    torch.set_num_threads(engine.threads)
    shape = recipe.representation.shape
    targets = np.zeros((n, n_classes), np.float32)
    targets[:, 0] = 1
    data = TrainingData(
        features=np.zeros((n, *shape), np.float32),
        targets=targets,
        train=np.arange(n),
        validation=np.arange(0),
        sources=np.arange(n).astype(str),
    )
    network = networks.build(recipe.network, shape=shape, n_classes=n_classes)
    network.to(engine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizer_for(network, recipe)
    seconds = []
    for epoch in range(3):
        start = time.perf_counter()
        _train_epoch(network, None, optimizer, data, recipe, engine, epoch + 1, lambda *_: None)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) / n


def _batches(data: TrainingData, recipe: Recipe) -> int:
    """Return the number of batches of a training on ``data``."""
    n = len(data.train)
    return recipe.epochs_for(n) * -(-n // recipe.batch_size)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))

"""Features and a recipe to a trained network: the loop in the open.

Whatever is random in an epoch (the order of the clips, augmentation, dropout) follows from the recipe's seed and the
epoch's number alone, so a run that was killed goes on from its last epoch with exactly what the uninterrupted run would
have drawn.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundmark.datasets.feature_store import Rows
from soundmark.errors import SettingsError
from soundmark.models import legacy, weights
from soundmark.models.training_record import Epoch
from soundmark.training import calibration, linear_head, networks, onnx_export
from soundmark.training.adam import Adam
from soundmark.training.augmentation import augment
from soundmark.training.calibration import Calibration, Familiarity, held_out_familiarity
from soundmark.training.checkpoint import Checkpoint
from soundmark.training.engine import Engine, choose_engine
from soundmark.training.linear_head import LinearHead
from soundmark.training.networks.mobilenet import Transferred
from soundmark.training.networks.resnet import ResNet
from soundmark.training.recipe import Augmentation, Recipe

WARM_UP = 0.1  # of a one-cycle training, the share in which the learning rate rises


REFIT = "refit.safetensors"  # the checkpoint of a training on everything, beside that of the one before it


EMBEDDED = 32  # spectrograms that a pretrained network is given at a time


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Examples, and which of them to use: ``features`` float32 ``[n, freq, time]``, in memory or on the disk."""

    features: np.ndarray | Rows
    targets: np.ndarray  # float32 [n, classes]: 1 where a clip is of a class
    train: np.ndarray  # int64 indices
    validation: np.ndarray  # int64 indices, only watched; may be empty
    sources: np.ndarray  # str [n], the recording of each
    activation: str = "softmax"  # or "sigmoid": several classes at once, or none
    checksum: str = ""  # of the features, where they come from a store

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return int(self.targets.shape[1])


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A trained network (in evaluation mode, on the processor), the way there, and what it was computed on."""

    network: nn.Module
    history: tuple[Epoch, ...]
    engine: Engine
    calibration: Calibration = field(default_factory=Calibration)


def train_network(
    data: TrainingData,
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    engine: Engine | None = None,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[tuple[Epoch, ...]], None] = lambda history: None,
) -> TrainedNetwork:
    """Train the recipe's network on ``data``. The last epoch's weights are the result: no epoch is picked.

    A recipe that keeps validation clips back to calibrate on trains twice: without them, to settle temperature and
    threshold, and then the same again on everything (a refit), which takes over what was settled. The history has
    both, one after the other.

    With ``checkpoint``, every epoch is saved there (of a refit, in ``refit.safetensors`` beside it), and a run that was
    cut goes on from it, on the engine that it was begun with, to the same final weights. Without an ``engine``,
    ``choose_engine`` names one. ``on_batch(done, total)`` is told of every batch, counted over the whole run,
    ``on_epoch`` of the history after every epoch.

    Raises:
        SettingsError: the features' shape does not suit the network, or the training diverges.
        OutputError: the checkpoint cannot be written, or is one of another run.

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
    if recipe.trainable == "head":
        return _train_head(data, recipe, engine or choose_engine(), on_batch)
    if not recipe.validation_fraction or not len(data.validation):
        return _train_all(data, recipe, checkpoint, engine, on_batch, on_epoch)
    everything = replace(data, train=np.sort(np.concatenate([data.train, data.validation])), validation=np.arange(0))
    before, after = _batches(data, recipe), _batches(everything, recipe)
    first = _train_all(data, recipe, checkpoint, engine, lambda done, total: on_batch(done, total + after), on_epoch)
    calibration = _calibrate(first.network, data, recipe)
    refit = _train_all(
        everything,
        recipe,
        checkpoint and checkpoint.with_name(REFIT),
        first.engine,
        lambda done, total: on_batch(before + done, before + total),
        lambda history: on_epoch(_joined(first.history, history)),
    )
    return replace(
        refit,
        history=_joined(first.history, refit.history),
        calibration=_transfer_calibration(calibration, refit.network, everything),
    )


def _joined(first: tuple[Epoch, ...], second: tuple[Epoch, ...]) -> tuple[Epoch, ...]:
    return (*first, *(replace(epoch, epoch=len(first) + epoch.epoch) for epoch in second))


def _train_head(
    data: TrainingData, recipe: Recipe, engine: Engine, on_batch: Callable[[int, int], None]
) -> TrainedNetwork:
    """The network as it is, and a head on it, calibrated by the cross-validation that chose the head."""
    torch.set_num_threads(engine.threads)
    network, begun = _initialize(data, recipe, on_batch)
    assert begun is not None
    calibration = _calibrate_head(begun, data, recipe)
    return TrainedNetwork(network=network.eval(), history=(), engine=engine, calibration=calibration)


def _train_all(
    data: TrainingData,
    recipe: Recipe,
    checkpoint: Path | None,
    engine: Engine | None,
    on_batch: Callable[[int, int], None],
    on_epoch: Callable[[tuple[Epoch, ...]], None],
) -> TrainedNetwork:
    """Every layer, epoch by epoch: the loop itself. Nothing is calibrated."""
    engine = engine or choose_engine()
    saved = Checkpoint.load(checkpoint, _fingerprint(data, recipe), engine.device) if checkpoint else None
    engine = saved.engine if saved else engine
    torch.set_num_threads(engine.threads)
    network, _ = _initialize(data, recipe, lambda *_: None)
    beginning = (
        {name: value.clone() for name, value in network.state_dict().items()} if recipe.weight_interpolation < 1 else {}
    )
    network.to(engine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval() if recipe.ema_decay else None
    optimizer = _optimizer(network, recipe)
    history = saved.restore(network, optimizer, average) if saved else []
    epochs = recipe.epochs_for(len(data.train))
    for epoch in range(len(history) + 1, epochs + 1):
        start = time.perf_counter()
        train_loss, train_accuracy = _train_epoch(network, average, optimizer, data, recipe, engine, epoch, on_batch)
        if not math.isfinite(train_loss):
            raise SettingsError(
                f"the training of {recipe.name} diverged in epoch {epoch}: its loss is {train_loss}. Lower the "
                f"learning rate, {recipe.learning_rate:g}."
            )
        validation_loss, validation_accuracy = _validate(average or network, data, recipe.batch_size, engine)
        history.append(
            Epoch(
                epoch=epoch,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                validation_loss=validation_loss,
                validation_accuracy=validation_accuracy,
                seconds=time.perf_counter() - start,
            )
        )
        on_epoch(tuple(history))
        if checkpoint:
            state = Checkpoint.of(network, optimizer, history, engine, average)
            state.save(checkpoint, _fingerprint(data, recipe))
    network = (average or network).to("cpu").eval()
    if beginning:
        _interpolate(network, beginning, recipe.weight_interpolation)
    if recipe.refit_head:
        assert isinstance(network, Transferred)
        _fit_head(network, data, recipe, lambda *_: None)
    return TrainedNetwork(network=network, history=tuple(history), engine=engine)


@dataclass(frozen=True)
class _Fitted:
    """A pretrained network's linear head, and the embeddings ``[n_train, d]`` of the clips that it was fitted on."""

    head: LinearHead
    embeddings: np.ndarray


def _initialize(
    data: TrainingData, recipe: Recipe, on_batch: Callable[[int, int], None]
) -> tuple[nn.Module, _Fitted | None]:
    """The network before its first epoch, and the head that it was given, if any.

    Freshly drawn, it is told the mean and the spread of its training data; pretrained, it begins with the linear head
    that suits what it makes of the training clips as it is.
    """
    torch.manual_seed(recipe.seed)
    network = networks.build(recipe.network, shape=data.features.shape[1:], n_classes=data.n_classes)
    if not recipe.is_pretrained:
        if isinstance(network, ResNet):
            network.normalise(*_mean_and_spread(data))
        return network, None
    assert isinstance(network, Transferred)
    network.backbone.load_state_dict(torch.load(weights.find(recipe.network), map_location="cpu", weights_only=True))
    return network, _fit_head(network, data, recipe, on_batch if recipe.trainable == "head" else lambda *_: None)


def _fit_head(
    network: Transferred, data: TrainingData, recipe: Recipe, on_batch: Callable[[int, int], None]
) -> _Fitted:
    """Give the network the linear head that suits what it makes of the training clips as it is now."""
    views = _embed_views(network, data, data.train, on_batch)
    embeddings = (views[0] + views[1]) / 2  # as the network makes it
    targets, sources = data.targets[data.train], data.sources[data.train]
    with torch.no_grad():
        heard, *each = (network.hear(torch.from_numpy(one)).numpy() for one in (embeddings, *views))
    head = linear_head.fit_head(
        heard, targets, sources, views=np.stack(each), activation=data.activation, seed=recipe.seed
    )
    scale = 1.0 if recipe.trainable == "head" else 1 / head.temperature  # trained on, its logits must mean something
    network.put_on(torch.from_numpy(head.weights * np.float32(scale)), torch.from_numpy(head.bias * np.float32(scale)))
    return _Fitted(head, embeddings)


def _calibrate_head(start: _Fitted, data: TrainingData, recipe: Recipe) -> Calibration:
    """What is said of each training clip by what was left without its recording: the head, and what is familiar."""
    targets, head = data.targets[data.train], start.head
    if len(np.unique(head.fold_of)) < 2:
        return Calibration()  # of one recording nothing can be left out
    return calibration.calibrate(
        head.held_out,
        targets,
        data.activation,
        familiarity=Familiarity.of(start.embeddings, targets),
        raw=held_out_familiarity(start.embeddings, targets, data.sources[data.train], seed=recipe.seed),
        kept=recipe.known_quantile,
    )


@torch.no_grad()
def _calibrate(network: nn.Module, data: TrainingData, recipe: Recipe) -> Calibration:
    """What the validation clips say of the trained network."""
    targets = data.targets[data.validation]
    if not hasattr(network, "embed"):
        held_out = np.concatenate(
            [onnx_export.network_logits(network, data.features[part]) for part in _parts(data.validation)]
        )
        return calibration.calibrate(held_out, targets, data.activation)
    known, new = (_embed(network, data, part, lambda *_: None) for part in (data.train, data.validation))
    familiarity = Familiarity.of(known, data.targets[data.train])
    return calibration.calibrate(
        network.head(torch.from_numpy(new)).numpy(),  # type: ignore[operator]
        targets,
        data.activation,
        familiarity=familiarity,
        raw=familiarity.raw(new),
        kept=recipe.known_quantile,
    )


def _transfer_calibration(settled: Calibration, network: nn.Module, data: TrainingData) -> Calibration:
    """What was ``settled`` on clips kept back from the network before, for the one that was trained on everything.

    Its own embeddings say what is familiar; how familiar a new sound of a known class is, the validation clips said.
    """
    if settled.familiarity is None:
        return settled
    own = Familiarity.of(_embed(network, data, data.train, lambda *_: None), data.targets[data.train])
    own = replace(own, middle=settled.familiarity.middle, spread=settled.familiarity.spread)
    return replace(settled, familiarity=own)


def _parts(chosen: np.ndarray) -> list[np.ndarray]:
    return [chosen[start : start + EMBEDDED] for start in range(0, len(chosen), EMBEDDED)]


def _embed(
    network: nn.Module, data: TrainingData, chosen: np.ndarray, on_batch: Callable[[int, int], None]
) -> np.ndarray:
    """The embeddings of the ``chosen`` clips, float32 ``[n, d]``, as the graph will compute them."""
    return _in_parts(network, network.embed, data, chosen, on_batch)  # type: ignore[arg-type]


def _embed_views(
    network: Transferred, data: TrainingData, chosen: np.ndarray, on_batch: Callable[[int, int], None]
) -> np.ndarray:
    """The embeddings of the ``chosen`` clips in the views that a head is fitted on, float32 ``[views, n, d]``."""
    return _in_parts(network, network.embed_views, data, chosen, on_batch)


@torch.no_grad()
def _in_parts(
    network: nn.Module,
    embed: Callable[[Tensor], Tensor],
    data: TrainingData,
    chosen: np.ndarray,
    on_batch: Callable[[int, int], None],
) -> np.ndarray:
    """What ``embed`` makes of the ``chosen`` clips, ``[..., n, d]``, some at a time."""
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = _parts(chosen)
    found = []
    for number, part in enumerate(parts, 1):
        x = torch.from_numpy(data.features[part])[:, None].contiguous(memory_format=torch.channels_last)
        found.append(embed(x).numpy())
        on_batch(number, len(parts))
    return np.concatenate(found, axis=-2)


def _mean_and_spread(data: TrainingData) -> tuple[float, float]:
    """Mean and SD of every number of the training clips."""
    total = squares = count = 0.0
    for start in range(0, len(data.train), 256):
        x = data.features[data.train[start : start + 256]].astype(np.float64)
        total, squares, count = total + x.sum(), squares + np.square(x).sum(), count + x.size
    mean = total / count
    return mean, math.sqrt(max(squares / count - mean**2, 1e-12))


@torch.no_grad()
def _interpolate(network: nn.Module, beginning: dict[str, Tensor], share: float) -> None:
    """Move the weights to ``share`` of the way from where they began.

    Source: M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.copy_(beginning[name].lerp(value, share))


def seconds_per_example(recipe: Recipe, *, n_classes: int, device: str = "auto") -> float:
    """What one example costs in training: the quicker of two batches of 16 after a first; for an estimate only.

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
    optimizer = _optimizer(network, recipe)
    seconds = []
    for epoch in range(3):
        start = time.perf_counter()
        if recipe.trainable == "head":
            _embed_views(network, data, data.train, lambda *_: None)  # type: ignore[arg-type]
        else:
            _train_epoch(network, None, optimizer, data, recipe, engine, epoch + 1, lambda *_: None)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) / n


def _batches(data: TrainingData, recipe: Recipe) -> int:
    """How many batches a training on ``data`` has."""
    n = len(data.train)
    return recipe.epochs_for(n) * -(-n // recipe.batch_size)


def _optimizer(network: nn.Module, recipe: Recipe) -> Adam:
    depths = network.depths() if isinstance(network, Transferred) else []
    scales = [recipe.layer_decay ** (depth - 1) if depth else recipe.head_lr_scale for depth in depths]
    return Adam(
        network.parameters(),
        learning_rate=recipe.learning_rate,
        betas=recipe.adam_betas,
        epsilon=recipe.adam_epsilon,
        weight_decay=recipe.weight_decay,
        scales=scales,
    )


def learning_rate(recipe: Recipe, done: float) -> float:
    """The learning rate after ``done`` of the training, 0 to 1.

    Source of one-cycle: L. Smith and N. Topin, "Super-Convergence", 2018; here down along a cosine.

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


def _train_epoch(
    network: nn.Module,
    average: nn.Module | None,
    optimizer: Adam,
    data: TrainingData,
    recipe: Recipe,
    engine: Engine,
    epoch: int,
    on_batch: Callable[[int, int], None],
) -> tuple[float, float]:
    """One pass over the training clips in a new order; the mean loss and the accuracy on the way."""
    torch.manual_seed(_epoch_seed(recipe.seed, epoch))  # dropout draws from the global generator
    generator = np.random.default_rng([recipe.seed, epoch])
    order = generator.permutation(data.train)
    batches, total = -(-len(order) // recipe.batch_size), _batches(data, recipe)
    loss_sum, right = 0.0, 0.0
    members = network.n_members if isinstance(network, ResNet) else 1  # each hears the clip changed otherwise
    network.train()
    for number, start in enumerate(range(0, len(order), recipe.batch_size), (epoch - 1) * batches + 1):
        chosen = order[start : start + recipe.batch_size]  # the last one may be partial, as Keras has it
        x, y = _batch(data, np.tile(chosen, members), engine)
        if recipe.augmentation != Augmentation():
            x, y = augment(x, y, recipe.augmentation, generator)
        with engine.autocast():
            logits = network(x)
        loss = _loss(logits, y, data.activation, label_smoothing=recipe.label_smoothing)
        network.zero_grad()
        loss.backward()
        optimizer.learning_rate = learning_rate(recipe, number / total)
        optimizer.step()
        if average:
            _update_average(average, network, min(recipe.ema_decay, number / (number + 9)))
        loss_sum += loss.item() * len(chosen)
        right += _n_correct(logits, y, data.activation) / members
        on_batch(number, total)
    return loss_sum / len(order), right / len(order)


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, kept: float) -> None:
    """Move the running mean of the weights, and of what BatchNorm has seen, a step towards the network's."""
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - kept)


@torch.no_grad()
def _validate(
    network: nn.Module, data: TrainingData, batch_size: int, engine: Engine
) -> tuple[float | None, float | None]:
    """Mean loss and accuracy on the validation clips, in the training's own precision; ``None`` without any."""
    if not len(data.validation):
        return None, None
    network.eval()
    loss_sum, right = 0.0, 0.0
    for start in range(0, len(data.validation), batch_size):
        x, y = _batch(data, data.validation[start : start + batch_size], engine)
        with engine.autocast():
            logits = network(x)
        loss_sum += _loss(logits, y, data.activation).item() * len(x)
        right += _n_correct(logits, y, data.activation)
    return loss_sum / len(data.validation), right / len(data.validation)


def _loss(logits: Tensor, targets: Tensor, activation: str, label_smoothing: float = 0.0) -> Tensor:
    """The mean cross entropy in nats, from logits in whatever precision, computed in float32 at least.

    For ``sigmoid``, the mean over the classes too; smoothing then goes towards one half.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if activation == "sigmoid":
        softened = targets * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, softened)
    return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)


def _n_correct(logits: Tensor, targets: Tensor, activation: str) -> float:
    """How many clips are right; for ``sigmoid``, each by its share of classes rightly called there or not."""
    if activation == "sigmoid":
        return float(((logits > 0) == (targets > 0.5)).float().mean(1).sum())
    return float((logits.argmax(1) == targets.argmax(1)).sum())


def _batch(data: TrainingData, chosen: np.ndarray, engine: Engine) -> tuple[Tensor, Tensor]:
    """Spectrograms ``[batch, 1, freq, time]``, channels last, and targets ``[batch, classes]``, on the device."""
    x = torch.from_numpy(data.features[chosen])[:, None].to(engine.device, memory_format=torch.channels_last)
    return x, torch.from_numpy(data.targets[chosen]).to(engine.device)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _fingerprint(data: TrainingData, recipe: Recipe) -> str:
    """What a checkpoint belongs to: the recipe, the features, the labels and the split."""
    about = [legacy.original_settings(recipe.settings()), data.n_classes, list(data.features.shape), data.checksum]
    digest = hashlib.sha256(json.dumps(about).encode())
    digest.update(data.targets.astype(np.float32).tobytes())
    for array in (data.train, data.validation):
        digest.update(array.astype(np.int64).tobytes())
    return digest.hexdigest()

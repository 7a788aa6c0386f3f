"""Features and a recipe to a trained network and its graph: the loop in the open.

Whatever is random in an epoch (the order of the clips, dropout) follows from the recipe's seed and the epoch's number
alone, so a run that was killed goes on from its last epoch with exactly what the uninterrupted run would have drawn.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import platform
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundmark import models, workers
from soundmark.adam import Adam
from soundmark.checkpoint import Checkpoint, Engine
from soundmark.errors import SettingsError
from soundmark.history import Epoch
from soundmark.recipes import Recipe
from soundmark.store import Rows


@dataclass(frozen=True, kw_only=True)
class Data:
    """Examples, and which of them to use: ``features`` float32 ``[n, freq, time]``, in memory or on the disk."""

    features: np.ndarray | Rows
    labels: np.ndarray  # int64 [n]
    train: np.ndarray  # int64 indices
    validation: np.ndarray  # int64 indices, only watched; may be empty
    n_classes: int
    checksum: str = ""  # of the features, where they come from a store


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network (in evaluation mode, on the processor), the way there, and what it was computed on."""

    network: nn.Module
    history: tuple[Epoch, ...]
    engine: Engine


def choose_engine(device: str = "auto") -> Engine:
    """The device (CUDA, MPS or the processor), precision and number of threads for this machine.

    bfloat16 where it is native: AVX512-BF16 or AMX on x86, bf16 on 64-bit ARM, CUDA where the card says so.

    Raises:
        SettingsError: the device is unknown, or is not there.

    >>> choose_engine("cpu").device
    'cpu'
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = next(name for name, is_there in there.items() if is_there) if device == "auto" else device
    if not there.get(name):
        known = ", ".join(name for name, is_there in there.items() if is_there)
        raise SettingsError(f'there is no device "{device}" on this machine. Known here: auto, {known}.')
    native = torch.cuda.is_bf16_supported() if name == "cuda" else name == "cpu" and _processor_has_bfloat16()
    return Engine(device=name, precision="bfloat16" if native else "float32", threads=workers.cores())


def _processor_has_bfloat16() -> bool:
    """Whether the processor's flags name bfloat16 arithmetic. Linux tells; elsewhere float32 is the safe answer."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16"}) or (platform.machine() == "aarch64" and "bf16" in flags)


def train(
    data: Data,
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    engine: Engine | None = None,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[tuple[Epoch, ...]], None] = lambda history: None,
) -> Trained:
    """Train the recipe's network on ``data``. The last epoch's weights are the result: no epoch is picked.

    With ``checkpoint``, every epoch is saved there, and a run that was cut goes on from it, on the engine that it was
    begun with, to the same final weights. Without an ``engine``, ``choose_engine`` names one.
    ``on_batch(done, total)`` is told of every batch, counted over the whole run, ``on_epoch``
    of the history after every epoch.

    Raises:
        SettingsError: the features' shape does not suit the network, or the training diverges.
        OutputError: the checkpoint cannot be written, or is one of another run.

    >>> from soundmark import recipes
    >>> rng = np.random.default_rng(0)
    >>> data = Data(features=rng.random((8, 64, 64), np.float32), labels=np.arange(8) % 2, train=np.arange(6),
    ...             validation=np.arange(6, 8), n_classes=2)
    >>> from dataclasses import replace
    >>> trained = train(data, replace(recipes.named("seed-mel"), epochs=2, batch_size=4))
    >>> [epoch.epoch for epoch in trained.history]
    [1, 2]
    """
    engine = engine or choose_engine()
    saved = Checkpoint.load(checkpoint, _fingerprint(data, recipe), engine.device) if checkpoint else None
    engine = saved.engine if saved else engine
    torch.set_num_threads(engine.threads)
    torch.manual_seed(recipe.seed)
    network = models.build(recipe.network, shape=data.features.shape[1:], n_classes=data.n_classes)
    network.to(engine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(network, recipe)
    history = saved.restore(network, optimizer) if saved else []
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        start = time.perf_counter()
        train_loss, train_accuracy = _train_epoch(network, optimizer, data, recipe, engine, epoch, on_batch)
        if not math.isfinite(train_loss):
            raise SettingsError(
                f"the training of {recipe.name} diverged in epoch {epoch}: its loss is {train_loss}. Lower the "
                f"learning rate, {recipe.learning_rate:g}."
            )
        validation_loss, validation_accuracy = _validate(network, data, recipe.batch_size, engine)
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
            Checkpoint.of(network, optimizer, history, engine).save(checkpoint, _fingerprint(data, recipe))
    return Trained(network=network.to("cpu").eval(), history=tuple(history), engine=engine)


def seconds_per_example(recipe: Recipe, *, n_classes: int, device: str = "auto") -> float:
    """What one example costs in training: the quicker of two batches of 16 after a first; for an estimate only.

    >>> 0 < seconds_per_example(recipe, n_classes=10) < 10
    True
    """
    n = 16
    engine = choose_engine(device)
    torch.set_num_threads(engine.threads)
    shape = recipe.representation.shape
    data = Data(
        features=np.zeros((n, *shape), np.float32),
        labels=np.zeros(n, np.int64),
        train=np.arange(n),
        validation=np.arange(0),
        n_classes=n_classes,
    )
    network = models.build(recipe.network, shape=shape, n_classes=n_classes)
    network.to(engine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(network, recipe)
    seconds = []
    for epoch in range(3):
        start = time.perf_counter()
        _train_epoch(network, optimizer, data, recipe, engine, epoch, lambda *_: None)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) / n


def _optimizer(network: nn.Module, recipe: Recipe) -> Adam:
    return Adam(
        network.parameters(), learning_rate=recipe.learning_rate, betas=recipe.adam_betas, epsilon=recipe.adam_epsilon
    )


def _train_epoch(
    network: nn.Module,
    optimizer: Adam,
    data: Data,
    recipe: Recipe,
    engine: Engine,
    epoch: int,
    on_batch: Callable[[int, int], None],
) -> tuple[float, float]:
    """One pass over the training clips in a new order; the mean loss and the accuracy on the way."""
    torch.manual_seed(_epoch_seed(recipe.seed, epoch))  # dropout draws from the global generator
    order = np.random.default_rng([recipe.seed, epoch]).permutation(data.train)
    batches = -(-len(order) // recipe.batch_size)
    loss_sum, correct = 0.0, 0
    network.train()
    for number, start in enumerate(range(0, len(order), recipe.batch_size), (epoch - 1) * batches + 1):
        chosen = order[start : start + recipe.batch_size]  # the last one may be partial, as Keras has it
        x, y = _batch(data, chosen, engine)
        with engine.autocast():
            logits = network(x)
        loss = _cross_entropy(logits, y)
        network.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(chosen)
        correct += int((logits.argmax(1) == y).sum())
        on_batch(number, recipe.epochs * batches)
    return loss_sum / len(order), correct / len(order)


@torch.no_grad()
def _validate(network: nn.Module, data: Data, batch_size: int, engine: Engine) -> tuple[float | None, float | None]:
    """Mean loss and accuracy on the validation clips, in the training's own precision; ``None`` without any."""
    if not len(data.validation):
        return None, None
    network.eval()
    loss_sum, correct = 0.0, 0
    for start in range(0, len(data.validation), batch_size):
        x, y = _batch(data, data.validation[start : start + batch_size], engine)
        with engine.autocast():
            logits = network(x)
        loss_sum += _cross_entropy(logits, y, reduction="sum").item()
        correct += int((logits.argmax(1) == y).sum())
    return loss_sum / len(data.validation), correct / len(data.validation)


def _cross_entropy(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """In nats, from logits in whatever precision, computed in float32 at least."""
    return F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels, reduction=reduction)


def _batch(data: Data, chosen: np.ndarray, engine: Engine) -> tuple[Tensor, Tensor]:
    """Spectrograms ``[batch, 1, freq, time]``, channels last, and labels ``[batch]``, on the device."""
    x = torch.from_numpy(data.features[chosen])[:, None].to(engine.device, memory_format=torch.channels_last)
    return x, torch.from_numpy(data.labels[chosen]).to(engine.device)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def export_graph(network: nn.Module, shape: tuple[int, int]) -> bytes:
    """The network as the bytes of an ONNX file: ``spectrogram`` ``[batch, 1, freq, time]`` in, ``logits`` out.

    >>> graph = export_graph(models.build("seed_cnn", shape=(22, 22), n_classes=3), (22, 22))
    >>> 20_000 < len(graph) < 1_000_000
    True
    """
    example = torch.zeros(2, 1, *shape)
    network = network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        warnings.simplefilter("ignore", FutureWarning)  # of the exporter's own use of torch
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=["spectrogram"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert program is not None  # (torch's own annotation allows None, for the older exporter)
    graph: bytes = program.model_proto.SerializeToString()
    return graph


class _quiet(AbstractContextManager[None]):  # noqa: N801 (used as a verb)
    """Keep a logger's warnings to itself: the exporter's are about packages that are not needed here."""

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.level)


def probabilities(network: nn.Module, spectrograms: np.ndarray) -> np.ndarray:
    """What torch itself says, in float32: softmax ``[batch, classes]`` of ``spectrograms`` ``[batch, freq, time]``.

    >>> probabilities(models.build("seed_cnn", shape=(22, 22), n_classes=3), np.zeros((2, 22, 22), np.float32)).shape
    (2, 3)
    """
    with torch.no_grad():
        result: np.ndarray = network.eval()(torch.from_numpy(np.array(spectrograms))[:, None]).softmax(1).numpy()
    return result


def _fingerprint(data: Data, recipe: Recipe) -> str:
    """What a checkpoint belongs to: the recipe, the features, the labels and the split."""
    about = [recipe.settings(), data.n_classes, list(data.features.shape), data.checksum]
    digest = hashlib.sha256(json.dumps(about).encode())
    for array in (data.labels, data.train, data.validation):
        digest.update(array.astype(np.int64).tobytes())
    return digest.hexdigest()

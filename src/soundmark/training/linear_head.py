"""A linear head on a network's embeddings: a shrunken linear discriminant, chosen by validation.

The shrinkage is chosen, and the held-out logits are computed, by cross-validation *inside* the training part, whole
recordings at a time. So nothing has to be kept back: the head itself is fitted on all of it. ``fit_head`` is NumPy
alone; the rest runs a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundmark.datasets import splits
from soundmark.metrics.task import Task
from soundmark.training import calibration, onnx_export
from soundmark.training.calibration import Calibration, Familiarity, held_out_familiarity
from soundmark.training.engine import TrainingData
from soundmark.training.networks.network import Network
from soundmark.training.recipe import Recipe

FOLDS = 5  # of the cross-validation inside the training part


EMBEDDED = 32  # spectrograms per batch when a network computes embeddings


SHRINKAGES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """Logits are ``features @ weights + bias``; divided by ``temperature`` they are calibrated."""

    weights: np.ndarray  # float32 [d, classes]
    bias: np.ndarray  # float32 [classes]
    shrinkage: float
    temperature: float
    losses: Mapping[float, float]  # per shrinkage, the calibrated loss on held-out clips, in nats
    fold_of: np.ndarray  # int64 [n], the fold of the cross-validation that each clip was left out in
    held_out: np.ndarray  # float32 [n, classes]: logits of each clip by a head that has not seen its recording


def fit_head(
    features: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    *,
    views: np.ndarray | None = None,
    activation: str = "softmax",
    seed: int = 0,
) -> LinearHead:
    """The head for ``features`` ``[n, d]`` and ``targets`` ``[n, classes]``; ``sources`` ``[n]`` names the recordings.

    With ``views`` ``[v, n, d]``, the same clips in several views, the discriminant is that of all the views, each an
    example of its own: the covariance then knows in what a sound differs from itself. What is held out is ``features``.

    Each feature is brought to mean 0 and SD 1. With the class means m and the covariance C of what is left when the
    targets have explained what they can, S = (1 − s)·C + s·tr(C)/d·I, and the logit of class k is
    xᵀS⁻¹m_k − ½·m_kᵀS⁻¹m_k (for ``sigmoid``, against the mean of the clips that are not of it). Of ``SHRINKAGES``, the
    s is taken whose loss on held-out clips, after its own temperature, is least. Clips of one recording differ less
    than recordings do, which is why so much shrinkage pays.

    Source: J. Friedman, "Regularized Discriminant Analysis", JASA 84 (1989), equation 18 with λ = 1.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 2
    >>> features = labels[:, None] + rng.normal(0, 0.2, (60, 4))
    >>> head = fit_head(features, np.eye(2)[labels], np.arange(60).astype(str))
    >>> head.held_out.shape, bool((head.held_out.argmax(1) == labels).all()), head.temperature > 0
    ((60, 2), True, True)
    """
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    shown = x[None] if views is None else views
    recordings = len(np.unique(sources))
    fold_of = splits.deal_recordings(sources, y, k=min(FOLDS, recordings), seed=seed)
    held_out = np.zeros((len(SHRINKAGES), *y.shape))
    for fold in np.unique(fold_of) if recordings > 1 else ():
        seen, kept = fold_of != fold, fold_of == fold
        for number, (weights, bias) in enumerate(_discriminants(shown[:, seen], y[seen], SHRINKAGES, activation)):
            held_out[number, kept] = x[kept] @ weights + bias
    # Where all clips are of one recording, nothing was held out: there is no temperature to fit.
    temperatures = [calibration.temperature(logits, y, activation) if recordings > 1 else 1.0 for logits in held_out]
    task = Task.named(activation)
    losses = [task.cross_entropy(logits / t, y) for logits, t in zip(held_out, temperatures, strict=True)]
    best = int(np.argmin(losses))
    ((weights, bias),) = _discriminants(shown, y, SHRINKAGES[best : best + 1], activation)
    return LinearHead(
        weights=weights.astype(np.float32),
        bias=bias.astype(np.float32),
        shrinkage=SHRINKAGES[best],
        temperature=temperatures[best],
        losses=dict(zip(SHRINKAGES, losses, strict=True)),
        fold_of=fold_of,
        held_out=held_out[best].astype(np.float32),
    )


def _discriminants(
    views: np.ndarray, y: Floats, shrinkages: tuple[float, ...], activation: str
) -> list[tuple[Floats, Floats]]:
    """Weights ``[d, classes]`` and bias ``[classes]`` for the features as they come, for each shrinkage.

    ``views`` are ``[v, n, d]``; the targets ``y`` ``[n, classes]`` are those of each view. One view at a time is held
    in double precision.
    """
    mean = views.mean((0, 1), dtype=np.float64)
    spread = np.sqrt(np.mean([np.square(view - mean).mean(0) for view in views], axis=0)) + 1e-6
    middle_view = (views.mean(0, dtype=np.float64) - mean) / spread  # what the targets explain is the same in all
    explained = np.concatenate([y, np.ones((len(y), 1))], axis=1)
    fitted = explained @ np.linalg.lstsq(explained, middle_view, rcond=None)[0]
    covariance = np.zeros((len(mean), len(mean)))
    for view in views:
        rest = (view - mean) / spread - fitted
        covariance += rest.T @ rest / (len(views) * len(rest))
    of = y.T @ middle_view / np.maximum(y.sum(0), 1)[:, None]  # each class' mean; 0, the middle, of one without clips
    other = (1 - y).T @ middle_view / np.maximum((1 - y).sum(0), 1)[:, None]
    found = []
    for shrinkage in shrinkages:
        shrunk = calibration.shrunken(covariance, shrinkage)
        solved = np.linalg.solve(shrunk, (of if activation == "softmax" else of - other).T)
        middle = of if activation == "softmax" else of + other
        bias = -0.5 * (middle * solved.T).sum(1)
        weights = solved / spread[:, None]
        found.append((weights, bias - mean @ weights))
    return found


OnBatch = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class FittedHead:
    """A pretrained network's linear head, and the embeddings ``[n_train, d]`` of the clips that it was fitted on."""

    head: LinearHead
    embeddings: np.ndarray


def fit_network_head(network: Network, data: TrainingData, recipe: Recipe, on_batch: OnBatch = _silent) -> FittedHead:
    """Fit the linear head of ``network`` on its own embeddings of the training clips, and set it.

    >>> from soundmark.training import networks
    >>> from soundmark.training.named_recipes import recipe_named
    >>> data = TrainingData(
    ...     features=np.random.default_rng(0).random((8, 32, 32), np.float32), targets=np.eye(2)[np.arange(8) % 2],
    ...     train=np.arange(8), validation=np.arange(0), sources=np.arange(8).astype(str),
    ... )
    >>> network = networks.build("mn04", shape=(32, 32), n_classes=2)
    >>> fit_network_head(network, data, recipe_named("transfer")).embeddings.shape
    (8, 384)
    """
    views = embed_views(network, data, data.train, on_batch)
    embeddings = (views[0] + views[1]) / 2  # what ``network.embed`` computes
    targets, sources = data.targets[data.train], data.sources[data.train]
    with torch.no_grad():
        features, *each = (network.head_features(torch.from_numpy(one)).numpy() for one in (embeddings, *views))
    head = fit_head(features, targets, sources, views=np.stack(each), activation=data.activation, seed=recipe.seed)
    # Where training continues from this head, its logits must be calibrated.
    scale = np.float32(1.0 if recipe.trainable == "head" else 1 / head.temperature)
    network.put_head(torch.from_numpy(head.weights * scale), torch.from_numpy(head.bias * scale))
    return FittedHead(head, embeddings)


def calibrate_fitted_head(fitted: FittedHead, data: TrainingData, recipe: Recipe) -> Calibration:
    """The calibration by cross-validation inside the training part; none where all of it is one recording.

    >>> rng = np.random.default_rng(0)
    >>> targets, sources = np.eye(2)[np.arange(40) % 2], np.arange(40).astype(str)
    >>> data = TrainingData(
    ...     features=np.zeros((40, 1, 1)), targets=targets, train=np.arange(40), validation=np.arange(0),
    ...     sources=sources,
    ... )
    >>> embeddings = rng.normal(size=(40, 3)) + targets[:, :1]
    >>> calibrate_fitted_head(FittedHead(fit_head(embeddings, targets, sources), embeddings), data, recipe).clips
    40
    """
    targets, head = data.targets[data.train], fitted.head
    if len(np.unique(head.fold_of)) < 2:
        return Calibration()
    return calibration.calibrate(
        head.held_out,
        targets,
        data.activation,
        familiarity=Familiarity.of(fitted.embeddings, targets),
        raw=held_out_familiarity(fitted.embeddings, targets, data.sources[data.train], seed=recipe.seed),
        kept=recipe.known_quantile,
    )


@torch.no_grad()
def calibrate_network(network: Network, data: TrainingData, recipe: Recipe) -> Calibration:
    """The calibration of a trained network on the validation clips.

    >>> from soundmark.training import networks
    >>> data = TrainingData(
    ...     features=np.zeros((30, 24, 24), np.float32), targets=np.eye(2)[np.arange(30) % 2], train=np.arange(6),
    ...     validation=np.arange(6, 30), sources=np.arange(30).astype(str),
    ... )
    >>> calibrate_network(networks.build("notebook_cnn", shape=(24, 24), n_classes=2), data, recipe).clips
    24
    """
    targets = data.targets[data.validation]
    if not network.has_embedding:
        held_out = np.concatenate(
            [onnx_export.network_logits(network, data.features[part]) for part in _parts(data.validation)]
        )
        return calibration.calibrate(held_out, targets, data.activation)
    known, new = (embed(network, data, part) for part in (data.train, data.validation))
    familiarity = Familiarity.of(known, data.targets[data.train])
    return calibration.calibrate(
        network.head(torch.from_numpy(new)).numpy(),
        targets,
        data.activation,
        familiarity=familiarity,
        raw=familiarity.raw(new),
        kept=recipe.known_quantile,
    )


def transfer_calibration(settled: Calibration, network: Network, data: TrainingData) -> Calibration:
    """A calibration ``settled`` on clips kept back from one network, for ``network``, trained on those as well.

    Familiarity is measured in the embeddings of ``network``; how familiar a new sound of a known class is comes from
    the validation clips.

    >>> from soundmark.training import networks
    >>> transfer_calibration(Calibration(temperature=1.5), networks.network.Network(), None).temperature
    1.5
    """
    if settled.familiarity is None:
        return settled
    own = Familiarity.of(embed(network, data, data.train), data.targets[data.train])
    own = replace(own, middle=settled.familiarity.middle, spread=settled.familiarity.spread)
    return replace(settled, familiarity=own)


def embed(network: Network, data: TrainingData, chosen: np.ndarray, on_batch: OnBatch = _silent) -> np.ndarray:
    """The embeddings of the ``chosen`` clips, float32 ``[n, d]``, as the graph will compute them.

    >>> from soundmark.training import networks
    >>> data = TrainingData(
    ...     features=np.zeros((3, 32, 32), np.float32), targets=np.eye(3), train=np.arange(3), validation=np.arange(0),
    ...     sources=np.arange(3).astype(str),
    ... )
    >>> embed(networks.build("resnet", shape=(32, 32), n_classes=3), data, data.train).shape
    (3, 300)
    """
    return _in_parts(network, network.embed, data, chosen, on_batch)


def embed_views(network: Network, data: TrainingData, chosen: np.ndarray, on_batch: OnBatch = _silent) -> np.ndarray:
    """The embeddings of the ``chosen`` clips in the views that a head is fitted on, float32 ``[views, n, d]``.

    >>> from soundmark.training import networks
    >>> data = TrainingData(
    ...     features=np.zeros((3, 32, 32), np.float32), targets=np.eye(3), train=np.arange(3), validation=np.arange(0),
    ...     sources=np.arange(3).astype(str),
    ... )
    >>> embed_views(networks.build("mn04", shape=(32, 32), n_classes=3), data, data.train).shape
    (4, 3, 384)
    """
    return _in_parts(network, network.embed_views, data, chosen, on_batch)


@torch.no_grad()
def _in_parts(
    network: Network, compute: Callable[[Tensor], Tensor], data: TrainingData, chosen: np.ndarray, on_batch: OnBatch
) -> np.ndarray:
    """``compute`` of the ``chosen`` clips, ``[..., n, d]``, in batches of ``EMBEDDED``."""
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = _parts(chosen)
    found = []
    for number, part in enumerate(parts, 1):
        x = torch.from_numpy(data.features[part])[:, None].contiguous(memory_format=torch.channels_last)
        found.append(compute(x).numpy())
        on_batch(number, len(parts))
    return np.concatenate(found, axis=-2)


def _parts(chosen: np.ndarray) -> list[np.ndarray]:
    return [chosen[start : start + EMBEDDED] for start in range(0, len(chosen), EMBEDDED)]

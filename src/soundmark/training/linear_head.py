"""A linear head on a network's embeddings: linear discriminant analysis with shrinkage.

Cross-validation *inside* the training data, with folds by recording, selects the shrinkage and computes held-out
logits for calibration. So no validation clips are needed, and the head is fitted on all training clips. ``fit_head``
uses NumPy only; the other functions run a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundmark.audio.backgrounds import background
from soundmark.datasets import splits
from soundmark.metrics.task import Task
from soundmark.models.card import ASSUMED_RATE_HZ
from soundmark.training import calibration, onnx_export
from soundmark.training.augmentation import partial_views
from soundmark.training.calibration import Calibration, Familiarity, Presence, held_out_familiarity
from soundmark.training.engine import TrainingData
from soundmark.training.networks.network import Network
from soundmark.training.recipe import Recipe

FOLDS = 5  # of the cross-validation inside the training data


EMBEDDING_BATCH = 32  # spectrograms per batch when a network computes embeddings


SHRINKAGES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """A linear head: logits are ``features @ weights + bias``, and calibrated when divided by ``temperature``."""

    weights: np.ndarray  # float32 [d, classes]
    bias: np.ndarray  # float32 [classes]
    shrinkage: float
    temperature: float
    losses: Mapping[float, float]  # by shrinkage: the calibrated cross entropy on held-out clips, in nats
    fold_of: np.ndarray  # int64 [n], the fold of the cross-validation in which each clip was held out
    held_out: np.ndarray  # float32 [n, classes]: logits of each clip from a head fitted without its recording


def fit_head(
    features: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    *,
    views: np.ndarray | None = None,
    activation: str = "softmax",
    seed: int = 0,
) -> LinearHead:
    """Fit a head on ``features`` ``[n, d]`` and ``targets`` ``[n, classes]`` of clips from the recordings ``sources``.

    ``views`` ``[v, n, d]`` are the same clips in several views. If given, the head is fitted on all views as separate
    examples, so that the covariance includes the variation between views of one sound. The held-out logits are always
    computed from ``features``.

    Each feature is standardised to mean 0 and SD 1. Let m_k be the class means, and C the covariance of the residuals
    after a least-squares fit of the features on the targets. With S = (1 − s)·C + s·tr(C)/d·I, the logit of class k is
    xᵀS⁻¹m_k − ½·m_kᵀS⁻¹m_k. For ``sigmoid``, it is the discriminant between the clips with and without the label. The
    shrinkage s is the one of ``SHRINKAGES`` with the lowest cross entropy on held-out clips, each with its own
    temperature. Strong shrinkage helps because clips of one recording are more alike than recordings are.

    Source: J. Friedman, "Regularized Discriminant Analysis", JASA 84 (1989), equation 18 with λ = 1.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 2
    >>> features = labels[:, None] + rng.normal(0, 0.2, (60, 4))
    >>> head = fit_head(features, np.eye(2)[labels], np.arange(60).astype(str))
    >>> head.held_out.shape, bool((head.held_out.argmax(1) == labels).all()), head.temperature > 0
    ((60, 2), True, True)
    """
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    examples = x[None] if views is None else views
    recordings = len(np.unique(sources))
    fold_of = splits.assign_folds(sources, y, k=min(FOLDS, recordings), seed=seed)
    held_out = np.zeros((len(SHRINKAGES), *y.shape))
    for fold in np.unique(fold_of) if recordings > 1 else ():
        train, test = fold_of != fold, fold_of == fold
        for index, (weights, bias) in enumerate(_discriminants(examples[:, train], y[train], SHRINKAGES, activation)):
            held_out[index, test] = x[test] @ weights + bias
    # With a single recording, nothing was held out: no temperature can be fitted.
    temperatures = [calibration.temperature(logits, y, activation) if recordings > 1 else 1.0 for logits in held_out]
    task = Task.named(activation)
    losses = [task.cross_entropy(logits / t, y) for logits, t in zip(held_out, temperatures, strict=True)]
    best = int(np.argmin(losses))
    ((weights, bias),) = _discriminants(examples, y, SHRINKAGES[best : best + 1], activation)
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
    """Return weights ``[d, classes]`` and bias ``[classes]`` for unstandardised features, for each shrinkage.

    ``views`` are ``[v, n, d]``; the targets ``y`` ``[n, classes]`` are the same for every view. Views are converted to
    double precision one at a time, to save memory.
    """
    mean = views.mean((0, 1), dtype=np.float64)
    spread = np.sqrt(np.mean([np.square(view - mean).mean(0) for view in views], axis=0)) + 1e-6
    mean_view = (views.mean(0, dtype=np.float64) - mean) / spread  # the least-squares fit is the same for all views
    design = np.concatenate([y, np.ones((len(y), 1))], axis=1)
    fitted = design @ np.linalg.lstsq(design, mean_view, rcond=None)[0]
    covariance = np.zeros((len(mean), len(mean)))
    for view in views:
        residuals = (view - mean) / spread - fitted
        covariance += residuals.T @ residuals / (len(views) * len(residuals))
    present = y.T @ mean_view / np.maximum(y.sum(0), 1)[:, None]  # the mean of each class; 0 for a class without clips
    absent = (1 - y).T @ mean_view / np.maximum((1 - y).sum(0), 1)[:, None]
    heads = []
    for shrinkage in shrinkages:
        shrunk = calibration.shrunken(covariance, shrinkage)
        solved = np.linalg.solve(shrunk, (present if activation == "softmax" else present - absent).T)
        midpoint = present if activation == "softmax" else present + absent
        bias = -0.5 * (midpoint * solved.T).sum(1)
        weights = solved / spread[:, None]
        heads.append((weights, bias - mean @ weights))
    return heads


OnBatch = Callable[[int, int], None]


def _no_report(done: int, total: int) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class FittedHead:
    """A fitted linear head, and the embeddings ``[n_train, d]`` of its training clips.

    ``partial`` are those of their partial views, ``[views, n_train, d]``. With ``has_background``, the head has one
    more class, the last one, and the rows of its held-out logits after the first n_train are of backgrounds.
    """

    head: LinearHead
    embeddings: np.ndarray
    partial: np.ndarray | None = None
    has_background: bool = False


def fit_network_head(
    network: Network, data: TrainingData, recipe: Recipe, on_batch: OnBatch = _no_report
) -> FittedHead:
    """Fit a linear head on the embeddings of the training clips by ``network``, and put it into the network.

    If the recipe has backgrounds, they are one more class of the discriminant, which the network's head leaves out.

    >>> from soundmark.training import networks
    >>> from soundmark.training.named_recipes import recipe_named
    >>> data = TrainingData(
    ...     features=np.random.default_rng(0).random((8, 32, 32), np.float32), targets=np.eye(2)[np.arange(8) % 2],
    ...     train=np.arange(8), validation=np.arange(0), sources=np.arange(8).astype(str),
    ... )
    >>> network = networks.build("mn04", shape=(32, 32), n_classes=2)
    >>> fit_network_head(network, data, recipe_named("transfer").with_changes(backgrounds=8)).embeddings.shape
    (8, 384)
    """
    examples = _backgrounds(data, recipe)
    n_batches = len(_batches(data.train)) * (1 + recipe.partial_views * (len(examples) > 0)) + -(
        -len(examples) // EMBEDDING_BATCH
    )
    report = _Steps(on_batch, n_batches)
    views = embed_views(network, data, data.train, report)
    embeddings = (views[0] + views[1]) / 2  # what ``network.embed`` computes
    partial = _embed_partial_views(network, data, examples, recipe, report)
    targets, sources = data.targets[data.train], data.sources[data.train]
    base, all_views = embeddings, [*views, *partial]
    if len(examples):
        negatives = _in_batches(network, network.embed_views, _as_data(examples), np.arange(len(examples)), report)
        base, all_views, targets, sources = with_negatives(base, all_views, targets, sources, negatives)
    features, *view_features = (_head_features(network, each) for each in (base, *all_views))
    head = fit_head(
        features, targets, sources, views=np.stack(view_features), activation=data.activation, seed=recipe.seed
    )
    # If training continues from this head, its logits must be calibrated.
    scale = np.float32(1.0 if recipe.trainable == "head" else 1 / head.temperature)
    n = data.n_classes
    network.set_head(torch.from_numpy(head.weights[:, :n] * scale), torch.from_numpy(head.bias[:n] * scale))
    return FittedHead(head, embeddings, partial if len(partial) else None, has_background=len(examples) > 0)


class _Steps:
    """Report the batches of several passes as one sequence."""

    def __init__(self, on_batch: OnBatch, total: int) -> None:
        self._on_batch, self._total, self._done = on_batch, total, 0

    def __call__(self, done: int, total: int) -> None:
        self._done += 1
        self._on_batch(self._done, self._total)


def _head_features(network: Network, embeddings: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        result: np.ndarray = network.head_features(torch.from_numpy(embeddings)).numpy()
    return result


def _backgrounds(data: TrainingData, recipe: Recipe) -> np.ndarray:
    """Return spectrograms ``[m, freq, time]`` of the recipe's backgrounds; none if they cannot be held out or used."""
    shape = data.features.shape[1:]
    is_used = data.activation == "softmax" and len(np.unique(data.sources[data.train])) > 1
    if not recipe.backgrounds or not is_used:
        return np.zeros((0, *shape), np.float32)
    representation = replace(recipe.representation, size=shape)
    rate_hz = representation.rate_hz or ASSUMED_RATE_HZ
    n_samples = shape[1] * representation.settings()["hop_samples"]
    generator = np.random.default_rng([recipe.seed, 0])
    return np.stack(
        [representation(background(generator, n_samples, rate_hz), rate_hz) for _ in range(recipe.backgrounds)]
    )


def _as_data(features: np.ndarray) -> TrainingData:
    n = len(features)
    return TrainingData(
        features=features,
        targets=np.zeros((n, 1), np.float32),
        train=np.arange(n),
        validation=np.arange(0),
        sources=np.arange(n).astype(str),
    )


def _embed_partial_views(
    network: Network, data: TrainingData, examples: np.ndarray, recipe: Recipe, on_batch: OnBatch
) -> np.ndarray:
    """Compute the embeddings of partial views of the training clips over the background ``examples``, [views, n, d]."""
    generator = np.random.default_rng([recipe.seed, 1])
    views = []
    for _ in range(recipe.partial_views if len(examples) else 0):
        embedded = []
        for batch in _batches(data.train):
            view = partial_views(np.asarray(data.features[batch]), examples, generator)
            embedded.append(_in_batches(network, network.embed, _as_data(view), np.arange(len(view)), on_batch))
        views.append(np.concatenate(embedded))
    return np.stack(views) if views else np.zeros((0, len(data.train), 0), np.float32)


def with_negatives(
    base: np.ndarray, views: list[np.ndarray], targets: np.ndarray, sources: np.ndarray, negatives: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray, np.ndarray]:
    """Append backgrounds, ``negatives`` ``[4, m, d]``, each a separate recording, as examples of one more class.

    ``base`` is ``[n, d]``; the first four of ``views`` are those of ``negatives``. Returns base, views, targets and
    sources of all n + m examples.

    >>> base, clips = np.zeros((2, 3)), [np.zeros((2, 3))] * 5
    >>> found = with_negatives(base, clips, np.eye(2), np.array(["a", "b"]), np.ones((4, 6, 3)))
    >>> found[0].shape, len(found[1]), found[2][-1].tolist(), str(found[3][-1])
    ((8, 3), 5, [0.0, 0.0, 1.0], 'background 5')
    """
    m, whole = negatives.shape[1], (negatives[0] + negatives[1]) / 2
    own_view = [*negatives, *[whole] * (len(views) - len(negatives))]
    views = [np.concatenate([view, negative]) for view, negative in zip(views, own_view, strict=True)]
    targets = np.concatenate([np.pad(targets, ((0, 0), (0, 1))), np.zeros((m, targets.shape[1] + 1), targets.dtype)])
    targets[-m:, -1] = 1
    names = np.array([f"background {number}" for number in range(m)])
    return np.concatenate([base, whole]), views, targets, np.concatenate([sources.astype(str), names])


def calibrate_fitted_head(fitted: FittedHead, data: TrainingData, recipe: Recipe) -> Calibration:
    """Calibrate a fitted head on its held-out logits; with a single recording, calibrate nothing.

    Familiarity is fitted on the clips and their partial views, so that the windows of a long recording, which contain
    parts of sounds, are not unknown; its scale and threshold are those of held-out clips.

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
    targets, sources, head = data.targets[data.train], data.sources[data.train], fitted.head
    if len(np.unique(head.fold_of)) < 2:
        return Calibration()
    n, classes = targets.shape
    partial = [] if fitted.partial is None else list(fitted.partial)
    embeddings = np.concatenate([fitted.embeddings, *partial])
    repeated, all_sources = np.concatenate([targets] * (1 + len(partial))), np.tile(sources, 1 + len(partial))
    raw = held_out_familiarity(embeddings, repeated, all_sources, seed=recipe.seed)[:n]
    found = calibration.calibrate(
        head.held_out[:n, :classes],
        targets,
        data.activation,
        familiarity=Familiarity.of(embeddings, repeated),
        raw=raw,
        kept=recipe.known_quantile,
    )
    if not fitted.has_background or found.familiarity is None:
        return found
    presence = Presence.of(head.held_out[:n], raw, head.weights[:, -1], float(head.bias[-1]), found.temperature)
    return replace(found, presence=presence, event_thresholds=(calibration.EVENT_THRESHOLD,) * classes)


@torch.no_grad()
def calibrate_network(network: Network, data: TrainingData, recipe: Recipe) -> Calibration:
    """Calibrate a trained network on the validation clips.

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
            [onnx_export.network_logits(network, data.features[batch]) for batch in _batches(data.validation)]
        )
        return calibration.calibrate(held_out, targets, data.activation)
    train, validation = (embed(network, data, clips) for clips in (data.train, data.validation))
    familiarity = Familiarity.of(train, data.targets[data.train])
    return calibration.calibrate(
        network.head(torch.from_numpy(validation)).numpy(),
        targets,
        data.activation,
        familiarity=familiarity,
        raw=familiarity.raw(validation),
        kept=recipe.known_quantile,
    )


def transfer_calibration(first: Calibration, network: Network, data: TrainingData) -> Calibration:
    """Apply the calibration of a ``first`` network to the refit ``network``, which was trained on all clips.

    ``Familiarity`` is fitted on the embeddings of ``network``; only its scale is taken from the validation clips of the
    first network.

    >>> from soundmark.training import networks
    >>> transfer_calibration(Calibration(temperature=1.5), networks.network.Network(), None).temperature
    1.5
    """
    if first.familiarity is None:
        return first
    refit = Familiarity.of(embed(network, data, data.train), data.targets[data.train])
    refit = replace(refit, middle=first.familiarity.middle, spread=first.familiarity.spread)
    return replace(first, familiarity=refit)


def embed(network: Network, data: TrainingData, chosen: np.ndarray, on_batch: OnBatch = _no_report) -> np.ndarray:
    """Compute the embeddings of the ``chosen`` clips, float32 ``[n, d]``, as the exported graph does.

    >>> from soundmark.training import networks
    >>> data = TrainingData(
    ...     features=np.zeros((3, 32, 32), np.float32), targets=np.eye(3), train=np.arange(3), validation=np.arange(0),
    ...     sources=np.arange(3).astype(str),
    ... )
    >>> embed(networks.build("resnet", shape=(32, 32), n_classes=3), data, data.train).shape
    (3, 300)
    """
    return _in_batches(network, network.embed, data, chosen, on_batch)


def embed_views(network: Network, data: TrainingData, chosen: np.ndarray, on_batch: OnBatch = _no_report) -> np.ndarray:
    """Compute the embeddings of the ``chosen`` clips in the views for a linear head, float32 ``[views, n, d]``.

    >>> from soundmark.training import networks
    >>> data = TrainingData(
    ...     features=np.zeros((3, 32, 32), np.float32), targets=np.eye(3), train=np.arange(3), validation=np.arange(0),
    ...     sources=np.arange(3).astype(str),
    ... )
    >>> embed_views(networks.build("mn04", shape=(32, 32), n_classes=3), data, data.train).shape
    (4, 3, 384)
    """
    return _in_batches(network, network.embed_views, data, chosen, on_batch)


@torch.no_grad()
def _in_batches(
    network: Network, compute: Callable[[Tensor], Tensor], data: TrainingData, chosen: np.ndarray, on_batch: OnBatch
) -> np.ndarray:
    """Call ``compute`` on the ``chosen`` clips in batches of ``EMBEDDING_BATCH``; return ``[..., n, d]``."""
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = _batches(chosen)
    outputs = []
    for number, batch in enumerate(batches, 1):
        x = torch.from_numpy(data.features[batch])[:, None].contiguous(memory_format=torch.channels_last)
        outputs.append(compute(x).numpy())
        on_batch(number, len(batches))
    return np.concatenate(outputs, axis=-2)


def _batches(chosen: np.ndarray) -> list[np.ndarray]:
    return [chosen[start : start + EMBEDDING_BATCH] for start in range(0, len(chosen), EMBEDDING_BATCH)]

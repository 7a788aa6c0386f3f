"""Train a linear head on the stored features of a frozen backbone, and calibrate it; without torch.

    features of clips and backgrounds ─ linear_head ─▶ head ─ calibration ─▶ TransferModel ─ head_graph ─▶ graph

The backgrounds are one more class of the discriminant, which the model leaves out: they make its events reliable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soundmark.models.pretrained.backbone import Backbone
from soundmark.training import calibration
from soundmark.training.calibration import (
    Calibration,
    Novelty,
    Presence,
    fit_familiarity,
    held_out_novelty,
)
from soundmark.training.recipe import Recipe
from soundmark.training.transfer import head_graph, linear_head
from soundmark.training.transfer.linear_head import LinearHead


@dataclass(frozen=True, kw_only=True)
class TransferModel:
    """A fitted head for ``n_classes``, its backbone and its calibration."""

    backbone: Backbone
    head: LinearHead
    n_classes: int
    calibration: Calibration

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Compute logits float32 ``[n, n_classes]`` of ``features`` ``[n, f]``."""
        weights, bias = self.head.weights[:, : self.n_classes], self.head.bias[: self.n_classes]
        logits: np.ndarray = features @ weights + bias
        return logits

    def graph(self) -> bytes:
        """Return the ONNX graph from spectrograms to logits, embedding, familiarity and presence."""
        found = self.calibration
        return head_graph.model_graph(self.backbone, self.head, self.n_classes, found.familiarity, found.presence)


def train_head(
    views: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    backbone: Backbone,
    recipe: Recipe,
    *,
    backgrounds: np.ndarray | None = None,
    background_rows: Sequence[int] = (),
    activation: str = "softmax",
) -> TransferModel:
    """Fit and calibrate a head.

    ``views`` ``[v, n, f]`` are the features of n clips, whose first view is the complete clip, with ``targets`` ``[n,
    classes]`` from the recordings ``sources``. ``backgrounds`` ``[m, f]`` are synthetic, and used with softmax only;
    ``background_rows`` are the classes of the data set that are background.

    >>> rng = np.random.default_rng(0)
    >>> targets, sources = np.eye(2)[np.arange(40) % 2], np.arange(40).astype(str)
    >>> views = rng.normal(size=(1, 40, 3)) + targets[:, :1]
    >>> backbone = Backbone(name="test", graph=b"", n_features=3, embedding_size=3)
    >>> train_head(views, targets, sources, backbone, recipe).calibration.clips
    40
    """
    n_classes = targets.shape[1]
    head = _fit(*_examples(views, targets, sources, backgrounds, activation), activation, recipe.seed)
    has_background = head.weights.shape[1] > n_classes
    rows = tuple(row for row in background_rows if targets[:, row].any()) if has_background else None
    found = _calibrate(head, views, targets, sources, activation, recipe, backbone, rows)
    return TransferModel(backbone=backbone, head=head, n_classes=n_classes, calibration=found)


@dataclass(frozen=True, kw_only=True)
class UncalibratedHead:
    """A head without calibration: it ranks the classes, but has no probabilities that can be trusted."""

    weights: np.ndarray  # float32 [f, classes]
    bias: np.ndarray  # float32 [classes]
    shrinkage: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Compute logits float32 ``[n, classes]`` of ``features`` ``[n, f]``."""
        logits: np.ndarray = features @ self.weights + self.bias
        return logits


def train_uncalibrated(
    views: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    *,
    backgrounds: np.ndarray | None = None,
    activation: str = "softmax",
    seed: int = 0,
    shrinkage: float | None = None,
) -> UncalibratedHead:
    """Fit only the head that ``train_head`` fits; a given ``shrinkage`` saves the cross-validation that selects it.

    >>> targets, sources = np.eye(2)[np.arange(40) % 2], np.arange(40).astype(str)
    >>> views = np.random.default_rng(0).normal(0, 0.1, (1, 40, 3)) + targets[:, :1]
    >>> train_uncalibrated(views, targets, sources).logits(views[0]).argmax(1)[:4].tolist()
    [0, 1, 0, 1]
    """
    n_classes = targets.shape[1]
    examples, y, names = _examples(views, targets, sources, backgrounds, activation)
    if shrinkage is None:
        head = _fit(examples, y, names, activation, seed)
        weights, bias, shrinkage = head.weights, head.bias, head.shrinkage
    else:
        weights, bias = linear_head.fit_weights(examples, y, shrinkage, activation=activation)
    return UncalibratedHead(weights=weights[:, :n_classes], bias=bias[:n_classes], shrinkage=shrinkage)


def held_out_logits(
    views: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    *,
    backgrounds: np.ndarray | None = None,
    activation: str = "softmax",
    seed: int = 0,
) -> np.ndarray:
    """Return the logits float32 ``[n, classes]`` of each clip by a head fitted without its recording, calibrated.

    Arguments as in ``train_head``; they need at least two recordings.

    >>> targets, sources = np.eye(2)[np.arange(40) % 2], np.arange(40).astype(str)
    >>> views = np.random.default_rng(0).normal(0, 0.1, (1, 40, 3)) + targets[:, :1]
    >>> held_out_logits(views, targets, sources).argmax(1)[:4].tolist()
    [0, 1, 0, 1]
    """
    n, n_classes = targets.shape
    head = _fit(*_examples(views, targets, sources, backgrounds, activation), activation, seed)
    logits: np.ndarray = head.held_out[:n, :n_classes] / np.float32(head.temperature)
    return logits


def _examples(
    views: np.ndarray, targets: np.ndarray, sources: np.ndarray, backgrounds: np.ndarray | None, activation: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return views, targets and sources of all examples: with softmax and several recordings, with backgrounds too."""
    if backgrounds is None or activation != "softmax" or len(np.unique(sources)) < 2:
        return views, targets, sources.astype(str)
    return linear_head.with_backgrounds(views, targets, sources, backgrounds)


def _fit(examples: np.ndarray, targets: np.ndarray, sources: np.ndarray, activation: str, seed: int) -> LinearHead:
    """Fit a head on all views; the complete clip, the first view, is held out."""
    return linear_head.fit_head(examples[0], targets, sources, views=examples, activation=activation, seed=seed)


def _calibrate(
    head: LinearHead,
    views: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    activation: str,
    recipe: Recipe,
    backbone: Backbone,
    background_rows: tuple[int, ...] | None,
) -> Calibration:
    """Calibrate a head on its held-out logits; with a single recording, calibrate nothing.

    ``background_rows`` are the background classes of the data set; None if the head has no synthetic backgrounds.

    Familiarity is fitted on all views, so that the windows of a long recording, which contain parts of sounds, are not
    unknown; its scale and threshold are those of complete held-out clips.
    """
    if len(np.unique(head.fold_of)) < 2:
        return Calibration()
    n, n_classes = targets.shape
    embeddings = views[:, :, : backbone.embedding_size]
    familiarity, raw = fit_familiarity(embeddings, targets, sources, seed=recipe.seed)
    found = calibration.calibrate(
        head.held_out[:n, :n_classes],
        targets,
        activation,
        familiarity=familiarity,
        raw=raw,
        kept=recipe.known_quantile,
    )
    if background_rows is None or found.familiarity is None or len(background_rows) == n_classes:
        return found
    sounds = _comparable_sounds(targets, sources, background_rows)
    novelty, novelties = None, None
    if backbone.n_features > backbone.embedding_size:
        novelty = Novelty.of(views, backbone.embedding_size)
        novelties = held_out_novelty(views, backbone.embedding_size, head.fold_of[:n])[sounds]
    presence = Presence.of(
        head.held_out[sounds],
        raw[sounds],
        head.weights[:, -1],
        float(head.bias[-1]),
        found.temperature,
        novelty=novelty,
        novelties=novelties,
        background_rows=background_rows,
    )
    threshold = calibration.EVENT_THRESHOLD_BESIDE_BACKGROUND if background_rows else calibration.EVENT_THRESHOLD
    return replace(found, presence=presence, event_thresholds=(threshold,) * n_classes)


def _comparable_sounds(targets: np.ndarray, sources: np.ndarray, background_rows: tuple[int, ...]) -> np.ndarray:
    """Return the clips that presence is standardised over: of the classes that are no background.

    Held out, a clip of a class with a single recording is compared with a training set without the class: its
    familiarity says nothing. If fewer than ``MIN_CLIPS`` are left, all clips are used.
    """
    several = [len(np.unique(sources[column > 0])) > 1 for column in targets.T]
    usable = [row for row, more in enumerate(several) if more and row not in background_rows]
    sounds = np.flatnonzero(targets[:, usable].any(axis=1))
    return sounds if len(sounds) >= calibration.MIN_CLIPS else np.arange(len(targets))

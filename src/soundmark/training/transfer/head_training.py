"""Train a linear head on the stored features of a frozen backbone, and calibrate it; without torch.

    features of clips and backgrounds ─ linear_head ─▶ head ─ calibration ─▶ TransferModel ─ head_graph ─▶ graph

The backgrounds are further classes of the discriminant, which the model leaves out: they make its events reliable.
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
from soundmark.training.moments import Moments
from soundmark.training.recipe import Recipe
from soundmark.training.transfer import head_graph, linear_head
from soundmark.training.transfer.backgrounds import Backgrounds
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
    backgrounds: Backgrounds | None = None,
    background_rows: Sequence[int] = (),
    activation: str = "softmax",
) -> TransferModel:
    """Fit and calibrate a head.

    ``views`` ``[v, n, f]`` are the features of n clips, whose first view is the complete clip, with ``targets`` ``[n,
    classes]`` from the recordings ``sources``. ``backgrounds`` are used with softmax only; ``background_rows`` are the
    classes of the data set that are background.

    >>> rng = np.random.default_rng(0)
    >>> targets, sources = np.eye(2)[np.arange(40) % 2], np.arange(40).astype(str)
    >>> views = rng.normal(size=(1, 40, 3)) + targets[:, :1]
    >>> backbone = Backbone(name="test", graph=b"", n_features=3, embedding_size=3)
    >>> train_head(views, targets, sources, backbone, recipe).calibration.clips
    40
    """
    n_classes = targets.shape[1]
    head = _fit(views, targets, sources, backgrounds, activation, recipe.seed)
    has_background = head.weights.shape[1] > n_classes
    rows = tuple(row for row in background_rows if targets[:, row].any()) if has_background else None
    nature = backgrounds.families if backgrounds and has_background else ()
    found = _calibrate(head, views, targets, sources, activation, recipe, backbone, rows, nature)
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
    backgrounds: Backgrounds | None = None,
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
    if shrinkage is None:
        head = _fit(views, targets, sources, backgrounds, activation, seed)
        weights, bias, shrinkage = head.weights, head.bias, head.shrinkage
    else:
        others = _moments(backgrounds, views, targets, sources, activation)
        weights, bias = linear_head.fit_weights(views, targets, shrinkage, others=others, activation=activation)
    return UncalibratedHead(weights=weights[:, :n_classes], bias=bias[:n_classes], shrinkage=shrinkage)


def held_out_logits(
    views: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    *,
    backgrounds: Backgrounds | None = None,
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
    head = _fit(views, targets, sources, backgrounds, activation, seed)
    logits: np.ndarray = head.held_out[:, : targets.shape[1]] / np.float32(head.temperature)
    return logits


def _fit(
    views: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    backgrounds: Backgrounds | None,
    activation: str,
    seed: int,
) -> LinearHead:
    """Fit a head on all views and the backgrounds; the complete clip, the first view, is held out."""
    others = _moments(backgrounds, views, targets, sources, activation)
    return linear_head.fit_head(
        views[0], targets, sources, views=views, others=others, activation=activation, seed=seed
    )


def _moments(
    backgrounds: Backgrounds | None, views: np.ndarray, targets: np.ndarray, sources: np.ndarray, activation: str
) -> Moments | None:
    """Return the moments of the backgrounds; None if they are not used: with sigmoid, or a single recording."""
    if backgrounds is None or activation != "softmax" or len(np.unique(sources)) < 2:
        return None
    return backgrounds.moments(targets.shape[1], len(views))


def _calibrate(
    head: LinearHead,
    views: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    activation: str,
    recipe: Recipe,
    backbone: Backbone,
    background_rows: tuple[int, ...] | None,
    nature: tuple[str, ...],
) -> Calibration:
    """Calibrate a head on its held-out logits; with a single recording, calibrate nothing.

    ``background_rows`` are the background classes of the data set; None if the head was fitted without backgrounds.
    ``nature`` are the families of recordings among the backgrounds.

    Familiarity is fitted on all views, so that the windows of a long recording, which contain parts of sounds, are not
    unknown; its scale and threshold are those of complete held-out clips.
    """
    if len(np.unique(head.fold_of)) < 2:
        return Calibration()
    n_classes = targets.shape[1]
    embeddings = views[:, :, : backbone.embedding_size]
    familiarity, raw = fit_familiarity(embeddings, targets, sources, seed=recipe.seed)
    found = calibration.calibrate(
        head.held_out[:, :n_classes],
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
        novelties = held_out_novelty(views, backbone.embedding_size, head.fold_of)[sounds]
    presence = Presence.of(
        head.held_out[sounds],
        raw[sounds],
        head.weights[:, n_classes:],
        head.bias[n_classes:],
        found.temperature,
        novelty=novelty,
        novelties=novelties,
        background_rows=background_rows,
    )
    threshold = calibration.EVENT_THRESHOLD if nature else calibration.EVENT_THRESHOLD_OF_NOISE
    return replace(found, presence=presence, event_thresholds=(threshold,) * n_classes, nature=nature)


def _comparable_sounds(targets: np.ndarray, sources: np.ndarray, background_rows: tuple[int, ...]) -> np.ndarray:
    """Return the clips that presence is standardised over: of the classes that are no background.

    Held out, a clip of a class with a single recording is compared with a training set without the class: its
    familiarity says nothing. If fewer than ``MIN_CLIPS`` are left, all clips are used.
    """
    several = [len(np.unique(sources[column > 0])) > 1 for column in targets.T]
    usable = [row for row, more in enumerate(several) if more and row not in background_rows]
    sounds = np.flatnonzero(targets[:, usable].any(axis=1))
    return sounds if len(sounds) >= calibration.MIN_CLIPS else np.arange(len(targets))

"""Compare heads that were fitted on different sets of clips, such as before and after corrections, on held-out clips.

All clips are divided into folds by recording. Each head scores the clips of a fold after it was fitted on its own clips
without the recordings of the fold. So no head is scored on a recording that it was fitted on, and all are scored on the
same clips. A head that no clip of a class is left for cannot recognise the class, and is wrong about its clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from soundmark.datasets import splits
from soundmark.training.moments import Moments
from soundmark.training.transfer import linear_head
from soundmark.training.transfer.backgrounds import Backgrounds

FOLDS = 5


ABSENT = -1e9  # the logit of a class that a head was not fitted on


def held_out_logits(
    views: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    stages: Sequence[np.ndarray],
    *,
    shrinkage: float,
    backgrounds: Backgrounds | None = None,
    activation: str = "softmax",
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Iterator[np.ndarray]:
    """Yield the logits float32 ``[n, classes]`` of all clips, by heads that were fitted on the clips of each stage.

    Args:
        views: the features of n clips, ``[v, n, f]``; the first view is the complete clip.
        targets: their classes, ``[n, classes]``.
        sources: their recordings, ``[n]``.
        stages: for each head, whether it is fitted on a clip, bool ``[n]``; each stage contains the first one.
        shrinkage: of all heads.
        backgrounds: examples of further classes, which the result leaves out; with softmax only.
        activation: "softmax" or "sigmoid".
        seed: of the division into folds.
        check: called before each head is fitted; may raise an error to end the work.

    >>> targets, sources = np.eye(2)[np.arange(40) % 2], np.arange(40).astype(str)
    >>> views = np.random.default_rng(0).normal(0, 0.1, (1, 40, 3)) + targets[:, :1]
    >>> few, all_clips = np.arange(40) < 20, np.ones(40, bool)
    >>> found = list(held_out_logits(views, targets, sources, [few, all_clips], shrinkage=0.9))
    >>> [logits.argmax(1)[:4].tolist() for logits in found]
    [[0, 1, 0, 1], [0, 1, 0, 1]]
    """
    n, n_classes = targets.shape
    fold_of = splits.assign_folds(sources, targets, k=min(FOLDS, len(np.unique(sources))), seed=seed)
    constant = None  # the moments of the backgrounds, in every training set
    if backgrounds is not None and activation == "softmax":
        constant = backgrounds.moments(n_classes, len(views))
    y = np.pad(targets.astype(np.float64), ((0, 0), (0, 0 if constant is None else constant.n_classes - n_classes)))
    shared = stages[0]
    first = {fold: Moments.of(views[:, shared & (fold_of == fold)], y[shared & (fold_of == fold)])
             for fold in np.unique(fold_of).tolist()}  # fmt: skip
    for stage in stages:
        added = stage & ~shared
        found = np.full((n, n_classes), ABSENT, np.float32)
        for fold in first:
            check()
            train = added & (fold_of != fold)
            moments = Moments.of(views[:, train], y[train])
            for other in (moments_of for number, moments_of in first.items() if number != fold):
                moments += other
            moments = moments if constant is None else moments + constant
            if moments.n > 0:
                weights, bias = linear_head.fit_moments(moments, shrinkage, activation=activation)
                test = fold_of == fold
                logits = views[0][test] @ weights[:, :n_classes] + bias[:n_classes]
                logits[:, moments.class_sizes[:n_classes] == 0] = ABSENT
                found[test] = logits
        yield found

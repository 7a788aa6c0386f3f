"""Second moments of features and targets: what discriminants and covariances are computed from, and additive.

The moments of the training clips without a fold are those of all clips minus those of the fold. So a cross-validation
reads the features once.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from soundmark.runtime import parallel

Floats = NDArray[np.float64]


ROWS = 2048  # examples that are converted to double precision at a time


MIN_SPREAD = 1e-6  # added to each SD


CONSTANT = 1e-12  # a variance below this fraction of the mean square is a rounding error


@dataclass(frozen=True)
class Moments:
    """The sum of q·qᵀ over examples, where q is the targets, 1, and the features of an example.

    ``products`` is ``[k + 1 + d, k + 1 + d]`` for k classes and d features.
    """

    products: Floats
    n_classes: int

    @classmethod
    def of(cls, views: np.ndarray, targets: np.ndarray) -> Moments:
        """Sum over ``views`` ``[v, n, d]`` of n examples, which have the same ``targets`` ``[n, k]`` in every view.

        >>> found = Moments.of(np.array([[[1.0], [3.0]]]), np.eye(2))
        >>> found.n, found.mean.tolist(), found.class_means.tolist()
        (2.0, [2.0], [[1.0], [3.0]])
        """
        design = np.concatenate([targets, np.ones((len(targets), 1))], axis=1).astype(np.float64)
        size = design.shape[1] + views.shape[2]
        products = np.zeros((size, size))
        for view in views:
            for start in range(0, len(view), ROWS):
                rows = slice(start, start + ROWS)
                q = np.concatenate([design[rows], view[rows]], axis=1)
                products += q.T @ q
        return cls(products, targets.shape[1])

    @classmethod
    def by_fold(cls, views: np.ndarray, targets: np.ndarray, fold_of: np.ndarray) -> dict[int, Moments]:
        """Return the moments of the examples of each fold, arguments as in ``of`` and ``fold_of`` ``[n]``.

        >>> folds = Moments.by_fold(np.array([[[1.0], [3.0]]]), np.eye(2), np.array([0, 1]))
        >>> folds[1].mean.tolist(), Moments.sum(folds.values()).mean.tolist()
        ([3.0], [2.0])
        """
        folds = np.unique(fold_of).tolist()
        found = parallel.map_in_threads(lambda fold: cls.of(views[:, fold_of == fold], targets[fold_of == fold]), folds)
        return dict(zip(folds, found, strict=True))

    @classmethod
    def sum(cls, parts: Iterable[Moments]) -> Moments:
        """Return the moments of the examples of all ``parts``.

        >>> one = Moments.of(np.array([[[1.0], [3.0]]]), np.eye(2))
        >>> Moments.sum([one, one]).n
        4.0
        """
        return reduce(operator.add, parts)

    def scaled(self, factor: float) -> Moments:
        """Return the moments of examples that each count ``factor`` times.

        >>> Moments.of(np.array([[[1.0], [3.0]]]), np.eye(2)).scaled(3).n
        6.0
        """
        return Moments(self.products * factor, self.n_classes)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.products + other.products, self.n_classes)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.products - other.products, self.n_classes)

    @property
    def n(self) -> float:
        """The number of examples, counted in every view."""
        return float(self.products[self.n_classes, self.n_classes])

    @property
    def mean(self) -> Floats:
        """The mean of each feature, ``[d]``."""
        mean: Floats = self.products[self.n_classes, self.n_classes + 1 :] / self.n
        return mean

    @property
    def spread(self) -> Floats:
        """The SD of each feature, ``[d]``; infinite for a constant feature, whose weight is then 0."""
        squares = np.diag(self.products)[self.n_classes + 1 :] / self.n
        variance = squares - self.mean**2
        spread: Floats = np.where(variance <= CONSTANT * squares, np.inf, np.sqrt(np.maximum(variance, 0)) + MIN_SPREAD)
        return spread

    @property
    def class_sizes(self) -> Floats:
        """The number of examples of each class, ``[k]``."""
        return self.products[self.n_classes, : self.n_classes]

    @property
    def class_means(self) -> Floats:
        """The mean of each class, ``[k, d]``; 0 for a class without examples."""
        means: Floats = self._sums / np.maximum(self.class_sizes, 1)[:, None]
        return means

    @property
    def other_means(self) -> Floats:
        """The mean of the examples that are not of a class, for each class, ``[k, d]``."""
        rest = self.n - self.class_sizes
        means: Floats = (self.n * self.mean - self._sums) / np.maximum(rest, 1)[:, None]
        return means

    @property
    def _sums(self) -> Floats:
        return self.products[: self.n_classes, self.n_classes + 1 :]

    def covariance(self) -> Floats:
        """Return the covariance of the features, ``[d, d]``.

        >>> Moments.of(np.array([[[1.0], [3.0]]]), np.ones((2, 1))).covariance().tolist()
        [[1.0]]
        """
        k = self.n_classes
        covariance: Floats = self.products[k + 1 :, k + 1 :] / self.n - np.outer(self.mean, self.mean)
        return covariance

    def residual_covariance(self) -> Floats:
        """Return the covariance of what a least-squares fit of the features on the targets leaves, ``[d, d]``.

        If every example has one class, it is the covariance within the classes.

        >>> Moments.of(np.array([[[1.0], [3.0], [8.0]]]), np.eye(2)[[0, 0, 1]]).residual_covariance().round(9).tolist()
        [[0.666666667]]
        """
        k = self.n_classes
        design, cross = self.products[: k + 1, : k + 1], self.products[: k + 1, k + 1 :]
        fitted = cross.T @ np.linalg.pinv(design, hermitian=True) @ cross
        covariance: Floats = (self.products[k + 1 :, k + 1 :] - fitted) / self.n
        return covariance

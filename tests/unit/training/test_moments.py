"""Moments, compared with direct computation on the examples."""

import numpy as np
import pytest

from soundmark.training.moments import Moments

RNG = np.random.default_rng(0)
VIEWS = RNG.normal(3, 2, (2, 5000, 6)).astype(np.float32)  # more rows than are converted at a time
LABELS = RNG.integers(0, 3, 5000)
ONE_HOT = np.eye(4)[LABELS]  # the fourth class has no examples
SEVERAL = (RNG.random((5000, 3)) < [0.5, 0.3, 0.1]).astype(np.float64)


def test_means_and_spreads_are_those_of_all_views():
    found, examples = Moments.of(VIEWS, ONE_HOT), np.concatenate(VIEWS.astype(np.float64))
    assert found.n == 10_000
    np.testing.assert_allclose(found.mean, examples.mean(0), rtol=1e-9)
    np.testing.assert_allclose(found.spread, examples.std(0), rtol=1e-5)
    np.testing.assert_allclose(found.covariance(), np.cov(examples.T, bias=True), atol=1e-9)
    labels = np.tile(LABELS, 2)
    for k in range(3):
        np.testing.assert_allclose(found.class_means[k], examples[labels == k].mean(0), rtol=1e-9)
        np.testing.assert_allclose(found.other_means[k], examples[labels != k].mean(0), rtol=1e-9)
    assert not found.class_means[3].any()


@pytest.mark.parametrize("targets", [ONE_HOT, SEVERAL])
def test_the_residuals_are_those_of_a_least_squares_fit(targets):
    examples, design = (
        np.concatenate(VIEWS.astype(np.float64)),
        np.tile(np.column_stack([targets, np.ones(5000)]), (2, 1)),
    )
    residuals = examples - design @ np.linalg.lstsq(design, examples, rcond=None)[0]
    np.testing.assert_allclose(
        Moments.of(VIEWS, targets).residual_covariance(), residuals.T @ residuals / 10_000, atol=1e-9
    )


def test_the_moments_without_a_fold_are_a_difference():
    fold = RNG.random(5000) < 0.2
    found = Moments.of(VIEWS, ONE_HOT) - Moments.of(VIEWS[:, fold], ONE_HOT[fold])
    expected = Moments.of(VIEWS[:, ~fold], ONE_HOT[~fold])
    np.testing.assert_allclose(found.products, expected.products, atol=1e-6)


def test_a_large_offset_does_not_spoil_the_covariance():
    far = VIEWS.astype(np.float64) + 1000
    np.testing.assert_allclose(
        Moments.of(far, ONE_HOT).covariance(), Moments.of(VIEWS, ONE_HOT).covariance(), rtol=1e-6, atol=1e-6
    )

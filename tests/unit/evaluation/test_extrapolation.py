"""The power law against a search over its objective; intervals against simulated measurements."""

import numpy as np
import pytest

from soundmark.evaluation import extrapolation
from soundmark.evaluation.extrapolation import LEVEL, TYPICAL_EXPONENT, TYPICAL_WEIGHT, extrapolate, fit_power_law

SIZES = np.array([1.0, 2.0, 4.0, 8.0, 16.0])


def test_the_fit_minimises_its_objective():
    scores = np.array([0.5, 0.62, 0.66, 0.75, 0.77])
    found = fit_power_law(SIZES, scores[None])
    x, e, weights = np.log(SIZES), np.log(1 - scores), (1 - scores) ** 2 / ((1 - scores) ** 2).mean()
    exponents, levels = np.meshgrid(np.linspace(0, 1, 501), np.linspace(-2, 0, 1001), indexing="ij")
    misfit = (weights * (e - levels[..., None] + exponents[..., None] * x) ** 2).sum(-1)
    objective = misfit + TYPICAL_WEIGHT * (exponents - TYPICAL_EXPONENT) ** 2
    best = np.unravel_index(objective.argmin(), objective.shape)
    assert found.exponent[0] == pytest.approx(exponents[best], abs=0.002)
    assert np.log(found.scale[0]) == pytest.approx(levels[best], abs=0.002)


def test_a_curve_never_falls_whatever_was_measured():
    rng = np.random.default_rng(0)
    found = fit_power_law(SIZES, rng.uniform(0, 1, (100, 5)))
    assert (found.at(32.0) >= found.at(16.0)).all()
    assert (found.at(32.0) <= 1).all()


def test_perfect_scores_are_expected_to_stay_almost_perfect():
    found = fit_power_law(SIZES, np.array([[0.9, 0.97, 1.0, 1.0, 1.0], [1.0] * 5]))
    assert (found.at(32.0) > 0.97).all()


def test_a_prediction_interval_contains_a_new_measurement_as_often_as_it_says():
    """400 simulated curves; a new measurement has twice the test and training recordings, half of them the same.

    The exponents of curves differ: their standard deviation is 0.05.
    """
    rng = np.random.default_rng(1)
    test_sd, spread, draws = 0.03, 0.06, 10
    hits = []
    for seed in range(400):
        truth = 1 - 0.45 * np.append(SIZES, 32) ** -rng.normal(TYPICAL_EXPONENT, 0.05)
        ours, others = rng.normal(0, test_sd, 2)
        pool, new_pool = rng.normal(0, spread / 4, 2)  # of 16 recordings
        n = SIZES[:-1]
        noise = rng.normal(0, 1, (draws, 4)) * spread * np.sqrt(1 / n - 1 / 16)
        scores = np.append((truth[:4] + noise).mean(0), truth[4]) + ours + pool
        measured = truth[5] + (ours + others) / 2 + (pool + new_pool) / 2
        covariance = np.full((5, 5), test_sd**2)
        found = extrapolate(SIZES, scores, covariance, noise.var(0, ddof=1), draws=draws, seed=seed)
        hits.append(found.interval.low <= measured <= found.interval.high)
    assert LEVEL - 0.06 < np.mean(hits) < LEVEL + 0.08


def test_the_variance_between_training_sets_follows_from_draws_that_share_recordings():
    spread = 0.06
    variances = spread**2 * (1 / SIZES[:-1] - 1 / 16)
    assert extrapolation._training_variance(SIZES, variances) == pytest.approx(spread**2 / 16)


def test_without_noise_only_the_typical_exponent_is_uncertain_and_the_same_seed_gives_the_same_result():
    scores = 1 - 0.4 * SIZES**-TYPICAL_EXPONENT
    exact = extrapolate(SIZES, scores, np.zeros((5, 5)), np.zeros(4), draws=5)
    assert exact.score == pytest.approx(1 - 0.4 * 32**-TYPICAL_EXPONENT)
    assert 0.01 < exact.score - exact.interval.low < 0.05
    assert 0.01 < exact.interval.high - exact.score < 0.05
    assert exact.gain == pytest.approx(exact.curve_gain)
    noisy = [extrapolate(SIZES, scores, np.eye(5) * 1e-4, np.full(4, 1e-4), draws=5, seed=3) for _ in range(2)]
    assert noisy[0] == noisy[1]
    assert noisy[0].gain_interval.high - noisy[0].gain_interval.low == pytest.approx(
        noisy[0].interval.high - noisy[0].interval.low
    )

"""Confidence intervals over recordings: exact cases, an independent implementation, and simulated coverage."""

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from soundmark.metrics import intervals
from soundmark.metrics.intervals import Spread
from soundmark.metrics.jackknife import Jackknife
from soundmark.metrics.student_t import two_sided_quantile

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("freedom", [3, 4.5, 5, 7.3, 20, 99, 1e4])
def test_quantiles_of_student_t_equal_those_of_scipy(level, freedom):
    assert two_sided_quantile(level, freedom) == pytest.approx(scipy.stats.t.ppf((1 + level) / 2, freedom), rel=1e-5)


@pytest.mark.parametrize("right", [0, 1, 50, 99, 100])
def test_with_one_clip_per_recording_the_interval_is_that_of_wilson(right):
    found = intervals.score_interval(np.r_[np.ones(right), np.zeros(100 - right)], np.arange(100))
    wilson = scipy.stats.binomtest(right, 100).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=1e-5)


def tango_by_hand(b, c, n, z):
    """Tango's interval from its definition: the likelihood is maximised numerically for each difference."""

    def excess(difference):
        def minus_log_likelihood(q21):
            q12, both = q21 + difference, 1 - 2 * q21 - difference
            return -sum(k * np.log(max(p, 1e-300)) for k, p in ((b, q12), (c, q21), (n - b - c, both)) if k)

        low, high = max(0.0, -difference), (1 - difference) / 2
        q21 = scipy.optimize.minimize_scalar(
            minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
        ).x
        return (b - c - n * difference) ** 2 - z**2 * n * (2 * q21 + difference * (1 - difference))

    middle = (b - c) / n
    return [scipy.optimize.brentq(excess, middle, end, xtol=1e-10) for end in (-1 + 1e-9, 1 - 1e-9)]


@pytest.mark.parametrize(("b", "c"), [(9, 3), (3, 9), (1, 0), (12, 12), (30, 1)])
def test_the_interval_of_a_difference_is_that_of_tango(b, c):
    found = intervals.tango(b / 50, c / 50, Spread(per_clip=1 / 50, t=1.96))
    assert (found.low, found.high) == pytest.approx(tango_by_hand(b, c, 50, 1.96), abs=1e-5)


def test_the_degrees_of_freedom_are_those_of_the_matrix():
    counts, correlation = np.array([1.0, 2.0, 7.0, 30.0]), 0.3
    share = counts / counts.sum()
    residual = np.eye(4) - np.outer(share, np.ones(4))
    covariance = residual @ np.diag(counts * (1 + (counts - 1) * correlation)) @ residual.T
    p = covariance / np.sqrt(np.outer(1 - share, 1 - share))
    assert intervals.satterthwaite(counts, correlation) == pytest.approx(np.trace(p) ** 2 / np.trace(p @ p))


def test_correlation_that_explains_all_variance_leaves_the_degrees_of_freedom_of_the_recordings():
    counts = np.full(10, 1000.0)
    assert intervals.degrees_of_freedom(counts, 0.5) == pytest.approx(9, rel=0.01)
    assert intervals.degrees_of_freedom(counts, 0.001) == pytest.approx(18, rel=0.01)  # half of the variance


@pytest.mark.parametrize("function", [intervals.score_interval, intervals.difference_interval])
def test_an_interval_is_within_its_bounds_and_never_of_width_zero(function):
    rng = np.random.default_rng(0)
    low = 0 if function is intervals.score_interval else -1
    for _ in range(200):
        sources = np.repeat(np.arange(rng.integers(2, 12)), 1 + rng.integers(9))
        values = rng.choice([low, 0, 1], p=rng.dirichlet([0.3, 0.3, 0.3]), size=len(sources))
        found = function(values, sources)
        assert low <= found.low <= values.mean() + 1e-12
        assert values.mean() - 1e-12 <= found.high <= 1
        assert found.high - found.low > 0.01


def test_few_recordings_that_are_all_right_leave_uncertainty():
    few = intervals.score_interval(np.ones(50), np.repeat(np.arange(10), 5))
    many = intervals.score_interval(np.ones(500), np.repeat(np.arange(100), 5))
    assert few.high == many.high == 1
    assert 0.7 < few.low < 0.9 < many.low < 0.99


def test_the_intervals_of_a_minus_b_and_b_minus_a_are_mirrored():
    rng = np.random.default_rng(0)
    values, sources = rng.integers(-1, 2, size=90), rng.integers(20, size=90)
    forward, reverse = (intervals.difference_interval(sign * values, sources) for sign in (1, -1))
    assert (forward.low, forward.high) == pytest.approx((-reverse.high, -reverse.low), abs=1e-9)


def test_the_interval_does_not_depend_on_the_order_of_clips():
    rng = np.random.default_rng(0)
    values, sources = rng.integers(2, size=90), rng.integers(20, size=90)
    order = rng.permutation(90)
    found, shuffled = (intervals.score_interval(values[at], sources[at]) for at in (slice(None), order))
    assert (found.low, found.high) == pytest.approx((shuffled.low, shuffled.high), rel=1e-12)


def test_copies_of_a_clip_contain_no_information():
    values = np.random.default_rng(0).integers(2, size=60)
    found = intervals.score_interval(values, np.arange(60))
    copies = intervals.score_interval(np.repeat(values, 5), np.repeat(np.arange(60), 5))
    naive = intervals.score_interval(np.repeat(values, 5), np.arange(300))
    assert copies.high - copies.low == pytest.approx(found.high - found.low, rel=0.03)
    assert naive.high - naive.low < 0.55 * (found.high - found.low)


@pytest.mark.parametrize("function", [intervals.score_interval, intervals.difference_interval])
@pytest.mark.parametrize("sources", [[], ["only"], ["only"] * 5])
def test_fewer_than_two_recordings_have_no_interval(function, sources):
    assert not function(np.ones(len(sources)), sources).known


def test_the_jackknife_of_a_mean_has_the_variance_of_a_mean():
    values = np.random.default_rng(0).normal(0.5, 0.1, size=30)
    left_out = (values.sum() - values) / 29
    found = Jackknife(value=values.mean(), left_out=left_out, counts=np.ones(30))
    np.testing.assert_allclose(found.pseudo_values, values)
    assert found.variance == pytest.approx(values.var(ddof=1) / 30)
    interval = found.difference_interval()
    assert (interval.low + interval.high) / 2 == pytest.approx(values.mean())


@pytest.fixture
def simulation(monkeypatch):
    """The simulation of the benchmark: python benchmarks/interval_coverage.py prints more of it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import interval_coverage

    yield interval_coverage
    sys.modules.pop("interval_coverage")


@pytest.mark.slow
@pytest.mark.parametrize("recordings", [10, 30, 100])
@pytest.mark.parametrize("accuracies", [(0.8,), (0.95,), (0.85, 0.7)])
def test_intervals_have_their_nominal_coverage(simulation, recordings, accuracies):
    scenario = simulation.Scenario(
        recordings=recordings, sizes="geometric, 1 to 60 clips", accuracies=accuracies, correlation=0.3
    )
    found = simulation.coverage(scenario, trials=300, seed=1, names=("soundmark",))
    assert 0.92 <= found["soundmark"] <= 0.995  # 93 to 97 % in most scenarios; ± 1.3 % from 300 data sets


def test_percentiles_of_a_bootstrap_are_too_narrow_for_ten_recordings(simulation):
    scenario = simulation.Scenario(recordings=10, sizes="geometric, 1 to 60 clips", accuracies=(0.9,), correlation=0.3)
    assert simulation.coverage(scenario, trials=100, seed=1, names=("percentile",))["percentile"] < 0.92


@pytest.mark.slow
def test_without_a_difference_there_are_few_verdicts_and_with_15_points_most(simulation):
    def rate(*accuracies):
        scenario = simulation.Scenario(
            recordings=100, sizes="geometric, 1 to 60 clips", accuracies=accuracies, correlation=0.3
        )
        return simulation.verdict_rate(scenario, trials=100, seed=2)

    assert rate(0.8, 0.8) <= 0.1  # 5 % and a standard error of 2.2 %
    assert rate(0.85, 0.7) >= 0.8

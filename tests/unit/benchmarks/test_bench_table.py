"""The arithmetic of the bench's table; what it measures is not for a test."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """The bench's modules, as its scripts see them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import parts
    import table

    return parts, table


def test_a_quicker_one_has_a_ratio_above_one(bench):
    _, table = bench
    row = table.compared("epoch", [2.0, 1.0, 4.0], [4.0, 6.0, 5.0], unit="s", bar=2.5)
    assert (row.ours, row.peer, row.ratio, row.bar, row.reached) == (
        "2 s",
        "5 s",
        "2.50 × (1.25…6.00)",
        "≥ 2.5 ×",
        True,
    )
    assert table.compared("epoch", [2.0], [4.9], unit="s", bar=2.5).reached is False


def test_a_bar_from_above_is_one_not_to_pass(bench):
    _, table = bench
    row = table.compared("floor", [1.3], [1.0], unit="ms", bar=1.3, most=True)
    assert (row.ratio, row.bar, row.reached) == ("1.30 × (1.30…1.30)", "≤ 1.3 ×", True)
    assert table.compared("floor", [1.31], [1.0], unit="ms", bar=1.3, most=True).reached is False


def test_the_interval_is_welchs(bench):
    parts, _ = bench
    a, b = [78.8, 80.1, 76.8, 76.9, 81.4], [77.6, 80.4, 79.0, 78.2, 77.7]
    found = parts._welch(a, b)
    oracle = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    # Whole degrees of freedom, cut off: never narrower than Welch's own, and hardly wider.
    assert found[0] <= oracle.low
    assert found[1] >= oracle.high
    assert found == pytest.approx(tuple(oracle), rel=0.1)


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_under_the_curve_is_scikit_learns(bench, ties):
    import unknown

    rng = np.random.default_rng(0)
    known, new = rng.normal(1, 1, 40), rng.normal(0, 1, 25)
    if ties:
        known, new = known.round(), new.round()
    truth = np.repeat([1, 0], [40, 25])
    assert unknown.auroc(known, new) == pytest.approx(roc_auc_score(truth, np.concatenate([known, new])), abs=1e-12)
    assert unknown.auroc(np.ones(3), np.ones(2)) == 0.5


def test_the_scores_of_a_class_left_out_are_told_apart(bench):
    """Three classes far apart in the training clips, and a fourth: every score ranks it below the known ones."""
    import unknown

    rng = np.random.default_rng(0)
    labels = np.arange(120) % 4
    x = (4 * np.eye(4)[labels] @ np.eye(4, 6) + rng.normal(0, 0.3, (120, 6))).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)[labels]
    heard = unknown.Heard(embeddings=x, inputs=x, targets=targets, sources=np.arange(120).astype(str))
    train, test = np.flatnonzero((np.arange(120) < 80) & (labels < 3)), np.arange(80, 120)
    held_out, tested = unknown.scored(heard, train, test)
    assert set(held_out) == set(tested) == set(unknown.SCORES)
    for name in unknown.SCORES:
        assert held_out[name].shape == train.shape
        assert unknown.auroc(tested[name][labels[test] < 3], tested[name][labels[test] == 3]) > 0.95

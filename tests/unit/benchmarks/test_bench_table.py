"""The arithmetic of the benchmark table; the measurements are not tested."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """The modules of the benchmark, imported as in its scripts."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import parts
    import table

    return parts, table


def test_a_lower_time_has_a_ratio_above_one(bench):
    _, table = bench
    row = table.compared("epoch", [2.0, 1.0, 4.0], [4.0, 6.0, 5.0], unit="s", target=2.5)
    assert (row.ours, row.baseline, row.ratio, row.target, row.met) == (
        "2 s",
        "5 s",
        "2.50 × (1.25…6.00)",
        "≥ 2.5 ×",
        True,
    )
    assert table.compared("epoch", [2.0], [4.9], unit="s", target=2.5).met is False
    assert table.compared("memory", [145.4], [1060.2], unit="MB").baseline == "1,060 MB"


def test_a_target_can_be_an_upper_bound(bench):
    _, table = bench
    row = table.compared("lower bound", [1.3], [1.0], unit="ms", target=1.3, at_most=True)
    assert (row.ratio, row.target, row.met) == ("1.30 × (1.30…1.30)", "≤ 1.3 ×", True)
    assert table.compared("lower bound", [1.31], [1.0], unit="ms", target=1.3, at_most=True).met is False


def test_the_interval_equals_welchs(bench):
    parts, _ = bench
    a, b = [78.8, 80.1, 76.8, 76.9, 81.4], [77.6, 80.4, 79.0, 78.2, 77.7]
    interval = parts.welch_interval(a, b)
    oracle = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    # The degrees of freedom are rounded down: the interval is never narrower than the exact one, and hardly wider.
    assert interval[0] <= oracle.low
    assert interval[1] >= oracle.high
    assert interval == pytest.approx(tuple(oracle), rel=0.1)


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_equals_scikit_learns(bench, ties):
    import unknown

    rng = np.random.default_rng(0)
    known, new = rng.normal(1, 1, 40), rng.normal(0, 1, 25)
    if ties:
        known, new = known.round(), new.round()
    truth = np.repeat([1, 0], [40, 25])
    assert unknown.auroc(known, new) == pytest.approx(roc_auc_score(truth, np.concatenate([known, new])), abs=1e-12)
    assert unknown.auroc(np.ones(3), np.ones(2)) == 0.5


def test_every_score_separates_a_class_left_out_of_training(bench):
    """Train on three well separated classes: every score of a fourth class is lower than theirs."""
    import unknown

    rng = np.random.default_rng(0)
    labels = np.arange(120) % 4
    x = (4 * np.eye(4)[labels] @ np.eye(4, 6) + rng.normal(0, 0.3, (120, 6))).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)[labels]
    clips = unknown.ClipEmbeddings(embeddings=x, head_features=x, targets=targets, sources=np.arange(120).astype(str))
    train, test = np.flatnonzero((np.arange(120) < 80) & (labels < 3)), np.arange(80, 120)
    held_out, test_scores = unknown.compute_scores(clips, train, test)
    assert set(held_out) == set(test_scores) == set(unknown.SCORES)
    for name in unknown.SCORES:
        assert held_out[name].shape == train.shape
        assert unknown.auroc(test_scores[name][labels[test] < 3], test_scores[name][labels[test] == 3]) > 0.95


def test_the_page_lists_each_missed_target_with_what_it_needs(bench):
    _, table = bench
    missed = table.compared("a", [2.0], [1.0], unit="s", target=1.0, needed="A faster decoder.")
    met = table.compared("b", [1.0], [2.0], unit="s", target=1.0, needed="Nothing.")
    sections = [table.Section(title="First", rows=[missed]), table.Section(title="Second", rows=[met])]
    assert table.missed_line(missed) == "- a: 2 s (0.50 × (0.50…0.50)), target ≥ 1 ×. A faster decoder."
    lines = table.section_lines(sections)
    assert [line for line in lines if line.startswith("#")] == ["## First", "## Second", "## Targets that were missed"]
    assert [line for line in lines if line.startswith("- ")] == [table.missed_line(missed)]
    assert table.section_lines(sections[1:])[-2] == "None."

"""Multi-label metrics and thresholds, compared with scikit-learn, exact results and simple reference code."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from soundmark.datasets import Clip, Dataset
from soundmark.errors import SettingsError
from soundmark.metrics import multi_label, single_label, thresholds
from soundmark.metrics.task import score_clips


def random_predictions(n=300, classes=5, seed=0, levels=None):
    """Random targets, probabilities correlated with them (few ``levels``: many ties), and recordings of the clips."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n, classes)) < np.linspace(0.05, 0.6, classes)
    p = 1 / (1 + np.exp(-(2.0 * targets - 1.5 + rng.normal(size=(n, classes)))))
    p = np.round(p * levels) / levels if levels else p
    return targets.astype(np.float32), p, np.array([f"rec {i}" for i in rng.integers(max(1, n // 5), size=n)])


# --- Comparison with scikit-learn -------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 3, 20])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 7])
def test_scores_equal_scikit_learn(classes, seed, levels):
    targets, p, sources = random_predictions(classes=classes, seed=seed, levels=levels)
    thresholds = np.linspace(0.3, 0.7, classes)
    summary = multi_label.summarize(
        targets, p, classes=[str(i) for i in range(classes)], sources=sources, thresholds=thresholds
    )
    oracle = sklearn.metrics.average_precision_score(targets, p, average=None)
    np.testing.assert_allclose([one.average_precision for one in summary.per_class], oracle, rtol=1e-12)
    assert summary.mean_average_precision == pytest.approx(oracle.mean(), rel=1e-12)
    predicted = p >= thresholds
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        targets, predicted, zero_division=0
    )
    np.testing.assert_allclose([one.precision for one in summary.per_class], precision, rtol=1e-12)
    np.testing.assert_allclose([one.recall for one in summary.per_class], recall, rtol=1e-12)
    np.testing.assert_allclose([one.f1 for one in summary.per_class], f1, rtol=1e-12)
    assert [one.support for one in summary.per_class] == support.tolist()
    assert summary.micro_f1 == pytest.approx(sklearn.metrics.f1_score(targets, predicted, average="micro"), rel=1e-12)
    assert summary.macro_f1 == pytest.approx(sklearn.metrics.f1_score(targets, predicted, average="macro"), rel=1e-12)
    each = [sklearn.metrics.log_loss(targets[:, i], p[:, i], labels=[0, 1]) for i in range(classes)]
    assert summary.log_loss == pytest.approx(np.mean(each), rel=1e-9)


def test_a_class_without_clips_has_no_average_precision_and_is_excluded_from_means():
    targets, p, sources = random_predictions(classes=3)
    targets[:, 1] = 0
    p[:, 1] = 0.1
    summary = multi_label.summarize(targets, p, classes=["a", "b", "c"], sources=sources)
    assert math.isnan(summary.per_class[1].average_precision)
    assert summary.per_class[1].support == 0
    others = sklearn.metrics.average_precision_score(targets[:, [0, 2]], p[:, [0, 2]], average="macro")
    assert summary.mean_average_precision == pytest.approx(others, rel=1e-12)
    oracle = sklearn.metrics.f1_score(targets, p >= 0.5, average="macro", zero_division=np.nan)
    assert summary.macro_f1 == pytest.approx(oracle, rel=1e-12)
    assert summary.to_json()["per_class"][1]["average_precision"] is None


def test_float32_probabilities_are_compared_with_thresholds_in_float64():
    p = np.array([[0.1]], np.float32)  # 0.100000001490116 in float64
    assert thresholds.present(p, [0.1]).tolist() == [[True]]
    assert thresholds.present(p, [0.1000000014]).tolist() == [[True]]
    assert thresholds.present(p, [0.1000000016]).tolist() == [[False]]


# --- Thresholds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 7])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_threshold_has_the_largest_f1(seed, levels):
    targets, p, _ = random_predictions(n=60, seed=seed, levels=levels)
    found = thresholds.best_thresholds(targets, p)
    for i, threshold in enumerate(found):
        candidates = [*p[:, i], *(p[:, i] + 1e-9), 0.0, 0.5]
        best = max(sklearn.metrics.f1_score(targets[:, i], p[:, i] >= t, zero_division=0) for t in candidates)
        assert sklearn.metrics.f1_score(targets[:, i], p[:, i] >= threshold) == pytest.approx(best, rel=1e-12)


def test_the_threshold_is_the_midpoint_between_two_scores():
    assert thresholds.best_thresholds([[1], [1], [0], [0]], [[0.9], [0.8], [0.4], [0.1]])[0] == pytest.approx(0.6)
    assert thresholds.best_thresholds([[1], [1]], [[0.9], [0.8]]).tolist() == [0.4]  # no lower score: halfway to 0
    assert thresholds.best_thresholds([[0], [0]], [[0.9], [0.8]]).tolist() == [0.5]  # no clips: the default


def test_of_thresholds_with_the_same_f1_the_middle_one_is_chosen():
    truth = [[1], [0], [0], [1], [0], [0], [1], [0], [0]]  # F1 = 2/4, 2/5, 2/6, 4/7, 4/8, 4/9, 6/10
    scores = [[0.9], [0.8], [0.7], [0.6], [0.5], [0.4], [0.3], [0.2], [0.1]]
    assert thresholds.best_thresholds(truth, scores)[0] == pytest.approx(0.25)
    tied = [[1], [0], [1], [0], [0], [0], [1], [0]]  # F1 = 2/4, 2/5, 4/6, 4/7, 4/8, 4/9, 6/10, 6/11
    assert thresholds.best_thresholds(tied, scores[:8])[0] == pytest.approx(0.65)
    # Two positives: 1 hit in 1 prediction gives F1 = 2/3, 2 hits in 4 give 4/6, the same: the higher threshold.
    assert thresholds.best_thresholds([[1], [0], [0], [1]], scores[:4])[0] == pytest.approx(0.85)
    # Three positives and three ties: 1, 2, 3 hits in 1, 5, 9 predictions give F1 = 2/4, 4/8, 6/12.
    three = [[1], [0], [0], [0], [1], [0], [0], [0], [1]]
    assert thresholds.best_thresholds(three, scores)[0] == pytest.approx(0.45)


def test_adjacent_floats_are_separated():
    low = 0.5
    high = np.nextafter(low, 1)
    threshold = thresholds.best_thresholds([[1], [0]], [[high], [low]])
    assert thresholds.present([[high], [low]], threshold).tolist() == [[True], [False]]


# --- Intervals and differences ----------------------------------------------------------------------------------------


def test_weighted_average_precision_equals_that_of_repeated_clips():
    targets, p, _ = random_predictions(n=90, levels=10)
    counts = np.random.default_rng(1).integers(0, 4, size=(3, 90))
    for i in range(5):
        weighted = multi_label.weighted_average_precision(targets[:, i] > 0, p[:, i], counts.astype(float))
        for row, ours in zip(counts, weighted, strict=True):
            oracle = sklearn.metrics.average_precision_score(np.repeat(targets[:, i], row), np.repeat(p[:, i], row))
            assert ours == pytest.approx(oracle, rel=1e-12)


def test_the_interval_is_computed_over_recordings():
    targets, p, _ = random_predictions(n=60, classes=3)
    copies = np.repeat(np.arange(60), 5)  # five copies of each clip contain no additional information

    def width(sources):
        found = multi_label.summarize(targets[copies], p[copies], classes=list("abc"), sources=sources)
        interval = found.mean_average_precision_interval
        assert interval.low < found.mean_average_precision < interval.high
        return interval.high - interval.low

    assert width(copies) > 1.7 * width(np.arange(300))  # the expected factor is √5


def test_the_interval_has_about_its_nominal_coverage():
    targets, p, _ = random_predictions(n=20_000, classes=2, seed=9)
    truth = multi_label.mean_average_precision(targets, p)
    covered = 0
    for start in range(0, 20_000, 200):
        part = slice(start, start + 200)
        interval = multi_label.summarize(
            targets[part], p[part], classes=["a", "b"], sources=[str(i) for i in range(200)]
        ).mean_average_precision_interval
        covered += interval.low <= truth <= interval.high
    assert 85 <= covered <= 100


def test_the_interval_of_one_recording_and_the_scores_of_no_clips_are_nan():
    targets, p, _ = random_predictions(n=10)
    one = multi_label.summarize(targets, p, classes=list("abcde"), sources=["r"] * 10)
    assert not one.mean_average_precision_interval.known
    assert one.to_json()["mean_average_precision_interval"] == [None, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        none = multi_label.summarize(np.zeros((0, 2)), np.zeros((0, 2)), classes=["a", "b"], sources=[])
    assert math.isnan(none.mean_average_precision)
    assert none.to_json()["ece"] is None


def test_the_paired_difference_of_unequal_and_of_equal_classifiers():
    targets, p, sources = random_predictions(n=400)
    noise = np.random.default_rng(5).random(p.shape)
    paired = multi_label.paired_difference(targets, p, noise, sources=sources)
    direct = multi_label.mean_average_precision(targets, p) - multi_label.mean_average_precision(targets, noise)
    assert paired.difference == direct
    assert paired.interval.low > 0
    assert paired.p == pytest.approx(1 / 1000)
    assert (paired.clips, paired.recordings) == (400, len(set(sources)))
    assert math.isnan(paired.mcnemar_p)
    same = multi_label.paired_difference(targets, p, p**3, sources=sources)  # the same ranking
    assert (same.difference, same.p) == (0.0, 1.0)
    assert same.interval.low == -same.interval.high < 0  # they may differ on other clips
    assert same.discordant == 0


# --- Calibration ------------------------------------------------------------------------------------------------------


def test_ece_is_computed_over_all_pairs_of_clip_and_class():
    targets, p, _ = random_predictions(n=500)
    truth, probabilities = targets.ravel(), p.ravel()
    total = 0.0
    for i in range(15):
        in_bin = (probabilities > i / 15) & (probabilities <= (i + 1) / 15)
        total += abs(truth[in_bin].sum() - probabilities[in_bin].sum())
    assert multi_label.ece(targets, p) == pytest.approx(total / truth.size, rel=1e-6)


# --- Single-label and multi-label data sets ---------------------------------------------------------------------------


def test_the_summary_depends_on_the_kind_of_the_data_set():
    clips = tuple(Clip(path=Path(f"{i}.wav"), label=label) for i, label in enumerate(["a;b", "", "b"]))
    multi = Dataset(name="x", root=Path(), classes=("a", "b"), clips=clips, multi_label=True)
    p = np.array([[0.9, 0.8], [0.2, 0.1], [0.1, 0.6]], np.float32)
    summary = score_clips(multi, np.array([0, 1, 2]), p, thresholds=[0.5, 0.7])
    assert isinstance(summary, multi_label.MultiSummary)
    assert summary.headline.name == "mAP"
    assert [(one.f1, one.threshold) for one in summary.per_class] == [(1.0, 0.5), (2 / 3, 0.7)]
    single = Dataset(name="x", root=Path(), classes=("a", "b"), clips=(clips[2],))
    assert isinstance(score_clips(single, np.array([0]), p[2:]), single_label.Summary)


def test_thresholds_can_differ_between_clips():
    summary = multi_label.summarize(
        [[1], [1]], [[0.4], [0.4]], classes=["a"], sources=["r", "s"], thresholds=[[0.3], [0.5]]
    )
    assert (summary.per_class[0].recall, summary.per_class[0].threshold) == (0.5, 0.4)


@pytest.mark.parametrize(
    ("targets", "p", "message"),
    [
        ([0, 1], [[0.1, 0.2]], r"targets and probabilities must both be \[n, classes\], not \(2,\) and \(1, 2\)"),
        ([[0, 2]], [[0.1, 0.2]], r"row 0 of the targets is \[0, 2\]: each must be 0 or 1"),
        ([[0, 1]], [[0.1, 1.2]], r"row 0 of the probabilities is \[0.1, 1.2\]: each must be between 0 and 1"),
        ([[0, 1]], [[0.1, math.nan]], r"row 0 of the probabilities is \[0.1, nan\]"),
    ],
)
def test_invalid_targets_or_probabilities_are_errors(targets, p, message):
    with pytest.raises(SettingsError, match=message):
        multi_label.log_loss(targets, p)


def test_mismatched_shapes_are_errors():
    targets, p, sources = random_predictions(n=4, classes=2)
    with pytest.raises(SettingsError, match="2 probabilities per clip but 3 classes"):
        multi_label.summarize(targets, p, classes=list("abc"), sources=sources)
    with pytest.raises(SettingsError, match=r"thresholds of shape \(3,\) do not match probabilities of shape \(4, 2\)"):
        multi_label.summarize(targets, p, classes=list("ab"), sources=sources, thresholds=[0.1, 0.2, 0.3])
    with pytest.raises(SettingsError, match="4 clips but 3 sources"):
        multi_label.summarize(targets, p, classes=list("ab"), sources=sources[:3])

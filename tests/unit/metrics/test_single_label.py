"""Single-label metrics, compared with scikit-learn and SciPy, exact results, simple reference code and simulations."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from soundmark.errors import SettingsError
from soundmark.metrics import calibration_error, intervals, significance, single_label

CLASSES = [f"class {i}" for i in range(10)]


def random_predictions(n=600, classes=10, seed=0, sharpness=1.0):
    """Random labels, probabilities correlated with them, and recordings of about five clips."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    p = np.exp(sharpness * logits)
    p /= p.sum(axis=1, keepdims=True)
    return labels, p, np.array([f"rec {i}" for i in rng.integers(max(1, n // 5), size=n)])


# --- Comparison with scikit-learn -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 3, 10, 50])
def test_scores_equal_scikit_learn(classes, seed):
    labels, p, sources = random_predictions(classes=classes, seed=seed)
    names = [str(i) for i in range(classes)]
    summary = single_label.summarize(labels, p, classes=names, sources=sources)
    predicted = p.argmax(axis=1)
    assert summary.accuracy == sklearn.metrics.accuracy_score(labels, predicted)
    oracle = sklearn.metrics.confusion_matrix(labels, predicted, labels=range(classes))
    np.testing.assert_array_equal(summary.confusion, oracle)
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0
    )
    np.testing.assert_allclose([one.precision for one in summary.per_class], precision, rtol=1e-14)
    np.testing.assert_allclose([one.recall for one in summary.per_class], recall, rtol=1e-14)
    np.testing.assert_allclose([one.f1 for one in summary.per_class], f1, rtol=1e-14)
    assert [one.support for one in summary.per_class] == support.tolist()
    assert summary.macro_f1 == pytest.approx(sklearn.metrics.f1_score(labels, predicted, average="macro"), rel=1e-14)
    assert summary.log_loss == pytest.approx(sklearn.metrics.log_loss(labels, p, labels=range(classes)), rel=1e-12)
    if classes > 2:
        top2 = sklearn.metrics.top_k_accuracy_score(labels, p, k=2, labels=range(classes))
        assert summary.top2_accuracy == pytest.approx(top2, rel=1e-14)


@pytest.mark.parametrize(
    ("labels", "predicted"),
    [([0, 0, 3], [0, 3, 3]), ([0, 0], [5, 5]), ([1], [1]), ([7, 2, 2], [2, 2, 9]), ([4, 4, 4], [4, 4, 4])],
)
def test_macro_f1_is_the_mean_over_classes_that_occur_as_in_scikit_learn(labels, predicted):
    oracle = sklearn.metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    assert single_label.macro_f1(labels, predicted) == pytest.approx(oracle, rel=1e-14)


def test_the_log_loss_of_a_certain_error_is_that_of_scikit_learn():
    labels, p = [0, 1], [[0.0, 1.0], [0.0, 1.0]]
    assert single_label.log_loss(labels, p) == pytest.approx(
        sklearn.metrics.log_loss(labels, p, labels=[0, 1]), rel=1e-12
    )
    assert single_label.log_loss(labels, p) == pytest.approx(36.0437 / 2, abs=1e-4)


def test_the_log_loss_of_float32_probabilities_is_computed_in_float64():
    labels, p, _ = random_predictions()
    p32 = p.astype(np.float32)
    assert single_label.log_loss(labels, p32) == single_label.log_loss(labels, p32.astype(np.float64))


# --- Small examples ---------------------------------------------------------------------------------------------------


def test_rows_of_the_confusion_matrix_are_the_true_classes():
    assert single_label.confusion([0, 0, 0, 1], [1, 1, 0, 1], n_classes=3).tolist() == [[1, 2, 0], [0, 1, 0], [0, 0, 0]]


def test_an_absent_class_scores_zero_and_is_excluded_from_the_mean():
    summary = single_label.summarize(
        [0, 1], [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]], classes=["a", "b", "absent"], sources=["x", "y"]
    )
    assert summary.per_class[2] == single_label.ClassScores("absent", 0.0, 0.0, 0.0, 0)
    assert summary.macro_f1 == 1.0


def test_of_equally_probable_classes_the_first_is_predicted():
    uniform = [[0.25, 0.25, 0.25, 0.25]] * 4
    assert single_label.top_class(uniform).tolist() == [0, 0, 0, 0]
    assert single_label.top_accuracy([0, 1, 2, 3], uniform, k=1) == 0.25
    assert single_label.top_accuracy([0, 1, 2, 3], uniform, k=2) == 0.5


def test_the_top_2_accuracy_of_two_classes_is_1():
    assert single_label.top_accuracy([0, 1, 1], [[0.1, 0.9], [0.8, 0.2], [0.0, 1.0]], k=2) == 1.0


def test_foreground_and_background_clips_are_scored_separately():
    summary = single_label.summarize(
        [0, 0, 0, 1],
        [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]],
        classes=["a", "b"],
        sources=list("wxyz"),
        salience=["foreground", "background", "foreground", None],
    )
    assert summary.per_salience == {"foreground": {"n": 2, "accuracy": 1.0}, "background": {"n": 1, "accuracy": 0.0}}


def test_probabilities_need_not_sum_to_one():
    summary = single_label.summarize([0, 1], [[0.9, 0.8], [0.7, 0.6]], classes=["a", "b"], sources=["x", "y"])
    assert summary.accuracy == 0.5
    assert summary.log_loss == pytest.approx(-(math.log(0.9) + math.log(0.6)) / 2)


def test_confusions_are_sorted_by_count_then_class_order():
    table = np.array([[9, 2, 0], [5, 1, 2], [0, 0, 4]])
    found = single_label.most_confused(table, ["a", "b", "c"])
    assert [(one.true, one.predicted, one.count) for one in found] == [("b", "a", 5), ("a", "b", 2), ("b", "c", 2)]
    assert found[0].share == 0.625
    assert len(single_label.most_confused(table, ["a", "b", "c"], limit=1)) == 1


# --- Calibration ------------------------------------------------------------------------------------------------------


def reference_ece(labels, p, bins=15):
    """Equation 3 of Guo et al. 2017, computed clip by clip."""
    groups = {}
    for label, row in zip(labels, p, strict=True):
        confidence = max(row)
        step = next(i for i in range(bins) if confidence <= (i + 1) / bins)
        groups.setdefault(step, []).append((confidence, label == int(np.argmax(row))))
    return sum(
        len(group) / len(labels) * abs(np.mean([c for c, _ in group]) - np.mean([r for _, r in group]))
        for group in groups.values()
    )


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_ece_equals_the_reference(sharpness):
    labels, p, _ = random_predictions(sharpness=sharpness)
    assert single_label.ece(labels, p) == pytest.approx(reference_ece(labels, p), rel=1e-12)


def test_ece_with_one_bin_is_the_difference_of_confidence_and_accuracy():
    labels, p, _ = random_predictions()
    gap = abs(p.max(axis=1).mean() - single_label.accuracy(labels, p.argmax(axis=1)))
    assert single_label.ece(labels, p, bins=1) == pytest.approx(gap, rel=1e-12)


def test_a_probability_on_an_edge_is_in_the_lower_bin():
    p = [[1.0, 0.0], [0.8, 0.2], [np.nextafter(0.8, 1), 0.2], [0.0, 0.0]]
    counts = [one.n for one in single_label.reliability([0, 0, 0, 0], p, bins=5)]
    assert counts == [1, 0, 0, 1, 2]
    fifteen = single_label.reliability([0, 0], [[3 / 15, 0.0], [12 / 15, 0.0]])
    assert [i for i, one in enumerate(fifteen) if one.n] == [2, 11]


def test_an_empty_bin_is_nan_and_does_not_change_the_ece():
    bins = single_label.reliability([0], [[0.9, 0.1]])
    assert math.isnan(bins[0].accuracy)
    assert math.isnan(bins[0].confidence)
    assert single_label.ece([0], [[0.9, 0.1]]) == pytest.approx(0.1)


# --- Intervals --------------------------------------------------------------------------------------------------------


def test_chunk_sizes_add_up_to_the_total():
    assert sum(intervals.chunk_sizes(10_000, 300)) == 10_000
    assert sum(intervals.chunk_sizes(10_000, 3000)) == 10_000


# --- Differences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0, 0), (1, 0), (5, 1), (6, 6), (6, 7), (40, 22), (700, 650), (0, 1100)]
)
def test_mcnemar_equals_scipy_binomtest(only_a, only_b):
    right_a = np.r_[np.ones(only_a), np.zeros(only_b), np.ones(5), np.zeros(5)]
    right_b = np.r_[np.zeros(only_a), np.ones(only_b), np.ones(5), np.zeros(5)]
    n = only_a + only_b
    expected = scipy.stats.binomtest(only_a, n, 0.5).pvalue if n else 1.0
    assert significance.mcnemar_p(right_a, right_b) == pytest.approx(expected, rel=1e-10)


def test_with_few_recordings_all_sign_patterns_are_evaluated():
    assert significance.sign_flip_p([1] * 5, list("abcde")) == 2 / 32
    assert significance.sign_flip_p([1, 1, -1], list("abc")) == 1.0
    assert significance.sign_flip_p([1, 1, 1, 1], list("aabb")) == 0.5  # the smallest p for two recordings
    assert significance.sign_flip_p([2, 1, 0], list("abc")) == 0.5  # a recording without a difference has no effect


def test_exact_and_random_sign_flips_agree():
    rng = np.random.default_rng(0)
    differences = rng.integers(-2, 4, size=13)
    exact = significance.sign_flip_p(differences, np.arange(13))
    assert exact == significance.sign_flip_p(differences, np.arange(13), flips=2**13)
    sampled = significance.sign_flip_p(differences, np.arange(13), flips=2**12 - 1)
    assert sampled == pytest.approx(exact, abs=0.02)


def test_the_sign_flip_p_equals_that_of_scipy():
    labels, p, sources = random_predictions(n=300)
    _, q, _ = random_predictions(n=300, seed=0, sharpness=1.0)
    q = np.roll(q, 1, axis=1) * 0.55 + p * 0.45
    differences = (p.argmax(axis=1) == labels).astype(float) - (q.argmax(axis=1) == labels)
    totals = np.array([differences[sources == name].sum() for name in np.unique(sources)]) * 0.2
    theirs = scipy.stats.permutation_test(
        (totals,),
        lambda x, axis=-1: x.sum(axis=axis),
        permutation_type="samples",
        n_resamples=9_999,
        rng=np.random.default_rng(2),
    ).pvalue
    assert significance.sign_flip_p(differences, sources) == pytest.approx(theirs, abs=0.02)


def test_the_smallest_p_of_random_flips_is_one_in_flips_plus_one():
    assert significance.sign_flip_p(np.ones(200), np.arange(200)) == 1 / 10_001


def test_under_the_null_hypothesis_false_positives_are_rare_over_recordings_and_common_over_clips():
    rng = np.random.default_rng(4)
    by_recording = by_clip = 0
    for trial in range(200):
        sources = np.repeat(np.arange(40), 8)
        better = rng.choice([-1, 1], size=40)[sources]  # which classifier is better depends on the recording
        a = rng.random(320) < 0.6 + 0.3 * better
        b = rng.random(320) < 0.6 - 0.3 * better
        by_recording += significance.sign_flip_p(a.astype(float) - b, sources, seed=trial, flips=500) <= 0.05
        by_clip += significance.mcnemar_p(a, b) <= 0.05
    assert by_recording / 200 <= 0.09
    assert by_clip / 200 > 0.25


def test_the_paired_difference_is_a_minus_b():
    labels, p, sources = random_predictions()
    q = np.roll(p, 1, axis=1)
    forward = single_label.paired_difference(labels, p, q, sources=sources)
    reverse = single_label.paired_difference(labels, q, p, sources=sources)
    expected = single_label.accuracy(labels, p.argmax(axis=1)) - single_label.accuracy(labels, q.argmax(axis=1))
    assert forward.difference == pytest.approx(expected, rel=1e-12)
    assert forward.interval.low <= forward.difference <= forward.interval.high
    assert reverse.difference == -forward.difference
    assert reverse.interval.low == pytest.approx(-forward.interval.high)
    assert reverse.p == forward.p
    assert (forward.clips, forward.recordings) == (600, len(set(sources)))
    differs = (p.argmax(axis=1) == labels) != (q.argmax(axis=1) == labels)
    assert forward.discordant == len(set(sources[differs]))


def test_the_difference_of_identical_classifiers_is_zero():
    labels, p, sources = random_predictions()
    paired = single_label.paired_difference(labels, p, p, sources=sources)
    assert paired.difference == 0.0
    assert paired.interval.low == -paired.interval.high < 0  # they may differ on other clips
    assert paired.discordant == 0
    assert paired.p == paired.mcnemar_p == 1.0


# --- Empty and invalid input ------------------------------------------------------------------------------------------


def test_scores_of_no_clips_are_nan():
    summary = single_label.summarize([], np.zeros((0, 3)), classes=["a", "b", "c"], sources=[])
    scores = [summary.accuracy, summary.top2_accuracy, summary.macro_f1, summary.log_loss, summary.ece]
    assert all(math.isnan(score) for score in scores)
    assert not summary.accuracy_interval.known
    assert summary.n == summary.confusion.sum() == 0
    paired = single_label.paired_difference([], np.zeros((0, 3)), np.zeros((0, 3)), sources=[])
    assert math.isnan(paired.difference)
    assert math.isnan(paired.p)
    assert math.isnan(paired.mcnemar_p)


def test_mismatched_shapes_are_errors():
    p = [[0.5, 0.5]] * 2
    with pytest.raises(SettingsError, match="2 clips but 3 sources"):
        single_label.summarize([0, 1], p, classes=["a", "b"], sources=["x", "y", "z"])
    with pytest.raises(SettingsError, match="2 probabilities per clip but 3 classes"):
        single_label.summarize([0, 1], p, classes=["a", "b", "c"], sources=["x", "y"])
    with pytest.raises(SettingsError, match="2 clips but 1 salience"):
        single_label.summarize([0, 1], p, classes=["a", "b"], sources=["x", "y"], salience=["foreground"])
    with pytest.raises(SettingsError, match="1 clips but 2 rows of probabilities"):
        single_label.log_loss([0], p)
    with pytest.raises(SettingsError, match=r"label 2 \(row 1\) is not a class index: expected 0 to 1 for 2"):
        single_label.log_loss([0, 2], p)
    with pytest.raises(SettingsError, match="prediction -1"):
        single_label.confusion([0], [-1], n_classes=2)
    with pytest.raises(SettingsError, match=r"must be \[n\] and probabilities \[n, classes\], not \(2,\) and \(2,\)"):
        single_label.ece([0, 1], [0.5, 0.5])
    with pytest.raises(SettingsError, match="1 clips but 2 predictions"):
        single_label.accuracy([0], [0, 1])
    with pytest.raises(SettingsError, match="1 clips but 2 predictions"):
        single_label.macro_f1([0], [0, 1])


@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.1, float("inf")])
def test_an_invalid_probability_is_an_error(bad):
    with pytest.raises(SettingsError, match=r"row 1 of the probabilities .* between 0 and 1"):
        single_label.log_loss([0, 0], [[0.5, 0.5], [bad, 0.5]])


# --- The ECE of a calibrated model ------------------------------------------------------------------------------------


def simulated_eces(p, *, bins, draws, seed):
    """The ECE of labels drawn from the probabilities, for each draw."""
    rng = np.random.default_rng(seed)
    eces = []
    for _ in range(draws):
        labels = [0 if rng.random() < row[0] else 1 for row in p]  # class 0 is the most probable one
        eces.append(single_label.ece(labels, p, bins=bins))
    return np.array(eces)


def test_the_ece_of_a_calibrated_model_equals_a_simulation():
    top = np.random.default_rng(0).uniform(0.5, 1, 300)
    p = np.stack([top, 1 - top], axis=1)
    simulated = simulated_eces(p, bins=15, draws=400, seed=1)
    expected = calibration_error.ece_if_calibrated(p, draws=400)
    assert expected.mean == pytest.approx(simulated.mean(), abs=3 * simulated.std() * (2 / 400) ** 0.5)
    assert expected.high == pytest.approx(np.quantile(simulated, 0.95), rel=0.1)


def test_the_ece_of_a_calibrated_model_decreases_with_the_square_root_of_the_number_of_clips():
    p = np.tile([[0.7, 0.3]], (400, 1))
    few, many = calibration_error.ece_if_calibrated(p), calibration_error.ece_if_calibrated(np.tile(p, (100, 1)))
    assert few.mean == pytest.approx((2 / np.pi * 0.21 / 400) ** 0.5, rel=0.1)  # the mean of a half-normal variable
    assert few.mean / many.mean == pytest.approx(10, rel=0.25)
    assert calibration_error.ece_if_calibrated(p) == few
    assert calibration_error.ece_if_calibrated(np.array([[1.0, 0.0]])) == calibration_error.ExpectedEce(0.0, 0.0)
    assert np.isnan(calibration_error.ece_if_calibrated(np.zeros((0, 3))).mean)

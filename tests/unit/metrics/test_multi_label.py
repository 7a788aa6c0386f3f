"""tagging: against scikit-learn, closed forms and slow twins."""

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


def draw(n=300, classes=5, seed=0, levels=None):
    """Targets, probabilities that know something about them (of few levels: many ties), recordings of some clips."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n, classes)) < np.linspace(0.05, 0.6, classes)
    p = 1 / (1 + np.exp(-(2.0 * targets - 1.5 + rng.normal(size=(n, classes)))))
    p = np.round(p * levels) / levels if levels else p
    return targets.astype(np.float32), p, np.array([f"rec {i}" for i in rng.integers(max(1, n // 5), size=n)])


# --- against scikit-learn ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 3, 20])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 7])
def test_scores_equal_scikit_learn(classes, seed, levels):
    targets, p, sources = draw(classes=classes, seed=seed, levels=levels)
    thresholds = np.linspace(0.3, 0.7, classes)
    summary = multi_label.summarize(
        targets, p, classes=[str(i) for i in range(classes)], sources=sources, thresholds=thresholds
    )
    oracle = sklearn.metrics.average_precision_score(targets, p, average=None)
    np.testing.assert_allclose([one.average_precision for one in summary.per_class], oracle, rtol=1e-12)
    assert summary.mean_average_precision == pytest.approx(oracle.mean(), rel=1e-12)
    said = p >= thresholds
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(targets, said, zero_division=0)
    np.testing.assert_allclose([one.precision for one in summary.per_class], precision, rtol=1e-12)
    np.testing.assert_allclose([one.recall for one in summary.per_class], recall, rtol=1e-12)
    np.testing.assert_allclose([one.f1 for one in summary.per_class], f1, rtol=1e-12)
    assert [one.support for one in summary.per_class] == support.tolist()
    assert summary.micro_f1 == pytest.approx(sklearn.metrics.f1_score(targets, said, average="micro"), rel=1e-12)
    assert summary.macro_f1 == pytest.approx(sklearn.metrics.f1_score(targets, said, average="macro"), rel=1e-12)
    each = [sklearn.metrics.log_loss(targets[:, i], p[:, i], labels=[0, 1]) for i in range(classes)]
    assert summary.log_loss == pytest.approx(np.mean(each), rel=1e-9)


def test_a_class_that_no_clip_has_is_not_told_and_counts_in_no_mean():
    targets, p, sources = draw(classes=3)
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


def test_float32_probabilities_meet_their_thresholds_in_full_precision():
    p = np.array([[0.1]], np.float32)  # 0.100000001490116 in float64
    assert thresholds.present(p, [0.1]).tolist() == [[True]]
    assert thresholds.present(p, [0.1000000014]).tolist() == [[True]]
    assert thresholds.present(p, [0.1000000016]).tolist() == [[False]]


# --- thresholds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 7])
@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_has_a_larger_f1(seed, levels):
    targets, p, _ = draw(n=60, seed=seed, levels=levels)
    found = thresholds.best_thresholds(targets, p)
    for i, threshold in enumerate(found):
        candidates = [*p[:, i], *(p[:, i] + 1e-9), 0.0, 0.5]
        best = max(sklearn.metrics.f1_score(targets[:, i], p[:, i] >= t, zero_division=0) for t in candidates)
        assert sklearn.metrics.f1_score(targets[:, i], p[:, i] >= threshold) == pytest.approx(best, rel=1e-12)


def test_the_threshold_lies_in_the_middle_of_its_gap():
    assert thresholds.best_thresholds([[1], [1], [0], [0]], [[0.9], [0.8], [0.4], [0.1]])[0] == pytest.approx(0.6)
    assert thresholds.best_thresholds([[1], [1]], [[0.9], [0.8]]).tolist() == [0.4]  # nothing below: halfway to 0
    assert thresholds.best_thresholds([[0], [0]], [[0.9], [0.8]]).tolist() == [0.5]  # nothing to find


def test_of_thresholds_of_the_same_f1_the_middle_one_is_taken():
    truth = [[1], [0], [0], [1], [0], [0], [1], [0], [0]]  # F1 = 2/4, 2/5, 2/6, 4/7, 4/8, 4/9, 6/10
    scores = [[0.9], [0.8], [0.7], [0.6], [0.5], [0.4], [0.3], [0.2], [0.1]]
    assert thresholds.best_thresholds(truth, scores)[0] == pytest.approx(0.25)
    tied = [[1], [0], [1], [0], [0], [0], [1], [0]]  # F1 = 2/4, 2/5, 4/6, 4/7, 4/8, 4/9, 6/10, 6/11
    assert thresholds.best_thresholds(tied, scores[:8])[0] == pytest.approx(0.65)
    # Two positives: 1 hit of 1 gives 2/3, 2 hits of 4 give 4/6, the same: the first of the two middle ones.
    assert thresholds.best_thresholds([[1], [0], [0], [1]], scores[:4])[0] == pytest.approx(0.85)
    # Three positives and 3 ties: h = 1, 2, 3 of 1, 5, 9 called: 2/4, 4/8, 6/12.
    three = [[1], [0], [0], [0], [1], [0], [0], [0], [1]]
    assert thresholds.best_thresholds(three, scores)[0] == pytest.approx(0.45)


def test_neighbouring_numbers_are_told_apart():
    low = 0.5
    high = np.nextafter(low, 1)
    threshold = thresholds.best_thresholds([[1], [0]], [[high], [low]])
    assert thresholds.present([[high], [low]], threshold).tolist() == [[True], [False]]


# --- intervals and differences ------------------------------------------------------------------------------------


def test_a_resample_is_scored_as_if_its_clips_stood_there_so_often():
    targets, p, _ = draw(n=90, levels=10)
    times = np.random.default_rng(1).integers(0, 4, size=(3, 90))
    for row in times:
        oracle = sklearn.metrics.average_precision_score(
            np.repeat(targets, row, axis=0), np.repeat(p, row, axis=0), average=None
        )
        for i in range(5):
            (ours,) = multi_label._average_precisions(targets[:, i] > 0, p[:, i], row[None].astype(float))
            assert ours == pytest.approx(oracle[i], rel=1e-12)


def test_the_interval_counts_recordings():
    targets, p, _ = draw(n=60, classes=3)
    copies = np.repeat(np.arange(60), 5)  # each clip five times over: no more is known than from one of each

    def width(sources):
        found = multi_label.summarize(targets[copies], p[copies], classes=list("abc"), sources=sources)
        interval = found.mean_average_precision_interval
        assert interval.low < found.mean_average_precision < interval.high
        return interval.high - interval.low

    assert width(copies) > 1.7 * width(np.arange(300))  # √5, were there no other error


def test_the_interval_covers_the_truth_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(multi_label, "MAP_RESAMPLES", 200)
    targets, p, _ = draw(n=20_000, classes=2, seed=9)
    truth = multi_label.mean_average_precision(targets, p)
    covered = 0
    for start in range(0, 20_000, 200):
        part = slice(start, start + 200)
        interval = multi_label.summarize(
            targets[part], p[part], classes=["a", "b"], sources=[str(i) for i in range(200)]
        ).mean_average_precision_interval
        covered += interval.low <= truth <= interval.high
    assert 85 <= covered <= 100


def test_one_recording_has_no_interval_and_no_clip_no_score():
    targets, p, _ = draw(n=10)
    one = multi_label.summarize(targets, p, classes=list("abcde"), sources=["r"] * 10)
    assert not one.mean_average_precision_interval.known
    assert one.to_json()["mean_average_precision_interval"] == [None, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        none = multi_label.summarize(np.zeros((0, 2)), np.zeros((0, 2)), classes=["a", "b"], sources=[])
    assert math.isnan(none.mean_average_precision)
    assert none.to_json()["ece"] is None


def test_the_paired_difference_sees_which_is_better_and_that_none_is():
    targets, p, sources = draw(n=400)
    noise = np.random.default_rng(5).random(p.shape)
    paired = multi_label.paired_difference(targets, p, noise, sources=sources)
    direct = multi_label.mean_average_precision(targets, p) - multi_label.mean_average_precision(targets, noise)
    assert paired.difference == direct
    assert paired.interval.low > 0
    assert paired.p == pytest.approx(2 / 1001)
    assert (paired.clips, paired.recordings) == (400, len(set(sources)))
    assert math.isnan(paired.mcnemar_p)
    same = multi_label.paired_difference(targets, p, p**3, sources=sources)  # the same order
    assert (same.difference, same.p) == (0.0, 1.0)
    assert (same.interval.low, same.interval.high) == (0.0, 0.0)


# --- calibration ----------------------------------------------------------------------------------------------------


def test_ece_is_that_of_all_decisions():
    targets, p, _ = draw(n=500)
    truth, said = targets.ravel(), p.ravel()
    slow = 0.0
    for i in range(15):
        here = (said > i / 15) & (said <= (i + 1) / 15)
        slow += abs(truth[here].sum() - said[here].sum())
    assert multi_label.ece(targets, p) == pytest.approx(slow / truth.size, rel=1e-6)


# --- data sets of both kinds ---------------------------------------------------------------------------------------


def test_a_data_set_is_judged_by_its_kind():
    clips = tuple(Clip(path=Path(f"{i}.wav"), label=label) for i, label in enumerate(["a;b", "", "b"]))
    several = Dataset(name="x", root=Path(), classes=("a", "b"), clips=clips, multi_label=True)
    p = np.array([[0.9, 0.8], [0.2, 0.1], [0.1, 0.6]], np.float32)
    summary = score_clips(several, np.array([0, 1, 2]), p, thresholds=[0.5, 0.7])
    assert isinstance(summary, multi_label.MultiSummary)
    assert summary.headline.name == "mAP"
    assert [(one.f1, one.threshold) for one in summary.per_class] == [(1.0, 0.5), (2 / 3, 0.7)]
    one = Dataset(name="x", root=Path(), classes=("a", "b"), clips=(clips[2],))
    assert isinstance(score_clips(one, np.array([0]), p[2:]), single_label.Summary)


def test_thresholds_may_differ_by_clip():
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
def test_what_cannot_be_scored_is_refused(targets, p, message):
    with pytest.raises(SettingsError, match=message):
        multi_label.log_loss(targets, p)


def test_what_does_not_fit_together_is_refused():
    targets, p, sources = draw(n=4, classes=2)
    with pytest.raises(SettingsError, match="2 probabilities per clip but 3 classes"):
        multi_label.summarize(targets, p, classes=list("abc"), sources=sources)
    with pytest.raises(SettingsError, match=r"thresholds \(3,\) for probabilities \(4, 2\)"):
        multi_label.summarize(targets, p, classes=list("ab"), sources=sources, thresholds=[0.1, 0.2, 0.3])
    with pytest.raises(SettingsError, match="4 clips but 3 sources"):
        multi_label.summarize(targets, p, classes=list("ab"), sources=sources[:3])

"""Metrics of multi-label predictions, with confidence intervals over recordings.

A clip has any number of classes, so a prediction is not simply correct or wrong, and accuracy is uninformative because
most classes are absent from most clips. The main metric is the mean average precision (mAP): the average precision of a
class measures how well the scores rank the clips with the class above the others. Precision, recall and F1 are computed
with a threshold per class. As for single-label data, intervals treat a recording as the unit, and undefined values (the
average precision of a class without clips) are NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from soundmark.errors import SettingsError
from soundmark.metrics import calibration_error, intervals
from soundmark.metrics.calibration_error import ReliabilityBin
from soundmark.metrics.intervals import Floats, Integers, Interval
from soundmark.metrics.jackknife import Jackknife
from soundmark.metrics.score_summary import ClassColumn, Figure, ScoreSummary
from soundmark.metrics.significance import PairedDifference
from soundmark.metrics.thresholds import Booleans, as_thresholds, check_targets, ranking

GROUPS = 1000  # most groups of recordings that are left out in turn for the intervals of mAP


SWAPS = 999  # random exchanges of the predictions of two classifiers


CHUNK_WEIGHTS = 500_000  # numbers in memory at a time, in each of several arrays


@dataclass(frozen=True)
class LabelScores:
    """The scores of one class; ``support`` is its number of test clips.

    ``average_precision`` is NaN for a class without test clips. Precision, recall and F1 are 0 if their denominator is
    0. ``threshold`` is the median over the test clips, because each fold's model has its own threshold.
    """

    label: str
    average_precision: float
    threshold: float
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class MultiSummary(ScoreSummary):
    """All scores of one classifier on one set of multi-label test clips.

    There is no confusion matrix, because classes are predicted independently, and no score by salience, because the
    metadata do not state the salience of each label.
    """

    class_columns: ClassVar[tuple[ClassColumn, ...]] = (
        ClassColumn(name="AP", field="average_precision", is_share=True),
        ClassColumn(name="threshold", field="threshold", is_share=False),
    )

    n: int
    mean_average_precision: float
    mean_average_precision_interval: Interval
    micro_f1: float  # pooled over all classes
    macro_f1: float  # mean over the classes that occur in the labels or the predictions
    log_loss: float  # binary log loss, mean over clips and classes
    ece: float  # pooled over all classes
    per_class: tuple[LabelScores, ...]

    @property
    def headline(self) -> intervals.Headline:
        """The main metric: mAP.

        >>> summarize([[1], [0]], [[0.9], [0.2]], classes=["dog"], sources=["a", "a"]).headline.value
        1.0
        """
        return intervals.Headline(
            "mAP", "mean_average_precision", self.mean_average_precision, self.mean_average_precision_interval
        )

    @property
    def second_figure(self) -> Figure:
        """F1 pooled over all classes."""
        return Figure(name="Micro F1", value=self.micro_f1, is_share=False)

    @property
    def class_figures(self) -> tuple[LabelScores, ...]:
        """The scores of each class, in class order."""
        return self.per_class

    def per_clip(self, n_answers: int) -> MultiSummary:
        """Return the summary with counts of clips instead of predictions.

        >>> twice = summarize([[1], [1]], [[0.9], [0.8]], classes=["dog"], sources=["a", "a"])
        >>> twice.n, twice.per_clip(2).n
        (2, 1)
        """
        scores = tuple(replace(one, support=one.support // n_answers) for one in self.per_class)
        return replace(self, n=self.n // n_answers, per_class=scores)

    def brief(self) -> dict[str, Any]:
        """Return the main scores, for a model card."""
        return {
            "n_test": self.n,
            "mean_average_precision": intervals.finite_or_none(self.mean_average_precision),
            "mean_average_precision_interval": intervals.bounds(self.mean_average_precision_interval),
            "macro_f1": intervals.finite_or_none(self.macro_f1),
            "ece": intervals.finite_or_none(self.ece),
        }

    def to_json(self) -> dict[str, Any]:
        """Return all scores with the keys of ``metrics.json``."""
        classes = [asdict(one) for one in self.per_class]
        for one in classes:
            one["average_precision"] = intervals.finite_or_none(one["average_precision"])
        return {
            **self.brief(),
            "micro_f1": intervals.finite_or_none(self.micro_f1),
            "log_loss": intervals.finite_or_none(self.log_loss),
            "per_class": classes,
        }


def summarize(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[str],
    sources: ArrayLike,
    thresholds: ArrayLike | None = None,
) -> MultiSummary:
    """Compute all scores of ``probabilities`` [n, c] for ``targets`` [n, c] (1 if a clip has a class, else 0).

    ``sources`` [n] identifies the recording of each clip; ``thresholds`` are [c], or [n, c] if clips were predicted by
    different models (default: 0.5).

    Raises:
        SettingsError: the shapes do not match, or a value is invalid.

    >>> summary = summarize([[1, 0], [1, 1], [0, 1]], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], classes=["dog", "siren"],
    ...                     sources=["a", "b", "c"])
    >>> summary.n, round(summary.mean_average_precision, 3), summary.per_class[0].f1
    (3, 0.917, 0.5)
    """
    truth, p = check_targets(targets, probabilities)
    if p.shape[1] != len(classes):
        raise SettingsError(
            f"there are {p.shape[1]} probabilities per clip but {len(classes)} classes: pass one per class."
        )
    limits = as_thresholds(p, thresholds)
    predicted = p >= limits
    per_class = _label_scores(truth, p, predicted, limits, classes)
    hits, positives = int((truth & predicted).sum()), int(truth.sum() + predicted.sum())
    occurring = np.flatnonzero((truth | predicted).any(axis=0))
    return MultiSummary(
        n=len(p),
        mean_average_precision=mean_average_precision(truth, p),
        mean_average_precision_interval=_jackknife(truth, [p], sources).score_interval(),
        micro_f1=2 * hits / positives if positives else float("nan"),
        macro_f1=intervals.mean_or_nan([per_class[i].f1 for i in occurring]),
        log_loss=log_loss(truth, p),
        ece=ece(truth, p),
        per_class=per_class,
    )


def average_precision(targets: ArrayLike, scores: ArrayLike) -> Floats:
    """Compute the average precision of each class, float64 [c]; NaN for a class without clips.

    AP = Σ (R_k − R_{k−1}) · P_k over the distinct scores in descending order, where P_k and R_k are precision and
    recall of the clips with at least the k-th score. Equal to ``average_precision_score`` of scikit-learn 1.9, except
    that scikit-learn returns 0 for a class without clips.

    >>> average_precision([[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]).round(3).tolist()
    [0.833, nan]
    """
    truth, p = check_targets(targets, scores, minimum=-np.inf, maximum=np.inf)
    once = np.ones((1, len(p)))
    return np.array([weighted_average_precision(truth[:, i], p[:, i], once)[0] for i in range(p.shape[1])], np.float64)


def mean_average_precision(targets: ArrayLike, scores: ArrayLike) -> float:
    """Compute the mean of ``average_precision`` over the classes with clips; NaN if there are none.

    >>> round(mean_average_precision([[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), 3)
    0.833
    """
    each = average_precision(targets, scores)
    return intervals.mean_or_nan(each[np.isfinite(each)])


def log_loss(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Compute the binary log loss in nats: mean over clips and classes of −ln(probability of the true state).

    Probabilities are clipped at float64's resolution (2.2e-16).

    >>> round(log_loss([[1, 0]], [[0.5, 0.25]]), 4)  # (ln 2 + ln 4/3) / 2
    0.4904
    """
    truth, p = check_targets(targets, probabilities)
    return intervals.mean_or_nan(-np.log(np.clip(np.where(truth, p, 1 - p), np.finfo(np.float64).eps, 1.0)))


def reliability(
    targets: ArrayLike, probabilities: ArrayLike, *, bins: int = calibration_error.ECE_BINS
) -> tuple[ReliabilityBin, ...]:
    """Compute a reliability diagram over all pairs of clip and class, with ``bins`` of equal width.

    Bin i contains the probabilities in (i/bins, (i+1)/bins]; 0 is in the first bin. ``accuracy`` is the fraction of
    pairs in which the clip has the class.

    >>> lower, upper = reliability([[1, 0], [0, 0]], [[0.9, 0.1], [0.7, 0.3]], bins=2)
    >>> lower.n, lower.accuracy, upper.n, upper.accuracy
    (2, 0.0, 2, 0.5)
    """
    truth, p = (array.ravel() for array in check_targets(targets, probabilities))
    return calibration_error.reliability_bins(p, truth, bins=bins)


def ece(targets: ArrayLike, probabilities: ArrayLike, *, bins: int = calibration_error.ECE_BINS) -> float:
    """Compute the expected calibration error over all pairs of clip and class.

    It is the weighted mean of |mean probability − fraction of positives| over the bins of ``reliability``. It tends to
    be small if most classes are absent from most clips, because the many probabilities near zero are well calibrated.

    >>> round(ece([[1, 0], [0, 0]], [[0.9, 0.1], [0.7, 0.3]], bins=2), 3)
    0.25
    """
    return calibration_error.ece_of_bins(reliability(targets, probabilities, bins=bins))


def paired_difference(
    targets: ArrayLike, probabilities_a: ArrayLike, probabilities_b: ArrayLike, *, sources: ArrayLike, seed: int = 0
) -> PairedDifference:
    """Compute the mAP of a minus that of b on the same clips, with an interval over recordings.

    ``p`` is the p-value of a permutation test that exchanges the two predictions of entire recordings (``swap_p``).
    ``mcnemar_p`` is NaN, because the McNemar test does not apply to multi-label predictions.

    >>> targets, a, b = [[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]], [[0.1, 0.1], [0.2, 0.8]]
    >>> paired = paired_difference(targets, a, b, sources=["x", "y"])
    >>> paired.difference, paired.clips, paired.recordings
    (0.25, 2, 2)
    """
    truth, p_a = check_targets(targets, probabilities_a)
    _, p_b = check_targets(targets, probabilities_b)
    found = _jackknife(truth, [p_a, p_b], sources)
    return PairedDifference(
        difference=found.value,
        interval=found.difference_interval(),
        p=swap_p(truth, p_a, p_b, sources, seed=seed),
        mcnemar_p=float("nan"),
        clips=len(p_a),
        recordings=len(np.unique(np.asarray(sources))),
        discordant=int(np.count_nonzero(found.pseudo_values)),
    )


def swap_p(
    truth: Booleans, p_a: Floats, p_b: Floats, sources: ArrayLike, *, seed: int = 0, swaps: int = SWAPS
) -> float:
    """Compute the two-sided p-value of a difference in mAP by exchanging the predictions of entire recordings.

    Under the null hypothesis the two classifiers are exchangeable. ``swaps`` random exchanges are drawn, and
    p = (1 + count) / (1 + swaps) (Phipson and Smyth 2010). NaN for fewer than two recordings.

    >>> truth = np.eye(2, dtype=bool)[[0, 1] * 8]
    >>> swap_p(truth, truth.astype(float), 1.0 - truth, np.arange(16)) < 0.01
    True
    """
    recording_of = np.unique(np.asarray(sources), return_inverse=True)[1].reshape(-1)
    recordings = int(recording_of.max(initial=-1)) + 1
    observed = mean_average_precision(truth, p_a) - mean_average_precision(truth, p_b)
    if recordings < 2 or not np.isfinite(observed):
        return float("nan")
    both, scores = np.concatenate([truth, truth]), np.concatenate([p_a, p_b])
    generator, extreme = np.random.default_rng(seed), 0
    for rows in intervals.chunk_sizes(swaps, max(1, CHUNK_WEIGHTS // len(both))):
        swapped = generator.integers(2, size=(rows, recordings))[:, recording_of].astype(np.float64)
        first = np.concatenate([1 - swapped, swapped], axis=1)  # weights of the clips of a, then of those of b
        difference = _mean_over_classes(both, scores, first) - _mean_over_classes(both, scores, 1 - first)
        extreme += int(np.count_nonzero(np.abs(difference) >= abs(observed) - 1e-12))
    return (1 + extreme) / (1 + swaps)


def _label_scores(
    truth: Booleans, p: Floats, predicted: Booleans, limits: Floats, classes: Sequence[str]
) -> tuple[LabelScores, ...]:
    ap = average_precision(truth, p)
    thresholds = np.median(limits, axis=0) if len(p) else np.full(p.shape[1], np.nan)
    hits, support, n_predicted = (truth & predicted).sum(axis=0), truth.sum(axis=0), predicted.sum(axis=0)
    return tuple(
        LabelScores(
            label=str(label),
            average_precision=float(ap[i]),
            threshold=float(thresholds[i]),
            precision=_ratio(hits[i], n_predicted[i]),
            recall=_ratio(hits[i], support[i]),
            f1=_ratio(2 * hits[i], support[i] + n_predicted[i]),
            support=int(support[i]),
        )
        for i, label in enumerate(classes)
    )


def weighted_average_precision(truth: Booleans, scores: Floats, weights: Floats) -> Floats:
    """Compute the average precision of one class for each row of clip weights, float64 [resamples].

    ``truth`` bool [n], ``scores`` [n], ``weights`` [resamples, n]: in bootstrap resample r, clip i occurs
    ``weights[r, i]`` times. NaN for a resample without clips of the class.

    >>> truth, scores = np.array([True, False, True]), np.array([0.9, 0.8, 0.7])
    >>> weighted_average_precision(truth, scores, np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 2.0]])).round(3).tolist()
    [0.833, 1.0]
    """
    order, last = ranking(scores)
    n_predicted = weights[:, order].cumsum(axis=1)[:, last]
    hits = (weights * truth)[:, order].cumsum(axis=1)[:, last]
    precision = np.divide(hits, n_predicted, out=np.zeros_like(hits), where=n_predicted > 0)
    total = weights[:, truth].sum(axis=1)
    weighted = (np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1)
    return np.divide(weighted, total, out=np.full(len(weights), np.nan), where=total > 0)


def _jackknife(truth: Booleans, scores: Sequence[Floats], sources: ArrayLike) -> Jackknife:
    """Return the mAP, or with two ``scores`` the difference of both, of all recordings and without each."""
    parts = [[_mean_over_classes(truth, p, weights) for p in scores] for weights in _without_each(sources, len(truth))]
    each = [np.concatenate(part) for part in zip(*parts, strict=True)] or [np.zeros(0)] * len(scores)
    values = [mean_average_precision(truth, p) for p in scores]
    left_out = each[0] if len(scores) == 1 else each[0] - each[1]
    known = np.isfinite(left_out)
    counts = _group_counts(sources)[: len(left_out)]
    value = values[0] if len(scores) == 1 else values[0] - values[1]
    return Jackknife(value=value, left_out=left_out[known], counts=counts[known])


def _mean_over_classes(truth: Booleans, p: Floats, weights: Floats) -> Floats:
    each = np.array([weighted_average_precision(truth[:, i], p[:, i], weights) for i in range(p.shape[1])])
    finite = np.isfinite(each)
    total = finite.sum(axis=0)
    return np.divide(np.where(finite, each, 0.0).sum(axis=0), total, out=np.full(len(total), np.nan), where=total > 0)


def _groups(sources: ArrayLike) -> Integers:
    """Return the group of each clip: its recording; of many recordings, ``GROUPS`` groups of whole recordings."""
    return np.unique(np.asarray(sources), return_inverse=True)[1].reshape(-1).astype(np.int64) % GROUPS


def _group_counts(sources: ArrayLike) -> Floats:
    return np.bincount(_groups(sources)).astype(np.float64)


def _without_each(sources: ArrayLike, n: int) -> Iterator[Floats]:
    """Yield the weights of the clips without each group in turn, float64 [some groups, n]; none for one recording."""
    sources = np.asarray(sources)
    if len(sources) != n:
        raise SettingsError(f"there are {n} clips but {len(sources)} sources: pass one per clip.")
    group_of = _groups(sources)
    groups = int(group_of.max(initial=-1)) + 1
    if groups < 2:  # the variation between recordings is unknown
        return
    first = 0
    for rows in intervals.chunk_sizes(groups, max(1, CHUNK_WEIGHTS // n)):
        yield (group_of[None, :] != np.arange(first, first + rows)[:, None]).astype(np.float64)
        first += rows


def _ratio(numerator: int, denominator: int) -> float:
    return float(numerator / denominator) if denominator else 0.0

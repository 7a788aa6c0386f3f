"""Targets and probabilities of multi-label data to numbers with intervals, in NumPy alone.

A clip has any number of classes, so no answer is simply right or wrong, and accuracy says little where most classes are
absent from most clips. A class is scored by its average precision, which asks only that the clips that have it come
before those that do not; the mean over the classes (mAP) stands where accuracy stands otherwise. Precision, recall and
F1 are those of the answers that probabilities of at least a class's threshold give. As in ``metrics``, intervals draw
whole recordings again, and what cannot be told (the average precision of a class that no clip has) is NaN.
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
from soundmark.metrics.intervals import Floats, Interval
from soundmark.metrics.score_summary import ClassColumn, Figure, ScoreSummary
from soundmark.metrics.significance import PairedDifference
from soundmark.metrics.thresholds import Booleans, as_thresholds, check_targets, ranking

MAP_RESAMPLES = 1000  # of a bootstrap of mAP, each of which ranks all clips again


CHUNK_WEIGHTS = 500_000  # numbers held at once, several times over


@dataclass(frozen=True)
class LabelScores:
    """How well one class is found: ranked, and at its threshold; ``support`` clips of the test have it.

    ``average_precision`` is NaN where none has it; precision, recall and F1 are 0 where there is nothing to divide by.
    ``threshold`` is the median over the test clips, where each fold's model has its own.
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

    There is no confusion matrix, as a clip's classes are not mistaken for each other but found or not, and nothing by
    salience, which a table does not tell of each label.
    """

    class_columns: ClassVar[tuple[ClassColumn, ...]] = (
        ClassColumn(name="AP", field="average_precision", is_share=True),
        ClassColumn(name="threshold", field="threshold", is_share=False),
    )

    n: int
    mean_average_precision: float
    mean_average_precision_interval: Interval
    micro_f1: float  # of all decisions, whatever their class
    macro_f1: float  # the mean over the classes that a clip has, or is said to have
    log_loss: float  # of a decision, the mean over clips and classes
    ece: float  # over all decisions
    per_class: tuple[LabelScores, ...]

    @property
    def headline(self) -> intervals.Headline:
        """The figure that stands for all others.

        >>> summarize([[1], [0]], [[0.9], [0.2]], classes=["dog"], sources=["a", "a"]).headline.value
        1.0
        """
        return intervals.Headline(
            "mAP", "mean_average_precision", self.mean_average_precision, self.mean_average_precision_interval
        )

    @property
    def second_figure(self) -> Figure:
        """F1 of all decisions, whatever their class."""
        return Figure(name="Micro F1", value=self.micro_f1, is_share=False)

    @property
    def class_figures(self) -> tuple[LabelScores, ...]:
        """The scores of each class, in class order."""
        return self.per_class

    def per_clip(self, n_answers: int) -> MultiSummary:
        """The summary with counts of clips.

        >>> twice = summarize([[1], [1]], [[0.9], [0.8]], classes=["dog"], sources=["a", "a"])
        >>> twice.n, twice.per_clip(2).n
        (2, 1)
        """
        scores = tuple(replace(one, support=one.support // n_answers) for one in self.per_class)
        return replace(self, n=self.n // n_answers, per_class=scores)

    def brief(self) -> dict[str, Any]:
        """The scores for a model's card."""
        return {
            "n_test": self.n,
            "mean_average_precision": intervals.finite_or_none(self.mean_average_precision),
            "mean_average_precision_interval": intervals.bounds(self.mean_average_precision_interval),
            "macro_f1": intervals.finite_or_none(self.macro_f1),
            "ece": intervals.finite_or_none(self.ece),
        }

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON can hold it, under the names that ``metrics.json`` has for it."""
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
    seed: int = 0,
) -> MultiSummary:
    """All scores of ``probabilities`` [n, c] for ``targets`` [n, c], 1 where a clip has a class and 0 elsewhere.

    ``sources`` [n] names each clip's recording; ``thresholds`` are [c], or [n, c] where clips were answered by several
    models, and 0.5 without any.

    Raises:
        SettingsError: the shapes do not fit together, or a number is none that can stand there.

    >>> summary = summarize([[1, 0], [1, 1], [0, 1]], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], classes=["dog", "siren"],
    ...                     sources=["a", "b", "c"])
    >>> summary.n, round(summary.mean_average_precision, 3), summary.per_class[0].f1
    (3, 0.917, 0.5)
    """
    truth, p = check_targets(targets, probabilities)
    if p.shape[1] != len(classes):
        raise SettingsError(f"there are {p.shape[1]} probabilities per clip but {len(classes)} classes: pass as many.")
    limits = as_thresholds(p, thresholds)
    said = p >= limits
    per_class = _label_scores(truth, p, said, limits, classes)
    hits, made = int((truth & said).sum()), int(truth.sum() + said.sum())
    occurring = np.flatnonzero((truth | said).any(axis=0))
    return MultiSummary(
        n=len(p),
        mean_average_precision=mean_average_precision(truth, p),
        mean_average_precision_interval=intervals.between_percentiles(_bootstrap(truth, [p], sources, seed)[0]),
        micro_f1=2 * hits / made if made else float("nan"),
        macro_f1=_mean_or_nan([per_class[i].f1 for i in occurring]),
        log_loss=log_loss(truth, p),
        ece=ece(truth, p),
        per_class=per_class,
    )


def average_precision(targets: ArrayLike, scores: ArrayLike) -> Floats:
    """The average precision of each class, float64 [c]; NaN for a class that no clip has.

    AP = Σ (R_k − R_{k−1}) · P_k over the distinct scores from the largest on, with precision P and recall R of the
    clips that score as much or more; clips of equal score are taken together. As ``average_precision_score`` of
    scikit-learn 1.9, which gives 0 for a class that no clip has.

    >>> average_precision([[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]).round(3).tolist()
    [0.833, nan]
    """
    truth, p = check_targets(targets, scores, least=-np.inf, most=np.inf)
    once = np.ones((1, len(p)))
    return np.array([_average_precisions(truth[:, i], p[:, i], once)[0] for i in range(p.shape[1])], np.float64)


def mean_average_precision(targets: ArrayLike, scores: ArrayLike) -> float:
    """The mean of ``average_precision`` over the classes that a clip has; NaN where no clip has any.

    >>> round(mean_average_precision([[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), 3)
    0.833
    """
    each = average_precision(targets, scores)
    return _mean_or_nan(each[np.isfinite(each)])


def log_loss(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean over clips and classes of −ln(probability of what is so: that the class is there, or that it is not).

    A probability below float64's resolution (2.2e-16) counts as that.

    >>> round(log_loss([[1, 0]], [[0.5, 0.25]]), 4)  # (ln 2 + ln 4/3) / 2
    0.4904
    """
    truth, p = check_targets(targets, probabilities)
    return _mean_or_nan(-np.log(np.clip(np.where(truth, p, 1 - p), np.finfo(np.float64).eps, 1.0)))


def reliability(
    targets: ArrayLike, probabilities: ArrayLike, *, bins: int = calibration_error.ECE_BINS
) -> tuple[ReliabilityBin, ...]:
    """Every class of every clip, sorted into ``bins`` equal steps of its probability, and how often it was there.

    Bin i holds (i/bins, (i+1)/bins], and 0 belongs to the first; ``accuracy`` is the share that is there.

    >>> lower, upper = reliability([[1, 0], [0, 0]], [[0.9, 0.1], [0.7, 0.3]], bins=2)
    >>> lower.n, lower.accuracy, upper.n, upper.accuracy
    (2, 0.0, 2, 0.5)
    """
    truth, p = (array.ravel() for array in check_targets(targets, probabilities))
    return calibration_error.binned(p, truth, bins=bins)


def ece(targets: ArrayLike, probabilities: ArrayLike, *, bins: int = calibration_error.ECE_BINS) -> float:
    """Expected calibration error over all decisions: the mean of |probability − share there| of their bin.

    It is small by itself where most classes are absent from most clips: so is a probability of zero.

    >>> round(ece([[1, 0], [0, 0]], [[0.9, 0.1], [0.7, 0.3]], bins=2), 3)
    0.25
    """
    return calibration_error.mean_gap(reliability(targets, probabilities, bins=bins))


def paired_difference(
    targets: ArrayLike, probabilities_a: ArrayLike, probabilities_b: ArrayLike, *, sources: ArrayLike, seed: int = 0
) -> PairedDifference:
    """How much larger the mAP of a is than that of b on the same clips, with its interval by recording.

    ``p`` is the bootstrap's: twice the share of the resamples on the rarer side of zero, at least 1 / (1 + resamples)
    (Efron and Tibshirani 1993, section 15.4). There is no McNemar test, as no clip is simply right or wrong: NaN.

    >>> targets, a, b = [[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]], [[0.1, 0.1], [0.2, 0.8]]
    >>> paired = paired_difference(targets, a, b, sources=["x", "y"])
    >>> paired.difference, paired.clips, paired.recordings
    (0.25, 2, 2)
    """
    truth, p_a = check_targets(targets, probabilities_a)
    _, p_b = check_targets(targets, probabilities_b)
    of_a, of_b = _bootstrap(truth, [p_a, p_b], sources, seed)
    drawn = of_a - of_b
    drawn = drawn[np.isfinite(drawn)]
    rarer = min(np.count_nonzero(drawn >= 0), np.count_nonzero(drawn <= 0))
    return PairedDifference(
        difference=mean_average_precision(truth, p_a) - mean_average_precision(truth, p_b),
        interval=intervals.between_percentiles(drawn),
        p=min(1.0, 2 * (1 + rarer) / (1 + len(drawn))) if len(drawn) else float("nan"),
        mcnemar_p=float("nan"),
        clips=len(p_a),
        recordings=len(np.unique(np.asarray(sources))),
    )


def _label_scores(
    truth: Booleans, p: Floats, said: Booleans, limits: Floats, classes: Sequence[str]
) -> tuple[LabelScores, ...]:
    ranked, thresholds = (
        average_precision(truth, p),
        np.median(limits, axis=0) if len(p) else np.full(p.shape[1], np.nan),
    )
    hits, support, called = ((truth & said).sum(axis=0), truth.sum(axis=0), said.sum(axis=0))
    return tuple(
        LabelScores(
            label=str(label),
            average_precision=float(ranked[i]),
            threshold=float(thresholds[i]),
            precision=_share(hits[i], called[i]),
            recall=_share(hits[i], support[i]),
            f1=_share(2 * hits[i], support[i] + called[i]),
            support=int(support[i]),
        )
        for i, label in enumerate(classes)
    )


def _average_precisions(truth: Booleans, scores: Floats, weights: Floats) -> Floats:
    """The average precision of one class where clip i stands there ``weights[:, i]`` times, float64 [resamples]."""
    order, last = ranking(scores)
    called = weights[:, order].cumsum(axis=1)[:, last]
    hits = (weights * truth)[:, order].cumsum(axis=1)[:, last]
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    total = weights[:, truth].sum(axis=1)
    weighted = (np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1)
    return np.divide(weighted, total, out=np.full(len(weights), np.nan), where=total > 0)


def _bootstrap(truth: Booleans, scores: Sequence[Floats], sources: ArrayLike, seed: int) -> list[Floats]:
    """The mAP of each of ``scores`` when recordings are drawn again, the same for all; empty for one recording."""
    parts = [
        [_mean_over_classes(truth, p, weights) for p in scores]
        for weights in _bootstrap_weights(sources, len(truth), seed)
    ]
    return [np.concatenate(each) for each in zip(*parts, strict=True)] or [np.zeros(0)] * len(scores)


def _mean_over_classes(truth: Booleans, p: Floats, weights: Floats) -> Floats:
    each = np.array([_average_precisions(truth[:, i], p[:, i], weights) for i in range(p.shape[1])])
    told = np.isfinite(each)
    total = told.sum(axis=0)
    return np.divide(np.where(told, each, 0.0).sum(axis=0), total, out=np.full(len(total), np.nan), where=total > 0)


def _bootstrap_weights(sources: ArrayLike, n: int, seed: int) -> Iterator[Floats]:
    """How often each clip stands in each resample of the recordings, float64 [some resamples, n]; RESAMPLES in all."""
    sources = np.asarray(sources)
    if len(sources) != n:
        raise SettingsError(f"there are {n} clips but {len(sources)} sources: pass one for each clip.")
    recording_of = np.unique(sources, return_inverse=True)[1]
    recordings = int(recording_of.max(initial=-1)) + 1
    if recordings < 2:  # one recording tells nothing about the next
        return
    at_once = max(1, CHUNK_WEIGHTS // n)
    for times in intervals.bootstrap_counts(recordings, seed=seed, resamples=MAP_RESAMPLES, at_once=at_once):
        yield times[:, recording_of]


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0


def _mean_or_nan(values: ArrayLike) -> float:
    array = np.asarray(values, np.float64)
    return float(array.mean()) if array.size else float("nan")

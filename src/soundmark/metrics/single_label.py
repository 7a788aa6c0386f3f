"""Metrics of single-label predictions, with confidence intervals over recordings.

Clips cut from the same recording sound alike and are not independent: the unit of all intervals and p-values is the
*recording* (``sources``), not the clip. The functions do not assume that the probabilities of a clip sum to one, so
they also apply to networks with sigmoid outputs. Undefined values (the accuracy of no clips, the interval of one
recording) are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.errors import SettingsError
from soundmark.metrics.calibration_error import ECE_BINS, ReliabilityBin, ece_of_bins, reliability_bins
from soundmark.metrics.intervals import (
    Floats,
    Headline,
    Integers,
    Interval,
    bounds,
    check_same_length,
    difference_interval,
    mean_or_nan,
    per_recording,
    score_interval,
)
from soundmark.metrics.score_summary import Figure, ScoreSummary
from soundmark.metrics.significance import PairedDifference, mcnemar_p, sign_flip_p


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class (0 if the denominator is 0), and its number of test clips."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Confused:
    """The number of clips of class ``true`` that were predicted as ``predicted``, and their fraction of ``true``."""

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Summary(ScoreSummary):
    """All scores of one classifier on one set of single-label test clips."""

    n: int
    accuracy: float
    accuracy_interval: Interval
    top2_accuracy: float
    macro_f1: float
    log_loss: float
    ece: float
    per_class: tuple[ClassScores, ...]
    per_salience: dict[str, dict[str, Any]]  # "foreground"/"background" → {"n", "accuracy"}
    confusion: Integers  # [true, predicted]

    @property
    def headline(self) -> Headline:
        """The main metric: accuracy.

        >>> summarize([0], [[0.9, 0.1]], classes=["dog", "siren"], sources=["a"]).headline.name
        'accuracy'
        """
        return Headline("accuracy", "accuracy", self.accuracy, self.accuracy_interval)

    @property
    def second_figure(self) -> Figure:
        """The top-2 accuracy."""
        return Figure(name="Top 2", value=self.top2_accuracy, is_share=True)

    @property
    def class_figures(self) -> tuple[ClassScores, ...]:
        """The scores of each class, in class order."""
        return self.per_class

    @property
    def by_salience(self) -> dict[str, dict[str, Any]]:
        """``n`` and ``accuracy`` of the clips with foreground and background salience; empty if it is unknown."""
        return self.per_salience

    @property
    def confusion_matrix(self) -> Integers:
        """The confusion matrix, int64 [true, predicted]."""
        return self.confusion

    def per_clip(self, n_answers: int) -> Summary:
        """Return the summary with counts of clips; the confusion matrix still counts predictions.

        >>> twice = summarize([0, 0], [[0.9, 0.1]] * 2, classes=["dog", "siren"], sources=["a", "a"])
        >>> twice.n, twice.per_clip(2).n
        (2, 1)
        """
        return replace(
            self,
            n=self.n // n_answers,
            per_class=tuple(replace(scores, support=scores.support // n_answers) for scores in self.per_class),
            per_salience={
                name: {**scores, "n": scores["n"] // n_answers} for name, scores in self.per_salience.items()
            },
        )

    def brief(self) -> dict[str, Any]:
        """Return the main scores, for a model card."""
        return {
            "n_test": self.n,
            "accuracy": self.accuracy,
            "accuracy_interval": bounds(self.accuracy_interval),
            "macro_f1": self.macro_f1,
            "ece": self.ece,
        }

    def to_json(self) -> dict[str, Any]:
        """Return all scores with the keys of ``metrics.json``."""
        return {
            "n_test": self.n,
            "accuracy": self.accuracy,
            "accuracy_interval": bounds(self.accuracy_interval),
            "top2_accuracy": self.top2_accuracy,
            "macro_f1": self.macro_f1,
            "log_loss": self.log_loss,
            "ece": self.ece,
            "per_class": [asdict(scores) for scores in self.per_class],
            "per_salience": self.per_salience,
            "confusion": self.confusion.tolist(),
        }


def summarize(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[str],
    sources: ArrayLike,
    salience: Sequence[str | None] | None = None,
) -> Summary:
    """Compute all scores of ``probabilities`` [n, c] for the true ``labels`` [n] (indices into ``classes``).

    ``sources`` [n] identifies the recording of each clip; ``salience`` [n] is "foreground", "background" or None.

    Raises:
        SettingsError: the shapes do not match, or a probability is invalid.

    >>> summary = summarize([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], classes=["dog", "siren"],
    ...                     sources=["a", "b", "c"])
    >>> summary.n, round(summary.accuracy, 3), summary.confusion.tolist()
    (3, 0.667, [[1, 0], [1, 1]])
    """
    truth, p = _checked(labels, probabilities)
    if p.shape[1] != len(classes):
        raise SettingsError(
            f"there are {p.shape[1]} probabilities per clip but {len(classes)} classes: pass one per class."
        )
    predicted = top_class(p)
    correct = (truth == predicted).astype(np.float64)
    table = confusion(truth, predicted, n_classes=len(classes))
    return Summary(
        n=len(truth),
        accuracy=accuracy(truth, predicted),
        accuracy_interval=score_interval(correct, sources),
        top2_accuracy=top_accuracy(truth, p, k=2),
        macro_f1=macro_f1(truth, predicted),
        log_loss=log_loss(truth, p),
        ece=ece(truth, p),
        per_class=class_scores(table, classes),
        per_salience=_by_salience(correct, salience),
        confusion=table,
    )


def top_class(probabilities: ArrayLike) -> Integers:
    """Return the class with the largest probability, int64 [n]; of equal ones, the first.

    >>> top_class([[0.2, 0.8], [0.5, 0.5]]).tolist()
    [1, 0]
    """
    p = np.asarray(probabilities)
    return np.argmax(p, axis=1).astype(np.int64) if p.size else np.zeros(len(p), np.int64)


def accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Compute the fraction of clips whose predicted class is the true class (NaN without clips).

    >>> accuracy([0, 1, 2, 2], [0, 1, 2, 0])
    0.75
    """
    truth, predicted = np.asarray(labels), np.asarray(predicted)
    check_same_length(truth, predicted, "predictions")
    return mean_or_nan(truth == predicted)


def top_accuracy(labels: ArrayLike, probabilities: ArrayLike, *, k: int = 2) -> float:
    """Compute the fraction of clips whose true class is among the ``k`` most probable; ties go to the first class.

    >>> top_accuracy([2, 0], [[0.5, 0.2, 0.3], [0.1, 0.4, 0.5]], k=2)
    0.5
    """
    truth, p = _checked(labels, probabilities)
    own = np.take_along_axis(p, truth[:, None], axis=1)
    earlier = np.arange(p.shape[1])[None, :] < truth[:, None]
    rank = np.count_nonzero((p > own) | ((p == own) & earlier), axis=1)
    return mean_or_nan(rank < k)


def confusion(labels: ArrayLike, predicted: ArrayLike, *, n_classes: int) -> Integers:
    """Compute the confusion matrix, int64 [n_classes, n_classes]; rows are the true classes.

    >>> confusion([0, 0, 1], [0, 1, 1], n_classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    truth, answers = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    check_same_length(truth, answers, "predictions")
    for name, indices in (("label", truth), ("prediction", answers)):
        _check_class_indices(name, indices, n_classes)
    flat = np.bincount(truth * n_classes + answers, minlength=n_classes * n_classes)
    return flat.reshape(n_classes, n_classes).astype(np.int64)


def class_scores(table: Integers, classes: Sequence[str]) -> tuple[ClassScores, ...]:
    """Compute precision, recall, F1 and support of every class from a confusion matrix; 0 if the denominator is 0.

    >>> class_scores(np.array([[1, 1], [0, 2]]), ["dog", "siren"])[0]
    ClassScores(label='dog', precision=1.0, recall=0.5, f1=0.666..., support=2)
    """
    hits = np.diag(table).astype(np.float64)
    support, n_predicted = table.sum(axis=1), table.sum(axis=0)
    precision, recall, f1 = _ratio(hits, n_predicted), _ratio(hits, support), _ratio(2 * hits, support + n_predicted)
    return tuple(
        ClassScores(str(label), float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
        for i, label in enumerate(classes)
    )


def macro_f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Compute the unweighted mean of F1 over the classes that occur in the labels or the predictions.

    Equal to ``sklearn.metrics.f1_score(average="macro", zero_division=0)`` of scikit-learn 1.9.

    >>> macro_f1([0, 0, 3], [0, 3, 3])
    0.666...
    """
    truth, answers = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    check_same_length(truth, answers, "predictions")
    present, indices = np.unique(np.concatenate([truth, answers]), return_inverse=True)
    truth, answers = indices[: len(truth)], indices[len(truth) :]
    names = [str(index) for index in present]
    return mean_or_nan([one.f1 for one in class_scores(confusion(truth, answers, n_classes=len(names)), names)])


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Compute the mean of −ln(probability of the true class), in nats and float64.

    Probabilities are clipped at float64's resolution (2.2e-16), so a clip contributes at most 36.04. Equal to
    ``sklearn.metrics.log_loss`` of scikit-learn 1.9 on float64 if rows sum to one.

    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.75, 0.25]]), 4)
    1.0397
    """
    truth, p = _checked(labels, probabilities)
    own = np.take_along_axis(p, truth[:, None], axis=1)[:, 0]
    return mean_or_nan(-np.log(np.clip(own, np.finfo(np.float64).eps, 1.0)))


def reliability(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = ECE_BINS) -> tuple[ReliabilityBin, ...]:
    """Compute a reliability diagram: the clips grouped by top probability into ``bins`` of equal width.

    All classes and folds are pooled. Bin i contains the probabilities in (i/bins, (i+1)/bins]; 0 is in the first bin.

    >>> lower, upper = reliability([0, 1], [[0.9, 0.1], [0.5, 0.5]], bins=2)
    >>> lower.n, lower.accuracy, upper.n, upper.confidence
    (1, 0.0, 1, 0.9)
    """
    truth, p = _checked(labels, probabilities)
    top = p.max(axis=1, initial=0.0)
    return reliability_bins(top, truth == top_class(p), bins=bins)


def ece(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = ECE_BINS) -> float:
    """Compute the expected calibration error: the weighted mean of |accuracy − confidence| over ``reliability`` bins.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.

    >>> round(ece([0, 1], [[0.9, 0.1], [0.8, 0.2]]), 3)
    0.45
    """
    return ece_of_bins(reliability(labels, probabilities, bins=bins))


def most_confused(table: Integers, classes: Sequence[str], *, limit: int = 10) -> tuple[Confused, ...]:
    """Return the most frequent confusions of a confusion matrix, by decreasing count, then in class order.

    >>> most_confused(np.array([[5, 3], [1, 0]]), ["drill", "engine"])[0]
    Confused(true='drill', predicted='engine', count=3, share=0.375)
    """
    errors = table - np.diag(np.diag(table))
    pairs = sorted(zip(*np.nonzero(errors), strict=True), key=lambda at: (-int(table[at]), int(at[0]), int(at[1])))
    return tuple(
        Confused(str(classes[i]), str(classes[j]), int(table[i, j]), float(table[i, j] / table[i].sum()))
        for i, j in pairs[:limit]
    )


def paired_difference(
    labels: ArrayLike, probabilities_a: ArrayLike, probabilities_b: ArrayLike, *, sources: ArrayLike, seed: int = 0
) -> PairedDifference:
    """Compute the accuracy of a minus that of b on the same clips [n], with interval and p-values over recordings.

    >>> paired = paired_difference([0, 0], [[0.9, 0.1], [0.8, 0.2]], [[0.2, 0.8], [0.6, 0.4]], sources=["x", "y"])
    >>> paired.difference, paired.p, paired.clips, paired.recordings
    (0.5, 1.0, 2, 2)
    """
    truth, p_a = _checked(labels, probabilities_a)
    _, p_b = _checked(labels, probabilities_b)
    correct_a, correct_b = truth == top_class(p_a), truth == top_class(p_b)
    differences = correct_a.astype(np.float64) - correct_b
    return PairedDifference(
        difference=mean_or_nan(differences),
        interval=difference_interval(differences, sources),
        p=sign_flip_p(differences, sources, seed=seed),
        mcnemar_p=mcnemar_p(correct_a, correct_b) if len(truth) else float("nan"),
        clips=len(truth),
        recordings=len(np.unique(np.asarray(sources))),
        discordant=int(np.count_nonzero(per_recording(np.abs(differences), sources)[0])),
    )


def _by_salience(correct: Floats, salience: Sequence[str | None] | None) -> dict[str, dict[str, Any]]:
    """Return the accuracy of the foreground and the background clips, if there are any."""
    if salience is None:
        return {}
    values = np.array([value or "" for value in salience], dtype=str)
    check_same_length(correct, values, "salience values")
    known = [name for name in ("foreground", "background") if np.any(values == name)]
    return {
        name: {"n": int(np.sum(values == name)), "accuracy": mean_or_nan(correct[values == name])} for name in known
    }


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """Return the quotients, 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros(len(numerator), np.float64), where=denominator != 0)


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Integers, Floats]:
    """Validate labels and probabilities; return them as int64 [n] and float64 [n, c]."""
    truth, p = np.asarray(labels, np.int64), np.asarray(probabilities, np.float64)
    if truth.ndim != 1 or p.ndim != 2:
        raise SettingsError(f"labels must be [n] and probabilities [n, classes], not {truth.shape} and {p.shape}.")
    check_same_length(truth, p, "rows of probabilities")
    _check_class_indices("label", truth, p.shape[1])
    if not np.all((p >= 0) & (p <= 1 + 1e-6)):  # false for NaN; a float32 softmax can exceed 1 by rounding
        row = int(np.flatnonzero(~np.all((p >= 0) & (p <= 1 + 1e-6), axis=1))[0])
        raise SettingsError(f"row {row} of the probabilities is {p[row].tolist()}: each must be between 0 and 1.")
    return truth, p


def _check_class_indices(name: str, indices: Integers, n_classes: int) -> None:
    outside = np.flatnonzero((indices < 0) | (indices >= n_classes))
    if outside.size:
        value, row = int(indices[outside[0]]), int(outside[0])
        raise SettingsError(
            f"{name} {value} (row {row}) is not a class index: expected 0 to {n_classes - 1} for {n_classes} classes."
        )

"""Labels and probabilities to numbers with intervals, in NumPy alone.

Clips cut from one recording sound alike, so they count as one draw, not as many: every interval and every p-value
of a difference resamples *recordings* (``sources``), never clips. Nothing here assumes that a row of
probabilities sums to one, so a network with sigmoid outputs is measured by the same functions. What cannot be
told (the accuracy of no clips, the interval of one recording) is NaN, never a number that looks like an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.errors import SettingsError
from soundmark.metrics.calibration_error import ECE_BINS, ReliabilityBin, binned, mean_gap
from soundmark.metrics.intervals import (
    Floats,
    Headline,
    Integers,
    Interval,
    bootstrap_interval,
    bounds,
    check_same_length,
    mean_or_nan,
)
from soundmark.metrics.score_summary import Figure, ScoreSummary
from soundmark.metrics.significance import PairedDifference, mcnemar_p, sign_flip_p


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class (0 where the ratio has no denominator), and its clips in the test."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Confused:
    """How many clips of class ``true`` were called ``predicted``, and which share of ``true`` that is."""

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
        """The figure that stands for all others.

        >>> summarize([0], [[0.9, 0.1]], classes=["dog", "siren"], sources=["a"]).headline.name
        'accuracy'
        """
        return Headline("accuracy", "accuracy", self.accuracy, self.accuracy_interval)

    @property
    def second_figure(self) -> Figure:
        """The share of clips whose class is among the two most probable."""
        return Figure(name="Top 2", value=self.top2_accuracy, is_share=True)

    @property
    def class_figures(self) -> tuple[ClassScores, ...]:
        """The scores of each class, in class order."""
        return self.per_class

    @property
    def by_salience(self) -> dict[str, dict[str, Any]]:
        """``n`` and ``accuracy`` of the clips in the foreground and in the background, where they are marked."""
        return self.per_salience

    @property
    def confusion_matrix(self) -> Integers:
        """How often each class was called each class, int64 [true, predicted]."""
        return self.confusion

    def per_clip(self, n_answers: int) -> Summary:
        """The summary with counts of clips; the confusion matrix goes on counting answers.

        >>> twice = summarize([0, 0], [[0.9, 0.1]] * 2, classes=["dog", "siren"], sources=["a", "a"])
        >>> twice.n, twice.per_clip(2).n
        (2, 1)
        """
        return replace(
            self,
            n=self.n // n_answers,
            per_class=tuple(replace(scores, support=scores.support // n_answers) for scores in self.per_class),
            per_salience={mark: {**of, "n": of["n"] // n_answers} for mark, of in self.per_salience.items()},
        )

    def brief(self) -> dict[str, Any]:
        """The scores for a model's card."""
        return {
            "n_test": self.n,
            "accuracy": self.accuracy,
            "accuracy_interval": bounds(self.accuracy_interval),
            "macro_f1": self.macro_f1,
            "ece": self.ece,
        }

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON can hold it, under the names that ``metrics.json`` has for it."""
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
    seed: int = 0,
) -> Summary:
    """All scores of ``probabilities`` [n, c] for the true ``labels`` [n] (indices into ``classes``).

    ``sources`` [n] names each clip's recording; ``salience`` [n] is "foreground", "background" or None per clip.
    Raises SettingsError where the shapes do not fit together or a probability is not one.

    >>> summary = summarize([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], classes=["dog", "siren"],
    ...                     sources=["a", "b", "c"])
    >>> summary.n, round(summary.accuracy, 3), summary.confusion.tolist()
    (3, 0.667, [[1, 0], [1, 1]])
    """
    truth, p = _checked(labels, probabilities)
    if p.shape[1] != len(classes):
        raise SettingsError(f"there are {p.shape[1]} probabilities per clip but {len(classes)} classes: pass as many.")
    predicted = top_class(p)
    right = (truth == predicted).astype(np.float64)
    table = confusion(truth, predicted, n_classes=len(classes))
    return Summary(
        n=len(truth),
        accuracy=accuracy(truth, predicted),
        accuracy_interval=bootstrap_interval(right, sources, seed=seed),
        top2_accuracy=top_accuracy(truth, p, k=2),
        macro_f1=macro_f1(truth, predicted),
        log_loss=log_loss(truth, p),
        ece=ece(truth, p),
        per_class=class_scores(table, classes),
        per_salience=_by_salience(right, salience),
        confusion=table,
    )


def top_class(probabilities: ArrayLike) -> Integers:
    """The index of each row's largest probability [n]; of equal ones, the first.

    >>> top_class([[0.2, 0.8], [0.5, 0.5]]).tolist()
    [1, 0]
    """
    p = np.asarray(probabilities)
    return np.argmax(p, axis=1).astype(np.int64) if p.size else np.zeros(len(p), np.int64)


def accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """The share of clips whose predicted class is the true one (NaN without clips).

    >>> accuracy([0, 1, 2, 2], [0, 1, 2, 0])
    0.75
    """
    truth, answer = np.asarray(labels), np.asarray(predicted)
    check_same_length(truth, answer, "predictions")
    return mean_or_nan(truth == answer)


def top_accuracy(labels: ArrayLike, probabilities: ArrayLike, *, k: int = 2) -> float:
    """The share of clips whose true class is among the ``k`` most probable; of equal ones, the first count first.

    >>> top_accuracy([2, 0], [[0.5, 0.2, 0.3], [0.1, 0.4, 0.5]], k=2)
    0.5
    """
    truth, p = _checked(labels, probabilities)
    own = np.take_along_axis(p, truth[:, None], axis=1)
    earlier = np.arange(p.shape[1])[None, :] < truth[:, None]
    rank = np.count_nonzero((p > own) | ((p == own) & earlier), axis=1)
    return mean_or_nan(rank < k)


def confusion(labels: ArrayLike, predicted: ArrayLike, *, n_classes: int) -> Integers:
    """How often each class was called each class: int64 [n_classes, n_classes], rows are the true classes.

    >>> confusion([0, 0, 1], [0, 1, 1], n_classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    truth, answer = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    check_same_length(truth, answer, "predictions")
    for name, indices in (("label", truth), ("prediction", answer)):
        _check_class_indices(name, indices, n_classes)
    flat = np.bincount(truth * n_classes + answer, minlength=n_classes * n_classes)
    return flat.reshape(n_classes, n_classes).astype(np.int64)


def class_scores(table: Integers, classes: Sequence[str]) -> tuple[ClassScores, ...]:
    """Precision, recall, F1 and support of every class from a confusion matrix; 0 where there is nothing to divide by.

    >>> class_scores(np.array([[1, 1], [0, 2]]), ["dog", "siren"])[0]
    ClassScores(label='dog', precision=1.0, recall=0.5, f1=0.666..., support=2)
    """
    hit = np.diag(table).astype(np.float64)
    support, called = table.sum(axis=1), table.sum(axis=0)
    precision, recall, f1 = _ratio(hit, called), _ratio(hit, support), _ratio(2 * hit, support + called)
    return tuple(
        ClassScores(str(label), float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
        for i, label in enumerate(classes)
    )


def macro_f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """The plain mean of F1 over the classes that occur among the labels or the predictions.

    As ``sklearn.metrics.f1_score(average="macro", zero_division=0)`` of scikit-learn 1.9.

    >>> macro_f1([0, 0, 3], [0, 3, 3])
    0.666...
    """
    truth, answer = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    check_same_length(truth, answer, "predictions")
    present, indices = np.unique(np.concatenate([truth, answer]), return_inverse=True)
    truth, answer = indices[: len(truth)], indices[len(truth) :]
    names = [str(index) for index in present]
    return mean_or_nan([one.f1 for one in class_scores(confusion(truth, answer, n_classes=len(names)), names)])


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean of −ln(probability of the true class), in nats and float64.

    A probability below float64's resolution (2.2e-16) counts as that, so one certain mistake costs at most 36.04. As
    ``sklearn.metrics.log_loss`` of scikit-learn 1.9 on float64, where rows sum to one.

    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.75, 0.25]]), 4)
    1.0397
    """
    truth, p = _checked(labels, probabilities)
    own = np.take_along_axis(p, truth[:, None], axis=1)[:, 0]
    return mean_or_nan(-np.log(np.clip(own, np.finfo(np.float64).eps, 1.0)))


def reliability(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = ECE_BINS) -> tuple[ReliabilityBin, ...]:
    """The clips sorted into ``bins`` equal steps of their top probability, all classes and folds pooled.

    Bin i holds (i/bins, (i+1)/bins]: a value on an edge belongs to the bin below it, and 0 to the first.

    >>> lower, upper = reliability([0, 1], [[0.9, 0.1], [0.5, 0.5]], bins=2)
    >>> lower.n, lower.accuracy, upper.n, upper.confidence
    (1, 0.0, 1, 0.9)
    """
    truth, p = _checked(labels, probabilities)
    top = p.max(axis=1, initial=0.0)
    return binned(top, truth == top_class(p), bins=bins)


def ece(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = ECE_BINS) -> float:
    """Expected calibration error: mean over clips of |how sure − how often right| of their ``reliability`` bin.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.

    >>> round(ece([0, 1], [[0.9, 0.1], [0.8, 0.2]]), 3)
    0.45
    """
    return mean_gap(reliability(labels, probabilities, bins=bins))


def most_confused(table: Integers, classes: Sequence[str], *, limit: int = 10) -> tuple[Confused, ...]:
    """The commonest mistakes of a confusion matrix, most clips first, then in class order.

    >>> most_confused(np.array([[5, 3], [1, 0]]), ["drill", "engine"])[0]
    Confused(true='drill', predicted='engine', count=3, share=0.375)
    """
    mistakes = table - np.diag(np.diag(table))
    pairs = sorted(zip(*np.nonzero(mistakes), strict=True), key=lambda at: (-int(table[at]), int(at[0]), int(at[1])))
    return tuple(
        Confused(str(classes[i]), str(classes[j]), int(table[i, j]), float(table[i, j] / table[i].sum()))
        for i, j in pairs[:limit]
    )


def paired_difference(
    labels: ArrayLike, probabilities_a: ArrayLike, probabilities_b: ArrayLike, *, sources: ArrayLike, seed: int = 0
) -> PairedDifference:
    """Accuracy of a minus accuracy of b on the same clips [n], with its interval and p-values, by recording.

    >>> paired = paired_difference([0, 0], [[0.9, 0.1], [0.8, 0.2]], [[0.2, 0.8], [0.6, 0.4]], sources=["x", "y"])
    >>> paired.difference, paired.p, paired.clips, paired.recordings
    (0.5, 1.0, 2, 2)
    """
    truth, p_a = _checked(labels, probabilities_a)
    _, p_b = _checked(labels, probabilities_b)
    right_a, right_b = truth == top_class(p_a), truth == top_class(p_b)
    gain = right_a.astype(np.float64) - right_b
    return PairedDifference(
        difference=mean_or_nan(gain),
        interval=bootstrap_interval(gain, sources, seed=seed),
        p=sign_flip_p(gain, sources, seed=seed),
        mcnemar_p=mcnemar_p(right_a, right_b) if len(truth) else float("nan"),
        clips=len(truth),
        recordings=len(np.unique(np.asarray(sources))),
    )


def _by_salience(right: Floats, salience: Sequence[str | None] | None) -> dict[str, dict[str, Any]]:
    """Accuracy of the clips that were marked as foreground and as background, where any were."""
    if salience is None:
        return {}
    marks = np.array([mark or "" for mark in salience], dtype=str)
    check_same_length(right, marks, "salience marks")
    known = [name for name in ("foreground", "background") if np.any(marks == name)]
    return {name: {"n": int(np.sum(marks == name)), "accuracy": mean_or_nan(right[marks == name])} for name in known}


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """The quotients, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(len(part), np.float64), where=whole != 0)


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Integers, Floats]:
    """Labels as int64 [n] and probabilities as float64 [n, c], or one clear sentence."""
    truth, p = np.asarray(labels, np.int64), np.asarray(probabilities, np.float64)
    if truth.ndim != 1 or p.ndim != 2:
        raise SettingsError(f"labels must be [n] and probabilities [n, classes], not {truth.shape} and {p.shape}.")
    check_same_length(truth, p, "rows of probabilities")
    _check_class_indices("label", truth, p.shape[1])
    if not np.all((p >= 0) & (p <= 1 + 1e-6)):  # NaN fails too; float32 softmax may exceed 1 by rounding
        row = int(np.flatnonzero(~np.all((p >= 0) & (p <= 1 + 1e-6), axis=1))[0])
        raise SettingsError(f"row {row} of the probabilities is {p[row].tolist()}: each must lie between 0 and 1.")
    return truth, p


def _check_class_indices(name: str, indices: Integers, n_classes: int) -> None:
    outside = np.flatnonzero((indices < 0) | (indices >= n_classes))
    if outside.size:
        value, row = int(indices[outside[0]]), int(outside[0])
        raise SettingsError(
            f"{name} {value} (row {row}) is not a class: with {n_classes} classes, 0 to {n_classes - 1}."
        )

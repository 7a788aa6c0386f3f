"""Labels and probabilities to numbers with intervals, in NumPy alone.

Clips cut from one recording sound alike, so they count as one draw, not as many: every interval and every p-value
of a difference resamples *recordings* (``sources``), never clips. Nothing here assumes that a row of
probabilities sums to one, so a network with sigmoid outputs is measured by the same functions. What cannot be
told (the accuracy of no clips, the interval of one recording) is NaN, never a number that looks like an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.errors import SettingsError

LEVEL = 0.95  # of every interval
RESAMPLES = 10_000  # bootstrap resamples, and sign flips
ECE_BINS = 15
CHUNK_DRAWS = 2_000_000  # random numbers held at once: 16 MB

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; both ends are NaN where none can be given (fewer than two recordings)."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval at all.

        >>> Interval(0.6, 0.7).known, Interval(float("nan"), float("nan")).known
        (True, False)
        """
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def ends(interval: Interval) -> list[float | None]:
    """Both ends as JSON can hold them: ``None`` where there is none.

    >>> ends(Interval(0.6, float("nan")))
    [0.6, None]
    """
    return [float(end) if np.isfinite(end) else None for end in (interval.low, interval.high)]


def told(value: float) -> float | None:
    """The number, or ``None`` where it is not one: JSON has no NaN.

    >>> told(0.5), told(float("nan"))
    (0.5, None)
    """
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class Headline:
    """The one figure that stands for a classifier: accuracy, or the mAP of a multi-label one."""

    name: str
    key: str  # in metrics.json
    value: float
    interval: Interval


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
class ReliabilityBin:
    """The clips whose top probability lies in (low, high]: how sure the network was, and how often right."""

    low: float
    high: float
    n: int
    confidence: float  # mean top probability, NaN where n is 0
    accuracy: float  # share that is right, NaN where n is 0


@dataclass(frozen=True)
class ExpectedEce:
    """The ECE that a perfectly calibrated model would show: its mean, and what it stays below in 95 % of all draws."""

    mean: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of one classifier minus that of another on the same clips."""

    difference: float
    interval: Interval
    p: float  # sign-flip permutation test by recording
    mcnemar_p: float  # exact McNemar test; counts clips as independent, so it is too sure of itself
    clips: int
    recordings: int


@dataclass(frozen=True)
class Summary:
    """Everything that is said about one classifier on one set of test clips."""

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

        >>> summarise([0], [[0.9, 0.1]], classes=["dog", "siren"], sources=["a"]).headline.name
        'accuracy'
        """
        return Headline("accuracy", "accuracy", self.accuracy, self.accuracy_interval)

    def brief(self) -> dict[str, Any]:
        """What stands of it on a model's card."""
        return {
            "n_test": self.n,
            "accuracy": self.accuracy,
            "accuracy_interval": ends(self.accuracy_interval),
            "macro_f1": self.macro_f1,
            "ece": self.ece,
        }

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON can hold it, under the names that ``metrics.json`` has for it."""
        return {
            "n_test": self.n,
            "accuracy": self.accuracy,
            "accuracy_interval": ends(self.accuracy_interval),
            "top2_accuracy": self.top2_accuracy,
            "macro_f1": self.macro_f1,
            "log_loss": self.log_loss,
            "ece": self.ece,
            "per_class": [asdict(scores) for scores in self.per_class],
            "per_salience": self.per_salience,
            "confusion": self.confusion.tolist(),
        }


def summarise(
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

    >>> summary = summarise([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], classes=["dog", "siren"],
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
    _refuse_unlike(truth, answer, "predictions")
    return _mean(truth == answer)


def top_accuracy(labels: ArrayLike, probabilities: ArrayLike, *, k: int = 2) -> float:
    """The share of clips whose true class is among the ``k`` most probable; of equal ones, the first count first.

    >>> top_accuracy([2, 0], [[0.5, 0.2, 0.3], [0.1, 0.4, 0.5]], k=2)
    0.5
    """
    truth, p = _checked(labels, probabilities)
    own = np.take_along_axis(p, truth[:, None], axis=1)
    earlier = np.arange(p.shape[1])[None, :] < truth[:, None]
    rank = np.count_nonzero((p > own) | ((p == own) & earlier), axis=1)
    return _mean(rank < k)


def confusion(labels: ArrayLike, predicted: ArrayLike, *, n_classes: int) -> Integers:
    """How often each class was called each class: int64 [n_classes, n_classes], rows are the true classes.

    >>> confusion([0, 0, 1], [0, 1, 1], n_classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    truth, answer = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    _refuse_unlike(truth, answer, "predictions")
    for name, indices in (("label", truth), ("prediction", answer)):
        _refuse_outside(name, indices, n_classes)
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
    _refuse_unlike(truth, answer, "predictions")
    present, indices = np.unique(np.concatenate([truth, answer]), return_inverse=True)
    truth, answer = indices[: len(truth)], indices[len(truth) :]
    names = [str(index) for index in present]
    return _mean([one.f1 for one in class_scores(confusion(truth, answer, n_classes=len(names)), names)])


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean of −ln(probability of the true class), in nats and float64.

    A probability below float64's resolution (2.2e-16) counts as that, so one certain mistake costs at most 36.04. As
    ``sklearn.metrics.log_loss`` of scikit-learn 1.9 on float64, where rows sum to one.

    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.75, 0.25]]), 4)
    1.0397
    """
    truth, p = _checked(labels, probabilities)
    own = np.take_along_axis(p, truth[:, None], axis=1)[:, 0]
    return _mean(-np.log(np.clip(own, np.finfo(np.float64).eps, 1.0)))


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


def binned(probabilities: ArrayLike, is_so: ArrayLike, *, bins: int = ECE_BINS) -> tuple[ReliabilityBin, ...]:
    """Single ``probabilities`` [n], sorted into ``bins`` equal steps, with the share of each that ``is_so`` [n].

    >>> [one.accuracy for one in binned([0.9, 0.2, 0.4], [True, False, True], bins=2)]
    [0.5, 1.0]
    """
    p, so = np.asarray(probabilities, np.float64), np.asarray(is_so, bool)
    edges, place = np.arange(bins + 1) / bins, _bins_of(p, bins)
    return tuple(
        ReliabilityBin(float(edges[i]), float(edges[i + 1]), int(here.sum()), _mean(p[here]), _mean(so[here]))
        for i, here in enumerate(place == i for i in range(bins))
    )


def ece(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = ECE_BINS) -> float:
    """Expected calibration error: mean over clips of |how sure − how often right| of their ``reliability`` bin.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.

    >>> round(ece([0, 1], [[0.9, 0.1], [0.8, 0.2]]), 3)
    0.45
    """
    return gap(reliability(labels, probabilities, bins=bins))


def gap(bins: Sequence[ReliabilityBin]) -> float:
    """The mean over all that lies in ``bins`` of |how sure − how often so| of its bin; NaN where there is nothing.

    >>> gap(binned([0.9, 0.7], [True, False], bins=1))
    0.3...
    """
    filled = [one for one in bins if one.n]
    total = sum(one.n for one in filled)
    return sum(one.n * abs(one.accuracy - one.confidence) for one in filled) / total if total else float("nan")


def ece_if_calibrated(
    probabilities: ArrayLike, *, seed: int = 0, draws: int = 200, bins: int = ECE_BINS
) -> ExpectedEce:
    """The ``ece`` that a perfectly calibrated model would show with these very ``probabilities`` [n, c] of a softmax.

    Of few clips even that is not 0: a bin's share that is right scatters about its true value. In each draw every clip
    is right with its own top probability. Clips are drawn independently, which those of one recording are not, nor
    several seeds' answers to one clip: a calibrated model may well show more, so this is a lower bound.

    Source: J. Vaicenavicius et al., "Evaluating model calibration in classification", AISTATS 2019, section 5
    (consistency resampling).

    >>> expected = ece_if_calibrated([[0.8, 0.2]] * 100)  # the mean of |share right − 0.8| of 100 clips
    >>> 0.025 < expected.mean < 0.04 < expected.high
    True
    """
    top = np.asarray(probabilities, np.float64).max(axis=1, initial=0.0)
    if not len(top):
        return ExpectedEce(float("nan"), float("nan"))
    place = _bins_of(top, bins)
    sure = np.bincount(place, weights=top, minlength=bins)
    generator = np.random.default_rng(seed)
    found = [
        float(np.abs(np.bincount(place[generator.random(len(top)) < top], minlength=bins) - sure).sum()) / len(top)
        for _ in range(draws)
    ]
    return ExpectedEce(float(np.mean(found)), float(np.quantile(found, LEVEL)))


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


def bootstrap_interval(
    values: ArrayLike, sources: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """The interval of the mean of ``values`` [n] when whole recordings are drawn again with replacement.

    With m recordings, each resample draws m of them; its statistic is Σ values / Σ clips of those drawn (a ratio of
    sums: recordings differ in length), and the interval lies between percentiles of all of these (Efron and
    Tibshirani 1993, chapter 13). One recording tells nothing about the next: NaN. Values that are all equal (every
    clip right) give an interval of no width: read it as "not seen to vary".

    >>> bootstrap_interval([1, 1, 0, 0, 1, 0], ["a", "a", "b", "b", "c", "d"], resamples=1000)
    Interval(low=0.0, high=1.0)
    """
    totals, counts = _per_recording(np.asarray(values, np.float64), sources)
    recordings = len(counts)
    if recordings < 2:
        return Interval(float("nan"), float("nan"))
    at_once = max(1, CHUNK_DRAWS // recordings)
    statistics = [
        (times @ totals) / (times @ counts)
        for times in drawn_again(recordings, seed=seed, resamples=resamples, at_once=at_once)
    ]
    return between_percentiles(np.concatenate(statistics), level)


def drawn_again(recordings: int, *, seed: int, resamples: int, at_once: int) -> Iterator[Floats]:
    """How often each of so many ``recordings`` stands in each resample, float64 [``at_once`` or fewer, recordings].

    >>> (times,) = drawn_again(5, seed=0, resamples=3, at_once=10)
    >>> times.shape, times.sum(1).tolist()
    ((3, 5), [5.0, 5.0, 5.0])
    """
    generator = np.random.default_rng(seed)
    for rows in _chunks(resamples, at_once):
        cells = generator.integers(recordings, size=(rows, recordings)) + recordings * np.arange(rows)[:, None]
        times = np.bincount(cells.ravel(), minlength=rows * recordings).reshape(rows, recordings)
        yield times.astype(np.float64)


def between_percentiles(statistics: Floats, level: float = LEVEL) -> Interval:
    """The interval that holds ``level`` of the statistics [resamples] in its middle; NaN where none is a number.

    >>> between_percentiles(np.arange(101.0), level=0.5)
    Interval(low=25.0, high=75.0)
    """
    statistics = statistics[np.isfinite(statistics)]
    if not len(statistics):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(statistics, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def sign_flip_p(differences: ArrayLike, sources: ArrayLike, *, seed: int = 0, flips: int = RESAMPLES) -> float:
    """How often chance alone gives a mean difference as large as this one, two-sided, if recordings favour neither.

    Were the two classifiers exchangeable, each recording's sum of ``differences`` [n] could as well have had the other
    sign. Where all sign patterns are at most ``flips``, each is tried and p = count / patterns; otherwise ``flips``
    random ones and p = (1 + count) / (1 + flips) (Phipson and Smyth 2010). NaN without clips, 1 without a difference.

    >>> sign_flip_p([1, 1, 1, 1, 1], ["a", "b", "c", "d", "e"])  # 2 of 32 patterns are as extreme
    0.0625
    """
    totals, _ = _per_recording(np.asarray(differences, np.float64), sources)
    if len(totals) == 0:
        return float("nan")
    totals = totals[totals != 0]  # either sign gives the same sum
    observed = abs(totals.sum()) * (1 - 1e-12)  # so that rounding does not decide between equals
    if 2 ** len(totals) <= flips:
        patterns = np.arange(2 ** len(totals))[:, None] >> np.arange(len(totals)) & 1
        return float(np.mean(np.abs((1.0 - 2.0 * patterns) @ totals) >= observed))
    generator = np.random.default_rng(seed)
    extreme = 0
    for rows in _chunks(flips, max(1, CHUNK_DRAWS // len(totals))):
        signs = 1.0 - 2.0 * generator.integers(2, size=(rows, len(totals)), dtype=np.int8)
        extreme += int(np.count_nonzero(np.abs(signs @ totals) >= observed))
    return (1 + extreme) / (1 + flips)


def mcnemar_p(right_a: ArrayLike, right_b: ArrayLike) -> float:
    """The exact two-sided McNemar test on clips of which only one classifier is right.

    It counts clips as if they were independent. Clips of one recording are not, so it is too sure of itself; it
    stands beside ``sign_flip_p`` because papers report it.

    >>> mcnemar_p([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1])
    0.21875
    """
    a, b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    _refuse_unlike(a, b, "answers of the second classifier")
    only_a, only_b = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    disagreements = only_a + only_b
    term = tail = 1  # C(n, 0), C(n, 1), … as whole numbers: exact at any n
    for k in range(min(only_a, only_b)):
        term = term * (disagreements - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / 2**disagreements)


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
        difference=_mean(gain),
        interval=bootstrap_interval(gain, sources, seed=seed),
        p=sign_flip_p(gain, sources, seed=seed),
        mcnemar_p=mcnemar_p(right_a, right_b) if len(truth) else float("nan"),
        clips=len(truth),
        recordings=len(np.unique(np.asarray(sources))),
    )


def _bins_of(top: Floats, bins: int) -> Integers:
    """The bin of each top probability [n], as ``reliability`` has them."""
    edges = np.arange(bins + 1) / bins
    return np.clip(np.searchsorted(edges, top, side="left") - 1, 0, bins - 1).astype(np.int64)


def _by_salience(right: Floats, salience: Sequence[str | None] | None) -> dict[str, dict[str, Any]]:
    """Accuracy of the clips that were marked as foreground and as background, where any were."""
    if salience is None:
        return {}
    marks = np.array([mark or "" for mark in salience], dtype=str)
    _refuse_unlike(right, marks, "salience marks")
    known = [name for name in ("foreground", "background") if np.any(marks == name)]
    return {name: {"n": int(np.sum(marks == name)), "accuracy": _mean(right[marks == name])} for name in known}


def _per_recording(values: Floats, sources: ArrayLike) -> tuple[Floats, Floats]:
    """Each recording's sum of values and number of clips, float64 [recordings]."""
    names = np.asarray(sources)
    _refuse_unlike(values, names, "sources")
    _, index = np.unique(names, return_inverse=True)
    return np.bincount(index, weights=values).astype(np.float64), np.bincount(index).astype(np.float64)


def _chunks(total: int, at_once: int) -> Iterator[int]:
    """Row counts that add up to ``total``, none above ``at_once``."""
    for start in range(0, total, at_once):
        yield min(at_once, total - start)


def _mean(values: ArrayLike) -> float:
    array = np.asarray(values, np.float64)
    return float(array.mean()) if array.size else float("nan")


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """The quotients, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(len(part), np.float64), where=whole != 0)


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Integers, Floats]:
    """Labels as int64 [n] and probabilities as float64 [n, c], or one clear sentence."""
    truth, p = np.asarray(labels, np.int64), np.asarray(probabilities, np.float64)
    if truth.ndim != 1 or p.ndim != 2:
        raise SettingsError(f"labels must be [n] and probabilities [n, classes], not {truth.shape} and {p.shape}.")
    _refuse_unlike(truth, p, "rows of probabilities")
    _refuse_outside("label", truth, p.shape[1])
    if not np.all((p >= 0) & (p <= 1 + 1e-6)):  # NaN fails too; float32 softmax may exceed 1 by rounding
        row = int(np.flatnonzero(~np.all((p >= 0) & (p <= 1 + 1e-6), axis=1))[0])
        raise SettingsError(f"row {row} of the probabilities is {p[row].tolist()}: each must lie between 0 and 1.")
    return truth, p


def _refuse_unlike(values: NDArray[Any], others: NDArray[Any], name: str) -> None:
    if len(values) != len(others):
        raise SettingsError(f"there are {len(values)} clips but {len(others)} {name}: pass one for each clip.")


def _refuse_outside(name: str, indices: Integers, n_classes: int) -> None:
    outside = np.flatnonzero((indices < 0) | (indices >= n_classes))
    if outside.size:
        value, row = int(indices[outside[0]]), int(outside[0])
        raise SettingsError(
            f"{name} {value} (row {row}) is not a class: with {n_classes} classes, 0 to {n_classes - 1}."
        )

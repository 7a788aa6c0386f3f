"""The task of a data set, single-label or multi-label, and everything that differs between the two.

In single-label data each clip has one class, and the activation of a network's logits is a softmax. In multi-label data
each clip has any number of classes, and the activation is a sigmoid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundmark.datasets import Dataset
from soundmark.errors import SettingsError
from soundmark.metrics import calibration_error, multi_label, significance, single_label, task_words
from soundmark.metrics.calibration_error import ExpectedEce, ReliabilityBin
from soundmark.metrics.intervals import Floats, Integers
from soundmark.metrics.multi_label import MultiSummary
from soundmark.metrics.score_summary import ScoreSummary
from soundmark.metrics.significance import PairedDifference
from soundmark.metrics.single_label import Summary
from soundmark.metrics.task_words import TaskWords
from soundmark.metrics.thresholds import THRESHOLD, best_thresholds, label_text, present


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The misclassified clips: their row indices, predicted classes and probabilities."""

    rows: Integers  # [k], ascending
    predicted: Integers  # [k]
    probabilities: Floats  # [k]


@dataclass(frozen=True)
class Task(ABC):
    """Everything that differs between single-label and multi-label data; ``truth`` is [n] or [n, classes]."""

    name: str
    activation: str
    figure: str  # name of the main metric
    key: str  # its key in metrics.json and in a model card
    class_figure: str  # name of the main metric of a class
    words: TaskWords
    has_thresholds: bool  # whether each class has a threshold
    lookup_is_comparable: bool  # whether the accuracy of the leakage lookup is comparable with the main metric

    @staticmethod
    def of(multi_label: bool) -> Task:
        """Return the task of single-label or multi-label data.

        >>> Task.of(city.multi_label).activation
        'softmax'
        """
        return TASKS["multi-label" if multi_label else "single-label"]

    @staticmethod
    def named(activation: str) -> Task:
        """Return the task whose networks have this ``activation``.

        Raises:
            SettingsError: the activation is unknown.
        """
        for task in TASKS.values():
            if task.activation == activation:
                return task
        known = ", ".join(task.activation for task in TASKS.values())
        raise SettingsError(f'there is no activation "{activation}". Known: {known}.')

    @staticmethod
    def of_truth(truth: NDArray[Any]) -> Task:
        """Return the task of labels [n] or targets [n, classes]."""
        return Task.of(truth.ndim == 2)

    @staticmethod
    def of_scores(scores: Mapping[str, Any]) -> Task:
        """Return the task whose main metric is among the ``scores`` of a model card; default: single-label."""
        return next((task for task in reversed(TASKS.values()) if task.key in scores), Task.of(multi_label=False))

    @abstractmethod
    def activate(self, scaled: NDArray[Any]) -> Floats:
        """Convert logits that were divided by the temperature to probabilities, float64 [n, classes]."""

    def probabilities(self, logits: NDArray[Any], temperature: float = 1.0) -> Floats:
        """Convert ``logits`` [n, classes] to probabilities, float64 [n, classes]."""
        return self.activate(np.asarray(logits).astype(np.float64) / temperature)

    @abstractmethod
    def undo_temperature(self, probabilities: NDArray[Any], temperature: float) -> Floats:
        """Return the probabilities of the logits without division by ``temperature``, float64 [n, classes]."""

    @abstractmethod
    def log_odds(self, scaled: Floats, class_index: int) -> Floats:
        """Return ln(p / (1 − p)) of class ``class_index``, float64 [n], from logits divided by the temperature."""

    @abstractmethod
    def cross_entropy(self, logits: NDArray[Any], targets: NDArray[Any]) -> float:
        """Compute the mean cross entropy in nats of ``logits`` and ``targets``, both [n, classes]."""

    @abstractmethod
    def smoothed(self, targets: NDArray[Any], share: float) -> NDArray[Any]:
        """Apply label smoothing to ``targets`` [n, classes]: distribute ``share`` of each uniformly."""

    @abstractmethod
    def truth(self, dataset: Dataset, clips: Integers) -> NDArray[Any]:
        """Return the labels of ``clips`` [n]: class indices int64 [n], or targets float32 [n, classes]."""

    @abstractmethod
    def predicted(
        self, probabilities: NDArray[Any], classes: Sequence[str], thresholds: ArrayLike | None = None
    ) -> list[str]:
        """Return the predicted label of each row of ``probabilities`` [n, classes]."""

    @abstractmethod
    def mistakes(
        self, truth: NDArray[Any], probabilities: NDArray[Any], thresholds: ArrayLike | None = None
    ) -> Mistakes:
        """Return the misclassified clips, each with its most probable wrong class."""

    @abstractmethod
    def score(
        self,
        dataset: Dataset,
        clips: Integers,
        probabilities: NDArray[Any],
        *,
        thresholds: ArrayLike | None = None,
    ) -> ScoreSummary:
        """Compute all scores of ``probabilities`` [n, classes] on ``clips`` [n] of ``dataset``."""

    @abstractmethod
    def headline(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> float:
        """Compute only the main metric."""

    @abstractmethod
    def class_headline(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> Floats:
        """Compute only the main metric of each class, ``class_figure``, float64 [classes]; NaN if it is undefined."""

    @abstractmethod
    def paired_difference(
        self, truth: NDArray[Any], a: NDArray[Any], b: NDArray[Any], *, sources: ArrayLike, seed: int = 0
    ) -> PairedDifference:
        """Compute the main metric of ``a`` minus that of ``b``, with interval and p-values over recordings."""

    @abstractmethod
    def mcnemar_p(self, truth: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> float:
        """Compute the p-value of McNemar's test of two classifiers; NaN for multi-label data."""

    @abstractmethod
    def reliability(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> tuple[ReliabilityBin, ...]:
        """Compute the bins of a reliability diagram."""

    def ece(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> float:
        """Compute the expected calibration error."""
        return calibration_error.ece_of_bins(self.reliability(truth, probabilities))

    def ece_if_calibrated(self, probabilities: NDArray[Any], *, seed: int = 0) -> ExpectedEce | None:
        """Estimate the ECE of a perfectly calibrated model; None for multi-label data."""
        return None

    @abstractmethod
    def chance(self, truth: NDArray[Any]) -> float:
        """Return the chance level of the main metric."""

    def thresholds(self, given: Sequence[float] | None, n_classes: int) -> Floats | None:
        """Return the threshold of each class, float64 [classes], default 0.5; None for single-label data."""
        return np.array(given or [THRESHOLD] * n_classes, np.float64) if self.has_thresholds else None

    def best_thresholds(self, targets: NDArray[Any], logits: NDArray[Any], temperature: float) -> Floats | None:
        """Find the thresholds with the largest F1 on validation clips, float64 [classes]; None if single-label."""
        return best_thresholds(targets, self.probabilities(logits, temperature)) if self.has_thresholds else None


class SingleLabel(Task):
    """One class per clip: softmax, accuracy."""

    def activate(self, scaled: NDArray[Any]) -> Floats:  # noqa: D102
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def undo_temperature(self, probabilities: NDArray[Any], temperature: float) -> Floats:
        """Raise the probabilities to the power of the temperature and normalise them to sum to one."""
        p = np.asarray(probabilities, np.float64)
        return self.activate(temperature * np.log(np.maximum(p, np.finfo(np.float64).tiny)))

    def log_odds(self, scaled: Floats, class_index: int) -> Floats:  # noqa: D102
        others = np.logaddexp.reduce(np.delete(scaled, class_index, axis=1), axis=1)
        return np.asarray(scaled[:, class_index] - others)

    def cross_entropy(self, logits: NDArray[Any], targets: NDArray[Any]) -> float:  # noqa: D102
        z = np.asarray(logits, np.float64)
        top = z.max(1, keepdims=True)
        total = np.log(np.exp(z - top).sum(1, keepdims=True)) + top
        return float((targets * (total - z)).sum(1).mean())

    def smoothed(self, targets: NDArray[Any], share: float) -> NDArray[Any]:  # noqa: D102
        return targets * (1 - share) + share / targets.shape[1]

    def truth(self, dataset: Dataset, clips: Integers) -> NDArray[Any]:  # noqa: D102
        return dataset.labels[clips]

    def predicted(
        self, probabilities: NDArray[Any], classes: Sequence[str], thresholds: ArrayLike | None = None
    ) -> list[str]:
        """Return the most probable class; ``thresholds`` are ignored."""
        return [classes[int(row.argmax())] for row in probabilities]

    def mistakes(  # noqa: D102
        self, truth: NDArray[Any], probabilities: NDArray[Any], thresholds: ArrayLike | None = None
    ) -> Mistakes:
        predicted, top = single_label.top_class(probabilities), np.max(probabilities, axis=1, initial=0.0)
        wrong = np.flatnonzero(predicted != truth)
        return Mistakes(rows=wrong, predicted=predicted[wrong], probabilities=top[wrong])

    def score(  # noqa: D102
        self,
        dataset: Dataset,
        clips: Integers,
        probabilities: NDArray[Any],
        *,
        thresholds: ArrayLike | None = None,
    ) -> Summary:
        return single_label.summarize(
            self.truth(dataset, clips),
            probabilities,
            classes=dataset.classes,
            sources=dataset.sources[clips],
            salience=[dataset.clips[i].salience for i in clips],
        )

    def headline(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> float:  # noqa: D102
        return single_label.accuracy(truth, single_label.top_class(probabilities))

    def class_headline(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> Floats:
        """Compute the F1 of each class; NaN for a class without clips."""
        n = probabilities.shape[1]
        table = single_label.confusion(truth, single_label.top_class(probabilities), n_classes=n)
        found = single_label.class_scores(table, [str(i) for i in range(n)])
        return np.array([one.f1 if one.support else np.nan for one in found], np.float64)

    def paired_difference(  # noqa: D102
        self, truth: NDArray[Any], a: NDArray[Any], b: NDArray[Any], *, sources: ArrayLike, seed: int = 0
    ) -> PairedDifference:
        return single_label.paired_difference(truth, a, b, sources=sources, seed=seed)

    def mcnemar_p(self, truth: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> float:  # noqa: D102
        return significance.mcnemar_p(*(single_label.top_class(one) == truth for one in (a, b)))

    def reliability(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> tuple[ReliabilityBin, ...]:  # noqa: D102
        return single_label.reliability(truth, probabilities)

    def ece_if_calibrated(self, probabilities: NDArray[Any], *, seed: int = 0) -> ExpectedEce | None:  # noqa: D102
        return calibration_error.ece_if_calibrated(probabilities, seed=seed)

    def chance(self, truth: NDArray[Any]) -> float:
        """Return the fraction of the most frequent class."""
        return float(np.bincount(truth).max(initial=0) / max(1, len(truth)))


class MultiLabel(Task):
    """Any number of classes per clip: a sigmoid and a threshold per class, mean average precision."""

    def activate(self, scaled: NDArray[Any]) -> Floats:
        """Compute 1 / (1 + exp(−z)) without overflow."""
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * scaled))

    def undo_temperature(self, probabilities: NDArray[Any], temperature: float) -> Floats:
        """Raise the odds of each class to the power of the temperature."""
        p = np.asarray(probabilities, np.float64)
        present_part = temperature * np.log(np.maximum(p, np.finfo(np.float64).tiny))
        return self.activate(present_part - temperature * np.log(np.maximum(1 - p, np.finfo(np.float32).epsneg / 2)))

    def log_odds(self, scaled: Floats, class_index: int) -> Floats:  # noqa: D102
        return np.asarray(scaled[:, class_index])

    def cross_entropy(self, logits: NDArray[Any], targets: NDArray[Any]) -> float:
        """Compute the binary cross entropy, summed over classes."""
        z = np.asarray(logits, np.float64)
        return float((np.logaddexp(0, z) - targets * z).sum(1).mean())

    def smoothed(self, targets: NDArray[Any], share: float) -> NDArray[Any]:  # noqa: D102
        return targets * (1 - share) + share / 2

    def truth(self, dataset: Dataset, clips: Integers) -> NDArray[Any]:  # noqa: D102
        return dataset.targets[clips]

    def predicted(
        self, probabilities: NDArray[Any], classes: Sequence[str], thresholds: ArrayLike | None = None
    ) -> list[str]:
        """Return the classes that reach their thresholds, as "dog;siren", or "" for none."""
        return [label_text(row, classes) for row in present(probabilities, thresholds)]

    def mistakes(
        self, truth: NDArray[Any], probabilities: NDArray[Any], thresholds: ArrayLike | None = None
    ) -> Mistakes:
        """Return the most probable false positive of each clip: a class above its threshold that is not a label."""
        false_positives = np.where(present(probabilities, thresholds), probabilities, 0) * (1 - truth)
        predicted, top = single_label.top_class(false_positives), np.max(false_positives, axis=1, initial=0.0)
        wrong = np.flatnonzero(top > 0)
        return Mistakes(rows=wrong, predicted=predicted[wrong], probabilities=top[wrong])

    def score(  # noqa: D102
        self,
        dataset: Dataset,
        clips: Integers,
        probabilities: NDArray[Any],
        *,
        thresholds: ArrayLike | None = None,
    ) -> MultiSummary:
        return multi_label.summarize(
            self.truth(dataset, clips),
            probabilities,
            classes=dataset.classes,
            sources=dataset.sources[clips],
            thresholds=thresholds,
        )

    def headline(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> float:  # noqa: D102
        return multi_label.mean_average_precision(truth, probabilities)

    def class_headline(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> Floats:
        """Compute the average precision of each class; NaN for a class without clips."""
        return multi_label.average_precision(truth, probabilities)

    def paired_difference(  # noqa: D102
        self, truth: NDArray[Any], a: NDArray[Any], b: NDArray[Any], *, sources: ArrayLike, seed: int = 0
    ) -> PairedDifference:
        return multi_label.paired_difference(truth, a, b, sources=sources, seed=seed)

    def mcnemar_p(self, truth: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> float:  # noqa: D102
        return float("nan")

    def reliability(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> tuple[ReliabilityBin, ...]:  # noqa: D102
        return multi_label.reliability(truth, probabilities)

    def chance(self, truth: NDArray[Any]) -> float:
        """Return the mean fraction of clips per class, over the classes that occur."""
        shares = truth.mean(axis=0)
        return float(shares[shares > 0].mean()) if shares.any() else 0.0


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        SingleLabel(
            name="single-label",
            activation="softmax",
            figure="accuracy",
            key="accuracy",
            class_figure="F1",
            words=task_words.SINGLE_LABEL,
            has_thresholds=False,
            lookup_is_comparable=True,
        ),
        MultiLabel(
            name="multi-label",
            activation="sigmoid",
            figure="mAP",
            key="mean_average_precision",
            class_figure="AP",
            words=task_words.MULTI_LABEL,
            has_thresholds=True,
            lookup_is_comparable=False,
        ),
    )
}


def score_clips(
    dataset: Dataset,
    test: NDArray[np.int64],
    probabilities: Floats,
    *,
    thresholds: ArrayLike | None = None,
) -> ScoreSummary:
    """Compute all scores of ``probabilities`` [n, classes] on the clips ``test`` [n] of a data set.

    >>> score_clips(city, np.arange(20), np.eye(10, dtype=np.float32)[city.labels[:20]]).headline.value
    1.0
    """
    return Task.of(dataset.multi_label).score(dataset, test, probabilities, thresholds=thresholds)

"""The task of a data set, single-label or multi-label, and everything that differs between the two.

Of single-label data each clip has one class, and a network's outputs pass through a softmax. Of multi-label data each
clip has any number of classes, and each output passes through a sigmoid of its own.
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
    """The wrong answers of a classifier: each with its clip's place, the class it was called, and the probability."""

    rows: Integers  # [k], ascending
    predicted: Integers  # [k]
    probabilities: Floats  # [k]


@dataclass(frozen=True)
class Task(ABC):
    """Everything that differs between single-label and multi-label data; ``truth`` is [n] or [n, classes]."""

    name: str
    activation: str
    figure: str  # the headline figure for people
    key: str  # the same in metrics.json and on a model's card
    words: TaskWords
    has_thresholds: bool  # whether each class has a threshold of its own
    look_up_is_comparable: bool  # whether naming the label of a known recording gives the headline figure too

    @staticmethod
    def of(multi_label: bool) -> Task:
        """The task of data with one label to a clip, or with any number of labels.

        >>> Task.of(city.multi_label).activation
        'softmax'
        """
        return TASKS["multi-label" if multi_label else "single-label"]

    @staticmethod
    def named(activation: str) -> Task:
        """The task of networks with this ``activation``.

        Raises:
            SettingsError: no task has it.
        """
        for task in TASKS.values():
            if task.activation == activation:
                return task
        known = ", ".join(task.activation for task in TASKS.values())
        raise SettingsError(f'there is no activation "{activation}". Known: {known}.')

    @staticmethod
    def of_truth(truth: NDArray[Any]) -> Task:
        """The task of labels [n] or targets [n, classes]."""
        return Task.of(truth.ndim == 2)

    @staticmethod
    def of_scores(scores: Mapping[str, Any]) -> Task:
        """The task whose headline figure is among ``scores`` of a model's card; single-label where none is."""
        return next((task for task in reversed(TASKS.values()) if task.key in scores), Task.of(multi_label=False))

    @abstractmethod
    def activate(self, scaled: NDArray[Any]) -> Floats:
        """Probabilities float64 [n, classes] of logits that were divided by the temperature."""

    def probabilities(self, logits: NDArray[Any], temperature: float = 1.0) -> Floats:
        """Probabilities float64 [n, classes] of ``logits`` [n, classes]."""
        return self.activate(np.asarray(logits).astype(np.float64) / temperature)

    @abstractmethod
    def undo_temperature(self, probabilities: NDArray[Any], temperature: float) -> Floats:
        """Probabilities float64 [n, classes] as they were before their logits were divided by ``temperature``."""

    @abstractmethod
    def log_odds(self, scaled: Floats, which: int) -> Floats:
        """ln(p / (1 − p)) of class ``which``, float64 [n], of logits that were divided by the temperature."""

    @abstractmethod
    def cross_entropy(self, logits: NDArray[Any], targets: NDArray[Any]) -> float:
        """Mean cross entropy in nats of ``logits`` and ``targets``, both [n, classes]."""

    @abstractmethod
    def smoothed(self, targets: NDArray[Any], share: float) -> NDArray[Any]:
        """``targets`` [n, classes] with ``share`` of each spread over all answers that could have been given."""

    @abstractmethod
    def truth(self, dataset: Dataset, clips: Integers) -> NDArray[Any]:
        """The labels of ``clips`` [n]: class indices int64 [n], or targets float32 [n, classes]."""

    @abstractmethod
    def predicted(
        self, probabilities: NDArray[Any], classes: Sequence[str], thresholds: ArrayLike | None = None
    ) -> list[str]:
        """The label that each row of ``probabilities`` [n, classes] stands for."""

    @abstractmethod
    def mistakes(
        self, truth: NDArray[Any], probabilities: NDArray[Any], thresholds: ArrayLike | None = None
    ) -> Mistakes:
        """The wrong answers; of several to a clip, the most probable."""

    @abstractmethod
    def score(
        self,
        dataset: Dataset,
        clips: Integers,
        probabilities: NDArray[Any],
        *,
        thresholds: ArrayLike | None = None,
        seed: int = 0,
    ) -> ScoreSummary:
        """All scores of ``probabilities`` [n, classes] on ``clips`` [n] of ``dataset``."""

    @abstractmethod
    def headline(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> float:
        """The headline figure alone."""

    @abstractmethod
    def paired_difference(
        self, truth: NDArray[Any], a: NDArray[Any], b: NDArray[Any], *, sources: ArrayLike, seed: int = 0
    ) -> PairedDifference:
        """The headline figure of probabilities ``a`` minus that of ``b``, with interval and p-values by recording."""

    @abstractmethod
    def mcnemar_p(self, truth: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> float:
        """P of McNemar's test of two classifiers; NaN where no answer is simply right or wrong."""

    @abstractmethod
    def reliability(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> tuple[ReliabilityBin, ...]:
        """The bins of a reliability diagram."""

    def ece(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> float:
        """Expected calibration error."""
        return calibration_error.mean_gap(self.reliability(truth, probabilities))

    def ece_if_calibrated(self, probabilities: NDArray[Any], *, seed: int = 0) -> ExpectedEce | None:
        """The ECE that a perfectly calibrated model would show; None where it is not computed."""
        return None

    @abstractmethod
    def chance(self, truth: NDArray[Any]) -> float:
        """The headline figure without any knowledge of the sounds."""

    def thresholds(self, given: Sequence[float] | None, n_classes: int) -> Floats | None:
        """The threshold of each class, float64 [classes], 0.5 unless ``given``; None for a task without thresholds."""
        return np.array(given or [THRESHOLD] * n_classes, np.float64) if self.has_thresholds else None

    def best_thresholds(self, targets: NDArray[Any], logits: NDArray[Any], temperature: float) -> Floats | None:
        """The thresholds of the largest F1 on validation clips, float64 [classes]; None for a task without."""
        return best_thresholds(targets, self.probabilities(logits, temperature)) if self.has_thresholds else None


class SingleLabel(Task):
    """One class to a clip: softmax, accuracy."""

    def activate(self, scaled: NDArray[Any]) -> Floats:  # noqa: D102
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def undo_temperature(self, probabilities: NDArray[Any], temperature: float) -> Floats:
        """The probabilities to the power of the temperature, scaled to sum to one."""
        p = np.asarray(probabilities, np.float64)
        return self.activate(temperature * np.log(np.maximum(p, np.finfo(np.float64).tiny)))

    def log_odds(self, scaled: Floats, which: int) -> Floats:  # noqa: D102
        others = np.logaddexp.reduce(np.delete(scaled, which, axis=1), axis=1)
        return np.asarray(scaled[:, which] - others)

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
        """The most probable class; ``thresholds`` play no part."""
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
        seed: int = 0,
    ) -> Summary:
        return single_label.summarize(
            self.truth(dataset, clips),
            probabilities,
            classes=dataset.classes,
            sources=dataset.sources[clips],
            salience=[dataset.clips[i].salience for i in clips],
            seed=seed,
        )

    def headline(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> float:  # noqa: D102
        return single_label.accuracy(truth, single_label.top_class(probabilities))

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
        """The share of the commonest class."""
        return float(np.bincount(truth).max(initial=0) / max(1, len(truth)))


class MultiLabel(Task):
    """Any number of classes to a clip: a sigmoid and a threshold for each, mean average precision."""

    def activate(self, scaled: NDArray[Any]) -> Floats:
        """1 / (1 + exp(−z)), written so that it does not overflow."""
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * scaled))

    def undo_temperature(self, probabilities: NDArray[Any], temperature: float) -> Floats:
        """The odds of each class to the power of the temperature."""
        p = np.asarray(probabilities, np.float64)
        present_part = temperature * np.log(np.maximum(p, np.finfo(np.float64).tiny))
        return self.activate(present_part - temperature * np.log(np.maximum(1 - p, np.finfo(np.float32).epsneg / 2)))

    def log_odds(self, scaled: Floats, which: int) -> Floats:  # noqa: D102
        return np.asarray(scaled[:, which])

    def cross_entropy(self, logits: NDArray[Any], targets: NDArray[Any]) -> float:
        """That of each class on its own, summed over the classes."""
        z = np.asarray(logits, np.float64)
        return float((np.logaddexp(0, z) - targets * z).sum(1).mean())

    def smoothed(self, targets: NDArray[Any], share: float) -> NDArray[Any]:  # noqa: D102
        return targets * (1 - share) + share / 2

    def truth(self, dataset: Dataset, clips: Integers) -> NDArray[Any]:  # noqa: D102
        return dataset.targets[clips]

    def predicted(
        self, probabilities: NDArray[Any], classes: Sequence[str], thresholds: ArrayLike | None = None
    ) -> list[str]:
        """The classes that reach their thresholds, as "dog;siren", or "" for none."""
        return [label_text(row, classes) for row in present(probabilities, thresholds)]

    def mistakes(
        self, truth: NDArray[Any], probabilities: NDArray[Any], thresholds: ArrayLike | None = None
    ) -> Mistakes:
        """The most probable class of each clip that reaches its threshold and is not among the clip's labels."""
        false = np.where(present(probabilities, thresholds), probabilities, 0) * (1 - truth)
        predicted, top = single_label.top_class(false), np.max(false, axis=1, initial=0.0)
        wrong = np.flatnonzero(top > 0)
        return Mistakes(rows=wrong, predicted=predicted[wrong], probabilities=top[wrong])

    def score(  # noqa: D102
        self,
        dataset: Dataset,
        clips: Integers,
        probabilities: NDArray[Any],
        *,
        thresholds: ArrayLike | None = None,
        seed: int = 0,
    ) -> MultiSummary:
        return multi_label.summarize(
            self.truth(dataset, clips),
            probabilities,
            classes=dataset.classes,
            sources=dataset.sources[clips],
            thresholds=thresholds,
            seed=seed,
        )

    def headline(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> float:  # noqa: D102
        return multi_label.mean_average_precision(truth, probabilities)

    def paired_difference(  # noqa: D102
        self, truth: NDArray[Any], a: NDArray[Any], b: NDArray[Any], *, sources: ArrayLike, seed: int = 0
    ) -> PairedDifference:
        return multi_label.paired_difference(truth, a, b, sources=sources, seed=seed)

    def mcnemar_p(self, truth: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> float:  # noqa: D102
        return float("nan")

    def reliability(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> tuple[ReliabilityBin, ...]:  # noqa: D102
        return multi_label.reliability(truth, probabilities)

    def chance(self, truth: NDArray[Any]) -> float:
        """The mean share of clips over the classes that occur."""
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
            words=task_words.SINGLE_LABEL,
            has_thresholds=False,
            look_up_is_comparable=True,
        ),
        MultiLabel(
            name="multi-label",
            activation="sigmoid",
            figure="mAP",
            key="mean_average_precision",
            words=task_words.MULTI_LABEL,
            has_thresholds=True,
            look_up_is_comparable=False,
        ),
    )
}


def score_clips(
    dataset: Dataset,
    test: NDArray[np.int64],
    probabilities: Floats,
    *,
    thresholds: ArrayLike | None = None,
    seed: int = 0,
) -> ScoreSummary:
    """All scores of ``probabilities`` [n, classes] on the clips ``test`` [n] of a data set.

    >>> score_clips(city, np.arange(20), np.eye(10, dtype=np.float32)[city.labels[:20]]).headline.value
    1.0
    """
    return Task.of(dataset.multi_label).score(dataset, test, probabilities, thresholds=thresholds, seed=seed)

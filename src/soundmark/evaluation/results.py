"""What a comparison found: ``Evaluation``, its results and paired comparisons, and ``metrics.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.datasets import Dataset, Skipped
from soundmark.datasets.leakage import Leakage
from soundmark.metrics import calibration_error, intervals, significance
from soundmark.metrics.score_summary import ScoreSummary
from soundmark.metrics.task import Task
from soundmark.training.recipe import Recipe

if TYPE_CHECKING:
    from soundmark.models.training_record import Epoch


SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """One training of a recipe, and its accuracy on what was kept back."""

    fold: int | None  # None: the random split
    seed: int
    n_train: int
    n_test: int
    accuracy: float  # of multi-label data the mAP
    history: tuple[Epoch, ...]
    model: Path
    threads: int
    precision: str
    temperature: float = 1.0  # that its logits were divided by
    n_validation: int = 0  # clips of the training part that it was calibrated on


@dataclass(frozen=True, kw_only=True)
class Result:
    """One recipe under one protocol: every test clip once for each seed, n = seeds × clips."""

    recipe: Recipe  # with the first seed
    protocol: str
    seeds: tuple[int, ...]
    folds: tuple[FoldResult, ...]  # seed by seed
    test: np.ndarray  # int64 [n] indices into the data set's clips, seed by seed, each time ascending
    labels: np.ndarray  # int64 [n]; of multi-label data its targets, float32 [n, classes]
    probabilities: np.ndarray  # float32 [n, classes]
    thresholds: np.ndarray | None = None  # [n, classes]: from which on a class of multi-label data is there
    summary: ScoreSummary  # over all n answers; the confusion counts answers, else clips
    fold_mean: float  # over folds, of the mean over seeds
    fold_sd: float  # NaN where there is one fold
    leak: Leakage | None  # None where it is not known which clips share a recording
    seconds: Mapping[str, float]  # features, training, testing
    ece_uncalibrated: float = math.nan  # before temperature scaling; NaN where nothing was calibrated
    ece_if_calibrated: calibration_error.ExpectedEce | None = None  # that of chance alone; None of multi-label data

    @property
    def task(self) -> Task:
        """Single-label or multi-label, with everything that differs between them."""
        return Task.of_truth(self.labels)

    @property
    def mean_folds(self) -> tuple[FoldResult, ...]:
        """Each fold once: that of the first seed, with the mean accuracy over the seeds."""
        n = len(self.folds) // len(self.seeds)
        return tuple(
            replace(first, accuracy=float(np.mean([fold.accuracy for fold in self.folds[i::n]])))
            for i, first in enumerate(self.folds[:n])
        )

    @property
    def seed_accuracies(self) -> tuple[float, ...]:
        """The accuracy of each seed, all folds pooled."""
        each = zip(*(np.split(array, len(self.seeds)) for array in (self.labels, self.probabilities)), strict=True)
        return tuple(self.task.headline(labels, probabilities) for labels, probabilities in each)

    @property
    def seed_sd(self) -> float:
        """The standard deviation of the seeds' accuracies; NaN where there is one seed."""
        return standard_deviation(self.seed_accuracies)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two recipes on the same test clips."""

    protocol: str
    recipes: tuple[str, str]
    difference: significance.PairedDifference  # the first's accuracy minus the second's


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that a comparison found, and what it was found on."""

    dataset: Dataset
    seed: int
    results: tuple[Result, ...]
    comparisons: tuple[Comparison, ...]
    skipped: tuple[Skipped, ...]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """``metrics.json``, as the design has it; what cannot be told is ``null``."""
        data = self.dataset
        return {
            "schema": SCHEMA,
            "soundmark": self.versions.get("soundmark"),
            "versions": dict(self.versions),
            "machine": dict(self.machine),
            "seed": self.seed,
            "command": self.command,
            "dataset": {
                "name": data.name,
                "path": str(data.root),
                "clips": len(data.clips),
                "classes": list(data.classes),
                "fingerprint": data.fingerprint,
            },
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "results": [_result_json(result) for result in self.results],
            "comparisons": [_comparison_json(comparison) for comparison in self.comparisons],
        }


def standard_deviation(values: Sequence[float]) -> float:
    """The sample standard deviation; NaN of one value.

    >>> standard_deviation([1.0, 3.0]), standard_deviation([1.0])
    (1.414..., nan)
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _result_json(result: Result) -> dict[str, Any]:
    expected = result.ece_if_calibrated
    return {
        "recipe": result.recipe.name,
        "settings": result.recipe.settings(),
        "protocol": result.protocol,
        "n_train": round(
            sum(fold.n_train for fold in result.folds) / len(result.folds)
        ),  # each fold's own stands below
        **result.summary.to_json(),
        "ece_uncalibrated": _finite_or_none(result.ece_uncalibrated),
        "ece_if_calibrated": expected and expected.mean,
        "ece_if_calibrated_high": expected and expected.high,
        "folds": [
            {
                "fold": f.fold,
                "seed": f.seed,
                "n": f.n_test,
                "n_train": f.n_train,
                result.summary.headline.key: f.accuracy,
                "precision": f.precision,
                "threads": f.threads,
                "temperature": f.temperature,
                "calibrated_on": f.n_validation,
            }
            for f in result.folds
        ],
        "fold_mean": result.fold_mean,
        "fold_sd": _finite_or_none(result.fold_sd),
        "seeds": [
            {"seed": seed, result.summary.headline.key: accuracy}
            for seed, accuracy in zip(result.seeds, result.seed_accuracies, strict=True)
        ],
        "seed_mean": float(np.mean(result.seed_accuracies)),
        "seed_sd": _finite_or_none(result.seed_sd),
        "leak": {key: result.leak and getattr(result.leak, key) for key in Leakage.__dataclass_fields__},
        "seconds": dict(result.seconds),
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    found = comparison.difference
    return {
        "protocol": comparison.protocol,
        "recipes": list(comparison.recipes),
        "difference": found.difference,
        "interval": intervals.bounds(found.interval),
        "p": _finite_or_none(found.p),
        "mcnemar_p": _finite_or_none(found.mcnemar_p),
        "clips": found.clips,
        "recordings": found.recordings,
    }


def _finite_or_none(value: float) -> float | None:
    """The number, or ``None`` where it is not one: JSON has no NaN."""
    return value if math.isfinite(value) else None

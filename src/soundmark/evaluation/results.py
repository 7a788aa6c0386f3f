"""The results of a comparison: ``Evaluation`` with its results and paired comparisons, and ``metrics.json``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark import audio
from soundmark.datasets import Dataset, Skipped, leakage
from soundmark.datasets.leakage import Leakage
from soundmark.datasets.protocols import most_trusted
from soundmark.errors import AudioError, OutputError, SettingsError, unknown_name
from soundmark.metrics import calibration_error, intervals, significance, verdicts
from soundmark.metrics.score_summary import ScoreSummary
from soundmark.metrics.task import Task
from soundmark.models import legacy
from soundmark.runtime.checks import is_folder
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.text import counted
from soundmark.training.recipe import Recipe

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from soundmark.evaluation.learning_curve import LearningCurve
    from soundmark.models.training_record import Epoch


SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """One training of a recipe, and its accuracy on the test clips."""

    fold: int | None  # None for the random split
    seed: int
    n_train: int
    n_test: int
    accuracy: float  # multi-label: mAP
    history: tuple[Epoch, ...]
    model: Path
    threads: int
    precision: str
    temperature: float = 1.0  # logits were divided by it
    n_validation: int = 0  # clips of the training part that were used to calibrate

    def __repr__(self) -> str:
        fold = "" if self.fold is None else f"fold {self.fold}, "
        return (
            f"FoldResult({fold}seed {self.seed}: {100 * self.accuracy:.1f} % of {counted(self.n_test, 'clip')}, "
            f"trained on {self.n_train:,}, {counted(len(self.history), 'epoch')}, {str(self.model)[-300:]!r})"
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one recipe under one protocol: each test clip once per seed, n = seeds × clips."""

    recipe: Recipe  # with the first seed
    protocol: str
    seeds: tuple[int, ...]
    folds: tuple[FoldResult, ...]  # seed by seed
    test: np.ndarray  # int64 [n], indices into the data set's clips, seed by seed, ascending within a seed
    labels: np.ndarray  # int64 [n]; multi-label: targets float32 [n, classes]
    probabilities: np.ndarray  # float32 [n, classes]
    thresholds: np.ndarray | None = None  # [n, classes]; multi-label: a class is predicted at or above its threshold
    summary: ScoreSummary  # over all n predictions; counts are of clips, except in the confusion matrix
    fold_mean: float  # mean over folds of the mean over seeds
    fold_sd: float  # NaN with one fold
    leak: Leakage | None  # None if it is not known which clips come from the same recording
    seconds: Mapping[str, float]  # features, training, testing
    ece_uncalibrated: float = math.nan  # before temperature scaling; NaN if no model was calibrated
    ece_if_calibrated: calibration_error.ExpectedEce | None = None  # of a perfectly calibrated model; multi-label: None

    def __repr__(self) -> str:
        from soundmark.evaluation import results_text

        return results_text.result_text(self)

    @property
    def task(self) -> Task:
        """The task, single-label or multi-label."""
        return Task.of_truth(self.labels)

    @property
    def mean_folds(self) -> tuple[FoldResult, ...]:
        """Each fold once: the result of the first seed, with the accuracy averaged over the seeds."""
        n = len(self.folds) // len(self.seeds)
        return tuple(
            replace(first, accuracy=float(np.mean([fold.accuracy for fold in self.folds[i::n]])))
            for i, first in enumerate(self.folds[:n])
        )

    @property
    def seed_accuracies(self) -> tuple[float, ...]:
        """The accuracy of each seed, over all folds pooled."""
        each = zip(*(np.split(array, len(self.seeds)) for array in (self.labels, self.probabilities)), strict=True)
        return tuple(self.task.headline(labels, probabilities) for labels, probabilities in each)

    @property
    def seed_sd(self) -> float:
        """The standard deviation of the accuracy over seeds; NaN with one seed."""
        return standard_deviation(self.seed_accuracies)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The paired comparison of two recipes on the same test clips."""

    protocol: str
    recipes: tuple[str, str]
    difference: significance.PairedDifference  # accuracy of the first recipe minus that of the second
    verdict: verdicts.Verdict  # which of the two is better, if the data decide

    def __repr__(self) -> str:
        from soundmark.evaluation import results_text

        return f"Comparison({results_text.difference_text(self)})"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The outcome of ``compare``: results, paired comparisons, skipped clips. Displays a table in Jupyter."""

    dataset: Dataset
    seed: int
    results: tuple[Result, ...]
    comparisons: tuple[Comparison, ...]
    skipped: tuple[Skipped, ...]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``; unknown values are ``None``."""
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
            "results": [result_to_json(result) for result in self.results],
            "comparisons": [_comparison_json(comparison) for comparison in self.comparisons],
        }

    def __repr__(self) -> str:
        from soundmark.evaluation import results_text

        return results_text.evaluation_text(self)

    def _repr_html_(self) -> str:
        from soundmark.evaluation import results_text

        return results_text.evaluation_html(self)

    @property
    def recipes(self) -> tuple[str, ...]:
        """The names of the recipes, without duplicates."""
        return tuple(dict.fromkeys(result.recipe.name for result in self.results))

    @property
    def protocols(self) -> tuple[str, ...]:
        """The names of the protocols, without duplicates."""
        return tuple(dict.fromkeys(result.protocol for result in self.results))

    @cached_property
    def sample_rates(self) -> Counter[int]:
        """The number of files with tested clips at each sample rate in Hz; files that cannot be read are omitted."""
        tested = {self.dataset.clips[i].path for result in self.results for i in result.test}
        found: Counter[int] = Counter()
        for path in sorted(tested):
            with suppress(AudioError):
                found[audio.info(path).rate_hz] += 1
        return found

    def result(self, recipe: str | Recipe, protocol: str | None = None) -> Result:
        """Return the result of one recipe under one protocol, by default one that keeps recordings apart if available.

        Raises:
            SettingsError: an unknown recipe or protocol.

        >>> city_run.result("notebook-mel").protocol
        'random'
        """
        return self._selected(recipe, protocol)[0]

    def _selected(
        self, recipes: str | Recipe | Sequence[str | Recipe] | None, protocol: str | None
    ) -> tuple[Result, ...]:
        """Return the results of some recipes (default: all) under one protocol."""
        chosen = self.recipes if recipes is None else [recipes] if isinstance(recipes, str | Recipe) else recipes
        if not (isinstance(chosen, Sequence) and chosen and all(isinstance(one, str | Recipe) for one in chosen)):
            raise SettingsError(f"recipes is {chosen!r}: expected a recipe name, a list of names, or None for all.")
        names = [one.name if isinstance(one, Recipe) else legacy.RECIPES.get(one, one) for one in chosen]
        for name in names:
            if name not in self.recipes:
                raise unknown_name("recipe in this evaluation", name, self.recipes)
        if protocol is None:
            protocol = most_trusted(self.protocols)
        if protocol not in self.protocols:
            raise unknown_name("protocol in this evaluation", protocol, self.protocols)
        found = {result.recipe.name: result for result in self.results if result.protocol == protocol}
        return tuple(found[name] for name in dict.fromkeys(names))

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per recipe and protocol: accuracy or mAP, interval, F1, log loss, ECE, leakage, seconds.

        Raises:
            SettingsError: pandas is not installed.

        >>> city_run.to_dataframe()[["recipe", "protocol", "clips"]].values.tolist()
        [['notebook-mel', 'random', 20]]
        """
        from soundmark.evaluation import results_text

        rows = [results_text.result_row(result) for result in self.results]
        return import_pandas().DataFrame(rows)

    def predictions(self, recipe: str | Recipe, protocol: str | None = None) -> pandas.DataFrame:
        """Return one row per test clip with the columns of predictions.csv; with several seeds, also the seed.

        Raises:
            SettingsError: an unknown recipe or protocol, or pandas is not installed.

        >>> city_run.predictions("notebook-mel").columns[:5].tolist()
        ['path', 'fold', 'source', 'label', 'predicted']
        """
        from soundmark.evaluation import results_text

        return results_text.predictions_table(self.dataset, self.result(recipe, protocol))

    def models(self, recipe: str | Recipe, protocol: str | None = None) -> list[Path]:
        """Return the paths of the trained models, one for each seed and fold, for ``soundmark.load``.

        Raises:
            SettingsError: an unknown recipe or protocol.

        >>> [path.name for path in city_run.models("notebook-mel")]
        ['model.onnx']
        """
        return [fold.model for fold in self.result(recipe, protocol).folds]

    def plot_history(
        self,
        recipes: str | Recipe | Sequence[str | Recipe] | None = None,
        protocol: str | None = None,
        ax: Axes | None = None,
        *,
        quantity: str = "loss",
    ) -> Axes:
        """Plot "loss" or "accuracy" by epoch, one colour per recipe; validation or test solid, training dashed.

        Raises:
            SettingsError: an unknown quantity, recipe or protocol, no recipe with epochs, or Matplotlib is missing.

        >>> city_run.plot_history(quantity="accuracy").get_ylabel()
        'accuracy (%)'
        """
        from soundmark.evaluation import results_figures

        return results_figures.plot_history(self._selected(recipes, protocol), self.recipes, quantity, ax)

    def plot_confusion(self, recipe: str | Recipe, protocol: str | None = None, ax: Axes | None = None) -> Axes:
        """Plot the confusion matrix of a recipe; cells show the number of clips and their share of the true class.

        Raises:
            SettingsError: an unknown recipe or protocol, multi-label data, or Matplotlib is missing.

        >>> city_run.plot_confusion("notebook-mel").get_xlabel()
        'predicted class'
        """
        from soundmark.evaluation import results_figures

        return results_figures.plot_confusion(self.result(recipe, protocol), self.dataset.classes, ax)

    def plot_reliability(
        self,
        recipes: str | Recipe | Sequence[str | Recipe] | None = None,
        protocol: str | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Plot a reliability diagram: accuracy by confidence bin. The area of a dot is the share of clips in the bin.

        Raises:
            SettingsError: an unknown recipe or protocol, or Matplotlib is missing.

        >>> city_run.plot_reliability("notebook-mel").get_xlabel()
        'confidence (%)'
        """
        from soundmark.evaluation import results_figures

        return results_figures.plot_reliability(self._selected(recipes, protocol), self.recipes, ax)

    def learning_curve(self, recipe: str | Recipe, folder: str | PathLike[str], **options: Any) -> LearningCurve:
        """Measure the score of ``recipe`` by the number of training recordings, on the same data set.

        ``options`` are those of ``soundmark.learning_curve``. Pass the curve to ``report`` to show it there.

        Raises:
            SettingsError, DatasetError, OutputError: as ``soundmark.learning_curve``.

        >>> curve = city_run.learning_curve(recipe, folder / "curve", draws=1, quiet=True)
        >>> "Learning curve" in city_run.report(folder / "report.html", curves=[curve]).read_text(encoding="utf-8")
        True
        """
        from soundmark.evaluation.curve_run import learning_curve

        return learning_curve(self.dataset, recipe, folder, **options)

    def report(
        self, path: str | PathLike[str], overwrite: bool = True, *, curves: Sequence[LearningCurve] = ()
    ) -> Path:
        """Write the report, a self-contained HTML file, to ``path``; ``curves`` are shown in it.

        Raises:
            OutputError: the file cannot be written, or exists and ``overwrite`` is False.

        >>> city_run.report(folder / "report.html").name
        'report.html'
        """
        from soundmark.evaluation.report import write

        path = Path(path).expanduser()
        if is_folder(path):
            raise OutputError(f'"{path}" is a folder: give a file name, such as "{path / "report.html"}".')
        if not overwrite and path.exists():
            raise OutputError(f'"{path}" already exists: choose another name, or pass overwrite=True.')
        write(self, path, curves)
        return path

    def save_figures(self, folder: str | PathLike[str], format: str = "pdf") -> list[Path]:
        """Save training curves, confusion matrices and reliability diagrams as figures: "pdf", "svg" or "png".

        Raises:
            SettingsError: an unknown format, or Matplotlib is missing.
            OutputError: a file cannot be written.

        >>> [path.name for path in city_run.save_figures(folder / "figures")][-1]
        'notebook-mel-random-reliability.pdf'
        """
        from soundmark.evaluation import results_figures

        return results_figures.save_figures(self, Path(folder).expanduser(), format)


def standard_deviation(values: Sequence[float]) -> float:
    """Compute the sample standard deviation; NaN for a single value.

    >>> standard_deviation([1.0, 3.0]), standard_deviation([1.0])
    (1.414..., nan)
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def result_to_json(result: Result) -> dict[str, Any]:
    """Return a result as it is written to ``metrics.json``.

    >>> result_to_json(city_run.results[0])["n_test"]
    20
    """
    expected = result.ece_if_calibrated
    return {
        "recipe": result.recipe.name,
        "settings": result.recipe.settings(),
        "protocol": result.protocol,
        "n_train": round(sum(fold.n_train for fold in result.folds) / len(result.folds)),  # mean over the folds below
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
        "leak": leakage.to_json(result.leak),
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
        "discordant_recordings": found.discordant,
        "verdict": asdict(comparison.verdict),
    }


def _finite_or_none(value: float) -> float | None:
    """Return the value, or ``None`` if it is not finite: JSON has no NaN."""
    return value if math.isfinite(value) else None

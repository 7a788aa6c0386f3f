"""``LearningCurve``: the score on held-out recordings by the number of training recordings, as text, table and figure.

scores by size, draw and clip ─ measure ─▶ LearningCurve ─▶ curve.json, table, figure
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.datasets import Dataset, Skipped
from soundmark.datasets.protocols import protocol_of
from soundmark.evaluation.extrapolation import FACTOR, LEVEL, Extrapolation, extrapolate
from soundmark.metrics import student_t
from soundmark.metrics.intervals import LEVEL as INTERVAL_LEVEL
from soundmark.metrics.intervals import UNKNOWN, Floats, Interval, bounds, finite_or_none
from soundmark.metrics.task import Task
from soundmark.runtime import plotting
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.plotting import BLUE, without_mathtext
from soundmark.runtime.text import aligned, counted, html_table, percent
from soundmark.training.recipe import Recipe

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


GROUPS = 30  # of recordings, for the jackknife; fewer if there are fewer recordings


LEAST_SIZES = 3  # sizes that an extrapolation needs


ORANGE = "#d55e00"  # from Okabe and Ito's palette, as BLUE


COLUMNS = ("recordings per class", "recordings", "draws", "{figure} % [95 %]")

CLASS_COLUMNS = ("recordings", "{figure} %", "gain from {factor} as many [80 %]")


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The score with one number of training recordings: the mean over the draws."""

    size: int | None  # recordings per class that were drawn, in proportion to the classes; None: all
    per_class: float  # training recordings per class, on average over classes and folds; at least one of each class
    recordings: float  # training recordings, on average over the folds
    scores: tuple[float, ...]  # one for each draw, over all folds pooled
    score: float
    interval: Interval  # 95 %: over test recordings, and over draws where there are several


@dataclass(frozen=True, kw_only=True)
class ClassCurve:
    """The scores of a class, and what more recordings of all classes would give."""

    label: str
    recordings: int  # of the class, in the whole data set
    scores: tuple[float, ...]  # F1 or average precision at each size
    extrapolation: Extrapolation | None


@dataclass(frozen=True, kw_only=True, repr=False)
class LearningCurve:
    """The score of a recipe by the number of training recordings; displays a table in Jupyter."""

    dataset: Dataset
    recipe: Recipe
    protocol: str
    points: tuple[CurvePoint, ...]  # ascending; the last one has all training recordings
    extrapolation: Extrapolation | None  # None with fewer than 3 sizes
    classes: tuple[ClassCurve, ...]  # of the classes with test clips; largest expected gain first
    skipped: tuple[Skipped, ...]
    seconds: float

    def __repr__(self) -> str:
        return "\n".join([self.title, *aligned([self.header, *self.rows()], left=0), *self.sentences()])

    def _repr_html_(self) -> str:
        caption = " ".join([f"{self.title}.", *self.sentences()])
        return html_table(self.rows(), header=self.header, caption=caption)

    @property
    def task(self) -> Task:
        """The task, single-label or multi-label."""
        return Task.of(self.dataset.multi_label)

    @property
    def title(self) -> str:
        """The recipe, the data set and the test clips."""
        return f"{self.recipe.name} on {self.dataset.name}, {protocol_of(self.protocol).title.lower()}"

    @property
    def header(self) -> list[str]:
        """The titles of the columns of ``rows``."""
        return [title.format(figure=self.task.figure) for title in COLUMNS]

    def rows(self) -> list[list[str]]:
        """Return the cells of the table, a row for each number of recordings."""
        return [
            [
                "all" if point.size is None else f"{point.size}",
                f"{point.recordings:,.0f}",
                f"{len(point.scores)}",
                f"{percent(point.score)} {_range(point.interval)}",
            ]
            for point in self.points
        ]

    @property
    def class_header(self) -> list[str]:
        """The titles of the columns of ``class_rows``."""
        factor = _times(FACTOR).lower()
        return ["class", *(title.format(figure=self.task.class_figure, factor=factor) for title in CLASS_COLUMNS)]

    def class_rows(self) -> list[list[str]]:
        """Return the cells of the table of classes, largest expected gain first."""
        return [
            [one.label, f"{one.recordings:,}", percent(one.scores[-1]), _gain_text(one.extrapolation)]
            for one in self.classes
        ]

    def sentences(self) -> list[str]:
        """Return what more recordings would give, in all and of which class most."""
        found, figure = self.extrapolation, self.task.figure
        if found is None:
            return [
                f"The curve cannot be extrapolated: that needs at least {LEAST_SIZES} sizes and 2 draws, and it has "
                f"{counted(len(self.points), 'size')} and {counted(len(self.points[0].scores), 'draw')}."
            ]
        gain = found.gain_interval
        change = f"{percent(found.gain, '+')} points [{percent(gain.low, '+')}, {percent(gain.high, '+')}], to"
        lines = [
            f"{_times(found.factor)} as many recordings: {figure} {change if found.gain > 0 else 'about as now,'} "
            f"{percent(found.score)} % {_range(found.interval)} ({100 * LEVEL:.0f} % interval)."
        ]
        first = self.classes[0]
        if first.extrapolation:
            lines.append(
                f"The class {first.label} ({counted(first.recordings, 'recording')}) would gain most: "
                f"{self.task.class_figure} {_gain_text(first.extrapolation)} points."
            )
        return lines

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot the score by recordings per class with intervals, each draw as a dot, and the extrapolation.

        Raises:
            SettingsError: Matplotlib is missing.
        """
        axes = plotting.axes_or_new(ax)
        draw(self, axes)
        axes.set_title(without_mathtext(self.title))
        axes.grid(visible=True, linewidth=0.5, color="#dcdedf")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per draw: recordings per class, recordings, draw, score.

        Raises:
            SettingsError: pandas is not installed.
        """
        rows = [
            {
                "size": point.size,
                "recordings_per_class": point.per_class,
                "recordings": point.recordings,
                "draw": draw,
                "score": score,
            }
            for point in self.points
            for draw, score in enumerate(point.scores)
        ]
        return import_pandas().DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``curve.json``, except its checksum."""
        return {
            "schema": 1,
            "dataset": {"name": self.dataset.name, "fingerprint": self.dataset.fingerprint},
            "recipe": self.recipe.settings(),
            "protocol": self.protocol,
            "figure": self.task.key,
            "class_figure": self.task.class_figure,
            "points": [
                {**asdict(point), "scores": list(point.scores), "interval": bounds(point.interval)}
                for point in self.points
            ],
            "extrapolation": _extrapolation_json(self.extrapolation),
            "classes": [
                {
                    "class": one.label,
                    "recordings": one.recordings,
                    "scores": [finite_or_none(score) for score in one.scores],
                    "extrapolation": _extrapolation_json(one.extrapolation),
                }
                for one in self.classes
            ],
            "skipped": [asdict(item) for item in self.skipped],
            "seconds": self.seconds,
        }


def _range(interval: Interval) -> str:
    return f"[{percent(interval.low)}, {percent(interval.high)}]" if interval.known else ""


def _gain_text(found: Extrapolation | None) -> str:
    if found is None:
        return "?"
    ends = found.curve_gain_interval
    return f"{percent(found.curve_gain, '+')} [{percent(ends.low, '+')}, {percent(ends.high, '+')}]"


def _times(factor: float) -> str:
    return "Twice" if factor == 2 else f"{factor:g} times"


def _extrapolation_json(found: Extrapolation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        **asdict(found),
        "interval": bounds(found.interval),
        "gain": found.gain,
        "gain_interval": bounds(found.gain_interval),
        "curve_gain_interval": bounds(found.curve_gain_interval),
        "level": LEVEL,
    }


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The probabilities of the test clips for one number of training recordings."""

    size: int | None
    per_class: float
    recordings: float
    probabilities: tuple[np.ndarray, ...]  # one for each draw, float32 [n, classes]


def measure(
    dataset: Dataset,
    recipe: Recipe,
    protocol: str,
    test: np.ndarray,
    measured: Sequence[Measured],
    *,
    skipped: Sequence[Skipped] = (),
    seconds: float = 0.0,
) -> LearningCurve:
    """Compute the scores, intervals and extrapolations of a curve from the probabilities of the clips ``test`` ``[n]``.

    The last of the ``measured`` sizes is all recordings; the others have the same number of draws.

    >>> right, wrong = (np.eye(10, dtype=np.float32)[(city.labels + k) % 10] for k in (0, 1))
    >>> sizes = [
    ...     Measured(size=1, per_class=1.0, recordings=10, probabilities=(wrong, right)),
    ...     Measured(size=None, per_class=2.0, recordings=20, probabilities=(right,)),
    ... ]
    >>> found = measure(city, recipe, "folds", np.arange(60), sizes)
    >>> found.points[0].scores, found.points[1].scores, found.extrapolation is None
    ((0.0, 1.0), (1.0,), True)
    """
    figures = _Figures.of(dataset, test, measured)
    variances = np.diag(jackknife_covariance(figures.left_out[:, :, 0]))
    points = [
        CurvePoint(
            size=one.size,
            per_class=one.per_class,
            recordings=one.recordings,
            scores=tuple(each[:, 0].tolist()),
            score=float(each[:, 0].mean()),
            interval=_interval(each[:, 0], float(variance), len(figures.left_out) - 1),
        )
        for one, each, variance in zip(measured, figures.scores, variances, strict=True)
    ]
    sizes = np.array([one.per_class for one in measured], np.float64)
    classes = [
        ClassCurve(
            label=label,
            recordings=len(np.unique(dataset.sources[dataset.targets[:, i] > 0])),
            scores=tuple(figures.means[:, 1 + i].tolist()),
            extrapolation=figures.extrapolated(1 + i, sizes, seed=recipe.seed),
        )
        for i, label in enumerate(dataset.classes)
        if np.isfinite(figures.means[-1, 1 + i])
    ]
    return LearningCurve(
        dataset=dataset,
        recipe=recipe,
        protocol=protocol,
        points=tuple(points),
        extrapolation=figures.extrapolated(0, sizes, seed=recipe.seed),
        classes=tuple(sorted(classes, key=lambda one: -one.extrapolation.curve_gain if one.extrapolation else np.inf)),
        skipped=tuple(skipped),
        seconds=seconds,
    )


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """Figures at k sizes: 0 is the score of all clips, 1 + i that of class i."""

    scores: list[Floats]  # for each size, [draws, 1 + classes]
    left_out: Floats  # means over the draws, without each group of recordings, [groups, k, 1 + classes]

    @classmethod
    def of(cls, dataset: Dataset, test: np.ndarray, measured: Sequence[Measured]) -> _Figures:
        task, groups = Task.of(dataset.multi_label), _groups(dataset, test)
        truth = task.truth(dataset, test)

        def figures(size: Measured, kept: np.ndarray) -> Floats:
            found = [one[kept] for one in size.probabilities]
            return np.array(
                [[task.headline(truth[kept], one), *task.class_headline(truth[kept], one)] for one in found]
            )

        return cls(
            scores=[figures(size, np.ones(len(test), bool)) for size in measured],
            left_out=np.array(
                [[figures(size, groups != g).mean(axis=0) for size in measured] for g in range(groups.max() + 1)]
            ),
        )

    @property
    def means(self) -> Floats:
        """The means over the draws, [k, 1 + classes]."""
        return np.array([each.mean(axis=0) for each in self.scores])

    def extrapolated(self, figure: int, sizes: Floats, *, seed: int) -> Extrapolation | None:
        spread = jackknife_covariance(self.left_out[:, :, figure])
        draws = len(self.scores[0])
        if len(sizes) < LEAST_SIZES or draws < 2 or not np.isfinite(spread).all():
            return None
        variances = np.array([each[:, figure].var(ddof=1) for each in self.scores[:-1]])
        return extrapolate(sizes, self.means[:, figure], spread, variances, draws=draws, seed=seed)


def _groups(dataset: Dataset, test: np.ndarray) -> np.ndarray:
    """Assign test clips to groups of recordings that have the classes in similar proportions, int64 ``[n]``."""
    recordings, first, of_clip = np.unique(dataset.sources[test], return_index=True, return_inverse=True)
    order = np.lexsort((np.random.default_rng(0).random(len(recordings)), dataset.targets[test][first].argmax(axis=1)))
    group = np.empty(len(recordings), np.int64)
    group[order] = np.arange(len(recordings)) % min(GROUPS, len(recordings))
    return group[of_clip]


def jackknife_covariance(left_out: Floats) -> Floats:
    """Return the covariance of k scores, of which ``left_out`` ``[groups, k]`` are those without each group.

    >>> jackknife_covariance(np.array([[0.0], [1.0]])).tolist()
    [[0.25]]
    """
    n = len(left_out)
    deviations = left_out - left_out.mean(axis=0)
    return np.asarray((n - 1) / n * deviations.T @ deviations, np.float64)


def _interval(scores: Floats, variance: float, freedom: int) -> Interval:
    """Return the interval of a mean over draws; ``variance`` is that over test recordings."""
    if not np.isfinite(variance) or freedom < 2:
        return UNKNOWN
    if len(scores) > 1:
        variance += float(scores.var(ddof=1)) / len(scores)
    half, mean = student_t.two_sided_quantile(INTERVAL_LEVEL, freedom) * variance**0.5, float(scores.mean())
    return Interval(max(0.0, mean - half), min(1.0, mean + half))


def draw(curve: LearningCurve, axes: Any, colours: tuple[str, str] = (BLUE, ORANGE)) -> None:
    """Draw a curve on Matplotlib ``axes``: what was measured and what was extrapolated, each in its colour.

    >>> import matplotlib.pyplot as plt
    >>> from soundmark.evaluation.curve_run import learning_curve
    >>> axes = plt.figure().subplots()
    >>> draw(learning_curve(city, recipe, folder / "curve", draws=1, quiet=True), axes)
    >>> axes.get_ylabel()
    'accuracy on held-out recordings (%)'
    """
    measured, extrapolated = colours
    x = [point.per_class for point in curve.points]
    y = [100 * point.score for point in curve.points]
    ends = np.array([[point.interval.low, point.interval.high] for point in curve.points]).T * 100
    axes.errorbar(x, y, yerr=np.abs(ends - y), color=measured, marker="o", capsize=3, label="measured, 95 % interval")
    for point in curve.points[:-1]:
        dots = [100 * score for score in point.scores]
        axes.plot([point.per_class] * len(dots), dots, ".", color=measured, alpha=0.35, markersize=4)
    if found := curve.extrapolation:
        end = found.factor * x[-1]
        error = 100 * np.array([[found.score - found.interval.low], [found.interval.high - found.score]])
        label = f"extrapolated, {100 * LEVEL:.0f} % interval"
        axes.plot([x[-1], end], [y[-1], 100 * found.score], "--", color=extrapolated)
        axes.errorbar(
            [end], [100 * found.score], yerr=error, color=extrapolated, marker="s", markerfacecolor="none", capsize=3,
            linestyle="none", label=label,
        )  # fmt: skip
        x = [*x, end]
    axes.set_xscale("log", base=2)
    ticks = 2 ** np.arange(0, np.ceil(np.log2(x[-1])) + 1)
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.set_xlabel("labelled training recordings per class (mean, logarithmic)")
    axes.set_ylabel(f"{curve.task.figure} on held-out recordings (%)")
    axes.legend(frameon=False, fontsize="small", loc="lower right")

"""Measure a learning curve: draw training recordings, train on each draw, score the held-out recordings.

    folds ─ for each: sizes × draws ─ subset ─▶ training recordings ─ train ─▶ probabilities ─ measure ─▶ LearningCurve

A linear head is fitted on the stored features, without a file for each fit. Networks are trained like the units of a
comparison, in DIR/<recipe>/curve/size-<n>/draw-<d>/fold-<k>; after an interruption, the same call resumes.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.datasets import Dataset, features, splits
from soundmark.datasets.features import Features
from soundmark.datasets.protocols import PROTOCOLS, default_protocols, most_trusted
from soundmark.datasets.splits import Split
from soundmark.errors import DatasetError, OutputError, SettingsError
from soundmark.evaluation.learning_curve import LearningCurve, Measured, measure
from soundmark.evaluation.plan import training_time_s
from soundmark.runtime import atomic, checksums, parallel, plotting
from soundmark.runtime.checks import check_jobs, is_count, is_file
from soundmark.runtime.output_folder import OutputFolder
from soundmark.runtime.progress import Progress, no_progress, numbered
from soundmark.runtime.text import counted, estimate
from soundmark.training import DEFAULT_BACKGROUND, DEFAULT_DEVICE, DEFAULT_RECIPE, named_recipes
from soundmark.training.methods import background_features, build_features, head_scores
from soundmark.training.recipe import Recipe
from soundmark.training.run_folder import UNIT_FILES, exclusive_run
from soundmark.training.single_model import open_dataset, prepare, results_folder, warn_skipped
from soundmark.training.transfer.backgrounds import Backgrounds
from soundmark.training.unit import (
    Outcome,
    Unit,
    check_device,
    check_split,
    engine_for,
    find_finished,
    train_unit,
    usable_split,
)
from soundmark.training.unit_on_cluster import RemoteFeatures, train_units

log = logging.getLogger("soundmark")


MOST_DRAWS = 100


HEAD_DRAWS, NETWORK_DRAWS = 10, 2  # default number of draws at each size


SELECT_S, FIT_S = 1.2, 0.15  # seconds of fitting a head with and without selecting the shrinkage


NEXT_SIZE = 0.8  # a size above this fraction of all recordings is left out


NAME, FIGURE = "curve.json", "curve.png"


@dataclass(frozen=True, kw_only=True)
class CurvePlan:
    """The trainings of a learning curve."""

    dataset: Dataset
    recipe: Recipe
    protocol: str
    splits: tuple[Split, ...]  # no recording is in training and test
    sizes: tuple[int, ...]  # recordings per class that are drawn; all recordings come in addition
    draws: int
    per_class: float  # all training recordings, divided by the classes: the mean over the splits

    @property
    def trainings(self) -> int:
        """The number of models to train."""
        return len(self.splits) * (len(self.sizes) * self.draws + 1)

    def jobs(self) -> Iterator[tuple[int | None, int, Split]]:
        """Return size, draw and split of each training; the split has only the drawn training clips."""
        for split in self.splits:
            for draw in range(self.draws):
                ranked = _Ranking.of(self.dataset, split, seed=[self.recipe.seed, draw, split.fold or 0])
                for size in self.sizes:
                    yield size, draw, replace(split, train=ranked.clips(size / self.per_class))
            yield None, 0, split


def make_curve_plan(dataset: Dataset, recipe: Recipe, *, draws: int | None = None) -> CurvePlan:
    """Plan the learning curve of ``recipe`` on ``dataset``; check all arguments.

    Test clips are those of the official folds; without folds, of folds by recording; where recordings are unknown, of a
    random split, and then a clip counts as a recording. Training clips whose recording is also in the test part are
    left out.

    Raises:
        SettingsError: ``draws`` is out of range.
        DatasetError: the data set has too few recordings.

    >>> plan = make_curve_plan(city, recipe, draws=3)
    >>> plan.protocol, plan.sizes, plan.per_class, plan.trainings
    ('folds', (1,), 2.0, 12)
    """
    if draws is None:
        draws = HEAD_DRAWS if recipe.backbone else NETWORK_DRAWS
    if not is_count(draws) or not 1 <= draws <= MOST_DRAWS:
        raise SettingsError(f"draws is {draws!r}: expected a whole number from 1 to {MOST_DRAWS}.")
    splits.check_classes(dataset)
    protocol = PROTOCOLS[most_trusted(default_protocols(dataset))]
    chosen = tuple(_apart(dataset, split) for split in protocol.splits(dataset))
    return plan_for_splits(dataset, recipe, protocol.name, chosen, draws=int(draws))


def plan_for_splits(
    dataset: Dataset, recipe: Recipe, protocol: str, chosen: Sequence[Split], *, draws: int
) -> CurvePlan:
    """Plan a curve for given splits, which keep recordings apart.

    Raises:
        DatasetError: the splits have fewer than two training recordings per class.

    >>> plan_for_splits(city, recipe, "folds", splits.official_folds(city)[:1], draws=3).trainings
    4
    """
    recordings = [splits.count_recordings(dataset, split.train) for split in chosen]
    per_class = float(np.mean(recordings)) / len(dataset.classes)
    if per_class < 2:
        raise DatasetError(
            f"{dataset.name} has {per_class:.1f} training recordings per class: a learning curve needs at least 2. Add "
            "recordings."
        )
    sizes = tuple(2**i for i in range(int(np.log2(per_class)) + 1) if 2**i < NEXT_SIZE * per_class)
    return CurvePlan(
        dataset=dataset,
        recipe=recipe.for_window(dataset.window_s),
        protocol=protocol,
        splits=tuple(chosen),
        sizes=sizes,
        draws=draws,
        per_class=per_class,
    )


def _apart(dataset: Dataset, split: Split) -> Split:
    """Remove training clips whose recording is also in the test set."""
    return replace(split, train=split.train[~np.isin(dataset.sources[split.train], dataset.sources[split.test])])


@dataclass(frozen=True)
class _Ranking:
    """The training recordings of a split in random order within each class: small subsets are part of larger ones."""

    train: np.ndarray  # int64 [clips]
    recording_of: np.ndarray  # int64 [clips]
    rank: np.ndarray  # int64 [recordings], within the class
    class_size: np.ndarray  # int64 [recordings], recordings of its class

    @classmethod
    def of(cls, dataset: Dataset, split: Split, *, seed: Sequence[int]) -> _Ranking:
        _, recording_of = np.unique(dataset.sources[split.train], return_inverse=True)
        counts = np.zeros((recording_of.max() + 1, len(dataset.classes)))
        np.add.at(counts, recording_of, dataset.targets[split.train])
        rarity = np.where(counts > 0, (counts > 0).sum(axis=0), np.inf) if dataset.multi_label else -counts
        class_of = rarity.argmin(axis=1)  # the class of most clips; multi-label: the rarest class
        class_of[~counts.any(axis=1)] = len(dataset.classes)  # no class at all
        random = np.random.default_rng(list(seed))
        rank, size = np.empty(len(counts), np.int64), np.empty(len(counts), np.int64)
        for one in np.unique(class_of):
            members = random.permutation(np.flatnonzero(class_of == one))
            rank[members], size[members] = np.arange(len(members)), len(members)
        return cls(split.train, recording_of, rank, size)

    def clips(self, share: float) -> np.ndarray:
        """Return the clips of a share of the recordings of each class, at least of one."""
        chosen = self.rank < np.maximum(1, np.rint(share * self.class_size))
        return self.train[chosen[self.recording_of]]


def describe_curve(plan: CurvePlan, *, device: str = DEFAULT_DEVICE) -> str:
    """Describe the trainings of a plan and their estimated time, which is measured on a few batches now.

    >>> describe_curve(make_curve_plan(city, recipe, draws=3))
    'notebook-mel...; 12 trainings on 1 recording per class, and on all (2.0): ... core...'
    """
    sizes = ", ".join(map(str, plan.sizes))
    noun = "recording" if plan.sizes == (1,) else "recordings"
    cores = counted(parallel.available_cores(), "core")
    return (
        f"{plan.recipe.describe()}; {counted(plan.trainings, 'training')} on {sizes} {noun} per class, and on all "
        f"({plan.per_class:.1f}): {estimate(_estimated_s(plan, device))} on {cores}."
    )


def _estimated_s(plan: CurvePlan, device: str) -> float:
    if plan.recipe.backbone:
        selecting = len(plan.splits) * (len(plan.sizes) + 1)
        return selecting * SELECT_S + (plan.trainings - selecting) * FIT_S
    from soundmark.training.epochs import loop

    example_s = loop.seconds_per_example(plan.recipe, n_classes=len(plan.dataset.classes), device=device)
    return sum(training_time_s(plan.recipe, split, example_s) for _, _, split in plan.jobs())


def learning_curve(
    dataset: Dataset | str | PathLike[str],
    recipe: Recipe | str | PathLike[str] = DEFAULT_RECIPE,
    folder: str | PathLike[str] | None = None,
    *,
    draws: int | None = None,
    subset: str | None = None,
    complete: bool = False,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    backbone: str | None = None,
    backbone_output: str | None = None,
    backbone_rate_hz: int | None = None,
    seed: int | None = None,
    window_s: float | None = None,
    background: str | Sequence[str] = DEFAULT_BACKGROUND,
    time_expansion: float | None = None,
    band: tuple[float, float] | None = None,
    jobs: int | None = None,
    cluster: Any = None,
    device: str = DEFAULT_DEVICE,
    fresh: bool = False,
    quiet: bool = False,
) -> LearningCurve:
    """Measure the score on held-out recordings by the number of training recordings, and extrapolate to twice as many.

    Writes ``curve.json`` and, with Matplotlib, ``curve.png`` to ``folder``. Recordings are drawn in proportion to the
    classes, at least one of each; test recordings are always the same.

    Args:
        dataset: a ``Dataset``, or the path of one.
        recipe: the name of a recipe, a .toml file, or a ``Recipe``.
        folder: where the results are written.
        draws: random draws of training recordings at each size. Default: 10; recipes without a backbone 2.
        subset: a named part of the data set, such as "esc10" of ESC-50.
        complete: everything of interest is annotated, as in ``Dataset.open``.
        epochs: overrides the recipe's value.
        batch_size: overrides the recipe's value.
        learning_rate: overrides the recipe's value.
        backbone: "mn04", "mn10" or an .onnx file, the pretrained network of recipes with a backbone.
        backbone_output: the output of the file that is the embedding, if its metadata do not say so.
        backbone_rate_hz: the sample rate of the file's input, if its metadata do not say so.
        seed: of the draws and of the trainings; overrides the recipe's value.
        window_s: window of the model in seconds; longer clips are cut into windows. Default: from the durations.
        background: "auto", "none", or labels that mean "none of these"; see ``with_background``.
        time_expansion: analyse sounds as if played this many times slower (ultrasound: above 1).
        band: lowest and highest frequency of the spectrograms, in Hz.
        jobs: parallel workers for the features; default: all cores.
        cluster: a Dask cluster for the work: the address of its scheduler, "local", or a ``distributed.Client``.
        device: "auto", "cpu", "cuda" or "mps".
        fresh: start over instead of resuming.
        quiet: show no progress.

    Raises:
        SettingsError: an unknown recipe or device, a value that is not allowed, or no folder.
        DatasetError: the path is not a data set, or has too few recordings.
        OutputError: the folder cannot be written, or contains another curve.

    >>> found = learning_curve(city, recipe, folder / "curve", draws=1, quiet=True)
    >>> [(point.size, point.recordings) for point in found.points]
    [(1, 10.0), (None, 20.0)]
    """
    fields = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "backbone": backbone}
    fields |= {"backbone_output": backbone_output, "backbone_rate_hz": backbone_rate_hz, "window_s": window_s}
    folder = results_folder(folder, recipe)
    (chosen,) = named_recipes.changed_recipes([recipe], **fields, seed=seed, time_expansion=time_expansion, band=band)
    check_jobs(jobs)
    check_device([chosen], device)  # before the features are computed
    data = prepare(open_dataset(dataset, subset, complete=complete), [chosen], window_s=window_s, background=background)
    plan = make_curve_plan(data, chosen, draws=draws)
    from soundmark.runtime.progress_bars import progress_bars  # imports rich, which is slow

    with parallel.workers(cluster, jobs) as workers, progress_bars(quiet) as progress:
        found = run_curve(plan, folder, jobs=workers, device=device, fresh=fresh, progress=progress)
    warn_skipped(data, found.skipped)
    return found


def run_curve(
    plan: CurvePlan,
    folder: Path,
    *,
    jobs: parallel.Jobs = None,
    device: str = DEFAULT_DEVICE,
    fresh: bool = False,
    progress: Progress = no_progress,
) -> LearningCurve:
    """Train and score all draws of ``plan``; write ``curve.json`` and, with Matplotlib, ``curve.png``.

    Raises:
        OutputError: the folder cannot be written, or contains another curve.
        DatasetError: too few clips can be read.

    >>> run_curve(make_curve_plan(city, recipe, draws=1), folder / "curve").points[-1].recordings
    20.0
    """
    with exclusive_run(folder) as output:
        if fresh:
            _clear(output, plan)
        _check_same_curve(folder, plan)
        output.check(NAME, FIGURE)
        start = time.perf_counter()
        store = build_features(plan.dataset, plan.recipe, jobs=jobs, fresh=fresh, progress=progress)
        features.warn_incomplete(store.notes)
        features.report_windows([store])
        if not plan.dataset.sources_known:
            log.warning("it is unknown which clips share a recording: each clip counts as a recording")
        curve = measure_curve(plan, store, folder, jobs=jobs, device=device, progress=progress)
        curve = replace(curve, seconds=time.perf_counter() - start)
        write_curve(curve, folder)
    return curve


def measure_curve(
    plan: CurvePlan,
    store: Features,
    folder: Path,
    *,
    jobs: parallel.Jobs = None,
    device: str = DEFAULT_DEVICE,
    progress: Progress = no_progress,
) -> LearningCurve:
    """Train and score all draws of ``plan`` with the clips that can be read; only networks are written to ``folder``.

    ``jobs`` may be an executor, such as a cluster, that trains them.

    Raises:
        DatasetError: too few clips can be read.

    >>> plan = make_curve_plan(city, recipe, draws=1)
    >>> measure_curve(plan, build_features(city, recipe, jobs=1), folder).points[0].size
    1
    """
    plan = replace(plan, splits=tuple(usable_split(split, store.usable) for split in plan.splits))
    for split in plan.splits:
        check_split(_unit(plan, folder, None, 0, split), plan.dataset)
    if isinstance(jobs, Executor):
        score = _score_heads_on if plan.recipe.backbone else _score_networks_on
        scored = score(jobs, plan, store, folder, device, progress)
    else:
        scored = (_score_heads if plan.recipe.backbone else _score_networks)(plan, store, folder, device, progress)
    return measure(
        plan.dataset,
        plan.recipe,
        plan.protocol,
        np.concatenate([split.test for split in plan.splits]),
        _collected(plan, scored),
        skipped=(*plan.dataset.skipped, *store.skipped),
    )


Scored = Iterator[tuple[int | None, int, Split, np.ndarray]]  # size, draw, split, probabilities of its test clips


def _score_heads(plan: CurvePlan, store: Features, folder: Path, device: str, progress: Progress) -> Scored:
    """Fit the heads; the first draw of each size and fold selects the shrinkage of the other draws."""
    backgrounds = background_features(plan.recipe)
    shrinkages: dict[tuple[int | None, int | None], float] = {}
    for number, (size, draw, split) in enumerate(plan.jobs(), 1):
        found, shrinkages[size, split.fold] = head_scores(
            plan.recipe,
            split,
            plan.dataset,
            store,
            backgrounds=backgrounds,
            shrinkage=shrinkages.get((size, split.fold)),
        )
        progress("learning curve", number, plan.trainings, "fits")
        yield size, draw, split, found


@dataclass(frozen=True, kw_only=True)
class _Heads:
    """What all heads of a curve have in common."""

    recipe: Recipe
    dataset: Dataset
    store: RemoteFeatures
    backgrounds: Backgrounds | None


def _fit_head(shared: _Heads, item: tuple[Split, float | None]) -> tuple[np.ndarray, float]:
    """Fit and score a head on a worker; its shrinkage is selected, or given."""
    split, shrinkage = item
    store = shared.store.opened()
    return head_scores(shared.recipe, split, shared.dataset, store, backgrounds=shared.backgrounds, shrinkage=shrinkage)


def _score_heads_on(
    executor: Executor, plan: CurvePlan, store: Features, folder: Path, device: str, progress: Progress
) -> Scored:
    """``_score_heads`` on an executor: first all draws that select a shrinkage, then the others."""
    work = list(plan.jobs())
    shared = _Heads(
        recipe=plan.recipe,
        dataset=plan.dataset,
        store=RemoteFeatures.of(store),
        backgrounds=background_features(plan.recipe),
    )
    shrinkages: dict[tuple[int | None, int | None], float] = {}
    found: dict[int, np.ndarray] = {}
    for is_first in (True, False):
        chosen = [number for number, (_, draw, _) in enumerate(work) if (draw == 0) == is_first]
        items = [(split, shrinkages.get((size, split.fold))) for size, _, split in (work[number] for number in chosen)]
        for index, (scores, shrinkage) in parallel.map_unordered(_fit_head, items, jobs=executor, shared=shared):
            size, _, split = work[chosen[index]]
            shrinkages.setdefault((size, split.fold), shrinkage)
            found[chosen[index]] = scores
            progress("learning curve", len(found), len(work), "fits")
    yield from ((*job, found[number]) for number, job in enumerate(work))


def _score_networks_on(
    executor: Executor, plan: CurvePlan, store: Features, folder: Path, device: str, progress: Progress
) -> Scored:
    """``_score_networks`` on an executor."""
    work = list(plan.jobs())
    units = [_unit(plan, folder, size, draw, split) for size, draw, split in work]
    outcomes: dict[int, Outcome] = {}
    for number, unit in enumerate(units):
        outcome = find_finished(unit, plan.dataset, store) if is_file(unit.folder / "model.onnx") else None
        if outcome:
            outcomes[number] = outcome
    missing = [number for number in range(len(units)) if number not in outcomes]
    stores, engine = {plan.recipe.name: store}, engine_for([], device)
    for index, outcome in train_units(executor, [units[n] for n in missing], plan.dataset, stores, engine=engine):
        outcomes[missing[index]] = outcome
        progress("learning curve", len(outcomes), len(units), "trainings")
    yield from ((*job, outcomes[number].probabilities) for number, job in enumerate(work))


def _score_networks(plan: CurvePlan, store: Features, folder: Path, device: str, progress: Progress) -> Scored:
    """Train a network for each job; read those that are finished."""
    engine = engine_for([], device)
    for number, (size, draw, split) in enumerate(plan.jobs(), 1):
        unit = _unit(plan, folder, size, draw, split)
        report = numbered(progress, number, plan.trainings)
        outcome = find_finished(unit, plan.dataset, store) if is_file(unit.folder / "model.onnx") else None
        if outcome is None:
            outcome = train_unit(unit, plan.dataset, store, engine=engine, progress=report)
        yield size, draw, split, outcome.probabilities


def _unit(plan: CurvePlan, folder: Path, size: int | None, draw: int, split: Split) -> Unit:
    path = folder / plan.recipe.name / "curve" / f"size-{size or 'all'}" / f"draw-{draw}"
    return Unit(
        recipe=plan.recipe,
        protocol=plan.protocol,
        split=split,
        folder=path if split.fold is None else path / f"fold-{split.fold}",
    )


def _collected(plan: CurvePlan, scored: Scored) -> list[Measured]:
    """Join the folds of each size and draw, in the order of the splits."""
    found: dict[int | None, dict[int, list[np.ndarray]]] = {size: {} for size in (*plan.sizes, None)}
    counts: dict[int | None, list[int]] = {size: [] for size in found}
    for size, draw, split, probabilities in scored:
        found[size].setdefault(draw, []).append(probabilities)
        counts[size].append(splits.count_recordings(plan.dataset, split.train))
    return [
        Measured(
            size=size,
            per_class=float(np.mean(counts[size])) / len(plan.dataset.classes),
            recordings=float(np.mean(counts[size])),
            probabilities=tuple(np.concatenate(draws[draw]) for draw in sorted(draws)),
        )
        for size, draws in found.items()
    ]


def _check_same_curve(folder: Path, plan: CurvePlan) -> None:
    """Check that ``curve.json``, if there is one, is of the same data and recipe; warn if it is damaged."""
    path = folder / NAME
    try:
        before = checksums.parse_verified(path.read_bytes())
        known = before["dataset"]["fingerprint"], before["recipe"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        log.warning('"%s" was damaged or changed after it was written: it is recomputed', path)
        return
    if known != (plan.dataset.fingerprint, json.loads(json.dumps(plan.recipe.settings()))):
        raise OutputError(
            f'"{folder}" contains the learning curve of another recipe or of other data. Choose another folder with '
            "-o, or start over with --fresh."
        )


def _clear(output: OutputFolder, plan: CurvePlan) -> None:
    """Remove the files that a curve wrote, and no others."""
    prefix = f"{plan.recipe.name}/curve/"
    for name in output.names():
        if name in (NAME, FIGURE) or (name.startswith(prefix) and Path(name).name in UNIT_FILES):
            output.remove(name)


def check_curves(recipes: Iterable[Recipe]) -> None:
    """Check that a comparison of ``recipes`` can measure learning curves.

    Raises:
        SettingsError: no recipe has a backbone.

    >>> check_curves([recipe])
    Traceback (most recent call last):
    soundmark.errors.SettingsError: no recipe has a backbone, and the learning curve of others takes many trainings: ...
    """
    if not any(recipe.backbone for recipe in recipes):
        raise SettingsError(
            "no recipe has a backbone, and the learning curve of others takes many trainings: measure it with "
            "`soundmark curve`."
        )


def measure_curves(
    dataset: Dataset, recipes: Iterable[Recipe], folder: Path, *, jobs: parallel.Jobs, progress: Progress
) -> list[LearningCurve]:
    """Measure the learning curve of each recipe with a backbone, and write it to ``folder/<recipe>``.

    A data set with too few recordings gives a warning, and no curve.

    >>> measure_curves(city, [recipe], folder, jobs=1, progress=no_progress)
    []
    """
    found = []
    for recipe in recipes:
        if recipe.backbone:
            try:
                plan = make_curve_plan(dataset, recipe)
            except DatasetError as error:
                log.warning("no learning curve of %s: %s", recipe.name, error)
                continue
            store = build_features(dataset, plan.recipe, jobs=jobs, progress=progress)
            found.append(measure_curve(plan, store, folder / recipe.name, jobs=jobs, progress=progress))
            write_curve(found[-1], folder / recipe.name)
    return found


def write_curve(curve: LearningCurve, folder: Path) -> None:
    """Write ``curve.json`` and, with Matplotlib, ``curve.png`` to ``folder``.

    Raises:
        OutputError: the folder cannot be written.

    >>> plan = make_curve_plan(city, recipe, draws=1)
    >>> write_curve(measure_curve(plan, build_features(city, recipe, jobs=1), folder), folder)
    >>> (folder / "curve.json").exists()
    True
    """
    text = json.dumps(checksums.with_checksum(curve.to_json()), indent=1, ensure_ascii=False, allow_nan=False)
    atomic.write_bytes(folder / NAME, f"{text}\n".encode(errors="backslashreplace"))
    if not plotting.has_matplotlib():
        log.warning('no figure was drawn: it needs Matplotlib: pip install "soundmark[plot]"')
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    curve.plot(figure.add_subplot())
    plotting.save_figure(figure, folder / FIGURE, dpi=160)

"""The features of a recipe, and the two ways to train: a linear head on a backbone, or a network epoch by epoch.

Both ways give a graph, its calibration, and its logits on some clips, computed without that graph, to check it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soundmark.datasets import Dataset, features
from soundmark.datasets.features import Features
from soundmark.datasets.splits import Split
from soundmark.errors import SettingsError
from soundmark.metrics.task import Task
from soundmark.models.pretrained import backbone
from soundmark.models.pretrained.backbone import Backbone, load_backbone
from soundmark.models.pretrained.backbone_file import load_backbone_file
from soundmark.models.training_record import EngineRecord, Epoch
from soundmark.runtime import parallel
from soundmark.runtime.progress import Progress, no_progress
from soundmark.spectrograms import Representation
from soundmark.training.calibration import Calibration
from soundmark.training.recipe import Recipe
from soundmark.training.transfer import head_training
from soundmark.training.transfer.backgrounds import Backgrounds
from soundmark.training.transfer.embeddings import Embeddings

if TYPE_CHECKING:
    from soundmark.training.epochs.engine import Engine, TrainingData

N_CHECKED = 256  # test or training clips on which the graph is compared with the network
N_READ_AGAIN = 16  # the same for a head: their spectrograms are not stored


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained graph, its calibration, and how it was trained."""

    graph: bytes
    calibration: Calibration
    history: tuple[Epoch, ...]
    engine: EngineRecord
    seconds: float
    spectrograms: np.ndarray  # float32 [m, freq, time], of clips on which the graph is checked
    logits: np.ndarray  # float32 [m, classes], of these, by the network itself
    test_logits: np.ndarray | None  # float32 [windows, classes] of the test clips; None: the graph computes them


def extractor_of(recipe: Recipe, progress: Progress = no_progress) -> Representation | Embeddings:
    """Return what converts a sound to the stored features of a recipe.

    Raises:
        WeightsError: the weights of the backbone are missing and cannot be downloaded, or are damaged.
        BundleError: the file of the backbone cannot be read, or its graph is refused.

    >>> extractor_of(recipe) is recipe.representation
    True
    """
    if recipe.backbone is None:
        return recipe.representation
    found = _backbone(recipe, progress)
    return Embeddings(representation=recipe.representation, backbone=found, partial_views=recipe.partial_views)


def _backbone(recipe: Recipe, progress: Progress = no_progress) -> Backbone:
    name, kind = recipe.backbone or "", recipe.representation
    if not recipe.has_backbone_file:
        return load_backbone(name, kind.shape, progress)
    if recipe.backbone_output is None or recipe.backbone_sha256 is None:
        raise SettingsError(
            f'the file "{name}" of the recipe {recipe.name} has not been read: see named_recipes.recipe.'
        )
    return load_backbone_file(name, kind, recipe.backbone_output, recipe.backbone_sha256)


def n_features(recipe: Recipe) -> int:
    """Return the numbers that are stored for each window of a recipe.

    >>> n_features(recipe)
    576
    """
    if recipe.backbone is None:
        return math.prod(recipe.representation.shape)
    size = _backbone(recipe).n_features if recipe.has_backbone_file else backbone.n_features(recipe.backbone)
    return (1 + recipe.partial_views) * size


def features_key(recipe: Recipe) -> tuple[object, ...]:
    """Return what the stored features of a recipe depend on; recipes with an equal key share them.

    >>> features_key(recipe) == (recipe.representation,)
    True
    """
    if recipe.backbone is None:
        return (recipe.representation,)
    backbone_key = (recipe.backbone_sha256, recipe.backbone_output) if recipe.has_backbone_file else recipe.backbone
    return recipe.representation, backbone_key, recipe.partial_views


def build_features(
    dataset: Dataset,
    recipe: Recipe,
    *,
    jobs: parallel.Jobs = None,
    fresh: bool = False,
    progress: Progress = no_progress,
) -> Features:
    """Return the features of all clips for a recipe, and store those of its backgrounds.

    Raises:
        WeightsError: the weights of the backbone are missing and cannot be downloaded, or are damaged.
        OutputError: the cache folder cannot be written.

    >>> build_features(city, recipe, jobs=1).array.shape
    (60, 24, 24)
    """
    extractor = extractor_of(recipe, progress)
    store = features.build(dataset, extractor, window_s=dataset.window_s, jobs=jobs, fresh=fresh, progress=progress)
    if not dataset.multi_label:
        backgrounds_of(recipe, extractor, jobs=jobs, progress=progress)
    return store


def train_head(
    recipe: Recipe, split: Split, dataset: Dataset, store: Features, *, progress: Progress, name: str
) -> Trained:
    """Fit a linear head on the stored features of the training clips; test clips are not read before it is fitted.

    >>> from soundmark.training.named_recipes import recipe_named
    >>> transfer = recipe_named("transfer")
    >>> store, split = build_features(city, transfer), Split(np.arange(40), np.arange(40, 60))  # doctest: +SKIP
    >>> train_head(transfer, split, city, store, progress=no_progress, name="transfer").history  # doctest: +SKIP
    ()
    """
    extractor = extractor_of(recipe)
    assert isinstance(extractor, Embeddings)
    backgrounds = None if dataset.multi_label else backgrounds_of(recipe, extractor)
    train, test = store.rows(split.train), store.rows(split.test)
    start = time.perf_counter()
    progress(name, 0, 1, "fits")
    examples = _examples(dataset, store, train, hidden=test)
    trained = head_training.train_head(
        *examples,
        extractor.backbone,
        recipe,
        backgrounds=suited_backgrounds(backgrounds, dataset, *examples),
        background_rows=dataset.background_rows,
        activation=Task.of(dataset.multi_label).activation,
    )
    seconds = time.perf_counter() - start
    checked = np.concatenate([test, train])[:N_READ_AGAIN]
    clips = [store.windows.windows.clips[row] for row in checked.tolist()]
    progress(name, 1, 1, "fits")
    return Trained(
        graph=trained.graph(),
        calibration=trained.calibration,
        history=(),
        engine=EngineRecord(device="cpu", precision="float32", threads=parallel.available_cores()),
        seconds=seconds,
        spectrograms=np.stack([features.spectrogram(clip, recipe.representation) for clip in clips]),
        logits=trained.logits(store.array[checked][:, 0]),
        test_logits=trained.logits(store.array[test][:, 0]),
    )


def background_features(recipe: Recipe) -> Backgrounds | None:
    """Return the backgrounds that the head of a recipe is fitted on, for any data set; None if there are none.

    >>> background_features(recipe) is None
    True
    """
    return backgrounds_of(recipe, extractor_of(recipe))


def backgrounds_of(
    recipe: Recipe,
    extractor: Representation | Embeddings,
    *,
    jobs: parallel.Jobs = None,
    progress: Progress = no_progress,
) -> Backgrounds | None:
    """Return ``background_features`` of a recipe whose extractor is known.

    Raises:
        OutputError: the cache folder cannot be written.

    >>> backgrounds_of(recipe, recipe.representation) is None
    True
    """
    if not isinstance(extractor, Embeddings) or not recipe.backgrounds + recipe.recorded_backgrounds:
        return None
    return extractor.of_backgrounds(recipe.backgrounds, recipe.recorded_backgrounds, jobs=jobs, progress=progress)


def suited_backgrounds(
    backgrounds: Backgrounds | None, dataset: Dataset, views: np.ndarray, targets: np.ndarray, sources: np.ndarray
) -> Backgrounds | None:
    """Leave out the backgrounds that sound like a class of the data set in its training clips; multi-label: all.

    ``views`` ``[v, n, f]``, ``targets`` ``[n, classes]`` and ``sources`` ``[n]`` are those of the training clips.

    >>> suited_backgrounds(None, city, np.zeros((1, 60, 3)), city.targets, city.sources) is None
    True
    """
    if backgrounds is None or dataset.multi_label:
        return None
    rows = dataset.background_rows
    return backgrounds.suited_to(dataset.classes, views[0], targets, sources, background_rows=rows)


def _examples(
    dataset: Dataset, store: Features, rows: np.ndarray, *, hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return views ``[v, n, f]``, targets ``[n, classes]`` and sources ``[n]`` of the windows ``rows`` of a store.

    Reading a window in ``hidden`` raises an error.
    """
    clip_of = store.windows.clip_of[rows]
    views = np.moveaxis(store.array.hide(hidden)[rows], 1, 0)
    return views, dataset.targets[clip_of].astype(np.float64), dataset.sources[clip_of]


def head_scores(
    recipe: Recipe,
    split: Split,
    dataset: Dataset,
    store: Features,
    *,
    backgrounds: Backgrounds | None = None,
    shrinkage: float | None = None,
) -> tuple[np.ndarray, float]:
    """Fit a linear head like ``train_head``, but do not calibrate it; score the test clips.

    ``backgrounds`` are those of ``background_features``. Returns the probabilities ``[n_test, classes]`` in the order
    of the test clips, and the shrinkage of the head. A given ``shrinkage`` saves most of the time.

    >>> from soundmark.training.named_recipes import recipe_named
    >>> transfer = recipe_named("transfer")
    >>> store, split = build_features(city, transfer), Split(np.arange(40), np.arange(40, 60))  # doctest: +SKIP
    >>> head_scores(transfer, split, city, store)[0].shape  # doctest: +SKIP
    (20, 10)
    """
    task, train, test = Task.of(dataset.multi_label), store.rows(split.train), store.rows(split.test)
    examples = _examples(dataset, store, train, hidden=test)
    head = head_training.train_uncalibrated(
        *examples,
        backgrounds=suited_backgrounds(backgrounds, dataset, *examples),
        activation=task.activation,
        seed=recipe.seed,
        shrinkage=shrinkage,
    )
    scored = task.probabilities(head.logits(store.array[test][:, 0]))
    return store.windows.mean_by_clip(scored, test, split.test), head.shrinkage


def held_out_scores(
    recipe: Recipe, dataset: Dataset, store: Features, clips: np.ndarray, *, backgrounds: Backgrounds | None = None
) -> np.ndarray:
    """Score each of ``clips`` by a head that was fitted without its recording; float64 ``[clips, classes]``.

    ``backgrounds`` are those of ``background_features``.

    >>> from soundmark.training.named_recipes import recipe_named
    >>> transfer = recipe_named("transfer")
    >>> store = build_features(city, transfer)  # doctest: +SKIP
    >>> held_out_scores(transfer, city, store, np.arange(60)).shape  # doctest: +SKIP
    (60, 10)
    """
    task, rows = Task.of(dataset.multi_label), store.rows(clips)
    examples = _examples(dataset, store, rows, hidden=np.arange(0))
    logits = head_training.held_out_logits(
        *examples,
        backgrounds=suited_backgrounds(backgrounds, dataset, *examples),
        activation=task.activation,
        seed=recipe.seed,
    )
    return store.windows.mean_by_clip(task.probabilities(logits), rows, clips)


def train_network(
    recipe: Recipe,
    split: Split,
    dataset: Dataset,
    store: Features,
    *,
    engine: Engine | None,
    checkpoint: Path,
    progress: Progress,
    name: str,
    on_history: Callable[[tuple[Epoch, ...]], None],
) -> Trained:
    """Train a network epoch by epoch; resume from ``checkpoint`` if it exists. Needs torch.

    >>> trained = train_network(
    ...     recipe, Split(np.arange(40), np.arange(40, 60)), city, build_features(city, recipe, jobs=1), engine=None,
    ...     checkpoint=folder / "checkpoint.safetensors", progress=no_progress, name="mel", on_history=lambda _: None,
    ... )
    >>> trained.logits.shape, len(trained.history) == recipe.epochs
    ((60, 10), True)
    """
    from soundmark.training.epochs import loop, onnx_export

    data = _training_data(recipe, split, dataset, store)
    report, start = loop.TrainingProgress(progress, name, on_history), time.perf_counter()
    trained = loop.train_network(
        data,
        recipe,
        checkpoint=checkpoint,
        engine=engine,
        on_batch=report.on_batch,
        on_epoch=report.on_epoch,
        on_status=report.on_status,
    )
    checked = store.rows(np.concatenate([split.test, split.train])[:N_CHECKED])[:N_CHECKED]
    spectrograms = store.array[checked]
    return Trained(
        graph=onnx_export.export_network(trained.network, store.array.shape[1:], trained.calibration.familiarity),
        calibration=trained.calibration,
        history=trained.history,
        engine=EngineRecord(**asdict(trained.engine)),
        seconds=sum(epoch.seconds for epoch in trained.history) or time.perf_counter() - start,
        spectrograms=spectrograms,
        logits=onnx_export.network_logits(trained.network, spectrograms),
        test_logits=None,
    )


def _training_data(recipe: Recipe, split: Split, dataset: Dataset, store: Features) -> TrainingData:
    """Return the training data. A recipe that calibrates has no access to the features and labels of test clips.

    The notebook's recipes compute the loss and accuracy of each epoch on the test clips, as the notebook does. These
    figures are the history's test values and affect nothing else.
    """
    from soundmark.training.epochs.engine import TrainingData

    clip_of, test = store.windows.clip_of, store.rows(split.test)
    targets = dataset.targets[clip_of].astype(np.float32)
    if recipe.calibrates:
        targets[test] = np.nan
    return TrainingData(
        features=store.array.hide(test) if recipe.calibrates else store.array,
        targets=targets,
        train=store.rows(split.train),
        validation=store.rows(split.validation) if recipe.calibrates else test,
        sources=dataset.sources[clip_of],
        activation=Task.of(dataset.multi_label).activation,
        checksum=store.checksum,
        watches_test=not recipe.calibrates,
    )

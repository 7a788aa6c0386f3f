"""Train one model on all clips, or on all but one fold."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from soundmark.datasets import Dataset, Skipped, features, splits
from soundmark.datasets.clip import LONGEST_WINDOW_S, choose_window, sampled_lengths_s
from soundmark.datasets.clip_windows import with_window
from soundmark.datasets.dataset import with_background
from soundmark.datasets.layouts.joining import joined
from soundmark.datasets.protocols import ALL, FOLDS, most_trusted
from soundmark.errors import SettingsError
from soundmark.metrics.task import Task
from soundmark.models import bundle, legacy
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.runtime.checks import check_jobs, check_path, is_count, parse_json
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import listed
from soundmark.training import DEFAULT_BACKGROUND, DEFAULT_DEVICE, DEFAULT_RECIPE, named_recipes
from soundmark.training.methods import build_features
from soundmark.training.recipe import Recipe
from soundmark.training.run_folder import check_units, clear_run, exclusive_run, is_intact
from soundmark.training.unit import (
    Unit,
    check_device,
    check_split,
    differing_settings,
    engine_for,
    find_finished,
    train_unit,
    usable_split,
    warn_few_steps,
)

log = logging.getLogger("soundmark")

MAX_NAMED = 10  # skipped clips named in warnings; the rest are counted


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """The result of ``train_model``: the model file, its card, and the clips that could not be used."""

    model: Path
    card: Card
    skipped: tuple[Skipped, ...]


def train(
    dataset: Dataset | str | PathLike[str] | Sequence[Dataset | str | PathLike[str]],
    recipe: Recipe | str | PathLike[str] = DEFAULT_RECIPE,
    folder: str | PathLike[str] | None = None,
    *,
    test_fold: int | None = None,
    scores: str | PathLike[str] | None = None,
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
    device: str = DEFAULT_DEVICE,
    fresh: bool = False,
    quiet: bool = False,
) -> Model:
    """Train one model on all clips, or on all but one fold, which is then tested; write ``folder/model.onnx``.

    The same call resumes an interrupted training, or loads the finished model. Clips that cannot be used are skipped
    and named in warnings.

    Args:
        dataset: a ``Dataset``, or the path of one; or several, such as a data set and corrections, which are joined.
        recipe: the name of a recipe, a .toml file, or a ``Recipe``.
        folder: the folder that the model is written to.
        test_fold: the official fold to hold out and test on. Default: train on all clips.
        scores: the folder of a comparison, whose scores of this recipe are written to the model's card.
        subset: a named subset of the data set, such as "esc10" of ESC-50.
        complete: everything of interest is annotated, as in ``Dataset.open``.
        epochs: overrides the recipe's value.
        batch_size: overrides the recipe's value.
        learning_rate: overrides the recipe's value.
        backbone: "mn04", "mn10" or an .onnx file, the pretrained network of recipes with a backbone.
        backbone_output: the output of the file that is the embedding, if its metadata do not say so.
        backbone_rate_hz: the sample rate of the file's input, if its metadata do not say so.
        seed: of weights, order of clips and dropout; overrides the recipe's value.
        window_s: window of the model in seconds; longer clips are cut into windows. Default: from the durations.
        background: "auto", "none", or labels that mean "none of these"; see ``with_background``.
        time_expansion: analyse sounds as if played this many times slower (ultrasound: above 1).
        band: lowest and highest frequency of the spectrograms, in Hz.
        jobs: parallel workers; default: all cores.
        device: "auto", "cpu", "cuda" or "mps".
        fresh: discard earlier results in the folder instead of resuming.
        quiet: show no progress.

    Raises:
        SettingsError: an unknown recipe, fold or device, an invalid value, or no folder.
        BundleError: the file of a backbone cannot be read, or is not a backbone.
        DatasetError: the path is not a data set.
        OutputError: the folder cannot be written, or contains another run.

    >>> train(city, recipe, folder / "final", epochs=1, quiet=True).classify(city.clips[0].path, top_k=1)
    [{'label': ..., 'score': ...}]
    """
    fields = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "backbone": backbone}
    fields |= {"backbone_output": backbone_output, "backbone_rate_hz": backbone_rate_hz, "window_s": window_s}
    folder = results_folder(folder, recipe)
    (chosen,) = named_recipes.changed_recipes([recipe], **fields, seed=seed, time_expansion=time_expansion, band=band)
    check_jobs(jobs)
    if test_fold is not None and not is_count(test_fold):
        raise SettingsError(f"test_fold is {test_fold!r}: expected the number of a fold, or None.")
    data = prepare(open_dataset(dataset, subset, complete=complete), [chosen], window_s=window_s, background=background)
    from soundmark.runtime.progress_bars import progress_bars  # imports rich, which is slow

    with progress_bars(quiet) as progress:
        trained = train_model(
            data,
            chosen,
            folder,
            test_fold=None if test_fold is None else int(test_fold),
            scores=None if scores is None else Path(check_path("scores", scores)),
            jobs=jobs,
            device=device,
            fresh=fresh,
            progress=progress,
        )
    warn_skipped(data, trained.skipped)
    return Model(bundle.read_bundle(trained.model))


def train_model(
    dataset: Dataset,
    recipe: Recipe,
    folder: Path,
    *,
    test_fold: int | None = None,
    scores: Path | None = None,
    jobs: int | None = None,
    device: str = DEFAULT_DEVICE,
    fresh: bool = False,
    progress: Progress = no_progress,
) -> TrainedModel:
    """Train one model on all clips, or on all but one fold, which is then tested; write ``folder/model.onnx``.

    ``scores`` is the folder of a comparison, whose cross-validated scores of this recipe are written to the model's
    card.

    Raises:
        SettingsError: the fold does not exist, or the comparison does not include the recipe.
        OutputError: the folder cannot be written, or contains another run.

    >>> train_model(city, recipe, folder / "run").card.training.n_train
    60
    """
    if scores is not None and test_fold is not None:
        raise SettingsError("a model with a test fold is scored on that fold: use either --test-fold or --scores.")
    splits.check_classes(dataset)
    recipe = recipe.for_window(dataset.window_s)
    check_device([recipe], device)  # before the features are computed
    card_scores = {} if scores is None else comparison_scores(scores, recipe, dataset)
    protocol = ALL if test_fold is None else FOLDS
    (split,) = protocol.splits(dataset, None if test_fold is None else [test_fold])
    with exclusive_run(folder) as output:
        check_units(output, [folder])
        store = build_features(dataset, recipe, jobs=jobs, fresh=fresh, progress=progress)
        features.warn_incomplete(store.notes)
        features.report_windows([store])
        unit = Unit(
            recipe=recipe,
            protocol=protocol.name,
            split=usable_split(split, store.usable),
            folder=folder,
        )
        check_split(unit, dataset)
        warn_few_steps([unit], store)
        features.warn_suspicious(dataset, store, range(len(dataset.clips)))
        if fresh:
            clear_run(output)
        finished = find_finished(unit, dataset, store)
        outcome = finished
        if outcome is None:
            engine = None if recipe.backbone else engine_for([], device)
            outcome = train_unit(unit, dataset, store, engine=engine, progress=progress)
        model = bundle.read_bundle(outcome.model)
        if card_scores:
            model = Bundle(model.graph, replace(model.card, scores=card_scores))
            model.write(outcome.model)
    return TrainedModel(model=outcome.model, card=model.card, skipped=(*dataset.skipped, *store.skipped))


def comparison_scores(folder: Path, recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """Return the scores of ``recipe`` from the comparison in ``folder``, under its best protocol.

    That is official folds, else folds by recording, else a random split.

    Raises:
        SettingsError: there is no comparison, or it is damaged, lacks the recipe, used other data or only some folds.

    >>> comparison_scores(folder, recipe, city)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: ...metrics.json" is not the result of a comparison: give the folder that ...
    """
    path = folder / "metrics.json"
    try:
        found = parse_json(path.read_bytes())
        results = {
            entry["protocol"]: entry
            for entry in found["results"]
            if legacy.RECIPES.get(entry["recipe"], entry["recipe"]) == recipe.name
        }
        fingerprint = found["dataset"]["fingerprint"]
        _ = [entry["settings"] for entry in results.values()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f'"{path}" is not the result of a comparison: give the folder that `soundmark compare` wrote.'
        ) from error
    if not is_intact(found):
        raise SettingsError(
            f'"{path}" was damaged or changed after it was written: run the comparison again to write a new one.'
        )
    if not results:
        raise SettingsError(
            f'the comparison in "{folder}" does not include the recipe {recipe.name}: compare it first.'
        )
    if fingerprint != dataset.fingerprint:
        raise SettingsError(
            f'the comparison in "{folder}" used other data (fingerprint {fingerprint}, not {dataset.fingerprint}).'
        )
    result = results[most_trusted(results)]
    if differing := differing_settings(recipe, result["settings"]):
        raise SettingsError(
            f'the recipe {recipe.name} in "{folder}" is not the same recipe: it differs in {", ".join(differing)}.'
        )
    if result["protocol"] == FOLDS.name and {fold["fold"] for fold in result["folds"]} != set(dataset.folds):
        raise SettingsError(f'the comparison in "{folder}" tested only some of the folds: test all folds first.')
    figure = Task.of(dataset.multi_label).key
    keys = ("protocol", "n_test", figure, f"{figure}_interval", "macro_f1", "ece", "fold_mean", "fold_sd")
    return {"cross_validated": True, **{key: result[key] for key in keys}, "leak": result.get("leak")}


def open_dataset(
    dataset: Dataset | str | PathLike[str] | Sequence[Dataset | str | PathLike[str]],
    subset: str | None = None,
    *,
    complete: bool = False,
) -> Dataset:
    """Return ``dataset``, opened first if it is a path, with the options of ``Dataset.open``.

    Several are joined: see ``datasets/layouts/joining``. The options are those of the first.

    Raises:
        DatasetError: the path is not a data set.
        SettingsError: ``dataset`` is neither a ``Dataset`` nor a path, or an option was given for an open one.

    >>> open_dataset(city) is city, len(open_dataset(str(city.root)).clips)
    (True, 60)
    """
    if isinstance(dataset, list | tuple):
        others = [open_dataset(each) for each in dataset[1:]]
        return joined([*(open_dataset(each, subset, complete=complete) for each in dataset[:1]), *others])
    if isinstance(dataset, str | PathLike):
        return Dataset.open(dataset, subset=subset, complete=complete)
    if not isinstance(dataset, Dataset):
        raise SettingsError(f"the data set is a {type(dataset).__name__}: expected a Dataset, or the path of one.")
    if subset is not None:
        raise SettingsError(f'subset is "{subset}", but the data set is already open: pass subset to Dataset.open.')
    if complete:
        raise SettingsError("complete is True, but the data set is already open: pass complete to Dataset.open.")
    return dataset


def prepare(
    dataset: Dataset,
    recipes: Sequence[Recipe],
    *,
    window_s: float | None = None,
    background: str | Sequence[str] = DEFAULT_BACKGROUND,
) -> Dataset:
    """Return ``dataset`` as ``recipes`` use it: with its window, and its background labels marked.

    A window that is not given is that of a backbone that takes no other, or is chosen from the durations of the clips;
    with a time expansion X, it is at most 10 s / X.

    Raises:
        SettingsError: the window is not above 0, or not that of a backbone, or a background label is unknown.

    >>> prepare(city, [recipe], window_s=2.0).window_s
    2.0
    """
    fixed_s = _fixed_window_s(recipes, window_s)
    if fixed_s is not None:
        return with_background(with_window(dataset, fixed_s), background)
    factor = max((one.representation.time_expansion for one in recipes), default=1.0)
    if window_s is None and factor != 1:
        lengths_s = sampled_lengths_s(dataset.clips)
        window_s = choose_window(lengths_s, longest_window_s=LONGEST_WINDOW_S / factor).window_s
    return with_background(with_window(dataset, window_s), background)


def _fixed_window_s(recipes: Sequence[Recipe], window_s: float | None) -> float | None:
    """Return the only window that the backbones of ``recipes`` take; None if they take any."""
    fixed = {one.fixed_window_s: one.name for one in recipes if one.fixed_window_s is not None}
    if len(fixed) > 1:
        windows = listed([f"{name}: {seconds:g} s" for seconds, name in fixed.items()])
        raise SettingsError(
            f"the backbones of the recipes take windows of different lengths ({windows}): use them in separate runs."
        )
    for one in recipes:
        if one.fixed_window_s is not None and window_s is not None:
            one.for_window(window_s)  # refuses another window
    return next(iter(fixed), None)


def results_folder(folder: str | PathLike[str] | None, recipe: object = None) -> Path:
    """Check the folder that results are written to, and return it as a ``Path``.

    ``recipe`` is the argument before it: the message says so if a folder was given instead of a recipe.

    Raises:
        SettingsError: it is None, or not a path.

    >>> results_folder("run").name
    'run'
    """
    if folder is None and isinstance(recipe, str) and not named_recipes.is_name(recipe):
        raise SettingsError(
            f'no folder was given for the results, and "{recipe}" is not a recipe: the second argument is the recipe, '
            f'the third one the folder. Pass the folder by its name: folder="{recipe}".'
        )
    if folder is None:
        raise SettingsError('no folder was given for the results: pass one as the third argument, or as folder="run".')
    if not isinstance(folder, str | PathLike) or not fspath(folder):
        raise SettingsError(f'the folder is {folder!r}: expected a path. The current folder is ".".')
    return Path(folder).expanduser()


def warn_skipped(dataset: Dataset, skipped: Sequence[Skipped]) -> None:
    """Warn about the clips that were skipped: name the first ones, and count the rest.

    Clips that are missing from a partial copy of a data set are not reported.

    >>> warn_skipped(city, ())
    """
    faults = dataset.faults(skipped)
    for item in faults[:MAX_NAMED]:
        log.warning("skipped: %s: %s", item.path, item.reason)
    if len(faults) > MAX_NAMED:
        log.warning("skipped: %d more clips; `soundmark inspect` lists them all", len(faults) - MAX_NAMED)

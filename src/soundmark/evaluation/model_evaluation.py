"""A model on a data set: how good it is there, on clips that it was not trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soundmark.datasets import Dataset, Skipped, features
from soundmark.datasets.protocols import protocol_of
from soundmark.errors import DatasetError, OutputError, SettingsError
from soundmark.metrics.predictions import write_predictions
from soundmark.metrics.score_summary import ScoreSummary
from soundmark.metrics.task import score_clips
from soundmark.models.classifier import Model, load
from soundmark.runtime import atomic, locks
from soundmark.runtime.checks import check_jobs
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.progress import Progress, no_progress
from soundmark.training.single_model import open_dataset, results_folder, warn_skipped
from soundmark.training.unit import clips_digest

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True)
class ModelEvaluation:
    """A model's figures on a data set; displays its table in Jupyter."""

    classes: tuple[str, ...]
    summary: ScoreSummary
    note: str  # which clips were scored, and what that is worth
    about: Mapping[str, str]  # which model on which data
    skipped: tuple[Skipped, ...]

    def __repr__(self) -> str:
        from soundmark.evaluation import results_text

        return results_text.model_text(self)

    def _repr_html_(self) -> str:
        from soundmark.evaluation import results_text

        return results_text.model_html(self)

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per class: precision, recall, F1 and clips; of multi-label data average precision and threshold too.

        Raises:
            SettingsError: pandas is not installed.

        >>> from soundmark.evaluation.model_evaluation import evaluate
        >>> evaluate(model, city, quiet=True).to_dataframe().columns.tolist()
        ['label', 'precision', 'recall', 'f1', 'support']
        """
        return import_pandas().DataFrame([vars(scores) for scores in self.summary.class_figures])


def evaluate(
    model: Model | str | PathLike[str],
    dataset: Dataset | str | PathLike[str],
    folder: str | PathLike[str] | None = None,
    *,
    subset: str | None = None,
    jobs: int | None = None,
    quiet: bool = False,
) -> ModelEvaluation:
    """Evaluate a model on the clips of a data set that it was not trained on.

    Clips that cannot be used are named in warnings.

    Args:
        model: a ``Model``, or the path of one.
        dataset: a ``Dataset``, or the path of one.
        folder: where predictions.csv and metrics.json are written; default: nowhere.
        subset: a named part of the data set, "esc10" of ESC-50.
        jobs: parallel workers; default: all cores.
        quiet: show no progress.

    Raises:
        BundleError: the path is not a model.
        DatasetError: the path is not a data set, has a class that the model does not know, or no clip is left to test.
        OutputError: the folder cannot be written, or holds another run.

    >>> evaluate(model, city, quiet=True).summary.n  # of 60 clips 40 were trained on
    20
    """
    check_jobs(jobs)
    if not isinstance(model, Model | str | PathLike):
        raise SettingsError(f"the model is a {type(model).__name__}: give a Model, or the path of one.")
    loaded = model if isinstance(model, Model) else load(model)
    data = open_dataset(dataset, subset)
    place = None if folder is None else results_folder(folder)
    from soundmark.runtime.progress_bars import progress_bars  # rich is loaded when it is needed

    with progress_bars(quiet) as progress:
        found = evaluate_model(loaded, data, folder=place, jobs=jobs, progress=progress)
    warn_skipped(data, found.skipped)
    return found


def evaluate_model(
    model: Model,
    dataset: Dataset,
    *,
    folder: Path | None = None,
    jobs: int | None = None,
    progress: Progress = no_progress,
) -> ModelEvaluation:
    """The figures of ``model`` on ``dataset``; of its own data set only what it was not trained on.

    With ``folder``, ``predictions.csv`` and ``metrics.json`` are written there.

    Raises:
        DatasetError: a class that the model does not know, or no clip that it was not trained on.
        OutputError: the folder cannot be written, is written to by another process, or holds another run.

    >>> tested = evaluate_model(model, city, jobs=1)  # it was trained on folds 1 and 2
    >>> tested.summary.n, tested.note
    (20, "fold 3, which was kept back from the model's training")
    """
    check_known_classes(model, dataset)
    about = _about(model, dataset)
    if not folder:
        return _evaluate(model, dataset, about, jobs, progress)[0]
    _check_same_run(folder, about)
    with locks.exclusive(folder):
        tested, test, probabilities = _evaluate(model, dataset, about, jobs, progress)
        theirs = replace(dataset, classes=model.classes)
        write_predictions(folder / "predictions.csv", theirs, test, probabilities, model.thresholds)
        text = json.dumps(_to_json(tested), indent=1, ensure_ascii=False)
        # A name that is not UTF-8 has lone surrogates; as \udcff they are JSON.
        atomic.write_bytes(folder / "metrics.json", f"{text}\n".encode(errors="backslashreplace"))
    return tested


def check_known_classes(model: Model, dataset: Dataset) -> None:
    """Refuse a data set with a class that ``model`` does not know.

    Raises:
        DatasetError: there is one.

    >>> check_known_classes(model, replace(city, classes=(*city.classes, "owl")))
    Traceback (most recent call last):
    soundmark.errors.DatasetError: synthetic city has the class "owl", which the model does not know. It knows: ...
    """
    foreign = [name for name in dataset.classes if name not in model.classes]
    if foreign:
        known = ", ".join(model.classes)
        raise DatasetError(
            f'{dataset.name} has the class "{foreign[0]}", which the model does not know. It knows: {known}.'
        )


def _evaluate(
    model: Model, dataset: Dataset, about: Mapping[str, str], jobs: int | None, progress: Progress
) -> tuple[ModelEvaluation, np.ndarray, np.ndarray]:
    """What was found, the clips that were scored, and their probabilities."""
    store = features.build(dataset, model.card.representation, jobs=jobs, progress=progress)
    features.warn_incomplete(store.notes)
    kept_back, note = held_out_clips(model, dataset, store.usable)
    test = kept_back[store.usable[kept_back]]
    dataset = replace(dataset, classes=model.classes)
    if not len(test):
        raise DatasetError(f"no clip of {dataset.name} is left to score: {note}.")
    probabilities = model.probabilities(store.array, test)
    summary = score_clips(dataset, test, probabilities, thresholds=model.thresholds)
    skipped = (*dataset.skipped, *store.skipped)
    tested = ModelEvaluation(classes=model.classes, summary=summary, note=note, about=about, skipped=skipped)
    return tested, test, probabilities


def _about(model: Model, dataset: Dataset) -> dict[str, str]:
    card_and_graph = model.bundle.card_json.encode() + model.bundle.graph
    return {"model": hashlib.sha256(card_and_graph).hexdigest()[:16], "dataset": dataset.fingerprint}


def _check_same_run(folder: Path, about: Mapping[str, str]) -> None:
    """Refuse a folder with files of ours that are not of this model on this data: they would be lost.

    Raises:
        OutputError: it holds another run.
    """
    path = folder / "metrics.json"
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(there, dict) and there.get("about") == about:
            return
    except FileNotFoundError:
        if not any((folder / name).exists() for name in ("predictions.csv", "model.onnx")):
            return
    except OSError:
        return  # nothing can be written there either, and that is what will be said
    except ValueError:
        pass  # whatever it is, it is not ours to write over
    raise OutputError(f'"{folder}" holds another run: of another model or other data. Choose another folder with -o.')


def held_out_clips(model: Model, dataset: Dataset, readable: np.ndarray) -> tuple[np.ndarray, str]:
    """The clips that ``model`` was not trained on, int64 indices, and the sentence that says which they are.

    ``readable`` bool ``[clips]``: a clip that could not be read was not trained on. Where it cannot be told from the
    model's card, these are all clips, and the sentence says so.

    >>> clips, note = held_out_clips(model, city, np.ones(len(city.clips), bool))
    >>> set(city.fold_of[clips].tolist())
    {3}
    """
    record = model.card.training
    everything = np.arange(len(dataset.clips))
    protocol, fold = protocol_of(str(record.protocol)), record.test_fold
    is_same_data = record.fingerprint == dataset.fingerprint
    is_part_of_it = protocol.is_official and dataset.complete_size is not None and record.name == dataset.name
    split = protocol.find(dataset, fold) if is_same_data or is_part_of_it else None
    if split and (not protocol.is_drawn or clips_digest(split.train[readable[split.train]]) == record.trained_on):
        return np.sort(split.test), protocol.held_out.format(fold=fold)
    name = "data it does not name" if record.name is None else record.name
    return everything, (
        f"all clips; the model says that it was trained on {name}. If any of "
        "these clips, or others of their recordings, were among those, the figures are too good"
    )


def _to_json(tested: ModelEvaluation) -> dict[str, object]:
    return {
        "schema": 1,
        "about": dict(tested.about),
        "note": tested.note,
        **tested.summary.to_json(),
        "skipped": [asdict(item) for item in tested.skipped],
    }

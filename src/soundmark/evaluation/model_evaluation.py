"""Evaluate a trained model on the clips of a data set that it was not trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.datasets import Dataset, Skipped, features
from soundmark.datasets.dataset import with_background
from soundmark.datasets.protocols import protocol_of
from soundmark.detection.settings import DetectionSettings, EventRule, check_event_options
from soundmark.errors import DatasetError, OutputError
from soundmark.metrics.predictions import write_predictions
from soundmark.metrics.score_summary import ScoreSummary
from soundmark.metrics.task import score_clips
from soundmark.models.classifier import Model
from soundmark.models.pretrained.named_models import open_model
from soundmark.runtime import atomic, parallel
from soundmark.runtime.checks import check_jobs, parse_json
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.output_folder import MANIFEST
from soundmark.runtime.progress import Progress, no_progress
from soundmark.training.run_folder import check_units, exclusive_run
from soundmark.training.single_model import open_dataset, results_folder, warn_skipped
from soundmark.training.unit import clips_digest

if TYPE_CHECKING:
    import pandas

    from soundmark.evaluation.event_evaluation import EventEvaluation


@dataclass(frozen=True, kw_only=True)
class ModelEvaluation:
    """The scores of a model on a data set; displays a table of its classes in Jupyter."""

    classes: tuple[str, ...]
    summary: ScoreSummary
    note: str  # which clips were scored, and whether they may have been trained on
    about: Mapping[str, str]  # digests of the model and of the data set
    skipped: tuple[Skipped, ...]

    def __repr__(self) -> str:
        from soundmark.evaluation import results_text

        return results_text.model_text(self)

    def _repr_html_(self) -> str:
        from soundmark.evaluation import results_text

        return results_text.model_html(self)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per class: precision, recall, F1 and clips; multi-label: also average precision, threshold.

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
    events: bool = False,
    min_overlap: float = EventRule.min_overlap,
    overlap: float | None = DetectionSettings.overlap,
    threshold: float | None = DetectionSettings.min_confidence,
    merge_gap_s: float = DetectionSettings.merge_gap_s,
    subset: str | None = None,
    complete: bool = False,
    jobs: int | None = None,
    cluster: Any = None,
    quiet: bool = False,
) -> ModelEvaluation | EventEvaluation:
    """Evaluate a model on the clips of a data set that it was not trained on, or on the events in its recordings.

    Clips that cannot be used are skipped and named in warnings.

    Args:
        model: a ``Model``, or the path of one.
        dataset: a ``Dataset``, or the path of one.
        folder: where predictions.csv and metrics.json, or events.json, are written; default: not written.
        events: detect events in the recordings, and score them against the clips, which are annotations with start and
            stop time. Everything outside them counts as background. The next four settings are for events only.
        min_overlap: share of a detection, and of an annotation, that must overlap (see ``metrics.event_matching``).
        overlap: overlap between consecutive windows, as a fraction of the window; default: the model's.
        threshold: probability at which an event starts; default: the model's own.
        merge_gap_s: events of a class separated by at most this gap are merged, in seconds.
        subset: a named part of the data set, such as "esc10" of ESC-50.
        complete: everything of interest is annotated, as in ``Dataset.open``.
        jobs: parallel workers; default: all cores.
        cluster: a Dask cluster for the work: the address of its scheduler, "local", or a ``distributed.Client``.
        quiet: show no progress.

    Raises:
        BundleError: the path is not a model.
        DatasetError: the path is not a data set, a class is not one of the model's, or nothing is left to evaluate.
        OutputError: the folder cannot be written, or contains other results.
        SettingsError: a setting is out of range, or is for events only.

    >>> evaluate(model, city, quiet=True).summary.n  # the model was trained on the other 40 of 60 clips
    20
    >>> evaluate(model, city, events=True, quiet=True).summary.recordings  # each clip is a separate file
    20
    """
    check_jobs(jobs)
    rule = EventRule(min_overlap=min_overlap)
    settings = DetectionSettings(overlap=overlap, min_confidence=threshold, merge_gap_s=merge_gap_s)
    check_event_options(events, rule, settings)
    loaded = open_model(model)
    data = open_dataset(dataset, subset, complete=complete)
    target = None if folder is None else results_folder(folder)
    from soundmark.evaluation import event_evaluation  # imports this module
    from soundmark.runtime.progress_bars import progress_bars  # imports rich, so only where it is needed

    found: ModelEvaluation | EventEvaluation
    with parallel.workers(cluster, jobs) as workers, progress_bars(quiet) as progress:
        if events:
            found = event_evaluation.score_events(
                loaded, data, settings, rule=rule, folder=target, jobs=workers, progress=progress
            )
        else:
            found = evaluate_model(loaded, data, folder=target, jobs=workers, progress=progress)
    warn_skipped(data, found.skipped)
    return found


def evaluate_model(
    model: Model,
    dataset: Dataset,
    *,
    folder: Path | None = None,
    jobs: parallel.Jobs = None,
    progress: Progress = no_progress,
) -> ModelEvaluation:
    """Evaluate ``model`` on ``dataset``; of the data set that it was trained on, only on the held-out clips.

    With ``folder``, ``predictions.csv`` and ``metrics.json`` are written there.

    Raises:
        DatasetError: a class is not one of the model's, or the model was trained on every clip.
        OutputError: the folder cannot be written, is in use by another process, or contains other results.

    >>> tested = evaluate_model(model, city, jobs=1)  # trained on folds 1 and 2
    >>> tested.summary.n, tested.note
    (20, "fold 3, which was held out from the model's training")
    """
    dataset = with_model_background(model, dataset)
    check_known_classes(model, dataset)
    about = about_run(model, dataset)
    if not folder:
        return _evaluate(model, dataset, about, jobs, progress)[0]
    check_same_run(folder, about, "metrics.json")
    with exclusive_run(folder) as output:
        check_units(output, [folder], ["predictions.csv", "metrics.json"])
        tested, test, probabilities = _evaluate(model, dataset, about, jobs, progress)
        relabelled = replace(dataset, classes=model.classes)  # the columns are the model's classes
        write_predictions(folder / "predictions.csv", relabelled, test, probabilities, model.thresholds)
        text = json.dumps(_to_json(tested), indent=1, ensure_ascii=False)
        # A file name that is not UTF-8 has lone surrogates; written as \udcff they are valid JSON.
        atomic.write_bytes(folder / "metrics.json", f"{text}\n".encode(errors="backslashreplace"))
    return tested


def with_model_background(model: Model, dataset: Dataset) -> Dataset:
    """Return ``dataset`` with the labels that are background to ``model`` marked as such.

    >>> with_model_background(model, city).background
    ()
    """
    return with_background(dataset, [name for name in dataset.classes if name in model.card.background])


def check_known_classes(model: Model, dataset: Dataset) -> None:
    """Check that each class of ``dataset`` is a class of ``model``.

    Raises:
        DatasetError: a class is not.

    >>> check_known_classes(model, replace(city, classes=(*city.classes, "owl")))
    Traceback (most recent call last):
    soundmark.errors.DatasetError: synthetic city has the class "owl", which is not a class of the model. ...
    """
    unknown = [name for name in dataset.classes if name not in model.classes]
    if unknown:
        known = ", ".join(model.classes)
        raise DatasetError(
            f'{dataset.name} has the class "{unknown[0]}", which is not a class of the model. Its classes: {known}.'
        )


def _evaluate(
    model: Model, dataset: Dataset, about: Mapping[str, str], jobs: parallel.Jobs, progress: Progress
) -> tuple[ModelEvaluation, np.ndarray, np.ndarray]:
    """Return the evaluation, the indices of the scored clips and their probabilities [n, classes]."""
    store = features.build(
        dataset, model.card.representation, window_s=model.card.window_s, jobs=jobs, progress=progress
    )
    features.warn_incomplete(store.notes)
    held_out, note = held_out_clips(model, dataset, store.usable)
    test = held_out[store.usable[held_out]]
    dataset = replace(dataset, classes=model.classes)
    if not len(test):
        raise DatasetError(f"no clip of {dataset.name} is left to evaluate: {note}.")
    probabilities = model.clip_probabilities(store, test)
    summary = score_clips(dataset, test, probabilities, thresholds=model.thresholds)
    skipped = (*dataset.skipped, *store.skipped)
    tested = ModelEvaluation(classes=model.classes, summary=summary, note=note, about=about, skipped=skipped)
    return tested, test, probabilities


def about_run(model: Model, dataset: Dataset) -> dict[str, str]:
    """Return digests that identify the model and the data set of an evaluation.

    >>> sorted(about_run(model, city))
    ['dataset', 'model']
    """
    card_and_graph = model.bundle.card_json.encode() + model.bundle.graph
    return {"model": hashlib.sha256(card_and_graph).hexdigest()[:16], "dataset": dataset.fingerprint}


def check_same_run(folder: Path, about: Mapping[str, Any], name: str) -> None:
    """Check that the folder contains no results of another model or of other data, which would be overwritten.

    ``about`` identifies the run in the file ``name``.

    Raises:
        OutputError: it does.

    >>> check_same_run(folder / "none", {}, "metrics.json")
    """
    path = folder / name
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.get("about") == about:
            return
    except FileNotFoundError:
        exists = {
            other for other in ("predictions.csv", "metrics.json", "model.onnx", MANIFEST) if (folder / other).exists()
        }
        if not exists & {"predictions.csv", "model.onnx"} or exists == {"predictions.csv", MANIFEST}:
            return  # new; or killed before the last file, and the manifest decides what may be replaced
    except OSError:
        return  # writing will fail too, with a clearer message
    except ValueError:
        pass  # not JSON: an unknown file that must not be overwritten
    raise OutputError(
        f'"{folder}" contains the results of another model or of other data. Choose another folder with -o.'
    )


def held_out_clips(model: Model, dataset: Dataset, readable: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the clips that ``model`` was not trained on, as int64 indices, and a note that names them.

    ``readable`` is bool ``[clips]``: a clip that could not be read was not trained on. If the model's card does not
    identify the training clips in ``dataset``, the result is all clips, and the note warns of leakage.

    >>> clips, note = held_out_clips(model, city, np.ones(len(city.clips), bool))
    >>> set(city.fold_of[clips].tolist())
    {3}
    """
    record = model.card.training
    all_clips = np.arange(len(dataset.clips))
    protocol, fold = protocol_of(str(record.protocol)), record.test_fold
    is_same_data = record.fingerprint == dataset.fingerprint
    is_part_of_it = protocol.is_official and dataset.complete_size is not None and record.name == dataset.name
    split = protocol.find(dataset, fold) if is_same_data or is_part_of_it else None
    if split and (not protocol.is_random or clips_digest(split.train[readable[split.train]]) == record.trained_on):
        return np.sort(split.test), protocol.test_clips.format(fold=fold)
    name = "an unnamed data set" if record.name is None else record.name
    return all_clips, (
        f"all clips; the model was trained on {name}, and if that includes any of these clips, or others of the same "
        "recordings, the scores are too high (data leakage)"
    )


def _to_json(tested: ModelEvaluation) -> dict[str, object]:
    return {
        "schema": 1,
        "about": dict(tested.about),
        "note": tested.note,
        **tested.summary.to_json(),
        "skipped": [asdict(item) for item in tested.skipped],
    }

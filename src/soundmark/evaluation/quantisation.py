"""Quantise a model to int8, a quarter of its size, and measure the loss of accuracy.

Convolutions that mix channels compute in 8 bits, with activation ranges measured on calibration clips (static
quantisation). The small first layers, depthwise convolutions (MobileNet's) and the layers after the last convolution
stay in float32, with 8-bit weights at most: quantising them costs accuracy and saves little. See docs/export.md for
measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from soundmark.datasets import Dataset, Skipped, features
from soundmark.errors import BundleError, DatasetError, SettingsError
from soundmark.evaluation import model_evaluation
from soundmark.metrics.score_summary import ScoreSummary
from soundmark.metrics.task import score_clips
from soundmark.models.bundle import Bundle
from soundmark.models.classifier import Model
from soundmark.models.export import int8, onnx_graph
from soundmark.models.export.waveform import ExportResult
from soundmark.models.training_record import Int8Record
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import counted
from soundmark.spectrograms import Waveform

CLIPS = 128  # calibration clips


MAX_LOSS = 0.01  # largest accepted loss of accuracy
ALLOWED_CLIPS = 2  # a loss of this many clips is always accepted: of 100 test clips, each is one point


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """An int8 model, with its size and scores before and after quantisation."""

    bundle: Bundle
    size: tuple[int, int]  # bytes of the graph, before and after
    before: ScoreSummary
    after: ScoreSummary
    same: float  # share of the scored clips with the same top class before and after
    calibrated_on: int  # number of calibration clips
    note: str  # which clips were scored, and whether they may have been trained on
    skipped: tuple[Skipped, ...]

    def sentence(self) -> str:
        """Describe size and accuracy, before and after."""
        (large, small), before, after = self.size, self.before.headline, self.after.headline
        return (
            f"{small / 1e6:.2f} MB instead of {large / 1e6:.2f} MB (÷ {large / small:.1f}), calibrated on "
            f"{counted(self.calibrated_on, 'clip')}; {before.name} {100 * after.value:.1f} % instead of "
            f"{100 * before.value:.1f} % ({100 * (after.value - before.value):+.1f} points), and the same top class "
            f"for {100 * self.same:.1f} % of {counted(self.after.n, 'test clip')}: {self.note}."
        )


def quantise(model: Model, dataset: Dataset, *, jobs: int | None = None, progress: Progress = no_progress) -> Quantised:
    """Quantise ``model`` to int8, calibrated on some clips of ``dataset`` and compared with the original on others.

    If the model's card identifies its training clips, these are used to calibrate, and the held-out clips to compare.

    Raises:
        SettingsError: the model is already int8, or takes waveforms.
        DatasetError: a class is not one of the model's, or fewer than two clips can be read.
        BundleError: the loss of accuracy exceeds one percentage point.

    >>> small = quantise(model, city, jobs=1)
    >>> small.size[0] / small.size[1] > 2, small.calibrated_on, small.note
    (True, 40, "fold 3, which was held out from the model's training")
    """
    if model.card.training.int8 is not None:
        raise SettingsError("the model is already int8: export the float32 model that it was created from.")
    if isinstance(model.card.representation, Waveform):
        raise SettingsError(
            "the backbone of this model computes its own spectrogram from the waveform, which is too inaccurate in 8 "
            "bits: only models that take spectrograms can be quantised."
        )
    dataset = model_evaluation.with_model_background(model, dataset)
    model_evaluation.check_known_classes(model, dataset)
    store = features.build(
        dataset, model.card.representation, window_s=model.card.window_s, jobs=jobs, progress=progress
    )
    features.warn_incomplete(store.notes)
    chosen, test, note = _calibration_and_test(model, dataset, store.usable)
    progress("int8", 0, 1, "model")
    graph = int8.quantise_graph(model.bundle.graph, store.array, store.rows(chosen))
    progress("int8", 1, 1, "model")
    small = Model(Bundle(graph, model.card))
    relabelled = replace(dataset, classes=model.classes)
    scored = [each.clip_probabilities(store, test) for each in (model, small)]
    before, after = (score_clips(relabelled, test, each, thresholds=model.thresholds) for each in scored)
    check_loss(before, after)
    compared = Int8Record(
        calibrated_on=len(chosen),
        scored=f"{counted(after.n, 'clip')}: {note}",
        figure=before.headline.name,
        before=before.headline.value,
        after=after.headline.value,
    )
    scores = model.card.scores
    if scores.get("n_test") == after.n and not scores.get("cross_validated"):  # scores of this model on the same clips
        scores = {**scores, **after.brief()}
    card = replace(model.card, training=replace(model.card.training, int8=compared), scores=scores)
    return Quantised(
        bundle=Bundle(graph, card),
        size=(len(onnx_graph.without_metadata(model.bundle.graph)), len(graph)),
        before=before,
        after=after,
        same=float((scored[0].argmax(1) == scored[1].argmax(1)).mean()),
        calibrated_on=len(chosen),
        note=note,
        skipped=(*dataset.skipped, *store.skipped),
    )


def _calibration_and_test(model: Model, dataset: Dataset, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Choose the calibration clips and the test clips, both int64 indices, and a note on the test clips."""
    readable = np.flatnonzero(usable)
    held_out, note = model_evaluation.held_out_clips(model, dataset, usable)
    held_out = held_out[usable[held_out]]
    trained_on = np.setdiff1d(readable, held_out)
    split_known = bool(len(held_out) and len(trained_on))
    pool = trained_on if split_known else readable
    most = min(CLIPS, len(pool) if split_known else len(pool) // 2)
    chosen = np.sort(np.random.default_rng(0).permutation(pool)[:most])
    test = held_out if split_known else np.setdiff1d(readable, chosen)
    if not len(chosen) or not len(test):
        raise DatasetError(f"{dataset.name} has {len(readable)} readable clips: int8 calibration needs at least 2.")
    if not split_known:
        note = f"all clips except those used for calibration; {note.removeprefix('all clips; ')}"
    return chosen, test, note


def check_loss(before: ScoreSummary, after: ScoreSummary) -> None:
    """Check that the int8 model loses at most ``MAX_LOSS`` of the headline figure, or ``ALLOWED_CLIPS`` clips.

    Raises:
        BundleError: it loses more.

    >>> check_loss(city_run.results[0].summary, city_run.results[0].summary)
    """
    loss = before.headline.value - after.headline.value
    if loss > max(MAX_LOSS, ALLOWED_CLIPS / after.n):
        raise BundleError(
            f"the int8 model loses {100 * loss:.1f} points of {before.headline.name} (allowed: {100 * MAX_LOSS:g}) and "
            "is not written. Calibrate on more clips, or keep the float32 model."
        )


def export_int8(
    model: Model,
    path: Path,
    dataset: Dataset,
    *,
    jobs: int | None = None,
    progress: Progress = no_progress,
) -> ExportResult:
    """Quantise ``model`` to int8 and write it to ``path`` as a soundmark model.

    Raises:
        SettingsError, DatasetError, BundleError: as ``quantise``.
        OutputError: the file cannot be written.

    >>> export_int8(model, folder / "small.onnx", city, jobs=1).sentence[-53:]
    "fold 3, which was held out from the model's training."
    """
    small = quantise(model, dataset, jobs=jobs, progress=progress)
    small.bundle.write(path)
    return ExportResult(sentence=small.sentence(), skipped=small.skipped)

"""A model with a quarter of its size: weights of 8 bits, and most of its arithmetic in 8 bits too.

Convolutions that mix channels compute in 8 bits, within bounds that real clips showed ("static" quantisation). Where
that costs accuracy and wins little, in the small first layers, in convolutions of one channel each (MobileNet's) and in
what comes after the last, at most the weights are of 8 bits, and the arithmetic stays float32. docs/export.md has the
figures.
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

CLIPS = 128  # to calibrate on


LOST = 0.01  # of accuracy: what a smaller model may lose


FEW = 2  # clips that it may lose in any case: on a hundred, a point is one clip


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A model of 8 bits, and what it is worth beside the one that it was made from."""

    bundle: Bundle
    size: tuple[int, int]  # bytes of the graph, before and after
    before: ScoreSummary
    after: ScoreSummary
    same: float  # share of the scored clips on which both name the same class first
    calibrated_on: int  # clips
    note: str  # which clips were scored, and what that is worth
    skipped: tuple[Skipped, ...]

    def sentence(self) -> str:
        """Size and accuracy, before and after."""
        (large, small), before, after = self.size, self.before.headline, self.after.headline
        return (
            f"{small / 1e6:.2f} MB, where it was {large / 1e6:.2f} (÷ {large / small:.1f}), calibrated on "
            f"{self.calibrated_on} clips. {before.name} {100 * after.value:.1f} %, where it was "
            f"{100 * before.value:.1f} ({100 * (after.value - before.value):+.1f} points), and the same first class on "
            f"{100 * self.same:.1f} %, of {self.after.n:,} clips: {self.note}."
        )


def quantise(model: Model, dataset: Dataset, *, jobs: int | None = None, progress: Progress = no_progress) -> Quantised:
    """``model`` in 8 bits, calibrated on clips of ``dataset`` and compared with itself on others.

    Calibrated on what the model was trained on, scored on what it was not, where its card tells which these are.

    Raises:
        SettingsError: the model is of 8 bits already.
        DatasetError: a class that the model does not know, or fewer than two clips.
        BundleError: more than a point of accuracy was lost.

    >>> small = quantise(model, city, jobs=1)
    >>> small.size[0] / small.size[1] > 2, small.calibrated_on, small.note
    (True, 40, "fold 3, which was kept back from the model's training")
    """
    if model.card.training.int8 is not None:
        raise SettingsError("the model is int8 already: export the one that it was made from.")
    model_evaluation.check_known_classes(model, dataset)
    store = features.build(dataset, model.card.representation, jobs=jobs, progress=progress)
    features.warn_incomplete(store.notes)
    chosen, test, note = _calibration_and_test(model, dataset, store.usable)
    progress("int8", 0, 1, "model")
    graph = int8.quantise_graph(model.bundle.graph, store.array, chosen)
    progress("int8", 1, 1, "model")
    small = Model(Bundle(graph, model.card))
    theirs = replace(dataset, classes=model.classes)
    scored = [each.probabilities(store.array, test) for each in (model, small)]
    before, after = (score_clips(theirs, test, each, thresholds=model.thresholds) for each in scored)
    _check_loss(before, after)
    compared = Int8Record(
        calibrated_on=len(chosen),
        scored=f"{after.n} clips: {note}",
        figure=before.headline.name,
        before=before.headline.value,
        after=after.headline.value,
    )
    scores = model.card.scores
    if scores.get("n_test") == after.n and not scores.get("cross_validated"):  # the model's own, on these very clips
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
    """Which clips to calibrate on, which to score, both int64 indices, and what that score is worth."""
    readable = np.flatnonzero(usable)
    kept_back, note = model_evaluation.held_out_clips(model, dataset, usable)
    kept_back = kept_back[usable[kept_back]]
    trained_on = np.setdiff1d(readable, kept_back)
    told_apart = bool(len(kept_back) and len(trained_on))
    pool = trained_on if told_apart else readable
    most = min(CLIPS, len(pool) if told_apart else len(pool) // 2)
    chosen = np.sort(np.random.default_rng(0).permutation(pool)[:most])
    test = kept_back if told_apart else np.setdiff1d(readable, chosen)
    if not len(chosen) or not len(test):
        raise DatasetError(f"{dataset.name} has {len(readable)} clips that can be read: calibrating takes 2 or more.")
    return chosen, test, note if told_apart else f"those it was not calibrated on, of {note}"


def _check_loss(before: ScoreSummary, after: ScoreSummary) -> None:
    lost = before.headline.value - after.headline.value
    if lost > max(LOST, FEW / after.n):
        raise BundleError(
            f"the int8 model loses {100 * lost:.1f} points of {before.headline.name} (allowed: {100 * LOST:g}); it is "
            "not written. Calibrate on more clips, or use the model as it is."
        )


def export_int8(
    model: Model,
    path: Path,
    dataset: Dataset,
    *,
    jobs: int | None = None,
    progress: Progress = no_progress,
) -> ExportResult:
    """Export ``model`` in 8 bits to ``path``: a model as soundmark reads it.

    Raises:
        SettingsError, DatasetError, BundleError: as ``quantisation.quantise``.
        OutputError: the place cannot be written.

    >>> export_int8(model, folder / "small.onnx", city, jobs=1).sentence[-54:]
    "fold 3, which was kept back from the model's training."
    """
    small = quantise(model, dataset, jobs=jobs, progress=progress)
    small.bundle.write(path)
    return ExportResult(sentence=small.sentence(), skipped=small.skipped)

"""A model with a quarter of its size: weights of 8 bits, and most of its arithmetic in 8 bits too.

Convolutions that mix channels compute in 8 bits, within bounds that real clips showed ("static" quantisation). Where
that costs accuracy and wins little, in the small first layers, in convolutions of one channel each (MobileNet's) and in
what comes after the last, at most the weights are of 8 bits, and the arithmetic stays float32. docs/export.md has the
figures.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from soundmark import features, scoring, surgery, tagging, workers
from soundmark.bundle import Bundle
from soundmark.datasets import Dataset, Skipped
from soundmark.errors import BundleError, DatasetError, SettingsError
from soundmark.metrics import Summary
from soundmark.prediction import Model
from soundmark.store import Rows
from soundmark.tagging import MultiSummary

CLIPS = 128  # to calibrate on
BATCH = 16  # spectrograms that the graph is given at a time while it is calibrated
LOST = 0.01  # of accuracy: what a smaller model may lose
FEW = 2  # clips that it may lose in any case: on a hundred, a point is one clip


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A model of 8 bits, and what it is worth beside the one that it was made from."""

    bundle: Bundle
    size: tuple[int, int]  # bytes of the graph, before and after
    before: Summary | MultiSummary
    after: Summary | MultiSummary
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


def quantise(
    model: Model, dataset: Dataset, *, jobs: int | None = None, progress: workers.Progress = workers.silent
) -> Quantised:
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
    if "int8" in model.card.data:
        raise SettingsError("the model is int8 already: export the one that it was made from.")
    scoring.refuse_foreign(model, dataset)
    store = features.build(dataset, model.card.representation, jobs=jobs, progress=progress)
    features.warn_of(store.notes)
    chosen, test, note = _sides(model, dataset, store.usable)
    progress("int8", 0, 1, "model")
    graph = in_8_bits(model.bundle.graph, store.array, chosen)
    progress("int8", 1, 1, "model")
    small = Model(Bundle(graph, model.card))
    theirs = replace(dataset, classes=model.classes)
    scored = [each.probabilities(store.array, test) for each in (model, small)]
    before, after = (tagging.judge(theirs, test, each, thresholds=model.thresholds) for each in scored)
    _refuse_loss(before, after)
    told = {
        "calibrated_on": len(chosen),
        "scored": f"{after.n} clips: {note}",
        "figure": before.headline.name,
        "before": before.headline.value,
        "after": after.headline.value,
    }
    scores = model.card.scores
    if scores.get("n_test") == after.n and not scores.get("cross_validated"):  # the model's own, on these very clips
        scores = {**scores, **after.brief()}
    card = replace(model.card, data={**model.card.data, "int8": told}, scores=scores)
    return Quantised(
        bundle=Bundle(graph, card),
        size=(len(surgery.stripped(model.bundle.graph)), len(graph)),
        before=before,
        after=after,
        same=float((scored[0].argmax(1) == scored[1].argmax(1)).mean()),
        calibrated_on=len(chosen),
        note=note,
        skipped=(*dataset.skipped, *store.skipped),
    )


def _sides(model: Model, dataset: Dataset, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Which clips to calibrate on, which to score, both int64 indices, and what that score is worth."""
    readable = np.flatnonzero(usable)
    kept_back, note = scoring.untrained(model, dataset, usable)
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


def _refuse_loss(before: Summary | MultiSummary, after: Summary | MultiSummary) -> None:
    lost = before.headline.value - after.headline.value
    if lost > max(LOST, FEW / after.n):
        raise BundleError(
            f"the int8 model loses {100 * lost:.1f} points of {before.headline.name} (allowed: {100 * LOST:g}); it is "
            "not written. Calibrate on more clips, or use the model as it is."
        )


def in_8_bits(graph: bytes, spectrograms: np.ndarray | Rows, chosen: np.ndarray) -> bytes:
    """The graph of a model in 8 bits, calibrated on the ``chosen`` of ``spectrograms`` ``[n, freq, time]``.

    >>> silence = np.zeros((2, 24, 24), np.float32)
    >>> len(model.bundle.graph) / len(in_8_bits(model.bundle.graph, silence, np.arange(2))) > 2
    True
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = onnx.load_from_string(surgery.folded(graph))
    computed = _mixing(model.graph)
    if not computed:
        return surgery.with_weights_of_8_bits(model.SerializeToString())
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            str(path),
            _Clips(spectrograms, chosen),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=computed,
            extra_options={"CalibMovingAverage": True},  # the mean of the batches' bounds: one loud clip counts less
        )
        return surgery.with_weights_of_8_bits(surgery.stripped(path.read_bytes()))


def _mixing(graph: Any) -> list[str]:
    """The names of the large convolutions that mix channels, which are given one where they have none."""
    names = []
    for number, node in enumerate(graph.node):
        groups = {each.name: each.i for each in node.attribute}.get("group", 1)
        if node.op_type == "Conv" and groups == 1 and surgery.array(graph, node.input[1]).size >= surgery.SMALLEST:
            node.name = node.name or f"convolution_{number}"
            names.append(node.name)
    return names


class _Clips:
    """Spectrograms as ONNX Runtime's calibration asks for them: the next batch, or None after the last."""

    def __init__(self, spectrograms: np.ndarray | Rows, chosen: np.ndarray) -> None:
        parts = np.array_split(chosen, -(-len(chosen) // BATCH))
        self.batches = (np.ascontiguousarray(spectrograms[part][:, np.newaxis], np.float32) for part in parts)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"spectrogram": batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice, which it gives to the root logger, from whoever listens there."""
    root, nobody = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(nobody)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(nobody)

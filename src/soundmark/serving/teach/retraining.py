"""Fit a head on examples, and compare it with the one before it and with smaller numbers of corrections."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from soundmark.datasets import Dataset
from soundmark.datasets.protocols import ALL
from soundmark.metrics.intervals import Interval, bounds, difference_interval, finite_or_none, score_interval
from soundmark.metrics.jackknife import Jackknife
from soundmark.metrics.task import Task
from soundmark.models.bundle import Bundle
from soundmark.models.classifier import Model
from soundmark.models.training_record import EngineRecord, TrainingRecord
from soundmark.runtime import provenance
from soundmark.serving.teach.examples import Examples
from soundmark.training.recipe import Recipe
from soundmark.training.transfer import head_stages, head_training
from soundmark.training.transfer.embeddings import Embeddings
from soundmark.training.transfer.head_training import TransferModel

SHARES = (0.25, 0.5)  # of the corrections, in the learning curve


GROUPS = 30  # of recordings, for the jackknife


PRESENT = 0.5  # probability from which on a class of multi-label data counts as predicted


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A retrained model, and how much better it is: JSON values for the page."""

    bundle: Bundle
    report: dict[str, Any]


def retrain(
    examples: Examples,
    model: Model,
    extractor: Embeddings,
    recipe: Recipe,
    *,
    before: frozenset[str],
    check: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda step: None,
) -> Taught:
    """Fit a head on ``examples``, on the backbone of ``model``; ``before`` are the clips of the earlier training.

    They are the names of the corrections that the model before was trained on. ``check`` is called between the steps,
    and may raise an error to end the work; ``say`` with the name of each step.

    >>> from soundmark.serving.teach.examples import ExampleSource
    >>> source = ExampleSource(embedder, city)
    >>> examples = source.examples(folder)
    >>> taught = retrain(examples, embedder, source.extractor, source.recipe, before=frozenset())
    >>> taught.report["clips"], taught.report["curve"][0]["corrections"]
    (60, 0)
    """
    start = time.perf_counter()
    activation = Task.of(examples.data.multi_label).activation
    say("fitting")
    head = head_training.train_head(
        examples.views,
        examples.targets,
        examples.sources,
        extractor.backbone,
        recipe,
        backgrounds=examples.backgrounds,
        background_rows=examples.data.background_rows,
        activation=activation,
    )
    check()
    bundle = _bundle(examples, model, head, recipe, time.perf_counter() - start)
    say("testing on held-out recordings")
    report = _report(examples, head.head.shrinkage, recipe.seed, before, check)
    return Taught(bundle=bundle, report=report | {"seconds": round(time.perf_counter() - start, 3)})


def _bundle(examples: Examples, model: Model, head: TransferModel, recipe: Recipe, seconds: float) -> Bundle:
    data, found = examples.data, head.calibration
    card = replace(
        model.card,
        classes=data.classes,
        background=data.background if not data.multi_label else (),
        activation=Task.of(data.multi_label).activation,
        temperature=found.temperature,
        thresholds=found.thresholds,
        event_thresholds=found.event_thresholds,
        unknown=found.unknown,
        training=TrainingRecord(
            name=data.name,
            fingerprint=data.fingerprint,
            protocol=ALL.name,
            n_train=len(data),
            n_recordings=len(set(data.sources)),
            licence=data.licence,
            citation=data.citation,
            engine=EngineRecord(device="cpu", precision="float32", threads=1),
            calibrated_on=found.clips or None,
            nature=", ".join(found.nature) or None,
            weights=model.card.training.weights,
            training_s=seconds,
        ),
        scores={},
        versions=provenance.versions(),
    )
    bundle = Bundle(head.graph(), card)
    _ = bundle.checked
    return bundle


def _report(
    examples: Examples, shrinkage: float, seed: int, before: frozenset[str], check: Callable[[], None]
) -> dict[str, Any]:
    """Return the scores of the stages of the training on held-out recordings, as JSON values."""
    data, correction = examples.data, examples.correction
    names = [clip.path.name for clip in data.clips]
    original = ~correction
    order = np.flatnonzero(correction)
    earlier = original | np.array([name in before for name in names], bool)
    sizes = sorted({0, *(round(share * len(order)) for share in SHARES), len(order)})
    curve = [original | np.isin(np.arange(len(names)), order[:size]) for size in sizes]
    stages = {stage.tobytes(): stage for stage in [original, *curve, earlier]}  # each once
    found = head_stages.held_out_logits(
        examples.views,
        examples.targets,
        examples.sources,
        [stage[examples.clip_of] for stage in stages.values()],
        shrinkage=shrinkage,
        backgrounds=examples.backgrounds,
        activation=Task.of(data.multi_label).activation,
        seed=seed,
        check=check,
    )
    answers = {key: _answers(examples, logits) for key, logits in zip(stages, found, strict=True)}
    now, then = answers[curve[-1].tobytes()], answers[earlier.tobytes()]
    truth = data.targets > 0
    points = [
        {"corrections": size, **_figures(truth, answers[stage.tobytes()], data)}
        for size, stage in zip(sizes, curve, strict=True)
        if stage.any()
    ]
    figures = {
        "all": _compared(truth, then, now, data, earlier.any()),
        "corrections": _compared(
            truth[correction], then[correction], now[correction], data.select(correction), earlier.any()
        ),
    }
    return {
        "clips": len(data),
        "recordings": len(set(data.sources)),
        "corrections": int(correction.sum()),
        "original": int(original.sum()),
        "held_out": figures,
        "curve": points,
        "classes": _by_class(truth, now, data.classes, correction),
    }


def _answers(examples: Examples, logits: np.ndarray) -> np.ndarray:
    """Return which classes are predicted for each clip, bool ``[clips, classes]``."""
    task = Task.of(examples.data.multi_label)
    starts = np.flatnonzero(np.diff(examples.clip_of, prepend=-1))
    sums = np.add.reduceat(task.probabilities(logits), starts, axis=0)
    means = sums / np.bincount(examples.clip_of)[:, None]
    if examples.data.multi_label:
        return means >= PRESENT
    return np.eye(means.shape[1], dtype=bool)[means.argmax(axis=1)]


def _compared(truth: np.ndarray, before: np.ndarray, after: np.ndarray, data: Dataset, known: bool) -> dict[str, Any]:
    """Return the scores before and after, and their difference, with intervals; {} without clips."""
    if not len(truth):
        return {}
    right = [(answers == truth).all(axis=1).astype(float) for answers in (before, after)]
    difference = right[1] - right[0]
    macro = _macro_f1_jackknife(truth, after, data.sources, minus=before)
    return {
        "clips": len(truth),
        "recordings": len(set(data.sources)),
        "before": _figures(truth, before, data) if known else None,
        "after": _figures(truth, after, data),
        "accuracy_gain": _with_interval(float(difference.mean()), difference_interval(difference, data.sources)),
        "macro_f1_gain": _with_interval(macro.value, macro.difference_interval()),
    }


def _figures(truth: np.ndarray, answers: np.ndarray, data: Dataset) -> dict[str, Any]:
    right = (answers == truth).all(axis=1).astype(float)
    macro = _macro_f1_jackknife(truth, answers, data.sources)
    return {
        "accuracy": _with_interval(float(right.mean()), score_interval(right, data.sources)),
        "macro_f1": _with_interval(macro.value, macro.score_interval()),
    }


def _with_interval(value: float, interval: Interval) -> dict[str, Any]:
    return {"value": finite_or_none(value), "interval": bounds(interval)}


def _macro_f1_jackknife(
    truth: np.ndarray, answers: np.ndarray, sources: np.ndarray, *, minus: np.ndarray | None = None
) -> Jackknife:
    """Return the macro F1 of ``answers``, minus that of ``minus``, with and without groups of recordings."""
    names, recording = np.unique(sources, return_inverse=True)
    group = recording % min(GROUPS, len(names))
    sizes = np.bincount(group).astype(float)

    def figure(kept: np.ndarray) -> float:
        found = _macro_f1(truth[kept], answers[kept])
        return found if minus is None else found - _macro_f1(truth[kept], minus[kept])

    left_out = np.array([figure(group != number) for number in range(len(sizes))]) if len(sizes) > 1 else np.zeros(0)
    return Jackknife(value=figure(np.ones(len(truth), bool)), left_out=left_out, counts=sizes)


def _macro_f1(truth: np.ndarray, answers: np.ndarray) -> float:
    """Return the mean F1 of the classes that occur, as ``metrics.single_label.macro_f1``."""
    hits, total = (truth & answers).sum(axis=0), truth.sum(axis=0) + answers.sum(axis=0)
    occurs = total > 0
    return float((2 * hits[occurs] / total[occurs]).mean()) if occurs.any() else float("nan")


def _by_class(
    truth: np.ndarray, answers: np.ndarray, classes: Sequence[str], correction: np.ndarray
) -> list[dict[str, Any]]:
    hits, total = (truth & answers).sum(axis=0), truth.sum(axis=0) + answers.sum(axis=0)
    return [
        {
            "label": label,
            "clips": int(truth[:, i].sum()),
            "corrections": int(truth[correction, i].sum()),
            "f1": float(2 * hits[i] / total[i]) if total[i] else None,
        }
        for i, label in enumerate(classes)
    ]

"""Labelled recordings to a sound classifier that can be trusted, on a laptop without a GPU.

    errors, runtime, audio ─▶ spectrograms ─▶ datasets ─▶ metrics ─▶ models ─▶ training | detection
      ─▶ evaluation ─▶ cli

The sub-packages, in reading order; each imports only those above it (training and detection not each other):

    errors            the exceptions
    runtime           infrastructure: files, locks, processes, progress, text, figures
    audio             sound files and live sources to mono samples
    spectrograms      samples to [freq, time]; one file per representation
    datasets          a path to a Dataset of Clips: layouts, splits, inspection, features
    metrics           labels and scores to numbers with intervals
    models            trained models, ready to use: scores, events, explanations, export
    training          features and a recipe to a trained model; the only one that imports torch
    detection         recordings to events: files, folders, live audio
    evaluation        recipes × protocols × folds to an Evaluation and a report
    cli               the command line

In Python:

    import soundmark as sm
    data = sm.Dataset.open("UrbanSound8K")
    model = sm.load("RUN/notebook-mel/random/model.onnx")
    model.classify("street.wav")            # [{"label": "siren", "score": 0.93}, ...] best first
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from soundmark.errors import SoundmarkError

if TYPE_CHECKING:
    from soundmark.datasets import Clip, Dataset
    from soundmark.evaluation.pretrained import load
    from soundmark.evaluation.results import Evaluation
    from soundmark.models.classifier import Model
    from soundmark.models.scores import Scores
    from soundmark.training.recipe import Recipe

__all__ = ["Clip", "Dataset", "Evaluation", "Model", "Recipe", "Scores", "SoundmarkError", "load"]

# Loaded when first asked for, so that `import soundmark` and `soundmark --help` cost nothing.
_HOMES = {
    "Clip": "datasets",
    "Dataset": "datasets",
    "Evaluation": "evaluation.results",
    "Model": "models.classifier",
    "Recipe": "training.recipe",
    "Scores": "models.scores",
    "load": "evaluation.pretrained",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Train sound classifiers from labelled recordings, evaluate them without data leakage, and run them.

The data flow:

    errors, runtime, audio ─▶ spectrograms ─▶ datasets ─▶ metrics ─▶ models ─▶ training | detection
      ─▶ evaluation ─▶ serving ─▶ cli

The sub-packages, in reading order. Each imports only those above it; training and detection do not import each other:

    errors            exceptions
    runtime           infrastructure: atomic files, locks, parallel processing, progress, text, figures
    audio             sound files and live sources → mono samples
    spectrograms      samples → [freq, time]; one file per representation
    datasets          path → Dataset of Clips: layouts, splits, inspection, features
    metrics           labels and scores → metrics with confidence intervals
    models            trained models: scores, events, explanations, export
    training          features and a recipe → trained model; torch for networks only
    detection         recordings → events: files, folders, live audio
    evaluation        recipes × protocols × folds → Evaluation and report
    serving           model → web page, HTTP API, WebSocket
    cli               the command line

In Python:

    import soundmark as sm
    folder = sm.download("urbansound8k", "data")  # data/UrbanSound8K
    data = sm.Dataset.open(folder)                # a table in Jupyter; len(), data[0], to_dataframe(), plot()
    data[0].plot("mel")                           # spectrogram of a clip; data[0].audio() plays it in Jupyter
    X, y = data.features("mel")                   # arrays from the feature store
    data.save_spectrograms("pictures")            # PNGs, one folder per class
    run = sm.compare(data, ["notebook-image", "notebook-mel"], "run", epochs=20)   # displays its table
    run.plot_history(); run.plot_confusion("notebook-mel"); run.to_dataframe(); run.report("report.html")
    model = sm.train(data, "transfer", "final")   # returns a Model; model.summary() lists its layers
    model.classify("street.wav"); model.events("hour.flac"); model.explain("street.wav").plot()
    sm.load("audioset").classify("street.wav")    # 527 classes, no training needed
    index = sm.Index.build("recordings", model, "index"); index.search("siren.wav"); index.suggest(20)

The functions take options of the commands as keyword arguments, with units in their names: ``--merge-gap`` is
``merge_gap_s``, ``--min-confidence`` is ``threshold``. Paths are ``str`` or ``PathLike``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from soundmark.errors import (
    AudioError,
    BundleError,
    DatasetError,
    OutputError,
    SettingsError,
    SoundmarkError,
    WeightsError,
)

if TYPE_CHECKING:
    from soundmark.audio import Sound
    from soundmark.datasets import Clip, Dataset
    from soundmark.datasets.download import download
    from soundmark.datasets.inspection import Inspection, inspect
    from soundmark.detection.analysis import Analysis, analyze
    from soundmark.detection.archive.corrections import Corrections
    from soundmark.detection.archive.index import Index
    from soundmark.detection.live.listener import listen
    from soundmark.detection.results_folder.merge import merge
    from soundmark.detection.summary import Summary, summarize
    from soundmark.evaluation.comparison import compare
    from soundmark.evaluation.event_evaluation import EventEvaluation
    from soundmark.evaluation.model_evaluation import ModelEvaluation, evaluate
    from soundmark.evaluation.results import Evaluation
    from soundmark.models.classifier import Model
    from soundmark.models.events import Event
    from soundmark.models.explanation import Explanation, explain
    from soundmark.models.pretrained.named_models import load
    from soundmark.models.scores import Scores
    from soundmark.training.named_recipes import recipe
    from soundmark.training.recipe import Recipe
    from soundmark.training.single_model import train

    __version__: str

__all__ = [
    "Analysis",
    "AudioError",
    "BundleError",
    "Clip",
    "Corrections",
    "Dataset",
    "DatasetError",
    "Evaluation",
    "Event",
    "EventEvaluation",
    "Explanation",
    "Index",
    "Inspection",
    "LabelCheck",
    "LearningCurve",
    "Model",
    "ModelEvaluation",
    "OutputError",
    "Recipe",
    "Scores",
    "SettingsError",
    "Sound",
    "SoundmarkError",
    "Summary",
    "WeightsError",
    "analyze",
    "check_labels",
    "compare",
    "download",
    "evaluate",
    "explain",
    "inspect",
    "learning_curve",
    "listen",
    "load",
    "merge",
    "recipe",
    "summarize",
    "train",
]

# The module that defines each public name. Modules are imported on first access, so that `import soundmark` and
# `soundmark --help` start fast.
_MODULES = {
    "Analysis": "detection.analysis:Analysis",
    "Clip": "datasets:Clip",
    "Corrections": "detection.archive.corrections:Corrections",
    "Dataset": "datasets:Dataset",
    "Evaluation": "evaluation.results:Evaluation",
    "Event": "models.events:Event",
    "EventEvaluation": "evaluation.event_evaluation:EventEvaluation",
    "Explanation": "models.explanation:Explanation",
    "Index": "detection.archive.index:Index",
    "Inspection": "datasets.inspection:Inspection",
    "LabelCheck": "evaluation.label_check:LabelCheck",
    "LearningCurve": "evaluation.learning_curve:LearningCurve",
    "Model": "models.classifier:Model",
    "ModelEvaluation": "evaluation.model_evaluation:ModelEvaluation",
    "Recipe": "training.recipe:Recipe",
    "Scores": "models.scores:Scores",
    "Sound": "audio:Sound",
    "Summary": "detection.summary:Summary",
    "analyze": "detection.analysis:analyze",
    "check_labels": "evaluation.label_check:check_labels",
    "compare": "evaluation.comparison:compare",
    "download": "datasets.download:download",
    "evaluate": "evaluation.model_evaluation:evaluate",
    "explain": "models.explanation:explain",
    "inspect": "datasets.inspection:inspect",
    "learning_curve": "evaluation.curve_run:learning_curve",
    "listen": "detection.live.listener:listen",
    "load": "models.pretrained.named_models:load",
    "merge": "detection.results_folder.merge:merge",
    "recipe": "training.named_recipes:recipe",
    "summarize": "detection.summary:summarize",
    "train": "training.single_model:train",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("soundmark")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _MODULES[name].split(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

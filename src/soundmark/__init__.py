"""From labelled recordings to a sound classifier that can be trusted, on a laptop without a GPU.

    file ─ audio ─▶ samples ─ spectrograms ─▶ image ─ models ─▶ logits ─ prediction ─▶ Scores ─▶ report

The modules, in the order in which to read them; each imports only those above it:

    errors          the exception tree, and how a message is phrased
    atomic          files that appear whole or not at all
    workers         one function over many items, in processes or threads, on all cores
    decoding        a file, bytes or an open file to blocks of mono samples, or why not
    audio           the same to float32 mono samples at a rate, whole or as a stream
    datasets        a path to a Dataset of Clips; one file per layout
    splits          a Dataset to train and test indices, and the leak between them
    inspection      what is in a data set, and what is wrong with it
    spectrograms    samples to [freq, time]; one file per representation
    store           a float32 array on the disk, filled in chunks and checked
    features        a Dataset and a representation to a store
    pictures        a Dataset and a representation to PNGs, a folder per class
    metrics         labels and scores to numbers with intervals
    tagging         the same where a clip has any number of labels
    calibration     what validation clips say: a temperature, thresholds, what is familiar
    recipes         Recipe, the only home of a default; the named recipes
    models          [batch, 1, freq, time] to logits; one file per network
    surgery         an ONNX graph taken apart: lean, folded, with weights of 8 bits
    graph           a network in torch to the graph that a bundle holds
    weights         pretrained weights by name: found or fetched, and verified
    augmentation    a batch to another that might have been recorded as well
    bundle          a trained model as one .onnx file
    card            what a model says of itself, in words: lines, Markdown, JSON
    history         how a training went, a line per epoch
    engine          what to train on: device, precision, threads
    adam            the optimizer, as Keras computes it
    heads           a linear head on fixed embeddings, chosen by validation
    checkpoint      the state of a training after an epoch, on the disk
    training        features and a recipe to a trained network
    windows         samples to the windows that a model hears them in
    events          scores of windows to what was heard from when to when
    prediction      a model and audio to Scores, and to events
    predictions     what was said of each test clip, as a table
    provenance      what a number was computed with: versions and machine
    inputs          what was typed to the sound files that are meant
    clocks          when a recording was begun, by its name or what is written in it
    course          how far the hearing of many files has come
    classification  files to what is heard in each
    writers         what was heard, as other programs read it
    journal         what was heard, a line per file: a killed run goes on
    batch           files to a folder of results
    summary         what was heard when, by hour and by day
    sources         where live sound comes from: a pipe, a microphone, an address
    listening       live sound to events, as it comes
    keeping         the clip of each event on the disk, and the event posted
    explanation     where in a sound a model heard what it heard
    runs            one unit of a run: a recipe trained on one split, exported, scored, written
    scoring         a model on a data set, on clips that it was not trained on
    quantisation    a model with a quarter of its size, in 8 bits
    front_end       a representation as a part of an ONNX graph
    export          a model as one file from waveform to probabilities, for other programs
    plans           what a comparison will do, and what it costs
    evaluation      recipes × protocols × folds to an Evaluation
    report          an Evaluation to one self-contained HTML page
    demo            the whole of it on a synthesised city
    gauges          progress for who waits
    scope           what is heard now, drawn in a terminal
    terminal        tables for people
    live            listening for people and programs: lines, clips, posts, a view
    options         what may be typed after a verb
    shell           how a command begins and ends
    cli             one sub-command per verb

In Python:

    import soundmark
    model = soundmark.load("RUN/seed-mel/random/model.onnx")
    model.classify("street.wav")            # [{"label": "siren", "score": 0.93}, ...] best first
    data = soundmark.Dataset.open("UrbanSound8K")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from soundmark.errors import SoundmarkError

if TYPE_CHECKING:
    from soundmark.datasets import Clip, Dataset
    from soundmark.evaluation import Evaluation
    from soundmark.prediction import Model, Scores, load
    from soundmark.recipes import Recipe

__all__ = ["Clip", "Dataset", "Evaluation", "Model", "Recipe", "Scores", "SoundmarkError", "load"]

# Loaded when first asked for, so that `import soundmark` and `soundmark --help` cost nothing.
_HOMES = {
    "Clip": "datasets",
    "Dataset": "datasets",
    "Evaluation": "evaluation",
    "Model": "prediction",
    "Recipe": "recipes",
    "Scores": "prediction",
    "load": "prediction",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

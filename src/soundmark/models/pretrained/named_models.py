"""Load a model by name or by path; ``load("audioset")`` returns a pretrained model with AudioSet's 527 classes.

The model is EfficientAT's mn04 with its released classification head (F. Schmid et al., ICASSP 2023; MIT licence). The
first call builds its graph from the released weights and stores it in the cache folder; later calls read that file.

The class names are the display names of AudioSet's ``class_labels_indices.csv``, in its order: J. F. Gemmeke et al.,
"Audio Set: An ontology and human-labeled dataset for audio events", ICASSP 2017; Google, CC BY 4.0.
"""

from __future__ import annotations

import csv
from collections.abc import Container, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soundmark.errors import BundleError, SettingsError, unknown_name
from soundmark.models import bundle, classifier
from soundmark.models.bundle import Bundle
from soundmark.models.classifier import Model
from soundmark.models.pretrained import hub
from soundmark.runtime.cache import cache_folder
from soundmark.runtime.checks import check_path

if TYPE_CHECKING:
    from soundmark.models.card import Card
    from soundmark.spectrograms import LogMel

PRETRAINED = ("audioset",)


BUILD = 3  # the built models that earlier versions stored are not used


BACKBONE = "mn04"


WINDOW_S = 10.0  # duration of AudioSet's clips


LICENCE = "AudioSet's labels and class names: Google, CC BY 4.0"


CITATION = (
    'J. F. Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events", ICASSP 2017; '
    'F. Schmid, K. Koutini and G. Widmer, "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge '
    'Distillation", ICASSP 2023'
)


# Of every class: the smallest threshold with a mean precision of at least 80 % on UrbanSound8K's ten classes (81 %, and
# a recall of 53 %, of 2 097 clips: python benchmarks/audioset.py). Rare classes have low probabilities.
THRESHOLD = 0.1


MAP = 0.432  # on AudioSet's evaluation set, as published by the authors with the weights


def load(name_or_path: str | PathLike[str], *, classes: Sequence[str] | str | None = None) -> Model:
    """Load a model from an ``.onnx`` file or the Hugging Face Hub, or the pretrained model ``"audioset"``.

    Load a file named ``audioset`` with ``load("./audioset")`` or with a ``Path``. ``hf://user/name`` is a model on the
    Hub, ``hf://user/name@revision`` an earlier one; it needs the package huggingface_hub. ``classes`` restricts a
    multi-label model to some of its classes: names, or one text with names separated by commas.

    Raises:
        BundleError: the file does not exist, is not a soundmark model, is damaged, or has a later schema.
        SettingsError: it is not a path; the model does not have one of the ``classes``, or is not multi-label.
        WeightsError: the pretrained weights are missing and cannot be downloaded.

    >>> model.save(folder / "model.onnx")
    >>> load(folder / "model.onnx").classes[:2]
    ('air_conditioner', 'car_horn')
    >>> load("audioste")
    Traceback (most recent call last):
    soundmark.errors.BundleError: the model "audioste" does not exist. Did you mean "audioset"?
    """
    found = _load(name_or_path)
    return found if classes is None else with_classes(found, classes)


def _load(name_or_path: str | PathLike[str]) -> Model:
    if isinstance(name_or_path, str) and name_or_path in PRETRAINED:
        return audioset()
    if isinstance(name_or_path, str) and hub.is_address(name_or_path):
        return classifier.load(hub.download(hub.parse(name_or_path)))
    try:
        return classifier.load(check_path("the model", name_or_path))
    except BundleError as error:
        close = get_close_matches(str(name_or_path), PRETRAINED, n=1)
        if close and not Path(name_or_path).exists():
            raise BundleError(f'{error} Did you mean "{close[0]}"?') from error
        raise


def open_model(model: Model | str | PathLike[str]) -> Model:
    """Return ``model``, loaded first if it is a name or a path: see ``load``.

    Raises:
        BundleError: the path is not a model.
        SettingsError: it is neither a ``Model`` nor a path.

    >>> open_model(model) is model
    True
    """
    return model if isinstance(model, Model) else load(model)


def with_classes(model: Model, classes: Sequence[str] | str) -> Model:
    """Return a multi-label model with some of its classes, in the given order; names are compared without case.

    A text with several names is divided at its commas, but for those within a class name of the model.

    Raises:
        SettingsError: the model does not have a class, or its classes exclude each other.

    >>> with_classes(model, ["siren"])
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the classes of this model exclude each other: restricting them to some would ...
    """
    from soundmark.models.export.onnx_graph import with_outputs

    if not model.card.task.has_thresholds:
        raise SettingsError(
            "the classes of this model exclude each other: restricting them to some would raise their probabilities. "
            "Use a multi-label model, such as audioset."
        )
    by_name = {name.casefold(): row for row, name in enumerate(model.classes)}
    names = _divided(classes, by_name) if isinstance(classes, str) else classes
    if unknown := [name for name in names if name.casefold() not in by_name]:
        raise unknown_name("class", unknown[0], model.classes, owner="the model")
    rows = list(dict.fromkeys(by_name[name.casefold()] for name in names))
    if not rows:
        raise SettingsError("no classes are given: name at least one, such as Siren,Dog.")
    thresholds = None if model.card.thresholds is None else tuple(model.card.thresholds[row] for row in rows)
    card = replace(model.card, classes=tuple(model.classes[row] for row in rows), thresholds=thresholds)
    return Model(Bundle(with_outputs(model.bundle.graph, np.array(rows), len(model.classes)), card))


def _divided(text: str, known: Container[str]) -> list[str]:
    """Divide names at commas; the longest known name counts, as "Vehicle horn, car horn, honking" is one."""
    parts, names = [part.strip() for part in text.split(",") if part.strip()], []
    while parts:
        lengths = [n for n in range(1, len(parts) + 1) if ", ".join(parts[:n]).casefold() in known]
        n = max(lengths, default=1)
        names.append(", ".join(parts[:n]))
        parts = parts[n:]
    return names


def audioset() -> Model:
    """Load EfficientAT's mn04, a multi-label model with AudioSet's 527 classes; the first call builds it.

    Raises:
        WeightsError: the weights are missing and cannot be downloaded.
        OutputError: the cache folder cannot be written.

    >>> audioset().classes[:2]  # doctest: +SKIP
    ('Speech', 'Male speech, man speaking')
    """
    from soundmark.models.pretrained import weights
    from soundmark.runtime import atomic

    path = cache_folder() / "models" / f"audioset-{BACKBONE}-{weights.WEIGHTS[BACKBONE].sha256[:16]}-{BUILD}.onnx"
    if path.is_file():
        try:
            return Model(bundle.read_bundle(path))
        except BundleError:  # damaged, or another schema: build it again
            pass
    built = build_audioset()
    atomic.make_folder(path.parent, "Set SOUNDMARK_CACHE to another folder.")
    built.write(path)
    return Model(built)


@lru_cache(maxsize=1)
def audioset_classes() -> tuple[str, ...]:
    """Return the names of AudioSet's 527 classes, in the order of the network's logits.

    >>> names = audioset_classes()
    >>> len(names), names[0], names[74]
    (527, 'Speech', 'Dog')
    """
    text = resources.files("soundmark.models.pretrained").joinpath("audioset_classes.csv").read_text(encoding="utf-8")
    return tuple(row["display_name"] for row in csv.DictReader(text.splitlines()))


def build_audioset() -> Bundle:
    """Build the released network as a bundle.

    Raises:
        WeightsError: the weights are missing, damaged, or cannot be downloaded.

    >>> build_audioset().card.window_s  # doctest: +SKIP
    10.0
    """
    from soundmark.models.pretrained import mobilenet, weights
    from soundmark.models.pretrained.pytorch_file import read_tensors
    from soundmark.spectrograms import LogMel

    representation = LogMel().for_window(WINDOW_S)
    graph, embedding, logits = mobilenet.build(BACKBONE, read_tensors(weights.find(BACKBONE)), representation.shape)
    graph.output("logits", logits)
    graph.output("embedding", embedding)
    return Bundle(graph.to_bytes(), _card(representation))


def _card(representation: LogMel) -> Card:
    from soundmark.models.card import Card
    from soundmark.models.pretrained import weights
    from soundmark.models.training_record import TrainingRecord
    from soundmark.runtime import provenance

    classes = audioset_classes()
    return Card(
        classes=classes,
        thresholds=(THRESHOLD,) * len(classes),
        representation=representation,
        window_s=WINDOW_S,
        activation="sigmoid",
        recipe={"name": "audioset", "network": BACKBONE},
        training=TrainingRecord(name="AudioSet", licence=LICENCE, citation=CITATION, weights=weights.LICENCE),
        scores={"mean_average_precision": MAP, "protocol": "AudioSet's evaluation set, as published with the weights"},
        versions=provenance.versions(),
    )

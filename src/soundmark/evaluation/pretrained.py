"""Load a model by name or by path; ``load("audioset")`` returns a pretrained model with AudioSet's 527 classes.

The model is EfficientAT's mn04 with its released classification head (F. Schmid et al., ICASSP 2023; MIT licence). The
first call exports it to ONNX in the cache folder, which needs torch; later calls read that file.

The class names are the display names of AudioSet's ``class_labels_indices.csv``, in its order: J. F. Gemmeke et al.,
"Audio Set: An ontology and human-labeled dataset for audio events", ICASSP 2017; Google, CC BY 4.0.
"""

from __future__ import annotations

import csv
from difflib import get_close_matches
from importlib import resources
from importlib.metadata import version
from os import PathLike
from pathlib import Path

import numpy as np

from soundmark.errors import BundleError, SettingsError
from soundmark.models import bundle, classifier, weights
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.training_record import TrainingRecord
from soundmark.runtime import atomic, provenance
from soundmark.runtime.cache import cache_folder
from soundmark.spectrograms import LogMel

PRETRAINED = ("audioset",)


BACKBONE = "mn04"


WINDOW_S = 10.0  # duration of AudioSet's clips


LICENCE = "AudioSet's labels and class names: Google, CC BY 4.0"


CITATION = (
    'J. F. Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events", ICASSP 2017; '
    'F. Schmid, K. Koutini and G. Widmer, "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge '
    'Distillation", ICASSP 2023'
)


MAP = 0.432  # on AudioSet's evaluation set, as published by the authors with the weights


def load(name_or_path: str | PathLike[str]) -> Model:
    """Load a model from an ``.onnx`` file, or the pretrained model ``"audioset"``.

    Load a file named ``audioset`` with ``load("./audioset")`` or with a ``Path``.

    Raises:
        BundleError: the file does not exist, is not a soundmark model, is damaged, or has a later schema.
        SettingsError: the pretrained model must be exported first, and torch is not installed.
        WeightsError: the pretrained weights are missing and cannot be downloaded.

    >>> model.save(folder / "model.onnx")
    >>> load(folder / "model.onnx").classes[:2]
    ('air_conditioner', 'car_horn')
    >>> load("audioste")
    Traceback (most recent call last):
    soundmark.errors.BundleError: the model "audioste" cannot be read: ... Did you mean "audioset"?
    """
    if isinstance(name_or_path, str) and name_or_path in PRETRAINED:
        return audioset()
    try:
        return classifier.load(name_or_path)
    except BundleError as error:
        close = get_close_matches(str(name_or_path), PRETRAINED, n=1)
        if close and not Path(name_or_path).exists():
            raise BundleError(f'{error} Did you mean "{close[0]}"?') from error
        raise


def audioset() -> Model:
    """Load EfficientAT's mn04, a multi-label model with AudioSet's 527 classes; the first call exports it.

    Raises:
        SettingsError: it must be exported first, and torch is not installed.
        WeightsError: the weights are missing and cannot be downloaded.
        OutputError: the cache folder cannot be written.

    >>> audioset().classes[:2]  # doctest: +SKIP
    ('Speech', 'Male speech, man speaking')
    """
    digest = weights.WEIGHTS[BACKBONE].sha256[:16]
    path = cache_folder() / "models" / f"audioset-{BACKBONE}-{digest}-{version('soundmark')}.onnx"
    if path.is_file():
        try:
            return Model(bundle.read_bundle(path))
        except BundleError:  # damaged, or another schema: export again
            pass
    exported = export_audioset()
    atomic.make_folder(path.parent, "Set SOUNDMARK_CACHE to another folder.")
    exported.write(path)
    return Model(exported)


def audioset_classes() -> tuple[str, ...]:
    """Return the names of AudioSet's 527 classes, in the order of the network's logits.

    >>> names = audioset_classes()
    >>> len(names), names[0], names[74]
    (527, 'Speech', 'Dog')
    """
    text = resources.files("soundmark.models").joinpath("audioset_classes.csv").read_text(encoding="utf-8")
    return tuple(row["display_name"] for row in csv.DictReader(text.splitlines()))


def export_audioset() -> Bundle:
    """Export the released network as a bundle, and check its outputs against torch.

    Raises:
        SettingsError: torch is not installed.
        WeightsError: the weights are missing and cannot be downloaded.

    >>> export_audioset().card.window_s  # doctest: +SKIP
    10.0
    """
    try:
        from soundmark.training import onnx_export
        from soundmark.training.networks import mobilenet
    except ModuleNotFoundError as error:
        raise SettingsError(
            f'the model "audioset" must be exported once, which needs {error.name}: pip install "soundmark[train]".'
        ) from error
    representation = LogMel().for_window(WINDOW_S)
    network = mobilenet.load_released(BACKBONE)
    exported = Bundle(onnx_export.export_network(network, representation.shape), _card(representation))
    noise = np.random.default_rng(0).normal(0, 0.1, round(WINDOW_S * representation.rate_hz)).astype(np.float32)
    example = np.stack([representation(sound, representation.rate_hz) for sound in (noise, noise[:100])])
    bundle.check_agreement(exported, exported.activate(onnx_export.network_logits(network, example)), example)
    return exported


def _card(representation: LogMel) -> Card:
    return Card(
        classes=audioset_classes(),
        representation=representation,
        window_s=WINDOW_S,
        activation="sigmoid",
        recipe={"name": "audioset", "network": BACKBONE},
        training=TrainingRecord(name="AudioSet", licence=LICENCE, citation=CITATION, weights=weights.LICENCE),
        scores={"mean_average_precision": MAP, "protocol": "AudioSet's evaluation set, as published with the weights"},
        versions=provenance.versions(),
    )

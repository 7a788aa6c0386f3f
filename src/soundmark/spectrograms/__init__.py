"""Samples to ``[freq, time]``: one file per representation.

A representation is a frozen dataclass of parameters that is called with samples. Training, evaluation, the command line
and a saved model use the same object, so that what is heard in training is what is heard in use.

>>> import numpy as np
>>> mel = from_settings({"name": "mel"})
>>> mel(np.zeros(22050, np.float32), rate_hz=22050).shape
(64, 64)

    fourier           frames and power spectra
    banded            sparse banded matrices
    resize            the resizing of OpenCV and scikit-image
    representation    what all representations share
    image             a picture file, as OpenSoundscape writes it
    mel               the log-mel array of the notebook
    logmel            the log-mel of EfficientAT
    drawing           a spectrogram drawn for people

A new one is a new file with a subclass of ``Representation`` and its name in ``REPRESENTATIONS``; the family's tests
then hold for it. ``fourier``, ``banded`` and ``resize`` are the arithmetic that they share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soundmark.errors import SettingsError, unknown_name
from soundmark.spectrograms.image import Image
from soundmark.spectrograms.logmel import LogMel
from soundmark.spectrograms.mel import Mel
from soundmark.spectrograms.representation import Picture, Representation

__all__ = [
    "REPRESENTATIONS",
    "Image",
    "LogMel",
    "Mel",
    "Picture",
    "Representation",
    "from_settings",
    "representation_named",
]


REPRESENTATIONS: dict[str, type[Representation]] = {kind.name: kind for kind in (Image, LogMel, Mel)}


def from_settings(settings: Mapping[str, Any]) -> Representation:
    """The representation that ``settings()`` described: a name, and any of its parameters.

    Raises ``SettingsError`` for a name or a parameter that is not known, for a value that is not allowed, and for
    settings of another version, which would give other numbers under the same name.

    >>> from_settings({"name": "mel", "n_mels": 64})
    Mel(rate_hz=22050, size=(64, 64), n_fft=2048, hop_samples=512, n_mels=64, top_db=80.0)
    >>> from_settings({"name": "mell"})
    Traceback (most recent call last):
    soundmark.errors.SettingsError: there is no representation "mell". Did you mean "mel"? Known: image, logmel, mel.
    """
    parameters = dict(settings)
    name = parameters.pop("name", None)
    if not isinstance(name, str) or name not in REPRESENTATIONS:
        raise unknown_name("representation", name, REPRESENTATIONS)
    kind = REPRESENTATIONS[name]
    version = parameters.pop("version", kind.version)
    if version != kind.version:
        raise SettingsError(
            f"these settings are for version {version!r} of {name}, and here is {kind.version}: use the soundmark "
            "that wrote them, or compute the features and the model again."
        )
    return kind.of(parameters)


def representation_named(representation: str | Mapping[str, Any] | Representation) -> Representation:
    """The representation of a name, of settings, or itself.

    Raises:
        SettingsError: there is no such representation or parameter, or a value that is not allowed.

    >>> representation_named("image").size, representation_named(Mel(n_mels=32)).size
    ((64, 64), (64, 64))
    >>> representation_named("mels")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: there is no representation "mels". Did you mean "mel"? Known: image, logmel, mel.
    """
    if isinstance(representation, Representation):
        return representation
    return from_settings(representation if isinstance(representation, Mapping) else {"name": representation})

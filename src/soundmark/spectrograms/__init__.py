"""Compute spectrograms: samples → ``[freq, time]``, one file per representation.

A representation is a frozen dataclass of parameters that is called with samples. Training, evaluation, the command line
and saved models use the same object, so that training and inference compute identical features.

>>> import numpy as np
>>> mel = from_settings({"name": "mel"})
>>> mel(np.zeros(22050, np.float32), rate_hz=22050).shape
(64, 64)

    fourier           frames and power spectra
    banded            sparse banded matrices
    resize            resizing as in OpenCV and scikit-image
    representation    the base class of all representations
    image             "image": an 8-bit greyscale spectrogram, as in OpenSoundscape
    mel               "mel": the mel spectrogram of the notebook, in decibels
    logmel            "logmel": the log-mel spectrogram of EfficientAT
    waveform          "waveform": the samples, for networks that compute their own spectrogram
    drawing           spectrograms as coloured PNGs and in Matplotlib axes

To add a representation, add a file with a subclass of ``Representation`` and an entry in ``REPRESENTATIONS``. The tests
of all representations then include it. ``fourier``, ``banded`` and ``resize`` contain the shared arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soundmark.errors import SettingsError, unknown_name
from soundmark.spectrograms.image import Image
from soundmark.spectrograms.logmel import LogMel
from soundmark.spectrograms.mel import Mel
from soundmark.spectrograms.representation import Representation, SpectrogramImage
from soundmark.spectrograms.waveform import Waveform

__all__ = [
    "REPRESENTATIONS",
    "Image",
    "LogMel",
    "Mel",
    "Representation",
    "SpectrogramImage",
    "Waveform",
    "from_settings",
    "representation_named",
]


REPRESENTATIONS: dict[str, type[Representation]] = {kind.name: kind for kind in (Image, LogMel, Mel, Waveform)}


def from_settings(settings: Mapping[str, Any]) -> Representation:
    """Create a representation from its name and any of its parameters, as returned by ``settings()``.

    Raises:
        SettingsError: the name or a parameter is unknown, a value is not allowed, or the settings are for another
            version, whose results differ under the same name.

    >>> from_settings({"name": "mel", "n_mels": 64})
    Mel(rate_hz=22050, size=(64, 64), ..., n_mels=64, ...)
    >>> from_settings({"name": "mell"})
    Traceback (most recent call last):
    soundmark.errors.SettingsError: there is no representation "mell". Did you mean "mel"? Known: image, ...
    """
    parameters = dict(settings)
    name = parameters.pop("name", None)
    if not isinstance(name, str) or name not in REPRESENTATIONS:
        raise unknown_name("representation", name, REPRESENTATIONS)
    kind = REPRESENTATIONS[name]
    version = parameters.pop("version", kind.version)
    if version != kind.version:
        raise SettingsError(
            f"these settings are for version {version!r} of {name}, but this soundmark has version {kind.version}: use "
            "the soundmark release that wrote them, or recompute the features and train the model again."
        )
    return kind.of(parameters)


def representation_named(representation: str | Mapping[str, Any] | Representation) -> Representation:
    """Return the representation for a name or settings; return a ``Representation`` unchanged.

    Raises:
        SettingsError: the representation or a parameter is unknown, or a value is not allowed.

    >>> representation_named("image").size, representation_named(Mel(n_mels=32)).size
    ((64, 64), (64, 64))
    >>> representation_named("mels")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: there is no representation "mels". Did you mean "mel"? Known: image, ...
    """
    if isinstance(representation, Representation):
        return representation
    return from_settings(representation if isinstance(representation, Mapping) else {"name": representation})

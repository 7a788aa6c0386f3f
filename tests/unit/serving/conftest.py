import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from soundmark.models.classifier import Model
from support.serving import Running, running
from support.sounds import RATE_HZ, tones

EVENTS = [("low", 2.0, 4.0), ("high", 6.0, 9.0)]


def encoded(samples: np.ndarray, rate_hz: int = RATE_HZ, container: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


@pytest.fixture(scope="session")
def samples() -> np.ndarray:
    """Twelve seconds with a low and a high tone."""
    return tones(12.0, EVENTS)


@pytest.fixture(scope="session")
def sound(samples) -> bytes:
    """``samples`` as a WAV file."""
    return encoded(samples)


@pytest.fixture(scope="session")
def detector(tone_detector) -> Model:
    """A model that detects low and high tones, with a background class."""
    return Model(replace(tone_detector.bundle, card=replace(tone_detector.card, background=("background",))))


@pytest.fixture(scope="session")
def server(detector) -> Iterator[Running]:
    """A server with default limits."""
    with running(detector) as found:
        yield found

"""Live sources of audio: PCM on a pipe, a microphone, a network stream; blocks of mono samples until the source ends.

In reading order:

    source      a live source: blocks of mono samples at a rate
    pcm         raw PCM, or a WAV, on a pipe
    microphone  the microphone
    network     network streams, reconnected when they drop

A source yields a ``Block`` about every 50 ms. A live source does not wait: audio that is not taken in time is lost, and
the next block says how much. A pipe waits for its reader, so nothing is lost.

To add a source, add a file with a function that opens it, and a line to ``SOURCES``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from soundmark.audio.capture.microphone import open_microphone
from soundmark.audio.capture.network import open_network
from soundmark.audio.capture.pcm import open_pcm, standard_input

if TYPE_CHECKING:
    from soundmark.audio.capture.source import LiveSource


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What may be said of a source besides its name: the format of PCM on a pipe; which microphone."""

    rate_hz: int
    channels: int = 1
    sample_format: str = "s16"
    is_live: bool = False
    device: str | None = None


def _open_standard_input(name: str, options: SourceOptions) -> LiveSource:
    return open_pcm(
        standard_input(),
        rate_hz=options.rate_hz,
        channels=options.channels,
        sample_format=options.sample_format,
        is_live=options.is_live,
    )


SOURCES: dict[str, Callable[[str, SourceOptions], LiveSource]] = {
    "-": _open_standard_input,
    "microphone": lambda name, options: open_microphone(options.device),
    r".*": lambda name, options: open_network(name),  # refuses what is not an address
}
"""Functions that open a source, by a regular expression for the whole name; the first that matches is called."""


def open_source(
    name: str,
    *,
    rate_hz: int,
    channels: int = 1,
    sample_format: str = "s16",
    is_live: bool = False,
    device: str | None = None,
) -> LiveSource:
    """Open the source called ``name``: "microphone", "-" (standard input), or an address; see ``SOURCES``.

    The other arguments describe PCM on standard input, and choose a microphone.

    Raises:
        SettingsError, AudioError: as the functions in ``SOURCES``.

    >>> open_source("street.wav", rate_hz=8000)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "street.wav" is no address that is heard: give rtsp://…, http://… or https://…, ...
    """
    options = SourceOptions(
        rate_hz=rate_hz, channels=channels, sample_format=sample_format, is_live=is_live, device=device
    )
    opener = next(opener for pattern, opener in SOURCES.items() if re.fullmatch(pattern, name, re.DOTALL))
    return opener(name, options)

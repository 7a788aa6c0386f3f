"""Live sources of audio: PCM on a pipe, a microphone, a network stream. Each yields blocks of mono samples.

In reading order:

    source      the types: a live source and its blocks
    pcm         raw PCM, or a WAV, on a pipe
    microphone  the microphone
    network     network streams; reconnect when the connection drops

A source yields a ``Block`` about every 50 ms until it ends. A live source does not wait for its reader: audio that is
not read in time is lost, and the next block states how much. A pipe waits for its reader, so nothing is lost.

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
    """Options of a source besides its name: the format of PCM on a pipe, and which microphone."""

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
    r".*": lambda name, options: open_network(name),  # rejects other names
}
"""Functions that open a source, by a regular expression for the complete name. The first match is used."""


def open_source(
    name: str,
    *,
    rate_hz: int,
    channels: int = 1,
    sample_format: str = "s16",
    is_live: bool = False,
    device: str | None = None,
) -> LiveSource:
    """Open the source called ``name``: "microphone", "-" (standard input) or a URL; see ``SOURCES``.

    The other arguments describe PCM on standard input, or select a microphone.

    Raises:
        SettingsError, AudioError: see the functions in ``SOURCES``.

    >>> open_source("street.wav", rate_hz=8000)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "street.wav" is not a supported stream URL: give rtsp://…, http://… or ...
    """
    options = SourceOptions(
        rate_hz=rate_hz, channels=channels, sample_format=sample_format, is_live=is_live, device=device
    )
    opener = next(opener for pattern, opener in SOURCES.items() if re.fullmatch(pattern, name, re.DOTALL))
    return opener(name, options)

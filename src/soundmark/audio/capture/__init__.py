"""Where live sound comes from: PCM on a pipe, a microphone, an address; blocks of mono samples until it ends.

In reading order:

    source      a live source: blocks of mono samples at a rate
    pcm         raw PCM, or a WAV, on a pipe
    microphone  the microphone
    network     network streams, reconnected when they drop



A source gives ``Block``s of some 50 ms. One that is live cannot wait: what nobody takes is lost, and says how much. One
that is a pipe waits for whoever hears it, so that nothing is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from soundmark.audio.capture.microphone import open_microphone
from soundmark.audio.capture.network import open_network
from soundmark.audio.capture.pcm import open_pcm, standard_input

if TYPE_CHECKING:
    from soundmark.audio.capture.source import LiveSource


def open_source(
    name: str,
    *,
    rate_hz: int,
    channels: int = 1,
    sample_format: str = "s16",
    is_live: bool = False,
    device: str | None = None,
) -> LiveSource:
    """The source that was typed: "microphone", "-", or an address; the rest is what PCM on standard input is.

    Raises:
        SettingsError, AudioError: as the sources do.

    >>> open_source("street.wav", rate_hz=8000)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "street.wav" is no address that is heard: give rtsp://…, http://… or https://…, ...
    """
    if name == "-":
        file = standard_input()
        return open_pcm(file, rate_hz=rate_hz, channels=channels, sample_format=sample_format, is_live=is_live)
    return open_microphone(device) if name == "microphone" else open_network(name)

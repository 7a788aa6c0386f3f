"""The microphone, by PortAudio (sounddevice)."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import numpy as np

from soundmark.audio.capture.source import BLOCK_S, Block, LiveSource
from soundmark.audio.samples import to_mono
from soundmark.errors import AudioError


def open_microphone(device: str | None = None) -> LiveSource:
    """The default microphone, or the one whose name or number is ``device``, at its own rate.

    Raises:
        AudioError: there is none, or it cannot be opened.

    >>> open_microphone("no such device")  # doctest: +SKIP
    """
    sounddevice = _sounddevice()
    try:
        info = sounddevice.query_devices(int(device) if device and device.isdigit() else device, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        which = f'no microphone "{device}"' if device else "no microphone"
        raise AudioError(f"there is {which} here: {error}. Plug one in, or name a source.") from error
    rate_hz = int(info["default_samplerate"])

    def blocks() -> Iterator[Block]:
        taken: queue.SimpleQueue[tuple[np.ndarray, float, bool]] = queue.SimpleQueue()
        due_s, said = 0.0, False  # when the next block should have been sounding, by the sound card's clock

        def keep(data: np.ndarray, frames: int, at: Any, status: Any) -> None:
            taken.put((data.copy(), at.inputBufferAdcTime, bool(status and status.input_overflow)))

        try:
            with sounddevice.InputStream(
                device=info["index"],
                samplerate=rate_hz,
                blocksize=round(rate_hz * BLOCK_S),
                dtype="float32",
                callback=keep,
            ):
                while True:
                    data, at_s, overflown = taken.get()
                    lost_s = max(0.0, at_s - due_s) if overflown and due_s else 0.0
                    note = None if said or not overflown else "the microphone lost sound: the machine was busy"
                    yield Block(to_mono(data), lost_s, note)
                    due_s, said = at_s + len(data) / rate_hz, said or overflown
        except sounddevice.PortAudioError as error:
            raise AudioError(f"the microphone cannot be heard: {error}. Is it in use, or unplugged?") from error

    return LiveSource("microphone", rate_hz, blocks, is_live=True)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except OSError as error:  # the package is there, and PortAudio is not
        raise AudioError(
            f"the microphone needs PortAudio ({error}): install libportaudio2, or pipe PCM to soundmark listen -."
        ) from error
    return sounddevice

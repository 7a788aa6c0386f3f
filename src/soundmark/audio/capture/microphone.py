"""Record from a microphone with PortAudio (sounddevice)."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import numpy as np

from soundmark.audio.capture.source import BLOCK_S, Block, LiveSource, mono_block
from soundmark.errors import AudioError


def open_microphone(device: str | None = None) -> LiveSource:
    """Open the default microphone, or the one with the name or number ``device``, at its default sample rate.

    Raises:
        AudioError: there is no such microphone, or PortAudio is missing. ``blocks`` raises it if recording fails.

    >>> open_microphone("no such device")  # doctest: +SKIP
    """
    sounddevice = _sounddevice()
    try:
        info = sounddevice.query_devices(int(device) if device and device.isdigit() else device, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        what = f'microphone "{device}"' if device else "a microphone"
        raise AudioError(f"cannot find {what}: {error}. Connect one, or give another source.") from error
    rate_hz = int(info["default_samplerate"])

    def blocks() -> Iterator[Block]:
        captured: queue.SimpleQueue[tuple[np.ndarray, float, bool]] = queue.SimpleQueue()
        expected_s, reported = 0.0, False  # expected start of the next block, by the clock of the sound card

        def callback(data: np.ndarray, frames: int, time_info: Any, status: Any) -> None:
            captured.put((data.copy(), time_info.inputBufferAdcTime, bool(status and status.input_overflow)))

        try:
            with sounddevice.InputStream(
                device=info["index"],
                samplerate=rate_hz,
                blocksize=round(rate_hz * BLOCK_S),
                dtype="float32",
                callback=callback,
            ):
                while True:
                    data, start_s, overflowed = captured.get()
                    lost_s = max(0.0, start_s - expected_s) if overflowed and expected_s else 0.0
                    note = "the microphone lost audio: the system was too busy" if overflowed and not reported else None
                    yield mono_block(data, lost_s=lost_s, note=note)
                    expected_s, reported = start_s + len(data) / rate_hz, reported or overflowed
        except sounddevice.PortAudioError as error:
            raise AudioError(f"cannot record from the microphone: {error}. Is it in use, or disconnected?") from error

    return LiveSource("microphone", rate_hz, blocks, is_live=True)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except OSError as error:  # the package is installed, PortAudio is not
        raise AudioError(
            f"the microphone needs PortAudio ({error}): install it (Debian and Ubuntu: libportaudio2), "
            "or pipe PCM to soundmark listen -."
        ) from error
    return sounddevice

"""Where live sound comes from: PCM on a pipe, a microphone, an address; blocks of mono samples until it ends.

A source gives ``Block``s of some 50 ms. One that is live cannot wait: what nobody takes is lost, and says how much. One
that is a pipe waits for whoever hears it, so that nothing is.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from soundmark.audio import Samples, to_mono
from soundmark.decoding import LARGEST_RATE_HZ, LOWEST_RATE_HZ
from soundmark.errors import AudioError, SettingsError, unknown_name

BLOCK_S = 0.05
FORMATS = {
    "u8": ("u1", 2.0**-7, -1.0),
    "s16": ("<i2", 2.0**-15, 0.0),
    "s24": ("<i4", 2.0**-31, 0.0),  # three bytes, the highest of four
    "s32": ("<i4", 2.0**-31, 0.0),
    "f32": ("<f4", 1.0, 0.0),
}
"""Sample formats: as NumPy has them, little-endian; what they are multiplied by; what is added."""

BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # before each further try; the last again and again
CONNECT_S = 10.0  # until an address that does not answer counts as gone


@dataclass(frozen=True, eq=False)
class Block:
    """``samples`` float32 [n], mono; ``note`` is for people.

    Before them ``lost_s`` seconds went by that nobody has; ``dropped_s`` of these came, and there was no time for them.
    """

    samples: Samples
    lost_s: float = 0.0
    note: str | None = None
    dropped_s: float = 0.0


@dataclass(frozen=True)
class Source:
    """A name for people and programs, a rate, and what gives the blocks; ``is_live``: it does not wait."""

    name: str
    rate_hz: int
    blocks: Callable[[], Iterator[Block]]
    is_live: bool


def named(
    name: str,
    *,
    rate_hz: int,
    channels: int = 1,
    sample_format: str = "s16",
    is_live: bool = False,
    device: str | None = None,
) -> Source:
    """The source that was typed: "microphone", "-", or an address; the rest is what PCM on standard input is.

    Raises:
        SettingsError, AudioError: as the sources do.

    >>> named("street.wav", rate_hz=8000)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "street.wav" is no address that is heard: give rtsp://…, http://… or https://…, ...
    """
    if name == "-":
        file = standard_input()
        return pcm(file, rate_hz=rate_hz, channels=channels, sample_format=sample_format, is_live=is_live)
    return microphone(device) if name == "microphone" else address(name)


def pcm(
    file: BinaryIO, *, rate_hz: int, channels: int = 1, sample_format: str = "s16", is_live: bool = False
) -> Source:
    """Raw samples on a pipe, interleaved, little-endian, until it closes; a frame that is cut off at the end is none.

    Raises:
        SettingsError: a format that is not known; a rate or number of channels that cannot be meant.

    >>> import io
    >>> source = pcm(io.BytesIO(np.array([16384, 0], "<i2").tobytes()), rate_hz=8000, channels=2)
    >>> [block.samples for block in source.blocks()]
    [array([0.25], dtype=float32)]
    """
    if sample_format not in FORMATS:
        raise unknown_name("sample format", sample_format, FORMATS)
    if not LOWEST_RATE_HZ <= rate_hz <= LARGEST_RATE_HZ:
        raise SettingsError(
            f"the rate is {rate_hz} Hz: give the one it was recorded at, {LOWEST_RATE_HZ} to {LARGEST_RATE_HZ}."
        )
    if not 1 <= channels <= 64:
        raise SettingsError(f"there are {channels} channels: give a number from 1 to 64.")

    said = False

    def blocks() -> Iterator[Block]:
        width = 3 if sample_format == "s24" else np.dtype(FORMATS[sample_format][0]).itemsize
        frame = width * channels
        wanted, rest = max(1, round(rate_hz * BLOCK_S)) * frame, b""
        while data := _read(file, wanted - len(rest)):
            rest += data
            whole = len(rest) // frame * frame
            if whole == wanted:
                yield Block(samples_of(rest, sample_format, channels), note=spoilt(rest))
                rest = b""
        if whole := len(rest) // frame * frame:
            yield Block(samples_of(rest[:whole], sample_format, channels), note=spoilt(rest[:whole]))

    def spoilt(data: bytes) -> str | None:
        """What to say of the first samples that are no numbers."""
        nonlocal said
        if said or sample_format != "f32" or np.isfinite(np.frombuffer(data, "<f4")).all():
            return None
        said = True
        return "there are samples that are no numbers (NaN or infinite): they are heard as silence"

    return Source("-", rate_hz, blocks, is_live)


def _read(file: BinaryIO, most: int) -> bytes:
    """What is there by now, ``most`` bytes at most: a live pipe must not wait for a buffer to be full."""
    return file.read1(most) if hasattr(file, "read1") else file.read(most)


def samples_of(data: bytes, sample_format: str, channels: int) -> Samples:
    """Interleaved frames to mono samples [n], float32; what is no number counts as silence.

    >>> samples_of(bytes([0, 0, 64]), "s24", 1)
    array([0.5], dtype=float32)
    """
    kind, scale, offset = FORMATS[sample_format]
    if sample_format == "s24":
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        numbers = padded.view("<i4")[:, 0]
    else:
        numbers = np.frombuffer(data, kind)
    floats = numbers.astype(np.float32) * np.float32(scale) + np.float32(offset)
    return to_mono(np.nan_to_num(floats, nan=0.0, posinf=0.0, neginf=0.0).reshape(-1, channels))


def microphone(device: str | None = None) -> Source:
    """The default microphone, or the one whose name or number is ``device``, at its own rate.

    Raises:
        AudioError: there is none, or it cannot be opened.

    >>> microphone("no such device")  # doctest: +SKIP
    """
    sounddevice = _sounddevice()
    try:
        info = sounddevice.query_devices(int(device) if device and device.isdigit() else device, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        which = f'no microphone "{device}"' if device else "no microphone"
        raise AudioError(f"there is {which} here: {error}. Plug one in, or name a source.") from error
    rate_hz = int(info["default_samplerate"])

    def blocks() -> Iterator[Block]:
        taken: queue.SimpleQueue[tuple[np.ndarray, bool]] = queue.SimpleQueue()

        def keep(data: np.ndarray, frames: int, at: object, status: Any) -> None:
            taken.put((data.copy(), bool(status and status.input_overflow)))

        with sounddevice.InputStream(
            device=info["index"], samplerate=rate_hz, blocksize=round(rate_hz * BLOCK_S), dtype="float32", callback=keep
        ):
            while True:
                data, overflown = taken.get()
                yield Block(
                    to_mono(data), note="the microphone lost sound: the machine was busy" if overflown else None
                )

    return Source("microphone", rate_hz, blocks, is_live=True)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except OSError as error:  # the package is there, and PortAudio is not
        raise AudioError(
            f"the microphone needs PortAudio ({error}): install libportaudio2, or pipe PCM to `listen -`."
        ) from error
    return sounddevice


def address(url: str, *, sleep: Callable[[float], None] = time.sleep) -> Source:
    """A stream at an address (RTSP, HTTP, Icecast, …), through PyAV; it is tried again and again when it drops.

    Raises:
        AudioError: it cannot be opened the first time, or holds no sound.
        SettingsError: it is no address of a kind that is heard.

    >>> address("file:///etc/passwd")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "file:///etc/passwd" is no address that is heard: give rtsp://…, http://… or ...
    """
    scheme = url.split("://")[0].lower()
    if "://" not in url or scheme not in ("rtsp", "rtsps", "http", "https", "rtmp", "srt", "udp", "rtp", "tcp"):
        raise SettingsError(
            f'"{url}" is no address that is heard: give rtsp://…, http://… or https://…, or "-" for PCM.'
        )
    first = _open(url)
    rate_hz = int(first.streams.audio[0].rate)

    def blocks() -> Iterator[Block]:
        container, tries, gone = first, 0, time.monotonic()
        pending: tuple[float, str | None] = (0.0, None)
        while True:
            try:
                for samples in _decoded(container, rate_hz):
                    yield Block(samples, *pending)
                    tries, gone, pending = 0, time.monotonic(), (0.0, None)
                if container.duration:  # it was a file: it is over
                    return
                why = "it ended"
            except _errors() as error:
                why = str(error).split(":")[0]
            container.close()
            while True:
                wait = BACK_OFF_S[min(tries, len(BACK_OFF_S) - 1)]
                yield Block(np.zeros(0, np.float32), note=f'"{url}" dropped ({why}): trying again in {wait:g} s')
                sleep(wait)
                tries += 1
                try:
                    container = _open(url)
                except AudioError as error:
                    why = str(error)
                    continue
                lost = time.monotonic() - gone
                pending = (lost, f'"{url}" is back after {lost:.0f} s')
                break

    return Source(url, rate_hz, blocks, is_live=True)


def _errors() -> tuple[type[Exception], ...]:
    import av

    return (av.FFmpegError, OSError)


def _open(url: str) -> Any:
    import av

    options = {"rtsp_transport": "tcp"} if url.startswith("rtsp") else {}
    try:
        container = av.open(url, timeout=(CONNECT_S, CONNECT_S), options=options)
    except _errors() as error:
        raise AudioError(f'"{url}" cannot be heard: {getattr(error, "strerror", None) or error}.') from error
    if not container.streams.audio:
        container.close()
        raise AudioError(f'"{url}" holds no sound.')
    return container


def _decoded(container: Any, rate_hz: int) -> Iterator[Samples]:
    """The mono samples of a container's first stream of sound, at ``rate_hz``."""
    import av

    resampler = av.AudioResampler(format="fltp", rate=rate_hz)
    for frame in container.decode(container.streams.audio[0]):
        for whole in resampler.resample(frame):
            yield to_mono(np.ascontiguousarray(whole.to_ndarray().T))


def standard_input() -> BinaryIO:
    """Standard input as a pipe of bytes that is read without waiting for a buffer to fill.

    >>> with standard_input() as file:
    ...     file.readable()
    True
    """
    with suppress(OSError, ValueError):
        return os.fdopen(os.dup(0), "rb", buffering=1 << 16)
    raise AudioError("standard input is closed: pipe PCM into it.")

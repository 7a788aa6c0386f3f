"""Where live sound comes from: PCM on a pipe, a microphone, an address; blocks of mono samples until it ends.

A source gives ``Block``s of some 50 ms. One that is live cannot wait: what nobody takes is lost, and says how much. One
that is a pipe waits for whoever hears it, so that nothing is.
"""

from __future__ import annotations

import os
import queue
import re
import struct
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

WAV_FORMATS = {(1, 8): "u8", (1, 16): "s16", (1, 24): "s24", (1, 32): "s32", (3, 32): "f32"}  # format tag, bits
ENDLESS = 0x7FFF_0000  # bytes: a WAV that says it holds more was begun before anybody knew how long it would be
ENCODED = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF", b"caff": "CAF", b"RF64": "RF64"}

BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # before each further try; the last again and again
CONNECT_S = 10.0  # until an address that does not answer counts as gone
SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "srt", "udp", "rtp", "tcp")
# What FFmpeg may open on an address's behalf: a playlist from elsewhere shall not name a file here.
PROTOCOLS = "rtsp,rtsps,http,https,httpproxy,rtmp,srt,udp,rtp,rtcp,tcp,tls,crypto"
JUMP_S = (0.25, 3 * CONNECT_S)  # of a stream's own time: less is jitter, and more is another clock


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

    A WAV, which ``arecord`` writes unless told otherwise, is heard when its header says the same as the arguments.

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
        wanted = max(1, round(rate_hz * BLOCK_S)) * frame
        rest, left = _begin(file, (rate_hz, channels, sample_format))
        while left > 0 and (data := _read(file, int(min(max(1, wanted - len(rest)), left)))):
            rest += data
            left -= len(data)
            whole = len(rest) // frame * frame
            if whole >= wanted:
                yield Block(samples_of(rest[:whole], sample_format, channels), note=spoilt(rest[:whole]))
                rest = rest[whole:]
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


def _begin(file: BinaryIO, expected: tuple[int, int, str]) -> tuple[bytes, float]:
    """The first samples of PCM, with which it is seen that it is none; and how many bytes follow: of a WAV, its data.

    Raises:
        SettingsError: it is a WAV of another rate, number of channels or format.
        AudioError: it is encoded.
    """
    start = _exactly(file, 4)
    for magic, name in ENCODED.items():
        if start.startswith(magic):
            raise AudioError(
                f"what comes in is {name}, and PCM is heard here: decode it first, as ffmpeg -i - -f s16le -ac 1 "
                f"-ar {expected[0]} - does."
            )
    if start != b"RIFF":
        return start, float("inf")
    _exactly(file, 8)  # its size, "WAVE"
    found: tuple[int, int, str | None] | None = None
    while len(head := _exactly(file, 8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            _check_header(found, expected)
            return b"", size if 0 < size < ENDLESS else float("inf")
        chunk = _exactly(file, size + size % 2)
        if name == b"fmt " and len(chunk) >= 16:
            tag, count, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
            tag = struct.unpack_from("<H", chunk, 24)[0] if tag == 0xFFFE and len(chunk) >= 26 else tag
            found = rate_hz, count, WAV_FORMATS.get((tag, bits))
    return b"", 0.0


def _check_header(found: tuple[int, int, str | None] | None, expected: tuple[int, int, str]) -> None:
    if found is None or found[2] is None:
        raise AudioError("what comes in is a WAV whose format is no PCM: decode it first, as ffmpeg -f s16le does.")
    if found != expected:
        raise SettingsError(
            f"what comes in is a WAV of another kind: give --rate {found[0]} --channels {found[1]} --sample-format "
            f"{found[2]}."
        )


def _exactly(file: BinaryIO, size: int) -> bytes:
    """``size`` bytes, or all there are."""
    data = b""
    while len(data) < size and (more := _read(file, min(size - len(data), 1 << 16))):
        data += more
    return data


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

    return Source("microphone", rate_hz, blocks, is_live=True)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except OSError as error:  # the package is there, and PortAudio is not
        raise AudioError(
            f"the microphone needs PortAudio ({error}): install libportaudio2, or pipe PCM to soundmark listen -."
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
    if "://" not in url or url.split("://")[0].lower() not in SCHEMES:
        raise SettingsError(
            f'"{url}" is no address that is heard: give rtsp://…, http://… or https://…, or "-" for PCM.'
        )
    name, first = without_password(url), _open(url)
    station = _Station(url, name, first, int(first.streams.audio[0].rate), sleep)
    return Source(name, station.rate_hz, station.blocks, is_live=True)


def without_password(url: str) -> str:
    """The address as it may be shown: who is let in, and by what password, is nobody's business.

    >>> without_password("rtsp://me:secret@camera/audio")
    'rtsp://camera/audio'
    """
    return re.sub(r"(://)[^/?#]*@", r"\1", url, count=1)


@dataclass
class _Station:
    """An address that is being heard; ``container`` is what is open of it."""

    url: str
    name: str
    container: Any
    rate_hz: int
    sleep: Callable[[float], None]
    tries: int = 0
    last: float = 0.0  # when a block was last had

    def blocks(self) -> Iterator[Block]:
        """Until it is over, if it ever is: what drops is tried again."""
        self.last, back = time.monotonic(), False
        while True:
            heard_s, why = 0.0, "it ended"
            try:
                for lost_s, samples in _decoded(self.container, self.rate_hz):
                    yield self._back(samples) if back else Block(samples, lost_s)
                    self.tries, self.last, back = 0, time.monotonic(), False
                    heard_s += lost_s + len(samples) / self.rate_hz
            except _errors() as error:
                why = _why(error)
            if why == "it ended" and self._is_whole(heard_s):
                return
            yield from self._again(why)
            back = True

    def _back(self, samples: Samples) -> Block:
        gone_s = time.monotonic() - self.last
        return Block(samples, gone_s, f'"{self.name}" is back after {gone_s:.0f} s')

    def _is_whole(self, heard_s: float) -> bool:
        """Whether it was a file, which has an end, and not the end of a connection."""
        return bool(self.container.duration) and heard_s >= self.container.duration / 1e6 - 1.0

    def _again(self, why: str) -> Iterator[Block]:
        """Tells of each try, until the address is open again."""
        self.container.close()
        while why:
            wait_s = BACK_OFF_S[min(self.tries, len(BACK_OFF_S) - 1)]
            yield Block(np.zeros(0, np.float32), note=f'"{self.name}" dropped ({why}): trying again in {wait_s:g} s')
            self.sleep(wait_s)
            self.tries += 1
            try:
                self.container, why = _open(self.url), ""
            except AudioError as error:
                why = _why(error.__cause__ or error)


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _errors() -> tuple[type[Exception], ...]:
    import av

    return (av.FFmpegError, OSError)


def _open(url: str) -> Any:
    import av

    name, options = without_password(url), {"protocol_whitelist": PROTOCOLS}
    if url.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    try:
        container = av.open(url, timeout=(CONNECT_S, CONNECT_S), options=options)
    except _errors() as error:
        raise AudioError(f'"{name}" cannot be heard: {_why(error)}.') from error
    if not container.streams.audio:
        container.close()
        raise AudioError(f'"{name}" holds no sound.')
    return container


def _decoded(container: Any, rate_hz: int) -> Iterator[tuple[float, Samples]]:
    """The mono samples of a container's first stream of sound, at ``rate_hz``, and how many seconds lack before them.

    Packets that are damaged are left out, as players do.
    """
    import av

    resampler, due_s = av.AudioResampler(format="fltp", rate=rate_hz), None
    for packet in container.demux(container.streams.audio[0]):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            lost_s = frame.time - due_s if frame.time is not None and due_s is not None else 0.0
            due_s = (due_s or 0.0 if frame.time is None else frame.time) + frame.samples / frame.sample_rate
            for whole in resampler.resample(frame):
                samples = to_mono(np.ascontiguousarray(whole.to_ndarray().T))
                yield lost_s if JUMP_S[0] <= lost_s <= JUMP_S[1] else 0.0, samples
                lost_s = 0.0


def standard_input() -> BinaryIO:
    """Standard input as a pipe of bytes that is read without waiting for a buffer to fill.

    >>> with standard_input() as file:
    ...     file.readable()
    True
    """
    with suppress(OSError, ValueError):
        return os.fdopen(os.dup(0), "rb", buffering=1 << 16)
    raise AudioError("standard input is closed: pipe PCM into it.")

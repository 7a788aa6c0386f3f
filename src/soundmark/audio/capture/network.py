"""Network streams (RTSP, HTTP, Icecast), by PyAV; reconnected when they drop."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundmark.audio.capture.source import Block, LiveSource
from soundmark.audio.decoding import Samples
from soundmark.audio.samples import to_mono
from soundmark.errors import AudioError, SettingsError

BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # before each further try; the last again and again


CONNECT_S = 10.0  # until an address that does not answer counts as gone


SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "srt", "udp", "rtp", "tcp")


# What FFmpeg may open on an address's behalf: a playlist from elsewhere shall not name a file here.
PROTOCOLS = "rtsp,rtsps,http,https,httpproxy,rtmp,srt,udp,rtp,rtcp,tcp,tls,crypto"


JUMP_S = (0.25, 3 * CONNECT_S)  # of a stream's own time: less is jitter, and more is another clock


def open_network(url: str, *, sleep: Callable[[float], None] = time.sleep) -> LiveSource:
    """A stream at an address (RTSP, HTTP, Icecast, …), through PyAV; it is tried again and again when it drops.

    Raises:
        AudioError: it cannot be opened the first time, or holds no sound.
        SettingsError: it is no address of a kind that is heard.

    >>> open_network("file:///etc/passwd")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "file:///etc/passwd" is no address that is heard: give rtsp://…, http://… or ...
    """
    if "://" not in url or url.split("://")[0].lower() not in SCHEMES:
        raise SettingsError(
            f'"{url}" is no address that is heard: give rtsp://…, http://… or https://…, or "-" for PCM.'
        )
    name, first = without_password(url), _open(url)
    station = _Connection(url, name, first, int(first.streams.audio[0].rate), sleep)
    return LiveSource(name, station.rate_hz, station.blocks, is_live=True)


def without_password(url: str) -> str:
    """The address as it may be shown: who is let in, and by what password, is nobody's business.

    >>> without_password("rtsp://me:secret@camera/audio")
    'rtsp://camera/audio'
    """
    return re.sub(r"(://)[^/?#]*@", r"\1", url, count=1)


@dataclass
class _Connection:
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

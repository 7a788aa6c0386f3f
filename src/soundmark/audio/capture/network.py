"""Receive network streams (RTSP, HTTP, Icecast) with PyAV; reconnect when the connection drops."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from soundmark.audio.capture.source import Block, LiveSource, mono_block
from soundmark.errors import AudioError, SettingsError

BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # waiting times before reconnection attempts; the last one repeats


CONNECT_S = 10.0  # timeout for connecting and reading


STREAM_ENDED = "the stream ended"


SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "srt", "udp", "rtp", "tcp")


# Protocols that FFmpeg may use: a remote playlist must not open local files.
PROTOCOLS = "rtsp,rtsps,http,https,httpproxy,rtmp,srt,udp,rtp,rtcp,tcp,tls,crypto"


JUMP_S = (0.25, 3 * CONNECT_S)  # gaps in timestamps that count as lost: shorter is jitter, longer is another clock


def open_network(url: str, *, sleep: Callable[[float], None] = time.sleep) -> LiveSource:
    """Open a network stream (RTSP, HTTP, Icecast, …) with PyAV. A dropped connection is retried without limit.

    Raises:
        AudioError: the first connection fails, or the stream contains no audio.
        SettingsError: the URL is not supported.

    >>> open_network("file:///etc/passwd")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "file:///etc/passwd" is not a supported stream URL: give rtsp://…, http://… or ...
    """
    if "://" not in url or url.split("://")[0].lower() not in SCHEMES:
        name = without_password(url)
        raise SettingsError(
            f'"{name}" is not a supported stream URL: give rtsp://…, http://… or https://…, or "-" for PCM.'
        )
    name, container = without_password(url), _open(url)
    connection = _Connection(url, name, container, int(container.streams.audio[0].rate), sleep)
    return LiveSource(name, connection.rate_hz, connection.blocks, is_live=True)


def without_password(url: str) -> str:
    """Remove the user name and password from a URL, for display.

    Of an invalid URL, everything before the last "@" that may be a password is removed.

    >>> without_password("rtsp://me:secret@camera/audio"), without_password("rtsp://me:sec/ret@camera/audio")
    ('rtsp://camera/audio', 'rtsp://camera/audio')
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return re.sub(r".*:.*@", "", url, flags=re.DOTALL)
    rest = re.sub(r"[^/?#]*@", "", rest, count=1) if re.match(r"[^/?#]*@", rest) else rest
    if not re.fullmatch(r"(\[[^]]*\]|[^:/?#]*)(:\d*)?([/?].*)?", rest, re.DOTALL):  # its "port" may be a password
        rest = re.sub(r".*@", "", rest, flags=re.DOTALL)
    return f"{scheme}://{rest}"


@dataclass
class _Connection:
    """A connection to a stream; ``container`` is the open PyAV container."""

    url: str
    name: str
    container: Any
    rate_hz: int
    sleep: Callable[[float], None]
    attempts: int = 0  # reconnection attempts since the last block
    last_block_s: float = 0.0  # time of the last block, monotonic clock

    def blocks(self) -> Iterator[Block]:
        """Yield blocks until the end of a file; reconnect when the connection drops."""
        self.last_block_s, reconnected = time.monotonic(), False
        while True:
            received_s, reason = 0.0, STREAM_ENDED
            try:
                for block in _decoded(self.container, self.rate_hz):
                    yield self._first_block(block) if reconnected else block
                    self.attempts, self.last_block_s, reconnected = 0, time.monotonic(), False
                    received_s += block.lost_s + len(block.samples) / self.rate_hz
            except _errors() as error:
                reason = _reason(error)
            if reason == STREAM_ENDED and self._is_complete_file(received_s):
                return
            yield from self._reconnect(reason)
            reconnected = True

    def _first_block(self, block: Block) -> Block:
        """Return the first block after a reconnection; it reports how long the stream was missing."""
        lost_s = time.monotonic() - self.last_block_s
        return replace(block, lost_s=lost_s, note=f'"{self.name}" is connected again after {lost_s:.0f} s')

    def _is_complete_file(self, received_s: float) -> bool:
        """Return whether the source is a file that was received to its end, and not a stream that dropped."""
        return bool(self.container.duration) and received_s >= self.container.duration / 1e6 - 1.0

    def _reconnect(self, reason: str) -> Iterator[Block]:
        """Yield an empty block with a note for each attempt, until the URL is open again."""
        self.container.close()
        while reason:
            wait_s = BACK_OFF_S[min(self.attempts, len(BACK_OFF_S) - 1)]
            note = f'"{self.name}" dropped ({reason}): trying again in {wait_s:g} s'
            yield Block(np.zeros(0, np.float32), note=note)
            self.sleep(wait_s)
            self.attempts += 1
            try:
                self.container, reason = _open(self.url), ""
            except AudioError as error:
                reason = _reason(error.__cause__ or error)


def _reason(error: BaseException) -> str:
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
        raise AudioError(f'cannot open "{name}": {_reason(error)}.') from error
    if not container.streams.audio:
        container.close()
        raise AudioError(f'"{name}" contains no audio stream.')
    return container


def _decoded(container: Any, rate_hz: int) -> Iterator[Block]:
    """Yield blocks at ``rate_hz`` from the first audio stream.

    Damaged packets are skipped, as in media players.
    """
    import av

    resampler, expected_s = av.AudioResampler(format="fltp", rate=rate_hz), None
    for packet in container.demux(container.streams.audio[0]):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            lost_s = frame.time - expected_s if frame.time is not None and expected_s is not None else 0.0
            start_s = (expected_s or 0.0) if frame.time is None else frame.time
            expected_s = start_s + frame.samples / frame.sample_rate
            for resampled in resampler.resample(frame):
                frames = np.ascontiguousarray(resampled.to_ndarray().T)
                yield mono_block(frames, lost_s=lost_s if JUMP_S[0] <= lost_s <= JUMP_S[1] else 0.0)
                lost_s = 0.0

"""The clip of each event, kept as a file within a bound on the disk; and the event, posted to an address.

Neither holds up who listens: what cannot be written or posted is said and counted.
"""

from __future__ import annotations

import http.client
import queue
import re
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from soundmark import atomic, audio
from soundmark.audio import Samples
from soundmark.errors import OutputError, SettingsError
from soundmark.events import Event

KEPT_S = 120.0  # of the past, for clips: of a longer event, its end
MARGIN_S = 0.5  # kept before and behind an event
OURS = re.compile(r"\d{8}T\d{6}\.\d{3}Z_.+\.wav")  # how clips are called; no other file is ever deleted
TRIES_AFTER_S = (0.0, 1.0, 4.0, 15.0)
ANSWER_S = 10.0
MOST_WAITING = 256  # events that wait to be posted


class Clips:
    """Writes the sound of events into ``folder``, 16-bit WAV at ``rate_hz``, at most ``most_bytes`` of them.

    The oldest clips go first; a file that is not called as clips are is never touched.

    >>> clips = Clips(folder / "kept", rate_hz=8000, most_bytes=1_000_000)
    >>> clips.hear(0, np.zeros(80_000, np.float32))
    >>> path = clips.keep(Event(label="dog bark", start_s=2.0, stop_s=4.0, confidence=0.9, peak=0.9), None)
    >>> path.name[19:], audio.info(path).duration_s
    ('Z_dog_bark.wav', 3.0)
    """

    def __init__(self, folder: Path, *, rate_hz: int, most_bytes: int) -> None:
        self.folder = atomic.make_folder(folder, "Choose another folder with --save.")
        self.rate_hz, self.most_bytes = rate_hz, most_bytes
        self._past: deque[tuple[int, Samples]] = deque()

    def hear(self, place: int, samples: Samples) -> None:
        """``samples`` [n], the first of which is sample number ``place`` of the stream."""
        self._past.append((place, samples))
        while self._past and self._past[0][0] + len(self._past[0][1]) < place - KEPT_S * self.rate_hz:
            self._past.popleft()

    def keep(self, event: Event, began: datetime | None) -> Path | None:
        """Write the clip of an event; None where its sound is no longer there."""
        first = round((event.start_s - MARGIN_S) * self.rate_hz)
        last = round((event.stop_s + MARGIN_S) * self.rate_hz)
        parts = [
            samples[max(0, first - place) : max(0, last - place)]
            for place, samples in self._past
            if place < last and place + len(samples) > first
        ]
        if not parts:
            return None
        moment = began + timedelta(seconds=event.start_s) if began else datetime.now(UTC)
        stamp = moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        label = re.sub(r"[^\w-]+", "_", event.label)[:60] or "_"
        path = self._free(f"{stamp}Z_{label}")
        audio.write(path, np.concatenate(parts), self.rate_hz)
        self._make_room()
        return path

    def _free(self, name: str) -> Path:
        """A path of that name that nothing has: two events of a pipe that is read fast share a millisecond."""
        number, path = 1, self.folder / f"{name}.wav"
        while path.exists():
            number += 1
            path = self.folder / f"{name}_{number}.wav"
        return path

    def _make_room(self) -> None:
        ours = self._ours()
        total = sum(size for _, size in ours)
        for path, size in ours[:-1]:  # the newest stays, however large
            if total <= self.most_bytes:
                return
            with suppress(OSError):  # it may not be deleted, and the next may; or another listener was faster
                path.unlink(missing_ok=True)
                total -= size

    def _ours(self) -> list[tuple[Path, int]]:
        """The clips and their sizes, the oldest first."""
        found = []
        for path in self.folder.iterdir():
            if OURS.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                with suppress(FileNotFoundError):  # another listener makes room, too
                    found.append((path, path.stat().st_size))
        return sorted(found)


class Post:
    """Posts events as JSON to an address, in a thread of its own; tries again, and says what could not be posted.

    Raises:
        SettingsError: it is no address that can be posted to.

    >>> Post("ftp://example.org", say=print)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "ftp://example.org" cannot be posted to: give http://… or https://….
    """

    def __init__(self, url: str, *, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> None:
        if not re.match(r"https?://[^/\s]", url, re.IGNORECASE):
            raise SettingsError(f'"{url}" cannot be posted to: give http://… or https://….')
        self.url, self.say, self.sleep = url, say, sleep
        self.posted = self.failed = 0
        self._given = 0
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def post(self, line: str) -> None:
        """Post a line of JSON, later."""
        self._given += 1
        try:
            self._waiting.put_nowait(line.encode())
        except queue.Full:
            self._fail("too many wait already")

    def close(self, wait_s: float = 5.0) -> None:
        """Wait for what is under way, a moment; what is not posted by then is said."""
        until = time.monotonic() + wait_s
        with suppress(queue.Full):
            self._waiting.put(None, timeout=wait_s)
            self._thread.join(max(0.0, until - time.monotonic()))
        if left := self._given - self.posted - self.failed:
            self.say(f'"{self.url}" was not sent the last {_events(left)}: there was no time left to try again')

    def _run(self) -> None:
        while (body := self._waiting.get()) is not None:
            why = ""
            for wait_s in TRIES_AFTER_S:
                self.sleep(wait_s)
                why = self._try(body)
                if not why:
                    self.posted += 1
                    break
            else:
                self._fail(why)

    def _try(self, body: bytes) -> str:
        """Why it could not be posted; "" when it was."""
        headers = {"Content-Type": "application/json", "User-Agent": "soundmark"}
        request = urllib.request.Request(self.url, body, headers, method="POST")  # noqa: S310 - http(s) alone
        try:
            with self._opener.open(request, timeout=ANSWER_S) as answer:
                answer.read(1 << 16)
        except urllib.error.HTTPError as error:
            return f"it answered {error.code}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            return str(getattr(error, "reason", None) or error)
        return ""

    def _fail(self, why: str) -> None:
        self.failed += 1
        self.say(f'"{self.url}" did not take {_events(self.failed)} so far: {why}')


def _events(n: int) -> str:
    return "1 event" if n == 1 else f"{n:,} events"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An event goes where it was meant to go, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def in_megabytes(text: str) -> int:
    """A bound on the disk in bytes, from "500", "500MB" or "2GB".

    Raises:
        SettingsError: it is none.

    >>> in_megabytes("1.5GB"), in_megabytes("200")
    (1500000000, 200000000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB)?", text.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise SettingsError(f'the bound is "{text}": give megabytes, as 500, or 2GB.')
    return int(float(found[1]) * (1e9 if (found[2] or "").upper() == "GB" else 1e6))


def keep_or_say(clips: Clips, event: Event, began: datetime | None, say: Callable[[str], None]) -> None:
    """``Clips.keep``, where a full disk, or a folder that may not be looked into, is no reason to stop listening.

    >>> clips = Clips(folder / "kept", rate_hz=8000, most_bytes=1000)
    >>> keep_or_say(clips, Event(label="dog", start_s=0.0, stop_s=1.0, confidence=1.0, peak=1.0), None, print)
    """
    try:
        clips.keep(event, began)
    except (OutputError, OSError) as error:
        say(str(error))

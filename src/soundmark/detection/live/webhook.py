"""Each event, posted to an address as JSON."""

from __future__ import annotations

import http.client
import queue
import re
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from soundmark.errors import SettingsError

TRIES_AFTER_S = (0.0, 1.0, 4.0, 15.0)


ANSWER_S = 10.0


MOST_WAITING = 256  # events that wait to be posted


class Webhook:
    """Posts events as JSON to an address, in a separate thread; retries, and reports failures to ``note``.

    Raises:
        SettingsError: the address is not an http or https URL.

    >>> Webhook("ftp://example.org", note=print)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: "ftp://example.org" cannot be posted to: give http://… or https://….
    """

    def __init__(self, url: str, *, note: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> None:
        if not re.match(r"https?://[^/\s]", url, re.IGNORECASE):
            raise SettingsError(f'"{url}" cannot be posted to: give http://… or https://….')
        self.url, self.note, self.sleep = url, note, sleep
        self.posted = self.failed = 0
        self._accepted = 0
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def post(self, line: str) -> None:
        """Queue a line of JSON to be posted."""
        self._accepted += 1
        try:
            self._waiting.put_nowait(line.encode())
        except queue.Full:
            self._fail("too many wait already")

    def close(self, wait_s: float = 5.0) -> None:
        """Wait at most ``wait_s`` for events that are being posted; the rest is reported."""
        until = time.monotonic() + wait_s
        with suppress(queue.Full):
            self._waiting.put(None, timeout=wait_s)
            self._thread.join(max(0.0, until - time.monotonic()))
        if left := self._accepted - self.posted - self.failed:
            self.note(f'"{self.url}" was not sent the last {_events(left)}: there was no time left to try again')

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
        """The reason why it could not be posted; "" if it was."""
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
        self.note(f'"{self.url}" did not take {_events(self.failed)} so far: {why}')


def _events(n: int) -> str:
    return "1 event" if n == 1 else f"{n:,} events"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: events are posted to the given address only."""

    def redirect_request(self, *_: Any) -> None:
        return None

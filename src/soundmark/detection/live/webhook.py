"""Post each event to a URL as JSON."""

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
from soundmark.runtime.text import counted

RETRY_DELAYS_S = (0.0, 1.0, 4.0, 15.0)  # before each attempt


TIMEOUT_S = 10.0  # of one attempt


MAX_QUEUED = 256  # events


class Webhook:
    """Posts events as JSON to a URL, in a separate thread; retries, and reports failures to ``note``.

    Raises:
        SettingsError: the URL is not http or https.

    >>> Webhook("ftp://example.org", note=print)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: events cannot be posted to "ftp://example.org": expected http://… or https://….
    """

    def __init__(self, url: str, *, note: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> None:
        if not re.match(r"https?://[^/\s]", url, re.IGNORECASE):
            raise SettingsError(f'events cannot be posted to "{url}": expected http://… or https://….')
        self.url, self.note, self.sleep = url, note, sleep
        self.posted = self.failed = 0
        self._accepted = 0
        self._queue: queue.Queue[bytes | None] = queue.Queue(MAX_QUEUED)
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def post(self, line: str) -> None:
        """Queue a line of JSON to be posted."""
        self._accepted += 1
        try:
            self._queue.put_nowait(line.encode())
        except queue.Full:
            self._fail(f"{MAX_QUEUED} events are already queued")

    def close(self, wait_s: float = 5.0) -> None:
        """Wait at most ``wait_s`` for queued events to be posted; report those that are left."""
        until = time.monotonic() + wait_s
        with suppress(queue.Full):
            self._queue.put(None, timeout=wait_s)
            self._thread.join(max(0.0, until - time.monotonic()))
        if left := self._accepted - self.posted - self.failed:
            self.note(f'the last {counted(left, "event")} could not be posted to "{self.url}" before the end')

    def _run(self) -> None:
        while (body := self._queue.get()) is not None:
            reason = ""
            for delay_s in RETRY_DELAYS_S:
                self.sleep(delay_s)
                reason = self._try(body)
                if not reason:
                    self.posted += 1
                    break
            else:
                self._fail(reason)

    def _try(self, body: bytes) -> str:
        """Post ``body`` once; return the reason for a failure, or "" on success."""
        headers = {"Content-Type": "application/json", "User-Agent": "soundmark"}
        request = urllib.request.Request(self.url, body, headers, method="POST")  # noqa: S310 - only http and https
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                answer.read(1 << 16)
        except urllib.error.HTTPError as error:
            return f"the server answered with status {error.code}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            return str(getattr(error, "reason", None) or error)
        return ""

    def _fail(self, reason: str) -> None:
        self.failed += 1
        self.note(f'{counted(self.failed, "event")} could not be posted to "{self.url}" so far: {reason}')


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: events are posted to the given URL only."""

    def redirect_request(self, *_: Any) -> None:
        return None

"""Post each event to a URL as JSON. A server that is slow, or never ends its answer, delays nothing else."""

from __future__ import annotations

import base64
import http.client
import io
import queue
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from soundmark.audio.capture.network import without_password
from soundmark.detection.live.repeated_notes import RepeatedNotes
from soundmark.errors import SettingsError
from soundmark.runtime.text import counted

RETRY_DELAYS_S = (0.0, 1.0, 4.0, 15.0)  # before each attempt


TIMEOUT_S = 10.0  # of one attempt: from the lookup of the host's name to the end of the answer's headers


MAX_ANSWER_BYTES = 1 << 16  # with its headers, and all interim answers such as "100 Continue"


MAX_QUEUED = 256  # events


class Webhook:
    """Posts events as JSON to a URL, in a separate thread; retries, and reports failures to ``note``.

    A user name and password in the URL are sent as HTTP Basic authentication, and never displayed. Each attempt ends
    after ``timeout_s``, whatever the server does. Failures are reported at most once a minute by ``clock``, and at the
    end.

    Raises:
        SettingsError: the URL is not http or https.

    >>> Webhook("ftp://example.org", note=print)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: events cannot be posted to "ftp://example.org": expected http://… or https://….
    """

    def __init__(
        self,
        url: str,
        *,
        note: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = without_password(url)
        self._address, self._headers = _address_and_headers(url)
        self.note, self.sleep, self.timeout_s = note, sleep, timeout_s
        self.posted = self.failed = 0
        self._accepted = self._reported = 0
        self._reason = ""  # of the last failure
        self._repeated, self._lock = RepeatedNotes(clock), threading.Lock()
        self._queue: queue.Queue[bytes | None] = queue.Queue(MAX_QUEUED)
        self._opener = urllib.request.build_opener(_NoRedirect, _BoundedHTTP, _BoundedHTTPS)
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
        if self.failed > self._reported:
            self._report()
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
        """Post ``body`` once; return the reason for a failure, or "" on success.

        Each attempt runs in a separate thread: the timeouts of sockets and of name lookup do not bound their sum.
        """
        request = urllib.request.Request(self._address, body, self._headers, method="POST")  # noqa: S310 - only http(s)
        outcome: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=lambda: outcome.put(self._send(request)), daemon=True).start()
        try:
            return outcome.get(timeout=self.timeout_s)
        except queue.Empty:
            return self._timed_out()

    def _send(self, request: urllib.request.Request) -> str:
        """Send a request, and read the answer up to the end of its headers."""
        try:
            self._opener.open(request, timeout=self.timeout_s).close()
        except urllib.error.HTTPError as error:
            error.close()
            return f"the server answered with status {error.code}"
        except TimeoutError:
            return self._timed_out()
        except (OSError, ValueError, http.client.HTTPException) as error:
            return str(getattr(error, "reason", None) or error)
        return ""

    def _timed_out(self) -> str:
        return f"the server did not answer within {self.timeout_s:g} s"

    def _fail(self, reason: str) -> None:
        with self._lock:  # called by the thread that posts, and by the one that adds events
            self.failed += 1
            self._reason = reason
            due = self._repeated.is_due("failed")
        if due:
            self._report()

    def _report(self) -> None:
        self._reported = self.failed
        self.note(f'{counted(self.failed, "event")} could not be posted to "{self.url}" so far: {self._reason}')


def _address_and_headers(url: str) -> tuple[str, dict[str, str]]:
    """Split a URL into the URL without user name and password, and the headers of a request.

    Raises:
        SettingsError: the URL is not http or https.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "soundmark"}
    try:
        parts = urlsplit(url)
        is_valid = bool(re.match(r"https?://[^/\s]", url, re.IGNORECASE) and parts.hostname and parts.port != 0)
    except ValueError:  # an invalid port or IPv6 address; its message may contain the password
        is_valid = False
    if not is_valid:
        raise SettingsError(f'events cannot be posted to "{without_password(url)}": expected http://… or https://….')
    user, at, host = parts.netloc.rpartition("@")
    if at:
        name, _, password = user.partition(":")
        credentials = f"{unquote(name)}:{unquote(password)}".encode(errors="surrogateescape")
        headers["Authorization"] = "Basic " + base64.b64encode(credentials).decode()
    return urlunsplit(parts._replace(netloc=host)) if at else url, headers


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: events are posted to the given URL only."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _BoundedHTTP(urllib.request.HTTPHandler):
    """Opens connections whose answers are bounded in time and size."""

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(partial(_bounded, http.client.HTTPConnection), request)


class _BoundedHTTPS(urllib.request.HTTPSHandler):
    """The same, encrypted."""

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(partial(_bounded, http.client.HTTPSConnection), request)


def _bounded(kind: type[http.client.HTTPConnection], host: str, *, timeout: float, **options: Any) -> Any:
    connection = kind(host, timeout=timeout, **options)
    connection.response_class = partial(_BoundedResponse, deadline=time.monotonic() + timeout)  # type: ignore[assignment]
    return connection


class _BoundedResponse(http.client.HTTPResponse):
    """An answer that is read until ``deadline`` (monotonic clock), and up to ``MAX_ANSWER_BYTES``.

    Without it, the timeout is for each read of the socket, and ``http.client`` reads interim answers without end.
    """

    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_BoundedReader(sock, self.fp.detach(), deadline))


class _BoundedReader(io.RawIOBase):
    """The bytes that ``raw`` reads from a socket, until a deadline."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, deadline: float) -> None:
        self._socket, self._raw, self._deadline = sock, raw, deadline
        self._left = MAX_ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        if not self._left:
            raise OSError(f"the answer is longer than {MAX_ANSWER_BYTES >> 10} KiB")
        self._socket.settimeout(left_s)
        n = self._raw.readinto(memoryview(buffer)[: self._left])
        self._left -= n or 0
        return n

    def close(self) -> None:
        self._raw.close()
        super().close()

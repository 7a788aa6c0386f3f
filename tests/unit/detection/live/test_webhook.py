"""Events posted to a real HTTP server that sometimes fails: retries, redirects, shutdown."""

import base64
import contextlib
import http.server
import json
import socket
import threading
import time
import traceback

import pytest

from soundmark.detection.live import webhook
from soundmark.errors import SettingsError
from support.servers import QuietHandler, serving


@pytest.fixture
def server():
    """An HTTP server that answers with the statuses in ``planned``, then 200; it stores what it accepted."""

    class Handler(QuietHandler, http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = self.server.planned.pop(0) if self.server.planned else 200
            if status == 200:
                self.server.accepted.append((self.path, self.headers["Content-Type"], body))
                self.server.authorization.append(self.headers["Authorization"])
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.accepted, server.planned, server.authorization = [], [], []
    with serving(server) as address:
        server.url = f"{address}/events"
        yield server


def test_an_event_is_posted_again_after_the_server_failed_twice(server):
    server.planned, delays = [500, 503], []
    hook = webhook.Webhook(server.url, note=pytest.fail, sleep=delays.append)
    hook.post('{"label": "dog"}')
    hook.post('{"label": "siren"}')
    hook.close()
    assert [body["label"] for _, _, body in server.accepted] == ["dog", "siren"]
    assert server.accepted[0][1] == "application/json"
    assert delays == [0.0, 1.0, 4.0, 0.0]
    assert (hook.posted, hook.failed) == (2, 0)


def test_a_failed_event_is_reported_and_the_next_one_is_posted(server):
    server.planned, notes = [500] * len(webhook.RETRY_DELAYS_S), []
    hook = webhook.Webhook(server.url, note=notes.append, sleep=lambda s: None)
    hook.post('{"label": "dog"}')
    hook.post('{"label": "siren"}')
    hook.close()
    assert [body["label"] for _, _, body in server.accepted] == ["siren"]
    assert notes == [f'1 event could not be posted to "{server.url}" so far: the server answered with status 500']


def test_redirects_are_not_followed(server):
    server.planned, notes = [302] * len(webhook.RETRY_DELAYS_S), []
    hook = webhook.Webhook(server.url, note=notes.append, sleep=lambda s: None)
    hook.post("{}")
    hook.close()
    assert server.accepted == []
    assert "the server answered with status 302" in notes[0]


def test_a_refused_connection_is_reported():
    notes: list[str] = []
    hook = webhook.Webhook("http://127.0.0.1:9/", note=notes.append, sleep=lambda s: None)
    hook.post("{}")
    hook.close()
    assert "Connection refused" in notes[0]


def test_a_server_that_does_not_speak_http_is_reported_and_posting_continues():
    """Such an answer raises HTTPException, which is not an OSError."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer_like_smtp():
        for _ in webhook.RETRY_DELAYS_S:
            with listener.accept()[0] as connection:
                connection.recv(1 << 16)
                connection.sendall(b"220 smtp here\r\n\r\n")

    threading.Thread(target=answer_like_smtp, daemon=True).start()
    notes: list[str] = []
    hook = webhook.Webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/", note=notes.append, sleep=lambda s: None)
    hook.post("{}")
    deadline = time.monotonic() + 20
    while not hook.failed and time.monotonic() < deadline:
        time.sleep(0.01)
    listener.close()
    hook.post("{}")
    hook.close()
    assert len(notes) == hook.failed == 2
    assert "220 smtp here" in notes[0]


def test_events_left_at_the_end_are_reported_without_waiting_for_retries(server):
    server.planned, notes = [500] * 100, []
    retry, slept = threading.Event(), []

    def sleep(delay_s: float) -> None:
        if delay_s:
            retry.wait(20)
        slept.append(delay_s)

    hook = webhook.Webhook(server.url, note=notes.append, sleep=sleep)
    for _ in range(3):
        hook.post("{}")
    hook.close(0.5)
    assert slept == [0.0]  # close returned while the first event still waits for its first retry
    assert notes == [f'the last 3 events could not be posted to "{server.url}" before the end']
    retry.set()


@pytest.mark.parametrize("url", ["ftp://a", "file:///etc/passwd", "http://", "example.org"])
def test_a_url_that_is_not_http_is_rejected(url):
    with pytest.raises(SettingsError, match="events cannot be posted to .*: expected http"):
        webhook.Webhook(url, note=print)


# ── servers that do not finish their answer ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def hostile_server():
    """A function that starts a server: it answers each request with ``chunks`` without end, and ends with the test."""
    listeners, stop = [], threading.Event()

    def serve(chunk: bytes, pause_s: float, first: bytes = b"") -> tuple[str, list[int]]:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        sent: list[int] = []

        def answer(connection: socket.socket) -> None:
            sent.append(0)
            number = len(sent) - 1
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(first)
                while not stop.wait(pause_s):
                    connection.sendall(chunk)
                    sent[number] += len(chunk)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/", sent

    yield serve
    stop.set()
    for listener in listeners:
        listener.close()


def post_and_wait(url: str, **options) -> tuple[webhook.Webhook, list[str]]:
    notes: list[str] = []
    hook = webhook.Webhook(url, note=notes.append, sleep=lambda s: None, **options)
    hook.post("{}")
    hook.close(wait_s=60.0)
    return hook, notes


def test_the_time_limit_is_for_the_whole_answer_and_not_for_each_byte(hostile_server):
    url, _ = hostile_server(b"H", pause_s=0.05)
    hook, notes = post_and_wait(url, timeout_s=0.4)
    assert (hook.posted, hook.failed) == (0, 1)
    assert notes == [f'1 event could not be posted to "{url}" so far: the server did not answer within 0.4 s']


@pytest.mark.parametrize(
    ("first", "chunk"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\n", b"".join(b"X-%d: y\r\n" % number for number in range(50))),
        (b"", b"HTTP/1.1 100 Continue\r\n" + b"X: y\r\n" * 90 + b"\r\n"),
    ],
)
def test_an_endless_answer_is_read_only_to_a_limit(hostile_server, first, chunk):
    url, sent = hostile_server(chunk, pause_s=0.0, first=first)
    hook, notes = post_and_wait(url, timeout_s=30.0)
    assert (hook.posted, hook.failed) == (0, 1)
    assert len(sent) == len(webhook.RETRY_DELAYS_S)
    assert "the answer is longer than 64 KiB" in notes[0] or "got more than 100 headers" in notes[0]


def test_an_event_is_posted_once_the_server_has_accepted_it_whatever_it_sends_then(hostile_server):
    url, sent = hostile_server(b"x" * 100, pause_s=0.01, first=b"HTTP/1.1 200 OK\r\n\r\n")
    hook, notes = post_and_wait(url, timeout_s=30.0)
    assert (hook.posted, hook.failed, notes, len(sent)) == (1, 0, [], 1)


def test_posting_does_not_wait_for_the_server(hostile_server):
    """The queue is bounded: further events are counted as failed at once."""
    url, _ = hostile_server(b"H", pause_s=0.05)
    notes: list[str] = []
    hook = webhook.Webhook(url, note=notes.append, sleep=lambda s: None, timeout_s=30.0)
    for _ in range(webhook.MAX_QUEUED + 50):
        hook.post("{}")
    assert hook.failed >= 49  # one event may be in work
    assert "256 events are already queued" in notes[0]
    hook.close(wait_s=0.0)


def test_failures_are_reported_at_most_once_a_minute_and_counted_at_the_end():
    notes: list[str] = []
    hook = webhook.Webhook("http://127.0.0.1:9/", note=notes.append, sleep=lambda s: None, clock=lambda: 7.0)
    for _ in range(20):
        hook.post("{}")
    hook.close(60.0)
    assert [note.split(" could")[0] for note in notes] == ["1 event", "20 events"]


# ── passwords ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_password_in_the_address_is_sent_as_basic_authentication_and_never_printed(server):
    server.planned, notes = [500] * len(webhook.RETRY_DELAYS_S), []
    url = server.url.replace("://", "://m%40e:s%3Aecr%C3%A9t@")
    hook = webhook.Webhook(url, note=notes.append, sleep=lambda s: None)
    hook.post('{"label": "dog"}')
    hook.post('{"label": "siren"}')
    hook.close()
    assert [body["label"] for _, _, body in server.accepted] == ["siren"]
    assert server.authorization == ["Basic " + base64.b64encode("m@e:s:ecrét".encode()).decode()]
    assert notes == [f'1 event could not be posted to "{server.url}" so far: the server answered with status 500']


@pytest.mark.parametrize(
    "url",
    [
        "ftp://me:secret@host/events",
        "me:secret@host/events",
        "http:/me:secret@host/events",
        "http://me:sec/secret@host/events",
        "http://me:secret@host:99999/events",
        "http://me:secret@[host/events",
        "http://me:secret@/events",
    ],
)
def test_the_message_for_an_invalid_address_does_not_contain_the_password(url):
    with pytest.raises(SettingsError, match="events cannot be posted to .*: expected http") as raised:
        webhook.Webhook(url, note=print)
    assert "secret" not in str(raised.value)
    assert "secret" not in "".join(traceback.format_exception(raised.value))

"""Events posted to a real HTTP server that sometimes fails: retries, redirects, shutdown."""

import http.server
import json
import socket
import threading
import time

import pytest

from soundmark.detection.live import webhook
from soundmark.errors import SettingsError


@pytest.fixture
def server():
    """An HTTP server that answers with the statuses in ``planned``, then 200; it stores what it accepted."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = self.server.planned.pop(0) if self.server.planned else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            if status == 200:
                self.server.accepted.append((self.path, self.headers["Content-Type"], body))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.accepted, server.planned = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}/events"
    yield server
    server.shutdown()
    server.server_close()


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

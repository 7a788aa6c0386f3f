"""Clients that send nothing, or their headers slowly, lose their connection; slow bodies and idle WebSockets do not."""

import socket
import time

import pytest
from websockets.sync.client import connect

from soundmark.serving.http import headers_timeout
from support.serving import Running, running

LIMIT_S = 0.6


@pytest.fixture(scope="module")
def impatient(detector):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(headers_timeout, "HEADERS_S", LIMIT_S)
        with running(detector) as found:
            yield found


def opened(server: Running) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def received(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(4096):
        parts.append(part)
    return b"".join(parts)


def test_a_client_that_sends_nothing(impatient):
    with opened(impatient) as connection:
        started = time.monotonic()
        assert received(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert time.monotonic() - started < 5 * LIMIT_S


def test_a_client_that_sends_a_header_now_and_then(impatient):
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for _ in range(80):
            connection.sendall(b"X-Slow: 1\r\n")
            time.sleep(LIMIT_S / 4)

    with opened(impatient) as connection:
        started = time.monotonic()
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            drip(connection)
        assert time.monotonic() - started < 5 * LIMIT_S


def test_the_second_request_of_a_connection_has_the_same_limit(impatient):
    with opened(impatient) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        first = b""
        while b'{"status":"ok"}' not in first:
            first += connection.recv(4096)
        time.sleep(1.5 * LIMIT_S)  # idle: uvicorn's own limit
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert b"408 Request Timeout" in received(connection)


def test_a_slow_body_is_not_affected(impatient, sound):
    def slowly():
        for start in range(0, len(sound), len(sound) // 4 + 1):
            time.sleep(LIMIT_S / 2)
            yield sound[start : start + len(sound) // 4 + 1]

    assert impatient.post("/v1/classify", slowly()).status_code == 200


def test_an_idle_web_socket_is_not_affected(impatient):
    with connect(f"{impatient.url.replace('http', 'ws')}/v1/listen?rate=22050") as live:
        time.sleep(2 * LIMIT_S)
        live.send(b"")
        assert any('"ended"' in message for message in live)

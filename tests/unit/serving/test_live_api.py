"""WS /v1/listen: the same events as `listen`; overload, gaps, bounds."""

import io
import json
import socket
import time
from contextlib import ExitStack, suppress

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import soundmark as sm
from soundmark.serving import updates
from support.serving import running
from support.sounds import RATE_HZ, pcm


def of_kind(messages: list[dict], kind: str) -> list[dict]:
    return [message for message in messages if message["kind"] == kind]


def events_of(messages: list[dict]) -> list[tuple]:
    events = [event for message in of_kind(messages, "events") for event in message["events"]]
    return [(event["label"], event["start_s"], event["stop_s"], event["confidence"]) for event in events]


@pytest.mark.parametrize("hop_s", [None, 0.25])
def test_events_are_those_of_listen(server, detector, samples, hop_s):
    options = {} if hop_s is None else {"hop": hop_s}
    found = events_of(server.listen(pcm(samples), rate=RATE_HZ, **options))
    expected = list(sm.listen(detector, io.BytesIO(pcm(samples)), rate_hz=RATE_HZ, hop_s=hop_s))
    assert {label for label, *_ in found} == {"low", "high"}
    for event, (label, *numbers) in zip(expected, found, strict=True):
        assert label == event.label
        assert numbers == pytest.approx([event.start_s, event.stop_s, event.confidence], abs=1e-6)


def test_floats_and_channels_are_read(server, samples):
    stereo = np.stack([samples, samples], axis=1).astype("<f4").tobytes()
    found = server.listen(stereo, rate=RATE_HZ, channels=2, sample_format="f32")
    assert [label for label, *_ in events_of(found)] == ["low", "high"]


def test_messages_begin_and_end(server, detector, samples):
    messages = server.listen(pcm(samples), rate=RATE_HZ, spectrogram="true")
    assert messages[0]["kind"] == "opened"
    assert messages[0]["classes"] == list(detector.classes)
    assert messages[-1] == {"kind": "ended", "analyzed_s": 12.0, "loss": ""}
    tiles = of_kind(messages, "tile")
    assert [tile["start_s"] for tile in tiles[:3]] == [0.0, pytest.approx(0.25, abs=1e-3), pytest.approx(0.5, abs=1e-3)]
    scores = of_kind(messages, "scores")
    np.testing.assert_allclose(
        np.concatenate([each["probabilities"] for each in scores]),
        detector.scores(samples, RATE_HZ).probabilities,
        atol=1e-6,
    )


def test_rejected_detections_are_sent_on_request(server, samples):
    quiet = server.listen(pcm(samples), rate=RATE_HZ, min_confidence=1)
    assert not of_kind(quiet, "rejections")
    asked = server.listen(pcm(samples), rate=RATE_HZ, min_confidence=1, rejected="true")
    found = [one for message in of_kind(asked, "rejections") for one in message["rejections"]]
    reasons = {(one["label"], one["reason"]) for one in found}
    assert ("low", "below the threshold") in reasons
    assert ("background", "background") in reasons
    assert not events_of(asked)


def test_a_client_that_leaves_ends_its_session(server, samples):
    url = f"{server.url.replace('http', 'ws')}/v1/listen?rate={RATE_HZ}"
    with connect(url) as socket:
        socket.send(pcm(samples))
        assert json.loads(socket.recv())["kind"] == "opened"
        assert server.app.state.context.live.inside == 1
    until = time.monotonic() + 10
    while server.app.state.context.live.inside and time.monotonic() < until:
        time.sleep(0.01)
    assert server.app.state.context.live.inside == 0


def test_sound_that_waits_is_not_analysed_for_a_client_that_left(detector, monkeypatch):
    scored = []
    plain = type(detector).score

    def score(model, windows, *arguments, **options):
        scored.append(len(windows))
        time.sleep(0.05)
        return plain(model, windows, *arguments, **options)

    monkeypatch.setattr(type(detector), "score", score)
    with running(detector) as server:
        with connect(f"{server.url.replace('http', 'ws')}/v1/listen?rate=1000", max_size=None) as socket:
            for _ in range(20):  # twenty minutes
                socket.send(bytes(2 * 60_000))
        until = time.monotonic() + 10
        while server.app.state.context.live.inside and time.monotonic() < until:
            time.sleep(0.01)
        assert server.app.state.context.live.inside == 0
        assert sum(scored) < 600


@pytest.mark.long
def test_messages_for_a_client_that_does_not_read_them_are_bounded(detector, monkeypatch):
    sent = []
    large = {"kind": "tile", "pixels": "A" * 50_000}  # more than the buffers of the system hold
    monkeypatch.setattr(updates, "tile", lambda tile: sent.append(tile) or large)
    request = (
        "GET /v1/listen?rate=1000&spectrogram=true HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    pcm_of_silence = bytes(2 * 400_000)  # 400 s, 1600 tiles
    frame = b"\x82\xff" + len(pcm_of_silence).to_bytes(8, "big") + bytes(4) + pcm_of_silence
    with running(detector) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with socket.create_connection(address) as client:
            client.sendall(request.encode())
            assert client.recv(12) == b"HTTP/1.1 101"
            client.sendall(frame)
            until, n = time.monotonic() + 60, -1
            while (not sent or len(sent) != n) and time.monotonic() < until:  # until no more is sent for a second
                n = len(sent)
                time.sleep(1)
            assert 0 < len(sent) == n < 1000


def test_an_unexpected_error_is_logged_and_sent(detector, samples, monkeypatch, caplog):
    def score(*_: object, **__: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(type(detector), "score", score)
    with (
        running(detector) as server,
        connect(f"{server.url.replace('http', 'ws')}/v1/listen?rate={RATE_HZ}") as connection,
    ):
        connection.send(pcm(samples[: 3 * RATE_HZ]))
        messages = [json.loads(message) for message in connection]
    assert messages[-1]["kind"] == "error"
    assert "this is a bug in soundmark" in messages[-1]["detail"]
    assert "RuntimeError: out of luck" in caplog.text


def test_overload_is_reported_and_the_oldest_sound_is_dropped(detector, samples, monkeypatch):
    slow = type(detector).score

    def score(*arguments, **options):
        time.sleep(0.25)
        return slow(*arguments, **options)

    monkeypatch.setattr(type(detector), "score", score)
    with running(detector) as server:
        messages = server.listen(pcm(samples), rate=RATE_HZ, real_time="true")
    assert any("cannot keep up" in note["detail"] for note in of_kind(messages, "note"))
    assert "were dropped" in messages[-1]["loss"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("rate=1", "rate is 1 Hz: expected 40 to 1000000 Hz."),
        ("rte=8000", 'there is no query parameter "rte". Did you mean "rate"?'),
        ("sample_format=s15", 'there is no sample_format "s15". Did you mean "s16"?'),
        ("hop=9", "the hop is 9 s: expected more than 0 and at most the model's window, 1 s."),
        ("channels=0", "channels is 0: expected a whole number from 1 to 8."),
    ],
)
def test_a_wrong_parameter_is_named(server, query, message):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.url.replace('http', 'ws')}/v1/listen?{query}")
    response = refused.value.response
    assert response.status_code == 400
    assert message in json.loads(response.body)["detail"]


def test_open_web_sockets_are_limited(detector):
    with running(detector, max_live=1) as server:
        url = f"{server.url.replace('http', 'ws')}/v1/listen"
        with connect(url), pytest.raises(InvalidStatus) as refused:
            connect(url)
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "2"


def test_a_page_of_another_origin_cannot_listen(server):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.url.replace('http', 'ws')}/v1/listen", origin="https://evil.example")
    assert refused.value.response.status_code == 403


def test_a_session_ends_when_the_server_is_stopped(detector, samples):
    messages = []
    with ExitStack() as stack, running(detector) as server:
        socket = stack.enter_context(connect(f"{server.url.replace('http', 'ws')}/v1/listen?rate={RATE_HZ}"))
        socket.send(pcm(samples[: 3 * RATE_HZ]))
        messages.append(socket.recv())
        assert stack.pop_all() is not None
    with suppress(ConnectionClosed):
        messages += list(socket)
    assert json.loads(messages[0])["kind"] == "opened"
    assert socket.close_code == 1012  # service restart: connect again

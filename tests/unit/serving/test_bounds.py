"""Every limit is reached, and answered clearly."""

import errno
import os
import signal
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests

from soundmark.errors import AudioError
from soundmark.models import explanation
from soundmark.serving.http import uploads
from soundmark.serving.settings import ServerSettings
from support.serving import running
from support.sounds import tones
from unit.serving.conftest import encoded
from unit.serving.test_classify_api import problem


def test_an_upload_that_declares_too_many_bytes(detector, sound):
    with running(detector, max_upload_bytes=1000) as server:
        assert "larger than 0.001 MB" in problem(server.classify(sound), 413)
        assert "larger than 0.001 MB" in problem(server.post("/v1/classify", files={"file": ("a.wav", sound)}), 413)


def test_an_upload_of_undeclared_length_is_counted(detector, sound):
    with running(detector, max_upload_bytes=1000) as server:
        assert "larger than" in problem(server.post("/v1/classify", iter([sound[:900], sound[900:1800]])), 413)


def test_a_full_disk(detector, sound, monkeypatch):
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with running(detector) as server:
        monkeypatch.setattr(uploads.tempfile, "NamedTemporaryFile", full)
        assert "no disk space left" in problem(server.classify(sound), 507)
        monkeypatch.undo()
        assert server.classify(sound).status_code == 200


def test_a_small_file_that_decodes_to_hours(detector):
    silence = encoded(np.zeros(3600 * 1000, np.float32), 1000, "FLAC")
    assert len(silence) < 100_000
    with running(detector, max_audio_s=1800.0) as server:
        detail = problem(server.classify(silence, format="updates"), 422)
    assert "longer than the 30" in detail
    assert "--max-audio" in detail


def test_a_request_that_takes_too_long_to_arrive(detector, sound):
    def slowly():
        for _ in range(15):
            yield sound[:10]
            time.sleep(0.1)

    with running(detector, max_request_s=0.5) as server:
        assert "took longer than" in problem(server.post("/v1/classify", slowly()), 408)
        assert server.get("/readyz").status_code == 200


def test_a_request_that_takes_too_long_to_analyse(detector, sound, monkeypatch):
    slow, calls = type(detector).score, []

    def score(*arguments, **options):
        calls.append(1)
        time.sleep(5.0 if len(calls) == 2 else 0.0)  # after the first windows were sent
        return slow(*arguments, **options)

    long = encoded(tones(60.0, []))
    with running(detector, max_request_s=4.0, jobs=1) as server:
        server.classify(sound)  # starts the decoder, which an interrupted analysis ends
        monkeypatch.setattr(type(detector), "score", score)
        lines = server.classify(long, format="updates").text.splitlines()
        assert len(lines) > 1
        assert '"kind":"error"' in lines[-1]
        assert "took longer than" in lines[-1]
    calls[:] = [1]
    with running(detector, max_request_s=1.0, jobs=1) as server:
        assert "took longer than" in problem(server.classify(long), 408)


def test_uploads_at_once_are_limited(detector, sound):
    entered, leave = threading.Event(), threading.Event()

    def held():
        yield sound[:1000]
        entered.set()
        leave.wait(30)
        yield sound[1000:]

    with running(detector, max_requests=1) as server:
        answers = []
        first = threading.Thread(target=lambda: answers.append(server.post("/v1/classify", held())))
        first.start()
        entered.wait(10)
        until = time.monotonic() + 10
        while not server.app.state.context.uploads.inside and time.monotonic() < until:
            time.sleep(0.01)
        refused = server.classify(sound)
        assert "busy with 1 uploads" in problem(refused, 503)
        assert refused.headers["Retry-After"] == "2"
        assert problem(server.get("/readyz"), 503)
        assert server.get("/healthz").status_code == 200
        leave.set()
        first.join(30)
        assert answers[0].status_code == 200
        assert server.classify(sound).status_code == 200


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the worker")
def test_a_decoder_that_crashes_ends_the_request_not_the_server(detector, sound):
    def workers(module: bytes) -> set[int]:
        tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
        found = {int(pid) for task in tasks for pid in task.read_text().split()}
        return {pid for pid in found if module in Path(f"/proc/{pid}/cmdline").read_bytes()}

    decoder, short = b"decoding.worker", b"analysis.worker"
    long = encoded(tones(40.0, [("low", 2.0, 4.0)]))
    before = workers(decoder) | workers(short)
    with running(detector, jobs=1) as server:
        answers = [server.classify(long), server.classify(sound)]
        assert [answer.status_code for answer in answers] == [200, 200]
        for module in (decoder, short):
            (worker,) = workers(module) - before
            os.kill(worker, signal.SIGSEGV)
        assert "its decoder ended unexpectedly" in problem(server.classify(long, name="a.wav"), 422)
        assert server.classify(long).json() == answers[0].json()
        assert server.classify(sound).json() == answers[1].json()  # here the server analyses it itself
        assert server.classify(sound).json() == answers[1].json()


def test_a_client_that_leaves_stops_its_analysis(detector, monkeypatch):
    scored = []
    plain = type(detector).score

    def score(model, windows, *arguments, **options):
        scored.append(time.monotonic())
        time.sleep(0.05)
        return plain(model, windows, *arguments, **options)

    monkeypatch.setattr(type(detector), "score", score)
    with running(detector, jobs=1) as server:
        hour = encoded(np.zeros(3600 * 1000, np.float32), 1000, "FLAC")
        with requests.post(server.url + "/v1/classify?format=updates", data=hour, stream=True, timeout=60) as response:
            next(response.iter_lines())
        until = time.monotonic() + 10
        while server.app.state.context.uploads.inside and time.monotonic() < until:
            time.sleep(0.05)
        assert server.app.state.context.uploads.inside == 0
        time.sleep(0.5)
        n = len(scored)
        time.sleep(0.3)
        assert len(scored) == n


def test_an_explanation_stops_with_its_request(detector, sound, monkeypatch):
    batches, has_left = [], threading.Event()

    def log_odds(*_: object) -> np.ndarray:
        batches.append(time.monotonic())
        has_left.wait(60)
        return np.zeros(1)

    monkeypatch.setattr(explanation, "BATCH_VALUES", 1)  # a region per batch
    monkeypatch.setattr(explanation, "_log_odds", log_odds)
    with running(detector, jobs=1) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
            head = f"POST /v1/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sound)}\r\n\r\n"
            client.sendall(head.encode() + sound)
            wait_until(lambda: len(batches) == 1, 60)  # of the complete spectrogram
        wait_until(lambda: not server.app.state.context.uploads.inside, 60)
        has_left.set()
        wait_until(lambda: len(batches) == 2, 60)
        time.sleep(0.3)
        assert len(batches) == 2


@pytest.mark.parametrize("path", ["/v1/classify", pytest.param("/v1/explain?stop=20", marks=pytest.mark.long)])
def test_a_client_that_leaves_before_a_complete_answer_ends_its_request(detector, monkeypatch, path):
    leave = threading.Event()

    def wait(*_: object, **__: object) -> None:
        leave.wait(30)
        raise AudioError("nobody waits for this")

    monkeypatch.setattr(type(detector), "score", wait)
    monkeypatch.setattr(explanation, "explain", wait)
    with running(detector, jobs=1) as server:
        with pytest.raises(requests.ReadTimeout):
            requests.post(server.url + path, data=encoded(tones(60.0, [])), timeout=1.5)
        try:
            wait_until(lambda: not server.app.state.context.uploads.inside)
        finally:
            leave.set()


@pytest.mark.long
def test_a_client_that_does_not_read_its_answer_is_not_waited_for(detector):
    hour = encoded(np.zeros(3600 * 1000, np.float32), 1000, "FLAC")
    with running(detector, max_request_s=2.0) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        head = f"POST /v1/classify?format=updates HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(hour)}\r\n\r\n"
        client.sendall(head.encode() + hour)
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        wait_until(lambda: not server.app.state.context.uploads.inside)


def test_results_to_convert_are_limited_like_uploads(detector):
    def slowly():
        for _ in range(15):
            yield b"[" * 10
            time.sleep(0.1)

    with running(detector, max_request_s=0.5, max_requests=1) as server:
        answers = []
        first = threading.Thread(target=lambda: answers.append(server.post("/v1/convert", slowly())))
        first.start()
        wait_until(lambda: server.app.state.context.uploads.inside)
        assert "busy with 1 uploads" in problem(server.post("/v1/convert", b"[]"), 503)
        first.join(30)
        assert "took longer than" in problem(answers[0], 408)


def wait_until(is_true, seconds: float = 8.0) -> None:
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_work_under_way_is_finished_when_the_server_is_stopped(detector, sound):
    answers = []
    with running(detector) as server:
        url = server.url + "/v1/classify"

        def body():
            yield sound[:1000]
            time.sleep(1.0)
            yield sound[1000:]

        thread = threading.Thread(target=lambda: answers.append(requests.post(url, data=body(), timeout=60)))
        thread.start()
        time.sleep(0.4)
    thread.join(30)
    assert answers[0].status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_uploads_of_a_server_that_was_killed_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    abandoned = tmp_path / f"{uploads.PREFIX}old"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    (abandoned / "upload").write_bytes(b"someone's voice")
    with uploads.upload_folder() as first:
        assert not abandoned.exists()
        with uploads.upload_folder():
            assert first.is_dir()  # of a server that runs
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "192.168.1.2"}, "--host 192.168.1.2 can be reached from other machines: add --token"),
        ({"token": "short"}, "--token has 5 characters"),
        ({"token": "x" * 20 + "\n"}, "--token contains a space, a line end or a character that is not ASCII"),
        ({"token": "geräuschgeräusch"}, "--token contains a space, a line end or a character that is not ASCII"),
        ({"port": 70000}, "--port is 70000"),
        ({"max_requests": 0}, "--max-requests is 0: expected more than 0"),
        ({"tls_cert": Path("a.pem")}, "--tls-cert and --tls-key belong together"),
    ],
)
def test_a_setting_that_is_out_of_range_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ServerSettings(**settings)


def test_a_port_in_use_is_named(detector):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        from soundmark.errors import SettingsError
        from soundmark.serving import server

        with pytest.raises(SettingsError, match=f"cannot listen at 127.0.0.1, port {port}: Address already in use"):
            server.serve(detector, ServerSettings(port=port))

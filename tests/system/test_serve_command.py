"""`soundmark serve`: start, graceful end, token from the environment, HTTPS."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from websockets.sync.client import connect

import soundmark as sm
from support.archives import tone_archive
from support.sounds import RATE_HZ, pcm, tones
from unit.serving.conftest import encoded

TOKEN = "x" * 20

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tone_detector, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    tone_detector.save(path)
    return path


@contextmanager
def serving(model: Path, *options: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command; give the process, and the address that it prints."""
    command = [sys.executable, "-m", "soundmark.cli", "serve", "-m", str(model), "--port", "0", *map(str, options)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=os.environ | environment, text=True, **pipes)
    try:
        line = process.stdout.readline()
        assert line.startswith("Page: http"), process.communicate(timeout=30)
        yield process, line.removeprefix("Page: ").strip("/\n")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.long)]
)
def test_a_signal_ends_it_after_the_work_under_way(model, number, status):
    sound, answers = encoded(tones(5.0, [])), []

    def slowly():
        yield sound[:1000]
        time.sleep(1.5)
        yield sound[1000:]

    with serving(model) as (process, url):
        path = f"{url}/v1/classify"
        post = threading.Thread(target=lambda: answers.append(requests.post(path, slowly(), timeout=60)))
        post.start()
        time.sleep(0.7)
        process.send_signal(number)
        time.sleep(0.3)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/healthz", timeout=30)
        post.join(30)
        messages = process.communicate(timeout=30)[1]
        assert answers[0].status_code == 200
        assert process.returncode == status
        assert messages == "Stop with Ctrl-C.\nsoundmark: stopped.\n"


def test_the_token_is_read_from_the_environment(model):
    with serving(model, SOUNDMARK_TOKEN=TOKEN) as (_, url):
        assert requests.get(f"{url}/v1/model", timeout=30).status_code == 401
        answer = requests.get(f"{url}/v1/model", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        assert answer.json()["name"] == "model.onnx"


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed, which makes the certificate")
def test_https_and_its_web_socket(model, tmp_path):
    line = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    files = ("-keyout", "key.pem", "-out", "cert.pem")
    subprocess.run([*line.split(), *files], cwd=tmp_path, check=True, capture_output=True)
    cert = tmp_path / "cert.pem"
    options = ("--tls-cert", cert, "--tls-key", tmp_path / "key.pem", "--token", TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with serving(model, *options) as (_, url):
        assert url.startswith("https://127.0.0.1:")
        session = requests.post(f"{url}/v1/session", headers=headers, verify=str(cert), timeout=30)
        assert "Secure" in session.headers["Set-Cookie"]
        context = ssl.create_default_context(cafile=str(cert))
        address = f"{url.replace('https', 'wss')}/v1/listen?rate={RATE_HZ}"
        with connect(address, ssl=context, additional_headers=headers) as socket:
            socket.send(pcm(tones(3.0, [("low", 1.0, 2.0)])))
            socket.send(b"")
            assert '"label": "low"' in "".join(socket).replace('":"', '": "')


def test_the_recordings_of_a_results_folder_are_served(tmp_path):
    index = tone_archive(tmp_path, n=2)
    model = index / "model.onnx"
    sm.analyze(tmp_path / "recordings", model, tmp_path / "results", quiet=True)
    options = (tmp_path / "results", "--corrections", tmp_path / "corrections")
    with serving(model, *options, SOUNDMARK_CACHE=str(tmp_path / "cache")) as (process, url):
        (archive,) = requests.get(f"{url}/v1/archives", timeout=30).json()["archives"]
        assert (archive["name"], archive["recordings"], archive["windows"]) == ("results", 2, 12)
        review = requests.get(f"{url}/v1/archives/results/review", {"class": "low"}, timeout=30).json()
        assert review["upcoming"]
        process.send_signal(signal.SIGTERM)
        messages = process.communicate(timeout=30)[1].splitlines()
    assert re.fullmatch(r"The index of .*results \(2 recordings\) is in .*cache/indexes/[0-9a-f]{16}\.", messages[0])
    assert messages[-1] == "soundmark: stopped."

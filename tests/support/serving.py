"""A server on a free port of this machine, in a thread of the test; and its WebSocket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from starlette.applications import Starlette
from websockets.sync.client import connect

from soundmark.datasets import Dataset
from soundmark.models.classifier import Model
from soundmark.serving import server
from soundmark.serving.archives import Archive
from soundmark.serving.settings import ServerSettings


@dataclass(frozen=True)
class Running:
    """A running server: its address without a slash at the end, and its application."""

    url: str
    app: Starlette

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=60, **options)

    def post(self, path: str, data: Any = b"", **options: Any) -> requests.Response:
        return requests.post(self.url + path, data=data, timeout=60, **options)

    def classify(self, data: bytes, **parameters: Any) -> requests.Response:
        return self.post("/v1/classify", data, params=parameters)

    def listen(self, data: bytes, **parameters: Any) -> list[dict[str, Any]]:
        """Send PCM to the WebSocket in messages of 4 kB; return all messages of the server."""
        messages: list[dict[str, Any]] = []
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        with connect(f"{self.url.replace('http', 'ws')}/v1/listen?{query}", max_size=None) as socket:
            reader = threading.Thread(target=lambda: messages.extend(json.loads(each) for each in socket))
            reader.start()
            for start in range(0, len(data), 4096):
                socket.send(data[start : start + 4096])
            socket.send(b"")
            reader.join(60)
        return messages


@contextmanager
def running(
    model: Model,
    *,
    jobs: int | None = None,
    archives: Sequence[Archive] = (),
    training: Dataset | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """Serve ``model`` until the end of the block."""
    chosen = ServerSettings(port=0, **settings)
    app = server.application(model, chosen, jobs=jobs, archives=archives, training=training)
    with server.listening(chosen) as opened:
        http_server = server.http_server(app, chosen)
        thread = threading.Thread(target=http_server.run, kwargs={"sockets": [opened]})
        thread.start()
        while not http_server.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield Running(server.address(chosen, opened.getsockname()[1]).rstrip("/"), app)
        finally:
            http_server.should_exit = True
            thread.join(60)

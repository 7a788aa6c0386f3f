"""Metrics in the text format of Prometheus."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from soundmark.serving.http.gate import Gate

METHODS = ("GET", "HEAD", "POST")  # of the routes; others, which a client can invent, are counted together


BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Counters:
    """The metrics of one server.

    >>> counters = Counters(Gate(8, "uploads", ""), Gate(8, "WebSockets", ""))
    >>> counters.analyzed_s.inc(4.0)
    >>> [line for line in counters.text().decode().splitlines() if line.startswith("soundmark_analyzed_seconds_total")]
    ['soundmark_analyzed_seconds_total 4.0']
    """

    def __init__(self, uploads: Gate, live: Gate) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "soundmark_requests", "Requests answered.", ("method", "path", "status"), registry=registry
        )
        self.seconds = Histogram(
            "soundmark_request_seconds", "Duration of requests.", ("path",), buckets=BUCKETS_S, registry=registry
        )
        self.uploaded_bytes = Counter("soundmark_uploaded_bytes", "Bytes of uploads received.", registry=registry)
        self.analyzed_s = Counter("soundmark_analyzed_seconds", "Seconds of audio analysed.", registry=registry)
        self.events = Counter("soundmark_events", "Events detected.", registry=registry)
        self.dropped_s = Counter(
            "soundmark_dropped_seconds",
            "Seconds of live audio dropped: classification was too slow.",
            registry=registry,
        )
        for gate, name in ((uploads, "uploads"), (live, "websockets")):
            gauge = Gauge(f"soundmark_{name}_open", f"Open {name} at the moment.", registry=registry)
            gauge.set_function(lambda gate=gate: gate.inside)  # type: ignore[misc]

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class Counting:
    """ASGI middleware that counts and times requests, by the pattern of their path."""

    def __init__(self, app: ASGIApp, counters: Counters) -> None:
        self._app, self._counters = app, counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            path, method = _label(scope), scope["method"]
            method = method if "endpoint" in scope and method in METHODS else "other"
            self._counters.requests.labels(method, path, str(status)).inc()
            self._counters.seconds.labels(path).observe(time.monotonic() - started)


def _label(scope: Scope) -> str:
    """Return the pattern of the path of a known route; paths have no end."""
    if "endpoint" not in scope:
        return "other"
    if scope["path"].startswith("/page/"):
        return "/page"
    names = {str(value): f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    return "/".join(names.get(part, part) for part in scope["path"].split("/"))

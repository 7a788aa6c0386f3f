"""What the routes share: the model, the analyzer, the limits, the metrics and the archives of one server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import HTTPConnection

from soundmark.models.classifier import Model
from soundmark.serving.analyzer import Analyzer
from soundmark.serving.archives import Archive
from soundmark.serving.http.counters import Counters
from soundmark.serving.http.gate import Gate
from soundmark.serving.settings import ServerSettings


@dataclass(frozen=True, eq=False)
class Context:
    """One server: its model and the name of it, its limits, and what they are checked with."""

    model: Model
    model_name: str
    settings: ServerSettings
    analyzer: Analyzer
    live_threads: Executor
    folder: Path  # of uploads
    uploads: Gate
    live: Gate
    counters: Counters
    archives: Mapping[str, Archive]  # by name

    def deadline(self) -> float:
        """Return the time (monotonic) at which a request that begins now must have ended."""
        return time.monotonic() + self.settings.max_request_s


def context_of(connection: HTTPConnection) -> Context:
    """Return the context of a request.

    >>> from starlette.applications import Starlette
    >>> app = Starlette()
    >>> app.state.context = "a context"
    >>> context_of(HTTPConnection({"type": "http", "app": app}))
    'a context'
    """
    found: Context = connection.app.state.context
    return found

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
from soundmark.serving.teach.teacher import Teacher


@dataclass(frozen=True, eq=False)
class Context:
    """One server: its analyzer, which has the model, its limits, and what they are checked with."""

    settings: ServerSettings
    analyzer: Analyzer
    live_threads: Executor
    folder: Path  # of uploads
    uploads: Gate
    live: Gate
    counters: Counters
    archives: Mapping[str, Archive]  # by name
    teacher: Teacher | None  # None: corrections are off

    @property
    def model(self) -> Model:
        """The model in use."""
        return self.analyzer.model

    @property
    def model_name(self) -> str:
        """The name of the model in use."""
        return self.analyzer.name

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

"""What the routes share: the model, the analyzer, the limits, the metrics and the archives of one server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from starlette.requests import ClientDisconnect, HTTPConnection

from soundmark.detection.archive.corrections import Corrections
from soundmark.models.classifier import Model
from soundmark.serving.analysis.analyzer import Analyzer
from soundmark.serving.archives import Archive
from soundmark.serving.http.counters import Counters
from soundmark.serving.http.gate import Gate
from soundmark.serving.http.problems import Problem
from soundmark.serving.reviews import Reviews
from soundmark.serving.settings import ServerSettings
from soundmark.serving.teach.teacher import Teacher
from soundmark.serving.thresholds import Thresholds

T = TypeVar("T")


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
    thresholds: Thresholds
    corrections: Corrections | None
    reviews: Reviews
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

    async def arrived(self, body: Awaitable[T], deadline: float) -> T:
        """Wait for the body of a request, at most until the ``deadline``.

        Raises:
            Problem: it took too long (408), or the client left (400).
        """
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await body
        except TimeoutError:
            raise self.analyzer.too_slow() from None
        except ClientDisconnect:
            raise Problem(400, "the client disconnected before the upload was complete.") from None


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

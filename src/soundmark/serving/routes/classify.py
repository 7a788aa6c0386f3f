"""The Classify tab: uploads are analysed, explained, and their results converted to other formats."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from soundmark.detection.file_result import FileResult
from soundmark.detection.output_formats import FORMATS, event_json
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import SettingsError
from soundmark.models.explanation import Explanation
from soundmark.models.streaming import WindowScores
from soundmark.serving import updates
from soundmark.serving.analysis.analyzer import Opened
from soundmark.serving.http import query
from soundmark.serving.http.problems import Problem, reason_of
from soundmark.serving.http.query import Parser, number, switch, whole
from soundmark.serving.http.uploads import Upload, received, received_bytes
from soundmark.serving.results_json import results_of
from soundmark.serving.routes.context import Context, context_of
from soundmark.serving.spectrogram_tiles import Tile

T = TypeVar("T")


DETECTION: dict[str, Parser] = {
    "top_k": whole,
    "overlap": number,
    "min_confidence": number,
    "merge_gap": number,
    "unknown": switch,
}
"""The query parameters that are settings of the detection."""


CLASSIFY: dict[str, Parser] = {**DETECTION, "format": str, "name": str}


EXPLAIN: dict[str, Parser] = {"start": number, "stop": number, "name": str}


CONVERT: dict[str, Parser] = {"format": str}


JSON_LINES = "application/jsonl"


MEDIA_TYPES = {
    "json": "application/json",
    "jsonl": JSON_LINES,
    "updates": JSON_LINES,
    "csv": "text/csv; charset=utf-8",
    "audacity": "text/plain; charset=utf-8",
    "raven": "text/tab-separated-values; charset=utf-8",
}
"""The formats of ``POST /v1/classify``, and their media types."""


LINES = ("jsonl", "updates")  # formats that are sent while they are computed


RESULTS_BYTES = 50_000_000  # of results to convert


SPARE_S = 1.0  # after the deadline, to send the last line


def detection_settings(values: dict[str, Any], thresholds: Mapping[str, float] | None = None) -> DetectionSettings:
    """Return the settings of the detection for the parameters of a request, whose threshold replaces ``thresholds``.

    Raises:
        SettingsError: a value is out of range.

    >>> detection_settings({"overlap": 0.5}).overlap
    0.5
    """
    chosen = {("merge_gap_s" if name == "merge_gap" else name): values[name] for name in DETECTION if name in values}
    return DetectionSettings(**chosen, thresholds=None if "min_confidence" in chosen else thresholds)


@asynccontextmanager
async def _upload(context: Context, request: Request, name: str | None, deadline: float) -> AsyncIterator[Upload]:
    """Receive an upload while there is room for it."""
    file = received(request, context.folder, max_bytes=context.settings.max_upload_bytes, name=name)
    with context.uploads.enter():
        async with AsyncExitStack() as stack:
            upload = await context.arrived(stack.enter_async_context(file), deadline)
            context.counters.uploaded_bytes.inc(upload.n_bytes)
            yield upload


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``; cancel it if the client, whose request was received, leaves."""
    task, left = asyncio.create_task(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Problem(400, "the client disconnected before the answer was complete.")
        return task.result()
    finally:
        left.cancel()
        task.cancel()
        await asyncio.wait({task, left})


async def _classify(request: Request) -> Response:
    context, deadline = context_of(request), context_of(request).deadline()
    values = query.parsed(request.query_params, CLASSIFY)
    form = query.one_of("format", values.get("format", "json"), MEDIA_TYPES)
    detection = detection_settings(values, context.thresholds.of(context.model))
    detection.for_model(context.model).threshold(context.model)
    async with AsyncExitStack() as stack:
        upload = await stack.enter_async_context(_upload(context, request, values.get("name"), deadline))
        if form not in LINES:
            work = context.analyzer.answer(upload, detection, form, deadline=deadline)
            answer = await _while_connected(request, work)
            _count(context, answer.duration_s, answer.events)
            return Response(answer.body, media_type=MEDIA_TYPES[form])
        found = context.analyzer.analyze(upload, detection, deadline=deadline, with_tiles=form == "updates")
        found = _counted(context, found)
        first = await anext(found)  # a sound that cannot be decoded is a problem, not a line
        lines = _lines(context, form, upload.name, first, found, detection)
        return _Lines(lines, stack.pop_all(), deadline=deadline, media_type=MEDIA_TYPES[form])
    raise AssertionError  # the stack suppresses no exception


class _Lines(StreamingResponse):
    """Lines that are sent while they are computed.

    A client that leaves, or that does not read until ``SPARE_S`` after the deadline, ends the analysis, and its upload.
    """

    def __init__(
        self, lines: AsyncGenerator[bytes, None], stack: AsyncExitStack, *, deadline: float, media_type: str
    ) -> None:
        super().__init__(lines, media_type=media_type)
        self._lines, self._stack, self._deadline = lines, stack, deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines."""
        async with self._stack:
            try:
                async with asyncio.timeout(max(0.0, self._deadline - time.monotonic()) + SPARE_S):
                    await super().__call__(scope, receive, send)
            finally:
                await self._lines.aclose()


async def _counted(context: Context, found: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """Count the seconds and events of an analysis."""
    try:
        async for item in found:
            if isinstance(item, FileResult):
                _count(context, item.duration_s, len(item.events))
            yield item
    finally:
        await found.aclose()


def _count(context: Context, duration_s: float, events: int) -> None:
    context.counters.analyzed_s.inc(duration_s)
    context.counters.events.inc(events)


async def _lines(
    context: Context,
    form: str,
    name: str,
    first: Opened,
    found: AsyncGenerator[Any, None],
    detection: DetectionSettings,
) -> AsyncGenerator[bytes, None]:
    """Yield the lines of an analysis while it is computed; an error from now on is the last line."""
    try:
        if form == "updates":
            thresholds = first.model.threshold(detection.threshold(first.model))
            yield updates.line(
                updates.opened(name, first.model, first.tiles, duration_s=first.duration_s, thresholds=thresholds)
            )
        async for item in found:
            if line := _line(form, name, item):
                yield line
    except Exception as error:  # the status has been sent
        yield updates.line(updates.error(reason_of(error)))
    finally:
        await found.aclose()


def _line(form: str, name: str, item: Any) -> bytes:
    """Return an item of an analysis as a line; nothing for an item that the format does not have."""
    if form == "jsonl":
        events = item if isinstance(item, list) else []
        return b"".join(event_json(event, name).encode() + b"\n" for event in events)
    if isinstance(item, Tile):
        return updates.line(updates.tile(item))
    if isinstance(item, WindowScores):
        return updates.line(updates.scores(item))
    if isinstance(item, FileResult):
        return updates.line(updates.result(item))
    return updates.line(updates.events(name, item))


async def _explain(request: Request) -> Response:
    context, deadline = context_of(request), context_of(request).deadline()
    values = query.parsed(request.query_params, EXPLAIN)
    start_s, stop_s = values.get("start", 0.0), values.get("stop")
    if start_s < 0 or (stop_s is not None and stop_s <= start_s):
        raise SettingsError(f"start is {start_s:g} and stop is {stop_s}: expected 0 ≤ start < stop, in seconds.")
    async with _upload(context, request, values.get("name"), deadline) as upload:
        work = context.analyzer.explain(upload, start_s=start_s, stop_s=stop_s, deadline=deadline)
        found = await _while_connected(request, work)
    later = replace(found, start_s=found.start_s + start_s, stop_s=found.stop_s + start_s)
    return JSONResponse(explanation_json(later))


def explanation_json(found: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON values.

    ``importance`` is uint8 [rows, columns] in base64, 255 for the most important part, row 0 the highest frequency.

    >>> found = model.explain(city.clips[0].path)
    >>> explanation_json(found)["label"] == found.classes[0]
    True
    """
    importance = found.pixel_importance()
    scaled = np.clip(importance / max(float(importance.max()), 1e-9), 0, 1)
    step = max(1, scaled.shape[1] // 1000)
    pixels = (255 * scaled[:, ::step]).round().astype(np.uint8)
    regions = [
        {
            "start_s": round(region.start_s, 3),
            "stop_s": round(region.stop_s, 3),
            "low_hz": round(region.low_hz, 1),
            "high_hz": round(region.high_hz, 1),
        }
        for region in found.regions()
    ]
    return {
        "label": found.classes[0],
        "score": float(f"{found.score:.6g}"),
        "start_s": round(found.start_s, 6),
        "stop_s": round(found.stop_s, 6),
        "sentence": found.sentence(),
        "regions": regions,
        "rows": pixels.shape[0],
        "columns": pixels.shape[1],
        "importance": base64.b64encode(pixels.tobytes()).decode(),
    }


async def _convert(request: Request) -> Response:
    values = query.parsed(request.query_params, CONVERT)
    known = {name: kind for name, kind in MEDIA_TYPES.items() if name != "updates"}
    form = query.one_of("format", values.get("format", "csv"), known)
    context = context_of(request)
    with context.uploads.enter():
        body = await context.arrived(received_bytes(request, max_bytes=RESULTS_BYTES), context.deadline())
        converted = await asyncio.to_thread(lambda: b"".join(FORMATS[form].write(results_of(body))))
    return Response(converted, media_type=MEDIA_TYPES[form])


ROUTES = [
    Route("/v1/classify", _classify, methods=["POST"]),
    Route("/v1/explain", _explain, methods=["POST"]),
    Route("/v1/convert", _convert, methods=["POST"]),
]

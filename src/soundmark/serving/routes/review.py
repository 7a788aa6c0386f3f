"""The Review tab: the state of the review of a class, decisions about windows, and the threshold that is used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from soundmark.errors import OutputError
from soundmark.runtime.checks import is_finite
from soundmark.serving.http import query
from soundmark.serving.http.json_body import Kind, is_switch, is_text, is_whole, received_object, values_of
from soundmark.serving.http.problems import Problem
from soundmark.serving.http.query import Parser, number
from soundmark.serving.routes.archives import archive_of
from soundmark.serving.routes.context import context_of

WANTED = 0.9  # precision


STATE: dict[str, Parser] = {"class": str, "wanted": number}


DECISION: dict[str, Kind] = {
    "class": is_text,
    "wanted": is_finite,
    "window": is_whole,
    "decision": is_text,
    "label": is_text,
    "revision": is_text,
    "reviewer": is_text,
}


THRESHOLD: dict[str, Kind] = {"class": is_text, "wanted": is_finite, "threshold": is_finite, "model": is_switch}


async def _state(request: Request) -> Response:
    values = query.parsed(request.query_params, STATE)
    archive, context = archive_of(request), context_of(request)
    wanted, background = values.get("wanted", WANTED), context.model.card.background

    def state() -> dict[str, Any]:
        label = values.get("class") or archive.first_class(background)
        return context.reviews.state(archive, label, wanted=wanted)

    return await _answer(request, state)


async def _decide(request: Request) -> Response:
    context, archive = context_of(request), archive_of(request)
    body = await context.arrived(received_object(request), context.deadline())
    values = values_of(body, DECISION, required=("class", "window", "decision"))
    if values.get("revision", archive.revision) != archive.revision:
        raise Problem(
            409,
            f'the archive "{archive.name}" was indexed again meanwhile, so its windows have other numbers: get the '
            "review again, and decide about its windows.",
        )
    return await _answer(
        request,
        lambda: context.reviews.decide(
            archive,
            values["class"],
            wanted=values.get("wanted", WANTED),
            window=values["window"],
            decision=values["decision"],
            other=values.get("label", ""),
            reviewer=values.get("reviewer", ""),
        ),
    )


async def _use_threshold(request: Request) -> Response:
    context, archive = context_of(request), archive_of(request)
    body = await context.arrived(received_object(request), context.deadline())
    values = values_of(body, THRESHOLD, required=("class", "threshold"))
    return await _answer(
        request,
        lambda: context.reviews.use(
            archive,
            values["class"],
            values["threshold"],
            wanted=values.get("wanted", WANTED),
            model=values.get("model", False),
        ),
    )


async def _answer(request: Request, work: Callable[[], dict[str, Any]]) -> Response:
    """Answer with the result of ``work``, which runs in a thread while there is room for it."""
    with context_of(request).uploads.enter():
        try:
            return JSONResponse(await asyncio.to_thread(work))
        except OutputError as error:  # the disk is full, or the limit of the corrections is reached
            raise Problem(507, str(error)) from error


ROUTES = [
    Route("/v1/archives/{archive}/review", _state),
    Route("/v1/archives/{archive}/review", _decide, methods=["POST"]),
    Route("/v1/archives/{archive}/threshold", _use_threshold, methods=["POST"]),
]

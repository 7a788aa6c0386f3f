"""Health, metrics, the OpenAPI document, and the session of a browser."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from soundmark.serving.http.guard import cookie_name, session_of
from soundmark.serving.http.problems import Problem
from soundmark.serving.routes.context import context_of
from soundmark.serving.routes.openapi import document

SESSION_S = 30 * 24 * 3600


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    if context_of(request).uploads.is_full:
        raise Problem(503, "the server is busy: it accepts no more uploads at the moment.", {"Retry-After": "2"})
    return JSONResponse({"status": "ready"})


async def _metrics(request: Request) -> Response:
    return Response(context_of(request).counters.text(), media_type="text/plain; version=0.0.4")


async def _openapi(request: Request) -> Response:
    context = context_of(request)
    return JSONResponse(document(context.settings, tuple(context.archives)))


async def _session(request: Request) -> Response:
    """Set the cookie of a browser whose request has the token."""
    settings = context_of(request).settings
    response = Response(status_code=204)
    if settings.token is not None:
        response.set_cookie(
            cookie_name(request.scope),
            session_of(settings.token),
            max_age=SESSION_S,
            httponly=True,
            secure=settings.scheme == "https",
            samesite="strict",
        )
    return response


ROUTES = [
    Route("/healthz", _health),
    Route("/readyz", _ready),
    Route("/metrics", _metrics),
    Route("/v1/openapi.json", _openapi),
    Route("/v1/session", _session, methods=["POST"]),
]

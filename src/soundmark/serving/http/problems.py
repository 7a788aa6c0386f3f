"""Errors as ``application/problem+json`` (RFC 9457): a status, a title and one clear message."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from soundmark.errors import SoundmarkError, as_line
from soundmark.runtime.text import shortened

MEDIA_TYPE = "application/problem+json"


log = logging.getLogger("soundmark")


class Problem(Exception):  # noqa: N818 - the name in RFC 9457
    """A request that cannot be answered: its status, and a message for the user."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, as_line(detail), dict(headers or {})


def problem_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response for a problem.

    >>> problem_response(413, "the upload is too large.").body
    b'{"type": "about:blank", "title": "...", "status": 413, "detail": "the upload is too large."}'
    """
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(json.dumps(content), status, dict(headers or {}), media_type=MEDIA_TYPE)


def denial_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response for a WebSocket that is refused: without its length, which uvicorn adds.

    >>> "content-length" in denial_response(503, "the server is busy.").headers
    False
    """
    response = problem_response(status, detail, headers)
    del response.headers["content-length"]
    return response


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer a ``Problem``."""
    assert isinstance(error, Problem)
    return problem_response(error.status, error.detail, error.headers)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer an unknown path or a wrong method."""
    assert isinstance(error, HTTPException)
    path = shortened(as_line(request.url.path), 100)
    if error.status_code == 404:
        detail = f'there is nothing at "{path}": see /v1/openapi.json.'
    elif error.status_code == 405:
        detail = f'{request.method} is not supported at "{path}": use {(error.headers or {}).get("Allow", "GET")}.'
    else:
        detail = f"{error.detail}."
    return problem_response(error.status_code, detail, error.headers)


async def on_soundmark_error(request: Request, error: Exception) -> Response:
    """Answer an input that soundmark refuses: a setting (400), or a sound (422)."""
    assert isinstance(error, SoundmarkError)
    return problem_response(400 if isinstance(error, ValueError) else 422, str(error))


async def on_unexpected(request: Request, error: Exception) -> Response:
    """Answer an exception that nothing in soundmark expects, and log it."""
    return problem_response(500, reason_of(error))


def reason_of(error: Exception) -> str:
    """Return the message for an exception; one that nothing in soundmark expects is logged instead.

    >>> reason_of(Problem(413, "the upload is too large."))
    'the upload is too large.'
    """
    if isinstance(error, Problem | SoundmarkError):
        return str(error)
    log.error("%s: %s", type(error).__name__, error, exc_info=error)
    return "unexpected error: this is a bug in soundmark. The log of the server describes it."


HANDLERS = {
    Problem: on_problem,
    HTTPException: on_http_exception,
    SoundmarkError: on_soundmark_error,
    Exception: on_unexpected,
}
"""The functions that answer exceptions, by type."""

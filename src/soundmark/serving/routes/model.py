"""The Model tab: the card of the model, and the limits of the server."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from soundmark.models import card_text, overview
from soundmark.models.classifier import Model
from soundmark.serving.routes.context import context_of
from soundmark.serving.settings import ServerSettings

COLUMNS = 300  # of a text in the summary: the page wraps lines


async def _model(request: Request) -> Response:
    context = context_of(request)
    return JSONResponse(describe(context.model_name, context.model, context.settings))


def describe(name: str, model: Model, settings: ServerSettings) -> dict[str, object]:
    """Return the model called ``name``, and the limits of the server, as JSON values.

    ``summary`` and ``details`` are rows of a heading and a text, as ``soundmark show`` prints them; texts of the
    summary are shortened less.

    >>> describe("model.onnx", model, ServerSettings())["limits"]["upload_bytes"]
    1000000000
    """
    return {
        "name": name,
        "classes": list(model.classes),
        "window_s": model.card.window_s,
        "overlap": model.overlap,
        "task": model.card.task.name,
        "unknown": model.unknown,
        "summary": [list(row) for row in overview.lines(model.bundle, COLUMNS)],
        "details": [list(row) for row in card_text.card_lines(model.card)],
        "card": json.loads(card_text.to_json(model.card)),
        "limits": {
            "upload_bytes": settings.max_upload_bytes,
            "audio_s": settings.max_audio_s,
            "request_s": settings.max_request_s,
            "requests": settings.max_requests,
            "live": settings.max_live,
        },
    }


ROUTES = [Route("/v1/model", _model)]

"""The files of the page."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from soundmark.models import export

FOLDER = Path(__file__).parent.parent / "page"


EXPORTED = Path(export.__file__).parent / "page"  # the page that `soundmark export --page` writes


async def _index(request: Request) -> Response:
    return FileResponse(FOLDER / "index.html")


async def _worklet(request: Request) -> Response:
    """The audio worklet that both pages use."""
    return FileResponse(EXPORTED / "pcm-worklet.js")


ROUTES = [
    Route("/", _index),
    Route("/page/pcm-worklet.js", _worklet),
    Mount("/page", StaticFiles(directory=FOLDER)),
]

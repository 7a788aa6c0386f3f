"""The files of the page."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).parent.parent / "page"


async def _index(request: Request) -> Response:
    return FileResponse(FOLDER / "index.html")


ROUTES = [Route("/", _index), Mount("/page", StaticFiles(directory=FOLDER))]

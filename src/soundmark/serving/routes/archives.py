"""Windows of archives, for Review and Teach: what an archive contains, the sound of a window, and its spectrogram.

An archive is named as in ``GET /v1/archives``, a window by its number in the index: no path comes from outside.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from soundmark.audio import Sound
from soundmark.errors import SettingsError
from soundmark.runtime.text import shortened
from soundmark.serving.archives import Archive, Excerpt, picture, wav
from soundmark.serving.http import query
from soundmark.serving.http.problems import Problem
from soundmark.serving.http.query import Parser, number, switch
from soundmark.serving.routes.context import Context, context_of

MARGIN_S = 1.0  # of sound on both sides of a window


MOST_MARGIN_S = 30.0


WINDOW: dict[str, Parser] = {"margin": number, "class": str}


SOUND: dict[str, Parser] = {**WINDOW, "equal_loudness": switch}


def archive_of(request: Request) -> Archive:
    """Return the archive that the path of a request names.

    Raises:
        Problem: there is none of this name (404).

    >>> from types import SimpleNamespace
    >>> app = SimpleNamespace(state=SimpleNamespace(context=SimpleNamespace(archives={})))
    >>> archive_of(Request({"type": "http", "app": app, "path_params": {"archive": "index"}}))
    Traceback (most recent call last):
    soundmark.serving.http.problems.Problem: there is no archive "index": this server has none. Start it with ...
    """
    return archive_named(context_of(request), request.path_params["archive"])


def archive_named(context: Context, name: str) -> Archive:
    """Return an archive of a server.

    Raises:
        Problem: there is none of this name (404).

    >>> from types import SimpleNamespace
    >>> archive_named(SimpleNamespace(archives={}), "index")
    Traceback (most recent call last):
    soundmark.serving.http.problems.Problem: there is no archive "index": this server has none. Start it with ...
    """
    known = context.archives
    found = known.get(name)
    if found is None:
        have = f"this server has {', '.join(known)}" if known else "this server has none"
        hint = "See /v1/archives." if known else "Start it with the folder of an index: soundmark serve INDEX."
        raise Problem(404, f'there is no archive "{shortened(name, 60)}": {have}. {hint}')
    return found


def _excerpt(request: Request, archive: Archive, values: dict[str, Any]) -> Excerpt:
    """Return the window that the path of a request names, with the margin and the class of its parameters.

    Raises:
        Problem: there is no window of this number (404).
        SettingsError: the margin is out of range, or there is no such class.
    """
    margin_s = values.get("margin", MARGIN_S)
    if not 0 <= margin_s <= MOST_MARGIN_S:
        raise SettingsError(f"margin is {margin_s:g}: expected 0 to {MOST_MARGIN_S:g} seconds.")
    number = request.path_params["window"]
    found = archive.excerpt(number, label=values.get("class"), margin_s=margin_s)
    if found is None:
        raise no_window(archive)
    return found


def no_window(archive: Archive) -> Problem:
    """Return the problem of a number that no window of an archive has.

    >>> from types import SimpleNamespace
    >>> no_window(SimpleNamespace(name="index", index=range(20))).detail
    'the archive "index" has 20 windows, numbered from 0.'
    """
    return Problem(404, f'the archive "{archive.name}" has {len(archive.index)} windows, numbered from 0.')


async def _archives(request: Request) -> Response:
    query.parsed(request.query_params, {})
    archives = context_of(request).archives.values()
    return JSONResponse({"archives": await asyncio.to_thread(lambda: [archive.to_json() for archive in archives])})


async def _sound(request: Request) -> Response:
    values = query.parsed(request.query_params, SOUND)
    archive = archive_of(request)
    found = await _read(request, archive, _excerpt(request, archive, values))
    content = await asyncio.to_thread(wav, found, equal_loudness=values.get("equal_loudness", False))
    return Response(content, media_type="audio/wav")


async def _spectrogram(request: Request) -> Response:
    values = query.parsed(request.query_params, WINDOW)
    archive = archive_of(request)
    excerpt = _excerpt(request, archive, values)
    sound = await _read(request, archive, excerpt)
    representation = context_of(request).model.card.representation
    found = await asyncio.to_thread(picture, sound, representation, excerpt.start_s)
    return JSONResponse(excerpt.to_json() | found)


async def _read(request: Request, archive: Archive, excerpt: Excerpt) -> Sound:
    """Read the sound of a window while there is room for it."""
    context = context_of(request)
    with context.uploads.enter():
        return await context.analyzer.read(
            excerpt.window.file,
            name=excerpt.name,
            start_s=excerpt.start_s,
            stop_s=excerpt.stop_s,
            deadline=context.deadline(),
        )


ROUTES = [
    Route("/v1/archives", _archives),
    Route("/v1/archives/{archive}/windows/{window:int}/sound", _sound),
    Route("/v1/archives/{archive}/windows/{window:int}/spectrogram", _spectrogram),
]

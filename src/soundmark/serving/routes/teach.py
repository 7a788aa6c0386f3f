"""The Teach tab: labels, retraining, models, and windows of archives that are similar, uncertain, or of a class.

A section is one of the recording that a window of an archive is of: no path comes from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from soundmark.audio import Sound
from soundmark.datasets.layouts.corrections import WITH_LABEL
from soundmark.detection.archive.index import FoundWindow
from soundmark.errors import OutputError, SettingsError, SoundmarkError, unknown_name
from soundmark.models.classifier import Model
from soundmark.runtime.checks import is_count, is_finite
from soundmark.serving.archives import Archive
from soundmark.serving.http import query
from soundmark.serving.http.json_body import Kind, is_text, is_whole, received_object, values_of
from soundmark.serving.http.problems import Problem
from soundmark.serving.http.query import Parser, number, whole
from soundmark.serving.routes.archives import archive_named, archive_of, no_window
from soundmark.serving.routes.context import Context, context_of
from soundmark.serving.teach.teacher import OFF, Teacher

MOST_WINDOWS = 200  # of an answer


MOST_REGION_S = 600.0


SIMILAR: dict[str, Parser] = {"window": whole, "start": number, "stop": number, "n": whole}


SUGGESTIONS: dict[str, Parser] = {"n": whole, "class": str}


LABEL: dict[str, Kind] = {
    "archive": is_text,
    "window": is_whole,
    "start_s": is_finite,
    "stop_s": is_finite,
    "decision": is_text,
    "label": is_text,
    "asked": is_text,
    "reviewer": is_text,
}
"""The fields of a label."""


def teacher_of(request: Request) -> Teacher:
    """Return the teacher of a request's server.

    Raises:
        Problem: corrections are off (409).

    >>> from types import SimpleNamespace
    >>> app = SimpleNamespace(state=SimpleNamespace(context=SimpleNamespace(teacher=None)))
    >>> teacher_of(Request({"type": "http", "app": app}))
    Traceback (most recent call last):
    soundmark.serving.http.problems.Problem: corrections are off, and no sound is kept: start the server with ...
    """
    found = context_of(request).teacher
    if found is None:
        raise Problem(409, OFF)
    return found


async def _status(request: Request) -> Response:
    query.parsed(request.query_params, {})
    teacher = context_of(request).teacher
    if teacher is None:
        return JSONResponse({"is_on": False, "note": OFF})
    return JSONResponse({"is_on": True, **await asyncio.to_thread(teacher.status)})


async def _fields(request: Request, known: Mapping[str, Kind], required: Sequence[str]) -> dict[str, Any]:
    """Wait for the body of a request, and read its fields: see ``values_of``."""
    context = context_of(request)
    return values_of(await context.arrived(received_object(request), context.deadline()), known, required=required)


async def _add(request: Request) -> Response:
    query.parsed(request.query_params, {})
    teacher = teacher_of(request)
    values = await _fields(request, LABEL, ("archive", "window", "decision"))
    context = context_of(request)
    archive = archive_named(context, values["archive"])
    excerpt = _window(archive, values["window"])
    start_s = values.get("start_s", excerpt.start_s)
    stop_s = values.get("stop_s", excerpt.stop_s)
    if not 0 <= start_s < stop_s <= start_s + MOST_REGION_S:
        raise SettingsError(
            f"the section is {start_s:g} to {stop_s:g} s: expected times in seconds, the first smaller, at most "
            f"{MOST_REGION_S:g} s apart."
        )
    asked, clip = values.get("asked", ""), None
    if values["decision"] in WITH_LABEL:
        with context.uploads.enter():
            clip = await _read(context, archive, excerpt, start_s, stop_s)
    score = await asyncio.to_thread(_score, teacher, archive, values["window"], asked) if asked else None
    try:
        added = await asyncio.to_thread(
            teacher.add,
            excerpt.file,
            start_s,
            stop_s,
            decision=values["decision"],
            label=values.get("label", ""),
            asked=asked,
            score=score,
            reviewer=values.get("reviewer", ""),
            clip=clip,
        )
    except OutputError as error:
        raise Problem(507, str(error)) from error
    except SoundmarkError as error:
        raise type(error)(str(error).replace(excerpt.file, archive.shown(excerpt.file))) from error
    return JSONResponse({"id": added.id, **await asyncio.to_thread(teacher.status)}, 201)


async def _read(context: Context, archive: Archive, window: FoundWindow, start_s: float, stop_s: float) -> Sound:
    """Read a section of the recording of a window, in a process with limits."""
    name = archive.shown(window.file)
    return await context.analyzer.read(
        window.file, name=name, start_s=start_s, stop_s=stop_s, deadline=context.deadline()
    )


async def _undo(request: Request) -> Response:
    query.parsed(request.query_params, {})
    teacher = teacher_of(request)
    try:
        await asyncio.to_thread(teacher.corrections.undo, request.path_params["label"])
    except SettingsError as error:
        raise Problem(404, str(error)) from error
    except OutputError as error:
        raise Problem(507, str(error)) from error
    return JSONResponse(await asyncio.to_thread(teacher.status))


async def _train(request: Request) -> Response:
    query.parsed(request.query_params, {})
    teacher = teacher_of(request)
    try:
        job = teacher.train()
    except SettingsError as error:
        raise Problem(409, str(error)) from error
    return JSONResponse(job.to_json(), 202)


async def _cancel(request: Request) -> Response:
    query.parsed(request.query_params, {})
    teacher = teacher_of(request)
    teacher.cancel()
    return JSONResponse(teacher.job.to_json(), 202)


async def _use(request: Request) -> Response:
    query.parsed(request.query_params, {})
    teacher = teacher_of(request)
    values = await _fields(request, {"number": is_whole}, ("number",))
    if teacher.job.state == "running":
        raise Problem(409, "a training is running: wait for it, or cancel it.")
    _check_version(teacher, values["number"])
    try:
        await asyncio.to_thread(teacher.use, values["number"])
    except OutputError as error:
        raise Problem(507, str(error)) from error
    return JSONResponse(await asyncio.to_thread(teacher.status))


def _check_version(teacher: Teacher, wanted: int) -> None:
    try:
        if wanted != 0:
            teacher.version(wanted)
    except SettingsError as error:
        raise Problem(404, str(error)) from error


async def _download(request: Request) -> Response:
    query.parsed(request.query_params, {})
    teacher, wanted = teacher_of(request), request.path_params["number"]
    _check_version(teacher, wanted)
    path = teacher.versions.model_path(wanted)
    if wanted == 0 or not path.is_file():
        raise Problem(404, f"there is no file of model {wanted}: models that were taught have one, from number 1 on.")
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


def _window(archive: Archive, wanted: int) -> FoundWindow:
    if not 0 <= wanted < len(archive.index):
        raise no_window(archive)
    found: FoundWindow = archive.index.windows([wanted])[0]
    return found


def _scores(context: Context, archive: Archive) -> tuple[list[str], np.ndarray]:
    """Return the classes and the scores of the windows of an archive by the model in use."""
    if context.teacher is None:
        return list(archive.index.classes), archive.index.all_scores()
    classes, scores = context.teacher.scores(archive)
    return list(classes), scores


def _score(teacher: Teacher, archive: Archive, wanted: int, asked: str) -> float | None:
    classes, scores = teacher.scores(archive)
    return float(scores[wanted, list(classes).index(asked)]) if asked in classes else None


def _n(values: dict[str, Any]) -> int:
    n = values.get("n", 20)
    if not is_count(n) or n > MOST_WINDOWS:
        raise SettingsError(f"n is {n}: expected a whole number from 1 to {MOST_WINDOWS}.")
    return int(n)


async def _similar(request: Request) -> Response:
    values = query.parsed(request.query_params, SIMILAR)
    context, archive, n = context_of(request), archive_of(request), _n(values)
    if "window" not in values:
        raise SettingsError("the query parameter window is missing: the number of the window to compare with.")
    window = _window(archive, values["window"])
    start_s, stop_s = values.get("start", window.start_s), values.get("stop", window.stop_s)
    if not 0 <= start_s < stop_s <= start_s + MOST_REGION_S:
        raise SettingsError(f"start is {start_s:g} and stop is {stop_s:g}: expected 0 ≤ start < stop, in seconds.")
    with context.uploads.enter():
        if (start_s, stop_s) == (window.start_s, window.stop_s):
            wanted = archive.index.embeddings([values["window"]]).astype(np.float32)
        else:
            sound = await _read(context, archive, window, start_s, stop_s)
            base: Model = context.teacher.base if context.teacher else context.model  # the index is one of this model
            wanted = await asyncio.to_thread(base.embed, sound)
        found = await asyncio.to_thread(archive.index.like, wanted, n, without={window.file})
        numbers = [archive.index.number_of(each.file, each.start_s, each.stop_s) for each in found]
        similarity = [each.similarity for each in found]
        return await _listed(context, archive, np.array(numbers, np.int64), similarity=similarity)


async def _suggestions(request: Request) -> Response:
    values = query.parsed(request.query_params, SUGGESTIONS)
    context, archive, n = context_of(request), archive_of(request), _n(values)
    teacher, label = teacher_of(request), values.get("class")
    if label is not None:
        _check_class(label, context.model.classes)
    with context.uploads.enter():
        numbers = await asyncio.to_thread(teacher.suggest, archive, n, label)
        return await _listed(context, archive, numbers, label=label)


async def _top(request: Request) -> Response:
    values = query.parsed(request.query_params, SUGGESTIONS)
    context, archive, n = context_of(request), archive_of(request), _n(values)
    if "class" not in values:
        raise SettingsError("the query parameter class is missing: the class whose windows are wanted.")
    with context.uploads.enter():
        classes, scores = await asyncio.to_thread(_scores, context, archive)
        _check_class(values["class"], classes)
        column = scores[:, classes.index(values["class"])]
        numbers = np.argsort(-column, kind="stable")[:n]
        return await _listed(context, archive, numbers, label=values["class"])


def _check_class(label: str, known: Sequence[str]) -> None:
    if label not in known:
        raise unknown_name("class", label, known, owner="the model")


async def _listed(
    context: Context,
    archive: Archive,
    numbers: np.ndarray,
    *,
    label: str | None = None,
    similarity: list[float | None] | None = None,
) -> Response:
    """Answer with windows, and their scores by the model in use."""
    classes, scores = await asyncio.to_thread(_scores, context, archive)
    listed = []
    for position, (wanted, window) in enumerate(zip(numbers.tolist(), archive.index.windows(numbers), strict=True)):
        which = int(scores[wanted].argmax()) if label is None or label not in classes else classes.index(label)
        found = {
            "number": wanted,
            "file": archive.shown(window.file),
            "start_s": round(window.start_s, 6),
            "stop_s": round(window.stop_s, 6),
            "label": classes[which],
            "score": float(f"{scores[wanted, which]:.6g}"),
        }
        if similarity is not None:
            found["similarity"] = float(f"{similarity[position]:.4g}")
        listed.append(found)
    return JSONResponse({"archive": archive.name, "windows": listed})


ROUTES = [
    Route("/v1/teach", _status),
    Route("/v1/teach/labels", _add, methods=["POST"]),
    Route("/v1/teach/labels/{label}", _undo, methods=["DELETE"]),
    Route("/v1/teach/training", _train, methods=["POST"]),
    Route("/v1/teach/training", _cancel, methods=["DELETE"]),
    Route("/v1/teach/model", _use, methods=["PUT"]),
    Route("/v1/teach/models/{number:int}", _download),
    Route("/v1/archives/{archive}/similar", _similar),
    Route("/v1/archives/{archive}/suggestions", _suggestions),
    Route("/v1/archives/{archive}/top", _top),
]

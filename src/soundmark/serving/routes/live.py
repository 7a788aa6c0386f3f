"""The Live tab: PCM on a WebSocket; its results as JSON messages.

The client sends binary messages of PCM. An empty message, or closing the WebSocket, ends the stream; after an empty
message, the server sends the remaining events and ``ended``, and closes.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from soundmark.detection.settings import DetectionSettings
from soundmark.errors import SoundmarkError
from soundmark.serving.http import query
from soundmark.serving.http.problems import Problem, denial_response
from soundmark.serving.http.query import Parser, number, switch, whole
from soundmark.serving.live_session import LiveOptions, LiveSession
from soundmark.serving.routes.context import Context, context_of

LISTEN: dict[str, Parser] = {
    "rate": whole,
    "channels": whole,
    "sample_format": str,
    "real_time": switch,
    "hop": number,
    "min_confidence": number,
    "merge_gap": number,
    "unknown": switch,
    "spectrogram": switch,
    "rejected": switch,
}


RENAMED = {"rate": "rate_hz", "hop": "hop_s", "merge_gap": "merge_gap_s"}


UNSENT = 2000  # messages that a client does not read, until it is disconnected


SEND_S = 10.0  # time to send the last messages


async def _listen(socket: WebSocket) -> None:
    context = context_of(socket)
    try:
        with context.live.enter():
            await _serve(socket, context)
    except Problem as problem:
        await socket.send_denial_response(denial_response(problem.status, problem.detail, problem.headers))
    except SoundmarkError as error:
        await socket.send_denial_response(denial_response(400, str(error)))


async def _serve(socket: WebSocket, context: Context) -> None:
    """Classify the PCM of a client that can be let in."""
    outbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def send(message: dict[str, Any] | None) -> None:
        with suppress(RuntimeError):  # the event loop has ended
            loop.call_soon_threadsafe(outbox.put_nowait, message)

    session = _session(socket, context, send)
    await socket.accept()
    work = loop.run_in_executor(context.live_threads, _run, session, send)
    sender = asyncio.create_task(_send_all(socket, outbox))
    try:
        await _receive_all(socket, session, outbox)
    finally:
        await session.end()
        await work
        await asyncio.wait({sender}, timeout=SEND_S)
        sender.cancel()
        context.counters.analyzed_s.inc(session.state.analyzed_s)
        context.counters.dropped_s.inc(session.state.dropped_s)


def _session(socket: WebSocket, context: Context, send: Any) -> LiveSession:
    values = {RENAMED.get(name, name): value for name, value in query.parsed(socket.query_params, LISTEN).items()}
    detection = {name: values.pop(name) for name in ("min_confidence", "merge_gap_s", "unknown") if name in values}
    return LiveSession(context.model, DetectionSettings(**detection), LiveOptions(**values), send)


def _run(session: LiveSession, send: Any) -> None:
    """Classify the stream of a session; runs in a thread."""
    try:
        session.run()
    except SoundmarkError as error:
        send({"kind": "error", "detail": str(error)})
    finally:
        send(None)


async def _receive_all(socket: WebSocket, session: LiveSession, outbox: asyncio.Queue[Any]) -> None:
    """Pass the client's PCM on until it ends the stream, leaves, or no longer reads its messages."""
    while outbox.qsize() <= UNSENT:
        try:
            message = await socket.receive()
        except (WebSocketDisconnect, RuntimeError):
            return
        if message["type"] == "websocket.disconnect" or not (data := message.get("bytes")):
            return
        await session.put(data)


async def _send_all(socket: WebSocket, outbox: asyncio.Queue[dict[str, Any] | None]) -> None:
    """Send messages until the session ends or the client leaves."""
    with suppress(WebSocketDisconnect, RuntimeError):
        while (message := await outbox.get()) is not None:
            await socket.send_text(json.dumps(message, separators=(",", ":")))
        await socket.close()


ROUTES = [WebSocketRoute("/v1/listen", _listen)]

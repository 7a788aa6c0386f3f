"""The Live tab: PCM on a WebSocket; its results as JSON messages.

The client sends binary messages of PCM. An empty message, or closing the WebSocket, ends the stream; after an empty
message, the server sends the remaining events and ``ended``, and closes.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from soundmark.detection.settings import DetectionSettings
from soundmark.errors import SoundmarkError
from soundmark.serving import updates
from soundmark.serving.analysis.analyzer import Channel
from soundmark.serving.http import query
from soundmark.serving.http.problems import Problem, denial_response, reason_of
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


UNSENT = 256  # messages that wait for a slow client; the classification waits as well, and drops sound in real time


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
    outbox = Channel(ahead=UNSENT)
    session = _session(socket, context, outbox.put)
    await socket.accept()
    work = asyncio.get_running_loop().run_in_executor(context.live_threads, _run, session, outbox)
    sender = asyncio.create_task(_send_all(socket, outbox))
    receiver = asyncio.create_task(_receive_all(socket, session))
    try:
        await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
        if receiver.done() and receiver.result():
            await sender
    finally:
        receiver.cancel()
        outbox.close()  # the client has left, or has everything
        await session.end()
        await work
        sender.cancel()
        context.counters.analyzed_s.inc(session.state.analyzed_s)
        context.counters.dropped_s.inc(session.state.dropped_s)


def _session(socket: WebSocket, context: Context, send: Any) -> LiveSession:
    values = {RENAMED.get(name, name): value for name, value in query.parsed(socket.query_params, LISTEN).items()}
    chosen = {name: values.pop(name) for name in ("min_confidence", "merge_gap_s", "unknown") if name in values}
    model = context.model
    thresholds = None if "min_confidence" in chosen else context.thresholds.of(model)
    detection = DetectionSettings(**chosen, thresholds=thresholds)

    def replacement() -> str | None:
        return None if context.model is model else context.model_name

    return LiveSession(model, detection, LiveOptions(**values), send, replacement)


def _run(session: LiveSession, outbox: Channel) -> None:
    """Classify the stream of a session; runs in a thread."""
    with suppress(CancelledError):  # the client has left
        try:
            session.run()
        except CancelledError:
            pass
        except Exception as error:
            outbox.put(updates.error(reason_of(error)))
    outbox.end()


async def _receive_all(socket: WebSocket, session: LiveSession) -> bool:
    """Pass the client's PCM on until it ends the stream (True) or leaves (False)."""
    while True:
        try:
            message = await socket.receive()
        except (WebSocketDisconnect, RuntimeError):
            return False
        if message["type"] == "websocket.disconnect":
            return False
        if not (data := message.get("bytes")):
            await session.end()
            return True
        await session.put(data)


async def _send_all(socket: WebSocket, outbox: Channel) -> None:
    """Send messages until the session ends or the client leaves."""
    with suppress(WebSocketDisconnect, RuntimeError):
        async for message in outbox.items():
            await socket.send_text(json.dumps(message, separators=(",", ":")))
        await socket.close()


ROUTES = [WebSocketRoute("/v1/listen", _listen)]

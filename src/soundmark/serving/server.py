"""The application, and its start and end.

A server that is stopped accepts no more requests, and finishes those that it has within ``shutdown_s``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from soundmark.datasets import Dataset
from soundmark.detection.archive.corrections import Corrections
from soundmark.errors import SettingsError
from soundmark.models.classifier import Model
from soundmark.models.pretrained.speech import SpeechDetector
from soundmark.serving.analysis.analyzer import Analyzer
from soundmark.serving.archives import Archive, check_model
from soundmark.serving.http.counters import Counters, Counting
from soundmark.serving.http.gate import Gate
from soundmark.serving.http.guard import Guard
from soundmark.serving.http.problems import HANDLERS
from soundmark.serving.http.uploads import upload_folder
from soundmark.serving.reviews import Reviews
from soundmark.serving.routes import archives as archive_routes
from soundmark.serving.routes import classify, live, model, page, review, status, teach
from soundmark.serving.routes.context import Context
from soundmark.serving.settings import ServerSettings
from soundmark.serving.teach.teacher import Teacher
from soundmark.serving.thresholds import Thresholds

if TYPE_CHECKING:
    import uvicorn


MESSAGE_BYTES = 1 << 20  # largest message of a WebSocket


def all_routes() -> list[BaseRoute]:
    """Return the routes of all tabs.

    >>> len(all_routes()) > 5
    True
    """
    return [
        *status.ROUTES,
        *model.ROUTES,
        *classify.ROUTES,
        *live.ROUTES,
        *archive_routes.ROUTES,
        *review.ROUTES,
        *teach.ROUTES,
        *page.ROUTES,
    ]


def application(
    model: Model,
    settings: ServerSettings,
    *,
    name: str = "model.onnx",
    jobs: int | None = None,
    archives: Sequence[Archive] = (),
    training: Dataset | None = None,
) -> Starlette:
    """Return the ASGI application that serves ``model``; ``name`` is shown on the page, ``jobs`` its threads.

    ``archives`` were indexed with the model. ``training`` is the data set that it was trained on, for retraining.

    Raises:
        SettingsError: an archive is one of another model, or the file of thresholds cannot be used.

    >>> len(application(model, ServerSettings()).routes) == len(all_routes())
    True
    """
    check_model(archives, model)
    thresholds = Thresholds(model, settings)
    corrections = None
    if settings.corrections is not None:
        speech = SpeechDetector() if settings.no_speech else None
        corrections = Corrections(settings.corrections, max_bytes=settings.max_corrections_bytes, speech=speech)
    uploads = Gate(settings.max_requests, "uploads", "--max-requests")
    live_gate = Gate(settings.max_live, "WebSockets", "--max-live")
    counters = Counters(uploads, live_gate)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with (
            upload_folder() as folder,
            ThreadPoolExecutor(settings.max_live, "live") as threads,
            Analyzer(model, name, settings, folder, jobs=jobs) as analyzer,
            ExitStack() as stack,
        ):
            teacher = None
            if corrections is not None:
                teacher = Teacher(model, name, corrections, use=analyzer.use, training=training)
                await asyncio.to_thread(stack.enter_context, teacher)
            app.state.context = Context(
                settings=settings,
                analyzer=analyzer,
                live_threads=threads,
                folder=folder,
                uploads=uploads,
                live=live_gate,
                counters=counters,
                archives={archive.name: archive for archive in archives},
                thresholds=thresholds,
                corrections=corrections,
                reviews=Reviews(corrections, thresholds),
                teacher=teacher,
            )
            yield

    middleware = [Middleware(Counting, counters=counters), Middleware(Guard, settings=settings)]
    handlers: Any = HANDLERS
    return Starlette(routes=all_routes(), middleware=middleware, exception_handlers=handlers, lifespan=lifespan)


def address(settings: ServerSettings, port: int) -> str:
    """Return the address to open in a browser.

    >>> address(ServerSettings(), 8765), address(ServerSettings(host="::1"), 80)
    ('http://127.0.0.1:8765/', 'http://[::1]:80/')
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{settings.scheme}://{host}:{port}/"


@contextmanager
def listening(settings: ServerSettings) -> Any:
    """Give a socket that listens at the address of ``settings``.

    Raises:
        SettingsError: the address cannot be used.

    >>> with listening(ServerSettings(port=0)) as opened:
    ...     opened.getsockname()[0]
    '127.0.0.1'
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        opened = socket.create_server((settings.host, settings.port), family=family, backlog=512)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise SettingsError(
            f"cannot listen at {settings.host}, port {settings.port}: {reason}. Choose another "
            "--port (0: any free one) or --host."
        ) from error
    with opened:
        yield opened


def http_server(app: Starlette, settings: ServerSettings) -> uvicorn.Server:
    """Return the HTTP server that runs an application: ``run(sockets=[…])`` returns when ``should_exit`` is set.

    >>> http_server(application(model, ServerSettings()), ServerSettings()).should_exit
    False
    """
    import uvicorn

    from soundmark.serving.http.headers_timeout import HeadersTimeout  # imports uvicorn, which is slow

    config = uvicorn.Config(
        app,
        http=HeadersTimeout,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES,
        timeout_graceful_shutdown=settings.shutdown_s,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    return uvicorn.Server(config)


def serve(
    model: Model,
    settings: ServerSettings,
    *,
    name: str = "model.onnx",
    jobs: int | None = None,
    archives: Sequence[Archive] = (),
    training: Dataset | None = None,
    on_started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve ``model`` until the process gets a signal; call ``on_started`` with the address.

    The other arguments are those of ``application``.

    Raises:
        SettingsError: the address or the certificate cannot be used; see ``application``.

    >>> from pathlib import Path
    >>> serve(model, ServerSettings(port=0, tls_cert=Path("none.pem"), tls_key=Path("none.key")))
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the certificate "none.pem" with the key "none.key" cannot be used: No such file ...
    """
    settings.check_tls()
    app = application(model, settings, name=name, jobs=jobs, archives=archives, training=training)
    with listening(settings) as opened:
        server = http_server(app, settings)
        on_started(address(settings, opened.getsockname()[1]))
        server.run(sockets=[opened])

"""An upload → results while they are computed: ``detection.file_analysis`` in a thread, decoding in a worker process.

    Analyzer.analyze ─ thread: analyze_file ─▶ Channel ─▶ Opened, Tile, WindowScores, lists of events, FileResult

A slow reader of the results slows the analysis down; a reader that leaves, or the end of the time, stops it.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from soundmark import audio
from soundmark.audio import Sound
from soundmark.audio.decoding.isolation import Decoders
from soundmark.detection.file_analysis import FileCallbacks, opened_input
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Failure
from soundmark.detection.output_formats import FORMATS
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import AudioError
from soundmark.models import explanation
from soundmark.models.classifier import Model
from soundmark.models.explanation import Explanation
from soundmark.runtime import parallel
from soundmark.runtime.checks import is_special
from soundmark.runtime.text import duration
from soundmark.serving.analysis.short_sounds import Answer, ShortSounds
from soundmark.serving.analysis.upload_analysis import analyze_upload
from soundmark.serving.http.problems import Problem
from soundmark.serving.http.uploads import Upload
from soundmark.serving.settings import ServerSettings
from soundmark.serving.spectrogram_tiles import tiles_of_recording

T = TypeVar("T")


Check = Callable[..., None]  # raises CancelledError if nobody waits for the result any longer


AHEAD = 32  # results that wait for a slow reader


SPARE_READERS = 2  # threads besides one per core: they wait for decoders


MOST_EXPLAINED_S = 600.0


@dataclass(frozen=True, eq=False)
class Opened:
    """The first result: the duration that the header declares, and the tiles that follow, if any."""

    duration_s: float
    tiles: Any
    model: Model


class Channel:
    """Passes results from a thread to the event loop; at most ``ahead`` wait there."""

    def __init__(self, deadline: float = math.inf, *, ahead: int = AHEAD) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._room = threading.Semaphore(ahead)
        self._deadline, self._closed = deadline, threading.Event()

    def check(self) -> None:
        """Stop the thread if nobody needs its results.

        Raises:
            CancelledError: the channel is closed, or its time is over.
        """
        if self._closed.is_set() or time.monotonic() > self._deadline:
            raise CancelledError

    def put(self, item: Any) -> None:
        """Pass a result on, and wait for room."""
        while not self._room.acquire(timeout=0.1):
            self.check()
        self.check()
        self._send(item)

    def end(self, error: BaseException | None = None) -> None:
        """Pass the end on, and the error that led to it."""
        self._send(_End(error))

    def _send(self, item: Any) -> None:
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    async def items(self) -> AsyncGenerator[Any, None]:
        """Yield the results until the end; raise the error of the thread, or ``CancelledError`` after the deadline."""
        while not isinstance(item := await self._next(), _End):
            self._room.release()
            yield item
        if item.error is not None:
            raise item.error

    async def _next(self) -> Any:
        try:
            return await asyncio.wait_for(self._queue.get(), max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            raise CancelledError from None

    def close(self) -> None:
        """Let the thread stop."""
        self._closed.set()


@dataclass(frozen=True)
class _End:
    error: BaseException | None


class Analyzer:
    """Analyses uploads with the model in use; use it in a ``with`` block. ``folder`` is for files of models.

    Scores do not depend on what else is analysed.
    """

    def __init__(
        self, model: Model, name: str, settings: ServerSettings, folder: Path, *, jobs: int | None = None
    ) -> None:
        self.settings = settings
        jobs = jobs or parallel.available_cores()
        self._short = ShortSounds(folder, jobs, settings.max_audio_s)
        self._decoders = Decoders()
        self._readers = ThreadPoolExecutor(jobs + SPARE_READERS, "reader")
        self._pool = ThreadPoolExecutor(jobs, "scores")
        self.use(model, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._short.close()
        self._decoders.close()  # first: the readers that wait for a decoder continue
        self._readers.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)

    def use(self, model: Model, name: str) -> None:
        """Use another model, which is called ``name``, for analyses that begin from now on."""
        self._short.use(model)
        self.model, self.name = model, name

    async def analyze(
        self, upload: Upload, detection: DetectionSettings, *, deadline: float, with_tiles: bool = False
    ) -> AsyncGenerator[Any, None]:
        """Yield ``Opened``, then any number of ``Tile``, ``WindowScores`` and lists of events, then the ``FileResult``.

        Raises:
            Problem: the sound cannot be decoded or is too long (422), or the ``deadline`` (monotonic) passed (408).
        """
        channel = Channel(deadline)
        future = self._readers.submit(self._run, channel, upload, detection, with_tiles)
        try:
            async for item in channel.items():
                yield item
        except CancelledError:
            raise self.too_slow() from None
        finally:
            channel.close()
            future.cancel()

    async def answer(self, upload: Upload, detection: DetectionSettings, form: str, *, deadline: float) -> Answer:
        """Return the complete result in a format, of ``output_formats.FORMATS``.

        Raises:
            Problem: see ``analyze``.
        """
        if upload.is_small:
            model = self.model
            short = await self._until(
                deadline, lambda check: self._short.answer(model, upload, detection, form), self._short.threads
            )
            if short is not None:
                return short
        return await self._until(deadline, partial(self._answer, upload, detection, form))

    def _answer(self, upload: Upload, detection: DetectionSettings, form: str, check: Check) -> Answer:
        found = self._analyze(upload, detection, check)
        return Answer(b"".join(FORMATS[form].write([found])), found.duration_s, len(found.events))

    def _run(self, channel: Channel, upload: Upload, detection: DetectionSettings, with_tiles: bool) -> None:
        """Analyse an upload; runs in a thread."""
        try:
            channel.put(self._analyze(upload, detection, channel.check, channel.put, with_tiles=with_tiles))
        except BaseException as error:  # raised again by ``Channel.items``
            channel.end(error)
        else:
            channel.end()

    def _analyze(
        self,
        upload: Upload,
        detection: DetectionSettings,
        check: Check,
        put: Callable[[Any], None] = lambda item: None,
        *,
        with_tiles: bool = False,
    ) -> FileResult:
        tiles: Any = None
        model = self.model  # another one may be used soon

        def opened(duration_s: float, rate_hz: int) -> None:
            nonlocal tiles
            check_duration(upload.name, duration_s, self.settings.max_audio_s, "--max-audio")
            if with_tiles:
                card = model.card
                tiles = tiles_of_recording(card.representation, rate_hz, duration_s, card.window_s)
            put(Opened(duration_s, tiles, model))

        def samples(start: int, block: audio.Samples) -> None:
            check()
            for tile in tiles.push(start, block) if tiles else ():
                put(tile)

        callbacks = FileCallbacks(
            opened=opened,
            samples=samples,
            scores=put,
            events=lambda events: put(list(events)) if events else None,
        )
        threads = {"pool": self._pool, "decoders": self._decoders}
        with upload.file() as path:
            found = analyze_upload(model, path, upload.name, detection, callbacks=callbacks, **threads)
        if isinstance(found, Failure):
            raise Problem(422, found.reason)
        for tile in tiles.end() if tiles else ():
            put(tile)
        return found

    async def read(self, path: str, *, name: str, start_s: float, stop_s: float, deadline: float) -> Sound:
        """Read a part of a recording of an archive: a path or a URL, which is called ``name`` in messages.

        Raises:
            Problem: the sound cannot be decoded, or the part is too long (422); the ``deadline`` passed (408).
        """
        return await self._until(deadline, lambda check: self._read(path, name, start_s, stop_s))

    def _read(self, path: str, name: str, start_s: float, stop_s: float) -> Sound:
        if is_special(path):
            raise Problem(422, f"{name} is not a regular file.")
        try:
            with opened_input(path) as source, self._decoders.blocks(source, start_s=start_s, stop_s=stop_s) as blocks:
                check_duration(name, blocks.frames / blocks.rate_hz, MOST_EXPLAINED_S, "a window")
                return Sound(np.concatenate(list(blocks)), blocks.rate_hz)
        except (AudioError, OSError) as error:
            reason = str(error) if isinstance(error, AudioError) else f"{name}: {error.strerror or error}."
            reason = reason.replace(path, name).replace(f'"{Path(path).parent}"', "its folder")
            raise Problem(422, reason) from error

    async def explain(self, upload: Upload, *, start_s: float, stop_s: float | None, deadline: float) -> Explanation:
        """Explain the top class of a part of an upload: see ``models.explanation``.

        Raises:
            Problem: the sound cannot be decoded, or the part is too long (422); the ``deadline`` passed (408).
        """
        return await self._until(deadline, partial(self._explain, upload, start_s, stop_s))

    def _explain(self, upload: Upload, start_s: float, stop_s: float | None, check: Check) -> Explanation:
        with upload.file() as path:
            try:
                with self._decoders.blocks(path, start_s=start_s, stop_s=stop_s) as blocks:
                    check_duration(upload.name, blocks.frames / blocks.rate_hz, MOST_EXPLAINED_S, "an explanation")
                    sound = Sound(np.concatenate(list(blocks)), blocks.rate_hz)
            except AudioError as error:
                raise Problem(422, str(error).replace(str(path), upload.name)) from error
        return explanation.explain(self.model, sound, progress=check)

    async def _until(self, deadline: float, work: Callable[[Check], T], threads: ThreadPoolExecutor | None = None) -> T:
        """Return what ``work`` returns in a thread; its check raises after ``deadline``, or if this is cancelled."""
        stopped = threading.Event()

        def check(*_: object) -> None:
            if stopped.is_set():
                raise CancelledError

        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await asyncio.get_running_loop().run_in_executor(threads or self._readers, work, check)
        except TimeoutError:
            raise self.too_slow() from None
        finally:  # also if the client has left
            stopped.set()

    def too_slow(self) -> Problem:
        """Return the problem of a request that took too long."""
        return Problem(
            408,
            f"the request took longer than {duration(self.settings.max_request_s)}, the most that this server allows "
            "(--max-request): send a shorter sound, or try again when the server is less busy.",
        )


def check_duration(name: str, duration_s: float, most_s: float, what: str) -> None:
    """Check the duration that the header of a sound declares.

    Raises:
        Problem: it is longer than ``most_s``.

    >>> check_duration("hour.flac", 7200.0, 3600.0, "--max-audio")
    Traceback (most recent call last):
    soundmark.serving.http.problems.Problem: "hour.flac" lasts 2 h according to its header, longer than the 60 min ...
    """
    if duration_s > most_s:
        raise Problem(
            422,
            f'"{name}" lasts {duration(duration_s)} according to its header, longer than the {duration(most_s)} that '
            f"{what} allows: send a part of it.",
        )

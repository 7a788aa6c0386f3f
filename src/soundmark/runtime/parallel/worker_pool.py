"""Worker processes that answer requests: a crash, a hang or a lack of memory ends a request, not the program."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Self, cast

import numpy as np

from soundmark.errors import SoundmarkError
from soundmark.runtime.parallel.worker import HEADER, PARENT_VARIABLE

STALL_S = 30.0  # longest wait for the next message: a worker that takes longer hangs


PIPE_BYTES = 1 << 20  # between two processes, where the system allows it: a clip in one switch between them


ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}  # of each worker: less memory


class WorkerFailed(Exception):  # noqa: N818 - as the names in concurrent.futures
    """A worker ended, or sent an invalid message; the text continues a sentence: "its decoder …"."""


class WorkerPool:
    """Worker processes of one kind, each of which answers one request at a time; started on demand, ended by ``close``.

    ``arguments`` are those of the Python interpreter. ``most_bytes`` is the size of the largest message by its kind.
    Use in a ``with`` block.

    >>> arguments = ("-P", "-m", "soundmark.audio.decoding.worker", "1")
    >>> with WorkerPool(arguments, {b"E": 1000}) as workers, workers.one() as worker:
    ...     worker.request({"path": "none.wav", "name": "none.wav", "start_s": 0.0, "stop_s": None})
    ...     kind, content = worker.receive()
    ...     worker.is_idle = True
    >>> kind, content.tobytes()
    (b'E', b'"none.wav does not exist."')
    """

    def __init__(self, arguments: Sequence[str], most_bytes: Mapping[bytes, int]) -> None:
        self._arguments, self._most_bytes = arguments, most_bytes
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._all: set[Worker] = set()
        self._closed = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, daemon=True)
        self._watchdog.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers, including those that are busy."""
        self._closed.set()
        for worker in list(self._all):
            worker.kill()
        self._watchdog.join()

    @contextmanager
    def one(self) -> Iterator[Worker]:
        """Give an idle worker. One whose answer was not received whole afterwards, so ``is_idle`` is false, is ended.

        Raises:
            SoundmarkError: no process can be started.
        """
        worker = self._idle_worker()
        try:
            yield worker
        finally:
            if worker.is_idle:
                self._idle.put(worker)
            else:  # it failed, or the caller stopped early
                worker.kill()
                self._all.discard(worker)

    def _idle_worker(self) -> Worker:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._new_worker()

    def _new_worker(self) -> Worker:
        worker = Worker(self._arguments, self._most_bytes)
        self._all.add(worker)
        if self._closed.is_set():
            worker.kill()
        return worker

    def _watch(self) -> None:
        """Kill each worker for whose next message the caller waits too long."""
        while not self._closed.wait(STALL_S / 30):
            for worker in list(self._all):
                worker.kill_if_stalled()


def parsed(content: np.ndarray) -> Any:
    """Return the JSON value of a message; an empty object for invalid JSON.

    >>> parsed(np.frombuffer(b"[1, 2]", np.uint8)), parsed(np.frombuffer(b"[", np.uint8))
    ([1, 2], {})
    """
    try:
        return json.loads(content.tobytes())
    except ValueError:
        return {}


class Worker:
    """One process. Set ``is_idle`` when the last message of an answer was received."""

    def __init__(self, arguments: Sequence[str], most_bytes: Mapping[bytes, int]) -> None:
        self.is_idle = True
        self._most_bytes = most_bytes
        self._waits_since: float | None = None
        self._stalled = False
        try:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | ENVIRONMENT | {PARENT_VARIABLE: str(os.getpid())},
                pipesize=PIPE_BYTES,
            )
        except OSError as error:
            raise SoundmarkError(f"cannot start a worker process: {error.strerror or error}.") from error
        self._to, self._from = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)

    def request(self, request: Mapping[str, Any]) -> None:
        """Send a request of JSON values."""
        self.is_idle = False
        with suppress(BrokenPipeError):  # the worker has ended: ``receive`` reports it
            self._to.write(json.dumps(request).encode() + b"\n")
            self._to.flush()

    def receive(self) -> tuple[bytes, np.ndarray]:
        """Return the kind of the next message, and its content, uint8 [n].

        Raises:
            WorkerFailed: the process ended, or the message is of an unknown kind or too large.
        """
        self._waits_since = time.monotonic()
        try:
            kind, n_bytes = HEADER.unpack(self._read(HEADER.size).tobytes())
            if n_bytes > self._most_bytes.get(kind, -1):
                raise WorkerFailed("returned invalid data")
            return kind, self._read(n_bytes)
        finally:
            self._waits_since = None

    def _read(self, n_bytes: int) -> np.ndarray:
        content = np.empty(n_bytes, np.uint8)
        if self._from.readinto(content) < n_bytes:  # type: ignore[attr-defined]
            raise WorkerFailed(self._end())
        return content

    def _end(self) -> str:
        """Explain why the process ended."""
        status = self._process.wait()
        if self._stalled or status == -getattr(signal, "SIGXCPU", 0):
            return "takes too long"
        try:
            reason = f" ({signal.Signals(-status).name})"
        except ValueError:
            reason = f" (exit status {status})"
        return f"ended unexpectedly{reason}"

    def kill_if_stalled(self) -> None:
        """End the process if the caller waits for its next message longer than ``STALL_S``."""
        since = self._waits_since
        if since is not None and time.monotonic() - since > STALL_S:
            self._stalled = True
            self.kill()

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._to.close()
        self._from.close()

"""Decode untrusted sounds in worker processes: a crash, a hang or a lack of memory ends the file, not the program."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import numpy as np

from soundmark.audio import decoding, limits
from soundmark.audio.decoding import Samples
from soundmark.audio.decoding.diagnosis import FileSource
from soundmark.audio.decoding.worker import BLOCK, END, ERROR, HEADER, SOUND
from soundmark.errors import AudioError, SoundmarkError, processing
from soundmark.runtime.checks import is_count

WORKER = ("-P", "-m", "soundmark.audio.decoding.worker")  # -P: the current folder may have a numpy.py


STALL_S = 30.0  # longest wait for the next block: a decoder that takes longer hangs


JSON_BYTES = 1 << 16  # longest message of a worker, other than samples


COPY_BYTES = 1 << 20


PIPE_BYTES = 1 << 20  # between two processes, where the system allows it: a clip in one switch between them


class Decoders:
    """Worker processes, each of which decodes one file at a time; started on demand, ended by ``close``.

    ``threads`` is the number of threads with which a worker decodes a long file. Use in a ``with`` block.

    >>> from soundmark import audio
    >>> audio.write(folder / "beep.wav", np.ones(4000), 8000)
    >>> with Decoders() as decoders, decoders.blocks(folder / "beep.wav") as sound:
    ...     sound.rate_hz, sound.frames, [len(block) for block in sound], sound.note
    (8000, 4000, [4000], None)
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: set[_Worker] = set()
        self._closed = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, daemon=True)
        self._watchdog.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers, including those that are decoding."""
        self._closed.set()
        for worker in list(self._all):
            worker.kill()
        self._watchdog.join()

    @contextmanager
    def blocks(
        self, source: FileSource, *, start_s: float = 0.0, stop_s: float | None = None
    ) -> Iterator[IsolatedBlocks]:
        """Open a sound like ``decoding.blocks``, with the same samples, errors and notes.

        Raises:
            AudioError: the sound cannot be opened, or its decoder crashed, hung, or exceeded a limit.
        """
        name = decoding.name_of(source)
        with processing(name), decoding.reopenable(source) as again, _path_of(again) as path:
            worker = self._idle_worker()
            try:
                worker.request({"path": path, "name": name, "start_s": start_s, "stop_s": stop_s})
                yield IsolatedBlocks(worker, name)
            finally:
                if worker.is_idle:
                    self._idle.put(worker)
                else:  # it failed, or the caller stopped early
                    worker.kill()
                    self._all.discard(worker)

    def _idle_worker(self) -> _Worker:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._new_worker()

    def _new_worker(self) -> _Worker:
        worker = _Worker(self._threads)
        self._all.add(worker)
        if self._closed.is_set():
            worker.kill()
        return worker

    def _watch(self) -> None:
        """Kill each worker for whose next message the caller waits too long."""
        while not self._closed.wait(STALL_S / 30):
            for worker in list(self._all):
                worker.kill_if_stalled()


class IsolatedBlocks:
    """The mono blocks of a sound that a worker decodes: ``decoding.Blocks`` for the caller."""

    def __init__(self, worker: _Worker, name: str) -> None:
        self.name = name
        self.note: str | None = None
        self._worker = worker
        kind, content = worker.receive(name)
        properties = _parsed(content) if kind == SOUND else None
        if not isinstance(properties, dict) or not all(is_count(properties.get(key)) for key in ("rate_hz", "frames")):
            raise _invalid(name)
        self.rate_hz, self.frames = int(properties["rate_hz"]), int(properties["frames"])
        limits.check_file(name, self.frames, self.rate_hz, channels=1)

    def __iter__(self) -> Iterator[Samples]:
        n = 0
        while True:
            kind, content = self._worker.receive(self.name)
            if kind != BLOCK:
                break
            block: Samples = content.view(np.float32)
            n += len(block)
            if n > self.frames:
                raise _invalid(self.name)
            yield block
        note = _parsed(content)
        if kind != END or not isinstance(note, str | None):
            raise _invalid(self.name)
        self.note = note
        self._worker.is_idle = True


class _Worker:
    """One process of ``soundmark.audio.decoding.worker``."""

    def __init__(self, threads: int) -> None:
        self.is_idle = True
        self._waits_since: float | None = None
        self._stalled = False
        try:
            self._process = subprocess.Popen(
                [sys.executable, *WORKER, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
                pipesize=PIPE_BYTES,
            )
        except OSError as error:
            raise SoundmarkError(
                f"cannot start a process to decode sounds in isolation: {error.strerror or error}."
            ) from error
        self._to, self._from = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)

    def request(self, request: dict[str, Any]) -> None:
        self.is_idle = False
        with suppress(BrokenPipeError):  # the worker has ended: ``receive`` reports it
            self._to.write(json.dumps(request).encode() + b"\n")
            self._to.flush()

    def receive(self, name: str) -> tuple[bytes, np.ndarray]:
        """Return the kind of the next message, and its content, uint8 [n].

        Raises:
            AudioError: it is the message of an error, or the process ended.
        """
        self._waits_since = time.monotonic()
        try:
            kind, n_bytes = HEADER.unpack(self._read(HEADER.size, name).tobytes())
            most = 4 * decoding.PART_BLOCKS * limits.BLOCK_FRAMES if kind == BLOCK else JSON_BYTES
            if n_bytes > most or (kind == BLOCK and n_bytes % 4):
                raise _invalid(name)
            content = self._read(n_bytes, name)
        finally:
            self._waits_since = None
        if kind == ERROR:
            self.is_idle = True
            raise AudioError(str(_parsed(content)))
        return kind, content

    def _read(self, n_bytes: int, name: str) -> np.ndarray:
        content = np.empty(n_bytes, np.uint8)
        if self._from.readinto(content) < n_bytes:  # type: ignore[attr-defined]
            raise AudioError(f"{name} cannot be decoded: {self._end()}. Remove it from the inputs.")
        return content

    def _end(self) -> str:
        """Explain why the process ended."""
        status = self._process.wait()
        if self._stalled or status == -getattr(signal, "SIGXCPU", 0):
            return "its decoder takes too long"
        try:
            reason = f" ({signal.Signals(-status).name})"
        except ValueError:
            reason = f" (exit status {status})"
        return f"its decoder ended unexpectedly{reason}"

    def kill_if_stalled(self) -> None:
        since = self._waits_since
        if since is not None and time.monotonic() - since > STALL_S:
            self._stalled = True
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._to.close()
        self._from.close()


def _invalid(name: str) -> AudioError:
    return AudioError(f"{name} cannot be decoded: its decoder returned invalid data. Remove it from the inputs.")


def _parsed(content: np.ndarray) -> object:
    try:
        return json.loads(content.tobytes())
    except ValueError:
        return {}


@contextmanager
def _path_of(source: FileSource) -> Iterator[str]:
    """Give the path of a source: for bytes or an open file, of a temporary copy that is deleted afterwards."""
    if isinstance(source, str | os.PathLike):
        yield os.fspath(source)
        return
    descriptor, copy = tempfile.mkstemp(prefix="soundmark-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            if isinstance(source, bytes):
                file.write(source)
            else:
                source.seek(0)
                while part := source.read(COPY_BYTES):
                    file.write(part)
        yield copy
    finally:
        Path(copy).unlink(missing_ok=True)

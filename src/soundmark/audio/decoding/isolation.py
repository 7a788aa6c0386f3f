"""Decode untrusted sounds in worker processes: a crash, a hang or a lack of memory ends the file, not the program."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from soundmark.audio import decoding, limits
from soundmark.audio.decoding import Samples
from soundmark.audio.decoding.diagnosis import FileSource
from soundmark.audio.decoding.worker import BLOCK, END, ERROR, SOUND
from soundmark.errors import AudioError, processing
from soundmark.runtime.checks import is_count
from soundmark.runtime.parallel.worker_pool import Worker, WorkerFailed, WorkerPool, parsed

WORKER = ("-P", "-m", "soundmark.audio.decoding.worker")  # -P: the current folder may have a numpy.py


JSON_BYTES = 1 << 16


MOST_BYTES = {
    BLOCK: 4 * decoding.PART_BLOCKS * limits.BLOCK_FRAMES,
    SOUND: JSON_BYTES,
    END: JSON_BYTES,
    ERROR: JSON_BYTES,
}
"""The largest message of a worker, by its kind."""


COPY_BYTES = 1 << 20


class Decoders(WorkerPool):
    """Worker processes, each of which decodes one file at a time; started on demand, ended by ``close``.

    ``threads`` is the number of threads with which a worker decodes a long file. Use in a ``with`` block.

    >>> from soundmark import audio
    >>> audio.write(folder / "beep.wav", np.ones(4000), 8000)
    >>> with Decoders() as decoders, decoders.blocks(folder / "beep.wav") as sound:
    ...     sound.rate_hz, sound.frames, [len(block) for block in sound], sound.note
    (8000, 4000, [4000], None)
    """

    def __init__(self, threads: int = 1) -> None:
        super().__init__([*WORKER, str(threads)], MOST_BYTES)

    @contextmanager
    def blocks(
        self, source: FileSource, *, start_s: float = 0.0, stop_s: float | None = None
    ) -> Iterator[IsolatedBlocks]:
        """Open a sound like ``decoding.blocks``, with the same samples, errors and notes.

        Raises:
            AudioError: the sound cannot be opened, or its decoder crashed, hung, or exceeded a limit.
        """
        name = decoding.name_of(source)
        with (
            processing(name),
            decoding.reopenable(source) as again,
            _path_of(again) as path,
            self.one() as worker,
        ):
            worker.request({"path": path, "name": name, "start_s": start_s, "stop_s": stop_s})
            yield IsolatedBlocks(worker, name)


class IsolatedBlocks:
    """The mono blocks of a sound that a worker decodes: ``decoding.Blocks`` for the caller."""

    def __init__(self, worker: Worker, name: str) -> None:
        self.name = name
        self.note: str | None = None
        self._worker = worker
        kind, content = self._receive()
        properties = parsed(content) if kind == SOUND else None
        if not isinstance(properties, dict) or not all(is_count(properties.get(key)) for key in ("rate_hz", "frames")):
            raise self._invalid()
        self.rate_hz, self.frames = int(properties["rate_hz"]), int(properties["frames"])
        limits.check_file(name, self.frames, self.rate_hz, channels=1)

    def __iter__(self) -> Iterator[Samples]:
        n = 0
        while True:
            kind, content = self._receive()
            if kind != BLOCK:
                break
            if len(content) % 4:
                raise self._invalid()
            block: Samples = content.view(np.float32)
            n += len(block)
            if n > self.frames:
                raise self._invalid()
            yield block
        note = parsed(content)
        if kind != END or not isinstance(note, str | None):
            raise self._invalid()
        self.note = note
        self._worker.is_idle = True

    def _receive(self) -> tuple[bytes, np.ndarray]:
        """Return the kind of the next message, and its content, uint8 [n]; raise the error that the decoder reports."""
        try:
            kind, content = self._worker.receive()
        except WorkerFailed as error:
            raise self._failure(str(error)) from error
        if kind == ERROR:
            self._worker.is_idle = True
            raise AudioError(str(parsed(content)))
        return kind, content

    def _failure(self, reason: str) -> AudioError:
        return AudioError(f"{self.name} cannot be decoded: its decoder {reason}. Remove it from the inputs.")

    def _invalid(self) -> AudioError:
        return self._failure("returned invalid data")


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

"""A worker of ``soundmark.audio.decoding.isolation`` with a faulty decoder: ``python -P faulty_decoder.py THREADS``.

The name of the file is the fault: "crash.wav", "hang.wav", "memory.wav", "exit.wav", "lie.wav", "garbage.wav". Files
with other names are decoded.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.audio import decoding
from soundmark.audio.decoding import Blocks, worker

original = decoding.blocks


class _LongerThanDeclared:
    rate_hz, frames, note = 8000, 10, None

    def __iter__(self) -> Iterator[np.ndarray]:
        yield np.zeros(11, np.float32)


@contextmanager
def blocks(source: str, **options: Any) -> Iterator[Blocks | _LongerThanDeclared]:
    """Fail as the name of ``source`` says."""
    fault = Path(source).stem
    if fault == "crash":
        ctypes.string_at(0)
    elif fault == "hang":
        time.sleep(1000)
    elif fault == "memory":
        np.ones(1 << 32)
    elif fault == "exit":
        os._exit(3)
    elif fault == "garbage":
        os.write(1, b"\xff" * 1000)
    elif fault == "lie":
        yield _LongerThanDeclared()
        return
    with original(source, **options) as sound:
        yield sound


if __name__ == "__main__":
    decoding.blocks = blocks  # type: ignore[assignment]
    worker.main(int(sys.argv[1]))

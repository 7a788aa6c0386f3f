"""The worker process of ``isolation``: decodes the files that it is asked for, under limits on memory and time.

    python -P -m soundmark.audio.decoding.worker THREADS

A request has ``path``, ``name``, ``start_s`` and ``stop_s``. Its answer is SOUND, any number of BLOCK, END; or, at any
point, ERROR instead of the rest. See ``runtime.parallel.worker``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from soundmark.audio import decoding
from soundmark.errors import AudioError
from soundmark.runtime.parallel import worker
from soundmark.runtime.parallel.worker import MEMORY_BYTES

SOUND, BLOCK, END, ERROR = b"S", b"B", b"N", b"E"  # JSON properties · float32 samples · JSON note · JSON text


THREAD_BYTES = 1 << 28  # more memory for each thread


CPU_S = 60.0  # most CPU time for one file, plus one second for each second of sound


def answer(request: dict[str, Any], pool: Executor | None = None) -> Iterator[tuple[bytes, Any]]:
    """Yield the messages for one request; decode a long file with the threads of ``pool``.

    >>> list(answer({"path": "none.wav", "name": "none.wav", "start_s": 0.0, "stop_s": None}))
    [(b'E', b'"none.wav does not exist."')]
    """
    try:
        yield from _decoded(request, pool)
    except AudioError as error:
        yield ERROR, _json(str(error))
    except MemoryError:
        reason = f"this takes more than {MEMORY_BYTES >> 20} MiB"
        yield ERROR, _json(f"{request['name']} cannot be decoded: {reason}.")


def _decoded(request: dict[str, Any], pool: Executor | None) -> Iterator[tuple[bytes, Any]]:
    worker.limit_cpu(CPU_S)
    worker.printed()  # of a file before that ended with an error
    part = {"start_s": request["start_s"], "stop_s": request["stop_s"]}
    with decoding.blocks(request["path"], name=request["name"], pool=pool, **part) as blocks:
        worker.limit_cpu(CPU_S + blocks.frames / blocks.rate_hz)
        yield SOUND, _json({"rate_hz": blocks.rate_hz, "frames": blocks.frames})
        for block in blocks:
            yield BLOCK, block.data.cast("B")
        yield END, _json(blocks.note or decoder_errors(worker.printed()))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def decoder_errors(printed: bytes) -> str | None:
    r"""Return a note if a decoder printed errors, as libmpg123 does; None if it printed other messages only.

    >>> decoder_errors(b"Note: Trying to resync...\n[src/libmpg123/layer3.c:1804] error: dequantization failed!\n")
    'is damaged: its decoder reported 1 error (dequantization failed!)'
    """
    errors = [
        line.split("error:", 1)[1].strip() for line in printed.decode(errors="replace").splitlines() if "error:" in line
    ]
    if not errors:
        return None
    return f"is damaged: its decoder reported {len(errors)} error{'s' * (len(errors) > 1)} ({errors[0][:100]})"


def main(threads: int) -> None:
    """Limit this process, and answer the requests on its standard input with a number of ``threads``.

    >>> import subprocess
    >>> subprocess.run([sys.executable, "-P", "-m", "soundmark.audio.decoding.worker", "1"], input=b"").returncode
    0
    """
    with ThreadPoolExecutor(threads) as threads_pool:
        pool = threads_pool if threads > 1 else None
        worker.run(lambda request: answer(request, pool), memory_bytes=MEMORY_BYTES + threads * THREAD_BYTES)


if __name__ == "__main__":
    main(int(sys.argv[1]))

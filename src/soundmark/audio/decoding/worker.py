"""The worker process of ``isolation``: decodes the files that it is asked for, under limits on memory and time.

    python -P -m soundmark.audio.decoding.worker THREADS

Standard input has a request per line: JSON with ``path``, ``name``, ``start_s`` and ``stop_s``. Standard output has
messages: a header of ``HEADER`` (the kind and the number of bytes), and the content. For each request they are SOUND,
any number of BLOCK, END; or, at any point, ERROR instead of the rest.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, BinaryIO

from soundmark.audio import decoding
from soundmark.errors import AudioError

HEADER = struct.Struct("<cI")


SOUND, BLOCK, END, ERROR = b"S", b"B", b"N", b"E"  # JSON properties · float32 samples · JSON note · JSON text


MEMORY_BYTES = 1 << 30  # address space of a worker, plus ``THREAD_BYTES`` for each thread


THREAD_BYTES = 1 << 28


MESSAGE_BYTES = 1 << 20  # most that the decoders may print while they decode a file


CPU_S = 60.0  # most CPU time for one file, plus one second for each second of sound


LimitCpu = Callable[[float], None]  # lets this process use so many more seconds of CPU time


def serve(requests: BinaryIO, out: BinaryIO, threads: int, limit_cpu: LimitCpu = lambda seconds: None) -> None:
    """Answer the requests, one at a time, until ``requests`` ends; with several threads, decode long files in parallel.

    ``limit_cpu`` is called for each file.

    >>> import io
    >>> out = io.BytesIO()
    >>> serve(io.BytesIO(b'{"path": "none.wav", "name": "none.wav", "start_s": 0.0, "stop_s": null}'), out, 1)
    >>> HEADER.unpack(out.getvalue()[:HEADER.size])[0], out.getvalue()[HEADER.size:]
    (b'E', b'"none.wav does not exist."')
    """
    with ThreadPoolExecutor(threads) as threads_pool:
        pool = threads_pool if threads > 1 else None
        for line in requests:
            try:
                for kind, content in _answer(json.loads(line), pool, limit_cpu):
                    _write(out, kind, content)
            except AudioError as error:
                _write(out, ERROR, _json(str(error)))
            except MemoryError:
                reason = f"this takes more than {MEMORY_BYTES >> 20} MiB"
                _write(out, ERROR, _json(f"{json.loads(line)['name']} cannot be decoded: {reason}."))
            out.flush()


def _answer(request: dict[str, Any], pool: Executor | None, limit_cpu: LimitCpu) -> Iterator[tuple[bytes, Any]]:
    """Yield the messages for one request."""
    limit_cpu(CPU_S)
    part = {"start_s": request["start_s"], "stop_s": request["stop_s"]}
    with decoding.blocks(request["path"], name=request["name"], pool=pool, **part) as blocks:
        limit_cpu(CPU_S + blocks.frames / blocks.rate_hz)
        yield SOUND, _json({"rate_hz": blocks.rate_hz, "frames": blocks.frames})
        for block in blocks:
            yield BLOCK, block.data.cast("B")
        printed = decoder_errors(os.pread(2, MESSAGE_BYTES, 0)) if os.fstat(2).st_size else None
        yield END, _json(blocks.note or printed)
    if os.fstat(2).st_size:
        os.ftruncate(2, 0)


def _write(out: BinaryIO, kind: bytes, content: Any) -> None:
    out.write(HEADER.pack(kind, len(content)))
    out.write(content)


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


def _limit(threads: int) -> None:
    """Limit this process, and discard what the decoders print but for ``decoder_errors``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    printed = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the process
    os.dup2(printed.fileno(), 2)
    try:
        import resource
    except ImportError:  # Windows: the parent limits the time
        return
    memory = MEMORY_BYTES + threads * THREAD_BYTES
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, MESSAGE_BYTES),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _limit_cpu(seconds: float) -> None:
    """Let the system end this process after ``seconds`` more of CPU time, in all its threads."""
    try:
        import resource
    except ImportError:
        return
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = int(used + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main(threads: int) -> None:
    """Limit this process, and serve its standard input with a number of ``threads``.

    >>> import subprocess
    >>> subprocess.run([sys.executable, "-P", "-m", "soundmark.audio.decoding.worker", "1"], input=b"").returncode
    0
    """
    _limit(threads)
    threading.Thread(target=_exit_with, args=(os.getppid(),), daemon=True).start()
    serve(sys.stdin.buffer, sys.stdout.buffer, threads, _limit_cpu)


def _exit_with(parent: int) -> None:
    """End this process when its parent was killed, even while a decoder hangs."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))

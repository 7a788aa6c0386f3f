"""The inside of a process of ``worker_pool``: it answers requests, under limits on memory and time.

A request is a line of JSON on standard input. Its answer is messages on standard output: a header of ``HEADER`` (the
kind and the number of bytes), and the content.
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
from pathlib import Path
from typing import Any, BinaryIO

from soundmark.runtime.atomic import has_ended

HEADER = struct.Struct("<cI")


MEMORY_BYTES = 1 << 30  # address space of a worker


MESSAGE_BYTES = 1 << 20  # most that the libraries may print during one request


PARENT_VARIABLE = "SOUNDMARK_WORKER_OF"  # environment variable: process ID of the process that a worker serves


_standard_error: BinaryIO | None = None  # of a worker: a temporary file


Answer = Callable[[dict[str, Any]], Iterator[tuple[bytes, Any]]]  # a request → messages: kind and content


def run(answer: Answer, *, memory_bytes: int = MEMORY_BYTES) -> None:
    """Limit this process, and answer the requests on its standard input until it ends.

    >>> import subprocess
    >>> subprocess.run([sys.executable, "-P", "-m", "soundmark.audio.decoding.worker", "1"], input=b"").returncode
    0
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    global _standard_error
    _standard_error = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the process
    os.dup2(_standard_error.fileno(), 2)
    limit("AS", memory_bytes)
    limit("CORE", 0)
    limit("FSIZE", MESSAGE_BYTES)
    if os.name == "posix":  # elsewhere, to ask whether a process runs may end it
        parent = os.getppid()
        threading.Thread(
            target=_exit_with, args=(parent, int(os.environ.get(PARENT_VARIABLE, parent))), daemon=True
        ).start()
    serve(sys.stdin.buffer, sys.stdout.buffer, answer)


def serve(requests: BinaryIO, out: BinaryIO, answer: Answer) -> None:
    """Answer the requests, one at a time, until ``requests`` ends.

    >>> import io
    >>> out = io.BytesIO()
    >>> serve(io.BytesIO(b'{"path": "a.wav"}'), out, lambda request: iter([(b"P", request["path"].encode())]))
    >>> HEADER.unpack(out.getvalue()[:HEADER.size]), out.getvalue()[HEADER.size:]
    ((b'P', 5), b'a.wav')
    """
    for line in requests:
        for kind, content in answer(json.loads(line)):
            out.write(HEADER.pack(kind, len(content)))
            out.write(content)
        out.flush()


def limit(resource_name: str, most: int) -> None:
    """Set a limit of the system for this process, if it is a worker: "AS", "CORE", "CPU" or "FSIZE".

    >>> limit("CPU", 0)  # this one is not
    """
    if _standard_error is None:
        return
    try:
        import resource
    except ImportError:  # Windows: the parent limits the time
        return
    kind = getattr(resource, f"RLIMIT_{resource_name}")
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def limit_cpu(seconds: float) -> None:
    """Let the system end a worker after ``seconds`` more of CPU time, in all its threads.

    >>> limit_cpu(0.0)
    """
    limit("CPU", int(time.process_time() + seconds) + 1)


def limit_more_memory(n_bytes: int) -> None:
    """Let a worker use so much more address space than it does; no limit where its size is unknown.

    >>> limit_more_memory(0)
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return
    limit("AS", pages * os.sysconf("SC_PAGE_SIZE") + n_bytes)


def printed() -> bytes:
    """Return what libraries have printed on standard error since the last call.

    >>> printed()  # only in a worker
    b''
    """
    if _standard_error is None or not os.fstat(2).st_size:
        return b""
    found = os.pread(2, MESSAGE_BYTES, 0)
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    return found


def _exit_with(parent: int, served: int) -> None:
    """End this process when its parent, or the process it serves, was killed, even while a library hangs.

    The parent may have been killed before this process could ask for its ID, and another program may be in between.
    """
    while os.getppid() == parent and not has_ended(served):
        time.sleep(1.0)
    os._exit(1)

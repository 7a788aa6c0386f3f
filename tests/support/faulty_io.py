"""Faults of the file system, in this process: the n-th write below a folder kills it, or fails.

A write is any call that opens a file for writing, renames, deletes, or makes a folder; Python announces each of them to
audit hooks before it happens. Spawned processes have no faults: use --jobs 1.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

VARIABLE = "SOUNDMARK_TEST_FAULT"  # fault:n:folder:file; the number of writes is written to the file at the end

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC

ERRORS = {"disk full": errno.ENOSPC, "read-only": errno.EROFS, "permission lost": errno.EACCES}

KILLS = ("SIGKILL", "clock set back")  # the latter: killed, and the clock is set back before the next run

FAULTS = (*KILLS, *ERRORS)


def fault_setting(fault: str, n: int, folder: Path, counter: Path) -> dict[str, str]:
    """The environment for a command with a fault at its n-th write to ``folder``; n = 0: no fault, only count."""
    return {VARIABLE: f"{fault}:{n}:{folder}:{counter}"}


def install_from_environment() -> None:
    """Install the fault that the environment asks for."""
    if VARIABLE in os.environ:
        fault, n, folder, counter = os.environ[VARIABLE].split(":")
        _install(fault, int(n), folder, counter)


def _install(fault: str, n: int, folder: str, counter: str) -> None:
    count = 0
    descriptor = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        path = _written(event, arguments)
        if path is None or not os.path.abspath(path).startswith(folder):  # noqa: PTH100 - links are not resolved
            return
        count += 1
        os.pwrite(descriptor, b"%d" % count, 0)
        if n == 0 or count < n or (fault in KILLS and count > n):
            return
        if fault in KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(ERRORS[fault], os.strerror(ERRORS[fault]), path)  # as all writes after it

    sys.addaudithook(hook)


def _written(event: str, arguments: tuple[Any, ...]) -> str | None:
    """The path that an audited call writes to."""
    if event == "open":
        path, _, flags = arguments
        return (
            os.fsdecode(path) if isinstance(path, str | bytes) and isinstance(flags, int) and flags & WRITES else None
        )
    if event in ("os.rename", "os.remove", "os.mkdir", "os.truncate", "os.rmdir"):
        path = arguments[1] if event == "os.rename" else arguments[0]
        return os.fsdecode(path) if isinstance(path, str | bytes) else None
    return None
